//! `spar train`: one run, of a suite or by itself.

mod plan;
mod together;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use spar_core::{EnvId, RunRecord, Signals, TaskId, limits::MOST_EPISODES};
use spar_data::{Dataset, Reading, Transitions};
use spar_train::{Control, DeviceKind, Method, Progress, RunSpec, TrainError};

use super::{
    ReadingArgs, dataset,
    numbers::{positive, whole},
    offline::{self, OfflineArgs},
    progress_line::ProgressLine,
    setting::setting,
};
use crate::{
    failure::{Ended, Usage},
    output::{self, Played, Score},
    provenance,
};
pub(super) use plan::{Plan, task_of};
pub(crate) use together::{Args as TogetherArgs, run as run_together};

/// Seed of evaluation episodes where none is given: the suites' too.
pub(crate) const EVAL_SEED: u64 = 42;

/// Seconds of `--calibrate`.
const CALIBRATION_S: f64 = 3.0;

/// How long another process may take to let go of the run's folder: one that
/// was killed a moment ago is not always gone yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to train, on what, and where it goes.
///
/// With --suite a cell of that suite's table, with the suite's
/// hyper-parameters; without, a run of its own with the defaults.
#[derive(Clone, clap::Args)]
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

    /// Suite whose hyper-parameters and protocol to use: a name of `./suites`, as in `mujoco`,
    /// or a file
    #[arg(long, value_name = "SUITE", requires_all = ["preset", "task"], help_heading = "A run of a suite")]
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
    #[arg(long, value_name = "N", value_parser = positive)]
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

impl Args {
    /// How the data are read: a horizon tells where episodes end, too.
    fn read_as(&self) -> Reading {
        Reading {
            horizon: self.single.offline.cuts(),
            ..self.reading.reading()
        }
    }
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
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "A run of its own")]
struct Single {
    /// Environment of the data, in which the policy is evaluated [default: the one that a
    /// D4RL id names, else none: see --held-out]
    #[arg(long, conflicts_with = "suite")]
    env: Option<EnvId>,
    /// Updates of the method
    #[arg(long, value_name = "N", conflicts_with = "suite", value_parser = whole::<u64>)]
    updates: Option<u64>,
    /// Updates of the anchor, of spar and other methods that stand on one
    #[arg(long, value_name = "N", conflicts_with = "suite", value_parser = whole::<u64>)]
    anchor_updates: Option<u64>,
    /// Updates of fitting before spar's self-imitation begins
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
pub(super) enum ProgressFormat {
    Json,
}

/// Trains, and prints how the last checkpoint did.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut signals = None;
    let record = match made(args, &mut signals) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(()),
        Err(error) => match error.downcast_ref::<TrainError>() {
            Some(&TrainError::Stopped(update)) => {
                if let Some(asked) = signals.as_ref().and_then(Signals::asked) {
                    let unit = "update";
                    return Err(Ended {
                        asked,
                        unit,
                        update,
                    }
                    .into());
                }
                output::say(&error.to_string());
                return Ok(());
            }
            _ => return Err(error),
        },
    };
    if record.env.is_none() {
        return offline::end(&args.out, &record, args.json, args.progress.is_some());
    }
    let played = Played::of_run(&args.out, &record);
    let score = Score::of(played, record.normalized_score(), record.returns);
    if args.json {
        return output::json(&score);
    }
    if args.progress.is_some() {
        return Ok(());
    }
    output::facts(&score.facts())
}

/// The finished run, before which `signals` are listened for; `None` where its speed was measured and printed instead.
fn made(args: &Args, signals: &mut Option<Signals>) -> Result<Option<RunRecord>> {
    let found = dataset::found(&args.dataset)?;
    let mut plan = planned(args, found.env)?;
    if let (Method::Spar, None) = (args.method, &plan.config.anchor.file)
        && let Some(method) = plan.config.anchor.method.take_if(|_| args.calibrate)
    {
        plan.config.anchor.draws = None;
        output::note(&format!("an anchor of {method} is measured as one of bc"));
    }
    plan.make_base(args, signals)?;
    let gpu = match args.device {
        DeviceKind::Cpu => None,
        DeviceKind::Cuda => Some(super::cuda()?),
    };
    let data = super::training_data(&found.path, plan.env, &args.read_as())?;
    let (spec, transitions) = ready(args, plan, &found.path, data)?;
    if args.calibrate {
        let measured = match &gpu {
            None => spar_train::throughput(&spec, &transitions, CALIBRATION_S)?,
            Some(gpu) => spar_train::throughput_on(gpu, &spec, &transitions, CALIBRATION_S)?,
        };
        output::json(&measured)?;
        return Ok(None);
    }
    let notes = [spec.slow_precision(), spec.config.unlearned(spec.method)];
    notes.iter().flatten().for_each(|note| output::note(note));
    // Before hours of training, not after: the run is evaluated in it.
    if let Some(env) = spec.env {
        spar_env::make(env)?;
    }
    // From here on there is something to resume from.
    let signals = match signals {
        Some(signals) => signals,
        None => signals.insert(Signals::listen().context("cannot listen for signals")?),
    };
    let mut line = ProgressLine::new(args.progress.is_some());
    let around = Around {
        stop: &|| signals.asked().is_some(),
        stop_after: args.stop_after,
        anchor: args.anchor.as_deref(),
        command: provenance::command_line(),
        report: &mut |progress| line.show(progress),
    };
    let record = patiently(around, &mut |control| match &gpu {
        None => spar_train::run(&spec, &transitions, &args.out, control),
        Some(gpu) => spar_train::run_on(gpu, &spec, &transitions, &args.out, control),
    })?;
    Ok(Some(record))
}

/// What the options say before the data are read and a GPU is looked for, which would not help
/// a method that has no kernels.
fn planned(args: &Args, env: Option<EnvId>) -> Result<Plan> {
    let plan = Plan::new(args, env)?;
    if let (Method::Baseline(entry), DeviceKind::Cuda) = (args.method, args.device) {
        return Err(Usage(TrainError::CpuOnly(entry.name).to_string()).into());
    }
    Ok(plan)
}

/// The run that is planned, on `data`, which the file `path` held.
fn ready(
    args: &Args,
    plan: Plan,
    path: &Path,
    data: Arc<Dataset>,
) -> Result<(RunSpec, Transitions)> {
    dataset::check(path, &data.identity, args.expect_sha256.as_deref())?;
    let offline = match plan.env {
        Some(_) => None,
        None => Some(args.single.offline.of(&data)?),
    };
    let spec = plan.spec(args, data.identity.clone(), offline)?;
    let transitions = Transitions::new(data, spec.horizon())?;
    offline::describe(&spec, &transitions);
    Ok((spec, transitions))
}

/// What surrounds a run.
pub(super) struct Around<'a> {
    /// Whether to stop.
    pub(super) stop: &'a dyn Fn() -> bool,
    pub(super) stop_after: Option<u64>,
    pub(super) anchor: Option<&'a Path>,
    /// The command that makes the run again.
    pub(super) command: String,
    pub(super) report: &'a mut dyn FnMut(Progress<'_>) -> io::Result<()>,
}

/// Does `run`, waiting a moment for a folder that is in use.
pub(super) fn patiently(
    around: Around<'_>,
    run: &mut dyn FnMut(Control<'_>) -> Result<RunRecord, TrainError>,
) -> Result<RunRecord, TrainError> {
    let commit = provenance::commit();
    let asked = Instant::now();
    loop {
        let done = run(Control {
            anchor: around.anchor.map(Path::to_owned),
            commit: commit.clone(),
            command: around.command.clone(),
            stop_after: around.stop_after,
            every: None,
            stop: around.stop,
            report: &mut *around.report,
        });
        match done {
            Err(TrainError::Busy(_)) if asked.elapsed() < PATIENCE && !(around.stop)() => {
                thread::sleep(Duration::from_millis(100));
            }
            done => return done,
        }
    }
}
