//! D4RL's own check of a data file (`scripts/check_mujoco_datasets.py`), and a
//! stricter one: does the environment, put into the recorded state and given
//! the recorded action, do what the file says it did?
//!
//! It is what tells a file of another environment, of another version of the
//! physics, or with shifted rows from a sound one, before anything is trained
//! on it.

use serde::{Deserialize, Serialize};
use spar_core::EnvId;
use spar_data::{Dataset, EpisodeEnd};
use spar_env::{EnvError, antmaze, maze2d::Reward};

use crate::adroit;

/// Why a file could not be checked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The environment's state cannot be set.
    #[error(
        "{0}: its state cannot be set, so that no row can be stepped from its own; nothing was verified"
    )]
    NoPhysics(EnvId),
    /// The file does not record the simulator's state.
    #[error(
        "{id}: key `{key}` is missing: without the recorded simulator state there is nothing to \
         step from; give a file with infos/qpos and infos/qvel"
    )]
    NoState {
        /// The data set.
        id: String,
        /// The absent key.
        key: &'static str,
    },
    /// A width is not the environment's.
    #[error("{id}: {key} are {got} wide, but {env} needs {expected}; name the right environment")]
    Width {
        /// The data set.
        id: String,
        /// The array.
        key: &'static str,
        /// The environment that was named.
        env: EnvId,
        /// Its width.
        expected: usize,
        /// The file's.
        got: usize,
    },
    /// The environment could not be made.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The environment refused a recorded state or action.
    #[error("{id}: row {row}: {source}")]
    Row {
        /// The data set.
        id: String,
        /// The row, from 0.
        row: usize,
        /// What the environment said.
        source: EnvError,
    },
}

/// How far a recorded number may be from the computed one.
///
/// A deviation `d` from a computed value `x` passes if
/// `d <= tolerance * max(1, |x|)`. The defaults leave room for what a sound
/// file of this project's environments shows: `f32` storage (relative 6e-8)
/// and a contact solver that starts here without the previous step's solution.
/// Files recorded with another MuJoCo version need more, and may flip a
/// termination that was decided by a hair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// For every component of an observation. Default `1e-4`.
    pub obs: f64,
    /// For rewards, which are differences divided by a time step. Default `1e-3`.
    pub reward: f64,
    /// Rows whose terminal flag may differ. Default 0.
    pub terminals: usize,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            obs: 1e-4,
            reward: 1e-3,
            terminals: 0,
        }
    }
}

impl Tolerance {
    /// What is allowed of data of `env` where nobody says otherwise: the default, and more in
    /// adroit's observations, since a hand that grasps is the solver's work, which begins here
    /// without the step before: over each row of 9,000 steps they are up to `5e-4` off.
    pub fn of(env: EnvId) -> Self {
        let usual = Self::default();
        Self {
            obs: if adroit::is_simulated(env) {
                2e-3
            } else {
                usual.obs
            },
            ..usual
        }
    }
}

/// What the check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Data set id.
    pub id: String,
    /// The environment it was checked in.
    pub env: EnvId,
    /// Rows in the file.
    pub rows: usize,
    /// Rows that were stepped.
    pub checked: usize,
    /// Episodes in the file, a trailing unfinished one included.
    pub episodes: usize,
    /// Mean undiscounted return of the complete episodes; `None` without any.
    pub mean_return: Option<f64>,
    /// Largest deviation of an observation: of the recorded state's, or of the
    /// one after the step.
    pub max_abs_obs: f64,
    /// The part of `max_abs_obs` that D4RL looks at: the recorded state's
    /// observation, without a step.
    pub max_abs_state: f64,
    /// Row of `max_abs_obs`.
    pub worst_obs_row: usize,
    /// Largest deviation of a reward.
    pub max_abs_reward: f64,
    /// Row of `max_abs_reward`.
    pub worst_reward_row: usize,
    /// Rows whose terminal flag the environment contradicts. Rows cut by a
    /// timeout do not count: D4RL records no termination there.
    pub terminal_mismatches: usize,
    /// What was allowed.
    pub tolerance: Tolerance,
    /// Whether every checked row is within the tolerance.
    pub ok: bool,
}

/// Steps every row of `data` (or `sample` evenly spaced ones) in `env`.
///
/// For each: sets `infos/qpos` and `infos/qvel`, compares the observation with
/// the row's; steps the row's action; compares reward, terminal flag and the
/// next observation where the file has it ([`Dataset::observation_after`]). Where the
/// environment says so ([`spar_env::Physics::lags`]) a row's state is reached by a step
/// from the row before it, for its observation and its reward, and what differs between
/// episodes is taken from an episode's first observation.
///
/// # Errors
/// [`VerifyError`] if the file lacks what is needed or the environment refuses
/// it. A file that merely deviates is not an error: see [`Verification::ok`].
pub fn verify(
    data: &Dataset,
    env: EnvId,
    sample: Option<usize>,
    tolerance: Tolerance,
) -> Result<Verification, VerifyError> {
    let id = || data.identity.id.clone();
    let missing = |key| VerifyError::NoState { id: id(), key };
    let qpos = data.qpos.as_ref().ok_or_else(|| missing("infos/qpos"))?;
    let qvel = data.qvel.as_ref().ok_or_else(|| missing("infos/qvel"))?;
    let mut world = spar_env::make(env)?;
    let state = world.physics().ok_or(VerifyError::NoPhysics(env))?;
    let (nq, nv, lags) = (state.nq(), state.nv(), state.lags());
    for (key, expected, got) in [
        ("observations", env.obs_dim(), data.obs_dim),
        ("actions", env.act_dim(), data.act_dim),
        ("infos/qpos", nq, qpos.len() / data.rows()),
        ("infos/qvel", nv, qvel.len() / data.rows()),
    ] {
        if expected != got {
            return Err(VerifyError::Width {
                id: id(),
                key,
                env,
                expected,
                got,
            });
        }
    }

    let rows = data.rows();
    let checked = sample.unwrap_or(rows).min(rows);
    let episodes: Vec<_> = data.episodes(env.horizon()).collect();
    let mut ends = vec![None; rows];
    for episode in &episodes {
        ends[episode.rows.end - 1] = Some(episode.end);
    }

    // Data of maze2d have the reward of the position a row starts from, and after a timeout
    // the observation before it once more.
    let of_position = Reward::of(env);
    // Those of antmaze have rewards and terminals of a goal that the file does not record:
    // they have to be the same.
    let of_goal = antmaze::map(env).is_some();
    let repeats = |row: usize| {
        let cut = data
            .timeouts
            .as_ref()
            .is_some_and(|t| row > 0 && t[row - 1]);
        of_position.is_some() && cut
    };
    let (mut at_state, mut after, mut reward) = (Worst::new(), Worst::new(), Worst::new());
    let mut terminal_mismatches = 0;
    // First row of the episode that the environment was last put into.
    let mut entered = None;
    let rows_of = |row: usize| (&qpos[row * nq..][..nq], &qvel[row * nv..][..nv]);
    for i in 0..checked {
        // Widened: on 32-bit machines rows * i may not fit.
        let row = (i as u128 * rows as u128 / checked as u128) as usize;
        let refused = |source| VerifyError::Row {
            id: id(),
            row,
            source,
        };
        let state = world.physics_mut().ok_or(VerifyError::NoPhysics(env))?;
        let first = match lags {
            true => {
                episodes[episodes.partition_point(|e| e.rows.end <= row)]
                    .rows
                    .start
            }
            false => row,
        };
        if lags && entered != Some(first) {
            let (q, v) = rows_of(first);
            let obs: Vec<f64> = data
                .observation(first)
                .iter()
                .copied()
                .map(f64::from)
                .collect();
            state.set_observed(q, v, &obs).map_err(refused)?;
            entered = Some(first);
        }
        let before = row.saturating_sub(1).max(first);
        let (q, v) = rows_of(before);
        state.set_state(q, v).map_err(refused)?;
        if before < row {
            world.step(data.action(before)).map_err(refused)?;
        }
        if !repeats(row) {
            at_state.see(row, data.observation(row), world.obs(), tolerance.obs);
        }
        let step = world.step(data.action(row)).map_err(refused)?;
        if before < row {
            // From its own state, so that one step's deviation is not another's start.
            let (q, v) = rows_of(row);
            let state = world.physics_mut().ok_or(VerifyError::NoPhysics(env))?;
            state.set_state(q, v).map_err(refused)?;
            world.step(data.action(row)).map_err(refused)?;
        }
        let next = data.observation_after(row, ends[row].is_some());
        if let Some(next) = next {
            after.see(row, next, world.obs(), tolerance.obs);
        }
        reward.see(
            row,
            &data.rewards[row..=row],
            &[match of_position {
                Some(reward) => {
                    let obs = data.observation(row);
                    reward.at([f64::from(obs[0]), f64::from(obs[1])])
                }
                None if of_goal => f64::from(u8::from(data.terminals[row])),
                None => step.reward,
            }],
            tolerance.reward,
        );
        let differs = step.terminal != data.terminals[row] && !of_goal;
        terminal_mismatches += usize::from(differs && ends[row] != Some(EpisodeEnd::Timeout));
    }

    let returns = data.returns(env.horizon());
    let obs = if at_state.deviation > after.deviation {
        &at_state
    } else {
        &after
    };
    Ok(Verification {
        id: id(),
        env,
        rows,
        checked,
        episodes: episodes.len(),
        mean_return: (!returns.is_empty())
            .then(|| returns.iter().sum::<f64>() / returns.len() as f64),
        max_abs_obs: obs.deviation,
        max_abs_state: at_state.deviation,
        worst_obs_row: obs.row,
        max_abs_reward: reward.deviation,
        worst_reward_row: reward.row,
        terminal_mismatches,
        tolerance,
        ok: at_state.ok && after.ok && reward.ok && terminal_mismatches <= tolerance.terminals,
    })
}

/// The largest deviation seen, and whether all were allowed.
struct Worst {
    deviation: f64,
    row: usize,
    ok: bool,
}

impl Worst {
    fn new() -> Self {
        Self {
            deviation: 0.0,
            row: 0,
            ok: true,
        }
    }

    fn see(&mut self, row: usize, recorded: &[f32], computed: &[f64], tolerance: f64) {
        for (&recorded, &computed) in recorded.iter().zip(computed) {
            let deviation = (f64::from(recorded) - computed).abs();
            self.ok &= deviation <= tolerance * computed.abs().max(1.0);
            if deviation > self.deviation {
                (self.deviation, self.row) = (deviation, row);
            }
        }
    }
}
