//! Finds the runs without an environment, and those fine-tuned online, below a folder,
//! whatever its folders are called.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use spar_core::{Finetuned, FinishedRun, RunIdentity, RunRecord, files::in_file};

use crate::ReportError;

/// Folders within folders that are looked into: `<task>/<method>/seed-<n>`, and one more.
const DEEPEST: usize = 4;

/// A finished run without an environment.
pub(crate) struct Found {
    pub(crate) file: PathBuf,
    pub(crate) record: RunRecord,
    pub(crate) identity: RunIdentity,
    /// Which episodes it holds out, and the bounds its actions are scaled by, in words.
    pub(crate) held: String,
    /// Update and validation error.
    pub(crate) curve: Vec<(u64, f64)>,
}

impl Found {
    /// The data: their bytes.
    pub(crate) fn data(&self) -> &str {
        &self.record.dataset.sha256
    }

    /// What its row is: data and method.
    pub(crate) fn key(&self) -> (&str, &str) {
        (self.data(), &self.record.method)
    }
}

/// A finished run that was fine-tuned online.
pub(crate) struct Tuned {
    pub(crate) file: PathBuf,
    pub(crate) record: RunRecord,
    pub(crate) identity: RunIdentity,
    pub(crate) finetuned: Finetuned,
    /// Rows of `eval.csv` by rising step.
    pub(crate) curve: Vec<Step>,
}

/// A row of `eval.csv` of a fine-tuned run.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) step: u64,
    pub(crate) mean_return: f64,
    pub(crate) normalized_score: Option<f64>,
}

/// What is below a folder.
#[derive(Default)]
pub(crate) struct Below {
    pub(crate) runs: Vec<Found>,
    pub(crate) tuned: Vec<Tuned>,
    /// Folders of finished runs with an environment that were not fine-tuned.
    pub(crate) played: Vec<PathBuf>,
    /// Unfinished ones.
    pub(crate) unfinished: usize,
}

impl Below {
    /// What a table of its runs leaves out.
    pub(crate) fn notes(&self) -> Vec<String> {
        let left = [
            (
                self.played.len(),
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
pub(crate) fn below(folder: &Path) -> Result<Below, ReportError> {
    let mut found = Below::default();
    look(folder, DEEPEST, &mut found)?;
    Ok(found)
}

fn look(folder: &Path, depth: usize, found: &mut Below) -> Result<(), ReportError> {
    if let Some(FinishedRun { record, identity }) = FinishedRun::read(folder)? {
        match (&record.env, record.finetuned.clone()) {
            (Some(_), Some(finetuned)) => found.tuned.push(Tuned {
                file: folder.join("DONE"),
                curve: rows(folder, &record, "eval.csv", "learning curve")?,
                finetuned,
                record,
                identity,
            }),
            (Some(_), None) => found.played.push(folder.to_owned()),
            (None, _) => found.runs.push(Found {
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
    let points = rows::<Point>(folder, record, "validation.csv", "validation curve")?;
    let points = points.iter().map(|p| (p.update, p.validation_mse));
    Ok(points.collect())
}

/// The rows of the file `name` of a run; none if there is no such file.
fn rows<T: DeserializeOwned>(
    folder: &Path,
    record: &RunRecord,
    name: &str,
    what: &'static str,
) -> Result<Vec<T>, ReportError> {
    let file = folder.join(name);
    let bytes = match fs::read(&file) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(ReportError::Read(in_file(e, &file))),
    };
    record.check_file(folder, name, bytes.as_deref())?;
    let bytes = bytes.unwrap_or_default();
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let rows: Result<_, csv::Error> = reader.deserialize().collect();
    rows.map_err(|e| ReportError::Corrupt {
        file,
        what,
        why: e.to_string(),
    })
}
