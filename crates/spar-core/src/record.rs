//! What a finished run says of itself: the content of its `DONE` file, written by
//! `spar-train` and read by `spar-report`, `xtask` and the next `spar train`, all through
//! [`FinishedRun::read`]: a record is believed only beside the settings it was made with.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    env::EnvId,
    files::in_file,
    id::DatasetIdentity,
    identity::{RunIdentity, RunStamp},
    sha256_hex,
};

/// One finished run: a cell of the table for one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Suite the run belongs to, or `"none"` for a single `spar train`.
    pub suite: String,
    /// Preset of the suite, or `"none"`.
    pub preset: String,
    /// Task id as in `hopper-medium-replay`, or the id of data that are no task's.
    pub task: String,
    /// `bc` or `spar`.
    pub method: String,
    /// Training seed.
    pub seed: u64,
    /// Environment the policy was evaluated in, which need not be known in the program that
    /// reads the record; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The data it was trained on.
    pub dataset: DatasetIdentity,
    /// Undiscounted returns of the last checkpoint, one per evaluation episode; absent
    /// without an environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<f64>,
    /// How the last checkpoint did on the episodes held out of its data; absent where it
    /// was evaluated in an environment, and where the data had no episode to hold out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Seed shared by the evaluation episodes of all training seeds; without an
    /// environment, of which episodes are held out.
    pub eval_seed: u64,
    /// Gradient updates of the method's own networks (SPAR's, after its anchor's).
    pub updates: u64,
    /// Gradient updates of the behaviour-cloning anchor.
    pub anchor_updates: u64,
    /// Wall-clock seconds of training, evaluations included, over all resumes.
    pub wall_s: f64,
    /// Commit of the program, `unknown` outside a checkout; `-dirty` if changed.
    pub commit: String,
    /// Version of the physics library, or `none` for a pure-Rust environment.
    pub mujoco_version: String,
    /// Threads used by the run.
    pub threads: usize,
    /// What computed the updates: `cpu` or `cuda`.
    #[serde(default = "cpu")]
    pub device: String,
    /// The command that makes this run again.
    pub command: String,
    /// How the run was fine-tuned online, whose returns are those after it; absent where it
    /// was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetuned: Option<Finetuned>,
    /// What holds the record to its run and to itself; absent in records from before
    /// there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<Integrity>,
}

/// What came between an offline policy and the policy of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finetuned {
    /// Steps in the environment.
    pub steps: u64,
    /// Gradient updates, after those offline.
    pub updates: u64,
    /// Undiscounted returns of the offline policy, in the episodes of the record's.
    pub offline_returns: Vec<f64>,
}

/// A policy beside the episodes of its data that it was not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Mean squared difference between the deterministic policy's actions and the data's,
    /// over rows and action components, with actions scaled to `[-1, 1]` by their bounds.
    pub mse: f64,
    /// Episodes held out.
    pub episodes: usize,
    /// Their rows.
    pub rows: usize,
}

/// What holds a record to its settings, to the files beside it and to its own text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Integrity {
    /// Settings, seed and data the run was made with.
    pub run: RunStamp,
    /// SHA-256 of the files the run wrote before its record, by name.
    pub files: BTreeMap<String, String>,
    /// SHA-256 of the record, written as JSON on one line with this field empty.
    pub sha256: String,
}

/// What computed the updates of records from before there was a choice.
fn cpu() -> String {
    "cpu".to_owned()
}

/// A finished run as its folder shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedRun {
    /// The content of `DONE`.
    pub record: RunRecord,
    /// What the `spec.json` beside it says of the run.
    pub identity: RunIdentity,
}

/// Why a record is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file is no run record or no settings.
    #[error("{file}: not a valid {what}: {why}; remove the run's folder and run it again")]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// `run record` or `settings of a run`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The file is no evaluation without a simulator.
    #[error("{file}: not a valid record of `spar ope`: {why}; remove it and run `spar ope` again")]
    Ope {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The films beside a run are not its own.
    #[error(
        "{file}: not the films of this run: {why}; remove the folder and run `spar render` again"
    )]
    Clips {
        /// Their record.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There are no settings beside the record.
    #[error(
        "{done}: there is no spec.json beside it, so that nothing says how the run was made; \
         copy it from the run too, or remove the folder to train the run again"
    )]
    NoSpec {
        /// The record's file.
        done: PathBuf,
    },
    /// The record and the settings are of two runs.
    #[error(
        "{done}: its {field} is {record}, but {spec} in the spec.json beside it: the two files are \
         of different runs; copy both from one run, or remove the folder to train it again"
    )]
    Disagree {
        /// The record's file.
        done: PathBuf,
        /// What differs.
        field: &'static str,
        /// Its value in the record.
        record: String,
        /// Its value in the settings.
        spec: String,
    },
    /// A file is not the one the run wrote.
    #[error(
        "{file}: its sha256 is {got}, but the run wrote {expected}; copy it from the run again, \
         or have the run evaluated again: remove {done} and repeat its command"
    )]
    Changed {
        /// The file.
        file: PathBuf,
        /// The record's file.
        done: PathBuf,
        /// The hash of what is there; `absent` without a file.
        got: String,
        /// The hash the record has.
        expected: String,
    },
}

impl FinishedRun {
    /// The finished run in `folder`; `None` if the folder holds no `DONE`.
    ///
    /// # Errors
    /// If `DONE` or `spec.json` cannot be read, if either is missing beside the other,
    /// and if they are not of the same run.
    pub fn read(folder: &Path) -> Result<Option<Self>, RecordError> {
        let done = folder.join("DONE");
        let Some(text) = read_if_there(&done)? else {
            return Ok(None);
        };
        let record: RunRecord =
            serde_json::from_slice(&text).map_err(|e| RecordError::Corrupt {
                file: done.clone(),
                what: "run record",
                why: e.to_string(),
            })?;
        record.check_itself(&done)?;
        let file = folder.join("spec.json");
        let Some(text) = read_if_there(&file)? else {
            return Err(RecordError::NoSpec { done });
        };
        let corrupt = |e: serde_json::Error| RecordError::Corrupt {
            file: file.clone(),
            what: "settings of a run",
            why: e.to_string(),
        };
        let spec: Value = serde_json::from_slice(&text).map_err(corrupt)?;
        let identity = RunIdentity::of(&spec, record.anchor_updates > 0).map_err(corrupt)?;
        record.check_spec(&done, &spec, &identity)?;
        Ok(Some(Self { record, identity }))
    }
}

pub(crate) fn read_if_there(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(in_file(e, file)),
    }
}

impl RunRecord {
    /// The record with [`Integrity`], of the run `run` that wrote `files`, their hashes by
    /// name.
    ///
    /// # Errors
    /// If the record cannot be written as JSON.
    pub fn sealed(
        mut self,
        run: RunStamp,
        files: BTreeMap<String, String>,
    ) -> Result<Self, serde_json::Error> {
        self.integrity = Some(Integrity {
            run,
            files,
            sha256: String::new(),
        });
        let sha256 = self.own_sha256()?;
        if let Some(integrity) = &mut self.integrity {
            integrity.sha256 = sha256;
        }
        Ok(self)
    }

    fn own_sha256(&self) -> Result<String, serde_json::Error> {
        let mut plain = self.clone();
        if let Some(integrity) = &mut plain.integrity {
            integrity.sha256.clear();
        }
        Ok(sha256_hex(serde_json::to_string(&plain)?.as_bytes()))
    }

    /// Refuses a record whose text is not the one that was written.
    fn check_itself(&self, done: &Path) -> Result<(), RecordError> {
        let Some(integrity) = &self.integrity else {
            return Ok(());
        };
        let corrupt = |why: String| RecordError::Corrupt {
            file: done.to_owned(),
            what: "run record",
            why,
        };
        let got = self.own_sha256().map_err(|e| corrupt(e.to_string()))?;
        if got == integrity.sha256 {
            return Ok(());
        }
        Err(corrupt(format!(
            "its content has been changed: sha256 {got}, expected {}",
            integrity.sha256
        )))
    }

    /// Refuses a record of another run than the one `spec`, whose identity is `identity`,
    /// describes.
    fn check_spec(
        &self,
        done: &Path,
        spec: &Value,
        identity: &RunIdentity,
    ) -> Result<(), RecordError> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let method = spec.get("variant").unwrap_or(&spec["method"]);
        let dataset = serde_json::to_value(&self.dataset).unwrap_or_default();
        let own = |key: &str| text(&spec["config"][key]);
        let mut fields = vec![
            ("suite", self.suite.clone(), text(&spec["suite"])),
            ("preset", self.preset.clone(), text(&spec["preset"])),
            ("task", self.task.clone(), text(&spec["task"])),
            ("method", self.method.clone(), text(method)),
            ("seed", self.seed.to_string(), text(&spec["seed"])),
            (
                "environment",
                self.env.clone().unwrap_or_else(|| "null".to_owned()),
                text(&spec["env"]),
            ),
            ("data set", dataset.to_string(), spec["dataset"].to_string()),
            ("device", self.device.clone(), text(&spec["device"])),
            (
                "evaluation seed",
                self.eval_seed.to_string(),
                text(&spec["eval_seed"]),
            ),
            (
                "number of final episodes",
                self.returns.len().to_string(),
                text(&spec["final_episodes"]),
            ),
        ];
        if spec["device"].is_null() {
            fields.retain(|(field, ..)| *field != "device");
        }
        if self.method != "bc" {
            fields.push((
                "number of updates",
                self.updates.to_string(),
                own("updates"),
            ));
        }
        if self.anchor_updates > 0 {
            let there = text(&spec["config"]["anchor"]["updates"]);
            let number = self.anchor_updates.to_string();
            fields.push(("number of anchor updates", number, there));
        }
        let steps = self.finetuned.as_ref().map(|finetuned| finetuned.steps);
        if steps.is_some() || !spec["finetune"].is_null() {
            let steps = steps.map_or_else(|| "null".to_owned(), |steps| steps.to_string());
            let there = text(&spec["finetune"]["steps"]);
            fields.push(("number of steps in the environment", steps, there));
        }
        if let Some(integrity) = &self.integrity {
            let stamp = identity.stamp();
            fields.push((
                "hash of the settings",
                integrity.run.settings_sha256.clone(),
                stamp.settings_sha256,
            ));
        }
        match fields.into_iter().find(|(_, record, spec)| record != spec) {
            None => Ok(()),
            Some((field, record, spec)) => Err(RecordError::Disagree {
                done: done.to_owned(),
                field,
                record,
                spec,
            }),
        }
    }

    /// Refuses bytes that are not what the run wrote to the file `name` of `folder`;
    /// `None` stands for no file. A record without [`Integrity`] takes everything.
    ///
    /// # Errors
    /// If the hashes differ.
    pub fn check_file(
        &self,
        folder: &Path,
        name: &str,
        bytes: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        let files = self.integrity.as_ref().map(|integrity| &integrity.files);
        let Some(expected) = files.and_then(|files| files.get(name)) else {
            return Ok(());
        };
        let got = bytes.map_or_else(|| "absent".to_owned(), sha256_hex);
        if got == *expected {
            return Ok(());
        }
        Err(RecordError::Changed {
            file: folder.join(name),
            done: folder.join("DONE"),
            got,
            expected: expected.clone(),
        })
    }

    /// Mean of [`Self::returns`]; NaN without any.
    pub fn mean_return(&self) -> f64 {
        self.returns.iter().sum::<f64>() / self.returns.len() as f64
    }

    /// D4RL's normalized score of the mean return, in percent; `None` where
    /// the environment or the data have no reference scores, and without an environment.
    pub fn normalized_score(&self) -> Option<f64> {
        self.dataset
            .normalized_score(self.known_env()?, self.mean_return())
    }

    /// Normalized score of the offline policy that the run was fine-tuned from; `None` where
    /// there is none, or no reference scores.
    pub fn offline_score(&self) -> Option<f64> {
        let returns = &self.finetuned.as_ref()?.offline_returns;
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        self.dataset.normalized_score(self.known_env()?, mean)
    }

    /// The environment the policy was evaluated in, if it is known in this program.
    pub fn known_env(&self) -> Option<EnvId> {
        EnvId::named(self.env.as_deref()?)
    }
}
