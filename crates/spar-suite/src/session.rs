//! From a suite file to its table. `spar` is spawned for the data, once for each training run
//! and once for the report, so that whatever is killed, the same command does only what is
//! left.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use spar_core::{FolderLock, Signals, Suite, TaskId, partial};

use crate::{
    Result, RunnerError, Usage, below,
    cluster::{Cluster, EngineOptions},
    error::io,
    execute::{self, Job, Outcome},
    places::{absolute, given, suite_file_or},
    plan::{self, Run, Schedule, Selection},
    progress::Screen,
    say, theory,
};

#[path = "all.rs"]
mod all;

/// What to make.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    data: DataOptions,
    /// These methods instead of the table's, as in `bc,td3bc,iql`, or `all` the
    /// suite has settings for
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// These training seeds instead of the preset's, as in `0,1`
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// What computes the updates
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// With --device cuda, up to N runs of a method and settings in one process, which share
    /// every launch on the GPU: the same runs, faster together
    #[arg(long, value_name = "N", conflicts_with = "jobs")]
    jobs_on_card: Option<NonZeroUsize>,
    /// Folder of the runs [default: runs/SUITE-PRESET, or runs/SUITE-PRESET-cuda]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Of `--suite theory`: runs of the suite `mujoco` to put claims to the test on
    /// [default: runs/mujoco-PRESET]
    #[arg(long)]
    runs: Option<PathBuf>,
    // Last: its heading stands over all that follow.
    #[command(flatten)]
    engine: EngineOptions,
}

/// Which data to make.
#[derive(Args, Clone, Debug)]
pub struct DataOptions {
    /// Suite, as in `mujoco`, or the path of a suite file; `all` is each of D4RL's in turn,
    /// `theory` puts the paper's claims to the test
    #[arg(long)]
    pub suite: String,
    /// How much of everything: a preset of the suite
    #[arg(long, default_value = "quick")]
    pub preset: String,
    /// Only these tasks, as in `hopper-medium,walker2d-medium`
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<String>,
    /// Processes at a time [default: one per core, or one with --device cuda]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Which data: official D4RL files, local ones made by D4RL's recipe, or
    /// official where a file is present and proven
    #[arg(long, default_value = "auto")]
    data: DataChoice,
    /// Data of a task, instead of what --data finds: logs of your own, or of a task that
    /// the suite defines; once for each such task
    #[arg(long, value_name = "TASK=FILE")]
    dataset: Vec<String>,
}

/// What computes the updates of the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DeviceChoice {
    /// The CPU: one run per core.
    Cpu,
    /// The first GPU, one run at a time; see --jobs-on-card.
    Cuda,
}

/// Which data sets to use.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataChoice {
    /// Official D4RL files only.
    Official,
    /// Locally generated files only.
    Local,
    /// Official where present and proven, else local.
    Auto,
}

/// What `spar data prepare --json` says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Prepared {
    /// Where the file is.
    #[serde(rename = "file")]
    pub(crate) path: PathBuf,
    /// Its hash: the bytes decide which data they are.
    pub(crate) sha256: String,
}

/// Everything the steps share.
pub(crate) struct Session<'a> {
    pub(crate) root: &'a Path,
    pub(crate) selection: Selection,
    /// Suite file and output folder, relative to the root where they lie
    /// below it: the commands a run records then hold in every clone.
    pub(crate) suite_file: PathBuf,
    pub(crate) out: PathBuf,
    data: DataChoice,
    /// Data the user names, of some tasks.
    given: BTreeMap<TaskId, PathBuf>,
    pub(crate) spar: PathBuf,
    pub(crate) slots: usize,
    /// Training runs side by side.
    pub(crate) train_slots: usize,
    /// Whether they are in one process.
    pub(crate) together: bool,
    signals: Signals,
}

/// How the making of a table ended.
enum Ended {
    /// Every run was made.
    Whole,
    /// Some were not.
    Failures,
    /// A signal asked for the end.
    Stopped(ExitCode),
}

/// Makes the table of a suite, or with `all` one table after another of D4RL's. Suites are
/// looked for in `root/suites`, data and runs are kept
/// below `root`, and every `spar` runs there.
///
/// `program` provides `spar`; it is called once the options are known to make sense. The exit
/// code is not 0 if a run failed; it is the signal's where one asked for the end.
///
/// # Errors
/// If the options make no sense, the folder of the runs cannot be used, or `spar` cannot be
/// had or says nothing of the suite's settings.
pub fn reproduce(
    root: &Path,
    options: &Options,
    program: impl FnOnce() -> std::result::Result<PathBuf, Box<dyn Error + Send + Sync>>,
) -> Result<ExitCode> {
    let Options {
        data,
        methods,
        seeds,
        device,
        jobs_on_card,
        engine,
        out,
        runs,
    } = options;
    engine.check()?;
    if jobs_on_card.is_some() && (*device != DeviceChoice::Cuda || engine.cluster().is_some()) {
        let why = "--jobs-on-card is of runs on this machine's GPU: give --device cuda, and leave \
                   out --engine";
        return Err(Usage(why.to_owned()).into());
    }
    if data.suite == all::SUITE {
        return all::tables(root, options, program);
    }
    if data.suite == theory::SUITE {
        if !methods.is_empty() || !seeds.is_empty() || *device != DeviceChoice::Cpu {
            let why = "the suite `theory` has claims, not methods: \
                       leave out --methods, --seeds and --device";
            return Err(Usage(why.to_owned()).into());
        }
        if engine.cluster().is_some() {
            let why =
                "the suite `theory` takes minutes and has no runs to submit: leave out --engine";
            return Err(Usage(why.to_owned()).into());
        }
        return theory::theory(root, data, runs.as_deref(), out.as_deref(), program);
    }
    Ok(match table(root, options, program)? {
        Ended::Whole => ExitCode::SUCCESS,
        Ended::Failures => ExitCode::FAILURE,
        Ended::Stopped(code) => code,
    })
}

/// Makes the table of one suite.
fn table(
    root: &Path,
    options: &Options,
    program: impl FnOnce() -> std::result::Result<PathBuf, Box<dyn Error + Send + Sync>>,
) -> Result<Ended> {
    let Options {
        data,
        methods,
        seeds,
        device,
        jobs_on_card,
        engine,
        out,
        runs,
    } = options;
    if runs.is_some() {
        let why = "--runs is for --suite theory; --out says where runs are made";
        return Err(Usage(why.to_owned()).into());
    }
    let mut session = Session::new(root, data, methods, seeds, out.as_deref(), program)?;
    session.train_on(*device, data.jobs.or(*jobs_on_card), out.is_none());
    session.together = jobs_on_card.is_some();
    let cluster = engine.cluster().map(Cluster::here).transpose()?;
    // Before anything is made: of wrong settings no folder is left.
    session.settle()?;
    let out = session.root.join(&session.out);
    fs::create_dir_all(&out).map_err(io(format!("cannot create {}", out.display())))?;
    let Some(_lock) = FolderLock::take(&out).map_err(io("cannot lock the folder of the runs"))?
    else {
        return Err(RunnerError::Busy(session.out));
    };
    partial::remove_left(&out.join("report"));
    let (data, mut failures) = session.data()?;
    if session.stopped() {
        return Ok(Ended::Stopped(session.interrupted()));
    }
    if let Some(cluster) = cluster {
        failures.extend(session.hand_over(&cluster, &data)?);
        return Ok(match () {
            () if session.stopped() => Ended::Stopped(session.interrupted()),
            () => session.told(&failures),
        });
    }
    failures.extend(session.train(&data)?);
    if session.stopped() {
        return Ok(Ended::Stopped(session.interrupted()));
    }
    if !session.any_finished() {
        say!("no run is finished, so that there is no table to write");
        session.told(&failures);
        return Ok(Ended::Failures);
    }
    let reported = session.report()?;
    if session.stopped() {
        return Ok(Ended::Stopped(session.interrupted()));
    }
    if reported {
        let folder = session.out.join("report");
        say!(
            "table, curves and results.json: {}; runs: {}",
            folder.display(),
            session.out.display()
        );
    }
    let ended = session.told(&failures);
    Ok(if reported { ended } else { Ended::Failures })
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        root: &'a Path,
        options: &DataOptions,
        methods: &[String],
        seeds: &[u64],
        out: Option<&Path>,
        program: impl FnOnce() -> std::result::Result<PathBuf, Box<dyn Error + Send + Sync>>,
    ) -> Result<Self> {
        let own = [all::SUITE, theory::SUITE];
        let suite_file = suite_file_or(root, options.suite.as_ref(), &own)?;
        let suite = Suite::load(&suite_file)?;
        let selection = Selection::new(&suite, &options.preset, &options.tasks, methods, seeds)?;
        let out = match out {
            Some(out) => absolute(out)?,
            None => root.join(format!("runs/{}-{}", suite.name, options.preset)),
        };
        let spar = program().map_err(RunnerError::Program)?;
        let slots = options
            .jobs
            .or_else(|| thread::available_parallelism().ok());
        let signals = Signals::listen().map_err(io("cannot listen for signals"))?;
        Ok(Self {
            root,
            data: options.data,
            given: given(&options.dataset, &selection.tasks)?,
            selection,
            suite_file: below(root, suite_file),
            out: below(root, out),
            spar,
            slots: slots.map_or(1, NonZeroUsize::get),
            train_slots: slots.map_or(1, NonZeroUsize::get),
            together: false,
            signals,
        })
    }

    /// What one run of a plan needs: `suite_file` and `out` are as the plan has them.
    pub(crate) fn of_run(
        root: &'a Path,
        selection: Selection,
        suite_file: PathBuf,
        out: PathBuf,
        spar: PathBuf,
    ) -> Result<Self> {
        let signals = Signals::listen().map_err(io("cannot listen for signals"))?;
        Ok(Self {
            root,
            selection,
            suite_file,
            out,
            data: DataChoice::Auto,
            given: BTreeMap::new(),
            spar,
            slots: 1,
            train_slots: 1,
            together: false,
            signals,
        })
    }

    /// Has runs trained on `device`, `jobs` at a time where the user says so. Runs
    /// of another device are other runs: where the user names no folder, a GPU's
    /// have their own.
    fn train_on(&mut self, device: DeviceChoice, jobs: Option<NonZeroUsize>, own_folder: bool) {
        let value = device.to_possible_value();
        let name = value.as_ref().map_or("cpu", |value| value.get_name());
        self.selection.device = name.to_owned();
        if device == DeviceChoice::Cuda {
            self.train_slots = jobs.map_or(1, NonZeroUsize::get);
            if own_folder {
                self.out.as_mut_os_string().push("-cuda");
            }
        }
    }

    /// Says what failed.
    fn told(&self, failures: &[String]) -> Ended {
        if failures.is_empty() {
            return Ended::Whole;
        }
        say!("{} failed:", failures.len());
        for failure in failures {
            say!("  {failure}");
        }
        Ended::Failures
    }

    pub(crate) fn stopped(&self) -> bool {
        self.signals.asked().is_some()
    }

    /// The signal that asked for the end, if one did.
    pub(crate) fn asked(&self) -> Option<spar_core::signals::Asked> {
        self.signals.asked()
    }

    pub(crate) fn interrupted(&self) -> ExitCode {
        let Some(asked) = self.signals.asked() else {
            return ExitCode::FAILURE;
        };
        say!(
            "{}: the runs have written their checkpoints; the same command resumes them",
            asked.name
        );
        ExitCode::from(asked.exit_code())
    }

    /// `spar` in the workspace's root, one thread inside: runs go side by side.
    pub(crate) fn spar(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.spar);
        command
            .current_dir(self.root)
            .args(words)
            .env("RAYON_NUM_THREADS", "1");
        command
    }

    /// Prepares the data of every task; the second part names the failures.
    pub(crate) fn data(&self) -> Result<(BTreeMap<TaskId, Prepared>, Vec<String>)> {
        let tasks = &self.selection.tasks;
        let names: Vec<_> = tasks.iter().map(|task| format!("data of {task}")).collect();
        let rows = self.selection.data_rows.to_string();
        let choice = self.data.to_possible_value();
        let choice = choice.as_ref().map_or("auto", |value| value.get_name());
        let job = |(task, name): (&TaskId, &String)| {
            let given = self.given.get(task);
            let task = task.to_string();
            let command = {
                let rows = &rows;
                move || {
                    let mut command = self.spar(&["data", "prepare", "--task", &task]);
                    command.args(["--rows", rows, "--json"]);
                    command.arg("--suite").arg(&self.suite_file);
                    match given {
                        Some(file) => command.arg("--dataset").arg(file),
                        None => command.args(["--data", choice]),
                    };
                    command
                }
            };
            Job {
                name: name.clone(),
                command: Box::new(command),
                log: None,
            }
        };
        let jobs: Vec<_> = tasks.iter().zip(&names).map(job).collect();
        let costs = vec![1.0; tasks.len()];
        let alone = vec![None; tasks.len()];
        let mut screen = Screen::new(names.clone(), &costs, false, &alone, self.slots, true);
        let schedule = Schedule::new(&costs, &alone);
        let outcomes = execute::run(&jobs, schedule, self.slots, &|| self.stopped(), &mut screen);
        drop(screen);
        let mut prepared = BTreeMap::new();
        let mut failures = Vec::new();
        for ((&task, name), outcome) in tasks.iter().zip(names).zip(outcomes) {
            match outcome {
                Outcome::Finished(line) => match serde_json::from_str(&line) {
                    Ok(data) => drop(prepared.insert(task, data)),
                    Err(error) => failures.push(format!(
                        "{name}: `spar data prepare` printed `{line}`, which is no description of data: {error}"
                    )),
                },
                Outcome::Failed(why) => failures.push(format!("{name}: {why}")),
                Outcome::Stopped => {}
            }
        }
        Ok((prepared, failures))
    }

    /// Whether there is anything to report on, as far as records say.
    fn any_finished(&self) -> bool {
        let runs = plan::runs(&self.selection);
        let done = |run: &Run| self.root.join(self.folder(run)).join("DONE").is_file();
        runs.iter().any(done)
    }

    /// Writes the report and prints the table; whether it succeeded.
    fn report(&self) -> Result<bool> {
        let status = self
            .report_command()
            .status()
            .map_err(io(format!("cannot start {}", self.spar.display())))?;
        Ok(status.success())
    }

    /// `spar report` of everything that was selected.
    pub(crate) fn report_command(&self) -> Command {
        let join = |words: Vec<String>| words.join(",");
        let Selection {
            preset,
            tasks,
            methods,
            seeds,
            ..
        } = &self.selection;
        let mut command = self.spar(&["report", "--preset", preset]);
        command.arg("--suite").arg(&self.suite_file);
        command.arg("--runs").arg(&self.out);
        command.arg("--out").arg(self.out.join("report"));
        command.args([
            "--tasks",
            &join(tasks.iter().map(TaskId::to_string).collect()),
        ]);
        command.args(["--methods", &methods.join(",")]);
        command.args(["--seeds", &join(seeds.iter().map(u64::to_string).collect())]);
        command
    }
}
