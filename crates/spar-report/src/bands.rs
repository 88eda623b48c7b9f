//! Cells suspiciously far from what the suite expects, on either side: a score
//! far too good is as likely a mistake as one far too bad.

use spar_core::{Suite, printable};
use spar_stats::mean;

use crate::{
    compare::scores,
    names,
    results::{Flag, Results},
};

/// A flag for every cell, finished in part or whole, that lies outside its band.
pub(crate) fn flags(suite: &Suite, results: &Results) -> Vec<Flag> {
    let mut flags = Vec::new();
    if !results.unit.is_score() {
        return flags;
    }
    for &task in &results.tasks {
        for method in &results.methods {
            let Some(cell) = results.cells_of(task, method).next() else {
                continue;
            };
            let origin = cell.dataset_origin;
            let band = suite.band(&results.preset, origin, method, task);
            let Some(([low, high], basis)) = band else {
                continue;
            };
            let score = mean(&scores(results, task, method));
            let side = match score {
                score if score < low => "below",
                score if score > high => "above",
                _ => continue,
            };
            let name = names::short(method);
            flags.push(Flag {
                task,
                method: method.clone(),
                score,
                low,
                high,
                words: format!(
                    "{task} {name}: {score:.1} is suspiciously far {side} the {low:.1} to {high:.1} expected of {preset} runs on {origin} data ({basis})",
                    preset = results.preset,
                    basis = printable(basis)
                ),
            });
        }
    }
    flags
}
