//! What is known of a file's episodes once they are written: enough for its data
//! card, without reading it again.

use serde::{Deserialize, Serialize};

use crate::roll::Steps;

/// One episode of a file, in few numbers: what [`spar_data::Dataset`] says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpisodeFacts {
    /// The stage of the recipe that played it.
    pub stage: usize,
    /// Undiscounted return, up to the first terminal where the recording goes on past it, as
    /// in [`spar_data::Dataset::returns`].
    pub ret: f64,
    /// Rows.
    pub length: usize,
    /// Rows with a terminal flag: several where the recording goes on past them.
    pub terminals: usize,
    /// How it ended.
    pub end: End,
}

/// How an episode of a generated file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By the environment.
    Terminal,
    /// By the horizon.
    Timeout,
    /// With the file.
    Unfinished,
}

impl EpisodeFacts {
    /// Of an episode with this horizon.
    pub fn of(steps: &Steps, horizon: usize) -> Self {
        Self {
            stage: steps.stage,
            // As readers sum what the file holds.
            ret: steps.rewards.iter().map(|&r| f64::from(r)).sum(),
            length: steps.len(),
            terminals: usize::from(steps.terminal),
            end: match (steps.terminal, steps.len() == horizon) {
                (true, _) => End::Terminal,
                (false, true) => End::Timeout,
                (false, false) => End::Unfinished,
            },
        }
    }
}

/// A policy's part in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behavior {
    /// Its name in `datasets/behavior`, or `uniform` or `random`.
    pub policy: String,
    /// Rows it acted in.
    pub rows: usize,
    /// Episodes it began.
    pub episodes: usize,
    /// Mean undiscounted return of its complete episodes; none without any.
    pub mean_return: Option<f64>,
}

impl Behavior {
    pub(crate) fn of(policy: &str, stage: usize, episodes: &[EpisodeFacts]) -> Self {
        let own: Vec<_> = episodes.iter().filter(|e| e.stage == stage).collect();
        let returns: Vec<f64> = own
            .iter()
            .filter(|e| e.end != End::Unfinished)
            .map(|e| e.ret)
            .collect();
        Self {
            policy: policy.to_owned(),
            rows: own.iter().map(|e| e.length).sum(),
            episodes: own.len(),
            mean_return: (!returns.is_empty()).then(|| spar_stats::mean(&returns)),
        }
    }
}
