//! BRAC (Wu, Tucker and Nachum 2019, "Behavior Regularized Offline Reinforcement
//! Learning"): an actor-critic that pays for its divergence from a model of what drew
//! the data, in the policy's loss alone (`brac-p`) or in the values too (`brac-v`).

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Trace, normal, relu_shape};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    gaussian::{Bound, halves, tanh_density, tanh_draw},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    repeat_rows, scalar,
    settings::{DataConfig, Settings, SettingsError, accessors, positive, unit, updates},
};

/// Bounds of a policy's log standard deviation (`networks.py`).
const LOG_STD: Bound = Bound::Tanh(-5.0, 0.0);

/// Actions are given densities as if they were no larger (`divergences.py`).
const LIMIT: f32 = 1.0 - 1e-3;

/// Hyper-parameters of BRAC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of the policies.
    pub hidden: Vec<usize>,
    /// Widths of the hidden layers of the critics.
    pub critic_hidden: Vec<usize>,
    /// Adam's learning rate of the behaviour.
    pub behaviour_lr: f64,
    /// Of all updates the first so many clone the behaviour, which is frozen then.
    pub behaviour_updates: u64,
    /// Adam's learning rate of the actor.
    pub actor_lr: f64,
    /// Adam's learning rate of the critics.
    pub critic_lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Weight of the divergence.
    pub alpha: f64,
    /// Actions a state's divergence is estimated by.
    pub samples: usize,
    /// Updates, after the behaviour's, in which the actor only approaches it.
    pub warm_start: u64,
}

impl Default for Config {
    /// The authors' `brac_primal_agent.py` with the rates and sizes of
    /// `d4rl_evaluations`, where the behaviour is trained apart, for up to 1M updates;
    /// here they are among the run's.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: vec![200, 200],
            critic_hidden: vec![300, 300],
            behaviour_lr: 5e-4,
            behaviour_updates: 300_000,
            actor_lr: 3e-5,
            critic_lr: 1e-3,
            discount: 0.99,
            tau: 0.005,
            alpha: 1.0,
            samples: 4,
            warm_start: 20_000,
        }
    }
}

impl Settings for Config {
    const STAGES: &'static [&'static str] = &["behaviour_updates"];

    accessors!(discount, layers: [hidden, critic_hidden]);

    fn draws(&self) -> Option<(&'static str, usize)> {
        Some(("samples", self.samples))
    }

    fn check(&self) -> std::result::Result<(), SettingsError> {
        updates("behaviour_updates", self.behaviour_updates, 1)?;
        updates("warm_start", self.warm_start, 0)?;
        positive(&[
            ("behaviour_lr", self.behaviour_lr),
            ("actor_lr", self.actor_lr),
            ("critic_lr", self.critic_lr),
            ("alpha", self.alpha),
        ])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])
    }
}

/// BRAC while it is being trained; `V` has the value penalty.
#[derive(Debug)]
pub struct Brac<const V: bool> {
    config: Config,
    act_dim: usize,
    behaviour: Trained,
    actor: Trained,
    critics: Critics,
    own: Stream,
    next: Stream,
    own_divergence: Stream,
    next_divergence: Stream,
}

/// BRAC with the policy penalty alone.
pub type BracP = Brac<false>;

/// BRAC with the value penalty.
pub type BracV = Brac<true>;

impl<const V: bool> Baseline for Brac<V> {
    const NAME: MethodName = if V { names::BRAC_V } else { names::BRAC_P };
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let policy = relu_shape(obs_dim, config.hidden.clone(), 2 * act_dim)?;
        let critic = relu_shape(obs_dim + act_dim, config.critic_hidden.clone(), 1)?;
        let stream = |name| Stream::new(seed, &format!("brac/{name}"));
        Ok(Self {
            behaviour: Trained::new(policy.clone(), config.behaviour_lr, seed, "behaviour")?,
            actor: Trained::new(policy, config.actor_lr, seed, "actor")?,
            critics: Critics::new(&critic, 2, config.critic_lr, seed)?,
            own: stream("own"),
            next: stream("next"),
            own_divergence: stream("own-divergence"),
            next_divergence: stream("next-divergence"),
            act_dim,
            config,
        })
    }
}

impl<const V: bool> Brac<V> {
    /// The divergence of a policy with output `head` from the behaviour in the states
    /// `s`, `[rows]`: `mean_k log pi(a_k|s) - log beta(a_k|s)` of the draws that
    /// `noise`, `[rows * K, act_dim]`, makes, with gradients of `head`.
    fn divergence(&self, s: &Tensor, head: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let (rows, k) = (s.dim(0)?, self.config.samples);
        let (mean, log_std) = halves(&repeat_rows(head, k)?, LOG_STD, 0.0)?;
        let (a, log_pi) = tanh_draw(&mean, &log_std, noise)?;
        let beta = repeat_rows(&self.behaviour.net.forward_detached(s)?, k)?;
        let (mean, log_std) = halves(&beta, LOG_STD, 0.0)?;
        let log_beta = tanh_density(&a, &mean, &log_std, LIMIT)?;
        (log_pi - log_beta)?.reshape((rows, k))?.mean(1)
    }
}

impl<const V: bool> Learner for Brac<V> {
    /// First the behaviour, by likelihood. Then, with it frozen: the critics, towards
    /// `r + discount (1 - d) (min_i Q'_i(s', a') - alpha D(s'))`, without the
    /// divergence in `brac-p`; the actor, down `alpha D(s) - min_i Q_i(s, a~)`; the
    /// targets.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let (batch, act_dim) = (&sample.batch, self.act_dim);
        let (s, next_s, rows) = (&batch.obs, &batch.next_obs, batch.rows());
        if step <= self.config.behaviour_updates {
            let head = self.behaviour.net.forward(s, Trace::Params)?;
            let (mean, log_std) = halves(&head, LOG_STD, 0.0)?;
            let density = tanh_density(&batch.actions, &mean, &log_std, LIMIT)?;
            let loss = self.behaviour.descend(&density.mean_all()?.neg()?)?;
            return Ok(Metrics::default().with("behaviour_loss", loss));
        }
        let c = &self.config;
        let draws = rows * c.samples;

        let noise = normal(&mut self.next, 1.0, rows, act_dim)?;
        let head = self.actor.net.forward_detached(next_s)?;
        let (mean, log_std) = halves(&head, LOG_STD, 0.0)?;
        let (next, _) = tanh_draw(&mean, &log_std, &noise)?;
        let mut value = self.critics.target_min(next_s, &next)?;
        if V {
            let noise = normal(&mut self.next_divergence, 1.0, draws, act_dim)?;
            value = (value - (self.divergence(next_s, &head, &noise)? * c.alpha)?)?;
        }
        let y = bellman(batch, c.discount, &value)?;
        let critic_loss = self.critics.fit(s, &batch.actions, &y)?;

        let head = self.actor.net.forward(s, Trace::Params)?;
        let noise = normal(&mut self.own_divergence, 1.0, draws, act_dim)?;
        let divergence = self.divergence(s, &head, &noise)?.mean_all()?;
        let mut loss = (&divergence * c.alpha)?;
        // Drawn whether or not it is looked at.
        let noise = normal(&mut self.own, 1.0, rows, act_dim)?;
        if step > c.behaviour_updates + c.warm_start {
            let (mean, log_std) = halves(&head, LOG_STD, 0.0)?;
            let (proposed, _) = tanh_draw(&mean, &log_std, &noise)?;
            loss = (loss - self.critics.climb_min(s, &proposed)?.mean_all()?)?;
        }
        let actor_loss = self.actor.descend(&loss)?;
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("divergence", scalar(&divergence)?)
            .with("actor_loss", actor_loss))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .trained("behaviour", &mut self.behaviour)
            .trained("actor", &mut self.actor)
            .critics(&mut self.critics)
            .stream("own", &mut self.own)
            .stream("next", &mut self.next)
            .stream("own_divergence", &mut self.own_divergence)
            .stream("next_divergence", &mut self.next_divergence)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::tanh_mean(&self.actor.net)
    }
}
