//! Reads the run folders, and refuses those that contradict their place.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use spar_core::{
    ClipsRecord, ColumnSettings, FinishedRun, OpeRecord, RunIdentity, RunRecord, Suite, TaskId,
    clips::Clip, files::in_file, ope::OPE_FILE,
};

use crate::{
    ReportError, ReportRequest,
    alike::may_stand_in_a_row,
    made::{self, Absent},
    results::{Reason, Unit},
};

/// One cell of the request: a task, a method and a seed. In a comparison a task may be one
/// that is none of a suite's, by the name of its data.
pub(crate) struct Run<T = TaskId> {
    pub(crate) task: T,
    pub(crate) method: String,
    pub(crate) seed: u64,
    pub(crate) outcome: Result<Finished, Absent>,
}

/// What a finished run left.
pub(crate) struct Finished {
    pub(crate) file: PathBuf,
    pub(crate) record: RunRecord,
    /// What decided it.
    pub(crate) identity: RunIdentity,
    /// Rows of `eval.csv` by rising update; none if the run kept no such file.
    pub(crate) curve: Vec<CurveRow>,
    /// The policy's value without the simulator, in a report on a suite.
    pub(crate) ope: Option<OpeRecord>,
    /// Films of its evaluation, in a report on a suite.
    pub(crate) clips: Vec<(Clip, Vec<u8>)>,
}

/// What a curve needs of one row of `eval.csv`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct CurveRow {
    /// Of a run that was fine-tuned, steps in the environment.
    #[serde(alias = "step")]
    pub(crate) update: u64,
    pub(crate) mean_return: f64,
    /// The column is there, and empty where no score is known.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) normalized_score: Option<f64>,
}

impl CurveRow {
    /// Its number in `unit`.
    pub(crate) fn value(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::NormalizedScore => self.normalized_score,
            Unit::Return => Some(self.mean_return),
        }
    }
}

/// Every cell of the request, tasks outermost, seeds innermost.
pub(crate) fn read(request: &ReportRequest) -> Result<Vec<Run>, ReportError> {
    request.suite.preset(&request.preset)?;
    distinct("task", &request.tasks)?;
    distinct("method", &request.methods)?;
    distinct("seed", &request.seeds)?;
    let mut runs = Vec::new();
    for &task in &request.tasks {
        let first = runs.len();
        for method in &request.methods {
            for &seed in &request.seeds {
                runs.push(Run {
                    task,
                    method: method.clone(),
                    seed,
                    outcome: read_run(request, task, method, seed)?,
                });
            }
        }
        let row: Vec<&Run> = runs[first..].iter().collect();
        may_stand_in_a_row(task, &row)?;
    }
    Ok(runs)
}

fn distinct<T: PartialEq + ToString>(what: &'static str, names: &[T]) -> Result<(), ReportError> {
    if names.is_empty() {
        return Err(ReportError::Empty(what));
    }
    let twice = |(i, name): (usize, &T)| names[..i].contains(name).then(|| name.to_string());
    match names.iter().enumerate().find_map(twice) {
        Some(name) => Err(ReportError::Duplicate { what, name }),
        None => Ok(()),
    }
}

fn read_run(
    request: &ReportRequest,
    task: TaskId,
    method: &str,
    seed: u64,
) -> Result<Result<Finished, Absent>, ReportError> {
    let folder = request
        .runs
        .join(task.to_string())
        .join(method)
        .join(format!("seed-{seed}"));
    let mut run = read_folder(&folder, task, method, seed)?;
    if let Ok(Finished {
        file,
        record,
        identity,
        ope,
        clips,
        ..
    }) = &mut run
    {
        agrees_with_suite(file, record, &request.suite, &request.preset)?;
        let cell = (task, method, seed);
        if let Some(absent) = made::check(&request.settings, cell, &folder, identity)? {
            return Ok(Err(absent));
        }
        *ope = read_ope(&folder, record)?;
        *clips = ClipsRecord::read(&folder, record)?;
    }
    Ok(run)
}

fn agrees_with_suite(
    file: &Path,
    record: &RunRecord,
    suite: &Suite,
    preset: &str,
) -> Result<(), ReportError> {
    agrees(file, "suite", &record.suite, &suite.name)?;
    agrees(file, "preset", &record.preset, &preset)
}

/// Every run below `runs`, of whatever seed, of the tasks of `suite`, which it says to be
/// of that and of `preset`, and whose `settings` it has.
pub(crate) fn of_suite(
    suite: &Suite,
    preset: &str,
    runs: &Path,
    settings: &[ColumnSettings],
) -> Result<Vec<Run>, ReportError> {
    let mut found = find(runs)?;
    found.retain(|run| suite.tasks.contains(&run.task));
    for run in &mut found {
        let Ok(done) = &run.outcome else { continue };
        agrees_with_suite(&done.file, &done.record, suite, preset)?;
        let folder = done.file.parent().unwrap_or(runs);
        let cell = (run.task, run.method.as_str(), run.seed);
        if let Some(absent) = made::check(settings, cell, folder, &done.identity)? {
            run.outcome = Err(absent);
        }
    }
    for &task in &suite.tasks {
        let row: Vec<&Run> = found.iter().filter(|run| run.task == task).collect();
        may_stand_in_a_row(task, &row)?;
    }
    Ok(found)
}

/// The evaluation without the simulator in `folder`, of the very policy that its run wrote.
fn read_ope(folder: &Path, record: &RunRecord) -> Result<Option<OpeRecord>, ReportError> {
    let file = folder.join(OPE_FILE);
    let Some(found) = OpeRecord::read(&file)? else {
        return Ok(None);
    };
    let written = record.integrity.as_ref();
    let written = written.and_then(|integrity| integrity.files.get("policy.safetensors"));
    if let Some(written) = written {
        agrees(&file, "policy's sha256", &found.policy_sha256, written)?;
    }
    Ok(Some(found))
}

/// The run in `folder`, which says it is of `task`, `method` and `seed`.
pub(crate) fn read_folder(
    folder: &Path,
    task: TaskId,
    method: &str,
    seed: u64,
) -> Result<Result<Finished, Absent>, ReportError> {
    let file = folder.join("DONE");
    let Some(FinishedRun { record, identity }) = FinishedRun::read(folder)? else {
        let reason = if folder.exists() {
            Reason::Unfinished
        } else {
            Reason::NotStarted
        };
        return Ok(Err(reason.into()));
    };
    holds_returns(&file, &record)?;
    agrees(&file, "task", &record.task, &task)?;
    agrees(&file, "method", &record.method, &method)?;
    agrees(&file, "seed", &record.seed, &seed)?;
    let env = record.env.as_deref().unwrap_or("none");
    agrees(&file, "environment", &env, &task.env().name())?;
    Ok(Ok(finished(folder, record, identity)?))
}

fn holds_returns(file: &Path, record: &RunRecord) -> Result<(), ReportError> {
    match record.returns.is_empty() && record.env.is_some() {
        false => Ok(()),
        true => Err(ReportError::Corrupt {
            file: file.to_owned(),
            what: "run record",
            why: "it holds no evaluation returns".to_owned(),
        }),
    }
}

/// What the finished run in `folder` left, whatever it says it is; `None` if there is none.
pub(crate) fn read_any(folder: &Path) -> Result<Option<Finished>, ReportError> {
    let Some(FinishedRun { record, identity }) = FinishedRun::read(folder)? else {
        return Ok(None);
    };
    holds_returns(&folder.join("DONE"), &record)?;
    Ok(Some(finished(folder, record, identity)?))
}

fn finished(
    folder: &Path,
    record: RunRecord,
    identity: RunIdentity,
) -> Result<Finished, ReportError> {
    Ok(Finished {
        curve: read_curve(folder, &record)?,
        ope: None,
        clips: Vec::new(),
        file: folder.join("DONE"),
        record,
        identity,
    })
}

fn agrees(
    file: &Path,
    field: &'static str,
    got: &dyn ToString,
    expected: &dyn ToString,
) -> Result<(), ReportError> {
    let (got, expected) = (got.to_string(), expected.to_string());
    if got == expected {
        return Ok(());
    }
    Err(ReportError::Misplaced {
        file: file.to_owned(),
        field,
        got,
        expected,
    })
}

/// Every run below `runs`, by task, method and seed; folders that are no task's,
/// as a report's, are passed over. A folder that is a finished run's own holds that run.
pub(crate) fn find(runs: &Path) -> Result<Vec<Run>, ReportError> {
    let file = runs.join("DONE");
    if let Some(FinishedRun { record, .. }) = FinishedRun::read(runs)? {
        let RunRecord {
            task, method, seed, ..
        } = record;
        let Ok(task) = task.parse::<TaskId>() else {
            return Err(ReportError::NoTask { file, task });
        };
        let outcome = read_folder(runs, task, &method, seed)?;
        return Ok(vec![Run {
            task,
            method,
            seed,
            outcome,
        }]);
    }
    let found = laid_out(runs)?;
    if found.is_empty() {
        return Err(ReportError::NoRuns(runs.to_owned()));
    }
    Ok(found)
}

/// Every run of `<runs>/<task>/<method>/seed-<n>`; none where no folder is a task's.
pub(crate) fn laid_out(runs: &Path) -> Result<Vec<Run>, ReportError> {
    let mut found = Vec::new();
    for (task, folder) in folders(runs)? {
        let Ok(task) = task.parse::<TaskId>() else {
            continue;
        };
        for (method, folder) in folders(&folder)? {
            let mut seeds: Vec<(u64, PathBuf)> = folders(&folder)?
                .into_iter()
                .filter_map(|(name, folder)| {
                    Some((name.strip_prefix("seed-")?.parse().ok()?, folder))
                })
                .collect();
            seeds.sort_unstable();
            for (seed, folder) in seeds {
                found.push(Run {
                    task,
                    method: method.clone(),
                    seed,
                    outcome: read_folder(&folder, task, &method, seed)?,
                });
            }
        }
    }
    Ok(found)
}

/// The folders in `folder`, by name.
fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, ReportError> {
    let unreadable = |e| ReportError::Read(in_file(e, folder));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.path().is_dir() {
            found.push((
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            ));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn read_if_there(file: &Path) -> Result<Option<Vec<u8>>, ReportError> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ReportError::Read(in_file(e, file))),
    }
}

fn read_curve(folder: &Path, record: &RunRecord) -> Result<Vec<CurveRow>, ReportError> {
    let name = "eval.csv";
    let file = folder.join(name);
    let bytes = read_if_there(&file)?;
    record.check_file(folder, name, bytes.as_deref())?;
    let Some(bytes) = bytes else {
        return Ok(Vec::new());
    };
    let corrupt = |why: String| ReportError::Corrupt {
        file: file.clone(),
        what: "learning curve",
        why,
    };
    let rows = csv::Reader::from_reader(bytes.as_slice())
        .into_deserialize()
        .collect::<Result<Vec<CurveRow>, csv::Error>>()
        .map_err(|e| corrupt(e.to_string()))?;
    for row in &rows {
        let numbers = [
            ("score", row.normalized_score),
            ("return", Some(row.mean_return)),
        ];
        let wrong = numbers
            .into_iter()
            .find(|(_, n)| n.is_some_and(|n| !n.is_finite()));
        if let Some((what, Some(number))) = wrong {
            return Err(corrupt(format!(
                "the {what} at update {} is {number}, expected a finite number",
                row.update
            )));
        }
    }
    if let Some(pair) = rows.windows(2).find(|w| w[0].update >= w[1].update) {
        return Err(corrupt(format!(
            "update {} follows update {}, expected rising updates",
            pair[1].update, pair[0].update
        )));
    }
    Ok(rows)
}
