//! What surrounds a run without deciding its bits: who is told about it, and
//! what its record will say.

use std::{io, path::PathBuf};

use serde::Serialize;
use spar_baselines::Metrics;

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Cloning the behaviour.
    Anchor,
    /// Rectifying the anchor.
    Spar,
    /// Training a baseline.
    Method,
    /// Fine-tuning online.
    Online,
    /// Evaluating the last checkpoint.
    Eval,
}

impl Phase {
    /// The name in progress reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::Spar => "spar",
            Self::Method => "method",
            Self::Online => "online",
            Self::Eval => "eval",
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Progress<'a> {
    /// Updates done, of all phases; steps in the environment of a run that is fine-tuned.
    pub done: u64,
    /// How many there are in all.
    pub total: u64,
    /// What it is doing.
    pub phase: Phase,
    /// Updates per second in the last moments; unknown before the first.
    pub updates_per_s: Option<f64>,
    /// What the last line of the log says of this phase; empty before the first.
    pub metrics: &'a Metrics,
}

/// What surrounds a run without deciding its bits.
pub struct Control<'a> {
    /// A finished `bc` run of the same data, seed and settings whose policy
    /// serves as the anchor: the same bits as training it again.
    pub anchor: Option<PathBuf>,
    /// Commit of the program, for the record.
    pub commit: String,
    /// Command line that makes this run again, for the record.
    pub command: String,
    /// Stops, resumably, after this many updates of the current phase.
    pub stop_after: Option<u64>,
    /// Asked after every update, and between episodes of the final evaluation, whether
    /// to stop, resumably: [`crate::TrainError::Stopped`]. The checkpoint is written then.
    pub stop: &'a dyn Fn() -> bool,
    /// Whether to report after every so many updates of a phase, and after its last, with
    /// what those measured; absent, progress is reported now and then, with what the log's
    /// last line says.
    pub every: Option<u64>,
    /// Told about progress; an error means nobody is left to
    /// listen, and the run stops resumably, with its checkpoint written.
    pub report: &'a mut dyn FnMut(Progress<'_>) -> io::Result<()>,
}
