//! A data file's transitions as a view of its rows: D4RL's `qlearning_dataset`, or
//! every step of a Minari data set.

use std::sync::Arc;

use crate::{
    dataset::{Dataset, Layout},
    error::DataError,
    reading::Next,
};

/// The transitions of a data file.
///
/// In Minari's layout each step is one, and its next observation is the
/// episode's own: nothing is lost, and nothing of what follows applies.
///
/// In D4RL's layout they are those that `qlearning_dataset` makes of the file,
/// row for row (`d4rl/__init__.py`, with `terminate_on_end=False`):
///
/// - a transition's next observation is the *next row's* observation, so the
///   last row gives none, and no observation is stored twice;
/// - a row whose episode was cut (a timeout) is dropped, since the next row
///   belongs to another episode: a full 1000-step episode gives 999;
/// - a terminal row is kept. Its next observation belongs to the next episode
///   and must only ever be used masked by `not_terminal`.
///
/// In files without timeouts D4RL counts steps instead, and its count starts
/// at one, not zero, after a terminal row: an episode that follows a
/// termination is cut one row early. That is reproduced, since scores on such
/// files are compared with those of D4RL's loader.
///
/// A file that records successors is read as its [`Next`] says. By default they only
/// change what D4RL's loader gets wrong: a row at one of [`Dataset::breaks`] is a
/// transition to the recorded successor, and no steps are counted in files without
/// timeouts.
#[derive(Clone, Debug)]
pub struct Transitions {
    data: Arc<Dataset>,
    rows: Vec<u32>,
    horizon: usize,
}

impl Transitions {
    /// The transitions of `data`; `horizon` is the length after which an
    /// episode counts as cut in a file without timeouts, and unused otherwise.
    ///
    /// # Errors
    /// [`DataError::NoTransitions`] if there is none, or if the rows cannot be
    /// counted in 32 bits.
    pub fn new(data: Arc<Dataset>, horizon: usize) -> Result<Self, DataError> {
        let none = || DataError::NoTransitions {
            id: data.identity.id.clone(),
            rows: data.rows(),
        };
        let count = u32::try_from(data.rows()).map_err(|_| none())?;
        let mut rows = match data.layout() {
            Layout::D4rl if data.next != Next::Recorded => qlearning_rows(&data, count, horizon),
            Layout::D4rl if data.next_observations.is_none() => {
                let id = data.identity.id.clone();
                return Err(DataError::NoSuccessors { id });
            }
            Layout::D4rl | Layout::Minari => (0..count).collect(),
        };
        if rows.is_empty() {
            return Err(none());
        }
        rows.shrink_to_fit();
        Ok(Self {
            data,
            rows,
            horizon,
        })
    }

    /// The length after which an episode counts as cut in a file without timeouts.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Those of the transitions whose row of the file `keep` says yes to.
    ///
    /// # Errors
    /// [`DataError::NoTransitions`] if there is none.
    pub fn select(&self, keep: impl Fn(usize) -> bool) -> Result<Self, DataError> {
        let rows = self.rows.iter().copied();
        let rows: Vec<u32> = rows.filter(|&row| keep(row as usize)).collect();
        if rows.is_empty() {
            return Err(DataError::NoTransitions {
                id: self.data.identity.id.clone(),
                rows: self.data.rows(),
            });
        }
        Ok(Self {
            data: Arc::clone(&self.data),
            rows,
            horizon: self.horizon,
        })
    }

    /// Number of transitions, at least one.
    #[expect(clippy::len_without_is_empty, reason = "never empty by construction")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The file behind the view.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.data
    }

    /// Width of an observation.
    pub fn obs_dim(&self) -> usize {
        self.data.obs_dim
    }

    /// Width of an action.
    pub fn act_dim(&self) -> usize {
        self.data.act_dim
    }

    /// The file's row behind transition `i`.
    pub fn row(&self, i: usize) -> usize {
        self.rows[i] as usize
    }

    /// Observation before transition `i`.
    pub fn obs(&self, i: usize) -> &[f32] {
        self.data.observation(self.row(i))
    }

    /// Observation after transition `i`; in D4RL's layout another episode's if
    /// [`Self::terminal`].
    pub fn next_obs(&self, i: usize) -> &[f32] {
        let row = self.row(i);
        if let (Next::Recorded, Some(next)) = (self.data.next, &self.data.next_observations) {
            let width = self.data.obs_dim;
            return &next[row * width..][..width];
        }
        let end = self.data.end_after(row);
        end.unwrap_or_else(|| self.data.observation(row + 1))
    }

    /// Whether [`Self::next_action`] is the action after transition `i`: not where the
    /// file's next row does not follow it.
    pub fn next_action_follows(&self, i: usize) -> bool {
        let data = &self.data;
        let row = self.row(i);
        match data.next {
            Next::Checked => data.breaks.as_ref().is_none_or(|b| b.after(row).is_none()),
            Next::Following => true,
            Next::Recorded => {
                let cut = data.timeouts.as_ref().is_some_and(|timeouts| timeouts[row]);
                !cut && row + 1 < data.rows() && data.end_after(row).is_none()
            }
        }
    }

    /// Action of transition `i`.
    pub fn action(&self, i: usize) -> &[f32] {
        self.data.action(self.row(i))
    }

    /// The action that the file has after transition `i`: another episode's where
    /// one ends, and the transition's own in the file's last row.
    pub fn next_action(&self, i: usize) -> &[f32] {
        let next = self.row(i) + 1;
        self.data.action(next.min(self.data.rows() - 1))
    }

    /// Reward of transition `i`.
    pub fn reward(&self, i: usize) -> f32 {
        self.data.rewards[self.row(i)]
    }

    /// Whether the environment terminated in transition `i`.
    pub fn terminal(&self, i: usize) -> bool {
        self.data.terminals[self.row(i)]
    }
}

/// The rows that D4RL keeps, of `count` in all, and those at breaks.
fn qlearning_rows(data: &Dataset, count: u32, horizon: usize) -> Vec<u32> {
    let mut rows = Vec::with_capacity(data.rows());
    let breaks = data.breaks.as_ref().map_or(&[][..], |breaks| &breaks.stops);
    let mut breaks = breaks.iter().peekable();
    let mut step = 0;
    for row in 0..count {
        let i = row as usize;
        if breaks.next_if(|&&stop| stop == i + 1).is_some() {
            rows.push(row);
            step = 0;
            continue;
        }
        if row + 1 == count {
            break;
        }
        let cut = match &data.timeouts {
            Some(timeouts) => timeouts[i],
            None => data.breaks.is_none() && step + 1 == horizon,
        };
        if cut {
            step = 0;
            continue;
        }
        if data.terminals[i] {
            step = 0;
        }
        rows.push(row);
        step += 1;
    }
    rows
}
