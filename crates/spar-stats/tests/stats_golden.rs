//! `spar_stats` against numbers of numpy, scipy and rliable, the latter's
//! on resamples shared with ours and on its own, and against a second
//! implementation of the hierarchical bootstrap, all made by
//! `tests/scripts/stats_fixtures.py`.
#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use spar_stats::{
    Bootstrap, Estimate, Interval, Pair, Scores, aggregate_mean, aggregate_median, average_profile,
    improvement_interval, iqm, mean, optimality_gap, paired_difference, percentile,
    probability_of_improvement, profile, profile_band, std, stratified_bootstrap,
    stratified_bootstrap_all,
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
    x_by_task: Vec<Vec<f64>>,
    y_by_task: Vec<Vec<f64>>,
    levels: Vec<f64>,
    gamma: f64,
    seed: u64,
    resamples: Resamples,
    shared: Found,
    alone: Found,
}

#[derive(Deserialize)]
struct Resamples {
    all: usize,
    pairs: usize,
}

#[derive(Deserialize)]
struct Found {
    mean: Golden,
    median: Golden,
    iqm: Golden,
    optimality_gap: Golden,
    improvement: Golden,
    profile: Vec<Golden>,
    average_profile: Vec<f64>,
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

/// All that the fixture holds of rliable, by our statistics: `(what, ours,
/// rliable's)`.
fn both(
    r: &Rliable,
    golden: &Found,
    plan: &Bootstrap,
    pairs: &Bootstrap,
) -> Vec<(String, Estimate, Estimate)> {
    let x = Scores::new(&r.x_by_task).unwrap();
    let y = Scores::new(&r.y_by_task).unwrap();
    let aggregates = |s: &Scores| {
        [
            aggregate_mean(s),
            aggregate_median(s),
            iqm(s.all()),
            optimality_gap(s.all(), r.gamma),
        ]
    };
    let theirs = |golden: &Golden| Estimate {
        value: golden.value,
        interval: Interval {
            low: golden.interval[0],
            high: golden.interval[1],
        },
    };
    let names = ["mean", "median", "IQM", "optimality gap"];
    let goldens = [
        &golden.mean,
        &golden.median,
        &golden.iqm,
        &golden.optimality_gap,
    ];
    let ours = stratified_bootstrap_all(&x, aggregates, plan).unwrap();
    let mut found: Vec<_> = names
        .iter()
        .zip(ours.iter().zip(goldens))
        .map(|(name, (ours, golden))| ((*name).to_owned(), *ours, theirs(golden)))
        .collect();
    let improvement = improvement_interval(&x, &y, pairs).unwrap();
    let golden_improvement = theirs(&golden.improvement);
    found.push(("improvement".to_owned(), improvement, golden_improvement));
    let band = profile_band(&x, &r.levels, plan).unwrap();
    for (level, (ours, golden)) in r.levels.iter().zip(band.iter().zip(&golden.profile)) {
        found.push((format!("profile above {level}"), *ours, theirs(golden)));
    }
    found
}

#[test]
fn on_shared_resamples_every_statistic_is_rliables() {
    let r = fixture().rliable;
    let plan = |resamples| Bootstrap {
        seed: r.seed,
        resamples,
        ..Bootstrap::default()
    };
    let (all, pairs) = (plan(r.resamples.all), plan(r.resamples.pairs));
    let found = both(&r, &r.shared, &all, &pairs);
    assert_eq!(found.len(), 5 + r.levels.len());
    let mut largest: f64 = 0.0;
    for (what, ours, theirs) in found {
        for (ours, theirs) in [
            (ours.value, theirs.value),
            (ours.interval.low, theirs.interval.low),
            (ours.interval.high, theirs.interval.high),
        ] {
            let off = (ours - theirs).abs();
            assert!(off <= 1e-9, "{what}: {ours}, rliable {theirs}");
            largest = largest.max(off);
        }
    }
    println!("largest deviation from rliable: {largest:e}");
}

#[test]
fn point_estimates_alone_are_rliables_too() {
    let r = fixture().rliable;
    let x = Scores::new(&r.x_by_task).unwrap();
    let y = Scores::new(&r.y_by_task).unwrap();
    let improvement = probability_of_improvement(&x, &y).unwrap();
    close(improvement, r.shared.improvement.value, 1e-12);
    for (ours, golden) in profile(&x, &r.levels).iter().zip(&r.shared.profile) {
        close(*ours, golden.value, 1e-12);
    }
    let average = average_profile(&x, &r.levels);
    assert_eq!(average.len(), r.shared.average_profile.len());
    for (ours, golden) in average.iter().zip(&r.shared.average_profile) {
        close(*ours, *golden, 1e-12);
    }
}

#[test]
fn on_its_own_resamples_rliable_agrees_within_monte_carlo_error() {
    let r = fixture().rliable;
    let plan = Bootstrap::default();
    let pairs = Bootstrap {
        resamples: 20_000,
        ..plan
    };
    for (what, ours, theirs) in both(&r, &r.alone, &plan, &pairs) {
        let width = theirs.interval.high - theirs.interval.low;
        // A profile, and a probability with ties, move in steps: a quantile may
        // fall on either side of one.
        let step = match what.as_str() {
            "mean" | "median" | "IQM" | "optimality gap" => 0.02 * width,
            "improvement" => 0.5 / (15.0 * 9.0) + 0.02 * width,
            _ => 1.0 / 45.0 + 1e-9,
        };
        close(ours.value, theirs.value, 1e-9);
        close(ours.interval.low, theirs.interval.low, step);
        close(ours.interval.high, theirs.interval.high, step);
    }
}

#[test]
fn with_one_episode_the_hierarchical_bootstrap_is_rliables_of_the_differences() {
    let r = fixture().rliable;
    let tasks: Vec<Vec<Pair<'_>>> = r
        .x_by_task
        .iter()
        .map(|runs| runs.iter().map(against_zero).collect())
        .collect();
    let got = paired_difference(&tasks, &Bootstrap::default()).unwrap();
    let golden = &r.alone.mean;
    agree(
        got.overall,
        golden.value,
        golden.interval,
        monte_carlo(golden),
    );
    for (runs, task) in r.x_by_task.iter().zip(&got.tasks) {
        let Interval { low, high } = task.interval;
        let lowest = runs.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(lowest <= low && low < task.value && task.value < high && high <= highest);
    }
}

/// A table of 15 methods, 9 tasks and 10 seeds: how long its intervals take is
/// printed; that they are the same however they are computed is tested.
#[test]
fn a_large_table_takes_seconds() {
    let mut stream = spar_core::Stream::new(1, "large table");
    let mut tasks = || -> Vec<Vec<f64>> {
        let mut runs = || (0..10).map(|_| stream.uniform(0.0, 100.0)).collect();
        (0..9).map(|_| runs()).collect()
    };
    let methods: Vec<Scores> = (0..15).map(|_| Scores::new(&tasks()).unwrap()).collect();
    let aggregates = |s: &Scores| {
        [
            aggregate_mean(s),
            aggregate_median(s),
            iqm(s.all()),
            optimality_gap(s.all(), 100.0),
        ]
    };
    let plan = Bootstrap::default();
    let start = std::time::Instant::now();
    let found = spar_stats::in_parallel(&methods, |method| {
        stratified_bootstrap_all(method, aggregates, &plan).unwrap()
    });
    println!(
        "{} methods x 9 tasks x 10 seeds, {} resamples, four aggregates: {:.2?}",
        found.len(),
        plan.resamples,
        start.elapsed()
    );
    let alone = stratified_bootstrap(&methods[14], |s| iqm(s.all()), &plan).unwrap();
    assert_eq!(found[14][2], alone);
}
