//! The regression benchmark: our steps' speed as a fraction of a matrix product
//! measured in the same run, against committed fractions.
//!
//! A fraction travels between machines of one kind as a rate does not; between
//! instruction sets it does not travel either, because wider vectors speed up the
//! product more than the passes beside it, nor between makers of processors: with
//! the same AVX-512 the reference reaches nearly all of the multiply-adds' peak on
//! one and half of it on another. So there is a table per kind.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};

use super::{Timings, report::gflops};

/// Fractions of the reference's rate by contender.
pub(crate) type Ratios = BTreeMap<String, f64>;

/// Baselines by kind of machine.
pub(crate) type Baselines = BTreeMap<String, Ratios>;

/// How much slower a step may be than its baseline.
const TOLERANCE: f64 = 0.15;

/// The reference.
const REFERENCE: &str = "sgemm/peak";

/// First lines of the file.
const HEADER: &str = "\
# Speed of our steps as a fraction of a large matrix product's in the same run
# (GFLOP/s over GFLOP/s, best of the rounds), by instruction set and maker of
# the processor. Compared by
# `cargo xtask bench --check`; renewed on a quiet machine by
# `cargo xtask bench --check --write-baseline`.

";

/// The kind of a machine: the instruction set our kernels use there, and who made
/// the processor.
pub(crate) fn kind(isa: &str, cpu: &str) -> String {
    let makers = [("Intel", "intel"), ("AMD", "amd")];
    let maker = makers.into_iter().find(|(name, _)| cpu.contains(name));
    format!("{isa}-{}", maker.map_or("other", |(_, maker)| maker))
}

/// What [`compare`] found.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    /// One line per contender.
    pub(crate) lines: Vec<String>,
    /// Whether one is slower than it may be.
    pub(crate) regressed: bool,
}

/// Each contender's fraction of the reference. The best round of each counts:
/// whatever else runs on a machine only makes things slower.
///
/// # Errors
/// If the reference was not measured.
pub(crate) fn ratios(timings: &Timings, flops: &BTreeMap<String, f64>) -> Result<Ratios> {
    let best = |name: &str| -> Result<f64> {
        let rates = timings.get(name).into_iter().flatten();
        let rates = rates.map(|timing| gflops(name, timing, flops));
        let rates = rates.collect::<Result<Vec<_>>>()?;
        let best = rates.into_iter().reduce(f64::max);
        best.with_context(|| format!("`{name}` was not measured"))
    };
    let reference = best(REFERENCE)?;
    let names = timings.keys().filter(|name| *name != REFERENCE);
    names
        .map(|name| Ok((name.clone(), best(name)? / reference)))
        .collect()
}

/// The committed baselines; none where there is no file.
///
/// # Errors
/// If the file is broken.
pub(crate) fn read(file: &Path) -> Result<Baselines> {
    match fs::read_to_string(file) {
        Ok(text) => parse(&text).with_context(|| format!("cannot use {}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Baselines::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn parse(text: &str) -> Result<Baselines> {
    let baselines: Baselines = toml::from_str(text)
        .map_err(|error| anyhow::anyhow!(error.to_string().trim().replace('\n', " ")))?;
    for (kind, ratios) in &baselines {
        for (name, ratio) in ratios {
            if !(*ratio > 0.0 && ratio.is_finite()) {
                bail!("{name} of {kind} is {ratio}, expected a positive fraction");
            }
        }
    }
    Ok(baselines)
}

/// Writes `measured` as the baseline of `kind`, keeping the others.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(
    file: &Path,
    mut baselines: Baselines,
    kind: &str,
    measured: &Ratios,
) -> Result<()> {
    baselines.insert(kind.to_owned(), measured.clone());
    spar_core::write_atomic(file, format(&baselines)?.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))
}

fn format(baselines: &Baselines) -> Result<String> {
    let mut rounded = baselines.clone();
    for ratio in rounded.values_mut().flat_map(BTreeMap::values_mut) {
        *ratio = (*ratio * 1e3).round() / 1e3;
    }
    Ok(format!("{HEADER}{}", toml::to_string(&rounded)?))
}

/// What became of each contender.
pub(crate) fn compare(kind: &str, baselines: &Baselines, measured: &Ratios) -> Verdict {
    let Some(known) = baselines.get(kind) else {
        let there: Vec<_> = baselines.keys().map(String::as_str).collect();
        let there = if there.is_empty() {
            "none".to_owned()
        } else {
            there.join(", ")
        };
        let first = format!(
            "no baseline for {kind} (there: {there}): nothing compared; make one with --write-baseline"
        );
        let rest = measured.iter().map(|(name, now)| new(name, *now));
        return Verdict {
            lines: [first].into_iter().chain(rest).collect(),
            regressed: false,
        };
    };
    let mut lines = Vec::new();
    let mut regressed = false;
    for (name, now) in measured {
        let Some(then) = known.get(name) else {
            lines.push(new(name, *now));
            continue;
        };
        let change = 100.0 * (now / then - 1.0);
        let line = format!("{name} at {now:.3} of sgemm, baseline {then:.3} ({change:+.0}%)");
        if *now < then * (1.0 - TOLERANCE) {
            regressed = true;
            lines.push(format!("regression: {line}"));
        } else if *now > then * (1.0 + TOLERANCE) {
            lines.push(format!("faster: {line}; renew it with --write-baseline"));
        } else {
            lines.push(format!("ok: {line}"));
        }
    }
    for name in known.keys().filter(|name| !measured.contains_key(*name)) {
        regressed = true;
        lines.push(format!(
            "regression: {name} has a baseline and was not measured"
        ));
    }
    Verdict { lines, regressed }
}

/// The line of a contender without a baseline.
fn new(name: &str, now: f64) -> String {
    format!("new: {name} at {now:.3} of sgemm has no baseline")
}

#[cfg(test)]
#[path = "baseline_tests.rs"]
mod tests;
