//! Runs without an environment. They have no returns, hence no score: what they leave is
//! how far the policy's actions are from those of episodes that were held out of training.
//! Tables of them stand apart from tables of scores, and say what the number is not.

mod versus;

use serde::Serialize;
use spar_core::printable;
use spar_stats::{mean, std};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    ReportError, WriteError,
    find::{self, Found},
    markdown::{markdown, terminal},
    names, render, seeds,
    table::Grid,
};
pub use versus::{OfflineRow, OfflineVersus};

/// What every table of validation errors is followed by.
const MEANING: &str = "The error is the mean squared difference between the policy's actions and \
     those of the episodes held out, with actions scaled to [-1, 1]. It says how closely a policy \
     repeats the data, not how well it does: a policy that improves on the data differs from \
     them. There is no score without an environment";

/// The finished runs without an environment below a folder, as one table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfflineReport {
    /// One for each data set and method, data sets by id, methods by rising error.
    pub rows: Vec<OfflineSummary>,
    /// What is left out.
    pub notes: Vec<String>,
    #[serde(skip)]
    curves: Vec<CurvePoint>,
}

/// The seeds of one method on one data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfflineSummary {
    /// Id of the data.
    pub dataset: String,
    /// SHA-256 of the data file.
    pub dataset_sha256: String,
    /// Method or variant.
    pub method: String,
    /// Training seeds of the finished runs.
    pub seeds: Vec<u64>,
    /// Gradient updates of the networks that are the policy.
    pub updates: u64,
    /// Episodes held out; 0 where the data have one alone.
    pub episodes: usize,
    /// Their rows.
    pub rows: usize,
    /// Validation error of each seed; absent where nothing is held out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation_mse: Vec<f64>,
    /// Its mean over seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Its standard deviation (ddof = 0) over seeds, of two or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
}

/// One point of a run's validation curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct CurvePoint {
    dataset: String,
    method: String,
    seed: u64,
    update: u64,
    validation_mse: f64,
}

impl OfflineReport {
    /// Reads every finished run below `runs`.
    ///
    /// # Errors
    /// If a file is unreadable or corrupt, if there is no such run, if runs of one data
    /// set hold out other episodes, or if seeds of one method were trained differently.
    pub fn of(runs: &Path) -> Result<Self, ReportError> {
        let all = find::below(runs)?;
        if all.runs.is_empty() {
            return Err(ReportError::NoOffline(runs.to_owned()));
        }
        let mut groups: Vec<Vec<&Found>> = Vec::new();
        for run in &all.runs {
            let same = |group: &&mut Vec<&Found>| group[0].key() == run.key();
            match groups.iter_mut().find(same) {
                Some(group) => group.push(run),
                None => groups.push(vec![run]),
            }
        }
        for run in &all.runs {
            let of_data = |other: &&Found| other.data() == run.data();
            if let Some(first) = all.runs.iter().find(of_data) {
                same_episodes(first, run)?;
            }
        }
        let mut rows = Vec::new();
        for group in &groups {
            rows.push(summary(group)?);
        }
        rows.sort_by(|a, b| {
            let place = |row: &OfflineSummary| row.mean.unwrap_or(f64::INFINITY);
            let data = (&a.dataset, &a.dataset_sha256).cmp(&(&b.dataset, &b.dataset_sha256));
            data.then(place(a).total_cmp(&place(b)))
        });
        let curves = all.runs.iter().flat_map(|run| {
            let points = run.curve.iter();
            let (id, sha256) = (&run.record.dataset.id, run.data());
            let called = called(&rows, &printable(id), &printable(sha256));
            points.map(move |&(update, validation_mse)| CurvePoint {
                dataset: called.clone(),
                method: printable(&run.record.method).into_owned(),
                seed: run.record.seed,
                update,
                validation_mse,
            })
        });
        Ok(Self {
            curves: curves.collect(),
            rows,
            notes: all.notes(),
        })
    }

    fn grid(&self) -> Grid {
        let header = [
            "",
            "validation error",
            "seeds",
            "updates",
            "episodes held out",
        ];
        let row = |row: &OfflineSummary| {
            vec![
                format!(
                    "{} {}",
                    called(&self.rows, &row.dataset, &row.dataset_sha256),
                    names::short(&row.method)
                ),
                error(row.mean, row.std),
                row.seeds.len().to_string(),
                row.updates.to_string(),
                format!("{} ({} rows)", row.episodes, row.rows),
            ]
        };
        Grid::of(
            header.map(str::to_owned).to_vec(),
            self.rows.iter().map(row).collect(),
        )
    }

    /// The table for a terminal.
    pub fn render(&self) -> String {
        let table = terminal(&self.grid(), |text, _| printable(text).into_owned());
        let notes = self.notes.iter();
        let notes = notes.map(|note| format!("note: {}\n", printable(note)));
        format!("{table}\n{}{MEANING}.\n", notes.collect::<String>())
    }

    /// The output files: name and content.
    ///
    /// # Errors
    /// If one cannot be rendered.
    pub fn files(&self) -> Result<Vec<(&'static str, String)>, ReportError> {
        let json = serde_json::to_string_pretty(self).map_err(|e| render("JSON", e))?;
        let table = format!(
            "# Runs without an environment\n\n{}\n\n{MEANING}.\n",
            markdown(&self.grid())
        );
        Ok(vec![
            ("table.md", table),
            ("results.json", json + "\n"),
            ("curves.csv", seeds::csv(&self.curves)?),
        ])
    }

    /// Writes every output below `folder`, each atomically.
    ///
    /// # Errors
    /// If one cannot be rendered or written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
        seeds::write(self.files()?, folder)
    }
}

/// What the data of a row among `rows` are called: the file's name alone may be that of two.
fn called(rows: &[OfflineSummary], id: &str, sha256: &str) -> String {
    let files = rows.iter().filter(|row| row.dataset == id);
    let files: BTreeSet<&str> = files.map(|row| row.dataset_sha256.as_str()).collect();
    names::data(id, sha256, files.len() > 1)
}

/// A mean with its spread over seeds, or a dash.
fn error(mean: Option<f64>, std: Option<f64>) -> String {
    match (mean, std) {
        (None, _) => "–".to_owned(),
        (Some(mean), None) => format!("{mean:.5}"),
        (Some(mean), Some(std)) => format!("{mean:.5} ± {std:.5}"),
    }
}

/// Refuses runs of one data set that hold out other episodes, or measure in other units.
fn same_episodes(one: &Found, other: &Found) -> Result<(), ReportError> {
    if one.held == other.held {
        return Ok(());
    }
    Err(ReportError::HeldOut {
        first: one.held.clone(),
        first_file: one.file.clone(),
        second: other.held.clone(),
        second_file: other.file.clone(),
    })
}

/// The runs of one method on one data set.
fn summary(group: &[&Found]) -> Result<OfflineSummary, ReportError> {
    let first = group[0];
    seeds::refuse_unlike(group)?;
    let mut group = group.to_vec();
    group.sort_by_key(|run| run.record.seed);
    let errors: Vec<f64> = group
        .iter()
        .filter_map(|run| run.record.validation.map(|found| found.mse))
        .collect();
    let record = &first.record;
    let found = record.validation;
    Ok(OfflineSummary {
        dataset: printable(&record.dataset.id).into_owned(),
        dataset_sha256: printable(&record.dataset.sha256).into_owned(),
        method: printable(&record.method).into_owned(),
        seeds: group.iter().map(|run| run.record.seed).collect(),
        updates: match record.updates {
            0 => record.anchor_updates,
            updates => updates,
        },
        episodes: found.map_or(0, |found| found.episodes),
        rows: found.map_or(0, |found| found.rows),
        mean: (!errors.is_empty()).then(|| mean(&errors)),
        std: (errors.len() > 1).then(|| std(&errors, 0)),
        validation_mse: errors,
    })
}
