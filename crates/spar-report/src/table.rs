//! The tables as text, before any format: Markdown, LaTeX and the terminal
//! print the same grids and the same facts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Display, Write},
};

use spar_core::{Origin, TaskId};
use spar_stats::{Bootstrap, mean, std};

use crate::{
    compare::{ANCHOR, scores},
    names::{label, short},
    results::{Bounded, Cell, Results, Unit},
    totals,
};

/// A header and rows of equal width; the first column holds names.
pub(crate) struct Grid {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Whether the other columns hold numbers, printed flush right.
    pub(crate) numbers: bool,
    /// Rows at the end that aggregate those before.
    pub(crate) aggregates: usize,
    /// Cells, by row and column, that are best in their row or as good.
    pub(crate) marks: BTreeMap<(usize, usize), Mark>,
}

/// What sets a cell off from the others of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The highest mean.
    Best,
    /// A mean not below the lower end of the best's interval.
    Within,
}

impl Mark {
    /// The mark as written in `table.csv`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Within => "within",
        }
    }
}

impl Grid {
    /// Of numbers, without marks or aggregates.
    pub(crate) fn of(header: Vec<String>, rows: Vec<Vec<String>>) -> Self {
        Self {
            header,
            rows,
            numbers: true,
            aggregates: 0,
            marks: BTreeMap::new(),
        }
    }

    /// What sets off the cell in this row and column.
    pub(crate) fn mark(&self, row: usize, column: usize) -> Option<Mark> {
        self.marks.get(&(row, column)).copied()
    }
}

/// What sets off `method` in the row of `task`, or of the mean over tasks.
pub(crate) fn mark(results: &Results, task: Option<TaskId>, method: &str) -> Option<Mark> {
    let best = results.best.iter().find(|best| best.task == task)?;
    if best.method == method {
        return Some(Mark::Best);
    }
    let within = best.within.iter().any(|other| other == method);
    within.then_some(Mark::Within)
}

/// What the marks of [`scores_grid`] mean, where there are any.
pub(crate) fn marks_note(results: &Results, bold: &str) -> Option<String> {
    (!results.best.is_empty()).then(|| {
        format!(
            "{bold}: the highest mean of its row, and every mean not below the lower end of that one's 95% interval (hierarchical bootstrap over seeds, then episodes)"
        )
    })
}

/// Normalized scores, with the difference to the anchor and the aggregates; or returns,
/// without those that are of several tasks.
pub(crate) fn scores_grid(results: &Results) -> Grid {
    let mut header = vec!["task".to_owned()];
    header.extend(results.methods.iter().map(|method| label(method)));
    let compared = results.comparison.as_ref();
    if let Some(found) = compared {
        let (method, anchor) = (short(&found.method), short(&found.anchor));
        header.push(format!("{method} − {anchor} [95%]"));
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (index, &task) in results.tasks.iter().enumerate() {
        let mut row = vec![task.to_string()];
        let of = |method: &String| spread(&scores(results, task, method), results.seeds.len());
        row.extend(results.methods.iter().map(of));
        row.extend(compared.map(|found| {
            let t = &found.tasks[index];
            let text = estimate(t.difference, t.low, t.high, Sign::Shown);
            with_part(text, t.pairs, results.seeds.len(), "seeds")
        }));
        rows.push(row);
    }
    if results.unit.is_score() {
        rows.extend(totals::rows(results));
    }
    let aggregates = rows.len() - results.tasks.len();
    let marked = results.tasks.iter().copied().map(Some).chain([None]);
    let marks = marked
        .enumerate()
        .flat_map(|(row, task)| {
            let methods = results.methods.iter().enumerate();
            methods.filter_map(move |(column, method)| {
                Some(((row, column + 1), mark(results, task, method)?))
            })
        })
        .collect();
    Grid {
        header,
        rows,
        numbers: true,
        aggregates,
        marks,
    }
}

/// A probability with its interval.
pub(crate) fn probability(p: &Bounded) -> String {
    match (p.low, p.high) {
        (Some(low), Some(high)) => format!("{:.2} [{low:.2}, {high:.2}]", p.value),
        _ => format!("{:.2}", p.value),
    }
}

/// Undiscounted returns, not normalized.
pub(crate) fn returns_grid(results: &Results) -> Grid {
    let mut header = vec!["task".to_owned()];
    header.extend(results.methods.iter().map(|method| label(method)));
    let row = |&task: &TaskId| {
        let of = |method: &String| {
            let returns: Vec<f64> = results
                .cells_of(task, method)
                .map(|cell| cell.mean_return)
                .collect();
            spread(&returns, results.seeds.len())
        };
        let mut row = vec![task.to_string()];
        row.extend(results.methods.iter().map(of));
        row
    };
    Grid::of(header, results.tasks.iter().map(row).collect())
}

/// Which data each row was trained on.
pub(crate) fn data_grid(results: &Results) -> Grid {
    let header = ["task", "data set", "origin", "rows", "sha256"];
    let row = |&task: &TaskId| {
        let cell = results.cells.iter().find(|cell| cell.task == task);
        let mut row = vec![task.to_string()];
        row.extend(match cell {
            Some(cell) => [
                cell.dataset.clone(),
                cell.dataset_origin.to_string(),
                cell.dataset_rows.to_string(),
                cell.dataset_sha256.chars().take(12).collect(),
            ],
            None => ["missing"; 4].map(str::to_owned),
        });
        row
    };
    Grid {
        header: header.map(str::to_owned).to_vec(),
        rows: results.tasks.iter().map(row).collect(),
        numbers: false,
        aggregates: 0,
        marks: BTreeMap::new(),
    }
}

fn spread(values: &[f64], expected: usize) -> String {
    let text = match values {
        [] => "missing".to_owned(),
        [only] => format!("{only:.1}"),
        values => format!("{:.1} ± {:.1}", mean(values), std(values, 0)),
    };
    with_part(text, values.len(), expected, "seeds")
}

pub(crate) fn with_part(text: String, done: usize, expected: usize, of: &str) -> String {
    match done {
        0 => text,
        done if done == expected => text,
        done => format!("{text} ({done}/{expected} {of})"),
    }
}

/// Whether a positive number carries a plus: differences do, scores do not.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sign {
    Shown,
    Plain,
}

pub(crate) fn estimate(
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    sign: Sign,
) -> String {
    let number = |x: f64| match sign {
        Sign::Shown => format!("{x:+.1}"),
        Sign::Plain => format!("{x:.1}"),
    };
    match (value, low, high) {
        (Some(v), Some(l), Some(h)) => format!("{} [{}, {}]", number(v), number(l), number(h)),
        (Some(v), ..) => number(v),
        (None, ..) => "missing".to_owned(),
    }
}

/// The line no reader may miss, or nothing where every row is official.
pub(crate) fn warning(results: &Results) -> Option<String> {
    let rows = |origin| {
        let (n, all) = (results.tasks_from(origin), results.tasks.len());
        let part = if n < all {
            format!(" ({n} of {all} rows)")
        } else {
            String::new()
        };
        (n > 0).then_some(part)
    };
    let local = rows(Origin::Local).map(|part| {
        format!(
            "Local data generated by D4RL's recipe{part}; NOT the official D4RL files; not comparable with published numbers."
        )
    });
    let user = rows(Origin::User).map(|part| {
        format!("User-supplied data{part}; NOT known to be the official D4RL files; not comparable with published numbers.")
    });
    let lines: Vec<String> = local.into_iter().chain(user).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

/// What the numbers are, in one line.
pub(crate) fn protocol(results: &Results) -> String {
    let spread = match results.seeds.len() {
        1 => "one seed (no spread over seeds can be given)".to_owned(),
        n => format!("mean ± std over {n} seeds (ddof = 0)"),
    };
    let unit = match results.unit {
        Unit::NormalizedScore => "D4RL normalized score".to_owned(),
        Unit::Return => {
            let task = |task: &TaskId| task.env().reference_returns().is_none();
            let without = list(results.tasks.iter().filter(|t| task(t)));
            let of = match without.is_empty() {
                true => "some of the data".to_owned(),
                false => without,
            };
            format!(
                "undiscounted returns, not normalized: no D4RL reference returns are known of {of}"
            )
        }
    };
    format!("last checkpoint, {spread}, {unit}")
}

/// Everything a reader of the table has to know, as (name, value) lines.
pub(crate) fn facts(results: &Results) -> Vec<(&'static str, String)> {
    let cells = &results.cells;
    let mut facts = vec![
        ("protocol", protocol(results)),
        ("suite", results.suite.clone()),
        (
            "preset",
            format!("{} ({})", results.preset, results.description),
        ),
        ("training seeds", list(results.seeds.iter())),
    ];
    if cells.is_empty() {
        facts.push(("runs", "none finished".to_owned()));
        return facts;
    }
    let episodes = distinct(cells, |cell| cell.returns.len());
    let eval_seeds = distinct(cells, |cell| cell.eval_seed);
    facts.push((
        "evaluation",
        format!(
            "{episodes} episodes per run, evaluation seed {eval_seeds} shared by all training seeds"
        ),
    ));
    let updates = results.methods.iter().filter_map(|method| {
        let of: Vec<&Cell> = cells.iter().filter(|cell| cell.method == *method).collect();
        if of.is_empty() {
            return None;
        }
        let mut text = format!(
            "{} {}",
            short(method),
            distinct(of.iter().copied(), Cell::policy_updates)
        );
        if method != ANCHOR && of.iter().any(|cell| cell.anchor_updates > 0) {
            let anchor = distinct(of.iter().copied(), |c| c.anchor_updates);
            write!(text, " (after {anchor} of its anchor)").ok()?;
        }
        Some(text)
    });
    facts.push(("updates", updates.collect::<Vec<_>>().join("; ")));
    facts.push((
        "MuJoCo",
        distinct(cells, |cell| cell.mujoco_version.clone()),
    ));
    facts.push(("device", devices(results)));
    facts.push(("commit", results.commit.clone()));
    let complete = results.summary.iter().any(|s| s.aggregates.is_some());
    if complete && results.seeds.len() > 1 {
        let (all, coarse) = (Bootstrap::default(), Bootstrap::coarse());
        facts.push((
            "aggregates",
            format!(
                "{}% intervals, percentile bootstrap: seeds within tasks, {} resamples, {} for profiles and probabilities of improvement, seed {}",
                100.0 * all.confidence,
                all.resamples,
                coarse.resamples,
                all.seed
            ),
        ));
    }
    if let Some(found) = &results.comparison {
        facts.push((
            "differences",
            format!(
                "{}% intervals, {}, {} resamples, seed {}",
                100.0 * found.confidence,
                found.scheme,
                found.resamples,
                found.bootstrap_seed
            ),
        ));
    }
    facts
}

/// What computed the runs: one device, or how many runs each.
fn devices(results: &Results) -> String {
    let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in &results.cells {
        *runs.entry(&cell.device).or_default() += 1;
    }
    if runs.len() == 1 {
        return distinct(&results.cells, |cell| cell.device.clone());
    }
    let each = runs
        .iter()
        .map(|(device, n)| format!("{device} ({n} runs)"));
    list(each)
}

/// Rows whose runs were not all computed by one device, in one line.
pub(crate) fn mixed_devices(results: &Results) -> Option<String> {
    let of = |task: TaskId, method: &String| {
        let cells = results.cells_of(task, method);
        distinct(cells, |cell| cell.device.clone())
    };
    let row = |&task: &TaskId| {
        let methods = results.methods.iter();
        let devices: Vec<(&String, String)> = methods
            .map(|method| (method, of(task, method)))
            .filter(|(_, devices)| !devices.is_empty())
            .collect();
        let on = |device: &String| devices.iter().filter(|(_, other)| other == device).count();
        // The first of equals, for a stable line.
        let usual = devices.iter().rev().max_by_key(|(_, device)| on(device))?;
        let others = devices.iter().filter(|(_, device)| *device != usual.1);
        let name = |(method, device): &(&String, String)| format!("{} {device}", short(method));
        let mut names: Vec<String> = others.map(name).collect();
        if names.is_empty() && !usual.1.contains(", ") {
            return None;
        }
        names.push(match names.len() {
            0 => format!("all {}", usual.1),
            _ => format!("the others {}", usual.1),
        });
        Some(format!("{task} ({})", names.join("; ")))
    };
    let rows: Vec<String> = results.tasks.iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| {
        format!(
            "rows from different devices, equal only up to rounding: {}",
            rows.join(", ")
        )
    })
}

/// What a reader has to be told of single cells and rows.
pub(crate) fn remarks(results: &Results) -> impl Iterator<Item = String> {
    let flags = results.flags.iter().map(|flag| flag.words.clone());
    flags.chain(mixed_devices(results))
}

/// On how many tasks something is not above something else, after on how many it is.
pub(crate) fn others(below: usize, undecided: usize) -> String {
    let mut text = String::new();
    for (on, words) in [(below, "below it"), (undecided, "undecided")] {
        if on > 0 {
            let _ = write!(text, ", {words} on {on}");
        }
    }
    text
}

/// The missing runs in one line, or nothing.
pub(crate) fn missing(results: &Results) -> Option<String> {
    let mut groups: BTreeMap<(usize, &str, String), Vec<u64>> = BTreeMap::new();
    for run in &results.missing {
        let row = results.tasks.iter().position(|&task| task == run.task)?;
        let key = (row, run.method.as_str(), run.words());
        groups.entry(key).or_default().push(run.seed);
    }
    let name = |((row, method, reason), seeds): (&(usize, &str, String), &Vec<u64>)| {
        let (task, method) = (results.tasks[*row], short(method));
        format!("{task} {method} seed {} ({reason})", list(seeds.iter()))
    };
    let all = results.cells.len() + results.missing.len();
    let names: Vec<String> = groups.iter().map(name).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} of {all} runs missing: {}",
            results.missing.len(),
            names.join("; ")
        )
    })
}

fn distinct<'a, T: Ord + Display>(
    cells: impl IntoIterator<Item = &'a Cell>,
    of: impl Fn(&Cell) -> T,
) -> String {
    let found: BTreeSet<T> = cells.into_iter().map(of).collect();
    list(found.iter())
}

pub(crate) fn list<T: Display>(items: impl Iterator<Item = T>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
