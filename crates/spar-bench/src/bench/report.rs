//! From timings to figures: rates, fractions of the machine's peak, ratios.

use std::{collections::BTreeMap, fmt, fs};

use anyhow::{Context, Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::{Timings, cores::AllCores, measured::Measured, worker::Losses};
use crate::{clock::Timing, serve::Hello};

/// Everything measured, as it is written to JSON; printed, its tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When, and of which commit.
    pub(crate) measured: Measured,
    /// The machine.
    pub(crate) machine: Machine,
    /// Versions of what was measured.
    pub(crate) versions: BTreeMap<String, String>,
    /// One contender per row.
    pub(crate) contenders: Vec<Row>,
    /// What each part of an update of ours costs.
    pub(crate) parts: Vec<Part>,
    /// The whole machine at work.
    pub(crate) all_cores: Vec<AllCores>,
    /// Largest relative difference of a contender's losses from ours.
    pub(crate) largest_loss_difference: BTreeMap<String, f64>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
    /// Every turn of every contender.
    pub(crate) turns: Timings,
}

/// The machine measured on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Model of its processor.
    pub(crate) cpu: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// By which baselines are kept.
    pub(crate) isa: String,
    /// Its vector instructions.
    pub(crate) features: Vec<String>,
    /// Rate of fused multiply-adds on one core: the ceiling.
    pub(crate) fma_gflops: f64,
    /// Rate of a large matrix product on one core.
    pub(crate) sgemm_gflops: f64,
    /// Rate of products of bf16 on the matrix unit of one core, where that was measured.
    #[serde(default)]
    pub(crate) matrix_gflops: Option<f64>,
}

/// One contender on one core, by CPU time; medians over the rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What is computed.
    pub(crate) workload: String,
    /// By whom.
    pub(crate) contender: String,
    /// Steps per second.
    pub(crate) steps_per_s: f64,
    /// Their matrix products' floating-point operations, in 10^9 per second.
    pub(crate) gflops: f64,
    /// The same as a fraction of the ceiling.
    pub(crate) of_fma_peak: f64,
    /// How many times faster ours is.
    pub(crate) ours_is: f64,
}

/// A part of an update of ours: the difference of two measured steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) part: String,
    /// Milliseconds of CPU time.
    pub(crate) ms: f64,
    /// Rate of its floating-point operations.
    pub(crate) gflops: f64,
    /// The same as a fraction of the ceiling.
    pub(crate) of_fma_peak: f64,
}

/// Steps of ours that each contain the one before, and what they add.
const PARTS: [(&str, &str); 3] = [
    ("critic", "critic step"),
    ("fit", "fit"),
    ("imitation", "self-imitation"),
];

impl Report {
    /// The figures of `timings`.
    ///
    /// # Errors
    /// If the peak or our own steps were not measured.
    pub(crate) fn new(
        measured: Measured,
        hello: &Hello,
        timings: &Timings,
        largest_loss_difference: BTreeMap<String, f64>,
        all_cores: Vec<AllCores>,
        missing: Vec<String>,
        versions: BTreeMap<String, String>,
    ) -> Result<Self> {
        let flops = &hello.flops;
        let rates = |name: &str| -> Result<Vec<f64>> {
            let turns = timings.get(name);
            let turns = turns.with_context(|| format!("`{name}` was not measured"))?;
            turns.iter().map(|t| gflops(name, t, flops)).collect()
        };
        let fma = median(rates("fma/peak")?);
        let mut contenders = Vec::new();
        for workload in ["mlp", "spar"] {
            let ours = rates(&format!("{workload}/ours"))?;
            let steps = flops_of(workload, flops)?;
            let prefix = format!("{workload}/");
            for (name, who) in timings
                .keys()
                .filter_map(|name| Some((name, name.strip_prefix(&prefix)?)))
            {
                let theirs = rates(name)?;
                let gflops = median(theirs.iter().copied());
                contenders.push(Row {
                    workload: workload.to_owned(),
                    contender: who.to_owned(),
                    steps_per_s: gflops * 1e9 / steps,
                    gflops,
                    of_fma_peak: gflops / fma,
                    ours_is: median(ours.iter().zip(&theirs).map(|(a, b)| a / b)),
                });
            }
        }
        contenders.sort_by(|a, b| {
            a.workload
                .cmp(&b.workload)
                .then(b.gflops.total_cmp(&a.gflops))
        });
        let mut parts = Vec::new();
        let (mut before_s, mut before_flops) = (0.0, 0.0);
        for (workload, part) in PARTS {
            let steps = flops_of(workload, flops)?;
            let seconds = steps / median(rates(&format!("{workload}/ours"))?) / 1e9;
            let gflops = (steps - before_flops) / (seconds - before_s) / 1e9;
            parts.push(Part {
                part: part.to_owned(),
                ms: (seconds - before_s) * 1e3,
                gflops,
                of_fma_peak: gflops / fma,
            });
            (before_s, before_flops) = (seconds, steps);
        }
        Ok(Self {
            measured,
            machine: Machine {
                matrix_gflops: rates("matrix/peak").ok().map(median),
                ..Machine::here(hello, fma, median(rates("sgemm/peak")?))
            },
            versions,
            contenders,
            parts,
            all_cores,
            largest_loss_difference,
            missing,
            turns: timings.clone(),
        })
    }
}

impl Machine {
    /// This one, with rates just measured.
    pub(crate) fn here(hello: &Hello, fma_gflops: f64, sgemm_gflops: f64) -> Self {
        Self {
            cpu: cpu_model(),
            cores: super::core_count(),
            isa: hello.isa.clone(),
            features: hello.features.clone(),
            fma_gflops,
            sgemm_gflops,
            matrix_gflops: None,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}; one core: {:.1} GFLOP/s of fused multiply-adds, {:.1} in a large sgemm",
            self.cpu,
            self.features.join(" "),
            self.fma_gflops,
            self.sgemm_gflops
        )?;
        match self.matrix_gflops {
            Some(gflops) => write!(f, ", {gflops:.0} in bf16 on its matrix unit"),
            // Not every measurement is one of the unit.
            None if self.features.iter().any(|name| name == "amx-bf16") => Ok(()),
            None => write!(f, ", no matrix unit"),
        }
    }
}

/// A fraction as it is printed.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.0}%", 100.0 * fraction)
}

impl Report {
    /// Every contender on one core.
    pub(crate) fn contenders_table(&self) -> Table {
        let mut one = table(&[
            "one core",
            "contender",
            "steps/s",
            "GFLOP/s",
            "of peak",
            "ours is",
        ]);
        for row in &self.contenders {
            one.add_row([
                row.workload.clone(),
                row.contender.clone(),
                format!("{:.1}", row.steps_per_s),
                format!("{:.1}", row.gflops),
                percent(row.of_fma_peak),
                format!("{:.2}x", row.ours_is),
            ]);
        }
        aligned(one, 2)
    }

    /// The parts of our update.
    pub(crate) fn parts_table(&self) -> Table {
        let mut parts = table(&["part of our update", "ms", "GFLOP/s", "of peak"]);
        for part in &self.parts {
            parts.add_row([
                part.part.clone(),
                format!("{:.2}", part.ms),
                format!("{:.1}", part.gflops),
                percent(part.of_fma_peak),
            ]);
        }
        aligned(parts, 1)
    }

    /// The whole machine at work, unless it has one core.
    pub(crate) fn all_cores_table(&self) -> Option<Table> {
        let mut all = table(&["all cores", "arrangement", "steps/s", "ours is"]);
        for row in &self.all_cores {
            all.add_row([
                row.workload.clone(),
                row.arrangement.clone(),
                format!("{:.1}", row.steps_per_s),
                format!("{:.2}x", row.ours_is),
            ]);
        }
        (!self.all_cores.is_empty()).then(|| aligned(all, 2))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.machine, versions(&self.versions))?;
        writeln!(f, "{}\n", self.contenders_table())?;
        write!(f, "{}", self.parts_table())?;
        if let Some(all) = self.all_cores_table() {
            write!(f, "\n\n{all}")?;
        }
        missing(f, &self.missing)
    }
}

/// Names and versions of what was measured.
pub(crate) fn versions(versions: &BTreeMap<String, String>) -> String {
    let versions = versions.iter().map(|(k, v)| format!("{k} {v}"));
    versions.collect::<Vec<_>>().join(", ")
}

/// What could not be measured, a line each.
pub(crate) fn missing(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    for (i, line) in lines.iter().enumerate() {
        let gap = if i == 0 { "\n" } else { "" };
        write!(f, "{gap}\nmissing: {line}")?;
    }
    Ok(())
}

/// A table that is also Markdown.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    table
}

/// Numbers, which start at column `from`, to the right.
pub(crate) fn aligned(mut table: Table, from: usize) -> Table {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn flops_of(workload: &str, flops: &BTreeMap<String, f64>) -> Result<f64> {
    let found = flops.get(workload).copied();
    found.with_context(|| format!("spar-bench does not say what a step of `{workload}` computes"))
}

/// Floating-point operations, in 10^9 per second of CPU time, of one turn of
/// the contender `name`.
///
/// # Errors
/// If its workload is unknown or the turn has no length.
pub(crate) fn gflops(name: &str, turn: &Timing, flops: &BTreeMap<String, f64>) -> Result<f64> {
    let workload = name.split('/').next().unwrap_or(name);
    let rate = flops_of(workload, flops)? * turn.steps / turn.cpu_s / 1e9;
    if !(rate > 0.0 && rate.is_finite()) {
        bail!(
            "{name} did {} steps in {} s of CPU time",
            turn.steps,
            turn.cpu_s
        );
    }
    Ok(rate)
}

/// The median; zero of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match (values.get(n / 2), values.get(n.saturating_sub(1) / 2)) {
        (Some(high), Some(low)) => 0.5 * (low + high),
        _ => 0.0,
    }
}

/// The largest relative difference of `theirs` from `ours`.
///
/// # Errors
/// If it is above `tolerance`, or a loss is missing: the contender computes
/// something else.
pub(crate) fn largest_difference(
    name: &str,
    ours: &Losses,
    theirs: &Losses,
    tolerance: f64,
) -> Result<f64> {
    // The largest says most about what went wrong.
    let mut largest = (0f64, String::new());
    for (loss, ours) in ours {
        let theirs = theirs.get(loss).map_or(&[][..], Vec::as_slice);
        if ours.len() != theirs.len() {
            bail!(
                "{name} gives {} values of {loss}, ours {}",
                theirs.len(),
                ours.len()
            );
        }
        for (step, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let off = (theirs - ours).abs() / ours.abs();
            // Nothing is larger than a NaN, so that the first one stays.
            if off.is_nan() || off > largest.0 {
                let step = step + 1;
                largest = (
                    off,
                    format!("{loss} number {step} is {theirs}, ours {ours}"),
                );
            }
        }
    }
    let (off, what) = largest;
    if off.is_nan() || off > tolerance {
        bail!(
            "{name} computes something else: {what} ({off:.1e} of it apart, allowed {tolerance:.1e})"
        );
    }
    Ok(off)
}

/// The processor's name, where the system tells.
pub(crate) fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model.map_or("unknown CPU".to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
#[path = "report_tests.rs"]
pub(crate) mod tests;
