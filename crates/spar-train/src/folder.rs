//! A run's folder: what is in it and how it stays whole.
//!
//! ```text
//! spec.json              what decides the run
//! metrics.jsonl          one line per logged update
//! eval.csv               learning curve
//! checkpoints/latest.safetensors
//! policy.safetensors     the last checkpoint's policy
//! returns.csv            every return of the final evaluation
//! DONE                   the RunRecord; its presence says the run is finished
//! ```
//!
//! Metrics and curve are kept inside the checkpoint's moment: when a run goes
//! on from a checkpoint, lines written after it are dropped and written again.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use spar_core::{RunRecord, files::in_file, write_atomic};
use spar_eval::Episode;
use spar_nn::State;

use crate::{
    error::TrainError,
    spec::{Method, RunSpec},
};

/// One point of the learning curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, serde::Deserialize)]
pub(crate) struct CurvePoint {
    pub(crate) update: u64,
    pub(crate) episodes: usize,
    pub(crate) mean_return: f64,
    pub(crate) normalized_score: Option<f64>,
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
    _lock: File,
}

impl Folder {
    /// Opens or makes the folder and refuses another run's.
    pub(crate) fn open(path: &Path, spec: &RunSpec) -> Result<Self, TrainError> {
        fs::create_dir_all(path).map_err(|e| in_file(e, path))?;
        let lock_path = path.join(".lock");
        let lock = File::create(&lock_path).map_err(|e| in_file(e, &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TrainError::Busy(path.to_owned())),
            Err(TryLockError::Error(e)) => return Err(in_file(e, &lock_path).into()),
        }
        let folder = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        let spec_path = folder.file("spec.json");
        if spec_path.exists() {
            let there: RunSpec = read_json(&spec_path)?;
            if let Some((field, there, here)) = spec.difference(&there) {
                return Err(TrainError::OtherRun {
                    folder: path.to_owned(),
                    field,
                    there,
                    here,
                });
            }
        }
        Ok(folder)
    }

    /// Makes the folder `spec`'s, whose run goes on from `checkpoint`: it is
    /// not finished any more.
    pub(crate) fn begin(
        &self,
        spec: &RunSpec,
        checkpoint: Option<&State>,
    ) -> Result<(), TrainError> {
        let there = checkpoint.and_then(|c| c.get_count(spec.method.counter()).ok());
        if let Some(there) = there.filter(|&there| there > spec.updates()) {
            return Err(TrainError::Beyond {
                folder: self.path.clone(),
                there,
                here: spec.updates(),
            });
        }
        write_json(&self.file("spec.json"), spec)?;
        let done = self.file("DONE");
        match fs::remove_file(&done) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(in_file(e, &done).into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn checkpoint(&self) -> PathBuf {
        self.file("checkpoints/latest.safetensors")
    }

    /// The record of this run if it is already finished as `spec` wants it.
    pub(crate) fn finished(&self, spec: &RunSpec) -> Result<Option<RunRecord>, TrainError> {
        let path = self.file("DONE");
        if !path.exists() {
            return Ok(None);
        }
        let record: RunRecord = read_json(&path)?;
        let own = match spec.method {
            Method::Bc => record.anchor_updates,
            Method::Spar | Method::Baseline(_) => record.updates,
        };
        let same = own == spec.updates() && record.returns.len() == spec.final_episodes;
        Ok(same.then_some(record))
    }

    /// The last checkpoint, if there is one.
    pub(crate) fn read_checkpoint(&self) -> Result<Option<State>, TrainError> {
        let path = self.checkpoint();
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(State::read(&path)?))
    }

    pub(crate) fn write_checkpoint(&self, state: &State) -> Result<(), TrainError> {
        Ok(write_atomic(&self.checkpoint(), &state.to_bytes()?)?)
    }

    pub(crate) fn write_returns(&self, episodes: &[Episode]) -> Result<(), TrainError> {
        let rows = episodes.iter().enumerate().map(|(episode, e)| ReturnRow {
            episode,
            ret: e.ret,
            length: e.length,
            terminated: e.terminated,
        });
        self.write_csv("returns.csv", rows)
    }

    pub(crate) fn write_curve(&self, curve: &[CurvePoint]) -> Result<(), TrainError> {
        self.write_csv("eval.csv", curve.iter())
    }

    fn write_csv(
        &self,
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
        Ok(write_atomic(&path, &bytes)?)
    }

    pub(crate) fn write_done(&self, record: &RunRecord) -> Result<(), TrainError> {
        write_json(&self.file("DONE"), record)
    }
}

/// Writes `value` as indented JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    Ok(write_atomic(path, text.as_bytes())?)
}

/// Reads a JSON file of ours.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = fs::read_to_string(path).map_err(|e| in_file(e, path))?;
    serde_json::from_str(&text).map_err(|e| TrainError::File {
        file: path.to_owned(),
        why: format!("not what a run writes there: {e}; remove the run's folder to start again"),
    })
}
