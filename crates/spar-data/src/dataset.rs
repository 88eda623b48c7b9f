//! The flat arrays of one data file, and where its episodes begin and end.

use std::{collections::BTreeMap, ops, path::Path};

use spar_core::{DatasetIdentity, EnvId, Origin};

use crate::{
    error::DataError,
    read::{Parts, read_file},
};

/// One validated data file in memory: flat, row-major, in the file's order.
///
/// Row `t` is what was seen in one environment step: the observation before
/// it, the action, the reward and the flags after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Width of an observation.
    pub obs_dim: usize,
    /// Width of an action.
    pub act_dim: usize,
    /// `[rows, obs_dim]`: the observation before the step.
    pub observations: Vec<f32>,
    /// `[rows, act_dim]`.
    pub actions: Vec<f32>,
    /// `[rows]`.
    pub rewards: Vec<f32>,
    /// `[rows]`: the environment ended the episode in this step.
    pub terminals: Vec<bool>,
    /// `[rows]`: the episode was cut after this step; `None` in old D4RL files.
    pub timeouts: Option<Vec<bool>>,
    /// `[rows, obs_dim]`: the true next observation, where recorded row by row.
    pub next_observations: Option<Vec<f32>>,
    /// How Minari's layout says where episodes end; `None` in D4RL's.
    pub ends: Option<Ends>,
    /// `[rows, nq]`: the simulator's positions before the step (`infos/qpos`).
    pub qpos: Option<Vec<f64>>,
    /// `[rows, nv]`: the simulator's velocities before the step (`infos/qvel`).
    pub qvel: Option<Vec<f64>>,
    /// The scalars under `metadata/`, as text, by their path below it; arrays
    /// are named with their shape, not kept.
    pub metadata: BTreeMap<String, String>,
    /// Which data these are.
    pub identity: DatasetIdentity,
    /// What a user should know about the file, one line each, as in "named
    /// like an official file but with another sha256".
    pub notes: Vec<String>,
}

/// Where episodes end, and what was observed then. Minari keeps one observation
/// more than steps, so that a cut episode's last step has its true successor,
/// which D4RL's layout loses where it has no `next_observations`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ends {
    /// `[episodes]`, rising: one past each episode's last row.
    pub stops: Vec<usize>,
    /// `[episodes, obs_dim]`: the observation after each episode's last step.
    pub observations: Vec<f32>,
}

impl Ends {
    /// The observation after `row` if an episode ends with it.
    pub fn after(&self, row: usize) -> Option<&[f32]> {
        let episode = self.stops.binary_search(&(row + 1)).ok()?;
        let width = self.observations.len() / self.stops.len();
        Some(&self.observations[episode * width..][..width])
    }
}

/// How a data file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One flat array a key, episodes told by flags.
    D4rl,
    /// One group an episode.
    Minari,
}

impl Layout {
    /// Whose layout it is, as in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::D4rl => "D4RL",
            Self::Minari => "Minari",
        }
    }
}

/// Consecutive rows of one episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Its rows.
    pub rows: ops::Range<usize>,
    /// How it ended.
    pub end: EpisodeEnd,
}

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpisodeEnd {
    /// The environment terminated it.
    Terminal,
    /// It was cut: at a timeout flag, or at the horizon in a file without.
    Timeout,
    /// The recording ended first.
    Unfinished,
}

/// Steps of a data set that comes from no file, in order: what
/// [`Dataset::in_memory`] is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps {
    /// `[rows, obs_dim]`: the observation before the step.
    pub observations: Vec<f32>,
    /// `[rows, act_dim]`.
    pub actions: Vec<f32>,
    /// `[rows]`.
    pub rewards: Vec<f32>,
    /// `[rows]`: the environment ended the episode in this step.
    pub terminals: Vec<bool>,
    /// `[rows]`: the episode was cut after this step.
    pub timeouts: Vec<bool>,
}

impl Dataset {
    /// The data set called `id` of `steps` whose observations are `obs_dim` and whose
    /// actions `act_dim` wide: a user's, with no hash, since there are no bytes.
    ///
    /// # Errors
    /// [`DataError::Shape`] if an array is not as long as `rewards` and its width say.
    pub fn in_memory(
        id: &str,
        obs_dim: usize,
        act_dim: usize,
        steps: Steps,
    ) -> Result<Self, DataError> {
        let rows = steps.rewards.len();
        for (key, got, expected) in [
            ("observations", steps.observations.len(), rows * obs_dim),
            ("actions", steps.actions.len(), rows * act_dim),
            ("terminals", steps.terminals.len(), rows),
            ("timeouts", steps.timeouts.len(), rows),
        ] {
            if got != expected {
                return Err(DataError::Shape {
                    path: id.into(),
                    key: key.to_owned(),
                    expected: format!("{expected} numbers for {rows} rewards"),
                    got: got.to_string(),
                });
            }
        }
        Ok(Self {
            obs_dim,
            act_dim,
            observations: steps.observations,
            actions: steps.actions,
            rewards: steps.rewards,
            terminals: steps.terminals,
            timeouts: Some(steps.timeouts),
            next_observations: None,
            ends: None,
            qpos: None,
            qvel: None,
            metadata: BTreeMap::new(),
            identity: DatasetIdentity {
                id: id.to_owned(),
                origin: Origin::User,
                sha256: String::new(),
                rows,
            },
            notes: Vec::new(),
        })
    }

    /// Reads and checks every part of the data at `path`: a file in D4RL's or
    /// Minari's layout, the folder of a Minari data set, or such a data set's id,
    /// as in `mujoco/hopper/medium-v0`, which is looked for in
    /// [`minari_root`](crate::minari_root).
    ///
    /// The bytes are hashed first, so that `identity` names what was read.
    ///
    /// # Errors
    /// See [`DataError`]: one variant for each way a file can be wrong.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        read_file(path, None, Parts::Everything)
    }

    /// [`Self::read`], and refuses data whose widths are not `env`'s.
    ///
    /// # Errors
    /// As [`Self::read`], and [`DataError::WrongEnv`].
    pub fn read_for(path: &Path, env: EnvId) -> Result<Self, DataError> {
        read_file(path, Some(env), Parts::Everything)
    }

    /// [`Self::read_for`] without the arrays that training never looks at
    /// (`next_observations`, `infos/*`): about a third of the memory.
    ///
    /// # Errors
    /// As [`Self::read_for`].
    pub fn read_training(path: &Path, env: EnvId) -> Result<Self, DataError> {
        read_file(path, Some(env), Parts::Training)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rewards.len()
    }

    /// Width of `infos/qpos`, where recorded.
    pub fn nq(&self) -> Option<usize> {
        self.qpos.as_ref().map(|q| q.len() / self.rows())
    }

    /// Width of `infos/qvel`, where recorded.
    pub fn nv(&self) -> Option<usize> {
        self.qvel.as_ref().map(|q| q.len() / self.rows())
    }

    /// Observation of row `row`.
    pub fn observation(&self, row: usize) -> &[f32] {
        &self.observations[row * self.obs_dim..(row + 1) * self.obs_dim]
    }

    /// Action of row `row`.
    pub fn action(&self, row: usize) -> &[f32] {
        &self.actions[row * self.act_dim..(row + 1) * self.act_dim]
    }

    /// How the file is laid out.
    pub fn layout(&self) -> Layout {
        match self.ends {
            None => Layout::D4rl,
            Some(_) => Layout::Minari,
        }
    }

    /// The observation after the step of `row`, before any reset, where it is
    /// known. `last`: whether an episode ends with the row, so that the next
    /// row's observation is another episode's.
    pub fn observation_after(&self, row: usize, last: bool) -> Option<&[f32]> {
        match (&self.next_observations, &self.ends) {
            (Some(next), _) => Some(&next[row * self.obs_dim..][..self.obs_dim]),
            (None, Some(ends)) if last => ends.after(row),
            _ => (!last && row + 1 < self.rows()).then(|| self.observation(row + 1)),
        }
    }

    /// The episodes in the file's order, every row in one.
    ///
    /// In D4RL's layout they are cut after a terminal or a timeout (in a file
    /// without timeouts after `horizon` rows), and only the last can be
    /// [`EpisodeEnd::Unfinished`]. Minari's layout says itself where they end,
    /// and its flags say how.
    pub fn episodes(&self, horizon: usize) -> impl Iterator<Item = Episode> {
        let stops = self.ends.as_ref().map(|ends| &ends.stops[..]);
        episodes(&self.terminals, self.timeouts.as_deref(), stops, horizon)
    }

    /// Undiscounted returns of the episodes that ended in a terminal or were
    /// cut, summed in `f64`; [`Self::episodes`] says what `horizon` is.
    pub fn returns(&self, horizon: usize) -> Vec<f64> {
        let complete = self
            .episodes(horizon)
            .filter(|e| e.end != EpisodeEnd::Unfinished);
        let sum = |e: Episode| self.rewards[e.rows].iter().map(|&r| f64::from(r)).sum();
        complete.map(sum).collect()
    }
}

/// The episodes of rows with these flags, as [`Dataset::episodes`] says.
pub(crate) fn episodes(
    terminals: &[bool],
    timeouts: Option<&[bool]>,
    stops: Option<&[usize]>,
    horizon: usize,
) -> impl Iterator<Item = Episode> {
    let mut start = 0;
    let mut stops = stops.into_iter().flatten();
    std::iter::from_fn(move || {
        if start == terminals.len() {
            return None;
        }
        let end_of = |row: usize| match timeouts {
            _ if terminals[row] => Some(EpisodeEnd::Terminal),
            Some(timeouts) => timeouts[row].then_some(EpisodeEnd::Timeout),
            None => (row + 1 - start == horizon).then_some(EpisodeEnd::Timeout),
        };
        let cut = match stops.next() {
            Some(&stop) => end_of(stop - 1)
                .map(|end| (stop, end))
                .or(Some((stop, EpisodeEnd::Unfinished))),
            None => (start..terminals.len()).find_map(|row| Some((row + 1, end_of(row)?))),
        };
        let (stop, end) = cut.unwrap_or((terminals.len(), EpisodeEnd::Unfinished));
        let rows = start..stop;
        start = stop;
        Some(Episode { rows, end })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn steps_in_memory_are_a_data_set_if_they_fit() {
        let steps = Steps {
            observations: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            actions: vec![0.1, 0.2, 0.3],
            rewards: vec![1.0, 2.0, 4.0],
            terminals: vec![false, true, false],
            timeouts: vec![false, false, true],
        };
        let set = Dataset::in_memory("mine", 2, 1, steps.clone()).unwrap();
        assert_eq!(set.returns(1000), [3.0, 4.0]);
        assert_eq!((set.identity.origin, set.identity.rows), (Origin::User, 3));
        for (obs_dim, act_dim, named) in [(3, 1, "observations"), (2, 2, "actions")] {
            let error = Dataset::in_memory("mine", obs_dim, act_dim, steps.clone()).unwrap_err();
            assert!(
                matches!(&error, DataError::Shape { key, .. } if key == named),
                "{error}"
            );
        }
        let short = Steps {
            timeouts: vec![false],
            ..steps
        };
        let error = Dataset::in_memory("mine", 2, 1, short).unwrap_err();
        assert_eq!(
            error.to_string(),
            "mine: key `timeouts` has shape 1, expected 3 numbers for 3 rewards"
        );
    }
}
