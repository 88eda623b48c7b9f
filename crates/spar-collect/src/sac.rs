//! Soft actor-critic, the algorithm D4RL's behaviour policies were trained by
//! (Haarnoja et al. 2018, with automatic temperature; sizes and rates of
//! rlkit, which D4RL used).

use candle_core::{D, Device, Result, Tensor, Var};
use serde::{Deserialize, Serialize};
use spar_core::{
    EnvId, Stream,
    limits::{self, MOST_BATCH, MOST_ROWS, MOST_UPDATES},
};
use spar_nn::{Adam, AdamConfig, Batch, Mlp, State, StateError, Trace, normal, relu_shape};

use crate::{
    CollectError,
    gaussian::{self, GaussianPolicy},
};

/// Most environments stepped in turn: each has a simulation of its own.
const MOST_ENVS: u64 = 1024;

/// Hyper-parameters of [`Sac`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SacConfig {
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Transitions per update.
    pub batch_size: usize,
    /// Adam's learning rate of the actor.
    pub lr: f32,
    /// Adam's learning rate of critics and temperature.
    pub critic_lr: f32,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the target critics' Polyak averaging.
    pub tau: f32,
    /// How far the value in targets and in the actor's loss lies from the twins'
    /// mean towards their least: 1 is SAC's minimum, 0 the mean. HalfCheetah, which
    /// never terminates, learns faster without pessimism; TQC (Kuznetsov et al.
    /// 2020) drops no quantile there for the same reason.
    pub pessimism: f32,
    /// LayerNorm in the critics.
    pub layer_norm: bool,
    /// Environment steps taken with uniformly random actions before the first
    /// update.
    pub start_steps: usize,
    /// Environment steps after which all learning rates are multiplied by
    /// `late_factor`, so that a policy that has learned to move settles.
    pub late_from: Option<usize>,
    /// See `late_from`.
    pub late_factor: f32,
    /// Environment steps in all.
    pub total_steps: usize,
    /// Environments stepped in turn.
    pub num_envs: usize,
    /// Updates after each step of all of them.
    pub gradient_steps: usize,
    /// Transitions the replay buffer holds.
    pub buffer_size: usize,
    /// Steps between two snapshots of the policy.
    pub snapshot_every: usize,
    /// Snapshots between two checkpoints.
    pub checkpoint_every: usize,
}

impl SacConfig {
    /// What the policies of `env` in `datasets/behavior` were trained with. Rates are
    /// higher and updates per step fewer than rlkit's: steps are cheap beside
    /// updates, and with four times the data an update teaches more.
    pub fn of(env: EnvId) -> Self {
        let usual = Self::default();
        if env == EnvId::HALF_CHEETAH {
            Self {
                pessimism: 0.0,
                late_from: Some(1_400_000),
                total_steps: 1_620_000,
                ..usual
            }
        } else if env == EnvId::HOPPER {
            Self {
                late_from: Some(600_000),
                total_steps: 820_000,
                ..usual
            }
        } else if env == EnvId::WALKER2D {
            // Without LayerNorm it had learned no gait after 85 000 updates.
            Self {
                layer_norm: true,
                late_from: Some(1_200_000),
                total_steps: 1_400_000,
                ..usual
            }
        } else if env.name().starts_with("ant") {
            // The two ants, gym's and antmaze's: more to move, so more updates and larger
            // batches; as wide an observation as gym's needs a shorter memory.
            Self {
                batch_size: 256,
                lr: 5e-4,
                critic_lr: 5e-4,
                layer_norm: true,
                late_from: Some(1_600_000),
                total_steps: 2_000_000,
                buffer_size: 500_000,
                ..usual
            }
        } else {
            usual
        }
    }
}

impl SacConfig {
    /// Whether a training can be made of these numbers, and whether steps come in whole
    /// numbers: rounds of all environments in a stretch
    /// between snapshots, and such stretches in a training. What is interrupted could
    /// not else continue as if it had not been.
    ///
    /// # Errors
    /// [`CollectError::Setting`] naming what is out of range, or
    /// [`CollectError::Steps`] naming the two numbers that do not fit.
    pub fn check(&self) -> std::result::Result<(), CollectError> {
        limits::widths("hidden", &self.hidden)?;
        for (field, value, range) in [
            ("batch_size", self.batch_size, 1..=MOST_BATCH),
            ("start_steps", self.start_steps, 0..=MOST_ROWS),
            ("late_from", self.late_from.unwrap_or(0), 0..=MOST_ROWS),
            ("steps", self.total_steps, 1..=MOST_ROWS),
            ("num_envs", self.num_envs, 1..=MOST_ENVS),
            ("gradient_steps", self.gradient_steps, 0..=MOST_UPDATES),
            ("buffer_size", self.buffer_size, 1..=MOST_ROWS),
            ("snapshot_every", self.snapshot_every, 1..=MOST_ROWS),
            ("checkpoint_every", self.checkpoint_every, 1..=MOST_ROWS),
        ] {
            limits::count(field, value as u64, range)?;
        }
        for (what, steps, of, unit) in [
            (
                "total_steps",
                self.total_steps,
                "snapshot_every",
                self.snapshot_every,
            ),
            (
                "snapshot_every",
                self.snapshot_every,
                "num_envs",
                self.num_envs,
            ),
        ] {
            if steps == 0 || unit == 0 || !steps.is_multiple_of(unit) {
                return Err(CollectError::Steps {
                    what,
                    steps,
                    of,
                    unit,
                });
            }
        }
        Ok(())
    }
}

impl Default for SacConfig {
    /// rlkit's sizes; rates and updates per step of [`SacConfig::of`].
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            batch_size: 128,
            lr: 1e-3,
            critic_lr: 1e-3,
            discount: 0.99,
            tau: 0.005,
            pessimism: 1.0,
            layer_norm: false,
            start_steps: 5_000,
            late_from: None,
            late_factor: 0.2,
            total_steps: 1_000_000,
            num_envs: 4,
            gradient_steps: 1,
            buffer_size: 1_000_000,
            snapshot_every: 20_000,
            checkpoint_every: 5,
        }
    }
}

/// Actor, twin critics with targets, temperature and their optimizers.
#[derive(Debug)]
pub struct Sac {
    config: SacConfig,
    act_dim: usize,
    /// Its output is `[mean, log_std]`.
    actor: Mlp,
    critics: Vec<Mlp>,
    targets: Vec<Mlp>,
    log_alpha: Var,
    actor_optim: Adam,
    critic_optims: Vec<Adam>,
    alpha_optim: Adam,
    noise: Stream,
}

/// What one update measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SacMetrics {
    /// Sum of the critics' mean squared errors.
    pub critic_loss: f32,
    /// `mean(alpha log pi - Q)`.
    pub actor_loss: f32,
    /// The temperature.
    pub alpha: f32,
}

impl Sac {
    /// Fresh networks for `env`, seeded by `seed`.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    pub fn new(config: SacConfig, env: EnvId, seed: u64) -> Result<Self> {
        let (obs_dim, act_dim) = (env.obs_dim(), env.act_dim());
        let net = |name: &str, input, output, layer_norm| {
            let shape = relu_shape(input, config.hidden.clone(), output)?;
            let shape = shape.with_layer_norm(layer_norm);
            Mlp::new(shape, &mut Stream::new(seed, name))
        };
        let actor = net("sac/actor/init", obs_dim, 2 * act_dim, false)?;
        let critics = (0..2)
            .map(|i| {
                let name = format!("sac/critic/{i}/init");
                net(&name, obs_dim + act_dim, 1, config.layer_norm)
            })
            .collect::<Result<Vec<_>>>()?;
        let targets = critics.iter().map(Mlp::duplicate).collect::<Result<_>>()?;
        let adam = AdamConfig::new(config.critic_lr);
        let log_alpha = Var::zeros(1, candle_core::DType::F32, &Device::Cpu)?;
        Ok(Self {
            actor_optim: Adam::new(&actor, AdamConfig::new(config.lr)),
            critic_optims: critics.iter().map(|c| Adam::new(c, adam)).collect(),
            alpha_optim: Adam::of(&log_alpha, adam),
            noise: Stream::new(seed, "sac/noise"),
            config,
            act_dim,
            actor,
            critics,
            targets,
            log_alpha,
        })
    }

    /// Begins the late part of training: `late_factor` holds.
    pub fn settle(&mut self) {
        let SacConfig {
            lr,
            critic_lr,
            late_factor: factor,
            ..
        } = self.config;
        self.actor_optim.set_lr(factor * lr);
        for optim in &mut self.critic_optims {
            optim.set_lr(factor * critic_lr);
        }
        self.alpha_optim.set_lr(factor * critic_lr);
    }

    /// The stochastic policy as it stands.
    ///
    /// # Errors
    /// Only if candle cannot read its own tensors.
    pub fn policy(&self) -> Result<GaussianPolicy> {
        GaussianPolicy::of(&self.actor)
    }

    /// One update of critics, actor and temperature on one batch, then of the
    /// target critics:
    /// `y = r + discount (1 - terminal) (Qbar(s', a') - alpha log pi(a'|s'))`, where
    /// `Q = (Q_0 + Q_1) / 2 - pessimism |Q_0 - Q_1| / 2` (the minimum at 1).
    ///
    /// # Errors
    /// If the batch's shapes do not fit.
    pub fn update(&mut self, batch: &Batch) -> Result<SacMetrics> {
        let rows = batch.obs.dim(0)?;
        let alpha = self.log_alpha.as_detached_tensor().exp()?;

        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let head = self.actor.forward_detached(&batch.next_obs)?;
        let (next_action, next_log_pi) = gaussian::sample(&head, &noise)?;
        let next = Tensor::cat(&[&batch.next_obs, &next_action], 1)?;
        let next_q = (
            self.targets[0].forward_detached(&next)?.squeeze(1)?,
            self.targets[1].forward_detached(&next)?.squeeze(1)?,
        );
        let soft = (self.value(&next_q.0, &next_q.1)? - next_log_pi.broadcast_mul(&alpha)?)?;
        let target = (&batch.rewards + (soft.mul(&batch.not_terminal)? * self.config.discount)?)?;

        let taken = Tensor::cat(&[&batch.obs, &batch.actions], 1)?;
        let mut critic_loss = 0.0;
        for (critic, optim) in self.critics.iter().zip(&mut self.critic_optims) {
            let q = critic.forward(&taken, Trace::Params)?.squeeze(1)?;
            let loss = (q - &target)?.sqr()?.mean_all()?;
            optim.step(&loss.backward()?)?;
            critic_loss += loss.to_scalar::<f32>()?;
        }

        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let head = self.actor.forward(&batch.obs, Trace::Params)?;
        let (action, log_pi) = gaussian::sample(&head, &noise)?;
        let proposed = Tensor::cat(&[&batch.obs, &action], 1)?;
        let q = (
            self.critics[0]
                .forward(&proposed, Trace::Input)?
                .squeeze(1)?,
            self.critics[1]
                .forward(&proposed, Trace::Input)?
                .squeeze(1)?,
        );
        let value = self.value(&q.0, &q.1)?;
        let loss = (log_pi.broadcast_mul(&alpha)? - value)?.mean_all()?;
        self.actor_optim.step(&loss.backward()?)?;

        // d/d(log alpha) of -log_alpha * mean(log pi + target entropy), with
        // the target entropy -act_dim.
        let entropy_gap = (log_pi.detach().mean(D::Minus1)? - self.act_dim as f64)?;
        self.alpha_optim
            .step_along(&entropy_gap.neg()?.reshape(1)?)?;

        for (target, critic) in self.targets.iter().zip(&self.critics) {
            target.track(critic, self.config.tau)?;
        }
        Ok(SacMetrics {
            critic_loss,
            actor_loss: loss.to_scalar()?,
            alpha: alpha.to_vec1::<f32>()?[0],
        })
    }

    /// What two critics make of an action, `[rows]`.
    fn value(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let pessimism = f64::from(self.config.pessimism);
        let spread = (a - b)?.abs()?;
        ((a + b)? * 0.5)? - (spread * (0.5 * pessimism))?
    }

    /// Adds networks, optimizers and the stream of noise to `state`.
    ///
    /// # Errors
    /// Only if candle cannot read its own tensors.
    pub fn save(&self, state: &mut State) -> Result<()> {
        self.actor.save("actor", state)?;
        self.actor_optim.save("actor", state);
        for (i, critic) in self.critics.iter().enumerate() {
            critic.save(&format!("critic.{i}"), state)?;
            self.critic_optims[i].save(&format!("critic.{i}"), state);
            self.targets[i].save(&format!("target.{i}"), state)?;
        }
        state.insert("log_alpha", self.log_alpha.to_vec1()?);
        self.alpha_optim.save("log_alpha", state);
        state.insert_stream("noise", &self.noise);
        Ok(())
    }

    /// Takes all that [`Sac::save`] added from `state`.
    ///
    /// # Errors
    /// If something is absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        self.actor.load("actor", state)?;
        self.actor_optim.load("actor", state)?;
        for (i, critic) in self.critics.iter().enumerate() {
            critic.load(&format!("critic.{i}"), state)?;
            self.critic_optims[i].load(&format!("critic.{i}"), state)?;
            self.targets[i].load(&format!("target.{i}"), state)?;
        }
        let log_alpha = Tensor::new(state.get("log_alpha", 1)?, &Device::Cpu)?;
        self.log_alpha.set(&log_alpha)?;
        self.alpha_optim.load("log_alpha", state)?;
        self.noise = state.get_stream("noise")?;
        Ok(())
    }
}
