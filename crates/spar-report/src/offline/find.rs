//! Finds the runs without an environment below a folder, whatever its folders are called.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use spar_core::{FinishedRun, RunIdentity, RunRecord, files::in_file};

use crate::ReportError;

/// Folders within folders that are looked into: `<task>/<method>/seed-<n>`, and one more.
const DEEPEST: usize = 4;

/// A finished run without an environment.
pub(super) struct Found {
    pub(super) file: PathBuf,
    pub(super) record: RunRecord,
    pub(super) identity: RunIdentity,
    /// Which episodes it holds out, and the bounds its actions are scaled by, in words.
    pub(super) held: String,
    /// Update and validation error.
    pub(super) curve: Vec<(u64, f64)>,
}

impl Found {
    /// The data: their bytes.
    pub(super) fn data(&self) -> &str {
        &self.record.dataset.sha256
    }

    /// What its row is: data and method.
    pub(super) fn key(&self) -> (&str, &str) {
        (self.data(), &self.record.method)
    }
}

/// What is below a folder.
#[derive(Default)]
pub(super) struct Below {
    pub(super) runs: Vec<Found>,
    /// Finished runs with an environment.
    pub(super) played: usize,
    /// Unfinished ones.
    pub(super) unfinished: usize,
}

impl Below {
    /// What a table of its runs leaves out.
    pub(super) fn notes(&self) -> Vec<String> {
        let left = [
            (
                self.played,
                "with an environment, whose returns are of a suite's report",
            ),
            (self.unfinished, "that are not finished"),
        ];
        let left = left.into_iter().filter(|(count, _)| *count > 0);
        left.map(|(count, what)| format!("left out: {count} runs {what}"))
            .collect()
    }
}

/// Every finished run below `folder`, itself one or not.
pub(super) fn below(folder: &Path) -> Result<Below, ReportError> {
    let mut found = Below::default();
    look(folder, DEEPEST, &mut found)?;
    Ok(found)
}

fn look(folder: &Path, depth: usize, found: &mut Below) -> Result<(), ReportError> {
    if let Some(FinishedRun { record, identity }) = FinishedRun::read(folder)? {
        match record.env {
            Some(_) => found.played += 1,
            None => found.runs.push(Found {
                file: folder.join("DONE"),
                held: held(folder)?,
                curve: curve(folder, &record)?,
                record,
                identity,
            }),
        }
        return Ok(());
    }
    if folder.join("spec.json").exists() {
        found.unfinished += 1;
        return Ok(());
    }
    let unreadable = |e| ReportError::Read(in_file(e, folder));
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // A link may lead back to where it stands.
        if entry.file_type().map_err(unreadable)?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort_unstable();
    match depth {
        0 => Ok(()),
        _ => folders
            .iter()
            .try_for_each(|folder| look(folder, depth - 1, found)),
    }
}

/// What the settings of the run in `folder` say of what it holds out.
fn held(folder: &Path) -> Result<String, ReportError> {
    let file = folder.join("spec.json");
    let text = fs::read_to_string(&file).map_err(|e| ReportError::Read(in_file(e, &file)))?;
    let spec: Value = serde_json::from_str(&text).map_err(|e| ReportError::Corrupt {
        file,
        what: "settings of a run",
        why: e.to_string(),
    })?;
    Ok(format!("{} by seed {}", spec["offline"], spec["eval_seed"]))
}

#[derive(Deserialize)]
struct Point {
    update: u64,
    validation_mse: f64,
}

fn curve(folder: &Path, record: &RunRecord) -> Result<Vec<(u64, f64)>, ReportError> {
    let name = "validation.csv";
    let file = folder.join(name);
    let bytes = match fs::read(&file) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(ReportError::Read(in_file(e, &file))),
    };
    record.check_file(folder, name, bytes.as_deref())?;
    let bytes = bytes.unwrap_or_default();
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let points = reader.deserialize::<Point>();
    let points = points.map(|point| point.map(|point| (point.update, point.validation_mse)));
    let points: Result<_, csv::Error> = points.collect();
    points.map_err(|e| ReportError::Corrupt {
        file,
        what: "validation curve",
        why: e.to_string(),
    })
}
