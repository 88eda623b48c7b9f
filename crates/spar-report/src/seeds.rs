//! What seeds that are averaged have to have in common, and the files that tables become:
//! shared by the reports on runs without an environment and on those fine-tuned.

use std::path::{Path, PathBuf};

use serde::Serialize;
use spar_core::{RunIdentity, RunRecord, Scope, write_atomic};

use crate::{ReportError, WriteError, find::Found, find::Tuned, render};

/// A finished run found below a folder.
pub(crate) trait Seed {
    /// Its `DONE`, what that holds, and what decided it.
    fn run(&self) -> (&Path, &RunRecord, &RunIdentity);
}

impl Seed for Found {
    fn run(&self) -> (&Path, &RunRecord, &RunIdentity) {
        (&self.file, &self.record, &self.identity)
    }
}

impl Seed for Tuned {
    fn run(&self) -> (&Path, &RunRecord, &RunIdentity) {
        (&self.file, &self.record, &self.identity)
    }
}

/// Refuses two seeds of one method that differ in anything else.
pub(crate) fn same_settings<S: Seed>(one: &S, other: &S) -> Result<(), ReportError> {
    let ((first_file, _, first), (file, record, identity)) = (one.run(), other.run());
    let differences = identity.differences(first, Scope::Seeds);
    let Some(difference) = differences.into_iter().next() else {
        return Ok(());
    };
    Err(ReportError::OfflineSettings {
        method: record.method.clone(),
        difference: Box::new(difference),
        first_file: first_file.to_owned(),
        second_file: file.to_owned(),
    })
}

/// Refuses what [`same_settings`] does, and one that is there twice.
pub(crate) fn refuse_unlike<S: Seed>(group: &[&S]) -> Result<(), ReportError> {
    for (place, run) in group.iter().enumerate() {
        same_settings(group[0], *run)?;
        let (file, record, _) = run.run();
        let mut before = group[..place].iter().map(|other| other.run());
        if let Some((twin, ..)) = before.find(|(_, other, _)| other.seed == record.seed) {
            return Err(ReportError::SeedTwice {
                method: record.method.clone(),
                seed: record.seed,
                first_file: twin.to_owned(),
                second_file: file.to_owned(),
            });
        }
    }
    Ok(())
}

/// `rows` as CSV.
pub(crate) fn csv<T: Serialize>(rows: &[T]) -> Result<String, ReportError> {
    let failed = |e: &dyn std::fmt::Display| render("CSV", e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|e| failed(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    String::from_utf8(bytes).map_err(|e| failed(&e))
}

/// Writes `files`, name and content, below `folder`, each atomically; returns their paths.
pub(crate) fn write<N: AsRef<Path>>(
    files: Vec<(N, String)>,
    folder: &Path,
) -> Result<Vec<PathBuf>, WriteError> {
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        write_atomic(&path, text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}
