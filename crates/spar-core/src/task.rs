//! Tasks by name: data of a kind, and the environment they are evaluated in.
//!
//! A table has a row for each task. D4RL's are known from the start; a program, or a suite
//! file, adds its own.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    d4rl,
    env::EnvId,
    id::{NotRegistered, UnknownName},
    names,
    registry::{Registered, Registry, registered_id},
};

/// How the data of a task were made, by D4RL's names for Gym-MuJoCo: what there is a recipe
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Rollouts of an untrained policy.
    Random,
    /// Rollouts of one early-stopped behaviour policy.
    Medium,
    /// What the replay buffer held until the medium policy was reached.
    MediumReplay,
    /// What the replay buffer held at the end of training.
    FullReplay,
    /// Medium rollouts followed by expert rollouts.
    MediumExpert,
    /// Rollouts of a policy trained to the end.
    Expert,
}

impl Level {
    /// Every level, in the order tables print them.
    pub const ALL: [Self; 6] = [
        Self::Random,
        Self::Medium,
        Self::MediumReplay,
        Self::FullReplay,
        Self::MediumExpert,
        Self::Expert,
    ];

    /// The name in a task's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Medium => "medium",
            Self::MediumReplay => "medium-replay",
            Self::FullReplay => "full-replay",
            Self::MediumExpert => "medium-expert",
            Self::Expert => "expert",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is fixed by a task's name.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// The name on command lines, in files and in tables, as in `hopper-medium-replay`.
    pub name: Cow<'static, str>,
    /// Where a policy trained on its data is evaluated.
    pub env: EnvId,
    /// How its data were made, where that is one of D4RL's Gym-MuJoCo recipes.
    pub level: Option<Level>,
    /// D4RL's id of its official data, as in `hopper-medium-replay-v2`; `None` for a task
    /// that is not D4RL's.
    pub official_id: Option<Cow<'static, str>>,
    /// The suite it is of, as in `gym-mujoco`.
    pub suite: Cow<'static, str>,
}

impl TaskSpec {
    fn answers_to(&self, text: &str) -> bool {
        self.name == text || self.official_id.as_deref() == Some(text)
    }
}

/// A task that is known in this program: its name, and through it its [`TaskSpec`]. Written
/// as the name, read by the name or by D4RL's id.
///
/// ```
/// use spar_core::{EnvId, TaskId};
///
/// let task: TaskId = "hopper-medium-v2".parse()?;
/// assert_eq!((task.name(), task.env()), ("hopper-medium", EnvId::HOPPER));
/// assert_eq!("antmaze-large-play".parse::<TaskId>()?.official_id(), Some("antmaze-large-play-v2"));
/// # Ok::<(), spar_core::id::UnknownName>(())
/// ```
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(&'static Registered<TaskSpec>);

static REGISTRY: Registry<TaskSpec> = Registry::new(|| {
    let built_in = d4rl::tasks().into_iter().enumerate();
    let built_in = built_in.map(|(place, spec)| Registered::leak(place, spec));
    built_in.collect()
});

impl TaskId {
    /// Every task known in this program, in the order tables print them: D4RL's and
    /// those of tests, then what was registered.
    pub fn all() -> Vec<Self> {
        REGISTRY.with(|all| all.iter().copied().map(Self).collect())
    }

    /// The task of an environment and a level of data, if there is one.
    pub fn of(env: EnvId, level: Level) -> Option<Self> {
        let same = |task: &Self| task.env() == env && task.level() == Some(level);
        REGISTRY.with(|all| all.iter().copied().map(Self).find(same))
    }

    /// Makes a task known in this program, for as long as it runs. The same spec once more
    /// gives the same id.
    ///
    /// # Errors
    /// If the name is none, or another task's.
    pub fn register(spec: TaskSpec) -> Result<Self, NotRegistered> {
        names::check("task", &spec.name)?;
        let registered = REGISTRY.register(spec, |known, spec| known.answers_to(&spec.name));
        registered.map(Self).map_err(|spec| NotRegistered::Taken {
            what: "task",
            name: spec.name.into_owned(),
        })
    }

    /// The name used on command lines, in files and in tables.
    pub fn name(self) -> &'static str {
        &self.0.spec.name
    }

    /// Where a policy trained on its data is evaluated.
    pub fn env(self) -> EnvId {
        self.0.spec.env
    }

    /// How its data were made, where that is one of D4RL's Gym-MuJoCo recipes.
    pub fn level(self) -> Option<Level> {
        self.0.spec.level
    }

    /// The suite it is of, as in `gym-mujoco`.
    pub fn suite(self) -> &'static str {
        &self.0.spec.suite
    }

    /// D4RL's id of its official data, as in `hopper-medium-v2`.
    pub fn official_id(self) -> Option<&'static str> {
        self.0.spec.official_id.as_deref()
    }

    /// The id of locally generated data for this task, as in `hopper-medium-local`. It
    /// never equals an official id.
    pub fn local_id(self) -> String {
        format!("{self}-local")
    }
}

registered_id!(TaskId);

impl FromStr for TaskId {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let all = Self::all();
        let found = all.iter().find(|task| task.0.spec.answers_to(text));
        found.copied().ok_or_else(|| UnknownName {
            what: "task",
            got: text.to_owned(),
            expected: expected(text, &all),
        })
    }
}

/// The names a user may have meant: those that begin like `text`, else all.
fn expected(text: &str, all: &[TaskId]) -> String {
    let first = text.split('-').next().unwrap_or(text);
    let near = |task: &&TaskId| task.name().split('-').next() == Some(first);
    let mut names: Vec<&str> = all.iter().filter(near).map(|task| task.name()).collect();
    if names.is_empty() {
        names = all.iter().map(|task| task.name()).collect();
    }
    names.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_task_reads_back_by_its_name_and_by_d4rls_id() {
        let all = TaskId::all();
        for &task in &all {
            assert_eq!(task.to_string().parse::<TaskId>().unwrap(), task);
            if let Some(official) = task.official_id() {
                assert_eq!(official.parse::<TaskId>().unwrap(), task);
                assert_ne!(task.local_id(), official);
            }
        }
        for env in [EnvId::HALF_CHEETAH, EnvId::HOPPER, EnvId::WALKER2D] {
            for level in Level::ALL {
                let task = TaskId::of(env, level).unwrap();
                assert_eq!(task.to_string(), format!("{env}-{level}"));
                assert_eq!(task.official_id().unwrap(), format!("{env}-{level}-v2"));
            }
        }
        assert!(TaskId::of(EnvId::named("pen").unwrap(), Level::Medium).is_none());
        assert!("hopper".parse::<TaskId>().is_err());
        let error = "hopper-best".parse::<TaskId>().unwrap_err().to_string();
        assert!(error.contains("hopper-best") && error.contains("hopper-medium-replay"));
        assert!(!error.contains("walker2d"), "{error}");
        let error = "best".parse::<TaskId>().unwrap_err().to_string();
        assert!(error.contains("walker2d-medium-replay"), "{error}");
    }

    #[test]
    fn a_task_of_ones_own_is_read_like_d4rls_and_takes_no_name_twice() {
        let spec = |name: &'static str| TaskSpec {
            name: name.into(),
            env: EnvId::POINT_MASS,
            level: None,
            official_id: None,
            suite: "tests".into(),
        };
        let task = TaskId::register(spec("point-of-a-test")).unwrap();
        assert_eq!(TaskId::register(spec("point-of-a-test")).unwrap(), task);
        assert_eq!("point-of-a-test".parse::<TaskId>().unwrap(), task);
        for taken in ["hopper-medium", "hopper-medium-v2"] {
            let error = TaskId::register(spec(taken)).unwrap_err().to_string();
            assert!(error.contains("already"), "{error}");
        }
    }
}
