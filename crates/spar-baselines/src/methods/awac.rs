//! AWAC (Nair et al. 2020): an off-policy critic of the current policy, and a
//! policy cloned with weights that grow with its advantage.

use candle_core::Result;
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Trace, normal, relu_shape};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    gaussian::{Bound, FreeGaussian, log_density},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{DataConfig, Settings, SettingsError, accessors, positive, unit},
};

/// Bounds of the policy's log standard deviation (CORL).
const LOG_STD: Bound = Bound::Clamp(-20.0, 2.0);

/// Hyper-parameters of AWAC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of all networks.
    pub lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// What the advantage is divided by in a weight's exponent.
    pub lambda: f64,
    /// The largest weight.
    pub weight_max: f64,
}

impl Default for Config {
    /// CORL's `awac.py` and its MuJoCo configurations.
    fn default() -> Self {
        Self {
            data: DataConfig::default(),
            hidden: vec![256, 256, 256],
            lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            lambda: 1.0 / 3.0,
            weight_max: 100.0,
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        positive(&[
            ("lr", self.lr),
            ("lambda", self.lambda),
            ("weight_max", self.weight_max),
        ])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])
    }
}

/// AWAC while it is being trained.
#[derive(Debug)]
pub struct Awac {
    config: Config,
    act_dim: usize,
    actor: FreeGaussian,
    critics: Critics,
    next: Stream,
    proposal: Stream,
}

impl Baseline for Awac {
    const NAME: MethodName = names::AWAC;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let mean = Trained::new(shape(obs_dim, act_dim)?, config.lr, seed, "actor")?;
        Ok(Self {
            actor: FreeGaussian::new(mean, LOG_STD, config.lr)?,
            critics: Critics::new(&shape(obs_dim + act_dim, 1)?, 2, config.lr, seed)?,
            next: Stream::new(seed, "awac/next"),
            proposal: Stream::new(seed, "awac/proposal"),
            act_dim,
            config,
        })
    }
}

impl Learner for Awac {
    /// The critics towards `r + discount (1 - d) min_i Q'_i(s', a')`, `a' ~ pi`; then
    /// the actor, `-mean min(exp(A / lambda), weight_max) log pi(a|s)` with
    /// `A = min_i Q_i(s, a) - min_i Q_i(s, a~)`, `a~ ~ pi`.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let (c, batch) = (&self.config, &sample.batch);
        let (s, a) = (&batch.obs, &batch.actions);

        let noise = normal(&mut self.next, 1.0, batch.rows(), self.act_dim)?;
        let next = self
            .actor
            .draw(&batch.next_obs, &noise)?
            .clamp(-1f32, 1f32)?;
        let y = bellman(
            batch,
            c.discount,
            &self.critics.target_min(&batch.next_obs, &next)?,
        )?;
        let critic_loss = self.critics.fit(s, a, &y)?;

        let noise = normal(&mut self.proposal, 1.0, batch.rows(), self.act_dim)?;
        let proposed = self.actor.draw(s, &noise)?.clamp(-1f32, 1f32)?;
        let advantage = (self.critics.min(s, a)? - self.critics.min(s, &proposed)?)?;
        let weights = (advantage / c.lambda)?.exp()?.minimum(c.weight_max)?;
        let mean = self.actor.mean.net.forward(s, Trace::Params)?;
        let log_pi = log_density(a, &mean, &self.actor.log_std()?)?;
        let loss = (&weights * log_pi)?.mean_all()?.neg()?;
        self.actor.step(&loss.backward()?)?;
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("weight_mean", scalar(&weights.mean_all()?)?)
            .with("actor_loss", scalar(&loss)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .trained("actor", &mut self.actor.mean)
            .variable("actor.log_std", &mut self.actor.log_std)
            .critics(&mut self.critics)
            .stream("next", &mut self.next)
            .stream("proposal", &mut self.proposal)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::net(&self.actor.mean.net)
    }
}
