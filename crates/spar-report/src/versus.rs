//! Two folders of runs against each other: what changed a method, a setting or a
//! device, evaluated on the same tasks, seeds and evaluation episodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;
use spar_core::{RunRecord, printable};
use spar_stats::{
    Bootstrap, Estimate, Pair, Scores, StatsError, aggregate_mean, improvement_interval,
    in_parallel, mean, paired_difference,
};

use crate::{
    ReportError,
    alike::{length, refuse_lengths, refuse_mixtures, refuse_other_settings},
    compare::NO_MEAN,
    markdown::terminal,
    names,
    read::Finished,
    results::{Bounded, Unit},
    sides::{self, Pairing, Side, Sided},
    table::{self, Grid},
};

/// What two folders of runs say of each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Versus {
    /// The one folder, A.
    pub a: PathBuf,
    /// The other, B.
    pub b: PathBuf,
    /// What the numbers are.
    pub unit: Unit,
    /// Every task and method that both have finished runs of with a common seed,
    /// method by method, each followed by its mean over tasks, unless those have no common
    /// scale. Where each folder holds one method alone, the two are compared.
    pub rows: Vec<Row>,
    /// What is not compared, and what the runs do not have in common.
    pub notes: Vec<String>,
    /// One line for each method.
    pub verdicts: Vec<String>,
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The task, or what the data of no task are called; `null` for the mean over all that
    /// are compared.
    pub task: Option<String>,
    /// The method, in A.
    pub method: String,
    /// The method in B, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method_b: Option<String>,
    /// Training seeds compared; of a mean, pairs of runs.
    pub seeds: usize,
    /// Mean of A's runs, in [`Versus::unit`].
    pub a: f64,
    /// And of B's.
    pub b: f64,
    /// B minus A: seeds, then paired episodes
    /// resampled.
    pub difference: Estimate,
    /// How probably a run of B scores above a run of A on the same task; its
    /// interval needs two seeds.
    pub improvement: Bounded,
    /// What follows from the interval of the difference.
    pub outcome: Outcome,
}

/// What an interval of a difference says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It lies above zero.
    BetterB,
    /// It lies below zero.
    BetterA,
    /// It holds zero.
    Undecided,
}

impl Outcome {
    fn of(difference: &Estimate) -> Self {
        match difference.interval {
            i if i.low > 0.0 => Self::BetterB,
            i if i.high < 0.0 => Self::BetterA,
            _ => Self::Undecided,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::BetterB => "B is better",
            Self::BetterA => "A is better",
            Self::Undecided => "they cannot be told apart",
        }
    }
}

/// A run of each folder that are compared.
type Shared<'a> = (&'a Sided, &'a Sided);

/// The scores of its evaluation episodes, in A and in B.
type Episodes = (Vec<f64>, Vec<f64>);

impl Versus {
    /// Compares the runs below `a` and `b`, each `<task>/<method>/seed-<n>`, folders of runs
    /// of any names, or each the folder of one run. They are paired by task, method and seed;
    /// where none has a counterpart, and each folder holds one method or is one run, by task
    /// and seed, or task alone.
    ///
    /// # Errors
    /// If a file is unreadable or corrupt, runs contradict their folders, nothing
    /// is shared, or shared runs differ in their data or in how they were evaluated. That A
    /// and B are of two methods or were trained for different lengths is a note.
    pub fn of(a: &Path, b: &Path) -> Result<Self, ReportError> {
        let [side_a, side_b] = sides::of(a, b)?;
        let (pairing, shared) = sides::paired(&side_a, &side_b);
        if shared.is_empty() {
            let (a, b) = (a.to_owned(), b.to_owned());
            return Err(ReportError::NothingShared { a, b });
        }
        let mut tasks: Vec<&str> = Vec::new();
        let mut methods: Vec<&str> = Vec::new();
        for (run, _) in &shared {
            if !tasks.contains(&run.task.as_str()) {
                tasks.push(&run.task);
            }
            if !methods.contains(&run.method.as_str()) {
                methods.push(&run.method);
            }
        }
        for task in &tasks {
            let of_task = || shared.iter().filter(|(run, _)| run.task == **task);
            let both: Vec<&Sided> = of_task().flat_map(|(one, other)| [*one, *other]).collect();
            let task = &(*task).to_owned();
            refuse_mixtures(task, &both)?;
            // A and B may differ in their settings and lengths; the seeds of one may not.
            for side in [
                of_task().map(|(one, _)| *one).collect::<Vec<_>>(),
                of_task().map(|(_, other)| *other).collect(),
            ] {
                refuse_other_settings(task, &side)?;
                refuse_lengths(task, &side)?;
            }
        }
        let both = shared.iter().flat_map(|(one, other)| [*one, *other]);
        let both = both.filter_map(|run| run.outcome.as_ref().ok());
        let unit = Unit::of(both.map(|done| done.record.normalized_score()));
        let compared = in_parallel(&methods, |method| {
            let of_method = shared.iter().filter(|(run, _)| run.method == **method);
            method_rows(
                &tasks,
                method,
                &of_method.copied().collect::<Vec<_>>(),
                unit,
            )
        });
        let mut rows = Vec::new();
        let mut verdicts = Vec::new();
        for of_method in compared {
            let of_method = of_method?;
            verdicts.extend(verdict(&of_method));
            rows.extend(of_method);
        }
        Ok(Self {
            a: a.to_owned(),
            b: b.to_owned(),
            unit,
            rows,
            notes: notes(&side_a, &side_b, pairing, &shared),
            verdicts,
        })
    }

    /// The comparison for a terminal.
    pub fn render(&self) -> String {
        let header = ["", "A", "B", "B − A [95%]", "P(B above A)", "seeds"];
        let row = |row: &Row| {
            let task = row.task.as_deref().unwrap_or("mean");
            let name = format!("{task} {}", row.methods());
            let (d, p) = (&row.difference, &row.improvement);
            let interval = d.interval;
            vec![
                name,
                format!("{:.1}", row.a),
                format!("{:.1}", row.b),
                format!(
                    "{:+.1} [{:+.1}, {:+.1}]",
                    d.value, interval.low, interval.high
                ),
                table::probability(p),
                match &row.task {
                    Some(_) => row.seeds.to_string(),
                    None => format!("{} pairs", row.seeds),
                },
            ]
        };
        let grid = Grid::of(
            header.map(str::to_owned).to_vec(),
            self.rows.iter().map(row).collect(),
        );
        let mut lines = vec![
            format!("A: {}", printable(&self.a.display().to_string())),
            format!("B: {}", printable(&self.b.display().to_string())),
            terminal(&grid, |text, _| printable(text).into_owned()),
        ];
        if !self.unit.is_score() {
            let why = "no D4RL reference returns are known of some run";
            lines.push(format!("undiscounted returns, not normalized: {why}"));
        }
        let notes = self.notes.iter();
        lines.extend(notes.map(|note| format!("note: {}", printable(note))));
        let verdicts = self.verdicts.iter();
        lines.extend(verdicts.map(|verdict| format!("{}.", printable(verdict))));
        lines.join("\n") + "\n"
    }
}

impl Row {
    /// The method, or A's and B's.
    fn methods(&self) -> String {
        let a = names::short(&self.method);
        match &self.method_b {
            Some(b) => format!("{a}, {}", names::short(b)),
            None => a,
        }
    }
}

/// The evaluation episodes of a finished run, in `unit`.
fn episodes(run: &Sided, unit: Unit) -> Vec<f64> {
    let Ok(Finished { record, .. }) = &run.outcome else {
        return Vec::new();
    };
    let score = |&episode_return: &f64| unit.value(record.known_env(), episode_return);
    record.returns.iter().filter_map(score).collect()
}

fn method_rows(
    tasks: &[&str],
    method: &str,
    shared: &[Shared<'_>],
    unit: Unit,
) -> Result<Vec<Row>, ReportError> {
    let plan = Bootstrap::default();
    let of_task = |task: &str| -> Vec<Episodes> {
        let pairs = shared.iter().filter(|(run, _)| run.task == task);
        let pairs = pairs.map(|(one, other)| (episodes(one, unit), episodes(other, unit)));
        pairs.collect()
    };
    let by_task: Vec<(&str, Vec<Episodes>)> = tasks
        .iter()
        .map(|&task| (task, of_task(task)))
        .filter(|(_, pairs)| !pairs.is_empty())
        .collect();
    let pairs: Vec<Vec<Pair<'_>>> = by_task
        .iter()
        .map(|(_, pairs)| {
            let pairs = pairs.iter();
            pairs
                .map(|(a, b)| Pair {
                    method: b,
                    anchor: a,
                })
                .collect()
        })
        .collect();
    let found = paired_difference(&pairs, &plan)?;
    let scores = |side: fn(&Episodes) -> &Vec<f64>| -> Vec<Vec<f64>> {
        let of_task = |(_, pairs): &(&str, Vec<_>)| pairs.iter().map(|p| mean(side(p))).collect();
        by_task.iter().map(of_task).collect()
    };
    let (a, b) = (scores(|pair| &pair.0), scores(|pair| &pair.1));
    // Of several methods, each is compared with itself.
    let other = shared.iter().map(|(_, other)| other.method.as_str());
    let methods = (method, other.into_iter().find(|other| *other != method));
    let mut rows = Vec::new();
    for (i, ((task, _), &difference)) in by_task.iter().zip(&found.tasks).enumerate() {
        rows.push(row(Some(task), methods, &a[i..=i], &b[i..=i], difference)?);
    }
    if unit.is_score() || by_task.len() == 1 {
        rows.push(row(None, methods, &a, &b, found.overall)?);
    }
    Ok(rows)
}

/// `a` and `b` hold the scores of each task's seeds.
fn row(
    task: Option<&str>,
    (method, method_b): (&str, Option<&str>),
    a: &[Vec<f64>],
    b: &[Vec<f64>],
    difference: Estimate,
) -> Result<Row, StatsError> {
    let (scores_a, scores_b) = (Scores::new(a)?, Scores::new(b)?);
    let several = a.iter().all(|seeds| seeds.len() > 1);
    let better = improvement_interval(&scores_b, &scores_a, &Bootstrap::coarse())?;
    Ok(Row {
        task: task.map(str::to_owned),
        method: method.to_owned(),
        method_b: method_b.map(str::to_owned),
        seeds: scores_a.all().len(),
        a: aggregate_mean(&scores_a),
        b: aggregate_mean(&scores_b),
        difference,
        improvement: Bounded::new(better, several),
        outcome: Outcome::of(&difference),
    })
}

/// One line on a method's rows, the last of which is their mean, if they have one.
fn verdict(rows: &[Row]) -> Option<String> {
    let (all, tasks) = match rows.split_last()? {
        (mean, tasks) if mean.task.is_none() => (Some(mean), tasks),
        _ => (None, rows),
    };
    let of = |outcome| tasks.iter().filter(|row| row.outcome == outcome).count();
    // As in a table: with one seed the interval does not hold the noise of training.
    let one_seed = tasks.iter().any(|row| row.seeds == 1);
    let mean = match all.map(|all| all.difference) {
        Some(Estimate { value, interval }) => format!(
            "mean difference {value:+.1} [{:+.1}, {:+.1}] (95% paired interval, hierarchical bootstrap)",
            interval.low, interval.high
        ),
        None => NO_MEAN.to_owned(),
    };
    let outcome = match all {
        Some(all) if !one_seed => all.outcome.words(),
        _ => "no verdict",
    };
    let mut line = format!(
        "{}: B is above A on {} of {} tasks{}; {mean}: {outcome}",
        rows.first()?.methods(),
        of(Outcome::BetterB),
        tasks.len(),
        table::others(of(Outcome::BetterA), of(Outcome::Undecided)),
    );
    if one_seed {
        line += " (one seed somewhere: the interval holds the noise of evaluation episodes, not of training)";
    }
    Some(line)
}

/// What a reader of the comparison has to know.
fn notes(a: &Side, b: &Side, pairing: Pairing, shared: &[Shared<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    if pairing != Pairing::Alike {
        let method = |run: &RunRecord| names::short(&run.method);
        notes.extend(different(shared, "methods", method));
    }
    if pairing == Pairing::Singles {
        notes.extend(different(shared, "training seeds", |r| r.seed.to_string()));
    }
    for (name, side, others) in [("A", a, b), ("B", b, a)] {
        let left_out = |wanted: fn(&Sided, Option<&Sided>) -> bool| {
            let runs = side.runs.iter();
            let runs = runs.filter(|run| wanted(run, pairing.twin(run, &others.runs)));
            table::list(
                runs.map(|r| format!("{} {} seed {}", r.task, names::short(&r.method), r.seed)),
            )
        };
        let unfinished = left_out(|run, _| run.outcome.is_err());
        let alone = left_out(|run, twin| run.outcome.is_ok() && twin.is_none());
        for (what, which) in [("unfinished in", unfinished), ("only in", alone)] {
            if !which.is_empty() {
                notes.push(format!("left out, {what} {name}: {which}"));
            }
        }
        if side.unfinished > 0 {
            let runs = side.unfinished;
            notes.push(format!("left out, unfinished in {name}: {runs} runs"));
        }
    }
    notes.extend(different(shared, "lengths of training", length));
    notes.extend(different(
        shared,
        "devices, equal only up to rounding",
        |r| r.device.clone(),
    ));
    notes.extend(different(shared, "commits", |r| r.commit.clone()));
    notes.extend(different(shared, "presets", |r| r.preset.clone()));
    notes
}

/// Which rows have something else in A than in B, in words; nothing if none has.
fn different(shared: &[Shared<'_>], what: &str, field: fn(&RunRecord) -> String) -> Option<String> {
    let of = |run: &Sided| run.outcome.as_ref().ok().map(|done| field(&done.record));
    let mut rows: BTreeMap<(&str, &str), [BTreeSet<String>; 2]> = BTreeMap::new();
    for (one, other) in shared {
        let [a, b] = rows.entry((&one.task, &one.method)).or_default();
        a.extend(of(one));
        b.extend(of(other));
    }
    let all = rows.len();
    let unlike = rows.into_iter().filter(|(_, [a, b])| a != b || a.len() > 1);
    let mut by_values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((task, method), [a, b]) in unlike {
        let values = format!("A {}, B {}", table::list(a.iter()), table::list(b.iter()));
        let name = format!("{task} {}", names::short(method));
        by_values.entry(values).or_default().push(name);
    }
    let words = by_values.iter().map(|(values, rows)| match rows.len() {
        n if n == all => format!("{values} in every row"),
        _ => format!("{values} in {}", rows.join(", ")),
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| format!("different {what}: {}", words.join("; ")))
}
