//! What decides a run.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use spar_baselines::{Entry, METHODS};
use spar_core::{
    DatasetIdentity, Difference, EnvId, RunIdentity, Scope,
    identity::{out_of_reach, reaches_baseline},
};
use spar_data::Reading;
use spar_nn::{MatrixUnit, Precision, Precisions};

use crate::{
    config::TrainConfig, control::Phase, error::TrainError, finetune::Finetune, offline::Offline,
    online::STEPS,
};

/// A method that can be trained.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// The behaviour-cloning anchor alone.
    Bc,
    /// The anchor, then its rectification.
    Spar,
    /// A method of `spar-baselines`.
    Baseline(&'static Entry),
}

impl Method {
    /// The name in tables and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bc => "bc",
            Self::Spar => "spar",
            Self::Baseline(entry) => entry.name,
        }
    }

    /// Every method there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let baselines = METHODS.iter().map(Self::Baseline);
        [Self::Bc, Self::Spar].into_iter().chain(baselines)
    }

    /// Whether it begins with training the anchor.
    pub fn anchored(self) -> bool {
        match self {
            Self::Bc | Self::Spar => true,
            Self::Baseline(entry) => entry.anchored,
        }
    }

    /// Whether it learns from rewards: a clone of the behaviour does not.
    pub fn rewarded(self) -> bool {
        match self {
            Self::Bc => false,
            Self::Spar => true,
            Self::Baseline(entry) => entry.rewarded,
        }
    }

    /// Whether the setting `name`, a field of [`TrainConfig`], does not reach it.
    fn is_without(self, name: &str) -> bool {
        let mut others = out_of_reach(self.name(), self.anchored());
        others.any(|path| {
            let field = path
                .strip_prefix("config.")
                .map(|path| path.trim_end_matches('.'));
            field == Some(name)
        })
    }

    /// The phase in which its own networks are trained.
    pub(crate) fn phase(self) -> Phase {
        match self {
            Self::Bc => Phase::Anchor,
            Self::Spar => Phase::Spar,
            Self::Baseline(_) => Phase::Method,
        }
    }

    /// What a checkpoint counts the updates of its own networks under.
    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::Bc => "updates.anchor",
            Self::Spar => "updates.spar",
            Self::Baseline(_) => "updates.method",
        }
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Method {}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for Method {
    type Err = TrainError;
    fn from_str(text: &str) -> Result<Self, TrainError> {
        let found = Self::all().find(|method| method.name() == text);
        found.ok_or_else(|| TrainError::Method {
            got: text.to_owned(),
            expected: Self::all().map(Self::name).collect::<Vec<_>>().join(", "),
        })
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

/// Everything that decides a run's bits: the content of `spec.json`, which holds of the
/// settings only those that reach its method. Read, the others are the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct RunSpec {
    /// Suite, or `none`.
    pub suite: String,
    /// Preset, or `none`.
    pub preset: String,
    /// Task id, or the name of the user's file.
    pub task: String,
    /// What is trained.
    pub method: Method,
    /// The suite's name for SPAR with some settings changed; absent for a method as
    /// it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Training seed.
    pub seed: u64,
    /// Where the policy is evaluated; absent without an environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<EnvId>,
    /// What takes the environment's place where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Offline>,
    /// What it is trained on.
    pub dataset: DatasetIdentity,
    /// How the data are read, where that is not as usual.
    #[serde(default, skip_serializing_if = "Reading::is_usual")]
    pub reading: Reading,
    /// Seed of the evaluation episodes; without an environment, of which episodes of the
    /// data are held out.
    pub eval_seed: u64,
    /// Episodes of the final evaluation; 0 without an environment.
    pub final_episodes: usize,
    /// What computes the updates; the CPU in specs from before there was a choice.
    #[serde(default)]
    pub device: DeviceKind,
    /// Hyper-parameters; of a fine-tuned run, `updates` are those done offline.
    pub config: TrainConfig,
    /// How an offline run is fine-tuned online; absent of one that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<Finetune>,
}

impl Serialize for RunSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut spec = written(&Whole(self)).map_err(serde::ser::Error::custom)?;
        if let Some(config) = spec.get_mut("config").and_then(Value::as_object_mut) {
            config.retain(|name, value| {
                let path = format!("config.{name}");
                !self.method.is_without(name) || reaches_baseline(self.method.name(), &path, value)
            });
        }
        spec.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RunSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut spec = Value::deserialize(deserializer)?;
        let method = spec.get("method").cloned();
        let method = method.ok_or_else(|| D::Error::missing_field("method"))?;
        let method = Method::deserialize(method).map_err(D::Error::custom)?;
        if let Some(config) = spec.get_mut("config").and_then(Value::as_object_mut) {
            let defaults = written(&TrainConfig::default()).map_err(D::Error::custom)?;
            for (name, value) in defaults.as_object().into_iter().flatten() {
                if method.is_without(name) && !config.contains_key(name) {
                    config.insert(name.clone(), value.clone());
                }
            }
        }
        Self::deserialize(spec).map_err(D::Error::custom)
    }
}

/// A spec with all its settings.
struct Whole<'a>(&'a RunSpec);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RunSpec::serialize(self.0, serializer)
    }
}

/// `value` written and read: single-precision numbers as their shortest decimals.
fn written(value: &impl Serialize) -> serde_json::Result<Value> {
    serde_json::from_str(&serde_json::to_string(value)?)
}

impl RunSpec {
    /// The name in tables: the variant's, else the method's.
    pub fn label(&self) -> &str {
        self.variant.as_deref().unwrap_or(self.method.name())
    }

    /// Steps after which an episode counts as cut in data that flag no cuts.
    pub fn horizon(&self) -> usize {
        match (self.env, &self.offline) {
            (Some(env), _) => env.horizon(),
            (None, Some(offline)) => offline.horizon(),
            (None, None) => usize::MAX,
        }
    }

    /// Updates of the method's own networks: SPAR's, or the anchor's for `bc`. Of a run that
    /// is fine-tuned, its steps in the environment, which stand for updates everywhere.
    pub fn updates(&self) -> u64 {
        match (&self.finetune, self.method) {
            (Some(finetune), _) => finetune.steps,
            (None, Method::Bc) => self.config.anchor.updates,
            (None, Method::Spar | Method::Baseline(_)) => self.config.updates,
        }
    }

    /// What to say once before the run, where this machine computes its precision in other
    /// instructions than those meant for it: the bits are the same, the time is not.
    pub fn slow_precision(&self) -> Option<String> {
        let Precisions { learning, detached } = self.config.precisions();
        // An anchor's training has no passes without gradients.
        let detached = (self.method != Method::Bc).then_some(detached);
        let mut rounded = [Some(learning), detached].into_iter().flatten();
        let name = rounded.find(|&p| p != Precision::F32)?.name();
        let absent = MatrixUnit::absent()?;
        Some(format!(
            "{name} is emulated here, with the same bits and slower than f32: no matrix unit, \
             {absent}; `precision` = \"f32\" is faster, and another run"
        ))
    }

    /// The phase whose end is the run's.
    pub(crate) fn phase(&self) -> Phase {
        match self.finetune {
            Some(_) => Phase::Online,
            None => self.method.phase(),
        }
    }

    /// What a checkpoint counts that phase under.
    pub(crate) fn counter(&self) -> &'static str {
        match self.finetune {
            Some(_) => STEPS,
            None => self.method.counter(),
        }
    }

    /// Updates of the anchor that is trained first; none where there is none, or where a
    /// file has it.
    pub fn anchor_updates(&self) -> u64 {
        let trained = self.method.anchored() && self.config.anchor.file.is_none();
        if trained {
            self.config.anchor.updates
        } else {
            0
        }
    }

    /// The settings of the baseline this is a run of.
    ///
    /// # Errors
    /// If there are none, or wrong ones.
    pub(crate) fn settings(&self) -> Result<&toml::Table, TrainError> {
        let Method::Baseline(entry) = self.method else {
            let why = format!("`{}` has no settings of its own", self.method.name());
            return Err(TrainError::Config(why));
        };
        let Some(table) = &self.config.method else {
            return Err(TrainError::Config(format!(
                "`method` is missing, expected the settings of {}",
                entry.name
            )));
        };
        entry.feed(table).map_err(crate::config::setting)?;
        Ok(table)
    }

    /// What makes this run the same as another: see [`RunIdentity`].
    ///
    /// # Errors
    /// Only if the spec cannot be written as JSON.
    pub fn identity(&self) -> Result<RunIdentity, TrainError> {
        let identity = RunIdentity::of(self, self.method.anchored());
        Ok(identity.map_err(std::io::Error::from)?)
    }

    /// Every field in which a run already in a folder differs so that it cannot be
    /// resumed as this one. The number of updates and of final episodes may differ: a
    /// longer run begins as a shorter one.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn differences(&self, there: &Self) -> Result<Vec<Difference>, TrainError> {
        Ok(self
            .identity()?
            .differences(&there.identity()?, Scope::Resume))
    }
}
