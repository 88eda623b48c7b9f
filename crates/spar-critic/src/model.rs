//! The ensemble.

use candle_core::{Result, Tensor, bail};
use spar_core::Stream;
use spar_nn::{
    Adam, AdamConfig, Conservatism, EnsembleValues, Mlp, Precision, RowMlp, Rows, State,
    StateError, conservative_value, deviation, relu_shape,
};

use crate::config::{CriticConfig, CriticForm};

/// Action-value networks `Q_1..Q_N` with target copies and, in the in-sample
/// form, the state-value network `V`.
#[derive(Debug)]
pub struct Critic {
    pub(crate) config: CriticConfig,
    pub(crate) q: Vec<Mlp>,
    pub(crate) target: Vec<Mlp>,
    pub(crate) value: Option<Mlp>,
    pub(crate) q_optim: Vec<Adam>,
    pub(crate) value_optim: Option<Adam>,
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
        let net = |input, name: String| {
            let shape = relu_shape(input, config.hidden.clone(), 1)?.with_layer_norm(true);
            Mlp::new(shape, &mut Stream::new(seed, &name))
        };
        let adam = AdamConfig::new(config.lr);
        let q = (0..config.n_critics)
            .map(|i| net(obs_dim + act_dim, format!("critic/{i}/init")))
            .collect::<Result<Vec<_>>>()?;
        let value = (config.form == CriticForm::Expectile)
            .then(|| net(obs_dim, "critic/value/init".to_owned()))
            .transpose()?;
        Ok(Self {
            target: q.iter().map(Mlp::duplicate).collect::<Result<_>>()?,
            q_optim: q.iter().map(|net| Adam::new(net, adam)).collect(),
            value_optim: value.as_ref().map(|net| Adam::new(net, adam)),
            data: None,
            config,
            q,
            value,
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
        conservative_value(&self.q, self.config.conservatism(), rows)
    }

    /// [`Self::conservative_value`] of candidates, `[rows * K, act_dim]`, less
    /// [`CriticConfig::penalty`] times what the ensemble's standard deviation about them
    /// has beyond the one that the last update found about its data actions:
    /// `min_i Q_i - penalty max(0, sd_i Q_i - sd_data)`.
    ///
    /// # Errors
    /// If there was no update, or the shapes do not fit.
    pub fn candidate_value(&self, obs: &Tensor, actions: &Tensor) -> Result<Tensor> {
        let values = EnsembleValues::of(&self.q, Rows::beside(obs, actions))?;
        let level = self.of_data()?.disagreement;
        values.penalized(self.config.conservatism(), self.config.penalty, level)
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
            Some(value) => q - value.forward_detached(obs)?.squeeze(1)?,
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

    /// Chooses the precision of whatever carries no gradient: targets, the values
    /// of next states and [`Self::conservative_value`].
    pub fn set_detached_precision(&mut self, precision: Precision) {
        let nets = self.q.iter_mut().chain(&mut self.target);
        for net in nets.chain(&mut self.value) {
            net.set_detached_precision(precision);
        }
    }

    /// Copies of `Q_1..Q_N` for acting: `[s, a]` to a value, row by row.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn rows(&self) -> Result<Vec<RowMlp>> {
        self.q.iter().map(Mlp::row_mlp).collect()
    }

    /// Adds every network and optimizer to `state`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, state: &mut State) -> Result<()> {
        for (i, net) in self.q.iter().enumerate() {
            net.save(&format!("critic.{i}"), state)?;
            self.target[i].save(&format!("critic.{i}.target"), state)?;
            self.q_optim[i].save(&format!("critic.{i}"), state);
        }
        if let (Some(net), Some(optim)) = (&self.value, &self.value_optim) {
            net.save("critic.value", state)?;
            optim.save("critic.value", state);
        }
        Ok(())
    }

    /// Takes every network and optimizer from `state`.
    ///
    /// # Errors
    /// If one is absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        for i in 0..self.q.len() {
            self.q[i].load(&format!("critic.{i}"), state)?;
            self.target[i].load(&format!("critic.{i}.target"), state)?;
            self.q_optim[i].load(&format!("critic.{i}"), state)?;
        }
        if let (Some(net), Some(optim)) = (&self.value, &mut self.value_optim) {
            net.load("critic.value", state)?;
            optim.load("critic.value", state)?;
        }
        Ok(())
    }
}

/// `min_i net_i(x)`, `[rows]`, without any gradient.
pub(crate) fn minimum(nets: &[Mlp], x: &Tensor) -> Result<Tensor> {
    conservative_value(nets, Conservatism::Min, x)
}
