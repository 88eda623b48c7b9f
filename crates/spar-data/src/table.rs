//! Rows in memory, from a layout that is read whole, on their way to a [`Dataset`]: what
//! every layout is held to is done here, once.

use std::{collections::BTreeMap, path::Path};

use crate::{
    columns::damaged,
    dataset::Dataset,
    error::DataError,
    flags::Flagged,
    identity::identify,
    past,
    read::check_env,
    reading::{Asked, Next, Parts},
    remarks,
    successors::{Flags, breaks_in_memory},
};

/// What a layout gives: as many rows of each, at least one.
pub(crate) struct Table {
    pub(crate) obs_dim: usize,
    pub(crate) observations: Vec<f32>,
    pub(crate) act_dim: usize,
    pub(crate) actions: Vec<f32>,
    /// `None` if nobody recorded any.
    pub(crate) rewards: Option<Vec<f32>>,
    pub(crate) flagged: Flagged,
    /// The recorded successors, unless nobody asked for them.
    pub(crate) next_observations: Option<Vec<f32>>,
    pub(crate) qpos: Option<Vec<f64>>,
    pub(crate) qvel: Option<Vec<f64>>,
    /// Whether actions are stored as integers.
    pub(crate) integers: bool,
}

impl Table {
    /// The data set of the file at `path`, whose hash is `sha256`.
    ///
    /// # Errors
    /// If its widths are not those of the environment asked for, or if a number is not
    /// finite.
    pub(crate) fn dataset(
        self,
        path: &Path,
        sha256: String,
        asked: Asked<'_>,
    ) -> Result<Dataset, DataError> {
        if [self.obs_dim, self.act_dim, self.flagged.terminals.len()].contains(&0) {
            return Err(damaged(path, "rows", "it has none"));
        }
        check_env(path, asked.env, self.obs_dim, self.act_dim)?;
        let rewarded = self.rewards.is_some();
        let rows = self.flagged.terminals.len();
        let rewards = self.rewards.unwrap_or_else(|| vec![0.0; rows]);
        let next = self.next_observations.as_deref();
        for (key, values, width) in [
            ("observations", &self.observations[..], self.obs_dim),
            ("actions", &self.actions, self.act_dim),
            ("rewards", &rewards, 1),
            ("next_observations", next.unwrap_or_default(), self.obs_dim),
        ] {
            remarks::check_finite(path, key, values, width)?;
        }
        let flags = Flags {
            terminals: &self.flagged.terminals,
            timeouts: self.flagged.timeouts.as_deref(),
        };
        let compared =
            next.map(|next| breaks_in_memory(self.obs_dim, flags, &self.observations, next));
        let compared = compared.transpose()?;
        let past_terminals = compared
            .as_ref()
            .is_some_and(|compared| past::shown(flags, compared));
        let metadata = BTreeMap::new();
        let (identity, mut notes) = identify(path, sha256, rows, &metadata);
        notes.extend(self.flagged.notes);
        let reading = asked.reading;
        let keep = asked.parts == Parts::Everything || reading.next == Next::Recorded;
        let mut data = Dataset {
            obs_dim: self.obs_dim,
            act_dim: self.act_dim,
            observations: self.observations,
            actions: self.actions,
            rewards,
            rewarded,
            terminals: self.flagged.terminals,
            timeouts: self.flagged.timeouts,
            past_terminals,
            breaks: compared.map(|compared| compared.breaks),
            next_observations: self.next_observations.filter(|_| keep),
            next: reading.next,
            ends: None,
            qpos: self.qpos,
            qvel: self.qvel,
            action_bounds: None,
            metadata,
            identity,
            notes,
        };
        remarks::add(&mut data, asked.env, self.integers)?;
        Ok(data)
    }
}
