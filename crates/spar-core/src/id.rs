//! Names of environments, tasks and data sets, and what is fixed by them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name that is not one of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{got}`; expected one of: {expected}")]
pub struct UnknownName {
    /// What kind of name was asked for.
    pub what: &'static str,
    /// The name that was given.
    pub got: String,
    /// The names that would have done.
    pub expected: String,
}

macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $type { $($(#[$vdoc])* $variant),+ }

        impl $type {
            /// Every value, in the order tables print them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name used on command lines, in files and in tables.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|v| v.name() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    got: text.to_owned(),
                    expected: Self::ALL.iter().map(|v| v.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl TryFrom<String> for $type {
            type Error = UnknownName;
            fn try_from(text: String) -> Result<Self, UnknownName> { text.parse() }
        }

        impl From<$type> for String {
            fn from(v: $type) -> Self { v.name().to_owned() }
        }
    };
}

named! {
    /// An environment with gym v2 semantics.
    EnvId, "environment", {
        /// Planar two-legged runner, never terminates.
        HalfCheetah = "halfcheetah",
        /// Planar one-legged hopper, terminates when it falls.
        Hopper = "hopper",
        /// Planar walker, terminates when it falls.
        Walker2d = "walker2d",
        /// A point on a line in pure Rust, for tests: no MuJoCo, no reference scores.
        PointMass = "pointmass",
    }
}

impl EnvId {
    /// Width of an observation.
    pub const fn obs_dim(self) -> usize {
        match self {
            Self::HalfCheetah | Self::Walker2d => 17,
            Self::Hopper => 11,
            Self::PointMass => 2,
        }
    }

    /// Width of an action; every component lies in `[-1, 1]`.
    pub const fn act_dim(self) -> usize {
        match self {
            Self::HalfCheetah | Self::Walker2d => 6,
            Self::Hopper => 3,
            Self::PointMass => 1,
        }
    }

    /// Steps after which an episode is cut (a timeout, not a terminal).
    pub const fn horizon(self) -> usize {
        match self {
            Self::PointMass => 100,
            _ => 1000,
        }
    }

    /// Whether an episode can end in it before it is cut.
    pub const fn terminates(self) -> bool {
        match self {
            Self::HalfCheetah => false,
            Self::Hopper | Self::Walker2d | Self::PointMass => true,
        }
    }

    /// D4RL's reference returns `(ref_min, ref_max)` of a random and an expert
    /// policy (`d4rl/infos.py`, equal for every task of an environment), or
    /// `None` where D4RL defines none.
    pub const fn reference_returns(self) -> Option<(f64, f64)> {
        match self {
            Self::HalfCheetah => Some((-280.178_953, 12_135.0)),
            Self::Hopper => Some((-20.272_305, 3_234.3)),
            Self::Walker2d => Some((1.629_008, 4_592.3)),
            Self::PointMass => None,
        }
    }

    /// D4RL's normalized score of an undiscounted episode return, in percent:
    /// `100 (return - ref_min) / (ref_max - ref_min)`.
    pub fn normalized_score(self, episode_return: f64) -> Option<f64> {
        self.reference_returns()
            .map(|(min, max)| 100.0 * (episode_return - min) / (max - min))
    }
}

named! {
    /// How the data of a task were made, by D4RL's names.
    Level, "data level", {
        /// Rollouts of an untrained policy.
        Random = "random",
        /// Rollouts of one early-stopped behaviour policy.
        Medium = "medium",
        /// What the replay buffer held until the medium policy was reached.
        MediumReplay = "medium-replay",
        /// What the replay buffer held at the end of training.
        FullReplay = "full-replay",
        /// Medium rollouts followed by expert rollouts.
        MediumExpert = "medium-expert",
        /// Rollouts of a policy trained to the end.
        Expert = "expert",
    }
}

/// One cell row of the benchmark: an environment and a level of data, written
/// `hopper-medium-replay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    /// How the data were made.
    pub level: Level,
    /// The environment the policy is judged in.
    pub env: EnvId,
}

impl TaskId {
    /// The D4RL id of this task's official data, as in `hopper-medium-v2`.
    pub fn official_id(self) -> String {
        format!("{self}-v2")
    }

    /// The id of locally generated data for this task, as in
    /// `hopper-medium-local`. It never equals an official id.
    pub fn local_id(self) -> String {
        format!("{self}-local")
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.env, self.level))
    }
}

impl FromStr for TaskId {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let unknown = || UnknownName {
            what: "task",
            got: text.to_owned(),
            expected: Level::ALL
                .iter()
                .flat_map(|&level| {
                    EnvId::ALL
                        .iter()
                        .filter(|env| env.reference_returns().is_some())
                        .map(move |&env| Self { level, env }.to_string())
                })
                .collect::<Vec<_>>()
                .join(", "),
        };
        let (env, level) = text.split_once('-').ok_or_else(unknown)?;
        Ok(Self {
            env: env.parse().map_err(|_| unknown())?,
            level: level.parse().map_err(|_| unknown())?,
        })
    }
}

impl TryFrom<String> for TaskId {
    type Error = UnknownName;
    fn try_from(text: String) -> Result<Self, UnknownName> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(task: TaskId) -> Self {
        task.to_string()
    }
}

/// Where a data set comes from. It travels into every result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// An official D4RL file, proven by its sha256.
    Official,
    /// Generated here by D4RL's recipe from this project's behaviour policies.
    Local,
    /// A Minari data set, or a file converted from one.
    Minari,
    /// Any other file a user brought.
    User,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Official => "official",
            Self::Local => "local",
            Self::Minari => "minari",
            Self::User => "user",
        })
    }
}

/// Which data a result was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetIdentity {
    /// `hopper-medium-v2`, `hopper-medium-local`, `mujoco/hopper/medium-v0`, or a
    /// user file's name.
    pub id: String,
    /// Official, local, of Minari or the user's own.
    pub origin: Origin,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Rows in the file.
    pub rows: usize,
}

impl DatasetIdentity {
    /// [`EnvId::normalized_score`] of a return in these data, or in `env` by what
    /// was trained on them. `None` for Minari's, which were recorded in other
    /// versions of the environments and have no reference scores of D4RL's.
    pub fn normalized_score(&self, env: EnvId, episode_return: f64) -> Option<f64> {
        match self.origin {
            Origin::Minari => None,
            Origin::Official | Origin::Local | Origin::User => env.normalized_score(episode_return),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_what_was_written() {
        for &env in EnvId::ALL {
            for &level in Level::ALL {
                let task = TaskId { env, level };
                assert_eq!(task.to_string().parse::<TaskId>().unwrap(), task);
                assert_ne!(task.local_id(), task.official_id());
            }
        }
        assert!("hopper".parse::<TaskId>().is_err());
        let error = "hopper-best".parse::<TaskId>().unwrap_err().to_string();
        assert!(error.contains("hopper-best") && error.contains("walker2d-medium-replay"));
    }

    #[test]
    fn scores_are_d4rls() {
        // d4rl.get_normalized_score("hopper-medium-v2", 1000.0) * 100
        let score = EnvId::Hopper.normalized_score(1000.0).unwrap();
        assert!((score - 31.3492).abs() < 1e-3, "{score}");
        assert_eq!(EnvId::PointMass.normalized_score(1.0), None);
    }

    /// `d4rl/infos.py`: `REF_MIN_SCORE` and `REF_MAX_SCORE` of each environment's tasks,
    /// the mean returns of a random and of an expert policy.
    #[test]
    fn a_random_policy_scores_zero_and_an_expert_a_hundred() {
        let references = [
            ("halfcheetah", -280.178953, 12135.0),
            ("hopper", -20.272305, 3234.3),
            ("walker2d", 1.629008, 4592.3),
        ];
        let known = |env: &&EnvId| env.reference_returns().is_some();
        assert_eq!(EnvId::ALL.iter().filter(known).count(), references.len());
        for (name, random, expert) in references {
            let env: EnvId = name.parse().unwrap();
            let close = |got: Option<f64>, want: f64| {
                let got = got.unwrap();
                assert!((got - want).abs() < 1e-9, "{name}: {got}, expected {want}");
            };
            close(env.normalized_score(random), 0.0);
            close(env.normalized_score(expert), 100.0);
            close(env.normalized_score(0.5 * (random + expert)), 50.0);
            close(env.normalized_score(2.0 * expert - random), 200.0);
        }
    }

    #[test]
    fn minari_s_data_have_no_reference_scores() {
        let of = |origin| DatasetIdentity {
            id: "hopper-medium-v2".to_owned(),
            origin,
            sha256: "0".repeat(64),
            rows: 1,
        };
        let score = |origin| of(origin).normalized_score(EnvId::Hopper, 1000.0);
        assert_eq!(score(Origin::Minari), None);
        for origin in [Origin::Official, Origin::Local, Origin::User] {
            assert_eq!(score(origin), EnvId::Hopper.normalized_score(1000.0));
        }
        let text = serde_json::to_string(&Origin::Minari);
        assert_eq!(text.unwrap(), format!("\"{}\"", Origin::Minari));
    }
}
