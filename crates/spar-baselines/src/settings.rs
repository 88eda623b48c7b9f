//! What every method's hyper-parameters have in common, and how wrong ones are
//! named.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spar_core::limits::{self, MOST_BATCH, MOST_CANDIDATES, MOST_SCALE, MOST_UPDATES, OutOfRange};
use spar_policy::sampled::{MOST_PASSES, MOST_STEPS};

/// The field of every method's batch size.
const BATCH_SIZE: &str = "data.batch_size";

/// Hyper-parameters of a method: one struct with a documented field each, whose
/// default holds the source's values.
pub trait Settings: Clone + Default + Serialize + DeserializeOwned {
    /// Fields that say how many updates pass before the policy learns: while models of the
    /// data are fitted, or the critic alone. A run that ends within one has trained no policy.
    const STAGES: &'static [&'static str] = &[];

    /// Updates of the source's whole run, of which the defaults of [`Self::STAGES`] are parts.
    const SOURCE_UPDATES: u64 = 1_000_000;

    /// Fields that a record leaves out at their defaults, with these as TOML; empty, where the
    /// default is that there is none. What lists settings has them from here.
    const UNWRITTEN: &'static [(&'static str, &'static str)] = &[];

    /// How the data reach the method.
    fn data(&self) -> &DataConfig;

    /// The same, to be changed.
    fn data_mut(&mut self) -> &mut DataConfig;

    /// Discount of future rewards, where the method has one.
    fn discount(&self) -> Option<f64>;

    /// Widths of the hidden layers of each kind of network, with the field's name:
    /// [`Self::check`] need not look at them.
    fn hidden(&self) -> Vec<(&'static str, &[usize])>;

    /// How many actions an update draws for each of its states, where it draws
    /// several, with the field's name: neither need this be looked at.
    fn draws(&self) -> Option<(&'static str, usize)> {
        None
    }

    /// Whether the method learns from the returns of the data's trajectories, which come
    /// with every batch then.
    fn returns(&self) -> bool {
        false
    }

    /// Refuses values no run can be made of, beyond those of [`Self::data`],
    /// [`Self::hidden`] and [`Self::draws`].
    ///
    /// # Errors
    /// Naming the first such field.
    fn check(&self) -> Result<(), SettingsError>;
}

/// Writes the accessors of [`Settings`] for a struct with a field `data`: with `discount`
/// where it has a field of that name; `layers` are its fields of hidden layers' widths,
/// `widths` those of a single width.
macro_rules! accessors {
    (@common layers: [$($layers:ident),*] $(, widths: [$($width:ident),*])?) => {
        fn data(&self) -> &$crate::settings::DataConfig {
            &self.data
        }

        fn data_mut(&mut self) -> &mut $crate::settings::DataConfig {
            &mut self.data
        }

        fn hidden(&self) -> Vec<(&'static str, &[usize])> {
            vec![
                $((stringify!($layers), &*self.$layers),)*
                $($((stringify!($width), std::slice::from_ref(&self.$width)),)*)?
            ]
        }
    };
    (discount, $($widths:tt)+) => {
        fn discount(&self) -> Option<f64> {
            Some(self.discount)
        }

        $crate::settings::accessors!(@common $($widths)+);
    };
    ($($widths:tt)+) => {
        fn discount(&self) -> Option<f64> {
            None
        }

        $crate::settings::accessors!(@common $($widths)+);
    };
}
pub(crate) use accessors;

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

impl DataConfig {
    /// The same on states in the environment's own units.
    pub(crate) fn raw() -> Self {
        Self {
            states: States::Raw,
            ..Self::default()
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
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rewards {
    /// The environment's.
    Raw,
    /// Multiplied by this over the range of the returns of complete episodes (IQL
    /// with 1000 on MuJoCo).
    Range(f64),
    /// Multiplied by this over the largest reward of the data, if that is positive
    /// (LAPO with 1).
    Largest(f64),
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
#[non_exhaustive]
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
    #[error(transparent)]
    Range(#[from] OutOfRange),
}

impl DataConfig {
    /// Refuses values no method can be given.
    ///
    /// # Errors
    /// Naming the first such field.
    pub fn check(&self) -> Result<(), SettingsError> {
        limits::count(BATCH_SIZE, self.batch_size as u64, 1..=MOST_BATCH)?;
        match self.rewards {
            Rewards::Raw => {}
            Rewards::Range(range) => positive(&[("data.rewards.range", range)])?,
            Rewards::Largest(largest) => positive(&[("data.rewards.largest", largest)])?,
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
            return Err(OutOfRange::new("data.states", "raw", expected).into());
        }
        match self.keep {
            None => Ok(()),
            Some(keep) => Err(OutOfRange::new(
                "data.keep.fraction",
                keep.fraction,
                "no `data.keep`: the anchor was trained on states standardized by all the data",
            )
            .into()),
        }
    }
}

/// Refuses sizes of `settings` that no run can be made of: those of its networks, of
/// its draws, and of the arrays both make of a batch.
pub(crate) fn sizes(settings: &impl Settings) -> Result<(), SettingsError> {
    let batch = (BATCH_SIZE, settings.data().batch_size as u64);
    let draws = settings.draws().map(|(field, draws)| (field, draws as u64));
    if let Some((field, draws)) = draws {
        limits::count(field, draws, 1..=u64::from(MOST_CANDIDATES))?;
    }
    for (field, hidden) in settings.hidden() {
        limits::widths(field, hidden)?;
        let widest = hidden.iter().max().map_or(1, |width| *width as u64);
        let rows = [batch].into_iter().chain(draws);
        limits::numbers(&rows.chain([(field, widest)]).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn all(
    fields: &[(&'static str, f64)],
    fits: impl Fn(f64) -> bool,
    expected: &'static str,
) -> Result<(), SettingsError> {
    match fields.iter().find(|(_, value)| !fits(*value)) {
        Some(&(field, got)) => Err(OutOfRange::new(field, got, expected).into()),
        None => Ok(()),
    }
}

/// Refuses numbers of updates, or of steps, below `least` or beyond all runs.
pub(crate) fn updates(field: &str, got: u64, least: u64) -> Result<(), SettingsError> {
    Ok(limits::count(field, got, least..=MOST_UPDATES)?)
}

/// Refuses numbers of candidates that no policy file may ask for.
pub(crate) fn candidates(field: &str, got: usize) -> Result<(), SettingsError> {
    let range = 1..=u64::from(MOST_CANDIDATES);
    Ok(limits::count(field, got as u64, range)?)
}

/// Refuses numbers of steps of a chain, or of a flow, that no policy file may ask for.
pub(crate) fn chain_steps(field: &str, got: usize) -> Result<(), SettingsError> {
    Ok(limits::count(field, got as u64, 1..=u64::from(MOST_STEPS))?)
}

/// Refuses numbers of residual blocks that no network is made of.
pub(crate) fn block_count(field: &str, got: usize) -> Result<(), SettingsError> {
    Ok(limits::count(field, got as u64, 1..=64)?)
}

/// Refuses what cannot be cut in two: sines and cosines.
pub(crate) fn even(field: &'static str, got: usize) -> Result<(), SettingsError> {
    if got >= 2 && got.is_multiple_of(2) {
        return Ok(());
    }
    Err(OutOfRange::new(field, got, "an even number from 2 on").into())
}

/// Refuses what is no probability below one.
pub(crate) fn rate(field: &'static str, got: f64) -> Result<(), SettingsError> {
    let fits = |x| (0.0..1.0).contains(&x);
    all(&[(field, got)], fits, "a number from 0 to below 1")
}

/// Refuses draws of a chain and its steps, each with its field's name, of which a policy file
/// may not ask for so many, or for so many passes to act as both are together.
pub(crate) fn chain_draws(
    (draws, n): (&str, usize),
    (steps, of): (&str, usize),
) -> Result<(), SettingsError> {
    chain_steps(steps, of)?;
    candidates(draws, n)?;
    if (n as u64).saturating_mul(of as u64) <= MOST_PASSES as u64 {
        return Ok(());
    }
    let expected = format!("at most {MOST_PASSES} passes to one action");
    let fields = format!("{draws}` x `{steps}");
    Err(OutOfRange::new(&fields, format!("{n} x {of}"), expected).into())
}

/// Refuses numbers of probes of a divergence beyond those of candidates.
pub(crate) fn probes(field: &str, got: usize) -> Result<(), SettingsError> {
    let range = 0..=u64::from(MOST_CANDIDATES);
    Ok(limits::count(field, got as u64, range)?)
}

/// Refuses what is not a positive number that an action or a latent may be scaled by:
/// the same range as in a policy file.
pub(crate) fn action_units(fields: &[(&'static str, f64)]) -> Result<(), SettingsError> {
    all(
        fields,
        |x| x as f32 > 0.0 && x <= f64::from(MOST_SCALE),
        "a number above 0 and at most 100",
    )
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
    all(
        fields,
        |x| x > 0.0 && x < 1.0,
        "a number above 0 and below 1",
    )
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
