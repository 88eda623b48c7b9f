//! What is said of all tasks together: the last rows of the main table, and rliable's aggregates.

use crate::{
    names::label,
    results::{Bounded, Results, Summary},
    table::{Grid, Sign, estimate, with_part},
};

/// The rows of the main table that are of all tasks together.
pub(crate) fn rows(results: &Results) -> [Vec<String>; 3] {
    let tasks = results.tasks.len();
    let mut means = vec![match tasks {
        1 => "mean of 1 task".to_owned(),
        n => format!("mean of {n} tasks"),
    }];
    let mut totals = vec!["total".to_owned()];
    let mut iqms = vec!["IQM of runs [95%]".to_owned()];
    for summary in &results.summary {
        let absent = || absent(results, summary);
        means.push(match (summary.mean, summary.std) {
            (Some(mean), Some(std)) => format!("{mean:.1} ± {std:.1}"),
            (Some(mean), None) => format!("{mean:.1}"),
            (None, _) => absent(),
        });
        totals.push(match summary.mean {
            Some(mean) => format!("{:.1}", mean * tasks as f64),
            None => absent(),
        });
        iqms.push(match summary.iqm {
            Some(_) => estimate(summary.iqm, summary.iqm_low, summary.iqm_high, Sign::Plain),
            None => absent(),
        });
    }
    if let Some(found) = &results.comparison {
        let text = estimate(found.mean_difference, found.low, found.high, Sign::Shown);
        means.push(with_part(text, found.pairs, found.pairs_expected, "pairs"));
        totals.push(String::new());
        iqms.push(String::new());
    }
    [means, totals, iqms]
}

/// rliable's aggregates of the complete methods, with their intervals; `None` of returns.
pub(crate) fn grid(results: &Results) -> Option<Grid> {
    if !results.unit.is_score() {
        return None;
    }
    let interval = match results.seeds.len() {
        1 => "",
        _ => " [95%]",
    };
    let names = ["mean", "median of tasks", "IQM of runs", "optimality gap"];
    let mut header = vec!["method".to_owned()];
    header.extend(names.map(|name| format!("{name}{interval}")));
    let row = |summary: &Summary| {
        let numbers = match &summary.aggregates {
            Some(a) => [a.mean, a.median, a.iqm, a.optimality_gap].map(bounded),
            None => std::array::from_fn(|_| absent(results, summary)),
        };
        let mut row = vec![label(&summary.method)];
        row.extend(numbers);
        row
    };
    Some(Grid::of(header, results.summary.iter().map(row).collect()))
}

fn bounded(number: Bounded) -> String {
    estimate(Some(number.value), number.low, number.high, Sign::Plain)
}

fn absent(results: &Results, summary: &Summary) -> String {
    let tasks = results.tasks.len();
    format!("missing ({}/{tasks} tasks)", summary.tasks_complete)
}
