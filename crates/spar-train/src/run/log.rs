//! What a run says of its updates: the lines of `metrics.jsonl`, and the file a
//! diverged run leaves.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use spar_core::RunStamp;
use spar_nn::{State, StateError};

use super::{LOG_EVERY, Session};
use crate::{
    control::Phase,
    error::TrainError,
    folder::{CurvePoint, ValidationPoint},
};

/// One line of `metrics.jsonl`.
#[derive(Serialize)]
pub(super) struct Line<M> {
    pub(super) phase: Phase,
    pub(super) update: u64,
    #[serde(flatten)]
    pub(super) metrics: M,
}

#[derive(Serialize)]
pub(super) struct AnchorLine {
    pub(super) loss: f32,
}

/// The first line of `metrics.jsonl`: whose it is.
#[derive(Serialize)]
struct Head {
    run: RunStamp,
}

/// What a run has said until now, kept in every checkpoint.
#[derive(Default)]
pub(super) struct Told {
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

impl Told {
    /// What `state` holds. `ends` says whether the run that goes on from it ends there.
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
    pub(super) fn log<M: Serialize>(
        &mut self,
        update: u64,
        last: u64,
        line: impl FnOnce() -> Line<M>,
    ) -> Result<(), TrainError> {
        if update.is_multiple_of(LOG_EVERY) || update == last {
            let line = line();
            let text = serde_json::to_string(&line).map_err(io::Error::from)?;
            let own = line.phase == self.spec.method.phase();
            if own && !update.is_multiple_of(LOG_EVERY) {
                self.told.last_line = Some(text);
            } else {
                self.told.lines.push(text);
            }
        }
        Ok(())
    }

    /// Writes `metrics.jsonl` and `eval.csv`; without an environment `validation.csv`, unless
    /// nothing is held out.
    pub(super) fn write_told(&mut self) -> Result<(), TrainError> {
        let run = self.spec.identity()?.stamp();
        let mut text = serde_json::to_string(&Head { run }).map_err(io::Error::from)?;
        text.push('\n');
        for line in self.told.lines.iter().chain(&self.told.last_line) {
            text.push_str(line);
            text.push('\n');
        }
        self.folder.write("metrics.jsonl", text.as_bytes())?;
        match self.held {
            None => self.folder.write_curve(&self.told.curve),
            Some(held) if held.episodes.is_empty() => Ok(()),
            Some(_) => self.folder.write_validation(&self.told.validation),
        }
    }

    /// Writes the diagnostic file of a diverged run and returns its error.
    pub(super) fn diverged<M: Serialize>(
        &mut self,
        line: &Line<M>,
    ) -> Result<TrainError, TrainError> {
        let range = |values: &[f32]| {
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            [low, high]
        };
        let batch = &self.batch;
        let content = serde_json::json!({
                "phase": line.phase,
                "update": line.update,
                // JSON has no NaN: what is not finite reads null here.
                "metrics": line.metrics,
                "batch_range": {
                    "obs": range(&batch.obs),
                    "actions": range(&batch.actions),
                    "rewards": range(&batch.rewards),
                    "next_obs": range(&batch.next_obs),
                },
                "reward_scale": self.reward_scale,
                "spec": self.spec,
        });
        let name = "diagnostic.json";
        self.folder.write_json(name, &content)?;
        Ok(TrainError::NonFinite {
            phase: line.phase.name(),
            update: line.update,
            diagnostic: self.folder.file(name),
        })
    }
}
