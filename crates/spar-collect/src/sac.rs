//! Soft actor-critic, the algorithm D4RL's behaviour policies were trained by
//! (Haarnoja et al. 2018, with automatic temperature; sizes and rates of
//! rlkit, which D4RL used).

use candle_core::{D, Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use spar_core::{
    EnvId, Stream,
    limits::{self, MOST_BATCH, MOST_ROWS, MOST_UPDATES},
};
use spar_nn::{
    Batch, Critics, State, StateError, Trace, Trained, Variable, bellman,
    gaussian::{Bound, halves, tanh_draw_rounded},
    normal, relu_shape,
};

use crate::{
    CollectError,
    gaussian::{GaussianPolicy, LOG_STD},
};

/// Added to `1 - a^2` inside the log-density's correction, as in rlkit.
const CORRECTION: f64 = 1e-6;

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
        } else if env.name() == "ant" {
            // With an update every fourth step, as the others have, batches of 256 and rates of
            // 5e-4 it earned 1,300 to 1,900 between steps 440,000 and 760,000. As wide an
            // observation needs a shorter memory.
            Self {
                lr: 3e-4,
                critic_lr: 3e-4,
                layer_norm: true,
                late_from: Some(800_000),
                total_steps: 1_000_000,
                gradient_steps: 4,
                buffer_size: 500_000,
                ..usual
            }
        } else if env.name() == "antmaze-ant" {
            // It walks after 120,000 steps and gains nothing after 240,000; its learning
            // rates never fall.
            Self {
                batch_size: 256,
                lr: 5e-4,
                critic_lr: 5e-4,
                layer_norm: true,
                late_from: Some(1_600_000),
                total_steps: 300_000,
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
    actor: Trained,
    critics: Critics,
    log_alpha: Variable,
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
        let (lr, critic_lr) = (f64::from(config.lr), f64::from(config.critic_lr));
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let of_critics = shape(obs_dim + act_dim, 1)?.with_layer_norm(config.layer_norm);
        let critic = |i| {
            let name = format!("sac/critic/{i}");
            Trained::new(of_critics.clone(), critic_lr, seed, &name)
        };
        Ok(Self {
            actor: Trained::new(shape(obs_dim, 2 * act_dim)?, lr, seed, "sac/actor")?,
            critics: Critics::of((0..2).map(critic))?,
            log_alpha: Variable::new(vec![0.0], critic_lr)?,
            noise: Stream::new(seed, "sac/noise"),
            config,
            act_dim,
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
        let (lr, critic_lr) = (f64::from(factor * lr), f64::from(factor * critic_lr));
        self.actor.set_lr(lr);
        for critic in &mut self.critics.nets {
            critic.set_lr(critic_lr);
        }
        self.log_alpha.set_lr(critic_lr);
    }

    /// The stochastic policy as it stands.
    ///
    /// # Errors
    /// Only if candle cannot read its own tensors.
    pub fn policy(&self) -> Result<GaussianPolicy> {
        GaussianPolicy::of(&self.actor.net)
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
        let alpha = self.log_alpha.var.as_detached_tensor().exp()?;

        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let head = self.actor.net.forward_detached(&batch.next_obs)?;
        let (next_action, next_log_pi) = drawn(&head, &noise)?;
        // Joined, not beside each other: the bits of the behaviour policies there are.
        let next = Tensor::cat(&[&batch.next_obs, &next_action], 1)?;
        let targets = self.critics.targets.iter();
        let next_value = self.value(targets.map(|net| net.forward_detached(&next)?.squeeze(1)))?;
        let soft = (next_value - next_log_pi.broadcast_mul(&alpha)?)?;
        let target = bellman(batch, self.config.discount, &soft)?;
        let critic_loss = self.critics.fit(&batch.obs, &batch.actions, &target)?;

        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let head = self.actor.net.forward(&batch.obs, Trace::Params)?;
        let (action, log_pi) = drawn(&head, &noise)?;
        let proposed = Tensor::cat(&[&batch.obs, &action], 1)?;
        let climbed = self.critics.nets.iter();
        let climbed = climbed.map(|q| q.net.forward(&proposed, Trace::Input)?.squeeze(1));
        let value = self.value(climbed)?;
        let loss = (log_pi.broadcast_mul(&alpha)? - value)?.mean_all()?;
        let actor_loss = self.actor.descend(&loss)?;

        // d/d(log alpha) of -log_alpha * mean(log pi + target entropy), with
        // the target entropy -act_dim.
        let entropy_gap = (log_pi.detach().mean(D::Minus1)? - self.act_dim as f64)?;
        let slope = entropy_gap.neg()?.reshape(1)?;
        self.log_alpha.step_along(&slope)?;

        self.critics.track(f64::from(self.config.tau))?;
        Ok(SacMetrics {
            critic_loss,
            actor_loss,
            alpha: alpha.to_vec1::<f32>()?[0],
        })
    }

    /// What two critics make of an action, `[rows]`.
    fn value(&self, mut of_critics: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
        let (Some(a), Some(b)) = (of_critics.next(), of_critics.next()) else {
            bail!("SAC has two critics");
        };
        let (a, b) = (a?, b?);
        let pessimism = f64::from(self.config.pessimism);
        let spread = (&a - &b)?.abs()?;
        ((a + b)? * 0.5)? - (spread * (0.5 * pessimism))?
    }

    /// Adds networks, optimizers and the stream of noise to `state`.
    ///
    /// # Errors
    /// Only if candle cannot read its own tensors.
    pub fn save(&self, state: &mut State) -> Result<()> {
        self.actor.save("actor", state)?;
        let Critics { nets, targets } = &self.critics;
        for (i, (critic, target)) in nets.iter().zip(targets).enumerate() {
            critic.save(&format!("critic.{i}"), state)?;
            target.save(&format!("target.{i}"), state)?;
        }
        self.log_alpha.save("log_alpha", state)?;
        state.insert_stream("noise", &self.noise);
        Ok(())
    }

    /// Takes all that [`Sac::save`] added from `state`.
    ///
    /// # Errors
    /// If something is absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        self.actor.load("actor", state)?;
        let Critics { nets, targets } = &mut self.critics;
        for (i, (critic, target)) in nets.iter_mut().zip(targets).enumerate() {
            critic.load(&format!("critic.{i}"), state)?;
            target.load(&format!("target.{i}"), state)?;
        }
        self.log_alpha.load("log_alpha", state)?;
        self.noise = state.get_stream("noise")?;
        Ok(())
    }
}

/// The action and its log-density, `[rows]`, of a network's output `head`,
/// `[rows, 2 act_dim]`.
fn drawn(head: &Tensor, noise: &Tensor) -> Result<(Tensor, Tensor)> {
    let bound = Bound::Clamp(f64::from(LOG_STD.0), f64::from(LOG_STD.1));
    let (mean, log_std) = halves(head, bound, 0.0)?;
    tanh_draw_rounded(&mean, &log_std, noise, CORRECTION)
}
