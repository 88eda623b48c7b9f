//! The flat arrays of one data file, and where its episodes begin and end.

use std::{collections::BTreeMap, ops, path::Path};

use spar_core::{DatasetIdentity, EnvId, Origin};

use crate::{
    error::DataError,
    past,
    read::read_file,
    reading::{Asked, Next, Parts, Reading},
    remarks::check_finite,
    successors::Flags,
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
    /// `[rows]`; zeros in data that are not [`Self::rewarded`].
    pub rewards: Vec<f32>,
    /// Whether rewards were recorded. Without them nothing but a clone of the behaviour can
    /// be learned.
    pub rewarded: bool,
    /// `[rows]`: the environment ended the episode in this step.
    pub terminals: Vec<bool>,
    /// `[rows]`: the episode was cut after this step; `None` in old D4RL files.
    pub timeouts: Option<Vec<bool>>,
    /// Whether the recording goes on past terminals, as in D4RL's antmaze: they mask what
    /// follows a transition, and end no episode.
    pub past_terminals: bool,
    /// `[rows, obs_dim]`: the true next observation, where recorded row by row.
    pub next_observations: Option<Vec<f32>>,
    /// What follows a row: how the file was read.
    pub next: Next,
    /// Where rows of D4RL's layout do not follow each other though no flag says so, by the
    /// successors that the file records ([`Next`]); `None` where they were not compared.
    pub breaks: Option<Ends>,
    /// How Minari's layout says where episodes end; `None` in D4RL's.
    pub ends: Option<Ends>,
    /// `[rows, nq]`: the simulator's positions before the step (`infos/qpos`).
    pub qpos: Option<Vec<f64>>,
    /// `[rows, nv]`: the simulator's velocities before the step (`infos/qvel`).
    pub qvel: Option<Vec<f64>>,
    /// `[act_dim]`: the smallest and largest value of each action component, where the
    /// data declare them; unbounded ones are infinite.
    pub action_bounds: Option<Vec<(f32, f32)>>,
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
/// which D4RL's layout loses where it has no `next_observations`. Of
/// [`Dataset::breaks`], episodes end elsewhere as well.
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
    /// [`DataError::Shape`] if an array is not as long as `rewards` and its width say,
    /// [`DataError::NonFinite`] if a number is NaN or infinite.
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
        for (key, values, width) in [
            ("observations", &steps.observations, obs_dim),
            ("actions", &steps.actions, act_dim),
            ("rewards", &steps.rewards, 1),
        ] {
            check_finite(Path::new(id), key, values, width)?;
        }
        let flags = Flags {
            terminals: &steps.terminals,
            timeouts: Some(&steps.timeouts),
        };
        Ok(Self {
            past_terminals: past::runs(flags),
            obs_dim,
            act_dim,
            observations: steps.observations,
            actions: steps.actions,
            rewards: steps.rewards,
            rewarded: true,
            terminals: steps.terminals,
            timeouts: Some(steps.timeouts),
            next_observations: None,
            next: Next::default(),
            breaks: None,
            ends: None,
            qpos: None,
            qvel: None,
            action_bounds: None,
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
        Self::read_as(path, None, &Reading::default())
    }

    /// [`Self::read`], and refuses data whose widths are not `env`'s.
    ///
    /// # Errors
    /// As [`Self::read`], [`DataError::WrongEnv`], and [`DataError::OtherEnv`].
    pub fn read_for(path: &Path, env: EnvId) -> Result<Self, DataError> {
        Self::read_as(path, Some(env), &Reading::default())
    }

    /// [`Self::read`], or [`Self::read_for`] where an environment is named, in the way that
    /// `reading` says.
    ///
    /// # Errors
    /// As [`Self::read_for`], and [`DataError::NoSuccessors`].
    pub fn read_as(path: &Path, env: Option<EnvId>, reading: &Reading) -> Result<Self, DataError> {
        let parts = Parts::Everything;
        read_file(
            path,
            Asked {
                env,
                reading,
                parts,
            },
        )
    }

    /// [`Self::read_for`] without the arrays that training never looks at
    /// (`next_observations` that are compared and no more, `infos/*`): about a third of
    /// the memory.
    ///
    /// # Errors
    /// As [`Self::read_for`].
    pub fn read_training(path: &Path, env: EnvId) -> Result<Self, DataError> {
        Self::read_training_as(path, Some(env), &Reading::default())
    }

    /// [`Self::read_as`] without those arrays.
    ///
    /// # Errors
    /// As [`Self::read_as`].
    pub fn read_training_as(
        path: &Path,
        env: Option<EnvId>,
        reading: &Reading,
    ) -> Result<Self, DataError> {
        let parts = Parts::Training;
        read_file(
            path,
            Asked {
                env,
                reading,
                parts,
            },
        )
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
        if let Some(next) = &self.next_observations {
            return Some(&next[row * self.obs_dim..][..self.obs_dim]);
        }
        let known = self.end_after(row);
        known.or_else(|| (!last && row + 1 < self.rows()).then(|| self.observation(row + 1)))
    }

    /// The observation after the step of `row` if an episode ends with it whose last
    /// observation is kept: every one in Minari's layout, and those at [`Self::breaks`].
    pub fn end_after(&self, row: usize) -> Option<&[f32]> {
        let kept = [&self.ends, &self.breaks].into_iter().flatten();
        kept.into_iter().find_map(|ends| ends.after(row))
    }

    /// The episodes in the file's order, every row in one.
    ///
    /// In D4RL's layout they are cut after a terminal or a timeout (in a file
    /// without timeouts or successors after `horizon` rows) and at
    /// [`Self::breaks`], and only the last can be [`EpisodeEnd::Unfinished`]. Where the
    /// recording goes on past terminals ([`Self::past_terminals`]) they are not cut there.
    /// Minari's layout says itself where they end, and its flags say how.
    pub fn episodes(&self, horizon: usize) -> impl Iterator<Item = Episode> {
        let marks = |ends: &Option<Ends>| ends.as_ref().map(|ends| ends.stops.clone());
        let marks = match (marks(&self.ends), marks(&self.breaks)) {
            (Some(stops), _) => Marks::Ends(stops),
            (None, Some(stops)) => Marks::Breaks(stops),
            (None, None) => Marks::None,
        };
        let flags = Flags {
            terminals: &self.terminals,
            timeouts: self.timeouts.as_deref(),
        };
        episodes(flags, self.past_terminals, marks, horizon)
    }

    /// The flags of the rows that [`Self::episodes`] cuts episodes after, at `horizon` where
    /// nothing else says so.
    #[cfg(feature = "hdf5")]
    pub(crate) fn cut_at(&self, horizon: usize) -> Vec<bool> {
        let mut cuts = vec![false; self.rows()];
        for episode in self.episodes(horizon) {
            cuts[episode.rows.end - 1] = episode.end == EpisodeEnd::Timeout;
        }
        cuts
    }

    /// Undiscounted returns of the episodes that ended in a terminal or were
    /// cut, summed in `f64`; [`Self::episodes`] says what `horizon` is. Of data that are not
    /// [`Self::rewarded`] there are none. Where the recording goes on past terminals, an
    /// episode's return is what its environment pays, up to the first of them.
    pub fn returns(&self, horizon: usize) -> Vec<f64> {
        if !self.rewarded {
            return Vec::new();
        }
        let complete = self
            .episodes(horizon)
            .filter(|e| e.end != EpisodeEnd::Unfinished);
        let sum = |e: Episode| {
            let first = e.rows.clone().find(|&row| self.terminals[row]);
            let stop = match first.filter(|_| self.past_terminals) {
                Some(first) => first + 1,
                None => e.rows.end,
            };
            let paid = self.rewards[e.rows.start..stop].iter();
            paid.map(|&r| f64::from(r)).sum()
        };
        complete.map(sum).collect()
    }
}

/// What besides flags says where episodes end: one past each such row, rising.
pub(crate) enum Marks {
    /// Nothing: the horizon does, where no flag can.
    None,
    /// Every episode ends with one of them, and nowhere else.
    Ends(Vec<usize>),
    /// Episodes end with these as well.
    Breaks(Vec<usize>),
}

/// The episodes of rows with these flags, as [`Dataset::episodes`] says.
pub(crate) fn episodes(
    flags: Flags<'_>,
    past_terminals: bool,
    marks: Marks,
    horizon: usize,
) -> impl Iterator<Item = Episode> {
    let Flags {
        terminals,
        timeouts,
    } = flags;
    let counted = matches!(marks, Marks::None);
    let (all, stops) = match marks {
        Marks::None => (false, Vec::new()),
        Marks::Ends(stops) => (true, stops),
        Marks::Breaks(stops) => (false, stops),
    };
    let mut stops = stops.into_iter().peekable();
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == terminals.len() {
            return None;
        }
        let end_of = |row: usize| match timeouts {
            _ if terminals[row] && !past_terminals => Some(EpisodeEnd::Terminal),
            Some(timeouts) => timeouts[row].then_some(EpisodeEnd::Timeout),
            None => (counted && row + 1 - start == horizon).then_some(EpisodeEnd::Timeout),
        };
        while stops.next_if(|&stop| stop <= start).is_some() {}
        let cut = match stops.peek() {
            Some(&stop) if all => Some((stop, end_of(stop - 1).unwrap_or(EpisodeEnd::Unfinished))),
            mark => {
                let broken = mark.map(|&stop| (stop, EpisodeEnd::Timeout));
                let until = broken.map_or(terminals.len(), |(stop, _)| stop);
                let flagged = (start..until).find_map(|row| Some((row + 1, end_of(row)?)));
                flagged.or(broken)
            }
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
        for (key, row) in [("observations", 2), ("actions", 1), ("rewards", 0)] {
            let mut steps = steps.clone();
            match key {
                "observations" => steps.observations[5] = f32::NAN,
                "actions" => steps.actions[1] = f32::INFINITY,
                _ => steps.rewards[0] = f32::NAN,
            }
            let error = Dataset::in_memory("mine", 2, 1, steps).unwrap_err();
            assert!(
                matches!(&error, DataError::NonFinite { key: k, row: r, .. } if k == key && *r == row),
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
