//! Environments by name, and what is fixed by a name.
//!
//! A run, a suite and a policy name their environment; widths, horizon and reference
//! returns follow from the name. The names are those of D4RL's environments and those a
//! program adds with [`EnvId::register`]: nothing in this workspace lists them in a `match`.

use std::{borrow::Cow, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    d4rl,
    id::{NotRegistered, UnknownName},
    names,
    registry::{Registered, Registry, registered_id},
};

/// What is fixed by an environment's name.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvSpec {
    /// The name on command lines, in files and in tables.
    pub name: Cow<'static, str>,
    /// Width of an observation.
    pub obs_dim: usize,
    /// Width of an action; every component lies in `[-1, 1]`.
    pub act_dim: usize,
    /// Steps after which an episode is cut (a timeout, not a terminal).
    pub horizon: usize,
    /// Whether an episode can end in it before it is cut.
    pub terminates: bool,
    /// Returns `(ref_min, ref_max)` that score 0 and 100, D4RL's those of a random and of an
    /// expert policy (`d4rl/infos.py`, equal for every task of an environment). `None` where
    /// there are none: results are then returns without a score.
    pub reference_returns: Option<(f64, f64)>,
}

impl EnvSpec {
    /// Refuses a spec that no environment can have.
    fn check(&self) -> Result<(), NotRegistered> {
        names::check("environment", &self.name)?;
        let widths = [
            ("obs_dim", self.obs_dim),
            ("act_dim", self.act_dim),
            ("horizon", self.horizon),
        ];
        let wrong = |field: &'static str, got: String, expected: &'static str| {
            let (what, name) = ("environment", self.name.to_string());
            Err(NotRegistered::Field {
                what,
                name,
                field,
                got,
                expected,
            })
        };
        if let Some((field, got)) = widths.iter().find(|(_, width)| *width == 0) {
            return wrong(field, got.to_string(), "at least 1");
        }
        match self.reference_returns {
            Some((min, max)) if !(min.is_finite() && max.is_finite() && min < max) => wrong(
                "reference_returns",
                format!("({min}, {max})"),
                "two finite returns, the lower one first",
            ),
            _ => Ok(()),
        }
    }
}

/// An environment that is known in this program: its name, and through it its
/// [`EnvSpec`]. Cheap to copy and to compare; written as the name.
///
/// ```
/// use spar_core::{EnvId, EnvSpec};
///
/// let hopper: EnvId = "hopper".parse()?;
/// assert_eq!((hopper, hopper.obs_dim()), (EnvId::HOPPER, 11));
///
/// let arm = EnvId::register(EnvSpec {
///     name: "two-link-arm".into(),
///     obs_dim: 6,
///     act_dim: 2,
///     horizon: 200,
///     terminates: false,
///     reference_returns: None,
/// })?;
/// assert_eq!("two-link-arm".parse::<EnvId>()?, arm);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvId(&'static Registered<EnvSpec>);

static REGISTRY: Registry<EnvSpec> = Registry::new(|| d4rl::ENVS.iter().collect());

impl EnvId {
    /// Planar two-legged runner, never terminates.
    pub const HALF_CHEETAH: Self = Self(&d4rl::ENVS[0]);
    /// Planar one-legged hopper, terminates when it falls.
    pub const HOPPER: Self = Self(&d4rl::ENVS[1]);
    /// Planar walker, terminates when it falls.
    pub const WALKER2D: Self = Self(&d4rl::ENVS[2]);
    /// A point on a line in pure Rust, for tests: no MuJoCo, no reference scores.
    pub const POINT_MASS: Self = Self(&d4rl::ENVS[3]);

    /// Every environment known in this program, in the order tables print them: D4RL's,
    /// then what was registered.
    pub fn all() -> Vec<Self> {
        REGISTRY.with(|all| all.iter().copied().map(Self).collect())
    }

    /// The environment with this name, if it is known.
    pub fn named(name: &str) -> Option<Self> {
        let same = |env: &&'static Registered<EnvSpec>| env.spec.name == name;
        REGISTRY.with(|all| all.iter().copied().find(same).map(Self))
    }

    /// Makes an environment known in this program, for as long as it runs. The same spec
    /// once more gives the same id. What simulates it is registered with `spar-env`.
    ///
    /// # Errors
    /// If the name is none, or another environment's, or if a field is out of its range.
    pub fn register(spec: EnvSpec) -> Result<Self, NotRegistered> {
        spec.check()?;
        let registered = REGISTRY.register(spec, |known, spec| known.name == spec.name);
        registered.map(Self).map_err(|spec| NotRegistered::Taken {
            what: "environment",
            name: spec.name.into_owned(),
        })
    }

    /// What is fixed by the name.
    pub fn spec(self) -> &'static EnvSpec {
        &self.0.spec
    }

    /// The name used on command lines, in files and in tables.
    pub fn name(self) -> &'static str {
        &self.0.spec.name
    }

    /// Width of an observation.
    pub const fn obs_dim(self) -> usize {
        self.0.spec.obs_dim
    }

    /// Width of an action; every component lies in `[-1, 1]`.
    pub const fn act_dim(self) -> usize {
        self.0.spec.act_dim
    }

    /// Steps after which an episode is cut (a timeout, not a terminal).
    pub const fn horizon(self) -> usize {
        self.0.spec.horizon
    }

    /// Whether an episode can end in it before it is cut.
    pub const fn terminates(self) -> bool {
        self.0.spec.terminates
    }

    /// See [`EnvSpec::reference_returns`].
    pub const fn reference_returns(self) -> Option<(f64, f64)> {
        self.0.spec.reference_returns
    }

    /// D4RL's normalized score of an undiscounted episode return, in percent:
    /// `100 (return - ref_min) / (ref_max - ref_min)`.
    pub fn normalized_score(self, episode_return: f64) -> Option<f64> {
        self.reference_returns()
            .map(|(min, max)| 100.0 * (episode_return - min) / (max - min))
    }
}

registered_id!(EnvId);

impl FromStr for EnvId {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::named(text).ok_or_else(|| UnknownName {
            what: "environment",
            got: text.to_owned(),
            expected: Self::all()
                .iter()
                .map(|env| env.name())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn arm() -> EnvSpec {
        EnvSpec {
            name: "arm-of-a-test".into(),
            obs_dim: 4,
            act_dim: 2,
            horizon: 50,
            terminates: false,
            reference_returns: Some((-1.0, 3.0)),
        }
    }

    #[test]
    fn a_registered_environment_is_read_like_one_of_d4rls() {
        let env = EnvId::register(arm()).unwrap();
        assert_eq!(EnvId::register(arm()).unwrap(), env);
        assert_eq!("arm-of-a-test".parse::<EnvId>().unwrap(), env);
        assert_eq!(serde_json::to_string(&env).unwrap(), "\"arm-of-a-test\"");
        assert_eq!(env.normalized_score(1.0), Some(50.0));
        assert!(env > EnvId::HOPPER && EnvId::all().contains(&env));
    }

    #[test]
    fn what_is_no_environment_is_refused_by_field() {
        let with = |change: fn(&mut EnvSpec)| {
            let mut spec = arm();
            spec.name = "never-registered".into();
            change(&mut spec);
            EnvId::register(spec).unwrap_err().to_string()
        };
        for (error, fact) in [
            (with(|s| s.name = "a b".into()), "holds ` `"),
            (with(|s| s.name = "hopper".into()), "already"),
            (with(|s| s.obs_dim = 0), "obs_dim is 0, expected at least 1"),
            (with(|s| s.horizon = 0), "horizon is 0"),
            (with(|s| s.reference_returns = Some((1.0, 1.0))), "(1, 1)"),
            (
                with(|s| s.reference_returns = Some((0.0, f64::NAN))),
                "finite",
            ),
        ] {
            assert!(error.contains(fact) && !error.contains('\n'), "{error}");
        }
        assert!(EnvId::named("never-registered").is_none());
        let error = "hoper".parse::<EnvId>().unwrap_err().to_string();
        assert!(
            error.contains("`hoper`") && error.contains("walker2d"),
            "{error}"
        );
    }

    #[test]
    fn scores_are_d4rls() {
        // d4rl.get_normalized_score("hopper-medium-v2", 1000.0) * 100
        let score = EnvId::HOPPER.normalized_score(1000.0).unwrap();
        assert!((score - 31.3492).abs() < 1e-3, "{score}");
        assert_eq!(EnvId::POINT_MASS.normalized_score(1.0), None);
    }

    /// `d4rl/infos.py`: `REF_MIN_SCORE` and `REF_MAX_SCORE` of each environment's tasks,
    /// the mean returns of a random and of an expert policy.
    #[test]
    fn a_random_policy_scores_zero_and_an_expert_a_hundred() {
        for (name, random, expert) in [
            ("halfcheetah", -280.178953, 12135.0),
            ("hopper", -20.272305, 3234.3),
            ("walker2d", 1.629008, 4592.3),
            ("ant", -325.6, 3879.7),
            ("antmaze-large", 0.0, 1.0),
            ("pen", 96.262799, 3076.8331017826877),
            ("maze2d-eval-large-dense", 56.95455, 326.09647655082637),
        ] {
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
}
