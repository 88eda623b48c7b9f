//! What a run says of its updates: the lines of `metrics.jsonl`, and the file a
//! diverged run leaves.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use spar_baselines::Metrics;
use spar_core::RunStamp;
use spar_nn::{State, StateError};

use super::{LOG_EVERY, Session};
use crate::{
    control::Phase,
    error::TrainError,
    folder::{CurvePoint, ValidationPoint},
    trainer::Trainer,
};

/// One line of `metrics.jsonl`.
#[derive(Serialize)]
struct Line {
    phase: Phase,
    update: u64,
    #[serde(flatten)]
    metrics: Metrics,
}

/// The first line of `metrics.jsonl`: whose it is.
#[derive(Serialize)]
struct Head {
    run: RunStamp,
}

/// What a run has said until now, kept in every checkpoint.
#[derive(Default)]
pub(super) struct Reported {
    /// Lines of `metrics.jsonl` after its head.
    pub(super) lines: Vec<String>,
    /// Its last line where that is one only because the run ends there: a longer run
    /// goes on without it.
    pub(super) last_line: Option<String>,
    /// Points of the learning curve.
    pub(super) curve: Vec<CurvePoint>,
    /// Points of the validation curve, where there is no environment.
    pub(super) validation: Vec<ValidationPoint>,
    /// Seconds spent.
    pub(super) wall_s: f64,
}

impl Reported {
    /// What `state` holds. `ends` says whether the run that resumes from it ends there.
    pub(super) fn read(state: &State, ends: bool) -> Result<Self, StateError> {
        fn entry<T: DeserializeOwned>(state: &State, name: &str) -> Result<T, StateError> {
            let text = state.metadata.get(name);
            let value = text.and_then(|text| serde_json::from_str(text).ok());
            value.ok_or_else(|| StateError::Missing(name.to_owned()))
        }
        Ok(Self {
            lines: entry(state, "log")?,
            last_line: if ends {
                entry(state, "log.last")?
            } else {
                None
            },
            curve: entry(state, "curve")?,
            // Checkpoints of runs with an environment have none.
            validation: match state.metadata.contains_key("validation") {
                true => entry(state, "validation")?,
                false => Vec::new(),
            },
            wall_s: entry(state, "wall_s")?,
        })
    }

    /// Adds it to `state`.
    pub(super) fn save(&self, state: &mut State) -> Result<(), TrainError> {
        let entries = [
            ("log", serde_json::to_string(&self.lines)),
            ("log.last", serde_json::to_string(&self.last_line)),
            ("curve", serde_json::to_string(&self.curve)),
            ("wall_s", serde_json::to_string(&self.wall_s)),
        ];
        for (name, text) in entries {
            let text = text.map_err(io::Error::from)?;
            state.metadata.insert(name.to_owned(), text);
        }
        if !self.validation.is_empty() {
            let text = serde_json::to_string(&self.validation).map_err(io::Error::from)?;
            state.metadata.insert("validation".to_owned(), text);
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Keeps what the last update of `trainer` measured, where the log has a line of it.
    pub(super) fn log(&mut self, trainer: &mut Trainer<'_>) -> Result<(), TrainError> {
        let (phase, update) = (trainer.phase(), trainer.updates());
        let regular = update.is_multiple_of(LOG_EVERY);
        if !regular && update != trainer.last_update() {
            return Ok(());
        }
        let line = Line {
            phase,
            update,
            metrics: trainer.metrics()?,
        };
        let text = serde_json::to_string(&line).map_err(io::Error::from)?;
        if phase == self.spec.method.phase() && !regular {
            self.reported.last_line = Some(text);
        } else {
            self.reported.lines.push(text);
        }
        Ok(())
    }

    /// Writes `metrics.jsonl` and `eval.csv`; without an environment `validation.csv`, unless
    /// nothing is held out.
    pub(super) fn write_reported(&mut self) -> Result<(), TrainError> {
        let run = self.spec.identity()?.stamp();
        let mut text = serde_json::to_string(&Head { run }).map_err(io::Error::from)?;
        text.push('\n');
        for line in self.reported.lines.iter().chain(&self.reported.last_line) {
            text.push_str(line);
            text.push('\n');
        }
        self.folder.write("metrics.jsonl", text.as_bytes())?;
        match self.held {
            None => self.folder.write_curve(&self.reported.curve),
            Some(held) if held.episodes.is_empty() => Ok(()),
            Some(_) => self.folder.write_validation(&self.reported.validation),
        }
    }

    /// Writes the diagnostic file of a diverged run and returns its error.
    pub(super) fn diverged(&mut self, trainer: &mut Trainer<'_>) -> Result<TrainError, TrainError> {
        let range = |values: &[f32]| {
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            [low, high]
        };
        let (phase, update) = (trainer.phase(), trainer.updates());
        let metrics = trainer.metrics()?;
        let batch = trainer.batch();
        let content = serde_json::json!({
                "phase": phase,
                "update": update,
                // JSON has no NaN: what is not finite reads null here.
                "metrics": metrics,
                "batch_range": {
                    "obs": range(&batch.obs),
                    "actions": range(&batch.actions),
                    "rewards": range(&batch.rewards),
                    "next_obs": range(&batch.next_obs),
                },
                "reward_scale": trainer.reward_scale(),
                "spec": self.spec,
        });
        let name = "diagnostic.json";
        self.folder.write_json(name, &content)?;
        Ok(TrainError::NonFinite {
            phase: phase.name(),
            update,
            diagnostic: self.folder.file(name),
        })
    }
}
