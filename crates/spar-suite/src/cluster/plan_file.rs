//! The plan as a file, `jobs.jsonl`: one line of JSON for each run, with everything that making
//! it takes.
//!
//! A plan never changes once it is written: its folder is named by a hash of it, so that jobs
//! that wait in a queue mean the runs they were submitted for, whatever is planned later. The
//! same selection on the same data gives the same file.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use spar_core::sha256_hex;

use crate::{Result, RunnerError, Usage, error::io};

/// Name of the file.
pub const FILE: &str = "jobs.jsonl";

/// One run of a plan. Paths are absolute, or relative to the folder that the suite is run in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Its number, which stays the same whatever is done already.
    pub index: usize,
    /// The suite's file.
    pub suite: PathBuf,
    /// Preset of the suite.
    pub preset: String,
    /// What the run is trained and evaluated on.
    pub task: String,
    /// The method.
    pub method: String,
    /// The variant of SPAR, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Training seed.
    pub seed: u64,
    /// What computes the updates: `cpu` or `cuda`.
    pub device: String,
    /// The data.
    pub dataset: PathBuf,
    /// Their SHA-256: other bytes are refused.
    pub sha256: String,
    /// Folder of the run.
    pub out: PathBuf,
    /// Number of the run that has to be done before: its anchor's, where that is in the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<usize>,
    /// SHA-256 over every setting the run is made with: a suite file that was changed
    /// meanwhile is refused.
    pub identity: String,
}

impl Planned {
    /// The run's column of the table: its method, or its variant.
    pub fn column(&self) -> &str {
        self.variant.as_ref().unwrap_or(&self.method)
    }
}

/// The file's text.
///
/// # Errors
/// If a path is not UTF-8.
pub fn text(planned: &[Planned]) -> Result<String> {
    let mut text = String::new();
    for line in planned {
        let json = serde_json::to_string(line).map_err(|_| {
            let paths = [&line.suite, &line.dataset, &line.out];
            let wrong = paths.into_iter().find(|path| path.to_str().is_none());
            let wrong = wrong.unwrap_or(&line.out).display();
            Usage(format!(
                "{wrong}: a plan cannot name it, since it is not UTF-8; rename it"
            ))
        })?;
        text.push_str(&json);
        text.push('\n');
    }
    Ok(text)
}

/// Name of the plan with this text: of its folder, and of its jobs.
pub fn name(text: &str) -> String {
    format!("plan-{}", &sha256_hex(text.as_bytes())[..8])
}

/// Run `index` of the plan at `path`, and its anchor where it waits for one.
///
/// # Errors
/// If the file cannot be read, a line is none of a plan, or there is no such run.
pub fn find(path: &Path, index: usize) -> Result<(Planned, Option<Planned>)> {
    let text = fs::read_to_string(path).map_err(io(format!("cannot read {}", path.display())))?;
    let wrong = |number: usize, why: String| RunnerError::Plan {
        file: path.to_owned(),
        why: format!(
            "line {}: {why}; make the plan again by `spar suite run`",
            number + 1
        ),
    };
    let mut planned: Vec<Planned> = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let line: Planned = serde_json::from_str(line).map_err(|e| wrong(number, e.to_string()))?;
        if !seen.insert(line.index) {
            return Err(wrong(
                number,
                format!("there is a run {} before", line.index),
            ));
        }
        planned.push(line);
    }
    let at = |index: usize| planned.iter().find(|line| line.index == index).cloned();
    let Some(run) = at(index) else {
        let last = planned.iter().map(|line| line.index).max();
        return Err(Usage(match last {
            Some(last) => format!(
                "{}: there is no run {index}; its runs are 0 to {last}, of those with data",
                path.display()
            ),
            None => format!("{}: it holds no run", path.display()),
        })
        .into());
    };
    let anchor = match run.anchor {
        None => None,
        Some(anchor) => Some(at(anchor).ok_or_else(|| RunnerError::Plan {
            file: path.to_owned(),
            why: format!(
                "run {index} waits for run {anchor}, which is not there; make the plan again by \
                 `spar suite run`"
            ),
        })?),
    };
    Ok((run, anchor))
}
