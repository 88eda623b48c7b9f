//! `spar_eval::stats` against numbers of numpy, scipy and rliable and against
//! a second implementation of the hierarchical bootstrap, all made by
//! `tests/scripts/stats_fixtures.py`. The test lives here, beside the reader
//! of the statistics, because this crate parses JSON anyway.
#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use spar_eval::stats::{
    Bootstrap, Estimate, Interval, Pair, iqm, mean, paired_difference, percentile, std,
    stratified_bootstrap,
};

#[derive(Deserialize)]
struct Fixture {
    basics: Basics,
    paired: Paired,
    rliable: Rliable,
}

#[derive(Deserialize)]
struct Basics {
    values: Vec<f64>,
    mean: f64,
    std0: f64,
    std1: f64,
    levels: Vec<f64>,
    quantiles: Vec<f64>,
    iqm: f64,
}

#[derive(Deserialize)]
struct Paired {
    seed: u64,
    resamples: usize,
    confidence: f64,
    tasks: Vec<Vec<Runs>>,
    value: f64,
    interval: [f64; 2],
    task_values: Vec<f64>,
    task_intervals: Vec<[f64; 2]>,
}

#[derive(Deserialize)]
struct Runs {
    method: Vec<f64>,
    anchor: Vec<f64>,
}

#[derive(Deserialize)]
struct Rliable {
    scores_by_task: Vec<Vec<f64>>,
    mean: Golden,
    iqm: Golden,
}

#[derive(Deserialize)]
struct Golden {
    value: f64,
    interval: [f64; 2],
}

fn fixture() -> Fixture {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/stats/stats.json"
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[track_caller]
fn close(got: f64, expected: f64, tolerance: f64) {
    assert!(
        (got - expected).abs() <= tolerance,
        "got {got}, expected {expected} within {tolerance}"
    );
}

#[track_caller]
fn agree(got: Estimate, value: f64, [low, high]: [f64; 2], tolerance: f64) {
    close(got.value, value, 1e-9);
    close(got.interval.low, low, tolerance);
    close(got.interval.high, high, tolerance);
}

#[test]
fn moments_and_quantiles_are_numpys() {
    let b = fixture().basics;
    close(mean(&b.values), b.mean, 1e-12);
    close(std(&b.values, 0), b.std0, 1e-12);
    close(std(&b.values, 1), b.std1, 1e-12);
    close(iqm(&b.values), b.iqm, 1e-12);
    for (q, expected) in b.levels.iter().zip(b.quantiles) {
        close(percentile(&b.values, *q), expected, 1e-12);
    }
}

#[test]
fn the_hierarchical_bootstrap_is_the_scripts_draw_for_draw() {
    let p = fixture().paired;
    let tasks: Vec<Vec<Pair<'_>>> = p
        .tasks
        .iter()
        .map(|runs| runs.iter().map(pair).collect())
        .collect();
    let plan = Bootstrap {
        seed: p.seed,
        resamples: p.resamples,
        confidence: p.confidence,
    };
    let got = paired_difference(&tasks, &plan).unwrap();
    agree(got.overall, p.value, p.interval, 1e-9);
    for (task, (value, interval)) in p.task_values.iter().zip(p.task_intervals).enumerate() {
        agree(got.tasks[task], *value, interval, 1e-9);
    }
}

fn pair(Runs { method, anchor }: &Runs) -> Pair<'_> {
    Pair { method, anchor }
}

fn against_zero(score: &f64) -> Pair<'_> {
    Pair {
        method: std::slice::from_ref(score),
        anchor: &[0.0],
    }
}

// The ends of two 95% percentile intervals of B = 50 000 and 200 000 normal
// resamples differ with a standard error of 0.0035 interval widths; six of
// them are allowed.
fn monte_carlo(golden: &Golden) -> f64 {
    0.02 * (golden.interval[1] - golden.interval[0])
}

#[test]
fn the_stratified_bootstrap_agrees_with_rliable() {
    let r = fixture().rliable;
    let plan = Bootstrap::default();
    for (golden, statistic) in [(&r.mean, mean as fn(&[f64]) -> f64), (&r.iqm, iqm)] {
        let got = stratified_bootstrap(&r.scores_by_task, statistic, &plan).unwrap();
        agree(got, golden.value, golden.interval, monte_carlo(golden));
    }
}

#[test]
fn with_one_episode_the_hierarchical_bootstrap_is_rliables_of_the_differences() {
    let r = fixture().rliable;
    let tasks: Vec<Vec<Pair<'_>>> = r
        .scores_by_task
        .iter()
        .map(|runs| runs.iter().map(against_zero).collect())
        .collect();
    let got = paired_difference(&tasks, &Bootstrap::default()).unwrap();
    agree(
        got.overall,
        r.mean.value,
        r.mean.interval,
        monte_carlo(&r.mean),
    );
    for (runs, task) in r.scores_by_task.iter().zip(&got.tasks) {
        let Interval { low, high } = task.interval;
        let lowest = runs.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(lowest <= low && low < task.value && task.value < high && high <= highest);
    }
}
