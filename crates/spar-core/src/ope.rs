//! What an evaluation without a simulator says of a policy: the content of `ope.json`,
//! written by `spar ope` and read by `spar-report`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{env::EnvId, id::DatasetIdentity, identity::Difference, record::RecordError};

/// Name of the record in a run's folder.
pub const OPE_FILE: &str = "ope.json";

/// Version of [`OpeRecord`], raised when a field changes its meaning or goes.
pub const OPE_SCHEMA: u32 = 1;

/// A policy's value by fitted Q evaluation on logged data, and how far to trust it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeRecord {
    /// [`OPE_SCHEMA`].
    pub schema: u32,
    /// SHA-256 of the policy file.
    pub policy_sha256: String,
    /// Method that trained the policy; `null` for a network of another program.
    pub method: Option<String>,
    /// Environment whose horizon and reference returns were used; `null` without one.
    pub env: Option<String>,
    /// The data it was evaluated on, which need not be those it was trained on.
    pub dataset: DatasetIdentity,
    /// How it was evaluated.
    pub settings: OpeSettings,
    /// The estimate.
    pub value: OpeValue,
    /// Temporal-difference errors on transitions that were trained on.
    pub training: TdErrors,
    /// The same on the episodes held out; `null` if none is.
    pub held_out: Option<TdErrors>,
    /// How far the policy's actions are from the data's.
    pub support: Support,
}

/// What decides an [`OpeRecord`] beside policy and data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeSettings {
    /// Gradient updates of each estimator.
    pub updates: u64,
    /// Transitions of an update.
    pub batch: usize,
    /// Widths of the hidden layers, each with layer normalization.
    pub hidden: Vec<usize>,
    /// Adam's learning rate.
    pub lr: f32,
    /// Rate at which the target network follows. Values travel back along an episode by its
    /// pace: after `n` updates a level of value that differs from the data's is reached up to
    /// about `exp(-n tau (1 - discount))`.
    pub tau: f32,
    /// Discount of future rewards, from 0 to below 1.
    pub discount: f64,
    /// Networks fitted independently; the estimate is their mean.
    pub estimators: usize,
    /// Actions kept for each state of a policy that draws; 1 of a deterministic one.
    pub draws: usize,
    /// Part of the episodes that is held out.
    pub held_out: f64,
    /// Steps after which an episode counts as cut in data that flag no cuts; `null`, none
    /// is.
    pub horizon: Option<usize>,
    /// Seed of every stream.
    pub seed: u64,
}

impl Default for OpeSettings {
    /// This project's; the networks are those of its critics.
    fn default() -> Self {
        Self {
            updates: 20_000,
            batch: 256,
            hidden: vec![256, 256],
            lr: 3e-4,
            tau: 0.02,
            discount: 0.99,
            estimators: 2,
            draws: 1,
            held_out: 0.1,
            horizon: None,
            seed: 0,
        }
    }
}

impl OpeSettings {
    /// These of data cut after `horizon` steps, and of a policy that `draws` its actions or
    /// does not.
    pub fn of(&self, horizon: Option<usize>, draws: bool) -> Self {
        Self {
            draws: if draws { self.draws } else { 1 },
            horizon,
            ..self.clone()
        }
    }
}

/// An estimate of a policy's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeValue {
    /// Discounted return from the data's initial states, in the units of its rewards, over
    /// an episode that nothing but a terminal ends: mean over initial states and estimators.
    pub discounted_return: f64,
    /// Lower end of its 95% interval, initial states resampled; `null` with fewer than two.
    /// It holds nothing of the error of the fit.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Initial states: the data's episodes.
    pub initial_states: usize,
    /// Each estimator's own mean.
    pub estimators: Vec<f64>,
    /// `(1 - discount) * discounted_return * horizon`, normalized as D4RL's scores are: the
    /// score of an episode each step of which earned the discounted mean. An estimate, never
    /// a measured score; `null` where environment or data have no reference returns.
    pub normalized_estimate: Option<f64>,
    /// Mean discounted return of the data's own complete episodes; `null` without any.
    pub data_discounted_return: Option<f64>,
}

/// Temporal-difference errors `r + discount (1 - terminal) Q(s', pi(s')) - Q(s, a)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdErrors {
    /// Transitions looked at.
    pub transitions: usize,
    /// Their mean, positive where values are too low.
    pub mean: f64,
    /// Their root mean square: the Bellman residual, with the noise of next states in it.
    pub rms: f64,
    /// Mean `Q(s, a)` of them, what the errors compare with.
    pub value_mean: f64,
    /// Standard deviation of `Q(s, a)` over them.
    pub value_std: f64,
}

/// How far a policy's actions are from the data's, in `[-1, 1]` by the actions' bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// Rows looked at: those held out, or of all data if none is.
    pub rows: usize,
    /// Root mean square difference, over rows and components, between the policy's action
    /// and the logged one.
    pub distance: f64,
    /// The same between the logged actions and their mean: what a policy that does not look
    /// at its observation can reach.
    pub spread: f64,
    /// Part of the policy's action components beyond the smallest or largest in the data.
    pub outside: f64,
}

impl OpeRecord {
    /// The record in the file `path`; `None` if there is none.
    ///
    /// # Errors
    /// If the file cannot be read, or is no such record of this schema.
    pub fn read(path: &Path) -> Result<Option<Self>, RecordError> {
        let Some(bytes) = crate::record::read_if_there(path)? else {
            return Ok(None);
        };
        let corrupt = |why: String| RecordError::Ope {
            file: PathBuf::from(path),
            why,
        };
        let found: Self = serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string()))?;
        if found.schema != OPE_SCHEMA {
            return Err(corrupt(format!(
                "schema {}, expected {OPE_SCHEMA}",
                found.schema
            )));
        }
        Ok(Some(found))
    }

    /// In what this record, which is there, was made otherwise than one of `env`, `data` and
    /// `settings`.
    pub fn differences(
        &self,
        env: Option<&str>,
        data: &DatasetIdentity,
        settings: &OpeSettings,
    ) -> Vec<Difference> {
        let of = |env: Option<&str>, data: &DatasetIdentity, settings: &OpeSettings| {
            let mut fields = vec![
                ("the data's sha256".to_owned(), data.sha256.clone()),
                (
                    "the environment".to_owned(),
                    env.unwrap_or("none").to_owned(),
                ),
            ];
            if let Ok(Value::Object(settings)) = serde_json::to_value(settings) {
                let settings = settings.into_iter();
                fields.extend(settings.map(|(name, value)| (name, value.to_string())));
            }
            fields
        };
        let there = of(self.env.as_deref(), &self.dataset, &self.settings);
        let pairs = there.into_iter().zip(of(env, data, settings));
        let unlike = pairs.filter(|((_, there), (_, here))| there != here);
        let difference = |((field, there), (_, here))| Difference { field, there, here };
        unlike.map(difference).collect()
    }

    /// [`OpeValue::normalized_estimate`] of a value `discounted_return` with `discount`.
    pub fn normalized_estimate(
        dataset: &DatasetIdentity,
        env: EnvId,
        discount: f64,
        discounted_return: f64,
    ) -> Option<f64> {
        let each_step = (1.0 - discount) * discounted_return;
        dataset.normalized_score(env, each_step * env.horizon() as f64)
    }
}
