//! Updates of other methods than SPAR on one core, beside the same math in JAX and PyTorch.

use std::{collections::BTreeMap, fmt, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use comfy_table::Table;
use serde::{Deserialize, Serialize};

use super::{
    Bench, Timings, agreeing, last_core,
    measured::Measured,
    peers,
    report::{self, Machine, median},
    versions,
};
use crate::clock::Timing;
use spar_suite::{say, say::to_stdout};

/// The contenders of a method, ours first.
const CONTENDERS: [&str; 3] = ["ours", JAX, "torch-eager"];

/// JAX's.
const JAX: &str = "jax-scan";

/// Everything measured, as it is written to JSON; printed, its table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Methods {
    /// When, and of which commit.
    pub(crate) measured: Measured,
    /// The machine.
    pub(crate) machine: Machine,
    /// Versions of what was measured.
    pub(crate) versions: BTreeMap<String, String>,
    /// One method a row, in the order they were offered.
    pub(crate) methods: Vec<Row>,
    /// Largest relative difference of a contender's losses from ours.
    pub(crate) largest_loss_difference: BTreeMap<String, f64>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
    /// Every turn of every contender.
    pub(crate) turns: Timings,
}

/// A method's updates by CPU time; medians over the rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) method: String,
    /// Transitions in a batch.
    pub(crate) batch: usize,
    /// Floating-point operations of an update's matrix products, as JAX's program has them.
    #[serde(default)]
    pub(crate) flops: Option<f64>,
    /// Ours, per second.
    pub(crate) ours: f64,
    /// Those of others, by contender.
    pub(crate) theirs: BTreeMap<String, Theirs>,
}

/// One contender's updates of a method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Theirs {
    /// Updates per second.
    pub(crate) steps_per_s: f64,
    /// How many times faster ours is.
    pub(crate) ours_is: f64,
}

/// Measures, prints and writes what was measured to `out`.
///
/// # Errors
/// If a contender computes something else than ours, or `out` cannot be written.
pub(crate) fn measure(bench: &Bench<'_>, out: &Path) -> Result<ExitCode> {
    let inputs = tempfile::tempdir_in(&bench.folder).context("cannot make a temporary folder")?;
    crate::methods::write(inputs.path())?;

    let core = last_core();
    let mut missing = Vec::new();
    let mut workers = vec![bench.ours_offering(core, &["--methods"])?];
    workers.extend(bench.peers(&peers::METHODS, inputs.path(), core, &mut missing));
    let (turns, largest_loss_difference) = agreeing(&mut workers, &mut missing)?;
    for line in &missing {
        say!("missing: {line}");
    }
    let mut flops = BTreeMap::new();
    for (worker, name) in &turns {
        if let Some((method, JAX)) = name.split_once('/') {
            match workers[*worker].flops(name) {
                Ok(counted) => drop(flops.insert(method.to_owned(), counted)),
                Err(error) => missing.push(format!("operations of {name}: {error:#}")),
            }
        }
    }
    let timings = bench.rounds(&mut workers, &turns)?;
    let hello = workers[0].hello.clone();
    let peak = |name: &str| -> Result<f64> {
        let turns = timings.get(name).map(Vec::as_slice).unwrap_or_default();
        let rates = turns
            .iter()
            .map(|turn| report::gflops(name, turn, &hello.flops));
        Ok(median(rates.collect::<Result<Vec<_>>>()?))
    };
    let mut all_versions = versions(bench.root);
    for worker in &workers {
        all_versions.extend(worker.hello.versions.clone());
    }
    let methods = Methods {
        measured: Measured::now(bench.commit),
        machine: Machine::here(&hello, peak("fma/peak")?, peak("sgemm/peak")?),
        versions: all_versions,
        methods: rows(&hello.contenders, &hello.batches, &flops, &timings)?,
        largest_loss_difference,
        missing,
        turns: timings,
    };
    to_stdout(&methods)?;
    super::write_json(out, &methods)?;
    Ok(ExitCode::SUCCESS)
}

/// The methods of the `contenders` of ours, and what their turns say of them.
///
/// # Errors
/// If one of ours was not measured.
fn rows(
    contenders: &[String],
    batches: &BTreeMap<String, usize>,
    flops: &BTreeMap<String, f64>,
    timings: &Timings,
) -> Result<Vec<Row>> {
    let rate = |turn: &Timing| turn.steps / turn.cpu_s;
    let methods = contenders
        .iter()
        .filter_map(|name| name.strip_suffix("/ours"));
    let row = |method: &str| -> Result<Row> {
        let [ours, others @ ..] = CONTENDERS.map(|who| timings.get(&format!("{method}/{who}")));
        let ours = ours.with_context(|| format!("`{method}` was not measured"))?;
        let theirs = CONTENDERS[1..]
            .iter()
            .zip(others)
            .filter_map(|(who, turns)| {
                let turns = turns?;
                let ratios = ours.iter().zip(turns).map(|(a, b)| rate(a) / rate(b));
                let theirs = Theirs {
                    steps_per_s: median(turns.iter().map(rate)),
                    ours_is: median(ratios),
                };
                Some(((*who).to_owned(), theirs))
            });
        let batch = batches.get(method).copied();
        Ok(Row {
            method: method.to_owned(),
            batch: batch
                .with_context(|| format!("spar-bench does not say the batch of `{method}`"))?,
            flops: flops.get(method).copied(),
            ours: median(ours.iter().map(rate)),
            theirs: theirs.collect(),
        })
    };
    methods.map(row).collect()
}

impl Methods {
    /// A method a row.
    pub(crate) fn table(&self) -> Table {
        let mut table = report::table(&[
            "method",
            "batch",
            "ours, steps/s",
            "of peak",
            "JAX",
            "of peak",
            "PyTorch",
            "ours is, of JAX",
            "of PyTorch",
        ]);
        for row in &self.methods {
            let of = |who: &str, show: fn(&Theirs) -> String| {
                row.theirs.get(who).map_or_else(|| "-".to_owned(), show)
            };
            let steps = |t: &Theirs| format!("{:.1}", t.steps_per_s);
            let ratio = |t: &Theirs| format!("{:.2}x", t.ours_is);
            let percent =
                |share: Option<f64>| share.map_or_else(|| "-".to_owned(), report::percent);
            let theirs = row.theirs.get(JAX);
            table.add_row([
                row.method.clone(),
                row.batch.to_string(),
                format!("{:.1}", row.ours),
                percent(self.of_peak(row, row.ours)),
                of(JAX, steps),
                percent(theirs.and_then(|t| self.of_peak(row, t.steps_per_s))),
                of("torch-eager", steps),
                of(JAX, ratio),
                of("torch-eager", ratio),
            ]);
        }
        report::aligned(table, 1)
    }

    /// The share of the core's multiply-adds that so many updates a second need.
    fn of_peak(&self, row: &Row, steps_per_s: f64) -> Option<f64> {
        Some(row.flops? * steps_per_s / self.machine.fma_gflops / 1e9)
    }

    /// The least and the middle of the ratios to each peer, a sentence each, and what the
    /// middle could be at most.
    pub(crate) fn summary(&self) -> String {
        let of = |who: &str, name: &str| {
            let theirs = self.methods.iter().filter_map(|row| row.theirs.get(who));
            let ratios: Vec<f64> = theirs.map(|theirs| theirs.ours_is).collect();
            let least = ratios.iter().copied().reduce(f64::min)?;
            Some(format!(
                "Against {name} ours is {:.2}x in the median of the methods and {least:.2}x at \
                 least.",
                median(ratios)
            ))
        };
        let ceilings = self.methods.iter().filter_map(|row| {
            let theirs = row.theirs.get(JAX)?;
            Some(1.0 / self.of_peak(row, theirs.steps_per_s)?)
        });
        let ceilings: Vec<f64> = ceilings.collect();
        let most = (!ceilings.is_empty()).then(|| {
            format!(
                "A program that multiplies as much as JAX's and does nothing but that, at the \
                 peak, would be {:.2}x in the median.",
                median(ceilings)
            )
        });
        let said = [of(JAX, "JAX"), most, of("torch-eager", "PyTorch")];
        said.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = report::versions(&self.versions);
        writeln!(f, "{}\n{versions}\n", self.machine)?;
        write!(f, "{}\n\n{}", self.table(), self.summary())?;
        report::missing(f, &self.missing)
    }
}

#[cfg(test)]
#[path = "methods_tests.rs"]
pub(crate) mod tests;
