//! InAC (Xiao et al. 2023, "The In-Sample Softmax for Offline Reinforcement
//! Learning"): an entropy-regularized actor-critic whose policy is fitted to actions
//! of the data alone, reweighted by a model of what drew them.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Head, Trace, normal, relu_shape};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    gaussian::{Bound, FreeGaussian, log_density},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{DataConfig, Settings, SettingsError, accessors, positive, unit},
};

/// Bounds of a policy's log standard deviation.
const LOG_STD: Bound = Bound::Sigmoid(-6.0, 0.0);

/// Bounds of a weight.
const WEIGHT: (f64, f64) = (1e-8, 1e4);

/// Hyper-parameters of InAC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of all networks.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of all networks.
    pub lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Weight of the entropy.
    pub temperature: f64,
}

impl Default for Config {
    /// The authors' repository; the temperature is that of halfcheetah-medium, those
    /// of other tasks stand in `suites/mujoco.toml`.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: vec![256, 256],
            lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            temperature: 0.33,
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        positive(&[("lr", self.lr), ("temperature", self.temperature)])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])
    }
}

/// InAC while it is being trained.
#[derive(Debug)]
pub struct InAc {
    config: Config,
    act_dim: usize,
    behaviour: FreeGaussian,
    actor: FreeGaussian,
    value: Trained,
    critics: Critics,
    own: Stream,
    next: Stream,
}

impl Baseline for InAc {
    const NAME: MethodName = names::INAC;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed, lr) = (start.obs_dim, start.act_dim, start.seed, config.lr);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let policy = |name| {
            let mean = shape(obs_dim, act_dim)?.with_head(Head::Tanh);
            FreeGaussian::new(Trained::new(mean, lr, seed, name)?, LOG_STD, lr)
        };
        Ok(Self {
            behaviour: policy("behaviour")?,
            actor: policy("actor")?,
            value: Trained::new(shape(obs_dim, 1)?, lr, seed, "value")?,
            critics: Critics::new(&shape(obs_dim + act_dim, 1)?, 2, lr, seed)?,
            own: Stream::new(seed, "inac/own"),
            next: Stream::new(seed, "inac/next"),
            act_dim,
            config,
        })
    }
}

impl InAc {
    /// `min_i Q'_i(s, a) - temperature log pi(a|s)` of the actions that `noise`,
    /// `[rows, act_dim]`, makes of the policy, without any gradient.
    fn soft_value(&self, s: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let a = self.actor.draw(s, noise)?;
        let mean = self.actor.mean.net.forward_detached(s)?;
        let log_pi = log_density(&a, &mean, &self.actor.log_std()?.detach())?;
        self.critics.target_min(s, &a)? - (log_pi * self.config.temperature)?
    }
}

/// `log pi(a|s)`, `[rows]`, with gradients of both parts.
fn log_pi(policy: &FreeGaussian, s: &Tensor, a: &Tensor) -> Result<Tensor> {
    let mean = policy.mean.net.forward(s, Trace::Params)?;
    log_density(a, &mean, &policy.log_std()?)
}

impl Learner for InAc {
    /// In this order: the behaviour, by likelihood; the value, towards
    /// `min_i Q'_i(s, a~) - t log pi(a~|s)`, `a~ ~ pi`; the critics, towards
    /// `r + discount (1 - d)` of the same at `s'`; the actor,
    /// `-mean w log pi(a|s)`, `w = clip(exp((min_i Q_i - V) / t - log beta(a|s)))`; the
    /// targets.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let (s, a, rows) = (&batch.obs, &batch.actions, batch.rows());

        let behaviour_loss = log_pi(&self.behaviour, s, a)?.mean_all()?.neg()?;
        self.behaviour.step(&behaviour_loss.backward()?)?;

        let noise = normal(&mut self.own, 1.0, rows, self.act_dim)?;
        let target = self.soft_value(s, &noise)?;
        let error = (self.value.net.forward(s, Trace::Params)?.squeeze(1)? - target)?;
        let value_loss = self.value.descend(&(error.sqr()?.mean_all()? * 0.5)?)?;

        let noise = normal(&mut self.next, 1.0, rows, self.act_dim)?;
        let next = self.soft_value(&batch.next_obs, &noise)?;
        let c = &self.config;
        let y = bellman(batch, c.discount, &next)?;
        let critic_loss = self.critics.fit_weighted(s, a, &y, 0.25)?;

        let beta = self.behaviour.mean.net.forward_detached(s)?;
        let log_beta = log_density(a, &beta, &self.behaviour.log_std()?.detach())?;
        let advantage =
            (self.critics.min(s, a)? - self.value.net.forward_detached(s)?.squeeze(1)?)?;
        let weights = ((advantage / c.temperature)? - log_beta)?.exp()?;
        let weights = weights.maximum(WEIGHT.0)?.minimum(WEIGHT.1)?;
        let loss = (&weights * log_pi(&self.actor, s, a)?)?.mean_all()?.neg()?;
        self.actor.step(&loss.backward()?)?;
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("behaviour_loss", scalar(&behaviour_loss)?)
            .with("value_loss", value_loss)
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("weight_mean", scalar(&weights.mean_all()?)?)
            .with("actor_loss", scalar(&loss)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .trained("behaviour", &mut self.behaviour.mean)
            .variable("behaviour.log_std", &mut self.behaviour.log_std)
            .trained("actor", &mut self.actor.mean)
            .variable("actor.log_std", &mut self.actor.log_std)
            .trained("value", &mut self.value)
            .critics(&mut self.critics)
            .stream("own", &mut self.own)
            .stream("next", &mut self.next)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::net(&self.actor.mean.net)
    }
}
