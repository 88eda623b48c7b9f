//! What a finished run says of itself: the content of its `DONE` file, read by
//! `spar-report` and written by `spar-train`.

use serde::{Deserialize, Serialize};

use crate::id::{DatasetIdentity, EnvId};

/// One finished run: a cell of the table for one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Environment the policy was evaluated in.
    pub env: EnvId,
    /// The data it was trained on.
    pub dataset: DatasetIdentity,
    /// Undiscounted returns of the last checkpoint, one per evaluation episode.
    pub returns: Vec<f64>,
    /// Seed shared by the evaluation episodes of all training seeds.
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
}

/// What computed the updates of records from before there was a choice.
fn cpu() -> String {
    "cpu".to_owned()
}

impl RunRecord {
    /// Mean of [`Self::returns`]; NaN without any.
    pub fn mean_return(&self) -> f64 {
        self.returns.iter().sum::<f64>() / self.returns.len() as f64
    }

    /// D4RL's normalized score of the mean return, in percent; `None` where
    /// the environment or the data have no reference scores.
    pub fn normalized_score(&self) -> Option<f64> {
        self.dataset.normalized_score(self.env, self.mean_return())
    }
}
