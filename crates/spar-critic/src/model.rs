//! The ensemble.

use candle_core::{Result, Tensor, bail};
use spar_nn::{
    Critics, EnsembleValues, Penalized, RowMlp, Rows, State, StateError, Trained,
    conservative_value, deviation, relu_shape,
};

use crate::config::{CriticConfig, CriticForm};

/// Action-value networks `Q_1..Q_N` with target copies and, in the in-sample
/// form, the state-value network `V`.
#[derive(Debug)]
pub struct Critic {
    pub(crate) config: CriticConfig,
    pub(crate) q: Critics,
    pub(crate) value: Option<Trained>,
    /// Of the last update.
    pub(crate) data: Option<DataValues>,
}

/// What an update's critics said of its data actions before they learned from them.
#[derive(Debug)]
pub(crate) struct DataValues {
    /// Least value, `[rows]`: of the targets in the in-sample form, else of the critics.
    pub(crate) least: Tensor,
    /// How far the same disagreed: the root mean square of their standard deviation.
    pub(crate) disagreement: f32,
    /// `V`, `[rows]`, in the in-sample form.
    pub(crate) value: Option<Tensor>,
}

impl Critic {
    /// A fresh critic; network `i` is initialized from the stream
    /// `critic/<i>/init` of `seed`, `V` from `critic/value/init`.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn new(config: CriticConfig, obs_dim: usize, act_dim: usize, seed: u64) -> Result<Self> {
        let shape = |input| {
            relu_shape(input, config.hidden.clone(), 1).map(|shape| shape.with_layer_norm(true))
        };
        let lr = f64::from(config.lr);
        let value = || Trained::new(shape(obs_dim)?, lr, seed, "critic/value");
        Ok(Self {
            q: Critics::new(&shape(obs_dim + act_dim)?, config.n_critics, lr, seed)?,
            value: (config.form == CriticForm::Expectile)
                .then(value)
                .transpose()?,
            data: None,
            config,
        })
    }

    /// Hyper-parameters.
    pub fn config(&self) -> &CriticConfig {
        &self.config
    }

    /// The conservative value, `[rows * K]`, of actions, `[rows * K, act_dim]`, K in
    /// turn in each of the states `obs`, `[rows, obs_dim]`, without any gradient:
    /// `min_i Q_i(s, a)`, or what [`CriticConfig::deviations`] says.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn conservative_value(&self, obs: &Tensor, actions: &Tensor) -> Result<Tensor> {
        let rows = Rows::beside(obs, actions);
        conservative_value(&self.q.nets, self.config.conservatism(), rows)
    }

    /// [`Self::conservative_value`] of candidates, `[rows * K, act_dim]`, less what the
    /// ensemble's standard deviation about them has beyond the one that the last update
    /// found about its data actions: with `q_k = min_i Q_i` and
    /// `e_k = max(0, sd_i Q_i - sd_data)`,
    ///
    /// `q_k - (penalty + penalty_ratio sd(q) / sd(e)) e_k`,
    ///
    /// `sd` the root mean square over the batch's candidates of what is centred in each
    /// state. The second part weighs as much beside the values on every task.
    ///
    /// # Errors
    /// If there was no update, or the shapes do not fit.
    pub fn candidate_value(&self, obs: &Tensor, actions: &Tensor) -> Result<Penalized> {
        let values = EnsembleValues::of(&self.q.nets, Rows::beside(obs, actions))?;
        let level = self.of_data()?.disagreement;
        let k = actions.dim(0)?.checked_div(obs.dim(0)?).unwrap_or(0);
        let (by, penalty) = (self.config.conservatism(), self.config.penalties());
        values.penalized(by, k, penalty, level)
    }

    fn of_data(&self) -> Result<&DataValues> {
        match &self.data {
            Some(data) => Ok(data),
            None => bail!("the critic has seen no data yet"),
        }
    }

    /// `min_i Q_i(s, a) - V(s)`, `[rows]`, of one action in each state, without any
    /// gradient; in the residual form, which has no `V`, the value itself.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn advantage(&self, obs: &Tensor, actions: &Tensor) -> Result<Tensor> {
        let q = self.conservative_value(obs, actions)?;
        match &self.value {
            Some(value) => q - value.net.forward_detached(obs)?.squeeze(1)?,
            None => Ok(q),
        }
    }

    /// Standard deviation, over the batch of the last update, of the advantages of its
    /// own data actions, in units of values: what there is to gain by choosing among
    /// actions as different as the data's. In the in-sample form an advantage is
    /// `min_i Qbar_i(s, a) - V(s)`, as the update computed it for the loss of `V`; in
    /// the residual form, which has no `V`, `min_i Q_i(s, a)` less the mean of the
    /// state's candidates `q`, `[rows * k]`.
    ///
    /// # Errors
    /// If there was no update, or `q` fits another batch.
    pub fn data_deviation(&self, q: &Tensor, k: usize) -> Result<f32> {
        let DataValues { least, value, .. } = self.of_data()?;
        let baseline = match value {
            Some(value) => value.clone(),
            None => q.reshape((least.dim(0)?, k))?.mean(1)?,
        };
        deviation(&(least - baseline)?)
    }

    /// Copies of `Q_1..Q_N` for acting: `[s, a]` to a value, row by row.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn rows(&self) -> Result<Vec<RowMlp>> {
        self.q.nets.iter().map(|q| q.net.row_mlp()).collect()
    }

    /// Adds every network and optimizer to `state`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, state: &mut State) -> Result<()> {
        self.q.save(state)?;
        match &self.value {
            Some(value) => value.save("critic.value", state),
            None => Ok(()),
        }
    }

    /// Takes every network and optimizer from `state`.
    ///
    /// # Errors
    /// If one is absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        self.q.load(state)?;
        match &mut self.value {
            Some(value) => value.load("critic.value", state),
            None => Ok(()),
        }
    }
}
