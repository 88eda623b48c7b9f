//! The variants of SPAR a suite holds, each against SPAR itself: the ablation table.

use spar_core::{Suite, printable};
use spar_stats::Bootstrap;

use crate::{
    ReportError, Results,
    compare::{METHOD, NO_MEAN, comparison},
    names,
    results::{Comparison, Difference},
    table::{Grid, Sign, estimate, with_part},
};

/// What the numbers of [`grid`] are.
pub(crate) fn note(results: &Results) -> String {
    format!(
        "SPAR with one thing changed, minus SPAR: {}, with 95% paired intervals (seeds within tasks, then paired episodes within seeds).",
        results.unit.points()
    )
}

/// Each variant of the suite in the report against SPAR.
pub(crate) fn of(
    suite: &Suite,
    results: &Results,
    plan: &Bootstrap,
) -> Result<Vec<Difference>, ReportError> {
    let variants = results
        .methods
        .iter()
        .filter_map(|name| Some((name, suite.variant.get(name)?)));
    variants
        .map(|(name, variant)| {
            let mut comparison = comparison(results, name, METHOD, plan)?;
            comparison.sentence = sentence(results, &comparison);
            let about = printable(&variant.about).into_owned();
            Ok(Difference { about, comparison })
        })
        .collect()
}

/// What a variant's row supports, in one sentence.
fn sentence(results: &Results, found: &Comparison) -> String {
    let (name, full) = (names::short(&found.method), names::short(&found.anchor));
    let (Some(difference), Some(low), Some(high)) = (found.mean_difference, found.low, found.high)
    else {
        return match found.pairs {
            0 => format!("{name}: not finished, nothing follows"),
            _ => format!("{name} against {full}: {NO_MEAN}"),
        };
    };
    let one_seed = results.seeds.len() == 1;
    let told = match (low, high) {
        _ if one_seed => "no verdict".to_owned(),
        (low, _) if low > 0.0 => format!("{name} is better than {full}"),
        (_, high) if high < 0.0 => format!("{full} is better"),
        _ => "they cannot be told apart".to_owned(),
    };
    let mut text = format!(
        "{name}: {difference:+.1} [{low:+.1}, {high:+.1}] against {full} over {}: {told}",
        tasks(found.tasks_compared)
    );
    if found.pairs < found.pairs_expected {
        let absent = found.pairs_expected - found.pairs;
        text += &format!(" ({absent} of {} pairs missing)", found.pairs_expected);
    }
    if one_seed {
        text += " (one seed: the interval holds the noise of evaluation episodes, not of training)";
    }
    text
}

fn tasks(n: usize) -> String {
    match n {
        1 => "1 task".to_owned(),
        n => format!("{n} tasks"),
    }
}

/// One row a variant, one column a task; nothing where the suite has no variants.
pub(crate) fn grid(results: &Results) -> Option<Grid> {
    if results.differences.is_empty() {
        return None;
    }
    let mut header = vec![format!("minus {}", names::short(METHOD))];
    header.extend(results.tasks.iter().map(ToString::to_string));
    let over_tasks = results.over_tasks();
    header.extend(over_tasks.then(|| "mean [95%]".to_owned()));
    let row = |Difference {
                   comparison: found, ..
               }: &Difference| {
        let mut row = vec![names::short(&found.method)];
        row.extend(found.tasks.iter().map(|t| {
            let text = estimate(t.difference, t.low, t.high, Sign::Shown);
            with_part(text, t.pairs, results.seeds.len(), "seeds")
        }));
        let mean = estimate(found.mean_difference, found.low, found.high, Sign::Shown);
        let mean = with_part(mean, found.pairs, found.pairs_expected, "pairs");
        row.extend(over_tasks.then_some(mean));
        row
    };
    Some(Grid::of(
        header,
        results.differences.iter().map(row).collect(),
    ))
}

/// What each row supports, with what the variant is.
pub(crate) fn lines(results: &Results) -> impl Iterator<Item = String> {
    let line = |Difference { about, comparison }: &Difference| {
        format!("{} ({about})", comparison.sentence)
    };
    results.differences.iter().map(line)
}
