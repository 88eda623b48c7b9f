//! What is known of an environment's behaviour policies: `card.json` beside
//! their weights.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use spar_core::{EnvId, files::in_file, write_atomic};

use crate::{CollectError, behavior, gaussian::GaussianPolicy, sac::SacConfig};

/// Segments of training whose policies stand in for the replay buffer.
pub const REPLAY_SEGMENTS: usize = 10;

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
    /// The policy of the second half of `medium-expert` data: the best so far,
    /// which need not be an expert by D4RL's measure.
    pub expert: Level,
    /// Training steps of the policies that stand in for the replay buffer, one
    /// for each of [`REPLAY_SEGMENTS`] equal stretches of training up to
    /// `medium.step`: the snapshot nearest the stretch's middle.
    pub replay_steps: Vec<usize>,
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

    /// The policy stored under `name`: `medium`, `expert` or `replay-<i>`.
    ///
    /// # Errors
    /// If its file is absent or not a policy for this environment.
    pub fn policy(&self, behavior: &Path, name: &str) -> Result<GaussianPolicy, CollectError> {
        let path = Self::folder(behavior, self.env).join(format!("{name}.safetensors"));
        behavior::read(&path, self.env)
    }
}
