//! Data sets that a program has in memory: made of its own arrays, and written as they are.

#[cfg(feature = "hdf5")]
use std::collections::BTreeMap;
use std::path::Path;

#[cfg(feature = "hdf5")]
use spar_core::DatasetIdentity;
use spar_core::{ActionBounds, EnvId, sha256_hex};

#[cfg(feature = "hdf5")]
use crate::{
    dataset::EpisodeEnd,
    h5::{
        source_fields,
        writer::{MetaValue, Row, Shape, Writer},
    },
    identity::{META_NEXT, META_RECORDED},
};
use crate::{
    dataset::{Dataset, Steps},
    error::DataError,
    past,
    reading::Next,
    remarks::{self, check_finite},
    successors::{Flags, breaks_in_memory},
};

/// What is known of steps beside them: what [`Dataset::of_arrays`] takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// Whether [`Steps::timeouts`] are all cuts there are; else nothing says where episodes
    /// were cut, as in old D4RL files.
    pub timeouts: bool,
    /// `[rows, obs_dim]`: the observation after each step.
    pub next_observations: Option<Vec<f32>>,
    /// What follows a row, where those are given.
    pub next: Next,
    /// `[act_dim]`: the smallest and largest value of each action component.
    pub action_bounds: Option<Vec<(f32, f32)>>,
    /// The environment of the data, if they are of one.
    pub env: Option<EnvId>,
}

impl Dataset {
    /// The data set called `id` of a program's own arrays, read as a file in D4RL's layout
    /// with the same arrays would be. Its hash is that of the arrays.
    ///
    /// # Errors
    /// As [`Dataset::in_memory`]; [`DataError::NoTransitions`] of no rows,
    /// [`DataError::WrongEnv`] if the widths are not the environment's, and
    /// [`DataError::Bounds`] if the bounds are none.
    pub fn of_arrays(
        id: &str,
        obs_dim: usize,
        act_dim: usize,
        steps: Steps,
        beside: Beside,
    ) -> Result<Self, DataError> {
        let mut data = Self::in_memory(id, obs_dim, act_dim, steps)?;
        let rows = data.rows();
        if rows == 0 {
            let id = id.to_owned();
            return Err(DataError::NoTransitions { id, rows });
        }
        for (key, got, expected) in [
            ("observations", obs_dim, beside.env.map(EnvId::obs_dim)),
            ("actions", act_dim, beside.env.map(EnvId::act_dim)),
        ] {
            if let (Some(env), Some(expected)) = (beside.env, expected)
                && got != expected
            {
                return Err(DataError::WrongEnv {
                    path: id.into(),
                    key,
                    env,
                    expected,
                    got,
                });
            }
        }
        if !beside.timeouts {
            data.timeouts = None;
        }
        if let Some(next) = beside.next_observations {
            let (got, expected) = (next.len(), rows * obs_dim);
            if got != expected {
                return Err(DataError::Shape {
                    path: id.into(),
                    key: "next_observations".to_owned(),
                    expected: format!("{expected} numbers for {rows} rewards"),
                    got: got.to_string(),
                });
            }
            check_finite(Path::new(id), "next_observations", &next, obs_dim)?;
            data.next_observations = Some(next);
        }
        data.next = beside.next;
        data.follow()?;
        if let Some(bounds) = beside.action_bounds {
            let wrong = |why: String| DataError::Bounds {
                id: id.to_owned(),
                why,
            };
            if bounds.len() != act_dim {
                let got = bounds.len();
                return Err(wrong(format!(
                    "{got} pairs, expected {act_dim}, one for each component"
                )));
            }
            ActionBounds::try_from(bounds.clone()).map_err(|e| wrong(e.to_string()))?;
            data.action_bounds = Some(bounds);
        }
        data.identity.sha256 = data.hash();
        remarks::add(&mut data, beside.env, false)?;
        Ok(data)
    }

    /// Finds where rows do not follow each other, by the recorded successors.
    fn follow(&mut self) -> Result<(), DataError> {
        let Some(next) = &self.next_observations else {
            return Ok(());
        };
        let flags = Flags {
            terminals: &self.terminals,
            timeouts: self.timeouts.as_deref(),
        };
        self.breaks = match self.next {
            Next::Following => None,
            Next::Checked | Next::Recorded => {
                let compared = breaks_in_memory(self.obs_dim, flags, &self.observations, next)?;
                self.past_terminals = past::shown(flags, &compared);
                Some(compared.breaks)
            }
        };
        Ok(())
    }

    /// The hash of everything that is learned from.
    fn hash(&self) -> String {
        let numbers = |values: &[f32]| -> String {
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            sha256_hex(&bytes)
        };
        let flags = |flags: &[bool]| -> String {
            let bytes: Vec<u8> = flags.iter().map(|&flag| u8::from(flag)).collect();
            sha256_hex(&bytes)
        };
        let none = || "none".to_owned();
        let next = self.next_observations.as_deref();
        let bounds = self.action_bounds.as_ref().map(|bounds| {
            let ends = bounds.iter().flat_map(|&(low, high)| [low, high]);
            ends.collect::<Vec<_>>()
        });
        let parts = [
            format!("{} {}", self.obs_dim, self.act_dim),
            numbers(&self.observations),
            numbers(&self.actions),
            numbers(&self.rewards),
            flags(&self.terminals),
            self.timeouts.as_deref().map_or_else(none, flags),
            next.map_or_else(none, numbers),
            bounds.as_deref().map_or_else(none, numbers),
        ];
        sha256_hex(parts.join("\n").as_bytes())
    }

    /// `[rows, obs_dim]`: the observation after each step, if every one is recorded.
    pub fn successors(&self) -> Option<Vec<f32>> {
        if let Some(next) = &self.next_observations {
            return Some(next.clone());
        }
        let ends = self.ends.as_ref()?;
        let mut next = Vec::with_capacity(self.observations.len());
        for row in 0..self.rows() {
            let last = ends.stops.binary_search(&(row + 1)).is_ok();
            next.extend_from_slice(self.observation_after(row, last)?);
        }
        Some(next)
    }

    /// Writes a file in D4RL's layout to `path`, replacing what is there, whole or not at
    /// all: every row, with `timeouts` and `next_observations` where they are known, so that
    /// what is read of it has the same transitions. Where those of all rows are
    /// ([`Next::Recorded`], Minari's layout), the file says so ([`META_NEXT`]). Of Minari's
    /// layout, an episode that ends without a flag is marked as cut.
    ///
    /// # Errors
    /// [`DataError::NoRewards`], [`DataError::Write`].
    #[cfg(feature = "hdf5")]
    pub fn save(&self, path: &Path) -> Result<DatasetIdentity, DataError> {
        if !self.rewarded {
            let id = self.identity.id.clone();
            return Err(DataError::NoRewards { id });
        }
        let next = self.successors();
        let timeouts = self.cuts();
        let mut metadata: BTreeMap<String, MetaValue> =
            source_fields(&self.identity, &self.metadata)
                .into_iter()
                .filter_map(|(key, value)| Some((key, value.as_str()?.into())))
                .collect();
        if next.is_some() && (self.next == Next::Recorded || self.ends.is_some()) {
            metadata.insert(META_NEXT.to_owned(), META_RECORDED.into());
        }
        if let Some(bounds) = &self.action_bounds {
            let (low, high) = bounds.iter().copied().unzip();
            metadata.insert("action_low".to_owned(), MetaValue::Numbers(low));
            metadata.insert("action_high".to_owned(), MetaValue::Numbers(high));
        }
        let (nq, nv) = (self.nq().unwrap_or(0), self.nv().unwrap_or(0));
        let shape = Shape {
            obs_dim: self.obs_dim,
            act_dim: self.act_dim,
            nq,
            nv,
            next_observations: next.is_some(),
            timeouts: timeouts.is_some(),
        };
        let mut writer = Writer::shaped(path, shape, &metadata)?;
        let part = |values: &Option<Vec<f64>>, row: usize, width: usize| match values {
            Some(values) => values[row * width..][..width].to_vec(),
            None => Vec::new(),
        };
        for row in 0..self.rows() {
            let next = next.as_ref();
            writer.push(&Row {
                obs: self.observation(row),
                action: self.action(row),
                reward: self.rewards[row],
                terminal: self.terminals[row],
                timeout: timeouts.as_ref().is_some_and(|timeouts| timeouts[row]),
                next_obs: next.map_or(&[], |next| &next[row * self.obs_dim..][..self.obs_dim]),
                qpos: &part(&self.qpos, row, nq),
                qvel: &part(&self.qvel, row, nv),
            })?;
        }
        writer.finish()
    }

    /// The flags of cuts, with those that Minari's layout does not need.
    #[cfg(feature = "hdf5")]
    fn cuts(&self) -> Option<Vec<bool>> {
        let mut cuts = self.timeouts.clone();
        if self.ends.is_none() {
            return cuts;
        }
        let flags = cuts.get_or_insert_with(|| vec![false; self.rows()]);
        for episode in self.episodes(usize::MAX) {
            if episode.end != EpisodeEnd::Terminal {
                flags[episode.rows.end - 1] = true;
            }
        }
        cuts
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Transitions;

    fn steps() -> Steps {
        Steps {
            observations: vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0],
            actions: vec![0.1, 0.2, -0.3, 0.4, 0.5, 0.6],
            rewards: vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
            terminals: vec![false, false, true, false, false, false],
            timeouts: vec![false, false, false, false, true, false],
        }
    }

    fn beside() -> Beside {
        Beside {
            timeouts: true,
            next_observations: Some(vec![1.0, 2.0, 3.0, 11.0, 12.0, 13.0]),
            action_bounds: Some(vec![(-2.0, 2.0)]),
            ..Beside::default()
        }
    }

    fn kept(data: &Dataset) -> Dataset {
        Dataset {
            identity: steps_identity(),
            metadata: BTreeMap::new(),
            ..data.clone()
        }
    }

    fn steps_identity() -> DatasetIdentity {
        Dataset::in_memory("", 1, 1, steps()).unwrap().identity
    }

    #[test]
    fn arrays_are_read_as_a_file_with_the_same_arrays() {
        let folder = tempfile::tempdir().unwrap();
        let without = Beside {
            next_observations: None,
            ..beside()
        };
        let uncut = Beside {
            timeouts: false,
            action_bounds: None,
            ..without.clone()
        };
        for (name, beside) in [("all", beside()), ("no-next", without), ("uncut", uncut)] {
            let data = Dataset::of_arrays("mine", 1, 1, steps(), beside).unwrap();
            let path = folder.path().join(format!("{name}.hdf5"));
            data.save(&path).unwrap();
            let read = Dataset::read(&path).unwrap();
            assert_eq!(kept(&read), kept(&data), "{name}");
            let rows = |data: &Dataset| {
                let all = Transitions::new(Arc::new(data.clone()), usize::MAX).unwrap();
                (0..all.len()).map(|i| all.row(i)).collect::<Vec<_>>()
            };
            assert_eq!(rows(&read), rows(&data), "{name}");
        }
    }

    #[test]
    fn other_arrays_have_another_hash() {
        let of = |steps, beside| {
            let data = Dataset::of_arrays("mine", 1, 1, steps, beside).unwrap();
            data.identity.sha256
        };
        let usual = of(steps(), beside());
        assert_eq!(usual, of(steps(), beside()));
        let mut changed = steps();
        changed.rewards[5] = 33.0;
        let mut flagged = steps();
        flagged.terminals[4] = true;
        let uncut = Beside {
            timeouts: false,
            ..beside()
        };
        let unbounded = Beside {
            action_bounds: None,
            ..beside()
        };
        for other in [
            of(changed, beside()),
            of(flagged, beside()),
            of(steps(), uncut),
            of(steps(), unbounded),
        ] {
            assert_ne!(other, usual);
        }
    }

    #[test]
    fn arrays_that_do_not_fit_are_refused() {
        let said = |steps, beside| {
            let refused = Dataset::of_arrays("mine", 1, 1, steps, beside);
            refused.unwrap_err().to_string()
        };
        let short = Beside {
            next_observations: Some(vec![0.0; 5]),
            ..beside()
        };
        let bounds = Beside {
            action_bounds: Some(vec![(1.0, -1.0)]),
            ..beside()
        };
        let two = Beside {
            action_bounds: Some(vec![(-1.0, 1.0); 2]),
            ..beside()
        };
        let recorded = Beside {
            next_observations: None,
            next: Next::Recorded,
            ..beside()
        };
        let env = Beside {
            env: Some(EnvId::HOPPER),
            ..beside()
        };
        for (steps, beside, facts) in [
            (Steps::default(), beside(), "0 rows"),
            (steps(), short, "next_observations"),
            (steps(), bounds, "bounds of actions"),
            (steps(), two, "2 pairs, expected 1"),
            (steps(), recorded, "next_observations"),
            (steps(), env, "1 wide, but hopper needs 11"),
        ] {
            let said = said(steps, beside);
            assert!(said.contains(facts), "{said}");
        }
    }
}
