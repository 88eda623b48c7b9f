//! Files of demonstrations: what people did, as it was recorded.

use std::path::Path;

use spar_core::EnvId;
use spar_data::arrays;

use crate::{
    CollectError,
    pickle::{self, Array, Value},
    upstream::{Blob, Upstream},
};

/// A copy of the door's pickle as HDF5: the same numbers.
pub(super) const DOOR: Upstream = Upstream {
    file: "hand_dapg/demonstrations/door-v0_demos.hdf5",
    sha256: "02986d8c297f5e19f1cfa33feee710ae60d792b158a1ab041318f68327e3a25e",
    instead: "",
};

/// Demonstrations in it, steps of all of them, and their positions and velocities.
const EPISODES: usize = 25;
const ROWS: usize = 6729;
const STATES: usize = 30;

/// What is known of an environment's demonstrations.
pub(super) struct File {
    env: &'static str,
    /// DAPG's pickle.
    pub(super) pickle: Blob,
    /// Steps of all 25; but for the door's, not checked against a file. They label, and decide no row.
    pub(super) rows: usize,
    /// Keys of a first state that hold what differs between episodes, beside `qpos` and `qvel`:
    /// [`spar_env::Physics::set_placed`].
    place: &'static [&'static str],
}

const fn pickle(file: &'static str, id: &'static str) -> Blob {
    Blob {
        file,
        id,
        from: "; it is the file of that name in dapg/demonstrations of \
               github.com/aravindr93/hand_dapg at 9a1de23",
    }
}

#[rustfmt::skip] // a table: one row a file
const FILES: [File; 4] = [
    File {
        env: "pen", rows: 5000, place: &["desired_orien"],
        pickle: pickle("hand_dapg/demonstrations/pen-v0_demos.pickle", "6322e0f54a39ce40c0e62220e975154655007680"),
    },
    File {
        env: "door", rows: ROWS, place: &["door_body_pos"],
        pickle: pickle("hand_dapg/demonstrations/door-v0_demos.pickle", "ae07c9e8a3eba2afa0852dcaf1e889a2ef03d380"),
    },
    File {
        env: "hammer", rows: 11310, place: &["board_pos"],
        pickle: pickle("hand_dapg/demonstrations/hammer-v0_demos.pickle", "c7d19716650dc97beb3c5e88b9c3c62990088bd0"),
    },
    File {
        env: "relocate", rows: 9942, place: &["obj_pos", "target_pos"],
        pickle: pickle("hand_dapg/demonstrations/relocate-v0_demos.pickle", "c388dd632ca3bcfdb36ef591294d80817e9a4511"),
    },
];

impl File {
    /// That of `env`; `None` if nobody demonstrated anything there.
    pub(super) fn of(env: EnvId) -> Option<&'static Self> {
        FILES.iter().find(|file| file.env == env.name())
    }
}

/// One demonstration of `n` steps, flat and as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Demonstration {
    /// Positions of the first state.
    pub qpos: Vec<f64>,
    /// Velocities of the first state.
    pub qvel: Vec<f64>,
    /// What else the first state has, as [`spar_env::Physics::set_placed`] takes it.
    pub place: Vec<f64>,
    /// Observations, `[n, obs_dim]`.
    pub observations: Vec<f64>,
    /// Actions, `[n, act_dim]`, some of them out of bounds.
    pub actions: Vec<f64>,
    /// Rewards, `[n]`.
    pub rewards: Vec<f64>,
}

impl Demonstration {
    /// Those of `env` in the folder that `SPAR_UPSTREAM_DIR` names: of the door from the HDF5
    /// copy where it is there, else from DAPG's pickle.
    ///
    /// # Errors
    /// If there are none of `env`, if the variable is not set, or if the file is missing or is
    /// another one.
    pub fn of(env: EnvId) -> Result<Vec<Self>, CollectError> {
        let file = File::of(env).ok_or_else(|| nobody(env))?;
        if file.env == "door" && DOOR.is_here() {
            return Self::of_copy();
        }
        let (path, bytes) = file.pickle.read()?;
        Self::of_pickle(env, &bytes, &path)
    }

    /// Those of the door in the HDF5 copy.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_copy() -> Result<Vec<Self>, CollectError> {
        let env = EnvId::named("door").ok_or_else(|| CollectError::Demonstrations {
            file: DOOR.file.to_owned(),
            why: "there is no environment `door`".to_owned(),
        })?;
        let (path, _) = DOOR.read()?;
        let (obs_dim, act_dim) = (env.obs_dim(), env.act_dim());
        let shapes = [
            ("lengths", [EPISODES, 1]),
            ("init/qpos", [EPISODES, STATES]),
            ("init/qvel", [EPISODES, STATES]),
            ("init/door_body_pos", [EPISODES, 3]),
            ("observations", [ROWS, obs_dim]),
            ("actions", [ROWS, act_dim]),
            ("rewards", [ROWS, 1]),
        ];
        let read = arrays(&path, &shapes)?;
        let [lengths, states @ .., seen, actions, rewards] = &read[..] else {
            return Err(wrong(&path, "an array is missing".to_owned()));
        };
        let mut first = 0;
        let demos = lengths.iter().enumerate().map(|(i, &length)| {
            let rows = (length as usize).min(ROWS - first);
            let own = |all: &[f64], width: usize| all[first * width..][..rows * width].to_vec();
            let state = |k: usize, width: usize| states[k][i * width..][..width].to_vec();
            let demo = Self {
                qpos: state(0, STATES),
                qvel: state(1, STATES),
                place: state(2, 3),
                observations: own(seen, obs_dim),
                actions: own(actions, act_dim),
                rewards: own(rewards, 1),
            };
            first += rows;
            demo
        });
        Ok(demos.collect())
    }

    /// Those of `env` in the bytes of a pickle, which came from `path`: a list of
    /// dictionaries of `observations`, `actions`, `rewards` and `init_state_dict`.
    ///
    /// # Errors
    /// If [`pickle::read`] refuses it, or if an array is missing or has another shape.
    pub fn of_pickle(env: EnvId, bytes: &[u8], path: &Path) -> Result<Vec<Self>, CollectError> {
        let file = File::of(env).ok_or_else(|| nobody(env))?;
        let read = pickle::read(bytes).map_err(|source| CollectError::Pickle {
            file: path.display().to_string(),
            source,
        })?;
        let Value::List(demos) = read else {
            return Err(wrong(path, "it holds no list".to_owned()));
        };
        let demos = demos.iter().enumerate().map(|(i, demo)| {
            let said = |why| wrong(path, format!("demonstration {i}: {why}"));
            file.demonstration(env, demo).map_err(said)
        });
        demos.collect()
    }

    /// Steps.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }
}

impl File {
    /// One element of a pickle's list.
    fn demonstration(&self, env: EnvId, value: &Value) -> Result<Demonstration, String> {
        let start = match entry(value, "init_state_dict")? {
            start @ Value::Dict(_) => start,
            _ => return Err("`init_state_dict` is no dictionary".to_owned()),
        };
        let steps = array(value, "rewards")?.values.len();
        if steps == 0 {
            return Err("it has no steps".to_owned());
        }
        let shaped = |key: &str, width: usize| {
            let Array { shape, values } = array(value, key)?;
            if shape[..] == [steps, width] {
                return Ok(values.clone());
            }
            Err(format!(
                "`{key}` has the shape {shape:?}, expected {:?}",
                [steps, width]
            ))
        };
        let state = |key: &str| Ok::<_, String>(array(start, key)?.values.clone());
        let place = self.place.iter().map(|key| state(key));
        Ok(Demonstration {
            qpos: state("qpos")?,
            qvel: state("qvel")?,
            place: place.collect::<Result<Vec<_>, _>>()?.concat(),
            observations: shaped("observations", env.obs_dim())?,
            actions: shaped("actions", env.act_dim())?,
            rewards: array(value, "rewards")?.values.clone(),
        })
    }
}

/// What a dictionary has at `key`.
fn entry<'v>(value: &'v Value, key: &str) -> Result<&'v Value, String> {
    let Value::Dict(entries) = value else {
        return Err("it is no dictionary".to_owned());
    };
    entries
        .get(key)
        .ok_or_else(|| format!("`{key}` is missing"))
}

/// The array of finite numbers that a dictionary has at `key`.
fn array<'v>(value: &'v Value, key: &str) -> Result<&'v Array, String> {
    match entry(value, key)? {
        Value::Array(array) if array.values.iter().all(|x| x.is_finite()) => Ok(array),
        Value::Array(_) => Err(format!("`{key}` holds what is no finite number")),
        _ => Err(format!("`{key}` is no array")),
    }
}

fn nobody(env: EnvId) -> CollectError {
    CollectError::Demonstrations {
        file: env.to_string(),
        why: "there are demonstrations of pen, door, hammer and relocate only".to_owned(),
    }
}

fn wrong(path: &Path, why: String) -> CollectError {
    CollectError::Demonstrations {
        file: path.display().to_string(),
        why,
    }
}
