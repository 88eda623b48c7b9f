//! What every method's hyper-parameters have in common, and how wrong ones are
//! named.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Hyper-parameters of a method: one struct with a documented field each, whose
/// default holds the source's values.
pub trait Settings: Clone + Default + Serialize + DeserializeOwned {
    /// How the data reach the method.
    fn data(&self) -> &DataConfig;

    /// The same, to be changed.
    fn data_mut(&mut self) -> &mut DataConfig;

    /// Discount of future rewards, where the method has one.
    fn discount(&self) -> Option<f64>;

    /// Refuses values no run can be made of, beyond those of [`Self::data`].
    ///
    /// # Errors
    /// Naming the first such field.
    fn check(&self) -> Result<(), SettingsError>;
}

/// How the data reach a method: a part of every method's hyper-parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Transitions per update.
    pub batch_size: usize,
    /// Whether states are standardized by the data's mean and deviation.
    pub states: States,
    /// What is done to rewards.
    pub rewards: Rewards,
    /// Only the best trajectories, where given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Rewards and discounts relabelled by the data's own returns, where given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hubl: Option<Hubl>,
}

impl Default for DataConfig {
    /// 256 transitions, standardized states, rewards as they are: CORL's.
    fn default() -> Self {
        Self {
            batch_size: 256,
            states: States::Standardized,
            rewards: Rewards::Raw,
            keep: None,
            hubl: None,
        }
    }
}

/// What a method sees of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum States {
    /// The environment's own units.
    Raw,
    /// `(s - mean) / (std + 1e-3)` over the data (TD3+BC).
    Standardized,
}

/// What a method sees of a reward.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewards {
    /// The environment's.
    Raw,
    /// Multiplied by this over the range of the returns of complete episodes (IQL
    /// with 1000 on MuJoCo).
    Range(f64),
    /// `scale r + shift`.
    Affine {
        /// What it is multiplied by.
        scale: f64,
        /// What is added.
        shift: f64,
    },
}

/// The best trajectories of the data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// How many of them, of all.
    pub fraction: f64,
    /// Discount of the return they are ranked by.
    pub discount: f64,
}

/// Heuristic blending (Geng et al. 2024): with the Monte-Carlo return-to-go
/// `h(s')` of the data, a base method is run unchanged on rewards
/// `r + discount w h(s')` and discounts `discount (1 - w)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hubl {
    /// The largest blending factor.
    pub alpha: f64,
    /// How a trajectory's factor `w` follows from its return.
    pub blend: Blend,
}

/// How a trajectory's blending factor follows from its return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blend {
    /// `alpha` for all.
    Constant,
    /// `alpha` times the sigmoid of the return, standardized over trajectories.
    Sigmoid,
    /// `alpha` times the share of trajectories whose return is not above it.
    Rank,
}

/// Why hyper-parameters cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// A field is unknown or of another type.
    #[error("method `{method}`: {why}")]
    Parse {
        /// The method.
        method: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A value is out of range.
    #[error("`{field}` is {got}, expected {expected}")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// What would do.
        expected: &'static str,
    },
}

impl DataConfig {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        at_least("data.batch_size", self.batch_size as u64, 1)?;
        match self.rewards {
            Rewards::Raw => {}
            Rewards::Range(range) => positive(&[("data.rewards.range", range)])?,
            Rewards::Affine { scale, shift } => {
                positive(&[("data.rewards.affine.scale", scale)])?;
                finite("data.rewards.affine.shift", shift)?;
            }
        }
        if let Some(Keep { fraction, discount }) = self.keep {
            share(&[
                ("data.keep.fraction", fraction),
                ("data.keep.discount", discount),
            ])?;
        }
        match self.hubl {
            Some(hubl) => share(&[("data.hubl.alpha", hubl.alpha)]),
            None => Ok(()),
        }
    }
}

impl DataConfig {
    /// Refuses what would show a frozen anchor other states than it was trained on: those
    /// of all the data, standardized by all of them.
    pub(crate) fn check_anchored(&self) -> Result<(), SettingsError> {
        if self.states != States::Standardized {
            let expected = "standardized: the anchor was trained on such states";
            return wrong("data.states", "raw", expected);
        }
        match self.keep {
            None => Ok(()),
            Some(keep) => wrong(
                "data.keep.fraction",
                keep.fraction,
                "no `data.keep`: the anchor was trained on states standardized by all the data",
            ),
        }
    }
}

fn wrong<T: std::fmt::Display>(
    field: &'static str,
    got: T,
    expected: &'static str,
) -> Result<(), SettingsError> {
    Err(SettingsError::Range {
        field,
        got: got.to_string(),
        expected,
    })
}

fn all(
    fields: &[(&'static str, f64)],
    fits: impl Fn(f64) -> bool,
    expected: &'static str,
) -> Result<(), SettingsError> {
    match fields.iter().find(|(_, value)| !fits(*value)) {
        Some(&(field, got)) => wrong(field, got, expected),
        None => Ok(()),
    }
}

/// Refuses counts below `least`, which is one or two.
pub(crate) fn at_least(field: &'static str, got: u64, least: u64) -> Result<(), SettingsError> {
    match (got < least, least) {
        (false, _) => Ok(()),
        (true, 1) => wrong(field, got, "at least 1"),
        (true, _) => wrong(field, got, "at least 2"),
    }
}

/// Refuses what is not a positive number.
pub(crate) fn positive(fields: &[(&'static str, f64)]) -> Result<(), SettingsError> {
    all(fields, |x| x > 0.0 && x.is_finite(), "a positive number")
}

/// Refuses what is negative or no number.
pub(crate) fn not_negative(fields: &[(&'static str, f64)]) -> Result<(), SettingsError> {
    all(
        fields,
        |x| x >= 0.0 && x.is_finite(),
        "a number that is not negative",
    )
}

/// Refuses what does not lie between zero and one.
pub(crate) fn unit(fields: &[(&'static str, f64)]) -> Result<(), SettingsError> {
    all(fields, |x| x > 0.0 && x < 1.0, "a number between 0 and 1")
}

/// Refuses what is not above zero or is above one.
pub(crate) fn share(fields: &[(&'static str, f64)]) -> Result<(), SettingsError> {
    all(
        fields,
        |x| x > 0.0 && x <= 1.0,
        "a number above 0 and at most 1",
    )
}

pub(crate) fn finite(field: &'static str, got: f64) -> Result<(), SettingsError> {
    all(&[(field, got)], f64::is_finite, "a number")
}
