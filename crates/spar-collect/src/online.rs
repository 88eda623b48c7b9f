//! Training a behaviour policy: SAC in one environment, step by step, leaving
//! snapshots of the policy and the curve of its returns.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::{EnvId, Policy, Stream, write_atomic};
use spar_nn::Batch;

use crate::{
    CollectError, behavior,
    gaussian::GaussianPolicy,
    sac::{Sac, SacConfig},
};

/// Name of the training curve's file, one [`CurvePoint`] per line.
pub const CURVE_FILE: &str = "curve.jsonl";

/// Name of the file that says what was trained: a [`Training`].
pub const TRAINING_FILE: &str = "training.json";

/// What a training was: environment, seed and hyper-parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The environment.
    pub env: EnvId,
    /// Training seed.
    pub seed: u64,
    /// Hyper-parameters.
    pub config: SacConfig,
}

/// One line of a training curve: the state of training at a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Environment steps taken.
    pub step: usize,
    /// Mean undiscounted return of the last ten finished training episodes,
    /// that is of the stochastic policy while it was learning.
    pub mean_return: f64,
    /// Mean length of the same episodes.
    pub mean_length: f64,
    /// The temperature; none before the first update.
    pub alpha: Option<f32>,
    /// Sum of the critics' losses on the last batch; none before the first update.
    pub critic_loss: Option<f32>,
}

/// Everything the environment showed so far, flat.
struct Replay {
    obs: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    next_obs: Vec<f32>,
    not_terminal: Vec<f32>,
    obs_dim: usize,
    act_dim: usize,
}

impl Replay {
    fn new(env: EnvId, capacity: usize) -> Self {
        let (obs_dim, act_dim) = (env.obs_dim(), env.act_dim());
        Self {
            obs: Vec::with_capacity(capacity * obs_dim),
            actions: Vec::with_capacity(capacity * act_dim),
            rewards: Vec::with_capacity(capacity),
            next_obs: Vec::with_capacity(capacity * obs_dim),
            not_terminal: Vec::with_capacity(capacity),
            obs_dim,
            act_dim,
        }
    }

    fn batch(&self, size: usize, stream: &mut Stream) -> candle_core::Result<Batch> {
        let indices: Vec<usize> = (0..size)
            .map(|_| stream.index(self.rewards.len()))
            .collect();
        let rows = |values: &[f32], width: usize| {
            let mut out = Vec::with_capacity(size * width);
            for &i in &indices {
                out.extend_from_slice(&values[i * width..(i + 1) * width]);
            }
            Tensor::from_vec(out, (size, width), &Device::Cpu)
        };
        Ok(Batch {
            obs: rows(&self.obs, self.obs_dim)?,
            actions: rows(&self.actions, self.act_dim)?,
            rewards: rows(&self.rewards, 1)?.squeeze(1)?,
            next_obs: rows(&self.next_obs, self.obs_dim)?,
            not_terminal: rows(&self.not_terminal, 1)?.squeeze(1)?,
        })
    }
}

fn narrow(values: &[f64], out: &mut [f32]) {
    for (o, v) in out.iter_mut().zip(values) {
        *o = *v as f32;
    }
}

/// Trains SAC as `training` says and writes [`TRAINING_FILE`], [`CURVE_FILE`]
/// and `snapshot-<step>.safetensors` into `out`. One update per environment
/// step after `start_steps`; terminal states are not bootstrapped, timeouts are.
///
/// # Errors
/// If the environment, a tensor operation or a file fails.
pub fn train(training: &Training, out: &Path) -> Result<(), CollectError> {
    let &Training {
        env,
        seed,
        ref config,
    } = training;
    let about = serde_json::to_string_pretty(training)?;
    write_atomic(&out.join(TRAINING_FILE), about.as_bytes())?;
    let mut world = spar_env::make(env)?;
    let mut resets = Stream::new(seed, "sac/reset");
    let mut explore = [Stream::new(seed, "sac/explore")];
    let mut sampler = Stream::new(seed, "sac/sampler");
    let mut sac = Sac::new(config.clone(), env, seed)?;
    let mut replay = Replay::new(env, config.total_steps);
    let mut finished: Vec<(f64, usize)> = Vec::new();
    let (mut episode_return, mut length) = (0.0, 0);
    let mut obs = vec![0.0; env.obs_dim()];
    let mut next_obs = vec![0.0; env.obs_dim()];
    let mut action = vec![0.0; env.act_dim()];
    let mut metrics = None;
    let curve_path = out.join(CURVE_FILE);
    let mut curve =
        fs::File::create(&curve_path).map_err(|e| spar_core::files::in_file(e, &curve_path))?;

    world.reset(&mut resets)?;
    for step in 1..=config.total_steps {
        narrow(world.obs(), &mut obs);
        if step <= config.start_steps {
            explore[0].fill_uniform(-1.0, 1.0, &mut action);
        } else {
            GaussianPolicy::of(&sac.actor)?.act(&obs, &mut explore, &mut action);
        }
        let outcome = world.step(&action)?;
        narrow(world.obs(), &mut next_obs);
        replay.obs.extend_from_slice(&obs);
        replay.actions.extend_from_slice(&action);
        replay.rewards.push(outcome.reward as f32);
        replay.next_obs.extend_from_slice(&next_obs);
        replay
            .not_terminal
            .push(if outcome.terminal { 0.0 } else { 1.0 });
        episode_return += outcome.reward;
        length += 1;
        if outcome.terminal || length == env.horizon() {
            finished.push((episode_return, length));
            (episode_return, length) = (0.0, 0);
            world.reset(&mut resets)?;
        }
        if step > config.start_steps {
            let batch = replay.batch(config.batch_size, &mut sampler)?;
            metrics = Some(sac.update(&batch)?);
        }
        if step % config.snapshot_every == 0 {
            let last = &finished[finished.len().saturating_sub(10)..];
            let n = last.len().max(1) as f64;
            let point = CurvePoint {
                step,
                mean_return: last.iter().map(|e| e.0).sum::<f64>() / n,
                mean_length: last.iter().map(|e| e.1 as f64).sum::<f64>() / n,
                alpha: metrics.map(|m| m.alpha),
                critic_loss: metrics.map(|m| m.critic_loss),
            };
            if metrics.is_some_and(|m| !(m.critic_loss + m.actor_loss).is_finite()) {
                return Err(CollectError::Diverged { step });
            }
            let line = serde_json::to_string(&point)?;
            writeln!(curve, "{line}").map_err(|e| spar_core::files::in_file(e, &curve_path))?;
            behavior::write(
                &GaussianPolicy::of(&sac.actor)?,
                env,
                step,
                &snapshot(out, step),
            )?;
        }
    }
    Ok(())
}

/// The file of the snapshot taken at `step`.
pub fn snapshot(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("snapshot-{step:07}.safetensors"))
}
