//! Slurm by its commands, which are all it promises to keep.

use std::{
    io::ErrorKind,
    process::{Command, Stdio},
};

use super::{arrays::Array, script::Scripts};
use crate::{Result, RunnerError, Usage};

/// Jobs of one array where nothing else is configured: Slurm's `MaxArraySize` is 1001, one
/// more than the largest number of a job.
pub(super) const USUAL_ARRAY: usize = 1000;

/// What `words` print.
fn ask(program: &'static str, words: &[String]) -> Result<String> {
    let failed = |said: String| RunnerError::Slurm { program, said };
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed(
            "it is not installed here; call this on a login node, or give --engine print"
                .to_owned(),
        ),
        _ => failed(error.to_string()),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().rfind(|line| !line.trim().is_empty());
        return Err(failed(format!(
            "{}: {}",
            output.status,
            line.unwrap_or("it said nothing").trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Jobs that one array may have.
pub(super) fn array_size() -> Result<usize> {
    let said = ask("scontrol", &words(&["show", "config"]))?;
    let size = said.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "MaxArraySize").then(|| value.trim().parse::<usize>().ok())?
    });
    // The largest number of a job is one less.
    Ok(size.map_or(USUAL_ARRAY, |size| size.saturating_sub(1).max(1)))
}

/// Refuses to submit a plan whose jobs are in the queue: each run would be made twice.
pub(super) fn refuse_twice(plan: &str) -> Result<()> {
    let said = ask("squeue", &words(&["--me", "--noheader", "--format=%A %j"]))?;
    let ours = format!("spar-{plan}-");
    let mut ids: Vec<&str> = said
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(_, name)| name.trim().starts_with(&ours))
        .map(|(id, _)| id)
        .collect();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    Err(Usage(format!(
        "{plan} is in Slurm's queue already, as {}; wait for it, or `scancel {}` first",
        match ids.as_slice() {
            [id] => format!("job {id}"),
            ids => format!("{} jobs from {}", ids.len(), ids[0]),
        },
        ids.join(" ")
    ))
    .into())
}

/// What was submitted; cancelled again if not all of it could be.
#[derive(Default)]
pub(super) struct Submitted {
    ids: Vec<String>,
    kept: bool,
}

impl Submitted {
    /// Submits `array`, after those that it waits for; returns its id.
    pub(super) fn array(&mut self, scripts: &Scripts<'_>, array: &Array) -> Result<String> {
        let after = array.after.and_then(|place| self.ids.get(place));
        let words = scripts.array_words(array, after.map(String::as_str))?;
        self.submit(&words)
    }

    /// Submits the report; returns its id.
    pub(super) fn report(&mut self, scripts: &Scripts<'_>) -> Result<String> {
        let words = scripts.report_words(&self.ids)?;
        self.submit(&words)
    }

    /// Everything was submitted.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }

    fn submit(&mut self, words: &[String]) -> Result<String> {
        let said = ask("sbatch", words)?;
        // With many clusters, `id;cluster`.
        let id = said.trim().split(';').next().unwrap_or_default();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            let said = format!("it printed `{}`, which is no job's number", said.trim());
            return Err(RunnerError::Slurm {
                program: "sbatch",
                said,
            });
        }
        self.ids.push(id.to_owned());
        Ok(id.to_owned())
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        if !self.kept && !self.ids.is_empty() {
            // What it says is less than the error that led here.
            let _ = ask("scancel", &self.ids);
        }
    }
}

/// Has the job this process is start again, with a new allotment of time.
pub(super) fn requeue(job: &str) -> Result<()> {
    ask("scontrol", &words(&["requeue", job])).map(drop)
}
