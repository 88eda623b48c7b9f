//! `cargo xtask bench`: our training steps beside candle's, PyTorch's and
//! JAX's, in one run on one machine.
//!
//! Every contender starts from the same parameters, batches and noise, and its
//! losses are compared with ours before anything is timed: a ratio of two
//! programs that compute different things means nothing. Then all take turns,
//! so that whatever else the machine does hits all alike, on one core each and
//! by CPU time. `--check` leaves the peers out and compares with a committed
//! baseline instead. `--scaling` measures our steps alone: side by side, at other
//! sizes, on much data. `--write-docs` makes the page of what the two measured last.
//! `--loading` measures the reading of data files beside h5py's, `--acting` how long an action
//! of a policy takes, `--methods` the updates of other methods beside PyTorch's and JAX's.

mod acting;
mod baseline;
mod cores;
mod loading;
mod measured;
mod memory;
mod methods;
mod page;
mod peers;
mod plot;
mod report;
mod scaling;
mod worker;

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde::Serialize;

use spar_suite::{Usage, below, say};

use crate::cargo::Cargo;
use baseline::Verdict;
use measured::Measured;
use report::Report;
use worker::{Losses, Worker};

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Compare our steps with the committed baseline, without peers; fails if
    /// one has become slower
    #[arg(long)]
    check: bool,
    /// With --check: make what is measured the new baseline
    #[arg(long, requires = "check")]
    write_baseline: bool,
    /// Measure how our steps scale instead: runs side by side, batches, widths,
    /// memory
    #[arg(long, conflicts_with = "check")]
    scaling: bool,
    /// With --scaling: rows of the data set that memory is measured on
    #[arg(
        long,
        value_name = "N",
        default_value = "2000000",
        requires = "scaling"
    )]
    memory_rows: NonZeroUsize,
    /// Measure how fast and in what memory a large file is read instead, beside h5py,
    /// and converted
    #[arg(long, conflicts_with_all = ["check", "scaling", "write_docs"])]
    loading: bool,
    /// With --loading: rows of that file
    #[arg(
        long,
        value_name = "N",
        default_value = "1000000",
        requires = "loading"
    )]
    loading_rows: NonZeroUsize,
    /// Measure how long an action takes instead, in Rust, C, over a socket, under tract and
    /// ONNX Runtime
    #[arg(long, conflicts_with_all = ["check", "scaling", "loading", "write_docs"])]
    acting: bool,
    /// Measure the updates of other methods instead
    #[arg(long, conflicts_with_all = ["check", "scaling", "loading", "acting", "write_docs"])]
    methods: bool,
    /// Measure nothing; write docs/performance.md and its plot from what was
    /// measured last, with and without --scaling, and with --methods; and into
    /// docs/deploy.md what --acting measured last
    #[arg(long, conflicts_with_all = ["check", "scaling", "peers", "rounds", "seconds", "out"])]
    write_docs: bool,
    /// Which peers to measure, as in `torch,jax`, or `none`
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "torch,jax",
        conflicts_with_all = ["check", "scaling", "loading"]
    )]
    peers: Vec<Peer>,
    /// Turns of every contender
    #[arg(long, default_value = "5")]
    rounds: NonZeroUsize,
    /// Seconds of each turn
    #[arg(long, default_value = "1.0")]
    seconds: f64,
    /// Where to write everything measured, as JSON [default: bench.json, scaling.json,
    /// loading.json, acting.json or methods.json in target/bench]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Where measurements are kept, below the workspace's root.
const FOLDER: &str = "target/bench";

/// What was measured against others, in [`FOLDER`].
const COMPARISON: &str = "bench.json";

/// What `--scaling` measured, in [`FOLDER`].
const SCALING: &str = "scaling.json";

/// What `--loading` measured, in [`FOLDER`].
const LOADING: &str = "loading.json";

/// What `--acting` measured, in [`FOLDER`].
const ACTING: &str = "acting.json";

/// What `--methods` measured, in [`FOLDER`].
const METHODS: &str = "methods.json";

/// Who we are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Nobody.
    None,
    /// PyTorch.
    Torch,
    /// JAX.
    Jax,
}

/// Largest relative difference of a loss from ours. Every step changes all
/// parameters, so that rounding grows; over a cycle of twenty steps the
/// programs stay closer than this, and one that computes something else does
/// not.
const TOLERANCE: f64 = 3e-4;

/// The same for what rounds some of its passes to bf16.
const TOLERANCE_BF16: f64 = 3e-2;

/// Our contenders whose speed `--check` watches.
const WATCHED: [&str; 6] = [
    "mlp/ours",
    "mlp/bare",
    "spar/ours",
    "critic/ours",
    "fit/ours",
    "imitation/ours",
];

/// Which worker runs which contender.
type Turn = (usize, String);

/// What the turns of one contender took, in order.
pub(crate) type Timings = BTreeMap<String, Vec<Timing>>;

/// What one turn took, as a worker says it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, Serialize)]
pub(crate) struct Timing {
    /// Steps done.
    pub(crate) steps: f64,
    /// Seconds of CPU time.
    pub(crate) cpu_s: f64,
    /// Seconds that passed.
    pub(crate) wall_s: f64,
}

/// Measures, prints and writes what was measured.
pub(crate) fn bench(
    root: &Path,
    options: &Options,
    provisioned: impl FnOnce() -> Result<Cargo>,
) -> Result<ExitCode> {
    if !(options.seconds > 0.0 && options.seconds.is_finite()) {
        let got = options.seconds;
        return Err(Usage(format!("--seconds is {got}, expected a positive number")).into());
    }
    let folder = root.join(FOLDER);
    if options.write_docs {
        page::write(root, &folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cargo = provisioned()?;
    let program = cargo.build("spar-bench")?;
    let malloc = cargo.build("spar-bench-malloc")?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let bench = Bench {
        root,
        folder,
        program,
        malloc,
        options,
    };
    let out = |name| {
        options
            .out
            .clone()
            .unwrap_or_else(|| bench.folder.join(name))
    };
    if options.check {
        bench.check()
    } else if options.scaling {
        scaling::measure(&bench, &cargo.build("spar")?, &out(SCALING))
    } else if options.loading {
        loading::measure(&bench, &cargo.build("spar")?, &out(LOADING))
    } else if options.acting {
        cargo.build_libraries()?;
        acting::measure(&bench, &cargo.build("spar")?, &out(ACTING))
    } else if options.methods {
        methods::measure(&bench, &out(METHODS))
    } else {
        bench.compare(&out(COMPARISON))
    }
}

/// Writes what was measured to `file`.
fn write_json(file: &Path, measured: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(measured)?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    spar_core::write_atomic(file, text.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    say!("wrote {}", file.display());
    Ok(())
}

/// Everything the steps share.
struct Bench<'a> {
    root: &'a Path,
    /// Where workers' logs go.
    folder: PathBuf,
    program: PathBuf,
    /// The same without our allocator.
    malloc: PathBuf,
    options: &'a Options,
}

impl Bench<'_> {
    /// Our own worker on one core.
    fn ours(&self, core: usize) -> Result<Worker> {
        self.ours_offering(core, &[])
    }

    /// The same offering what `options` say.
    fn ours_offering(&self, core: usize, options: &[&str]) -> Result<Worker> {
        self.rust("spar-bench", &self.program, core, options)
    }

    fn rust(
        &self,
        name: &'static str,
        program: &Path,
        core: usize,
        options: &[&str],
    ) -> Result<Worker> {
        let mut command = Command::new(program);
        command
            .args(["serve", "--core", &core.to_string()])
            .args(options)
            .env("RAYON_NUM_THREADS", "1");
        Worker::start(name, command, &self.folder)
    }

    /// A peer's worker on one core, or on all.
    fn peer(&self, peer: Peer, script: &str, inputs: &Path, core: Option<usize>) -> Result<Worker> {
        let (name, _) = peers::script(peer);
        let python = peers::python(self.root, peer)?;
        let mut command = Command::new(python);
        command
            .arg(self.root.join("xtask/peers").join(script))
            .arg("--inputs")
            .arg(inputs);
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        Worker::start(name, command, &self.folder)
    }

    /// Lets every contender take its turn, round after round.
    fn rounds(&self, workers: &mut [Worker], turns: &[Turn]) -> Result<Timings> {
        let rounds = self.options.rounds.get();
        let mut timings = Timings::new();
        let bar = ProgressBar::new((rounds * turns.len()) as u64);
        for _ in 0..rounds {
            for (worker, name) in turns {
                let timing = workers[*worker].time(name, self.options.seconds)?;
                timings.entry(name.clone()).or_default().push(timing);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(timings)
    }

    fn check(&self) -> Result<ExitCode> {
        let mut workers = [self.ours(last_core())?];
        let flops = workers[0].hello.flops.clone();
        let kind = baseline::kind(&workers[0].hello.isa, &report::cpu_model());
        let names = ["sgemm/peak"].into_iter().chain(WATCHED);
        let turns: Vec<_> = names.map(|name| (0, name.to_owned())).collect();
        let timings = self.rounds(&mut workers, &turns)?;
        let measured = baseline::ratios(&timings, &flops)?;
        let file = self.root.join("xtask/bench-baseline.toml");
        let known = baseline::read(&file)?;
        if self.options.write_baseline {
            baseline::write(&file, known, &kind, &measured)?;
            let file = below(self.root, file);
            say!("wrote the baseline of {kind} to {}", file.display());
            return Ok(ExitCode::SUCCESS);
        }
        let Verdict { lines, regressed } = baseline::compare(&kind, &known, &measured);
        for line in lines {
            crate::stdout::to_stdout(&line)?;
        }
        Ok(if regressed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn compare(&self, out: &Path) -> Result<ExitCode> {
        let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
        let inputs = scratch.path().join("inputs.safetensors");
        let status = Command::new(&self.program)
            .arg("inputs")
            .arg(&inputs)
            .status()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        ensure!(status.success(), "`spar-bench inputs` failed");

        let core = last_core();
        let mut missing = Vec::new();
        let malloc = self.rust("spar-bench-malloc", &self.malloc, core, &[])?;
        let mut workers = vec![self.ours(core)?, malloc];
        for &peer in &self.options.peers {
            if peer == Peer::None {
                continue;
            }
            let (name, script) = peers::script(peer);
            match self.peer(peer, script, &inputs, Some(core)) {
                Ok(worker) => workers.push(worker),
                Err(error) => missing.push(format!("{name}: {error:#}")),
            }
        }
        let (turns, agreement) = agreeing(&mut workers, &mut missing)?;
        for line in &missing {
            say!("missing: {line}");
        }
        let timings = self.rounds(&mut workers, &turns)?;
        let hello = workers[0].hello.clone();
        let mut versions = versions(self.root);
        for worker in &workers {
            versions.extend(worker.hello.versions.clone());
        }
        let with_jax = workers.iter().any(|worker| worker.name == "jax");
        // Nobody may hold memory or caches while all cores are measured.
        drop(workers);
        let all_cores = cores::measure(self, &inputs, with_jax)?;
        let measured = Measured::now(self.root);
        let report = Report::new(
            measured, &hello, &timings, agreement, all_cores, missing, versions,
        )?;
        crate::stdout::to_stdout(&report)?;
        write_json(out, &report)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The contenders that compute what ours does, workload by workload, and how far
/// the losses of each are from ours at most. One that cannot run is added to
/// `missing`.
///
/// # Errors
/// If a contender runs but computes something else.
fn agreeing(
    workers: &mut [Worker],
    missing: &mut Vec<String>,
) -> Result<(Vec<Turn>, BTreeMap<String, f64>)> {
    let mut turns = Vec::new();
    let mut agreement = BTreeMap::new();
    let mut ours: BTreeMap<String, Losses> = BTreeMap::new();
    for (i, worker) in workers.iter_mut().enumerate() {
        for name in worker.hello.contenders.clone() {
            let Some((workload, who)) = name.split_once('/') else {
                bail!("`{name}` is not named as workload/contender");
            };
            // The machine's peak has no losses.
            if who != "peak" {
                match (worker.losses(&name), ours.get(workload)) {
                    (Err(error), _) => {
                        missing.push(format!("{name}: {error:#}"));
                        continue;
                    }
                    (Ok(losses), None) => drop(ours.insert(workload.to_owned(), losses)),
                    (Ok(losses), Some(ours)) => {
                        let tolerance = if name.ends_with("-bf16") {
                            TOLERANCE_BF16
                        } else {
                            TOLERANCE
                        };
                        let off = report::largest_difference(&name, ours, &losses, tolerance)?;
                        agreement.insert(name.clone(), off);
                    }
                }
            }
            turns.push((i, name));
        }
    }
    // A stable sort: the contenders of a workload one after the other, ours first.
    turns.sort_by(|(_, a), (_, b)| a.split('/').next().cmp(&b.split('/').next()));
    Ok((turns, agreement))
}

/// The last core: the first ones serve interrupts.
fn last_core() -> usize {
    core_count() - 1
}

/// Cores this process may use.
fn core_count() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Versions of what our side is made of.
fn versions(root: &Path) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let lock: toml::Table = lock.parse().unwrap_or_default();
    let packages = lock.get("package").and_then(toml::Value::as_array);
    for package in packages.into_iter().flatten() {
        let field = |name| package.get(name).and_then(toml::Value::as_str);
        if let (Some(name @ ("candle-core" | "gemm")), Some(version)) =
            (field("name"), field("version"))
        {
            versions.insert(name.to_owned(), version.to_owned());
        }
    }
    let rustc = Command::new("rustc")
        .arg("--version")
        .current_dir(root)
        .output();
    if let Some(text) = rustc
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
    {
        let version = text.split_whitespace().nth(1).unwrap_or("unknown");
        versions.insert("rustc".to_owned(), version.to_owned());
    }
    versions
}
