//! Hyper-parameters of a run.

use serde::{Deserialize, Serialize};
use spar_anchor::{AnchorConfig, MOST_DRAWS};
use spar_baselines::{DataConfig, Feed, Hubl, Rewards, States};
use spar_core::limits::{
    self, MOST_BATCH, MOST_CANDIDATES, MOST_CRITICS, MOST_EPISODES, MOST_SCALE, MOST_UPDATES,
    OutOfRange,
};
use spar_critic::{CriticConfig, CriticForm};
use spar_rectify::{Ablation, Base, RectifyConfig, Spar};

use crate::{error::TrainError, given, spec::Method};

/// Everything that decides how a policy is trained, given data and a seed: the
/// `[train]` table of a suite file, and a method's own. A run's `spec.json` holds of it what
/// reaches the run's method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Transitions per update, of the anchor's and of SPAR's.
    pub batch_size: usize,
    /// Updates of SPAR, after the anchor's.
    pub updates: u64,
    /// Rewards are multiplied by `reward_range / (max - min)` over the returns
    /// of the data's complete episodes (IQL, with 1000).
    pub reward_range: f64,
    /// Updates between two points of the learning curve.
    pub eval_every: u64,
    /// Episodes per point of the learning curve.
    pub eval_episodes: usize,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
    /// What SPAR's critic learns from beside the rewards.
    #[serde(default, skip_serializing_if = "RewardsBeside::is_none")]
    pub data: RewardsBeside,
    /// Precision of the passes that learn, of every method. Absent from records of runs in
    /// single precision, as those from before there was a choice.
    #[serde(default, skip_serializing_if = "Precision::is_single")]
    pub precision: Precision,
    /// Precision of passes that carry no gradient: of SPAR the anchor, targets and the values
    /// of candidates.
    #[serde(default)]
    pub detached_precision: Precision,
    /// The behaviour-cloning anchor.
    pub anchor: AnchorConfig,
    /// The conservative critic.
    pub critic: CriticConfig,
    /// The residual policy.
    pub rectify: RectifyConfig,
    /// All settings of a baseline, typed by [`spar_baselines`]; absent for `bc` and
    /// `spar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<toml::Table>,
}

/// What SPAR's critic learns from beside the data's rewards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardsBeside {
    /// HUBL's blend of the data's own returns into rewards and discounts, as the
    /// baselines have it: values need not travel down whole episodes then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hubl: Option<Hubl>,
}

impl RewardsBeside {
    /// Whether there is nothing beside the rewards.
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// [`spar_nn::Precision`] in a suite file: `"f32"`, `"bf16x3"` or `"bf16"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Products of three terms in bf16: five digits.
    Bf16x3,
    /// Products of one term in bf16: two and a half digits.
    Bf16,
}

impl Precision {
    /// Whether it is single precision.
    pub fn is_single(&self) -> bool {
        *self == Self::F32
    }

    /// The name in settings.
    pub fn name(self) -> &'static str {
        spar_nn::Precision::from(self).name()
    }
}

impl From<Precision> for spar_nn::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16x3 => Self::Bf16x3,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// Settings of the loop, which are the same for every method, and of the anchor that some
/// baselines grow out of.
const LOOP: [&str; 7] = [
    "updates",
    "eval_every",
    "eval_episodes",
    "checkpoint_every",
    "anchor",
    PRECISION,
    DETACHED,
];

/// The settings that a baseline's own table may hold beside its own.
pub(crate) const PRECISION: &str = "precision";
const DETACHED: &str = "detached_precision";

impl Default for TrainConfig {
    /// The `[train]` table of `suites/mujoco.toml`: a test compares them.
    fn default() -> Self {
        Self {
            batch_size: 256,
            updates: 100_000,
            reward_range: 1000.0,
            eval_every: 10_000,
            eval_episodes: 10,
            checkpoint_every: 5_000,
            data: RewardsBeside::default(),
            precision: Precision::F32,
            detached_precision: Precision::F32,
            anchor: AnchorConfig::default(),
            critic: CriticConfig::default(),
            rectify: RectifyConfig::default(),
            method: None,
        }
    }
}

impl TrainConfig {
    /// The hyper-parameters of a suite's merged table.
    ///
    /// # Errors
    /// If a field is missing, unknown, of another type or out of range.
    pub fn from_table(table: toml::Table) -> Result<Self, TrainError> {
        let config: Self = table
            .try_into()
            .map_err(|e| TrainError::Config(one_line(&e)))?;
        config.check()?;
        Ok(config)
    }

    /// [`Self::from_table`] for a run of `method`, whose own settings are those of the table
    /// (a baseline's in `method`, SPAR's beside it) and its defaults where there are none.
    ///
    /// # Errors
    /// As there, for both.
    pub fn for_method(table: toml::Table, method: Method) -> Result<Self, TrainError> {
        let mut whole = Self::of_spar()?;
        let mut table = table;
        lift_precisions(&mut table);
        spar_core::suite::overlay(&mut whole, &table);
        let mut config = Self::from_table(whole)?;
        config.anchor = config.anchor.with_draws();
        config.method = match method {
            Method::Bc | Method::Spar => None,
            Method::Baseline(entry) => {
                let own = config.method.take().unwrap_or_default();
                Some(entry.settings(own).map_err(setting)?)
            }
        };
        Ok(config)
    }

    /// SPAR's own settings with their defaults.
    fn of_spar() -> Result<toml::Table, TrainError> {
        let whole = toml::Table::try_from(Self::default());
        let mut whole = whole.map_err(|e| TrainError::Config(one_line(&e)))?;
        whole.retain(|name, _| ["critic", "rectify"].contains(&name));
        Ok(whole)
    }

    /// The defaults of a single run of `method`: [`Self::default`], and the method's own.
    ///
    /// # Errors
    /// Only if a method's defaults cannot be used; a test holds them.
    pub fn defaults_of(method: Method) -> Result<Self, TrainError> {
        let method = match method {
            Method::Bc | Method::Spar => None,
            Method::Baseline(entry) => Some(entry.settings(toml::Table::new()).map_err(setting)?),
        };
        Ok(Self {
            method,
            ..Self::default()
        })
    }

    /// These settings of a run of `method` with `changes` laid over them. A key is a path,
    /// as in `critic.expectile`; of a baseline it is the method's own, where that has one of
    /// this name, else the loop's.
    ///
    /// # Errors
    /// If a key is none of the method's, or a value is of another type or out of range.
    pub fn with(
        self,
        method: Method,
        changes: &[(String, toml::Value)],
    ) -> Result<Self, TrainError> {
        let mut table =
            toml::Table::try_from(&self).map_err(|e| TrainError::Config(one_line(&e)))?;
        for (key, value) in changes {
            if method == Method::Bc && key == "updates" {
                let why = "`updates` is none of bc's, which has those of the anchor; set \
                           `anchor.updates`";
                return Err(TrainError::Config(why.to_owned()));
            }
            let own = match method {
                Method::Bc | Method::Spar => false,
                Method::Baseline(_) => !LOOP.contains(&key.split('.').next().unwrap_or_default()),
            };
            let path = if own {
                format!("method.{key}")
            } else {
                key.clone()
            };
            let nested = path.rsplit('.').fold(value.clone(), |inner, part| {
                toml::Table::from_iter([(part.to_owned(), inner)]).into()
            });
            if let toml::Value::Table(nested) = nested {
                spar_core::suite::overlay(&mut table, &nested);
            }
        }
        Self::for_method(table, method)
    }

    /// The same, with what tells the file of [`AnchorConfig::file`], if there is one, from
    /// any other: a run's spec has it.
    ///
    /// # Errors
    /// If the file cannot be read, or is another than was recorded.
    pub fn pinned(mut self) -> Result<Self, TrainError> {
        given::pin(&mut self.anchor)?;
        Ok(self)
    }

    /// SPAR at its start from a frozen anchor, for states and actions of widths
    /// `dims`.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub(crate) fn spar(
        &self,
        base: impl Into<Base>,
        dims: (usize, usize),
        seed: u64,
    ) -> Result<Spar, TrainError> {
        let (rectify, critic) = (self.rectify.clone(), self.critic.clone());
        Ok(Spar::new(rectify, critic, base, dims.0, dims.1, seed)?)
    }

    /// What the passes of an update are computed in.
    pub(crate) fn precisions(&self) -> spar_nn::Precisions {
        spar_nn::Precisions {
            learning: self.precision.into(),
            detached: self.detached_precision.into(),
        }
    }

    /// The data as SPAR sees them.
    pub(crate) fn feed(&self) -> Feed {
        Feed {
            data: DataConfig {
                batch_size: self.batch_size,
                rewards: Rewards::Range(self.reward_range),
                states: States::Standardized,
                hubl: self.data.hubl,
                ..DataConfig::default()
            },
            discount: self.critic.discount,
            returns: false,
        }
    }

    /// Refuses values no run can be made of.
    ///
    /// # Errors
    /// Naming the first such field, its value and what would do.
    pub fn check(&self) -> Result<(), TrainError> {
        self.check_sizes()
            .map_err(|e| TrainError::Config(e.to_string()))?;
        let wrong = |field: &str, got: &dyn std::fmt::Display, expected: &str| {
            let error = OutOfRange::new(field, got, expected);
            Err(TrainError::Config(error.to_string()))
        };
        let (critic, rectify) = (&self.critic, &self.rectify);
        let positive = [
            ("reward_range", self.reward_range),
            ("anchor.lr", f64::from(self.anchor.lr)),
            ("critic.lr", f64::from(critic.lr)),
            ("rectify.lr", f64::from(rectify.lr)),
            ("rectify.temperature", rectify.temperature),
        ];
        for (field, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(field, &value, "a positive number");
            }
        }
        let scales = [
            ("rectify.rho", rectify.rho),
            ("rectify.sigma_z", f64::from(rectify.sigma_z)),
        ];
        for (field, value) in scales {
            if !(value as f32 > 0.0 && value <= f64::from(MOST_SCALE)) {
                let expected = format!("a number above 0 and at most {MOST_SCALE}");
                return wrong(field, &value, &expected);
            }
        }
        if let Some(deviations) = critic.deviations
            && !(0.0..=MOST_SCALE).contains(&deviations)
        {
            let expected = format!("a number from 0 to {MOST_SCALE}");
            return wrong("critic.deviations", &deviations, &expected);
        }
        let weights = [
            ("rectify.beta", rectify.beta),
            ("rectify.w_fit", rectify.w_fit),
            ("rectify.lambda", rectify.lambda),
            ("rectify.scale", rectify.scale),
            ("critic.penalty", f64::from(critic.penalty)),
            ("critic.penalty_ratio", f64::from(critic.penalty_ratio)),
        ];
        for (field, value) in weights {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(field, &value, "a number that is not negative");
            }
        }
        self.feed().data.check().map_err(setting)?;
        if self.anchor.sha256.is_some() && self.anchor.file.is_none() {
            let expected = "`anchor.file` beside it, the policy it is of";
            return wrong("anchor.sha256", &"given", expected);
        }
        if let Some(method) = &self.anchor.method
            && (method == Method::Spar.name() || method.parse::<Method>().is_err())
        {
            let expected = "a method other than spar, as bc-diffusion or bc-flow";
            return wrong("anchor.method", method, expected);
        }
        let given = self.anchor.is_given();
        if let Some(draws) = self.anchor.draws {
            if !given {
                let expected = "`anchor.file` or `anchor.method` beside it, the policy that draws";
                return wrong("anchor.draws", &draws, expected);
            }
            let range = 1..=MOST_DRAWS as u64;
            limits::count("anchor.draws", draws as u64, range)
                .map_err(|e| TrainError::Config(e.to_string()))?;
        }
        let tunes = matches!(rectify.ablation, Ablation::Global | Ablation::TunedAnchor);
        if given && tunes {
            let expected =
                "one that leaves the policy of `anchor.file` or `anchor.method` as it is";
            return wrong(
                "rectify.ablation",
                &format!("{:?}", rectify.ablation),
                expected,
            );
        }
        let units = [
            ("critic.discount", critic.discount),
            ("critic.tau", f64::from(critic.tau)),
            ("critic.expectile", critic.expectile),
            ("rectify.tau", f64::from(rectify.tau)),
        ];
        for (field, value) in units {
            if !(value > 0.0 && value < 1.0) {
                return wrong(field, &value, "a number above 0 and below 1");
            }
        }
        if rectify.ablation.has_head() && critic.form == CriticForm::Residual {
            return wrong(
                "critic.form",
                &"residual",
                "expectile: what a separate head does next, no residual critic evaluates",
            );
        }
        Ok(())
    }
}

impl TrainConfig {
    /// Refuses counts and widths no run can be made of.
    fn check_sizes(&self) -> Result<(), OutOfRange> {
        let (critic, rectify) = (&self.critic, &self.rectify);
        let (batch, drawn) = (self.batch_size as u64, rectify.candidates as u64);
        let (n_critics, draws) = (critic.n_critics as u64, u64::from(MOST_CANDIDATES));
        let (updates, episodes) = (MOST_UPDATES, u64::from(MOST_EPISODES));
        for (field, value, range) in [
            ("batch_size", batch, 1..=MOST_BATCH),
            ("updates", self.updates, 0..=updates),
            ("eval_every", self.eval_every, 1..=updates),
            ("eval_episodes", self.eval_episodes as u64, 1..=episodes),
            ("checkpoint_every", self.checkpoint_every, 1..=updates),
            ("anchor.updates", self.anchor.updates, 0..=updates),
            ("critic.n_critics", n_critics, 2..=MOST_CRITICS),
            ("rectify.candidates", drawn, 2..=draws),
            ("rectify.policy_freq", rectify.policy_freq, 1..=updates),
            ("rectify.warmup", rectify.warmup, 0..=updates),
        ] {
            limits::count(field, value, range)?;
        }
        // Candidates pass through decoder and critics, states through the anchor.
        for (field, hidden, draws) in [
            ("anchor.hidden", &self.anchor.hidden, None),
            ("critic.hidden", &critic.hidden, Some(drawn)),
            ("rectify.hidden", &rectify.hidden, Some(drawn)),
        ] {
            limits::widths(field, hidden)?;
            let widest = hidden.iter().max().map_or(1, |width| *width as u64);
            let draws = draws.map(|draws| ("rectify.candidates", draws));
            let counts = [("batch_size", batch), (field, widest)].into_iter();
            limits::numbers(&counts.chain(draws).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Moves the precisions that stand in a baseline's own table to where those of every run do.
fn lift_precisions(table: &mut toml::Table) {
    for name in [PRECISION, DETACHED] {
        let own = table.get_mut("method").and_then(toml::Value::as_table_mut);
        if let Some(value) = own.and_then(|own| own.remove(name)) {
            table.insert(name.to_owned(), value);
        }
    }
}

/// An error of a method's settings as one of ours.
pub(crate) fn setting(error: spar_baselines::SettingsError) -> TrainError {
    TrainError::Config(error.to_string())
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().trim().replace('\n', " ")
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
