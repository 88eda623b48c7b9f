//! ReBRAC (Tarasov et al. 2023, "Revisiting the Minimalist Approach to Offline
//! Reinforcement Learning"): TD3+BC with normalized critics, and the distance to the
//! data's actions held against both the actor and the targets. The actor's target
//! follows the actor as just updated, as TD3's does; the authors' code has it follow
//! one step behind.

use std::sync::Arc;

use candle_core::{D, Result};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Head, Mlp, Trace, normal, relu_shape};

use super::td3bc::{mean_abs, smoothed};
use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    replay::Replay,
    scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, not_negative, positive, unit, updates,
    },
};

/// Hyper-parameters of ReBRAC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it. Targets take the data's next action, which the next
    /// transition of the file has.
    pub data: DataConfig,
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of the actor.
    pub actor_lr: f64,
    /// Adam's learning rate of the critics.
    pub critic_lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Weight of the distance to the data in the actor's loss.
    pub actor_beta: f64,
    /// Weight of the distance to the data in the targets.
    pub critic_beta: f64,
    /// Deviation of the noise on the target policy's actions.
    pub policy_noise: f64,
    /// The largest such noise.
    pub noise_clip: f64,
    /// Updates of the critics to one of the actor and the targets.
    pub policy_freq: u64,
    /// Whether the value in the actor's loss is divided by its mean size.
    pub normalize_q: bool,
}

impl Default for Config {
    /// CORL's `rebrac.py`, and its configuration for halfcheetah-medium; the betas of
    /// other tasks stand in `suites/mujoco.toml`.
    fn default() -> Self {
        Self {
            data: DataConfig {
                batch_size: 1024,
                ..DataConfig::raw()
            },
            hidden: vec![256, 256, 256],
            actor_lr: 1e-3,
            critic_lr: 1e-3,
            discount: 0.99,
            tau: 0.005,
            actor_beta: 0.001,
            critic_beta: 0.01,
            policy_noise: 0.2,
            noise_clip: 0.5,
            policy_freq: 2,
            normalize_q: true,
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        updates("policy_freq", self.policy_freq, 1)?;
        positive(&[("actor_lr", self.actor_lr), ("critic_lr", self.critic_lr)])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])?;
        not_negative(&[
            ("actor_beta", self.actor_beta),
            ("critic_beta", self.critic_beta),
            ("policy_noise", self.policy_noise),
            ("noise_clip", self.noise_clip),
        ])
    }
}

/// ReBRAC while it is being trained.
#[derive(Debug)]
pub struct ReBrac {
    config: Config,
    act_dim: usize,
    actor: Trained,
    actor_target: Mlp,
    critics: Critics,
    noise: Stream,
    replay: Arc<Replay>,
}

impl Baseline for ReBrac {
    const NAME: MethodName = names::REBRAC;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let actor = shape(obs_dim, act_dim)?.with_head(Head::Tanh);
        let actor = Trained::new(actor, config.actor_lr, seed, "actor")?;
        let critic = shape(obs_dim + act_dim, 1)?.with_layer_norm(true);
        Ok(Self {
            actor_target: actor.net.duplicate()?,
            critics: Critics::new(&critic, 2, config.critic_lr, seed)?,
            noise: Stream::new(seed, "rebrac/noise"),
            replay: start.replay,
            actor,
            act_dim,
            config,
        })
    }
}

impl Learner for ReBrac {
    /// `y = r + discount (1 - d) (min_i Q'_i(s', ã') - critic_beta |ã' - a'|^2)` with
    /// the target policy's noisy `ã'` and the data's `a'`; in every second update the
    /// actor descends `actor_beta |pi(s) - a|^2 - min_i Q_i(s, pi(s)) / mean |Q|`.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let (c, batch) = (&self.config, &sample.batch);
        let (s, a) = (&batch.obs, &batch.actions);

        let noise = normal(
            &mut self.noise,
            c.policy_noise as f32,
            batch.rows(),
            self.act_dim,
        )?;
        let next = smoothed(&self.actor_target, &batch.next_obs, &noise, c.noise_clip)?;
        let off = (&next - self.replay.next_actions(&sample.index)?)?
            .sqr()?
            .sum(D::Minus1)?;
        let off = match self.replay.next_actions_known(&sample.index)? {
            None => off,
            Some(known) => (off * known)?,
        };
        let value = self.critics.target_min(&batch.next_obs, &next)?;
        let y = bellman(batch, c.discount, &(value - (off * c.critic_beta)?)?)?;
        let metrics = Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", self.critics.fit(s, a, &y)?);
        if !step.is_multiple_of(c.policy_freq) {
            return Ok(metrics);
        }

        let proposed = self.actor.net.forward(s, Trace::Params)?;
        let q = self.critics.climb_min(s, &proposed)?;
        let cloning = (&proposed - a)?.sqr()?.sum(D::Minus1)?.mean_all()?;
        let scale = if c.normalize_q {
            1.0 / mean_abs(&q)?
        } else {
            1.0
        };
        let loss = ((cloning * c.actor_beta)? - (q.mean_all()? * scale)?)?;
        let actor_loss = self.actor.descend(&loss)?;
        self.critics.track(c.tau)?;
        self.actor_target.track(&self.actor.net, c.tau as f32)?;
        Ok(metrics.with("actor_loss", actor_loss))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .trained("actor", &mut self.actor)
            .net("actor.target", &self.actor_target)
            .critics(&mut self.critics)
            .stream("noise", &mut self.noise)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::net(&self.actor.net)
    }
}
