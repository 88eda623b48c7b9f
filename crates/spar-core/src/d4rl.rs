//! D4RL's environments and tasks, as data.
//!
//! Widths, horizons and reference returns are those of D4RL's registrations and of
//! `d4rl/infos.py` (github.com/Farama-Foundation/D4RL at 89141a6). What of it can be
//! simulated here, `spar-env` knows; where the official files are, `spar-data`'s manifest.

use std::borrow::Cow;

use crate::{
    env::{EnvId, EnvSpec},
    registry::Registered,
    task::{Level, TaskSpec},
};

/// `[obs_dim, act_dim, horizon]`, whether episodes can end early, reference returns.
const fn env(
    place: usize,
    name: &'static str,
    [obs_dim, act_dim, horizon]: [usize; 3],
    terminates: bool,
    reference_returns: Option<(f64, f64)>,
) -> Registered<EnvSpec> {
    Registered::new(
        place,
        EnvSpec {
            name: Cow::Borrowed(name),
            obs_dim,
            act_dim,
            horizon,
            terminates,
            reference_returns,
        },
    )
}

/// Every environment known from the start; the first four are constants of [`EnvId`]. D4RL
/// has one kitchen, whose tasks want different things done: here these are two. The last is
/// none of D4RL's: the policy is trained in it that makes antmaze's data.
#[rustfmt::skip] // a table: one row an environment
pub(crate) static ENVS: [Registered<EnvSpec>; 29] = [
    env(0, "halfcheetah", [17, 6, 1000], false, Some((-280.178_953, 12_135.0))),
    env(1, "hopper", [11, 3, 1000], true, Some((-20.272_305, 3234.3))),
    env(2, "walker2d", [17, 6, 1000], true, Some((1.629_008, 4592.3))),
    env(3, "pointmass", [2, 1, 100], true, None),
    env(4, "ant", [111, 8, 1000], true, Some((-325.6, 3879.7))),
    env(5, "antmaze-umaze", [29, 8, 700], true, Some((0.0, 1.0))),
    env(6, "antmaze-medium", [29, 8, 1000], true, Some((0.0, 1.0))),
    env(7, "antmaze-large", [29, 8, 1000], true, Some((0.0, 1.0))),
    env(8, "pen", [45, 24, 100], true, Some((96.262_799, 3_076.833_101_782_687_7))),
    env(9, "hammer", [46, 26, 200], false, Some((-274.856_578, 12_794.134_825_156_867))),
    env(10, "door", [39, 28, 200], false, Some((-56.512_833, 2_880.569_308_729_873_7))),
    env(11, "relocate", [39, 30, 200], false, Some((-6.425_911, 4_233.877_797_728_884))),
    env(12, "kitchen", [60, 9, 280], true, Some((0.0, 4.0))),
    env(13, "maze2d-open", [4, 2, 150], false, Some((0.01, 20.66))),
    env(14, "maze2d-umaze", [4, 2, 300], false, Some((23.85, 161.86))),
    env(15, "maze2d-medium", [4, 2, 600], false, Some((13.13, 277.39))),
    env(16, "maze2d-large", [4, 2, 800], false, Some((6.7, 273.99))),
    env(17, "maze2d-open-dense", [4, 2, 150], false, Some((11.17817, 27.166_538_620_695_782))),
    env(18, "maze2d-umaze-dense", [4, 2, 300], false, Some((68.537_689, 193.662_856_423_814_82))),
    env(19, "maze2d-medium-dense", [4, 2, 600], false, Some((44.264_742, 297.455_254_777_712_5))),
    env(20, "maze2d-large-dense", [4, 2, 800], false, Some((30.569_041, 303.485_738_270_900_2))),
    env(21, "maze2d-eval-umaze", [4, 2, 300], false, Some((36.63, 141.4))),
    env(22, "maze2d-eval-medium", [4, 2, 600], false, Some((13.07, 204.93))),
    env(23, "maze2d-eval-large", [4, 2, 800], false, Some((16.4, 302.22))),
    env(24, "maze2d-eval-umaze-dense", [4, 2, 300], false, Some((56.95455, 178.213_731_332_483_97))),
    env(25, "maze2d-eval-medium-dense", [4, 2, 600], false, Some((42.28578, 235.565_895_748_238_8))),
    env(26, "maze2d-eval-large-dense", [4, 2, 800], false, Some((56.95455, 326.096_476_550_826_37))),
    env(27, "kitchen-mixed", [60, 9, 280], true, Some((0.0, 4.0))),
    env(28, "antmaze-ant", [29, 8, 1000], true, None),
];

/// Environments that have data of every [`Level`]: Gym-MuJoCo's, and the one of tests, whose
/// tasks are not D4RL's.
const LEVELLED: [&str; 5] = ["halfcheetah", "hopper", "walker2d", "ant", TEST];

const TEST: &str = "pointmass";

/// The other tasks: name, environment, D4RL's id, suite. Of two versions of one id the
/// newer has the plain name.
#[rustfmt::skip] // a table: one row a task
const TASKS: [(&str, &str, &str, &str); 53] = [
    ("maze2d-open", "maze2d-open", "maze2d-open-v0", "maze2d"),
    ("maze2d-umaze", "maze2d-umaze", "maze2d-umaze-v1", "maze2d"),
    ("maze2d-medium", "maze2d-medium", "maze2d-medium-v1", "maze2d"),
    ("maze2d-large", "maze2d-large", "maze2d-large-v1", "maze2d"),
    ("maze2d-open-dense", "maze2d-open-dense", "maze2d-open-dense-v0", "maze2d"),
    ("maze2d-umaze-dense", "maze2d-umaze-dense", "maze2d-umaze-dense-v1", "maze2d"),
    ("maze2d-medium-dense", "maze2d-medium-dense", "maze2d-medium-dense-v1", "maze2d"),
    ("maze2d-large-dense", "maze2d-large-dense", "maze2d-large-dense-v1", "maze2d"),
    ("maze2d-eval-umaze", "maze2d-eval-umaze", "maze2d-eval-umaze-v1", "maze2d"),
    ("maze2d-eval-medium", "maze2d-eval-medium", "maze2d-eval-medium-v1", "maze2d"),
    ("maze2d-eval-large", "maze2d-eval-large", "maze2d-eval-large-v1", "maze2d"),
    ("maze2d-eval-umaze-dense", "maze2d-eval-umaze-dense", "maze2d-eval-umaze-dense-v1", "maze2d"),
    ("maze2d-eval-medium-dense", "maze2d-eval-medium-dense", "maze2d-eval-medium-dense-v1", "maze2d"),
    ("maze2d-eval-large-dense", "maze2d-eval-large-dense", "maze2d-eval-large-dense-v1", "maze2d"),
    ("antmaze-umaze-v0", "antmaze-umaze", "antmaze-umaze-v0", "antmaze"),
    ("antmaze-umaze-diverse-v0", "antmaze-umaze", "antmaze-umaze-diverse-v0", "antmaze"),
    ("antmaze-medium-play-v0", "antmaze-medium", "antmaze-medium-play-v0", "antmaze"),
    ("antmaze-medium-diverse-v0", "antmaze-medium", "antmaze-medium-diverse-v0", "antmaze"),
    ("antmaze-large-play-v0", "antmaze-large", "antmaze-large-play-v0", "antmaze"),
    ("antmaze-large-diverse-v0", "antmaze-large", "antmaze-large-diverse-v0", "antmaze"),
    ("antmaze-umaze", "antmaze-umaze", "antmaze-umaze-v2", "antmaze"),
    ("antmaze-umaze-diverse", "antmaze-umaze", "antmaze-umaze-diverse-v2", "antmaze"),
    ("antmaze-medium-play", "antmaze-medium", "antmaze-medium-play-v2", "antmaze"),
    ("antmaze-medium-diverse", "antmaze-medium", "antmaze-medium-diverse-v2", "antmaze"),
    ("antmaze-large-play", "antmaze-large", "antmaze-large-play-v2", "antmaze"),
    ("antmaze-large-diverse", "antmaze-large", "antmaze-large-diverse-v2", "antmaze"),
    ("pen-human-v0", "pen", "pen-human-v0", "adroit"),
    ("pen-cloned-v0", "pen", "pen-cloned-v0", "adroit"),
    ("pen-expert-v0", "pen", "pen-expert-v0", "adroit"),
    ("hammer-human-v0", "hammer", "hammer-human-v0", "adroit"),
    ("hammer-cloned-v0", "hammer", "hammer-cloned-v0", "adroit"),
    ("hammer-expert-v0", "hammer", "hammer-expert-v0", "adroit"),
    ("door-human-v0", "door", "door-human-v0", "adroit"),
    ("door-cloned-v0", "door", "door-cloned-v0", "adroit"),
    ("door-expert-v0", "door", "door-expert-v0", "adroit"),
    ("relocate-human-v0", "relocate", "relocate-human-v0", "adroit"),
    ("relocate-cloned-v0", "relocate", "relocate-cloned-v0", "adroit"),
    ("relocate-expert-v0", "relocate", "relocate-expert-v0", "adroit"),
    ("pen-human", "pen", "pen-human-v1", "adroit"),
    ("pen-cloned", "pen", "pen-cloned-v1", "adroit"),
    ("pen-expert", "pen", "pen-expert-v1", "adroit"),
    ("hammer-human", "hammer", "hammer-human-v1", "adroit"),
    ("hammer-cloned", "hammer", "hammer-cloned-v1", "adroit"),
    ("hammer-expert", "hammer", "hammer-expert-v1", "adroit"),
    ("door-human", "door", "door-human-v1", "adroit"),
    ("door-cloned", "door", "door-cloned-v1", "adroit"),
    ("door-expert", "door", "door-expert-v1", "adroit"),
    ("relocate-human", "relocate", "relocate-human-v1", "adroit"),
    ("relocate-cloned", "relocate", "relocate-cloned-v1", "adroit"),
    ("relocate-expert", "relocate", "relocate-expert-v1", "adroit"),
    ("kitchen-complete", "kitchen", "kitchen-complete-v0", "kitchen"),
    ("kitchen-partial", "kitchen", "kitchen-partial-v0", "kitchen"),
    ("kitchen-mixed", "kitchen-mixed", "kitchen-mixed-v0", "kitchen"),
];

/// Every task known from the start: level by level, then suite by suite.
pub(crate) fn tasks() -> Vec<TaskSpec> {
    let of = |name: &str| EnvId::named(name).unwrap_or(EnvId::POINT_MASS);
    let locomotion = Level::ALL.into_iter().flat_map(|level| {
        LEVELLED.into_iter().map(move |env| TaskSpec {
            name: format!("{env}-{level}").into(),
            env: of(env),
            level: Some(level),
            official_id: (env != TEST).then(|| format!("{env}-{level}-v2").into()),
            suite: if env == TEST { "tests" } else { "gym-mujoco" }.into(),
        })
    });
    let others = TASKS
        .into_iter()
        .map(|(name, env, official, suite)| TaskSpec {
            name: name.into(),
            env: of(env),
            level: None,
            official_id: Some(official.into()),
            suite: suite.into(),
        });
    locomotion.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_an_environment_of_its_own_kind() {
        for (place, env) in EnvId::all().into_iter().enumerate() {
            assert_eq!(EnvId::named(env.name()), Some(env), "{place}");
        }
        let tasks = tasks();
        let official = tasks.iter().filter(|task| task.official_id.is_some());
        assert_eq!(official.count(), 77);
        for task in tasks {
            assert!(task.name.starts_with(task.env.name()), "{task:?}");
        }
    }
}
