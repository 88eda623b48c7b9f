//! What decides a run.

use serde::{Deserialize, Serialize};
use spar_core::{DatasetIdentity, EnvId};

use crate::{config::TrainConfig, error::TrainError};

/// A method that can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The behaviour-cloning anchor alone.
    Bc,
    /// The anchor, then its rectification.
    Spar,
}

impl Method {
    /// The name in tables and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bc => "bc",
            Self::Spar => "spar",
        }
    }
}

impl std::str::FromStr for Method {
    type Err = TrainError;
    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "bc" => Ok(Self::Bc),
            "spar" => Ok(Self::Spar),
            other => Err(TrainError::Method(other.to_owned())),
        }
    }
}

/// Where a run's updates are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// In candle on the CPU: the definition.
    #[default]
    Cpu,
    /// By the CUDA kernels: the same updates up to rounding, hence another run.
    Cuda,
}

impl DeviceKind {
    /// The name on command lines and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl std::str::FromStr for DeviceKind {
    type Err = TrainError;
    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            other => Err(TrainError::DeviceName(other.to_owned())),
        }
    }
}

/// Everything that decides a run's bits: the content of `spec.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Suite, or `none`.
    pub suite: String,
    /// Preset, or `none`.
    pub preset: String,
    /// Task id, or the name of the user's file.
    pub task: String,
    /// What is trained.
    pub method: Method,
    /// Training seed.
    pub seed: u64,
    /// Where the policy is judged.
    pub env: EnvId,
    /// What it is trained on.
    pub dataset: DatasetIdentity,
    /// Seed of the evaluation episodes.
    pub eval_seed: u64,
    /// Episodes of the final evaluation.
    pub final_episodes: usize,
    /// What computes the updates; the CPU in specs from before there was a choice.
    #[serde(default)]
    pub device: DeviceKind,
    /// Hyper-parameters.
    pub config: TrainConfig,
}

impl RunSpec {
    /// Updates of the method's own networks: SPAR's, or the anchor's for `bc`.
    pub fn updates(&self) -> u64 {
        match self.method {
            Method::Bc => self.config.anchor.updates,
            Method::Spar => self.config.updates,
        }
    }

    /// The first field in which a run already in a folder differs so that it
    /// cannot be gone on with, as `(field, there, here)`. The number of updates
    /// and of final episodes may differ: a longer run begins as a shorter one.
    pub fn difference(&self, there: &Self) -> Option<(String, String, String)> {
        let flat = |spec: &Self| {
            let mut spec = spec.clone();
            match self.method {
                Method::Bc => (spec.config.anchor.updates, spec.config.updates) = (0, 0),
                Method::Spar => spec.config.updates = 0,
            }
            spec.final_episodes = 0;
            let mut fields = Vec::new();
            if let Ok(value) = serde_json::to_value(&spec) {
                flatten("", &value, &mut fields);
            }
            if self.method == Method::Bc {
                // Nothing of these reaches an anchor.
                let beyond = [
                    "config.critic.",
                    "config.rectify.",
                    "config.detached_precision",
                ];
                fields.retain(|(field, _)| !beyond.iter().any(|p| field.starts_with(p)));
            }
            fields
        };
        let pairs = flat(there).into_iter().zip(flat(self));
        pairs
            .into_iter()
            .find(|(there, here)| there != here)
            .map(|((field, there), (_, here))| (field, there, here))
    }
}

fn flatten(prefix: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, out);
            }
        }
        leaf => out.push((prefix.to_owned(), leaf.to_string())),
    }
}
