//! `table.csv`: one line per task and method, for a spreadsheet or a plot.

use serde::Serialize;
use spar_core::printable;
use spar_stats::{mean, std};

use crate::{
    ReportError, Results, render as render_error,
    results::Comparison,
    table::{self, Mark},
};

/// One line. A number that is not there is an empty field.
#[derive(Default, Serialize)]
struct Line {
    /// Task, or `mean` over all of them.
    task: String,
    /// Method, or one minus another, as in `spar-minus-bc`.
    method: String,
    /// `complete`, `partial` or `missing`.
    status: &'static str,
    /// Finished seeds (pairs, of a difference over all tasks).
    seeds: usize,
    /// Seeds (or pairs) asked for.
    seeds_expected: usize,
    /// Mean normalized score, if there is one, or the mean difference.
    score: Option<f64>,
    /// Its standard deviation over seeds, ddof = 0; empty for one seed.
    score_std: Option<f64>,
    /// Lower end of a difference's 95% interval.
    low: Option<f64>,
    /// Upper end.
    high: Option<f64>,
    /// Mean undiscounted return.
    mean_return: Option<f64>,
    /// Its standard deviation over seeds, ddof = 0; empty for one seed.
    return_std: Option<f64>,
    /// Evaluation episodes of each run.
    episodes: Option<usize>,
    /// Updates of each run's policy: of `bc` those of the anchor, which it is.
    updates: Option<u64>,
    /// Data set id.
    dataset: Option<String>,
    /// `official`, `local` or `user`.
    dataset_origin: Option<String>,
    /// SHA-256 of the data file.
    dataset_sha256: Option<String>,
    /// `best` or `within` of its row.
    mark: Option<&'static str>,
    /// What computed the updates, where all runs of the line have it in common.
    device: Option<String>,
    /// Lowest score the suite expects, where the score lies outside.
    expected_low: Option<f64>,
    /// And the highest.
    expected_high: Option<f64>,
}

pub(crate) fn render(results: &Results) -> Result<String, ReportError> {
    let failed = |e: &dyn std::fmt::Display| render_error("table.csv", e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    for mut line in lines(results) {
        for text in [&mut line.task, &mut line.method] {
            *text = inert(text);
        }
        for text in [
            &mut line.dataset,
            &mut line.dataset_sha256,
            &mut line.device,
        ] {
            *text = text.as_deref().map(inert);
        }
        writer.serialize(line).map_err(|e| failed(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    String::from_utf8(bytes).map_err(|e| failed(&e))
}

/// A foreign text as a spreadsheet's text: it would take one that begins like a formula
/// for a formula, and compute it.
fn inert(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{}", printable(text)),
        false => printable(text).into_owned(),
    }
}

fn lines(results: &Results) -> Vec<Line> {
    let mut lines = Vec::new();
    let expected = results.seeds.len();
    let flag = |task, method: &String| {
        let mut flags = results.flags.iter();
        flags.find(|flag| flag.task == task && flag.method == *method)
    };
    for &task in &results.tasks {
        for method in &results.methods {
            let cells: Vec<_> = results.cells_of(task, method).collect();
            let scores: Vec<f64> = cells.iter().filter_map(|c| c.normalized_score).collect();
            let known = !scores.is_empty() && scores.len() == cells.len();
            let returns: Vec<f64> = cells.iter().map(|cell| cell.mean_return).collect();
            let first = cells.first();
            lines.push(Line {
                task: task.to_string(),
                method: method.clone(),
                status: status(cells.len(), expected),
                seeds: cells.len(),
                seeds_expected: expected,
                score: known.then(|| mean(&scores)),
                score_std: spread(&scores).filter(|_| known),
                mean_return: first.map(|_| mean(&returns)),
                return_std: spread(&returns),
                episodes: first.map(|cell| cell.returns.len()),
                updates: first.map(|cell| cell.policy_updates()),
                dataset: first.map(|cell| cell.dataset.clone()),
                dataset_origin: first.map(|cell| cell.dataset_origin.to_string()),
                dataset_sha256: first.map(|cell| cell.dataset_sha256.clone()),
                mark: table::mark(results, Some(task), method).map(Mark::name),
                device: first
                    .map(|cell| cell.device.clone())
                    .filter(|device| cells.iter().all(|cell| cell.device == *device)),
                expected_low: flag(task, method).map(|flag| flag.low),
                expected_high: flag(task, method).map(|flag| flag.high),
                ..Line::default()
            });
        }
    }
    for summary in &results.summary {
        let done = results
            .cells
            .iter()
            .filter(|c| c.method == summary.method)
            .count();
        let expected = expected * results.tasks.len();
        lines.push(Line {
            task: "mean".to_owned(),
            method: summary.method.clone(),
            status: status(done, expected),
            seeds: done,
            seeds_expected: expected,
            score: summary.mean,
            score_std: summary.std,
            mark: table::mark(results, None, &summary.method).map(Mark::name),
            ..Line::default()
        });
    }
    let variants = results.differences.iter().map(|d| &d.comparison);
    for found in results.comparison.iter().chain(variants) {
        lines.extend(differences(found, expected));
    }
    lines
}

/// One line per task of the one method minus the other, and one of their mean.
fn differences(found: &Comparison, seeds: usize) -> impl Iterator<Item = Line> {
    let method = format!("{}-minus-{}", found.method, found.anchor);
    let mean = Line {
        task: "mean".to_owned(),
        method: method.clone(),
        status: status(found.pairs, found.pairs_expected),
        seeds: found.pairs,
        seeds_expected: found.pairs_expected,
        score: found.mean_difference,
        low: found.low,
        high: found.high,
        ..Line::default()
    };
    let tasks = found.tasks.iter().map(move |t| Line {
        task: t.task.to_string(),
        method: method.clone(),
        status: status(t.pairs, seeds),
        seeds: t.pairs,
        seeds_expected: seeds,
        score: t.difference,
        low: t.low,
        high: t.high,
        ..Line::default()
    });
    tasks.chain([mean])
}

/// Nothing for one seed: a spread of zero would pass for certainty.
fn spread(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| std(values, 0))
}

fn status(done: usize, expected: usize) -> &'static str {
    match done {
        0 => "missing",
        done if done == expected => "complete",
        _ => "partial",
    }
}

#[cfg(test)]
mod tests {
    use super::inert;

    #[test]
    fn no_foreign_text_is_a_formula() {
        for (text, written) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-1+1", "'-1+1"),
            ("\t=1", "'\\t=1"),
            ("hopper-medium-local", "hopper-medium-local"),
        ] {
            assert_eq!(inert(text), written);
        }
    }
}
