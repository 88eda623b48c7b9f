//! Training a behaviour policy: SAC in one environment, leaving snapshots of the
//! policy and the curve of its returns, and resuming where it was interrupted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::Result as TensorResult;
use serde::{Deserialize, Serialize};
use spar_core::{EnvId, Policy, Stream, files::in_file, write_atomic};
use spar_env::Env;
use spar_nn::{State, StateError};

use crate::{
    CollectError, behavior,
    replay::{Replay, Transition},
    sac::{Sac, SacConfig, SacMetrics},
};

/// Name of the training curve's file, one [`CurvePoint`] per line.
pub const CURVE_FILE: &str = "curve.jsonl";

/// Name of the file that says what is trained: a [`Training`].
pub const TRAINING_FILE: &str = "training.json";

/// Name of the file training resumes from.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// The checkpoint's entry that says which training it is of.
const TRAINING_KEY: &str = "training";

/// What a training is: environment, seed and hyper-parameters.
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
    /// Environment steps taken, in all environments together.
    pub step: usize,
    /// Mean undiscounted return of the episodes finished since the snapshot
    /// before, that is of the stochastic policy while it was learning; none if
    /// no episode ended.
    pub mean_return: Option<f64>,
    /// Mean length of the same episodes.
    pub mean_length: Option<f64>,
    /// The temperature; none before the first update.
    pub alpha: Option<f32>,
    /// Sum of the critics' losses on the last batch; none before the first update.
    pub critic_loss: Option<f32>,
}

impl Training {
    /// Reads what is trained in `folder`.
    ///
    /// # Errors
    /// If its file is absent or not one [`train`] writes.
    pub fn read(folder: &Path) -> Result<Self, CollectError> {
        let path = folder.join(TRAINING_FILE);
        let text = fs::read_to_string(&path).map_err(|e| in_file(e, &path))?;
        serde_json::from_str(&text).map_err(|e| CollectError::Policy {
            file: path.display().to_string(),
            why: format!("not what `spar behavior train` writes: {e}"),
        })
    }
}

/// Reads the training curve in `folder`.
///
/// # Errors
/// If its file is absent or not one [`train`] writes.
pub fn read_curve(folder: &Path) -> Result<Vec<CurvePoint>, CollectError> {
    let path = folder.join(CURVE_FILE);
    let text = fs::read_to_string(&path).map_err(|e| in_file(e, &path))?;
    let points = text.lines().map(serde_json::from_str);
    points
        .collect::<Result<_, _>>()
        .map_err(|e| CollectError::Policy {
            file: path.display().to_string(),
            why: format!("not a curve `spar behavior train` writes: {e}"),
        })
}

/// The file of the snapshot taken at `step`.
pub fn snapshot(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("snapshot-{step:07}.safetensors"))
}

/// Trains SAC as `training` says and writes [`TRAINING_FILE`], [`CURVE_FILE`]
/// and `snapshot-<step>.safetensors` into `out`, calling `progress` at each
/// snapshot. Where `out` holds an interrupted or a shorter training of the same
/// kind, it resumes from its last checkpoint and ends with the same bytes as one
/// that was never interrupted.
///
/// `num_envs` environments are stepped in turn; after each round follow
/// `gradient_steps` updates, from `start_steps` on. Terminal states are not
/// bootstrapped, timeouts are.
///
/// # Errors
/// If the steps are not in whole snapshots ([`SacConfig::check`]), if the
/// environment, a tensor operation or a file fails, if a loss stops being finite, or
/// if `out` holds another training.
pub fn train(
    training: &Training,
    out: &Path,
    progress: &mut dyn FnMut(&CurvePoint),
) -> Result<(), CollectError> {
    training.config.check()?;
    let mut trainer = Trainer::new(training)?;
    let mut curve = Vec::new();
    let about = serde_json::to_string_pretty(training)?;
    let refuse_other = |mut found: Training| {
        // How much longer it takes is no part of what is trained.
        found.config.total_steps = training.config.total_steps;
        if found == *training {
            return Ok(());
        }
        Err(CollectError::OtherTraining {
            folder: out.display().to_string(),
            found: serde_json::to_string(&found)?,
            expected: serde_json::to_string(training)?,
        })
    };
    if out.join(TRAINING_FILE).exists() {
        refuse_other(Training::read(out)?)?;
    }
    write_atomic(&out.join(TRAINING_FILE), about.as_bytes())?;
    let checkpoint = out.join(CHECKPOINT_FILE);
    if checkpoint.exists() {
        let state = State::read(&checkpoint).map_err(|error| match error {
            StateError::Corrupt { .. } => CollectError::Unresumable(error),
            error => error.into(),
        })?;
        let whose = state.metadata.get(TRAINING_KEY).map_or("", String::as_str);
        refuse_other(serde_json::from_str(whose)?)?;
        trainer.load(&state)?;
        curve = read_curve(out)?;
        curve.retain(|p| p.step <= trainer.step);
    }
    let config = &training.config;
    while trainer.step < config.total_steps {
        trainer.fresh_episodes()?;
        if config.late_from.is_some_and(|from| trainer.step >= from) {
            trainer.sac.settle();
        }
        let until = next_multiple(trainer.step, config.snapshot_every).min(config.total_steps);
        while trainer.step < until {
            trainer.round()?;
        }
        let point = trainer.curve_point()?;
        progress(&point);
        curve.push(point);
        let policy = trainer.sac.policy()?;
        let path = snapshot(out, trainer.step);
        behavior::write(&policy, training.env, trainer.step, &path)?;
        let mut lines = String::new();
        for point in &curve {
            lines += &serde_json::to_string(point)?;
            lines.push('\n');
        }
        write_atomic(&out.join(CURVE_FILE), lines.as_bytes())?;
        let done = trainer.step / config.snapshot_every;
        if done.is_multiple_of(config.checkpoint_every) || trainer.step >= config.total_steps {
            let mut state = trainer.save()?;
            state
                .metadata
                .insert(TRAINING_KEY.to_owned(), about.clone());
            write_atomic(&checkpoint, &state.to_bytes()?)?;
        }
    }
    Ok(())
}

/// The smallest multiple of `of` above `n`.
fn next_multiple(n: usize, of: usize) -> usize {
    (n / of + 1) * of
}

/// An environment with its running episode.
struct Running {
    env: Box<dyn Env>,
    ret: f64,
    length: usize,
}

/// Everything a training resumes with.
struct Trainer<'a> {
    training: &'a Training,
    sac: Sac,
    replay: Replay,
    running: Vec<Running>,
    /// Environment steps taken.
    step: usize,
    resets: Stream,
    explore: Vec<Stream>,
    sampler: Stream,
    /// Returns and lengths of the episodes finished since the last snapshot.
    finished: Vec<(f64, usize)>,
    metrics: Option<SacMetrics>,
    obs: Vec<f32>,
    actions: Vec<f32>,
    next_obs: Vec<f32>,
}

impl<'a> Trainer<'a> {
    fn new(training: &'a Training) -> Result<Self, CollectError> {
        let Training { env, seed, config } = training;
        let n = config.num_envs;
        let running = (0..n).map(|_| {
            Ok(Running {
                env: spar_env::make(*env)?,
                ret: 0.0,
                length: 0,
            })
        });
        Ok(Self {
            training,
            sac: Sac::new(config.clone(), *env, *seed)?,
            replay: Replay::new(*env, config.buffer_size),
            running: running.collect::<Result<_, CollectError>>()?,
            step: 0,
            resets: Stream::new(*seed, "sac/reset"),
            explore: (0..n)
                .map(|i| Stream::new(*seed, &format!("sac/explore/{i}")))
                .collect(),
            sampler: Stream::new(*seed, "sac/sampler"),
            finished: Vec::new(),
            metrics: None,
            obs: vec![0.0; n * env.obs_dim()],
            actions: vec![0.0; n * env.act_dim()],
            next_obs: vec![0.0; env.obs_dim()],
        })
    }

    /// Starts a new episode everywhere. Every stretch between two snapshots
    /// begins so, and a checkpoint therefore need not hold the physics' state.
    fn fresh_episodes(&mut self) -> Result<(), CollectError> {
        let width = self.training.env.obs_dim();
        let rows = self.obs.chunks_exact_mut(width);
        for (running, obs) in self.running.iter_mut().zip(rows) {
            running.start(&mut self.resets, obs)?;
        }
        self.finished.clear();
        Ok(())
    }

    /// One step in every environment, then the updates.
    fn round(&mut self) -> Result<(), CollectError> {
        let Training { env, config, .. } = self.training;
        let (obs_dim, act_dim) = (env.obs_dim(), env.act_dim());
        if self.step < config.start_steps {
            let rows = self.actions.chunks_exact_mut(act_dim);
            for (action, stream) in rows.zip(&mut self.explore) {
                stream.fill_uniform(-1.0, 1.0, action);
            }
        } else {
            let policy = self.sac.policy()?;
            policy.act(&self.obs, &mut self.explore, &mut self.actions);
        }
        let rows = self.obs.chunks_exact_mut(obs_dim);
        let rows = rows.zip(self.actions.chunks_exact(act_dim));
        for (running, (obs, action)) in self.running.iter_mut().zip(rows) {
            let outcome = running.env.step(action)?;
            narrow(running.env.obs(), &mut self.next_obs);
            self.replay.push(&Transition {
                obs,
                action,
                reward: outcome.reward as f32,
                next_obs: &self.next_obs,
                terminal: outcome.terminal,
            });
            obs.copy_from_slice(&self.next_obs);
            running.ret += outcome.reward;
            running.length += 1;
            if outcome.terminal || running.length == env.horizon() {
                self.finished.push((running.ret, running.length));
                running.start(&mut self.resets, obs)?;
            }
        }
        self.step += self.running.len();
        if self.step > config.start_steps {
            for _ in 0..config.gradient_steps {
                let batch = self.replay.batch(config.batch_size, &mut self.sampler)?;
                self.metrics = Some(self.sac.update(&batch)?);
            }
        }
        Ok(())
    }

    /// Where training stands.
    fn curve_point(&self) -> Result<CurvePoint, CollectError> {
        let step = self.step;
        let metrics = self.metrics;
        if metrics.is_some_and(|m| !(m.critic_loss + m.actor_loss).is_finite()) {
            return Err(CollectError::Diverged { step });
        }
        let n = self.finished.len() as f64;
        let some = !self.finished.is_empty();
        Ok(CurvePoint {
            step,
            mean_return: some.then(|| self.finished.iter().map(|e| e.0).sum::<f64>() / n),
            mean_length: some.then(|| self.finished.iter().map(|e| e.1 as f64).sum::<f64>() / n),
            alpha: metrics.map(|m| m.alpha),
            critic_loss: metrics.map(|m| m.critic_loss),
        })
    }

    fn save(&self) -> TensorResult<State> {
        let mut state = State::default();
        self.sac.save(&mut state)?;
        self.replay.save(&mut state);
        state.insert_count("step", self.step as u64);
        state.insert_stream("reset", &self.resets);
        state.insert_stream("sampler", &self.sampler);
        for (i, stream) in self.explore.iter().enumerate() {
            state.insert_stream(&format!("explore.{i}"), stream);
        }
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<(), CollectError> {
        self.sac.load(state)?;
        self.replay.load(state)?;
        self.step = usize::try_from(state.get_count("step")?).unwrap_or(usize::MAX);
        self.resets = state.get_stream("reset")?;
        self.sampler = state.get_stream("sampler")?;
        for (i, stream) in self.explore.iter_mut().enumerate() {
            *stream = state.get_stream(&format!("explore.{i}"))?;
        }
        Ok(())
    }
}

impl Running {
    fn start(&mut self, resets: &mut Stream, obs: &mut [f32]) -> Result<(), CollectError> {
        self.env.reset(resets)?;
        (self.ret, self.length) = (0.0, 0);
        narrow(self.env.obs(), obs);
        Ok(())
    }
}

fn narrow(values: &[f64], out: &mut [f32]) {
    for (o, v) in out.iter_mut().zip(values) {
        *o = *v as f32;
    }
}
