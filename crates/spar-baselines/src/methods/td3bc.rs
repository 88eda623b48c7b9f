//! TD3+BC (Fujimoto and Gu 2021, "A Minimalist Approach to Offline Reinforcement
//! Learning"): TD3 whose actor also clones the data's actions.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Head, Mlp, Trace, normal, relu_shape};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    learner::{
        Baseline, Exploration, Learner, MethodName, Metrics, Online, Parts, Sample, Start, names,
    },
    scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, not_negative, positive, unit, updates,
    },
};

/// Hyper-parameters of TD3+BC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
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
    /// Weight of the value against cloning.
    pub alpha: f64,
    /// Deviation of the noise on the target policy's actions.
    pub policy_noise: f64,
    /// The largest such noise.
    pub noise_clip: f64,
    /// Updates of the critics to one of the actor and the targets.
    pub policy_freq: u64,
}

impl Default for Config {
    /// The authors' `main.py` and `TD3_BC.py`.
    fn default() -> Self {
        Self {
            data: DataConfig::default(),
            hidden: vec![256, 256],
            actor_lr: 3e-4,
            critic_lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            alpha: 2.5,
            policy_noise: 0.2,
            noise_clip: 0.5,
            policy_freq: 2,
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
            ("alpha", self.alpha),
            ("policy_noise", self.policy_noise),
            ("noise_clip", self.noise_clip),
        ])
    }
}

/// TD3+BC while it is being trained.
#[derive(Debug)]
pub struct Td3Bc {
    config: Config,
    act_dim: usize,
    actor: Trained,
    actor_target: Mlp,
    critics: Critics,
    noise: Stream,
}

impl Baseline for Td3Bc {
    const NAME: MethodName = names::TD3BC;
    // The noise that TD3 explores by.
    const ONLINE: Option<Online> = Some(Online {
        noise: Some(0.1),
        settings: &[],
    });
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let actor = shape(obs_dim, act_dim)?.with_head(Head::Tanh);
        let actor = Trained::new(actor, config.actor_lr, seed, "actor")?;
        Ok(Self {
            actor_target: actor.net.duplicate()?,
            critics: Critics::new(&shape(obs_dim + act_dim, 1)?, 2, config.critic_lr, seed)?,
            noise: Stream::new(seed, "td3bc/noise"),
            actor,
            act_dim,
            config,
        })
    }
}

impl Learner for Td3Bc {
    /// `y = r + discount (1 - d) min_i Q'_i(s', pi'(s') + noise)` for the critics;
    /// in every second update the actor climbs `lambda Q_1(s, pi(s))`, with
    /// `lambda = alpha / mean |Q_1|`, held back by `mean (pi(s) - a)^2`.
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
        let y = bellman(
            batch,
            c.discount,
            &self.critics.target_min(&batch.next_obs, &next)?,
        )?;
        let metrics = Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", self.critics.fit(s, a, &y)?);
        if !step.is_multiple_of(c.policy_freq) {
            return Ok(metrics);
        }

        let proposed = self.actor.net.forward(s, Trace::Params)?;
        let q = self.critics.climb(0, s, &proposed)?;
        let cloning = (&proposed - a)?.sqr()?.mean_all()?;
        let loss = (cloning - (q.mean_all()? * (c.alpha / mean_abs(&q)?))?)?;
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

    fn exploration(&self) -> Result<Option<Exploration>> {
        Ok(Some(Exploration::Noise))
    }
}

/// `mean |q|`, a number no gradient goes through.
pub(crate) fn mean_abs(q: &Tensor) -> Result<f64> {
    Ok(f64::from(scalar(&q.detach().abs()?.mean_all()?)?))
}

/// `clip(pi'(s') + clip(noise))`, `[rows, act_dim]`: TD3's smoothing of the target
/// policy's actions, without any gradient.
pub(crate) fn smoothed(
    target: &Mlp,
    next_obs: &Tensor,
    noise: &Tensor,
    noise_clip: f64,
) -> Result<Tensor> {
    let clip = noise_clip as f32;
    let next = target.forward_detached(next_obs)?;
    (next + noise.clamp(-clip, clip)?)?.clamp(-1f32, 1f32)
}
