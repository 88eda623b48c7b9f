//! Two folders of runs without an environment against each other, on validation errors.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::Serialize;
use spar_core::printable;
use spar_stats::{Bootstrap, Estimate, Pair, mean, paired_difference};

use super::{MEANING, same_episodes};
use crate::{
    ReportError,
    find::{self, Found},
    markdown::terminal,
    names, seeds,
    table::Grid,
};

/// What two folders of runs without an environment say of each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfflineVersus {
    /// The one folder, A.
    pub a: PathBuf,
    /// The other, B.
    pub b: PathBuf,
    /// What the numbers are: `validation_mse`.
    pub unit: &'static str,
    /// Every data set and method that both have finished runs of with a common seed. Where
    /// each folder holds one method alone, the two are compared.
    pub rows: Vec<OfflineRow>,
    /// What is not compared.
    pub notes: Vec<String>,
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfflineRow {
    /// Id of the data, in A.
    pub dataset: String,
    /// SHA-256 of the data file.
    pub dataset_sha256: String,
    /// The method in A.
    pub method_a: String,
    /// And in B.
    pub method_b: String,
    /// Pairs of runs.
    pub seeds: usize,
    /// Mean validation error of A's runs; absent where nothing is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<f64>,
    /// And of B's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<f64>,
    /// B minus A, seeds resampled; absent with fewer than two seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Estimate>,
}

impl OfflineVersus {
    /// Compares the runs below `a` and `b`, each a folder of runs or one run's own; `None`
    /// if neither has a run without an environment. Runs are paired by data, method and seed;
    /// where none has a counterpart and each folder holds one method, by data and seed; two
    /// single runs by their data.
    ///
    /// # Errors
    /// As [`super::OfflineReport::of`]; and if one folder's runs have an environment and the
    /// other's have none, or nothing is shared.
    pub fn of(a: &Path, b: &Path) -> Result<Option<Self>, ReportError> {
        let (in_a, in_b) = (find::below(a)?, find::below(b)?);
        let (without, with) = match (in_a.runs.is_empty(), in_b.runs.is_empty()) {
            (true, true) => return Ok(None),
            (false, false) => (a, b),
            (false, true) => (a, b),
            (true, false) => (b, a),
        };
        if in_a.runs.is_empty() || in_b.runs.is_empty() {
            return Err(ReportError::OneOffline {
                without: without.to_owned(),
                with: with.to_owned(),
            });
        }
        // Two single runs are compared whatever their methods and seeds are.
        let single = [a, b].iter().all(|folder| folder.join("DONE").exists());
        let one_each = of_one_method(&in_a.runs) && of_one_method(&in_b.runs);
        let fit = |one: &Found, other: &Found, across: bool| {
            let (one_method, one_seed) = (
                one.record.method == other.record.method,
                one.record.seed == other.record.seed,
            );
            one.data() == other.data() && (single || one_seed && (across || one_method))
        };
        let any = |one: &Found| in_b.runs.iter().any(|other| fit(one, other, false));
        let across = one_each && !in_a.runs.iter().any(any);
        let twins = |one: &Found, other: &Found| fit(one, other, across);
        let mut groups: Vec<Vec<(&Found, &Found)>> = Vec::new();
        let mut alone = 0;
        for one in &in_a.runs {
            let Some(other) = in_b.runs.iter().find(|other| twins(one, other)) else {
                alone += 1;
                continue;
            };
            same_episodes(one, other)?;
            let same = |group: &&mut Vec<(&Found, &Found)>| group[0].0.key() == one.key();
            match groups.iter_mut().find(same) {
                Some(group) => group.push((one, other)),
                None => groups.push(vec![(one, other)]),
            }
        }
        if groups.is_empty() {
            let (a, b) = (a.to_owned(), b.to_owned());
            return Err(ReportError::NothingShared { a, b });
        }
        let shared: usize = groups.iter().map(Vec::len).sum();
        let left = [("A", alone), ("B", in_b.runs.len().saturating_sub(shared))];
        let left = left.into_iter().filter(|(_, count)| *count > 0);
        let left = left.map(|(side, count)| format!("left out, only in {side}: {count} runs"));
        let mut notes: Vec<String> = groups
            .iter()
            .find_map(|group| methods(group))
            .into_iter()
            .collect();
        notes.extend(left);
        notes.extend(in_a.notes().into_iter().map(|note| format!("A: {note}")));
        notes.extend(in_b.notes().into_iter().map(|note| format!("B: {note}")));
        let rows: Result<_, ReportError> = groups.iter().map(|group| row(group)).collect();
        Ok(Some(Self {
            a: a.to_owned(),
            b: b.to_owned(),
            unit: "validation_mse",
            rows: rows?,
            notes,
        }))
    }

    /// The comparison for a terminal.
    pub fn render(&self) -> String {
        let header = ["validation error", "A", "B", "B − A [95%]", "seeds"];
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.5}"));
        let files = self
            .rows
            .iter()
            .map(|row| (&row.dataset, &row.dataset_sha256));
        let files: BTreeSet<_> = files.collect();
        let row = |row: &OfflineRow| {
            let several = files.iter().filter(|(id, _)| **id == row.dataset).count() > 1;
            let data = names::data(&row.dataset, &row.dataset_sha256, several);
            let (a, b) = (names::short(&row.method_a), names::short(&row.method_b));
            let methods = match a == b {
                true => a,
                false => format!("{a}, {b}"),
            };
            let difference = match (&row.difference, row.a.zip(row.b)) {
                (Some(Estimate { value, interval }), _) => {
                    format!("{value:+.5} [{:+.5}, {:+.5}]", interval.low, interval.high)
                }
                (None, Some((a, b))) => format!("{:+.5}", b - a),
                (None, None) => "–".to_owned(),
            };
            vec![
                format!("{data} {methods}"),
                number(row.a),
                number(row.b),
                difference,
                row.seeds.to_string(),
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
        let notes = self.notes.iter();
        lines.extend(notes.map(|note| format!("note: {}", printable(note))));
        lines.push(format!("{MEANING}."));
        lines.join("\n") + "\n"
    }
}

/// Whether all `runs` are of one method.
fn of_one_method(runs: &[Found]) -> bool {
    runs.iter()
        .all(|run| run.record.method == runs[0].record.method)
}

/// That the runs of a row are of two methods, in words.
fn methods(group: &[(&Found, &Found)]) -> Option<String> {
    let (a, b) = group.first()?;
    let (a, b) = (&a.record.method, &b.record.method);
    (a != b).then(|| {
        format!(
            "different methods: A {}, B {} in every row",
            names::short(a),
            names::short(b)
        )
    })
}

fn row(group: &[(&Found, &Found)]) -> Result<OfflineRow, ReportError> {
    let first = group[0];
    let (in_a, in_b): (Vec<&Found>, Vec<&Found>) = group.iter().copied().unzip();
    seeds::refuse_unlike(&in_a)?;
    seeds::refuse_unlike(&in_b)?;
    let errors: Vec<([f64; 1], [f64; 1])> = group
        .iter()
        .filter_map(|(one, other)| {
            let of = |run: &Found| run.record.validation.map(|found| [found.mse]);
            Some((of(one)?, of(other)?))
        })
        .collect();
    let side = |side: fn(&([f64; 1], [f64; 1])) -> f64| {
        let values: Vec<f64> = errors.iter().map(side).collect();
        (!values.is_empty()).then(|| mean(&values))
    };
    let pairs: Vec<Pair<'_>> = errors
        .iter()
        .map(|(a, b)| Pair {
            method: b,
            anchor: a,
        })
        .collect();
    let difference = match pairs.len() > 1 {
        true => Some(paired_difference(&[pairs], &Bootstrap::default())?.overall),
        false => None,
    };
    let (a, b) = (&first.0.record, &first.1.record);
    Ok(OfflineRow {
        dataset: printable(&a.dataset.id).into_owned(),
        dataset_sha256: printable(&a.dataset.sha256).into_owned(),
        method_a: printable(&a.method).into_owned(),
        method_b: printable(&b.method).into_owned(),
        seeds: group.len(),
        a: side(|(a, _)| a[0]),
        b: side(|(_, b)| b[0]),
        difference,
    })
}
