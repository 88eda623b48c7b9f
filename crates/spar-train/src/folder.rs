//! A run's folder: what is in it and how it stays whole.
//!
//! ```text
//! spec.json              what decides the run
//! metrics.jsonl          one line per logged update, as soon as there is one
//! events.out.tfevents.*  the same for TensorBoard (`sink.rs`)
//! eval.csv               learning curve
//! checkpoints/latest.safetensors
//! policy.safetensors     the last checkpoint's policy
//! returns.csv            every return of the final evaluation
//! validation.csv         without an environment: error on the episodes held out, a curve
//! held_out.csv           without an environment: those episodes, each with its final error
//! DONE                   the RunRecord; its presence says the run is finished
//! ```
//!
//! The checkpoint holds the lines of the log, the curve and the spec as they were at its
//! moment: a run that is resumed writes those files again from it, whatever has become
//! of them. Spec, checkpoint, log and record each say whose they are, and `DONE` has the
//! hashes of the rest: files of two runs in one folder are refused, not mixed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use spar_core::{
    Difference, FinishedRun, FolderLock, RunIdentity, RunRecord, Scope, files::in_file, partial,
    replace_file, sha256_hex,
};
use spar_data::HeldOut;
use spar_eval::Episode;
use spar_nn::{State, StateError};

use crate::{error::TrainError, fresh::Fresh, spec::RunSpec};

/// The files whose hashes `DONE` has.
const HASHED: [&str; 6] = [
    "metrics.jsonl",
    "eval.csv",
    "policy.safetensors",
    "returns.csv",
    "validation.csv",
    "held_out.csv",
];

/// The last checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoints/latest.safetensors";

/// The checkpoint's entry that holds the run's spec.
const SPEC: &str = "spec";

/// One point of the learning curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, serde::Deserialize)]
pub(crate) struct CurvePoint {
    pub(crate) update: u64,
    pub(crate) episodes: usize,
    pub(crate) mean_return: f64,
    pub(crate) normalized_score: Option<f64>,
}

/// A row of `eval.csv` of a run that is fine-tuned: the first, at step 0, is the offline
/// policy's.
#[derive(Serialize)]
struct OnlineRow {
    step: u64,
    episodes: usize,
    mean_return: f64,
    normalized_score: Option<f64>,
}

impl OnlineRow {
    fn of(point: &CurvePoint) -> Self {
        Self {
            step: point.update,
            episodes: point.episodes,
            mean_return: point.mean_return,
            normalized_score: point.normalized_score,
        }
    }
}

/// One point of the validation curve of a run without an environment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, serde::Deserialize)]
pub(crate) struct ValidationPoint {
    pub(crate) update: u64,
    pub(crate) validation_mse: f64,
}

/// An episode held out, and the last policy's error on it.
#[derive(Serialize)]
struct HeldOutRow {
    episode: usize,
    first_row: usize,
    rows: usize,
    validation_mse: f64,
}

#[derive(Serialize)]
struct ReturnRow {
    episode: usize,
    #[serde(rename = "return")]
    ret: f64,
    length: usize,
    terminated: bool,
}

/// The open, locked folder of one run.
pub(crate) struct Folder {
    path: PathBuf,
    /// Before the lock: what it takes away goes while the folder is locked.
    fresh: Fresh,
    lock: FolderLock,
    /// Hashes of the files written, by name.
    written: BTreeMap<String, String>,
}

impl Folder {
    /// Opens or makes the folder, removes what a killed process left half-written, and
    /// refuses another run's. Until the folder is the run's ([`Self::begin`]) nothing that
    /// this made stays: a run that is refused leaves no folder that would block the next.
    pub(crate) fn open(path: &Path, spec: &RunSpec) -> Result<Self, TrainError> {
        let checkpoints = path.join("checkpoints");
        let mut fresh = Fresh::make(path, &checkpoints)?;
        let Some(lock) = FolderLock::take(path)? else {
            // Whoever holds the lock has the folder, whoever made it.
            fresh.keep();
            return Err(TrainError::Busy(path.to_owned()));
        };
        partial::remove_left(path);
        partial::remove_left(&checkpoints);
        let folder = Self {
            path: path.to_owned(),
            fresh,
            lock,
            written: BTreeMap::new(),
        };
        let spec_path = folder.file("spec.json");
        if spec_path.exists() {
            let there: RunSpec = read_json(&spec_path)?;
            return match first(spec.differences(&there)?) {
                None => Ok(folder),
                Some(difference) => Err(folder.other_run("spec.json", difference)),
            };
        }
        let others = ["DONE", CHECKPOINT];
        let others = others.iter().chain(&HASHED);
        match others.into_iter().find(|name| folder.file(name).exists()) {
            None => Ok(folder),
            Some(&file) => Err(TrainError::Nobodys {
                folder: path.to_owned(),
                file,
            }),
        }
    }

    fn other_run(&self, file: &'static str, difference: Difference) -> TrainError {
        TrainError::OtherRun {
            folder: self.path.clone(),
            file,
            difference: Box::new(difference),
        }
    }

    /// Refuses a run that is shorter than its `checkpoint` already is.
    pub(crate) fn check_length(
        &self,
        spec: &RunSpec,
        checkpoint: Option<&State>,
    ) -> Result<(), TrainError> {
        let there = checkpoint.and_then(|c| c.get_count(spec.counter()).ok());
        if let Some(there) = there.filter(|&there| there > spec.updates()) {
            return Err(TrainError::Beyond {
                folder: self.path.clone(),
                what: match spec.finetune {
                    Some(_) => "steps",
                    None => "updates",
                },
                there,
                here: spec.updates(),
            });
        }
        Ok(())
    }

    /// Makes the folder `spec`'s, which nothing is left to be said against: its run is not
    /// finished any more.
    pub(crate) fn begin(&mut self, spec: &RunSpec) -> Result<(), TrainError> {
        let done = self.file("DONE");
        match fs::remove_file(&done) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(in_file(e, &done).into()),
            _ => {}
        }
        self.write_json("spec.json", spec)?;
        self.fresh.keep();
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes the file `name`, unless the folder is not the one that was opened any
    /// more: one that was removed is not made again, without its spec and its lock.
    pub(crate) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let vanished = || TrainError::Vanished(self.path.clone());
        if !self.lock.holds() {
            return Err(vanished());
        }
        match replace_file(&self.file(name), bytes) {
            Err(_) if !self.lock.holds() => return Err(vanished()),
            written => written?,
        }
        self.written.insert(name.to_owned(), sha256_hex(bytes));
        Ok(())
    }

    /// Adds `text` to the file `name`, which [`Self::write`] wrote; false if it is not there.
    pub(crate) fn append(&self, name: &str, text: &str) -> Result<bool, TrainError> {
        let path = self.file(name);
        let file = File::options().append(true).open(&path);
        match file.and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(in_file(e, &path).into()),
        }
    }

    /// Writes `value` as indented JSON.
    pub(crate) fn write_json(
        &mut self,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), TrainError> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.write(name, text.as_bytes())
    }

    /// The record of this run if it is already finished as `spec` wants it. One whose
    /// files have changed or gone since is to be finished again from its last
    /// checkpoint, which has to be there.
    pub(crate) fn finished(&self, spec: &RunSpec) -> Result<Option<RunRecord>, TrainError> {
        let Some(run) = FinishedRun::read(&self.path)? else {
            return Ok(None);
        };
        let here = spec.identity()?;
        if let Some(difference) = first(here.differences(&run.identity, Scope::Resume)) {
            return Err(self.other_run("spec.json", difference));
        }
        if !here.differences(&run.identity, Scope::Whole).is_empty() {
            return Ok(None);
        }
        for name in HASHED {
            let bytes = match fs::read(self.file(name)) {
                Ok(bytes) => Some(bytes),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(in_file(e, &self.file(name)).into()),
            };
            let checked = run.record.check_file(&self.path, name, bytes.as_deref());
            match checked {
                Ok(()) => {}
                Err(_) if self.file(CHECKPOINT).exists() => return Ok(None),
                Err(changed) => return Err(changed.into()),
            }
        }
        Ok(Some(run.record))
    }

    /// The last checkpoint, if there is one, which has to be of the run `spec` or one
    /// that it continues.
    pub(crate) fn read_checkpoint(&self, spec: &RunSpec) -> Result<Option<State>, TrainError> {
        let file = self.file(CHECKPOINT);
        if !file.exists() {
            return Ok(None);
        }
        let state = State::read(&file).map_err(unresumable)?;
        match first(spec.differences(&spec_of(&state, &file)?)?) {
            None => Ok(Some(state)),
            Some(difference) => Err(self.other_run(CHECKPOINT, difference)),
        }
    }

    /// Writes `state` as the last checkpoint of the run `spec`.
    pub(crate) fn write_checkpoint(
        &mut self,
        mut state: State,
        spec: &RunSpec,
    ) -> Result<(), TrainError> {
        let text = serde_json::to_string(spec).map_err(io::Error::from)?;
        state.metadata.insert(SPEC.to_owned(), text);
        self.write(CHECKPOINT, &state.to_bytes()?)
    }

    pub(crate) fn write_returns(&mut self, episodes: &[Episode]) -> Result<(), TrainError> {
        let rows = episodes.iter().enumerate().map(|(episode, e)| ReturnRow {
            episode,
            ret: e.ret,
            length: e.length,
            terminated: e.terminated,
        });
        self.write_csv("returns.csv", rows)
    }

    /// Writes the learning curve, over steps if it is one of fine-tuning.
    pub(crate) fn write_curve(
        &mut self,
        curve: &[CurvePoint],
        online: bool,
    ) -> Result<(), TrainError> {
        if online {
            return self.write_csv("eval.csv", curve.iter().map(OnlineRow::of));
        }
        self.write_csv("eval.csv", curve.iter())
    }

    pub(crate) fn write_validation(&mut self, curve: &[ValidationPoint]) -> Result<(), TrainError> {
        self.write_csv("validation.csv", curve.iter())
    }

    /// Writes which episodes are held out, and the error on each.
    pub(crate) fn write_held_out(
        &mut self,
        episodes: &[HeldOut],
        errors: &[f64],
    ) -> Result<(), TrainError> {
        let rows = episodes
            .iter()
            .zip(errors)
            .map(|(held, &error)| HeldOutRow {
                episode: held.episode,
                first_row: held.rows.start,
                rows: held.rows.len(),
                validation_mse: error,
            });
        self.write_csv("held_out.csv", rows)
    }

    fn write_csv(
        &mut self,
        name: &str,
        rows: impl Iterator<Item = impl Serialize>,
    ) -> Result<(), TrainError> {
        let path = self.file(name);
        let wrong = |e: &dyn std::fmt::Display| TrainError::File {
            file: path.clone(),
            why: e.to_string(),
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in rows {
            writer.serialize(row).map_err(|e| wrong(&e))?;
        }
        let bytes = writer.into_inner().map_err(|e| wrong(&e))?;
        self.write(name, &bytes)
    }

    /// Writes `record`, with what holds it to the run `spec` and to the files written
    /// before, and returns it so.
    pub(crate) fn write_done(
        &mut self,
        record: RunRecord,
        spec: &RunSpec,
    ) -> Result<RunRecord, TrainError> {
        let mut files = self.written.clone();
        files.retain(|name, _| HASHED.contains(&name.as_str()));
        let stamp = spec.identity()?.stamp();
        let record = record.sealed(stamp, files).map_err(io::Error::from)?;
        self.write_json("DONE", &record)?;
        Ok(record)
    }
}

/// The parameters of the anchor that the finished run `bc` in `folder` trained, where
/// that is the anchor that `spec` would train.
pub(crate) fn read_anchor(folder: &Path, spec: &RunSpec) -> Result<State, TrainError> {
    let unfit = |why: String| TrainError::Anchor {
        folder: folder.to_owned(),
        why,
    };
    if !folder.is_dir() {
        let why = match folder.exists() {
            true => "it is a file, expected the folder of a run",
            false => "there is no such folder",
        };
        return Err(unfit(why.to_owned()));
    }
    let Some(theirs) = FinishedRun::read(folder)? else {
        return Err(unfit("it is not finished".to_owned()));
    };
    let here = RunSpec {
        method: crate::spec::Method::Bc,
        variant: None,
        ..spec.clone()
    };
    let here = here.identity()?;
    let file = folder.join(CHECKPOINT);
    let fits = |there: &RunIdentity| match first(here.differences(there, Scope::Anchor)) {
        None => Ok(()),
        Some(Difference { field, there, .. }) if field == "method" => {
            Err(unfit(format!("its method is {there}, not bc")))
        }
        Some(difference) => Err(unfit(format!("its {difference}"))),
    };
    fits(&theirs.identity)?;
    let state = State::read(&file).map_err(|e| unfit(e.to_string()))?;
    fits(&spec_of(&state, &file)?.identity()?)?;
    Ok(state)
}

/// The error of a checkpoint that was to be resumed.
pub(crate) fn unresumable(error: StateError) -> TrainError {
    match error {
        StateError::Corrupt { .. } => TrainError::Unresumable(error),
        error => error.into(),
    }
}

/// The spec that a checkpoint was written with.
pub(crate) fn spec_of(state: &State, file: &Path) -> Result<RunSpec, TrainError> {
    let text = state.metadata.get(SPEC).map_or("", String::as_str);
    serde_json::from_str(text).map_err(|e| TrainError::File {
        file: file.to_owned(),
        why: format!("it does not say which run it is of: {e}"),
    })
}

fn first(differences: Vec<Difference>) -> Option<Difference> {
    differences.into_iter().next()
}

/// Reads a JSON file of ours.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = fs::read_to_string(path).map_err(|e| in_file(e, path))?;
    serde_json::from_str(&text).map_err(|e| TrainError::File {
        file: path.to_owned(),
        why: format!("not what a run writes there: {e}; remove the run's folder to start again"),
    })
}
