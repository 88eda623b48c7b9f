//! What `cargo xtask bench` does once everything is built: our training steps beside
//! candle's, PyTorch's and JAX's, in one run on one machine.
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

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use serde::Serialize;
use spar_core::process::ENVIRONMENT;
use spar_setup::JAX;
use spar_suite::{
    below, say,
    say::{to_stderr, to_stdout},
};

use crate::{clock::Timing, options::Options};
use baseline::Verdict;
use measured::Measured;
use peers::{Program, UPDATES};
use report::Report;
use worker::{Losses, Worker};

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

/// Largest relative difference of a loss from ours. Every step changes all
/// parameters, so that rounding grows; over a cycle of twenty steps the
/// programs stay closer than this, and one that computes something else does
/// not.
pub(crate) const TOLERANCE: f64 = 3e-4;

/// The same for what rounds some of its passes to bf16.
const TOLERANCE_BF16: f64 = 3e-2;

/// The same for a whole update of SPAR in three terms of bf16: what a candidate loses is a
/// multiple of the critics' disagreement, a small difference of large values.
const TOLERANCE_SPAR_BF16X3: f64 = 3e-3;

/// Largest relative difference from ours of a loss of the contender `name`.
pub(crate) fn tolerance(name: &str) -> f64 {
    match name.split_once('/') {
        Some((_, who)) if who.ends_with("-bf16") => TOLERANCE_BF16,
        Some(("spar", "ours-bf16x3")) => TOLERANCE_SPAR_BF16X3,
        _ => TOLERANCE,
    }
}

/// Our contenders whose speed `--check` watches.
const WATCHED: [&str; 6] = [
    "mlp/ours",
    "mlp/bare",
    "spar/ours",
    "critic/ours",
    "fit/ours",
    "imitation/ours",
];

/// What a program printed, if it succeeded.
///
/// # Errors
/// If it cannot run or fails, with what it says of that.
fn said(command: &mut Command) -> Result<String> {
    let name = PathBuf::from(command.get_program());
    let output = command.output();
    let output = output.with_context(|| format!("cannot run {}", name.display()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}: {}",
            name.display(),
            output.status,
            why.trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Which worker runs which contender.
type Turn = (usize, String);

/// What the turns of one contender took, in order.
pub(crate) type Timings = BTreeMap<String, Vec<Timing>>;

/// What `xtask` hands on: its checkout, and the user's command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The checkout
    #[arg(long)]
    root: PathBuf,
    /// Its commit
    #[arg(long)]
    commit: String,
    #[command(flatten)]
    options: Options,
}

/// Measures, prints and writes what was measured.
///
/// # Errors
/// If a program is missing or fails, or a file cannot be written.
pub(crate) fn bench(args: &Args) -> Result<ExitCode> {
    let Args {
        root,
        commit,
        options,
    } = args;
    let folder = root.join(FOLDER);
    if options.write_docs {
        page::write(root, &folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let bench = Bench {
        root,
        commit,
        folder,
        program,
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
        scaling::measure(&bench, &out(SCALING))
    } else if options.loading {
        loading::measure(&bench, &out(LOADING))
    } else if options.acting {
        acting::measure(&bench, &out(ACTING))
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
    commit: &'a str,
    /// Where workers' logs go.
    folder: PathBuf,
    /// This program.
    program: PathBuf,
    options: &'a Options,
}

impl Bench<'_> {
    /// A program or library that was built beside this one.
    fn beside(&self, name: &str) -> Result<PathBuf> {
        let file = self.program.with_file_name(name);
        if !file.is_file() {
            bail!(
                "{} is not there; `cargo xtask bench` builds it",
                file.display()
            );
        }
        Ok(file)
    }

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
            .envs(ENVIRONMENT);
        Worker::start(name, command, &self.folder)
    }

    /// The workers on one core of the peers that were asked for, `programs` of theirs. One
    /// that cannot start is added to `missing`.
    fn peers(
        &self,
        programs: &[Program],
        inputs: &Path,
        core: usize,
        missing: &mut Vec<String>,
    ) -> Vec<Worker> {
        let mut workers = Vec::new();
        let asked = |program: &&Program| self.options.peers.contains(&program.peer);
        for program in programs.iter().filter(asked) {
            match self.peer(program, inputs, Some(core)) {
                Ok(worker) => workers.push(worker),
                Err(error) => missing.push(format!("{}: {error:#}", program.python.name)),
            }
        }
        workers
    }

    /// A peer's worker on one core, or on all.
    fn peer(&self, program: &Program, inputs: &Path, core: Option<usize>) -> Result<Worker> {
        let python = program.python.provide(self.root, to_stderr)?;
        let mut command = Command::new(python);
        command
            .arg(self.root.join("xtask/peers").join(program.script))
            .arg("--inputs")
            .arg(inputs);
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        Worker::start(program.python.name, command, &self.folder)
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
            to_stdout(&line)?;
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
        crate::inputs::write(&inputs)?;

        let core = last_core();
        let mut missing = Vec::new();
        let malloc = self.beside("spar-bench-malloc")?;
        let malloc = self.rust("spar-bench-malloc", &malloc, core, &[])?;
        let mut workers = vec![self.ours(core)?, malloc];
        workers.extend(self.peers(&UPDATES, &inputs, core, &mut missing));
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
        let with_jax = workers.iter().any(|worker| worker.name == JAX.name);
        // Nobody may hold memory or caches while all cores are measured.
        drop(workers);
        let all_cores = cores::measure(self, &inputs, with_jax)?;
        let measured = Measured::now(self.commit);
        let report = Report::new(
            measured, &hello, &timings, agreement, all_cores, missing, versions,
        )?;
        to_stdout(&report)?;
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
                        let off =
                            report::largest_difference(&name, ours, &losses, tolerance(&name))?;
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

/// The checkout that this was compiled in.
#[cfg(test)]
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
