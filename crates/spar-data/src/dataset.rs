//! The flat arrays of one data file, and where its episodes begin and end.

use std::{collections::BTreeMap, ops, path::Path};

use spar_core::{DatasetIdentity, EnvId};

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
    /// `[rows]`: the episode was cut after this step; `None` in old files.
    pub timeouts: Option<Vec<bool>>,
    /// `[rows, obs_dim]`: the true next observation, where recorded.
    pub next_observations: Option<Vec<f32>>,
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
    /// The file ended first.
    Unfinished,
}

impl Dataset {
    /// Reads and checks every part of the data file at `path`.
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

    /// The episodes in the file's order. Cut after a terminal or a timeout; in
    /// a file without timeouts, after `horizon` rows. Only the last can be
    /// [`EpisodeEnd::Unfinished`].
    pub fn episodes(&self, horizon: usize) -> impl Iterator<Item = Episode> {
        let mut start = 0;
        std::iter::from_fn(move || {
            if start == self.rows() {
                return None;
            }
            let end_of = |row: usize| match &self.timeouts {
                _ if self.terminals[row] => Some(EpisodeEnd::Terminal),
                Some(timeouts) => timeouts[row].then_some(EpisodeEnd::Timeout),
                None => (row + 1 - start == horizon).then_some(EpisodeEnd::Timeout),
            };
            let cut = (start..self.rows()).find_map(|row| Some((row + 1, end_of(row)?)));
            let (stop, end) = cut.unwrap_or((self.rows(), EpisodeEnd::Unfinished));
            let rows = start..stop;
            start = stop;
            Some(Episode { rows, end })
        })
    }
}
