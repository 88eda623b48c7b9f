//! Implicit Q-learning (Kostrikov, Nair and Levine 2021): values of the data's
//! actions alone, and a policy cloned with weights that grow with the advantage.

use candle_core::Result;
use serde::{Deserialize, Serialize};
use spar_core::limits::MOST_UPDATES;
use spar_critic::expectile_loss;
use spar_nn::{Head, Trace, relu_shape};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman, cosine,
    gaussian::{Bound, FreeGaussian, log_density},
    learner::{
        Baseline, Exploration, Learner, MethodName, Metrics, Online, Parts, Sample, Start, names,
    },
    scalar,
    settings::{
        DataConfig, Rewards, Settings, SettingsError, accessors, not_negative, positive, unit,
        updates,
    },
};

/// Bounds of the policy's log standard deviation (`policy.py`).
const LOG_STD: Bound = Bound::Clamp(-5.0, 2.0);

/// Hyper-parameters of IQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of actor, value and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of the actor, at the start.
    pub actor_lr: f64,
    /// Updates in which that falls to zero by a cosine; it stays there.
    pub decay_updates: u64,
    /// Adam's learning rate of value and critics.
    pub critic_lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Expectile of the value.
    pub expectile: f64,
    /// What the advantage is multiplied by in a weight's exponent.
    pub beta: f64,
    /// The largest weight.
    pub weight_max: f64,
}

impl Default for Config {
    /// The authors' `train_offline.py` and `configs/mujoco_config.py`.
    fn default() -> Self {
        Self {
            data: DataConfig {
                rewards: Rewards::Range(1000.0),
                ..DataConfig::raw()
            },
            hidden: vec![256, 256],
            actor_lr: 3e-4,
            decay_updates: 1_000_000,
            critic_lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            expectile: 0.7,
            beta: 3.0,
            weight_max: 100.0,
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        updates("decay_updates", self.decay_updates, 1)?;
        positive(&[
            ("actor_lr", self.actor_lr),
            ("critic_lr", self.critic_lr),
            ("weight_max", self.weight_max),
        ])?;
        unit(&[
            ("discount", self.discount),
            ("tau", self.tau),
            ("expectile", self.expectile),
        ])?;
        not_negative(&[("beta", self.beta)])
    }
}

/// IQL while it is being trained.
#[derive(Debug)]
pub struct Iql {
    config: Config,
    actor: FreeGaussian,
    value: Trained,
    critics: Critics,
}

impl Baseline for Iql {
    const NAME: MethodName = names::IQL;
    // Where the rate has fallen to zero nothing would be learned any more.
    const ONLINE: Option<Online> = Some(Online {
        noise: None,
        settings: &[("decay_updates", MOST_UPDATES)],
    });
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let mean = shape(obs_dim, act_dim)?.with_head(Head::Tanh);
        let mean = Trained::new(mean, config.actor_lr, seed, "actor")?;
        Ok(Self {
            actor: FreeGaussian::new(mean, LOG_STD, config.actor_lr)?,
            value: Trained::new(shape(obs_dim, 1)?, config.critic_lr, seed, "value")?,
            critics: Critics::new(&shape(obs_dim + act_dim, 1)?, 2, config.critic_lr, seed)?,
            config,
        })
    }
}

impl Learner for Iql {
    /// In this order: the value, towards an expectile of `min_i Q'_i(s, a)`; the
    /// actor, `-mean min(exp(beta (min_i Q'_i - V)), weight_max) log pi(a|s)`; the
    /// critics, towards `r + discount (1 - d) V(s')`; the targets.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let (c, batch) = (&self.config, &sample.batch);
        let (s, a) = (&batch.obs, &batch.actions);

        let q = self.critics.target_min(s, a)?;
        let u = (&q - self.value.net.forward(s, Trace::Params)?.squeeze(1)?)?;
        let value_loss = self.value.descend(&expectile_loss(&u, c.expectile)?)?;

        let advantage = (q - self.value.net.forward_detached(s)?.squeeze(1)?)?;
        let weights = (advantage * c.beta)?.exp()?.minimum(c.weight_max)?;
        let mean = self.actor.mean.net.forward(s, Trace::Params)?;
        let log_pi = log_density(a, &mean, &self.actor.log_std()?)?;
        let loss = (&weights * log_pi)?.mean_all()?.neg()?;
        let lr = cosine(c.actor_lr, step, c.decay_updates);
        self.actor.mean.set_lr(lr);
        self.actor.log_std.set_lr(lr);
        self.actor.step(&loss.backward()?)?;

        let next = self
            .value
            .net
            .forward_detached(&batch.next_obs)?
            .squeeze(1)?;
        let y = bellman(batch, c.discount, &next)?;
        let critic_loss = self.critics.fit(s, a, &y)?;
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("value_loss", value_loss)
            .with("actor_loss", scalar(&loss)?)
            .with("weight_mean", scalar(&weights.mean_all()?)?)
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .trained("actor", &mut self.actor.mean)
            .variable("actor.log_std", &mut self.actor.log_std)
            .trained("value", &mut self.value)
            .critics(&mut self.critics)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::net(&self.actor.mean.net)
    }

    fn exploration(&self) -> Result<Option<Exploration>> {
        let std = self.actor.log_std()?.exp()?.to_vec1()?;
        Ok(Some(Exploration::Gaussian(std)))
    }
}
