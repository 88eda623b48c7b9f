//! FQL (Park, Li and Levine 2025, "Flow Q-Learning"): a flow clones the data; an actor of
//! one pass is distilled from it and climbs the critics besides, so that no gradient goes
//! through the flow's steps.

use std::num::NonZeroUsize;

use candle_core::Result;
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::normal;

use crate::{
    Aggregate, Critics,
    actor::Actor,
    bellman,
    flow::{self, Flow, FlowConfig, OneStep, data_actions, value_shape},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, chain_steps, not_negative, positive, unit,
    },
};

/// Hyper-parameters of FQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of flow, actor and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of all networks.
    pub lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// What the target critics say together.
    pub target: Aggregate,
    /// Weight of the distance to the flow, a mean over dimensions, against the value.
    pub alpha: f64,
    /// Whether the value is divided by the mean of its size, so that `alpha` does not
    /// depend on the scale of rewards.
    pub normalize_value: bool,
    /// Euler steps from noise to an action.
    pub flow_steps: NonZeroUsize,
}

impl Default for Config {
    /// The authors' `agents/fql.py`; `alpha` is that of halfcheetah-medium-replay and
    /// -medium-expert in FAC's runs of it, the authors' own being for other suites.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: flow::HIDDEN.to_vec(),
            lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            target: Aggregate::Mean,
            alpha: 30.0,
            normalize_value: false,
            flow_steps: flow::STEPS,
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        chain_steps("flow_steps", self.flow_steps.get())?;
        positive(&[("lr", self.lr)])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])?;
        not_negative(&[("alpha", self.alpha)])
    }
}

/// FQL while it is being trained.
#[derive(Debug)]
pub struct Fql {
    config: Config,
    act_dim: usize,
    flow: Flow,
    actor: OneStep,
    critics: Critics,
    next: Stream,
    proposal: Stream,
}

impl Baseline for Fql {
    const NAME: MethodName = names::FQL;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let (hidden, lr) = (&*config.hidden, config.lr);
        let flow = FlowConfig {
            hidden,
            lr,
            steps: config.flow_steps,
        };
        let critic = value_shape(obs_dim + act_dim, hidden)?;
        Ok(Self {
            flow: Flow::new(flow, obs_dim, act_dim, seed)?,
            actor: OneStep::new(hidden, lr, obs_dim, act_dim, seed)?,
            critics: Critics::glorot(&critic, 2, lr, seed)?,
            next: Stream::new(seed, "fql/next"),
            proposal: Stream::new(seed, "fql/proposal"),
            act_dim,
            config,
        })
    }
}

impl Learner for Fql {
    /// One gradient, of the sum of four losses where all networks stand: the critics'
    /// error from `r + discount (1 - d) Q'(s', clip mu(s', z'))`, the flow's, and the
    /// actor's `alpha |mu(s, z) - F(s, z)|^2 - Q(s, clip mu(s, z))`. The targets move
    /// towards the critics before these step: they lag by an update.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let (c, batch) = (&self.config, &sample.batch);
        let (s, next_s, rows) = (&batch.obs, &batch.next_obs, batch.rows());
        let a = data_actions(&batch.actions)?;

        let z = normal(&mut self.next, 1.0, rows, self.act_dim)?;
        let next = self.actor.act(next_s, &z)?;
        let y = bellman(
            batch,
            c.discount,
            &self.critics.target(next_s, &next, c.target)?,
        )?;
        let critic_loss = self.critics.error(s, &a, &y)?;
        let flow_loss = self.flow.loss(s, &a)?;
        let z = normal(&mut self.proposal, 1.0, rows, self.act_dim)?;
        let actor = self
            .actor
            .loss(&self.flow, &self.critics, s, &z, c.normalize_value)?;
        let actor_loss = ((&actor.distil * c.alpha)? + &actor.value)?;
        let grads = ((&critic_loss + &flow_loss)? + actor_loss)?.backward()?;

        self.critics.track(c.tau)?;
        self.critics.step(&grads)?;
        self.flow.step(&grads)?;
        self.actor.net.step(&grads)?;
        Ok(Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", scalar(&critic_loss)?)
            .with("flow_loss", scalar(&flow_loss)?)
            .with("distil_loss", scalar(&actor.distil)?)
            .with("value_loss", scalar(&actor.value)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .flow(&mut self.flow)
            .trained("actor", &mut self.actor.net)
            .critics(&mut self.critics)
            .stream("next", &mut self.next)
            .stream("proposal", &mut self.proposal)
    }

    fn actor(&self) -> Result<Actor> {
        self.actor.actor()
    }
}
