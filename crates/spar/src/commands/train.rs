//! `spar train`: one run, of a suite or by itself.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use spar_core::{
    DatasetIdentity, EnvId, Origin, RunRecord, Signals, Suite, TaskId, limits::MOST_EPISODES,
};
use spar_data::{Reading, Transitions};
use spar_kernels::cuda::{CudaDevice, Kernels};
use spar_train::{Control, DeviceKind, Method, Offline, RunSpec, TrainConfig, TrainError};

use super::{
    ReadingArgs, dataset,
    numbers::whole,
    offline::{self, OfflineArgs},
    progress_line::ProgressLine,
    setting::setting,
};
use crate::{
    failure::{Ended, Usage},
    output::{self, Score},
    provenance,
};

/// Seed of evaluation episodes where none is given: the suites' too.
pub(crate) const EVAL_SEED: u64 = 42;

/// Episodes of the final evaluation where neither suite nor user says.
const EVAL_EPISODES: usize = 10;

/// Name of suite and preset of a run that belongs to none.
const NONE: &str = "none";

/// Seconds of `--calibrate`.
const CALIBRATION_S: f64 = 3.0;

/// How long another process may take to let go of the run's folder: one that
/// was killed a moment ago is not always gone yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to train, on what, and where it goes.
///
/// With --suite a cell of that suite's table, with the suite's
/// hyper-parameters; without, a run of its own with the defaults.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Data file in D4RL's layout, or a Minari data set: its file, folder or id; or the id
    /// of D4RL's data, as in hopper-medium-v2, that `spar data fetch` has fetched
    #[arg(long, value_name = "FILE")]
    dataset: PathBuf,
    /// Refuse data of another SHA-256 than this
    #[arg(long, value_name = "HEX", value_parser = dataset::sha256)]
    expect_sha256: Option<String>,
    /// spar, bc: its frozen anchor alone, or a baseline, as in td3bc
    #[arg(long)]
    method: Method,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What computes the updates: cpu, or cuda for the first GPU
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// Folder of the run; the same command resumes an unfinished one
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Suite whose hyper-parameters and protocol to use
    #[arg(long, value_name = "FILE", requires_all = ["preset", "task"], help_heading = "A run of a suite")]
    suite: Option<PathBuf>,
    /// Preset of the suite
    #[arg(long, requires = "suite", help_heading = "A run of a suite")]
    preset: Option<String>,
    /// Task of the suite
    #[arg(long, requires = "suite", help_heading = "A run of a suite")]
    task: Option<TaskId>,

    /// Variant of spar the suite has, as in `no-fit`
    #[arg(
        long,
        requires = "suite",
        value_name = "NAME",
        help_heading = "A run of a suite"
    )]
    variant: Option<String>,

    /// A hyper-parameter, as in `critic.expectile=0.9` of spar or `beta=10` of iql; may be
    /// repeated. `spar list settings METHOD` prints their names, defaults and types
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, toml::Value)>,
    #[command(flatten)]
    single: Single,
    #[command(flatten)]
    reading: ReadingArgs,

    /// Finished bc run of the same data, seed and settings, to be the anchor
    #[arg(long, value_name = "DIR")]
    anchor: Option<PathBuf>,
    /// Policy to be spar's frozen anchor, whatever trained it: a policy file, a run's folder,
    /// or a plain network of another program
    #[arg(long, value_name = "FILE", conflicts_with = "anchor")]
    anchor_policy: Option<PathBuf>,
    /// Stop, resumably, after N updates of a phase
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    stop_after: Option<u64>,
    /// Print progress on stdout, one JSON object a line
    #[arg(long, value_name = "FORMAT")]
    progress: Option<ProgressFormat>,
    /// Measure updates per second, print them as JSON and write nothing
    #[arg(long)]
    calibrate: bool,
    /// End with one line of JSON: returns, mean return, normalized score; without an
    /// environment the validation error
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  spar train --dataset hopper-medium-v2 --method spar --out runs/hopper
  spar train --dataset log.hdf5 --method iql --set beta=10 --set data.batch_size=64 --out runs/log
  spar train --suite suites/mujoco.toml --preset quick --task hopper-medium \\
      --dataset hopper_medium-v2.hdf5 --method spar --set critic.expectile=0.9 --out runs/sharp

Defaults: 100000 updates of 256 transitions, an anchor of 20000, a checkpoint every 5000,
a point of the learning curve every 10000; `spar list settings METHOD` prints all of a method's.";

/// Options of a run that belongs to no suite.
#[derive(clap::Args)]
#[command(next_help_heading = "A run of its own")]
struct Single {
    /// Environment of the data, in which the policy is evaluated [default: the one that a
    /// D4RL id names, else none: see --held-out]
    #[arg(long, conflicts_with = "suite")]
    env: Option<EnvId>,
    /// Updates of the method
    #[arg(long, value_name = "N", conflicts_with = "suite", value_parser = whole::<u64>)]
    updates: Option<u64>,
    /// Updates of spar's anchor
    #[arg(long, value_name = "N", conflicts_with = "suite", value_parser = whole::<u64>)]
    anchor_updates: Option<u64>,
    /// Updates of fitting before self-imitation begins
    #[arg(long, value_name = "N", conflicts_with = "suite", value_parser = whole::<u64>)]
    warmup: Option<u64>,
    /// Transitions per update
    #[arg(long, value_name = "N", conflicts_with = "suite", value_parser = whole::<usize>)]
    batch_size: Option<usize>,
    /// Updates between two checkpoints
    #[arg(long, value_name = "N", conflicts_with = "suite", value_parser = whole::<u64>)]
    checkpoint_every: Option<u64>,
    /// Episodes of the final evaluation [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "suite", value_parser = super::counts(MOST_EPISODES))]
    eval_episodes: Option<u32>,
    /// Seed of the evaluation's episodes; without an environment, of which episodes are
    /// held out [default: 42]
    #[arg(long, value_name = "SEED", conflicts_with = "suite")]
    eval_seed: Option<u64>,
    #[command(flatten)]
    offline: OfflineArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProgressFormat {
    Json,
}

/// Trains, and prints how the last checkpoint did.
pub(crate) fn run(args: &Args) -> Result<()> {
    let found = dataset::found(&args.dataset)?;
    let plan = Plan::new(args, found.env)?;
    if let (Method::Baseline(entry), DeviceKind::Cuda) = (args.method, args.device) {
        // Before a GPU is looked for, which would not help.
        return Err(Usage(TrainError::CpuOnly(entry.name).to_string()).into());
    }
    let gpu = match args.device {
        DeviceKind::Cpu => None,
        DeviceKind::Cuda => Some(super::cuda()?),
    };
    let data = super::training_data(&found.path, plan.env, &args.reading.reading())?;
    dataset::check(&found.path, &data.identity, args.expect_sha256.as_deref())?;
    let offline = match plan.env {
        Some(_) => None,
        None => Some(args.single.offline.of(&data)?),
    };
    let spec = plan.spec(args, data.identity.clone(), offline)?;
    let transitions = Transitions::new(data, spec.horizon())?;
    offline::describe(&spec, &transitions);
    if args.calibrate {
        let measured = match &gpu {
            None => spar_train::throughput(&spec, &transitions, CALIBRATION_S)?,
            Some(gpu) => spar_train::throughput_on(gpu, &spec, &transitions, CALIBRATION_S)?,
        };
        return output::json(&measured);
    }
    // Before hours of training, not after: the run is evaluated in it.
    if let Some(env) = spec.env {
        spar_env::make(env)?;
    }
    let signals = Signals::listen().context("cannot listen for signals")?;
    match train(args, &spec, &transitions, gpu.as_ref(), &signals) {
        Ok(record) => {
            if record.env.is_none() {
                return offline::end(&record, args.json, args.progress.is_some());
            }
            let score = Score::of(record.normalized_score(), record.returns);
            if args.json {
                return output::json(&score);
            }
            if args.progress.is_some() {
                return Ok(());
            }
            output::facts(&score.facts())
        }
        Err(stopped @ TrainError::Stopped(update)) => {
            if let Some(asked) = signals.asked() {
                return Err(Ended { asked, update }.into());
            }
            output::say(&stopped.to_string());
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// What the options say before the data are read.
pub(super) struct Plan {
    suite: String,
    preset: String,
    variant: Option<String>,
    task: Option<TaskId>,
    env: Option<EnvId>,
    eval_seed: u64,
    final_episodes: usize,
    config: TrainConfig,
}

impl Plan {
    /// `env` is the environment that the data's name says, where it is an id of D4RL's.
    fn new(args: &Args, env: Option<EnvId>) -> Result<Self> {
        let plan = match (&args.suite, &args.preset, args.task) {
            (Some(suite), Some(preset), Some(task)) => {
                Self::of_suite(suite, preset, task, args.method, args.variant.as_deref())
            }
            _ => Self::single(args, env),
        }?;
        let config = plan.config.with(args.method, &args.set);
        let mut config = config.map_err(|e| Usage(format!("--set: {e}")))?;
        if let Some(file) = &args.anchor_policy {
            if args.method != Method::Spar {
                let why = "--anchor-policy is spar's anchor; give --method spar, or leave it out";
                return Err(Usage(why.to_owned()).into());
            }
            let Some(file) = file.to_str() else {
                let why = format!("--anchor-policy {}: not UTF-8", file.display());
                return Err(Usage(why).into());
            };
            (config.anchor.file, config.anchor.sha256) = (Some(file.to_owned()), None);
        }
        Ok(Self {
            config: match args.method {
                Method::Spar => config.pinned()?,
                _ => config,
            },
            ..plan
        })
    }

    /// A cell of a suite's table.
    pub(super) fn of_suite(
        file: &Path,
        preset: &str,
        task: TaskId,
        method: Method,
        variant: Option<&str>,
    ) -> Result<Self> {
        let suite = Suite::load(file)?;
        if let Some(name) = variant {
            if !suite.variant.contains_key(name) {
                let known: Vec<_> = suite.variant.keys().map(String::as_str).collect();
                return Err(Usage(format!(
                    "suite `{}` has no variant `{name}`; expected one of: {}",
                    suite.name,
                    known.join(", ")
                ))
                .into());
            }
            if method != Method::Spar {
                return Err(Usage(format!(
                    "--variant {name} is one of spar, but --method is {}",
                    method.name()
                ))
                .into());
            }
        }
        let column = variant.unwrap_or(method.name());
        let table = suite.run_settings(preset, &task.to_string(), column)?;
        if !suite.tasks.contains(&task) {
            let known: Vec<_> = suite.tasks.iter().map(TaskId::to_string).collect();
            return Err(Usage(format!(
                "suite `{}` has no task `{task}`; expected one of: {}",
                suite.name,
                known.join(", ")
            ))
            .into());
        }
        Ok(Self {
            env: Some(task.env()),
            task: Some(task),
            eval_seed: suite.eval_seed,
            final_episodes: suite.preset(preset)?.eval_episodes,
            config: TrainConfig::for_method(table, method)?,
            suite: suite.name,
            preset: preset.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }

    fn single(args: &Args, env: Option<EnvId>) -> Result<Self> {
        let single = &args.single;
        let env = single.env.or(env);
        let unplayed = env.is_none() && single.eval_episodes.is_some();
        if let Some(option) = single.offline.first().filter(|_| env.is_some()) {
            return Err(Usage(format!(
                "{option} is of runs without an environment, and this one has {}; drop one",
                env.map_or("none", EnvId::name)
            ))
            .into());
        }
        if unplayed {
            let why = "--eval-episodes needs an environment to play them in; give --env, or leave \
                       it out";
            return Err(Usage(why.to_owned()).into());
        }
        let mut config = TrainConfig::defaults_of(args.method)?;
        let anchor_updates = match (args.method, single.updates, single.anchor_updates) {
            (Method::Bc, Some(_), Some(_)) => {
                let why =
                    "--anchor-updates says again what --updates says for --method bc; drop one";
                return Err(Usage(why.to_owned()).into());
            }
            (Method::Bc, updates, anchor_updates) => updates.or(anchor_updates),
            (Method::Spar | Method::Baseline(_), updates, anchor_updates) => {
                config.updates = updates.unwrap_or(config.updates);
                anchor_updates
            }
        };
        config.anchor.updates = anchor_updates.unwrap_or(config.anchor.updates);
        config.rectify.warmup = single.warmup.unwrap_or(config.rectify.warmup);
        config.batch_size = single.batch_size.unwrap_or(config.batch_size);
        if let (Some(rows), Some(own)) = (single.batch_size, &mut config.method)
            && let Some(data) = own.get_mut("data").and_then(toml::Value::as_table_mut)
        {
            data.insert("batch_size".to_owned(), toml::Value::Integer(rows as i64));
        }
        config.checkpoint_every = single.checkpoint_every.unwrap_or(config.checkpoint_every);
        config.check().map_err(|e| Usage(e.to_string()))?;
        if let (Method::Baseline(entry), Some(own)) = (args.method, &config.method) {
            entry.feed(own).map_err(|e| Usage(e.to_string()))?;
        }
        Ok(Self {
            suite: NONE.to_owned(),
            preset: NONE.to_owned(),
            variant: None,
            task: None,
            env,
            eval_seed: single.eval_seed.unwrap_or(EVAL_SEED),
            final_episodes: match (env, single.eval_episodes) {
                (None, _) => 0,
                (Some(_), episodes) => episodes.map_or(EVAL_EPISODES, |n| n as usize),
            },
            config,
        })
    }

    fn spec(
        self,
        args: &Args,
        dataset: DatasetIdentity,
        offline: Option<Offline>,
    ) -> Result<RunSpec> {
        let data_task = task_of(&dataset);
        if let (Some(task), Some(other)) = (self.task, data_task)
            && task != other
        {
            bail!(
                "{}: data set {} is of task {other}, expected data of {task}; \
                 give the task's own file or the right --task",
                args.dataset.display(),
                dataset.id
            );
        }
        if self.task.is_some() && dataset.origin == Origin::Minari {
            bail!(
                "{}: data set {} is Minari's, which have no reference scores and are no suite's; \
                 leave --suite out and give --env",
                args.dataset.display(),
                dataset.id
            );
        }
        let task = self.task.or(data_task);
        let plan = Self { task, ..self };
        let spec = plan.spec_of(
            dataset,
            args.method,
            args.seed,
            args.device,
            args.reading.reading(),
        );
        Ok(RunSpec { offline, ..spec })
    }

    /// The spec of a run on `dataset`.
    pub(super) fn spec_of(
        self,
        dataset: DatasetIdentity,
        method: Method,
        seed: u64,
        device: DeviceKind,
        reading: Reading,
    ) -> RunSpec {
        let task = self.task;
        RunSpec {
            suite: self.suite,
            preset: self.preset,
            task: task.map_or_else(|| dataset.id.clone(), |task| task.to_string()),
            method,
            variant: self.variant,
            seed,
            env: self.env,
            offline: None,
            dataset,
            reading,
            eval_seed: self.eval_seed,
            final_episodes: self.final_episodes,
            device,
            config: self.config,
        }
    }
}

/// The task whose data a file holds; none for Minari's and a user's
/// own, whatever their names.
pub(super) fn task_of(dataset: &DatasetIdentity) -> Option<TaskId> {
    match dataset.origin {
        Origin::Official => dataset.id.parse().ok(),
        Origin::Local => dataset.id.strip_suffix("-local")?.parse().ok(),
        Origin::Minari | Origin::User => None,
    }
}

/// Runs `spec`, on `gpu` if one is given, waiting a moment for a folder that is
/// in use.
fn train(
    args: &Args,
    spec: &RunSpec,
    data: &Transitions,
    gpu: Option<&Kernels<CudaDevice>>,
    signals: &Signals,
) -> Result<RunRecord, TrainError> {
    let commit = provenance::commit();
    let command = provenance::command_line();
    let mut line = ProgressLine::new(args.progress.is_some());
    let asked = Instant::now();
    loop {
        let control = Control {
            anchor: args.anchor.clone(),
            commit: commit.clone(),
            command: command.clone(),
            stop_after: args.stop_after,
            stop: &|| signals.asked().is_some(),
            report: &mut |progress| line.show(progress),
        };
        let done = match gpu {
            None => spar_train::run(spec, data, &args.out, control),
            Some(gpu) => spar_train::run_on(gpu, spec, data, &args.out, control),
        };
        match done {
            Err(TrainError::Busy(_)) if asked.elapsed() < PATIENCE && signals.asked().is_none() => {
                thread::sleep(Duration::from_millis(100));
            }
            done => return done,
        }
    }
}
