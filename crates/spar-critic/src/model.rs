//! The ensemble.

use candle_core::{Result, Tensor};
use spar_core::Stream;
use spar_nn::{
    Adam, AdamConfig, Conservatism, Mlp, Precision, RowMlp, Rows, State, StateError,
    conservative_value, relu_shape,
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
        self.q.iter().map(RowMlp::of).collect()
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
