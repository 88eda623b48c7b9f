//! Methods over a whole suite: aggregates, profiles, who is best, who beats whom.
//!
//! Only complete methods are aggregated: a number over fewer tasks or seeds than
//! its neighbour's would pass for a comparison.

use spar_core::TaskId;
use spar_stats::{
    Bootstrap, Scores, StatsError, aggregate_mean, aggregate_median, hierarchical_mean,
    improvement_interval, in_parallel, iqm, mean, optimality_gap, profile_band, std,
    stratified_bootstrap_all,
};

use crate::{
    compare::{episode_scores, scores},
    results::{Aggregates, Best, Bounded, Improvement, Profile, Profiles, Results, Summary},
};

/// The score of D4RL's expert: what optimality gaps are measured to.
const EXPERT: f64 = 100.0;
/// Steps between the levels of a profile, in points of normalized score.
const LEVEL_STEP: f64 = 1.0;

type Found<T> = Result<T, StatsError>;

/// One summary for each method, in the order printed.
pub(crate) fn summaries(results: &Results, plan: &Bootstrap) -> Found<Vec<Summary>> {
    in_parallel(&results.methods, |method| summary(results, method, plan))
        .into_iter()
        .collect()
}

fn summary(results: &Results, method: &str, plan: &Bootstrap) -> Found<Summary> {
    let tasks = results.tasks.iter();
    let mut summary = Summary {
        method: method.to_owned(),
        tasks_complete: tasks.filter(|&&t| results.complete(t, method)).count(),
        mean: None,
        std: None,
        iqm: None,
        iqm_low: None,
        iqm_high: None,
        aggregates: None,
    };
    if summary.tasks_complete < results.tasks.len() || !results.unit.is_score() {
        return Ok(summary);
    }
    let by_task = by_task(results, method);
    let of_seed = |seed| mean(&by_task.iter().map(|task| task[seed]).collect::<Vec<_>>());
    let by_seed: Vec<f64> = (0..results.seeds.len()).map(of_seed).collect();
    summary.mean = Some(mean(&by_seed));
    summary.std = (by_seed.len() > 1).then(|| std(&by_seed, 0));
    let statistics = |scores: &Scores| {
        [
            aggregate_mean(scores),
            aggregate_median(scores),
            iqm(scores.all()),
            optimality_gap(scores.all(), EXPERT),
        ]
    };
    let found = stratified_bootstrap_all(&Scores::new(&by_task)?, statistics, plan)?;
    let bounded: Vec<Bounded> = found
        .into_iter()
        .map(|estimate| Bounded::new(estimate, by_seed.len() > 1))
        .collect();
    if let [mean, median, iqm, optimality_gap] = bounded[..] {
        summary.iqm = Some(iqm.value);
        summary.iqm_low = iqm.low;
        summary.iqm_high = iqm.high;
        summary.aggregates = Some(Aggregates {
            mean,
            median,
            iqm,
            optimality_gap,
        });
    }
    Ok(summary)
}

fn by_task(results: &Results, method: &str) -> Vec<Vec<f64>> {
    let tasks = results.tasks.iter();
    tasks.map(|&task| scores(results, task, method)).collect()
}

/// Methods of which every run is finished, with their scores.
fn complete(results: &Results) -> Found<Vec<(&String, Scores)>> {
    let methods = results.methods.iter();
    methods
        .filter(|method| results.all_complete(method))
        .map(|method| Ok((method, Scores::new(&by_task(results, method))?)))
        .collect()
}

/// The best method of each row, and of the mean over all tasks.
pub(crate) fn best(results: &Results, plan: &Bootstrap) -> Found<Vec<Best>> {
    let rows = results.tasks.iter().copied().map(Some);
    let rows = rows.chain(results.unit.is_score().then_some(None));
    let rows: Vec<Option<TaskId>> = rows.collect();
    in_parallel(&rows, |row| best_of(results, *row, plan))
        .into_iter()
        .filter_map(Result::transpose)
        .collect()
}

fn best_of(results: &Results, row: Option<TaskId>, plan: &Bootstrap) -> Found<Option<Best>> {
    let tasks = match &row {
        Some(task) => std::slice::from_ref(task),
        None => &results.tasks,
    };
    let mut ranked: Vec<(&String, f64)> = Vec::new();
    for method in &results.methods {
        if tasks.iter().all(|&task| results.complete(task, method)) {
            let of_task = |&task: &TaskId| mean(&scores(results, task, method));
            ranked.push((method, mean(&tasks.iter().map(of_task).collect::<Vec<_>>())));
        }
    }
    // The first of equals, for a stable answer.
    let leader = ranked.iter().rev().max_by(|a, b| a.1.total_cmp(&b.1));
    let Some(&(method, value)) = leader.filter(|_| ranked.len() > 1) else {
        return Ok(None);
    };
    let episodes = |&task: &TaskId| {
        let cells = results.cells_of(task, method);
        cells
            .map(|cell| episode_scores(results.unit, cell))
            .collect()
    };
    let episodes: Vec<Vec<Vec<f64>>> = tasks.iter().map(episodes).collect();
    let interval = hierarchical_mean(&episodes, plan)?.overall.interval;
    let others = ranked.iter().filter(|(other, _)| *other != method);
    let within = others.filter(|(_, mean)| *mean >= interval.low);
    Ok(Some(Best {
        task: row,
        method: method.clone(),
        value,
        low: interval.low,
        high: interval.high,
        within: within.map(|(other, _)| (*other).clone()).collect(),
    }))
}

/// Profiles of the complete methods at common levels.
pub(crate) fn profiles(results: &Results) -> Found<Option<Profiles>> {
    let methods = complete(results)?;
    let all = methods.iter().flat_map(|(_, scores)| scores.all());
    let (low, high) = all.fold((0.0, 0.0), |(low, high): (f64, f64), &x| {
        (low.min(x), high.max(x))
    });
    if methods.is_empty() || !results.unit.is_score() {
        return Ok(None);
    }
    // Whole tens around all scores.
    let (first, last) = (10.0 * (low / 10.0).floor(), 10.0 * (high / 10.0).ceil());
    let steps = ((last - first) / LEVEL_STEP).round() as usize;
    let levels: Vec<f64> = (0..=steps).map(|i| first + LEVEL_STEP * i as f64).collect();
    let found = in_parallel(&methods, |(method, scores)| {
        let band = profile_band(scores, &levels, &Bootstrap::coarse())?;
        let point = |estimate| Bounded::new(estimate, results.seeds.len() > 1);
        Ok(Profile {
            method: (*method).clone(),
            above: band.into_iter().map(point).collect(),
        })
    });
    Ok(Some(Profiles {
        methods: found.into_iter().collect::<Found<_>>()?,
        levels,
    }))
}

/// Each complete method against each that stands after it.
pub(crate) fn improvements(results: &Results) -> Found<Vec<Improvement>> {
    let methods = complete(results)?;
    let pairs: Vec<_> = methods
        .iter()
        .enumerate()
        .flat_map(|(i, one)| methods[i + 1..].iter().map(move |other| (one, other)))
        .collect();
    in_parallel(&pairs, |((method, x), (over, y))| {
        let estimate = improvement_interval(x, y, &Bootstrap::coarse())?;
        Ok(Improvement {
            method: (*method).clone(),
            over: (*over).clone(),
            probability: Bounded::new(estimate, results.seeds.len() > 1),
        })
    })
    .into_iter()
    .collect()
}
