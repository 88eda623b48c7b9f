//! How our steps scale: runs side by side, larger batches, wider networks, more
//! data. Each time stands beside its floor, which is the larger of two: operations
//! at the peak of fused multiply-adds, bytes at the speed of memory, both measured
//! in the same run.

use std::{collections::BTreeMap, fmt, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use comfy_table::Table;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::{
    Bench, Timings, core_count, cores, last_core,
    measured::Measured,
    memory::{self, Memory},
    report::{self, Machine, median, percent},
};
use crate::{clock::Timing, serve::Hello, work::Work};
use spar_suite::say::to_stdout;

/// Batches and widths that are swept, and the one that the other sweep keeps.
const SIZES: [usize; 5] = [64, 128, 256, 512, 1024];
const USUAL: usize = 256;

/// What is swept: a network's training step, and a whole update of SPAR.
pub(crate) const WORKLOADS: [&str; 2] = ["mlp", "spar"];

/// The step that runs side by side.
const RUN: &str = "spar/ours";

/// Everything measured, as it is written to JSON; printed, its tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Scaling {
    /// When, and of which commit.
    pub(crate) measured: Measured,
    /// The machine.
    pub(crate) machine: Machine,
    /// Speed of memory of one core, in 10^9 bytes per second.
    pub(crate) memory_gb_s: f64,
    /// Runs on as many cores, from one to all.
    pub(crate) side_by_side: Vec<SideBySide>,
    /// Every size on one core.
    pub(crate) sweep: Vec<Point>,
    /// Memory of a run.
    pub(crate) memory: Option<Memory>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
    /// Every turn on one core.
    pub(crate) turns: Timings,
}

/// Runs at the same time, one per core; time is what passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SideBySide {
    /// How many.
    pub(crate) runs: usize,
    /// Updates per second of all together, median over the rounds.
    pub(crate) steps_per_s: f64,
    /// The same against as many times the rate of one alone, median over the rounds.
    pub(crate) efficiency: f64,
}

/// A step of one size, by CPU time; medians over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// What is computed.
    pub(crate) workload: String,
    /// Transitions per batch.
    pub(crate) rows: usize,
    /// Width of both hidden layers of every network.
    pub(crate) width: usize,
    /// Steps per second.
    pub(crate) steps_per_s: f64,
    /// Rate of its floating-point operations, in 10^9 per second.
    pub(crate) gflops: f64,
    /// The same as a fraction of the peak.
    pub(crate) of_fma_peak: f64,
    /// Milliseconds of a step.
    pub(crate) ms: f64,
    /// Milliseconds its operations take at the peak.
    pub(crate) arithmetic_ms: f64,
    /// Milliseconds its bytes take at the speed of memory.
    pub(crate) memory_ms: f64,
}

/// What a core can do.
#[derive(Clone, Copy, Debug)]
struct Ceiling {
    fma_gflops: f64,
    memory_gb_s: f64,
}

/// A step whose size is part of its name, as workers understand it.
fn name(workload: &str, contender: &str, rows: usize, width: usize) -> String {
    format!("{workload}{contender}@{rows}x{width}")
}

/// Batches at the usual width, then widths at the usual batch.
fn sizes() -> impl Iterator<Item = (usize, usize)> {
    let widths = SIZES.into_iter().filter(|width| *width != USUAL);
    let batches = SIZES.into_iter().map(|rows| (rows, USUAL));
    batches.chain(widths.map(|width| (USUAL, width)))
}

/// Measures, prints and writes what was measured to `out`.
///
/// # Errors
/// If a worker fails or `out` cannot be written.
pub(crate) fn measure(bench: &Bench<'_>, out: &Path) -> Result<ExitCode> {
    let mut workers = [bench.ours(last_core())?];
    let hello = workers[0].hello.clone();
    let mut work = BTreeMap::from([("stream".to_owned(), workers[0].work("stream")?)]);
    let mut turns = ["fma/peak", "stream/peak", "sgemm/peak"]
        .map(|name| (0, name.to_owned()))
        .to_vec();
    for workload in WORKLOADS {
        for (rows, width) in sizes() {
            let asked = name(workload, "", rows, width);
            work.insert(asked.clone(), workers[0].work(&asked)?);
            turns.push((0, name(workload, "/ours", rows, width)));
        }
    }
    let turns = bench.rounds(&mut workers, &turns)?;
    // Nobody may hold memory or caches while all cores are measured.
    drop(workers);
    let rates = together(bench)?;
    let memory = memory::measure(bench, bench.options.memory_rows);
    let mut missing = Vec::new();
    let memory = memory.map_err(|error| missing.push(format!("memory of a run: {error:#}")));
    let measured = Measured::now(bench.commit);
    let scaling = Scaling::new(measured, &hello, turns, &work, &rates, memory.ok(), missing)?;
    to_stdout(&scaling)?;
    super::write_json(out, &scaling)?;
    Ok(ExitCode::SUCCESS)
}

/// One run, twice as many, and so on, and one on every core.
fn counts(cores: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(1), |n| Some(2 * n));
    doubled.take_while(|n| *n < cores).chain([cores]).collect()
}

/// Updates per second of so many runs together, round by round.
fn together(bench: &Bench<'_>) -> Result<BTreeMap<usize, Vec<f64>>> {
    let counts = counts(core_count());
    let workers = (0..core_count()).map(|core| bench.ours(core));
    let mut workers = workers.collect::<Result<Vec<_>>>()?;
    let mut rates = BTreeMap::<_, Vec<_>>::new();
    let rounds = bench.options.rounds.get();
    let bar = ProgressBar::new((rounds * counts.len()) as u64);
    for _ in 0..rounds {
        for &n in &counts {
            let rate = cores::together(&mut workers[..n], RUN, bench.options.seconds)?;
            rates.entry(n).or_default().push(rate);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(rates)
}

/// What so many runs gain over one.
///
/// # Errors
/// If one alone was not measured.
fn side_by_side(rates: &BTreeMap<usize, Vec<f64>>) -> Result<Vec<SideBySide>> {
    let one = rates.get(&1).context("one run alone was not measured")?;
    let rows = rates.iter().map(|(&runs, rates)| {
        let gained = rates.iter().zip(one).map(|(all, one)| all / one);
        SideBySide {
            runs,
            steps_per_s: median(rates.iter().copied()),
            efficiency: median(gained) / runs as f64,
        }
    });
    Ok(rows.collect())
}

/// The figures of one size.
///
/// # Errors
/// If there is no turn, or one without length.
fn point(
    (workload, rows, width): (&str, usize, usize),
    work: Work,
    turns: &[Timing],
    ceiling: Ceiling,
) -> Result<Point> {
    let steps_per_s = median(turns.iter().map(|turn| turn.steps / turn.cpu_s));
    anyhow::ensure!(
        steps_per_s > 0.0 && steps_per_s.is_finite(),
        "{workload} of {rows} rows, {width} wide, was not measured"
    );
    let (flops, bytes) = (work.flops as f64, work.bytes as f64);
    let gflops = flops * steps_per_s / 1e9;
    Ok(Point {
        workload: workload.to_owned(),
        rows,
        width,
        steps_per_s,
        gflops,
        of_fma_peak: gflops / ceiling.fma_gflops,
        ms: 1e3 / steps_per_s,
        arithmetic_ms: flops / ceiling.fma_gflops / 1e6,
        memory_ms: bytes / ceiling.memory_gb_s / 1e6,
    })
}

impl Scaling {
    /// The figures of `turns` on one core and of `rates` on several.
    ///
    /// # Errors
    /// If something was not measured.
    fn new(
        measured: Measured,
        hello: &Hello,
        turns: Timings,
        work: &BTreeMap<String, Work>,
        rates: &BTreeMap<usize, Vec<f64>>,
        memory: Option<Memory>,
        missing: Vec<String>,
    ) -> Result<Self> {
        let of = |name: &str| {
            let work = work.get(name).copied();
            work.with_context(|| format!("spar-bench does not say what a step of {name} does"))
        };
        let turns_of = |name: &str| {
            let turns = turns.get(name);
            turns.with_context(|| format!("`{name}` was not measured"))
        };
        let gflops = |name: &str| -> Result<f64> {
            let rates = turns_of(name)?.iter();
            let rates = rates.map(|turn| report::gflops(name, turn, &hello.flops));
            Ok(median(rates.collect::<Result<Vec<_>>>()?))
        };
        let stream = of("stream")?.bytes as f64 / 1e9;
        let streamed = turns_of("stream/peak")?.iter();
        let ceiling = Ceiling {
            fma_gflops: gflops("fma/peak")?,
            memory_gb_s: median(streamed.map(|turn| stream * turn.steps / turn.cpu_s)),
        };
        let mut sweep = Vec::new();
        for workload in WORKLOADS {
            for (rows, width) in sizes() {
                let work = of(&name(workload, "", rows, width))?;
                let turns = turns_of(&name(workload, "/ours", rows, width))?;
                sweep.push(point((workload, rows, width), work, turns, ceiling)?);
            }
        }
        Ok(Self {
            measured,
            machine: Machine::here(hello, ceiling.fma_gflops, gflops("sgemm/peak")?),
            memory_gb_s: ceiling.memory_gb_s,
            side_by_side: side_by_side(rates)?,
            sweep,
            memory,
            missing,
            turns,
        })
    }

    /// The points of one workload at the usual width, by batch.
    pub(crate) fn batches(&self, workload: &str) -> Vec<&Point> {
        self.swept(workload, |point| point.width == USUAL, |point| point.rows)
    }

    /// The points of one workload at the usual batch, by width.
    pub(crate) fn widths(&self, workload: &str) -> Vec<&Point> {
        self.swept(workload, |point| point.rows == USUAL, |point| point.width)
    }

    fn swept(
        &self,
        workload: &str,
        kept: impl Fn(&Point) -> bool,
        by: impl Fn(&Point) -> usize,
    ) -> Vec<&Point> {
        let points = self.sweep.iter();
        let points = points.filter(|point| point.workload == workload && kept(point));
        let mut points: Vec<_> = points.collect();
        points.sort_by_key(|point| by(point));
        points
    }

    /// Runs side by side.
    pub(crate) fn side_by_side_table(&self) -> Table {
        let mut table = report::table(&["runs", "updates/s in all", "efficiency"]);
        for row in &self.side_by_side {
            table.add_row([
                row.runs.to_string(),
                format!("{:.1}", row.steps_per_s),
                percent(row.efficiency),
            ]);
        }
        report::aligned(table, 0)
    }

    /// The sweep over batches.
    pub(crate) fn batch_table(&self) -> Table {
        sweep_table(
            "batch",
            |workload| self.batches(workload),
            |point| point.rows,
        )
    }

    /// The sweep over widths.
    pub(crate) fn width_table(&self) -> Table {
        sweep_table(
            "width",
            |workload| self.widths(workload),
            |point| point.width,
        )
    }
}

fn sweep_table<'a>(
    swept: &str,
    points: impl Fn(&str) -> Vec<&'a Point>,
    by: impl Fn(&Point) -> usize,
) -> Table {
    let mut table = report::table(&[
        "one core",
        swept,
        "steps/s",
        "GFLOP/s",
        "of peak",
        "ms",
        "floor: arithmetic, ms",
        "floor: memory, ms",
    ]);
    for point in WORKLOADS.iter().flat_map(|workload| points(workload)) {
        table.add_row([
            point.workload.clone(),
            by(point).to_string(),
            format!("{:.1}", point.steps_per_s),
            format!("{:.1}", point.gflops),
            percent(point.of_fma_peak),
            format!("{:.3}", point.ms),
            format!("{:.3}", point.arithmetic_ms),
            format!("{:.3}", point.memory_ms),
        ]);
    }
    report::aligned(table, 1)
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory_gb_s = self.memory_gb_s;
        writeln!(f, "{}; memory {memory_gb_s:.1} GB/s\n", self.machine)?;
        writeln!(f, "{}\n", self.side_by_side_table())?;
        writeln!(f, "{}\n", self.batch_table())?;
        write!(f, "{}", self.width_table())?;
        if let Some(memory) = &self.memory {
            let (table, copies) = (memory.table(), memory.copies());
            write!(f, "\n\n{table}\n\n{copies:.2} bytes for each byte of data")?;
        }
        report::missing(f, &self.missing)
    }
}

#[cfg(test)]
#[path = "scaling_tests.rs"]
pub(crate) mod tests;
