//! What is known of an environment's behaviour policies: `card.json` beside
//! their weights.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use spar_core::{EnvId, files::in_file, write_atomic};

use crate::{CollectError, behavior, gaussian::GaussianPolicy, sac::SacConfig};

/// Stretches of training up to the medium policy, and from there to the end,
/// each with one policy that stands in for what it left in the replay buffer.
pub const REPLAY_SEGMENTS: usize = 8;

/// Returns of a policy acting stochastically.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Environment steps of training behind the policy.
    pub step: usize,
    /// Mean undiscounted return.
    pub mean_return: f64,
    /// Standard deviation of the returns (divided by their number).
    pub std_return: f64,
    /// D4RL's normalized score of the mean return.
    pub normalized_score: Option<f64>,
    /// Episodes measured.
    pub episodes: usize,
}

/// A policy that stands in for a stretch of training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Environment step of training at which the policy was taken: near the
    /// middle of the stretch.
    pub step: usize,
    /// First step after the stretch; it begins where the one before it ends.
    pub until: usize,
}

/// The behaviour policies of one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The environment.
    pub env: EnvId,
    /// How they were trained.
    pub algorithm: String,
    /// Training seed.
    pub seed: u64,
    /// Hyper-parameters of the training.
    pub config: SacConfig,
    /// Environment steps of training done when the policies were chosen.
    pub trained_steps: usize,
    /// The policy of `medium` data.
    pub medium: Level,
    /// The policy of `expert` data: the best of the training, which need not be
    /// an expert by D4RL's measure.
    pub expert: Level,
    /// Stand-ins for the replay buffer, in the order of training: first those up
    /// to `medium.step`, [`REPLAY_SEGMENTS`] of them, then as many to the end.
    pub replay: Vec<Segment>,
}

impl Card {
    /// Folder of `env` below the behaviour folder.
    pub fn folder(behavior: &Path, env: EnvId) -> PathBuf {
        behavior.join(env.name())
    }

    /// Reads the card of `env`.
    ///
    /// # Errors
    /// If it is absent or unreadable.
    pub fn read(behavior: &Path, env: EnvId) -> Result<Self, CollectError> {
        let path = Self::folder(behavior, env).join("card.json");
        let text = fs::read_to_string(&path).map_err(|e| in_file(e, &path))?;
        serde_json::from_str(&text).map_err(|e| CollectError::Policy {
            file: path.display().to_string(),
            why: e.to_string(),
        })
    }

    /// Writes the card below the behaviour folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, behavior: &Path) -> Result<(), CollectError> {
        let path = Self::folder(behavior, self.env).join("card.json");
        Ok(write_atomic(
            &path,
            serde_json::to_string_pretty(self)?.as_bytes(),
        )?)
    }

    /// The file of the policy stored under `name`: `medium`, `expert` or
    /// `replay-<i>`.
    pub fn policy_file(&self, behavior: &Path, name: &str) -> PathBuf {
        Self::folder(behavior, self.env).join(format!("{name}.safetensors"))
    }

    /// The policy stored under `name`.
    ///
    /// # Errors
    /// If its file is absent or not a policy for this environment.
    pub fn policy(&self, behavior: &Path, name: &str) -> Result<GaussianPolicy, CollectError> {
        behavior::read(&self.policy_file(behavior, name), self.env)
    }
}
