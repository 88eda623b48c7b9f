//! What a run says of its updates: the lines of `metrics.jsonl`, and the file a
//! diverged run leaves.

use std::{io, path::Path};

use serde::Serialize;
use spar_nn::State;

use super::{LOG_EVERY, Session};
use crate::{control::Phase, error::TrainError, folder::write_json};

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

/// The lines of `metrics.jsonl` up to the checkpoint's moment.
pub(super) fn lines_until(path: &Path, state: &State) -> Result<Vec<String>, TrainError> {
    let count = state.get_count("metrics.lines")? as usize;
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().take(count).map(str::to_owned).collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(spar_core::files::in_file(e, path).into()),
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
                self.last_line = Some(text);
            } else {
                self.metrics.push(text);
            }
        }
        Ok(())
    }

    /// Writes the diagnostic file of a diverged run and returns its error.
    pub(super) fn diverged<M: Serialize>(&self, line: &Line<M>) -> Result<TrainError, TrainError> {
        let range = |values: &[f32]| {
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            [low, high]
        };
        let diagnostic = self.folder.file("diagnostic.json");
        let batch = &self.batch;
        write_json(
            &diagnostic,
            &serde_json::json!({
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
            }),
        )?;
        Ok(TrainError::NonFinite {
            phase: line.phase.name(),
            update: line.update,
            diagnostic,
        })
    }
}
