//! The statistics of `spar-stats` over lists of scores, a list for each task.

use pyo3::prelude::*;
use spar_stats::{
    Bootstrap, Estimate, Pair, Scores, StatsError, aggregate_mean, aggregate_median, iqm,
    optimality_gap,
};

use crate::error;

/// A value and its interval.
type Triple = (f64, f64, f64);

/// A number for a whole suite.
#[derive(Clone, Copy)]
enum Statistic {
    Mean,
    Median,
    Iqm,
    Gap(f64),
}

impl Statistic {
    fn named(name: &str, gamma: f64) -> PyResult<Self> {
        match name {
            "mean" => Ok(Self::Mean),
            "median" => Ok(Self::Median),
            "iqm" => Ok(Self::Iqm),
            "optimality_gap" => Ok(Self::Gap(gamma)),
            other => Err(error::value(format!(
                "unknown statistic `{other}`; expected one of: iqm, mean, median, optimality_gap"
            ))),
        }
    }

    fn of(self, scores: &Scores) -> f64 {
        match self {
            Self::Mean => aggregate_mean(scores),
            Self::Median => aggregate_median(scores),
            Self::Iqm => iqm(scores.all()),
            Self::Gap(gamma) => optimality_gap(scores.all(), gamma),
        }
    }
}

fn scores(tasks: &[Vec<f64>]) -> PyResult<Scores> {
    Scores::new(tasks).map_err(error::value)
}

fn triple(estimate: &Estimate) -> Triple {
    (
        estimate.value,
        estimate.interval.low,
        estimate.interval.high,
    )
}

fn plan(resamples: usize, confidence: f64, seed: u64) -> Bootstrap {
    Bootstrap {
        seed,
        resamples,
        confidence,
    }
}

/// A statistic of a method's scores.
#[pyfunction]
pub(crate) fn aggregate(tasks: Vec<Vec<f64>>, statistic: &str, gamma: f64) -> PyResult<f64> {
    Ok(Statistic::named(statistic, gamma)?.of(&scores(&tasks)?))
}

/// The same with its stratified bootstrap interval.
#[pyfunction]
pub(crate) fn interval(
    py: Python<'_>,
    tasks: Vec<Vec<f64>>,
    statistic: &str,
    gamma: f64,
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> PyResult<Triple> {
    let (statistic, scores) = (Statistic::named(statistic, gamma)?, scores(&tasks)?);
    let plan = plan(resamples, confidence, seed);
    let found = py.detach(|| spar_stats::stratified_bootstrap(&scores, |s| statistic.of(s), &plan));
    Ok(triple(&found.map_err(error::value)?))
}

/// How probably a run of `x` scores above one of `y`.
#[pyfunction]
pub(crate) fn improvement(x: Vec<Vec<f64>>, y: Vec<Vec<f64>>) -> PyResult<f64> {
    let found = spar_stats::probability_of_improvement(&scores(&x)?, &scores(&y)?);
    found.map_err(error::value)
}

/// The same with its interval.
#[pyfunction]
pub(crate) fn improvement_interval(
    py: Python<'_>,
    x: Vec<Vec<f64>>,
    y: Vec<Vec<f64>>,
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> PyResult<Triple> {
    let (x, y) = (scores(&x)?, scores(&y)?);
    let plan = plan(resamples, confidence, seed);
    let found = py.detach(|| spar_stats::improvement_interval(&x, &y, &plan));
    Ok(triple(&found.map_err(error::value)?))
}

/// The part of the runs, or of the tasks' means, that lies above each level.
#[pyfunction]
pub(crate) fn profile(
    tasks: Vec<Vec<f64>>,
    levels: Vec<f64>,
    of_tasks: bool,
) -> PyResult<Vec<f64>> {
    let scores = scores(&tasks)?;
    Ok(match of_tasks {
        true => spar_stats::average_profile(&scores, &levels),
        false => spar_stats::profile(&scores, &levels),
    })
}

/// The same with an interval at each level.
#[pyfunction]
pub(crate) fn profile_band(
    py: Python<'_>,
    tasks: Vec<Vec<f64>>,
    levels: Vec<f64>,
    of_tasks: bool,
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> PyResult<Vec<Triple>> {
    let (scores, plan) = (scores(&tasks)?, plan(resamples, confidence, seed));
    let of = |scores: &Scores| match of_tasks {
        true => spar_stats::average_profile(scores, &levels),
        false => spar_stats::profile(scores, &levels),
    };
    let found: Result<Vec<Estimate>, StatsError> =
        py.detach(|| spar_stats::stratified_bootstrap_all(&scores, of, &plan));
    Ok(found.map_err(error::value)?.iter().map(triple).collect())
}

/// The paired difference of two methods, in all and for each task: of each task a list of
/// runs, of each run the returns of both methods' episodes.
#[pyfunction]
pub(crate) fn paired_difference(
    py: Python<'_>,
    tasks: Vec<Vec<(Vec<f64>, Vec<f64>)>>,
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> PyResult<(Triple, Vec<Triple>)> {
    let pairs: Vec<Vec<Pair<'_>>> = tasks.iter().map(|runs| of_runs(runs)).collect();
    let plan = plan(resamples, confidence, seed);
    let found = py.detach(|| spar_stats::paired_difference(&pairs, &plan));
    let found = found.map_err(error::value)?;
    let tasks = found.tasks.iter().map(triple).collect();
    Ok((triple(&found.overall), tasks))
}

fn of_runs(runs: &[(Vec<f64>, Vec<f64>)]) -> Vec<Pair<'_>> {
    let runs = runs.iter();
    runs.map(|(method, anchor)| Pair { method, anchor })
        .collect()
}
