//! Two methods over two tasks, three training seeds each: aggregates with their
//! intervals, the paired difference, and how probably the one beats the other.
//!
//! `cargo run --release -p spar-stats --example compare`

use spar_stats::{
    Bootstrap, Estimate, Pair, Scores, StatsError, improvement_interval, iqm, paired_difference,
    stratified_bootstrap,
};

/// Scores by task, training seed and evaluation episode.
type Episodes = Vec<Vec<Vec<f64>>>;

/// Scores around `center`, wider apart between seeds than between episodes.
fn task(center: f64) -> Vec<Vec<f64>> {
    let seed = |seed: usize| {
        let episode = |e: usize| center + 3.0 * seed as f64 + (e * e % 7) as f64;
        (0..10).map(episode).collect()
    };
    (0..3).map(seed).collect()
}

fn scores(episodes: &Episodes) -> Result<Scores, StatsError> {
    let runs = |task: &Vec<Vec<f64>>| task.iter().map(|run| spar_stats::mean(run)).collect();
    Scores::new(&episodes.iter().map(runs).collect::<Vec<_>>())
}

/// The runs of one task, seed by seed.
fn pairs<'a>(method: &'a [Vec<f64>], anchor: &'a [Vec<f64>]) -> Vec<Pair<'a>> {
    let pairs = method.iter().zip(anchor);
    pairs
        .map(|(method, anchor)| Pair { method, anchor })
        .collect()
}

fn print(name: &str, found: Estimate) {
    let Estimate { value, interval } = found;
    println!(
        "{name:<28} {value:6.2}  [{:.2}, {:.2}]",
        interval.low, interval.high
    );
}

fn main() -> Result<(), StatsError> {
    let method = vec![task(68.0), task(92.0)];
    let anchor = vec![task(61.0), task(90.0)];
    let plan = Bootstrap::coarse();

    for (name, episodes) in [("method", &method), ("anchor", &anchor)] {
        let runs = scores(episodes)?;
        let found = stratified_bootstrap(&runs, |scores| iqm(scores.all()), &plan)?;
        print(&format!("interquartile mean, {name}"), found);
    }
    let tasks = method.iter().zip(&anchor);
    let tasks: Vec<_> = tasks
        .map(|(method, anchor)| pairs(method, anchor))
        .collect();
    print(
        "method minus anchor",
        paired_difference(&tasks, &plan)?.overall,
    );
    let better = improvement_interval(&scores(&method)?, &scores(&anchor)?, &plan)?;
    print("method beats anchor, part", better);
    Ok(())
}
