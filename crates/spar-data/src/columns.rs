//! Named columns of numbers, on their way to a [`Dataset`]: what text, Parquet files and
//! LeRobot's folders of them are read as, so that one rule says what a name means.
//!
//! | columns | what they are |
//! |---|---|
//! | `obs_0`, `obs_1`, ... (`observation`, `observations`, `state`; `obs.0`, `obs[0]`), or one column of lists: `observation.state` | the observation |
//! | `action_0`, ... or `action` (`act`) | the action |
//! | `reward` (`rewards`, `next.reward`) | the reward |
//! | `next_obs_0`, ... | the observation after the step |
//! | `terminal`, `timeout`, `next.done` and their other names | how an episode ends |
//! | `episode` (`episode_id`, `episode_index`, ...) | an episode ends where it changes |
//! | `frame_index` | and where it does not count on |

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use spar_core::printable;

use crate::{
    dataset::Dataset,
    error::DataError,
    flags::{FlagNames, FlagSource, MASKS, TERMINALS, cut_name},
    reading::{Asked, Next},
    table::Table,
};

const OBSERVATIONS: [&str; 6] = [
    "observations",
    "observation",
    "obs",
    "observation.state",
    "state",
    "states",
];
const NEXT: [&str; 5] = [
    "next_observations",
    "next_observation",
    "next_obs",
    "next_state",
    "next_states",
];
const ACTIONS: [&str; 3] = ["actions", "action", "act"];
const REWARDS: [&str; 3] = ["rewards", "reward", "next.reward"];
/// Columns that number episodes.
const EPISODES: [&str; 7] = [
    "episode",
    "episode_id",
    "episode_index",
    "episode_idx",
    "trajectory",
    "trajectory_id",
    "traj_id",
];
/// Columns that count the rows of an episode.
const FRAMES: &str = "frame_index";
/// What the ends that those show are called.
const ENDS: &str = "episode_ends";
/// The flag that LeRobot sets in the last row of every episode.
const LAST: &str = "next.done";

/// Most columns of a file.
pub(crate) const MOST_COLUMNS: usize = 4096;

/// One column.
pub(crate) struct Column {
    pub(crate) name: String,
    /// Numbers in a row of it.
    pub(crate) width: usize,
    /// `[rows, width]`; what is no number is NaN, which is refused where it is asked for.
    pub(crate) values: Vec<f32>,
}

/// The columns of a file.
pub(crate) struct Columns<'a> {
    pub(crate) path: &'a Path,
    pub(crate) columns: Vec<Column>,
    /// The first row of each episode but the first, where a column tells.
    pub(crate) starts: Option<Vec<usize>>,
    pub(crate) rows: usize,
    /// Whether episodes are cut after a number of steps that a user names.
    pub(crate) horizon: bool,
    /// What a user should know.
    pub(crate) notes: Vec<String>,
}

/// The column that numbers episodes, of those `there`.
pub(crate) fn episodes(there: impl Fn(&str) -> bool) -> Option<&'static str> {
    EPISODES.into_iter().find(|name| there(name))
}

/// Whether a column of this name is a part of an observation, an action or a reward.
pub(crate) fn is_known(name: &str) -> bool {
    let vectors = [&OBSERVATIONS[..], &ACTIONS, &NEXT, &REWARDS].concat();
    vectors
        .iter()
        .any(|vector| name == *vector || index_of(name, vector).is_some())
}

/// Where episodes begin, by a column that says of which one each row is.
#[derive(Default)]
pub(crate) struct Numbered {
    now: Option<String>,
    ended: HashSet<String>,
    /// The first rows of all but the first.
    pub(crate) starts: Vec<usize>,
}

impl Numbered {
    /// Row `row` is of the episode `name`.
    ///
    /// # Errors
    /// If that one has ended before: rows of episodes that were recorded side by side are no
    /// episodes one after the other. If there is no name.
    pub(crate) fn row(&mut self, row: usize, name: &str) -> Result<(), String> {
        if self.now.as_deref() == Some(name) {
            return Ok(());
        }
        if name.is_empty() {
            return Err(format!("row {row} says nothing"));
        }
        if self.ended.contains(name) {
            let since = self.starts.last().copied().unwrap_or(0);
            return Err(format!(
                "episode {name} goes on in row {row}, after another began in row {since}: sort the \
                 rows by episode and then by time; episodes of several logs need numbers of their own"
            ));
        }
        if let Some(ended) = self.now.replace(name.to_owned()) {
            self.ended.insert(ended);
            self.starts.push(row);
        }
        Ok(())
    }
}

impl Columns<'_> {
    /// The data set of these, whose bytes have the hash `sha256`.
    ///
    /// # Errors
    /// If one that is needed is not there, has another width or holds what is no number.
    pub(crate) fn dataset(
        mut self,
        sha256: String,
        asked: Asked<'_>,
    ) -> Result<Dataset, DataError> {
        self.count_frames();
        let reading = asked.reading;
        self.horizon = reading.horizon;
        let observed = match &reading.observations[..] {
            [] => self.vector(&OBSERVATIONS)?,
            names => {
                let mut all = Vec::new();
                for name in names {
                    all.extend(self.vector(&[name])?);
                }
                all
            }
        };
        let acted = self.vector(&ACTIONS)?;
        let next = match reading.next {
            Next::Following => None,
            _ => self.vector_if_present(&NEXT)?,
        };
        let obs_dim = self.width(&observed);
        if let Some(next) = &next
            && self.width(next) != obs_dim
        {
            let got = [self.rows, self.width(next)];
            return Err(self.shape(NEXT[0], format!("{obs_dim} columns"), &got));
        }
        let rewards = match &reading.reward {
            Some(name) => Some(self.vector(&[name])?),
            None => self.vector_if_present(&REWARDS)?,
        };
        if let Some(rewards) = &rewards
            && self.width(rewards) != 1
        {
            let got = [self.rows, self.width(rewards)];
            return Err(self.shape(REWARDS[0], "1 column".to_owned(), &got));
        }
        let mut flagged = FlagNames::of(&self, self.rows).read(&self)?;
        // An episode that changes has ended, whatever the flags say.
        if let Some(starts) = &self.starts {
            let cuts = flagged
                .timeouts
                .get_or_insert_with(|| vec![false; self.rows]);
            for end in starts.iter().map(|start| start - 1) {
                cuts[end] |= !flagged.terminals[end];
            }
        }
        flagged.notes.extend(self.ends_note(&flagged.terminals));
        flagged.notes.extend(self.unsaid_note());
        flagged.notes.append(&mut self.notes);
        let names = |columns: &[usize]| -> String {
            let names: Vec<String> = columns.iter().map(|&i| self.columns[i].shown()).collect();
            printable(&names.join(",")).into_owned()
        };
        flagged.notes.push(format!(
            "observations are the columns {}; actions {}",
            names(&observed),
            names(&acted)
        ));
        let integers = |&i: &usize| self.columns[i].values.iter().all(|x| x.fract() == 0.0);
        let integers = acted.iter().all(integers);
        let table = Table {
            obs_dim,
            act_dim: self.width(&acted),
            actions: self.rows_of(&acted),
            rewards: rewards.map(|rewards| self.rows_of(&rewards)),
            flagged,
            next_observations: next.map(|next| self.rows_of(&next)),
            qpos: None,
            qvel: None,
            integers,
            observations: self.rows_of(&observed),
        };
        table.dataset(self.path, sha256, asked)
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|there| there.name == name)
    }

    /// The column of one number called `name`.
    fn scalar(&self, name: &str) -> Option<&[f32]> {
        let column = &self.columns[self.column(name)?];
        (column.width == 1).then_some(&column.values[..])
    }

    /// The columns of the vector called one of `names`, in its order.
    fn vector(&self, names: &[&str]) -> Result<Vec<usize>, DataError> {
        self.vector_if_present(names)?
            .ok_or_else(|| DataError::MissingKey {
                path: self.path.into(),
                key: names[0].into(),
                expected: "columns obs_0, obs_1, ... (or observation.state), action_0, ..., reward \
                           and terminal; --observations and --reward name other columns",
            })
    }

    fn vector_if_present(&self, names: &[&str]) -> Result<Option<Vec<usize>>, DataError> {
        for name in names {
            if let Some(whole) = self.column(name) {
                return Ok(Some(vec![whole]));
            }
            let parts = self.columns.iter().enumerate();
            let parts = parts.filter_map(|(i, there)| Some((index_of(&there.name, name)?, i)));
            let parts: BTreeMap<usize, usize> = parts.collect();
            let Some((&first, _)) = parts.first_key_value() else {
                continue;
            };
            // From 0 on, or from 1.
            let mut expected = parts.keys().zip(first..);
            if first > 1 || expected.any(|(&got, expected)| got != expected) {
                let why = format!("columns `{name}` are not numbered from 0 or 1 on without a gap");
                return Err(damaged(self.path, "columns", &why));
            }
            return Ok(Some(parts.into_values().collect()));
        }
        Ok(None)
    }

    fn width(&self, columns: &[usize]) -> usize {
        columns.iter().map(|&i| self.columns[i].width).sum()
    }

    fn rows_of(&self, columns: &[usize]) -> Vec<f32> {
        if let [only] = columns {
            return self.columns[*only].values.clone();
        }
        let row = |row: usize| {
            let part = move |&i: &usize| {
                let Column { width, values, .. } = &self.columns[i];
                values[row * width..][..*width].iter().copied()
            };
            columns.iter().flat_map(part)
        };
        (0..self.rows).flat_map(row).collect()
    }

    /// Ends an episode too where its rows are not counted on: rows are missing there.
    fn count_frames(&mut self) {
        let Some(frames) = self.scalar(FRAMES) else {
            return;
        };
        if frames.iter().any(|frame| frame.is_nan()) {
            return;
        }
        let known = self.starts.as_deref().unwrap_or_default();
        let gap = |&row: &usize| frames[row] != frames[row - 1] + 1.0;
        let gaps: Vec<usize> = (1..self.rows)
            .filter(gap)
            .filter(|row| known.binary_search(row).is_err())
            .collect();
        if let (Some(first), true) = (gaps.first(), self.starts.is_some()) {
            self.notes.push(format!(
                "`{FRAMES}` does not count on in {} rows within an episode, first in row {first}: \
                 the episode is cut before them",
                gaps.len()
            ));
        }
        let mut starts = [known, &gaps].concat();
        starts.sort_unstable();
        self.starts = Some(starts);
    }

    /// Whether there is a column of terminals.
    fn says_terminals(&self) -> bool {
        TERMINALS.iter().any(|name| self.scalar(name).is_some())
    }

    /// What tells where episodes end where no column says which of them the environment
    /// ended: without it, nobody knows whether the rows are of one episode.
    fn ends_without_terminals(&self) -> Option<String> {
        let cuts = cut_name(|name| self.scalar(name).is_some());
        let counted = || {
            let named = episodes(|name| self.column(name).is_some());
            self.starts.as_ref().map(|_| named.unwrap_or(FRAMES))
        };
        let column = cuts.or_else(counted).map(|name| format!("`{name}`"));
        column.or_else(|| self.horizon.then(|| "--horizon".to_owned()))
    }

    /// What to say where terminals are taken for zeros.
    fn unsaid_note(&self) -> Option<String> {
        let told = self.ends_without_terminals();
        let told = told.filter(|_| !self.says_terminals())?;
        Some(format!(
            "no column says where the environment ended an episode: none is taken for \
             terminated, and {told} says where they are cut"
        ))
    }

    /// What to say of [`LAST`], where that says how an episode ended.
    fn ends_note(&self, terminals: &[bool]) -> Option<String> {
        let named = TERMINALS.iter().find(|name| self.column(name).is_some());
        let starts = self.starts.as_ref().filter(|_| named == Some(&LAST))?;
        let ends = starts.iter().map(|start| start - 1).chain([self.rows - 1]);
        let mut ends = ends.map(|end| terminals[end]);
        ends.all(|ended| ended).then(|| {
            format!(
                "`{LAST}` is set in the last row of every episode, whether it ended or was cut: all \
                 are taken for terminations"
            )
        })
    }

    fn shape(&self, key: &str, expected: String, got: &[usize]) -> DataError {
        DataError::Shape {
            path: self.path.into(),
            key: key.into(),
            expected,
            got: format!("{got:?}"),
        }
    }
}

impl Column {
    fn shown(&self) -> String {
        match self.width {
            1 => self.name.clone(),
            width => format!("{} ({width} numbers)", self.name),
        }
    }
}

impl FlagSource for Columns<'_> {
    fn names(&self) -> Vec<String> {
        let vectors = [&OBSERVATIONS[..], &ACTIONS, &NEXT, &REWARDS, &EPISODES].concat();
        let part = |there: &&Column| {
            let mut vectors = vectors.iter();
            let whole = there.name == FRAMES || there.width != 1;
            whole
                || vectors.any(|name| there.name == *name || index_of(&there.name, name).is_some())
        };
        let others = self.columns.iter().filter(|there| !part(there));
        others.map(|column| column.name.clone()).collect()
    }

    fn has(&self, name: &str) -> bool {
        let there = |name: &str| self.scalar(name).is_some();
        if name == MASKS {
            // They are beside the ends of episodes, which are not made up.
            return there(name) && there(TERMINALS[0]);
        }
        if name == TERMINALS[0] && !self.says_terminals() {
            return self.ends_without_terminals().is_some();
        }
        there(name) || (name == ENDS && self.starts.is_some())
    }

    fn read_flags(&self, name: &str, rows: usize) -> Result<Vec<bool>, DataError> {
        if let Some(values) = self.scalar(name) {
            let flag = |(row, &got): (usize, &f32)| match got {
                0.0 => Ok(false),
                1.0 => Ok(true),
                _ => Err(DataError::Flag {
                    path: self.path.into(),
                    key: name.into(),
                    row,
                    got: got.into(),
                }),
            };
            return values.iter().enumerate().map(flag).collect();
        }
        let mut flags = vec![false; rows];
        match (name, &self.starts) {
            (ENDS, Some(starts)) => {
                for &start in starts {
                    flags[start - 1] = true;
                }
                // The file ends with its last episode.
                if let Some(last) = flags.last_mut() {
                    *last = true;
                }
                Ok(flags)
            }
            (name, _) if name == TERMINALS[0] && self.ends_without_terminals().is_some() => {
                Ok(flags)
            }
            _ => Err(DataError::MissingKey {
                path: self.path.into(),
                key: name.into(),
                expected: "a column terminal or terminated, of 0 and 1; where nothing \
                           terminates, a column timeout or truncated, or episode, which numbers \
                           episodes, says where they are cut, or --horizon N of `spar train`",
            }),
        }
    }

    fn guess_flags(&self, name: &str, rows: usize, hints: &[&str]) -> Option<Vec<bool>> {
        let lower = name.to_lowercase();
        if !hints.iter().any(|hint| lower.contains(hint)) {
            return None;
        }
        self.read_flags(name, rows).ok()
    }
}

/// The index that column `there` has as a part of the vector `name`.
fn index_of(there: &str, name: &str) -> Option<usize> {
    let rest = there.strip_prefix(name)?;
    let digits = match rest.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => rest.strip_prefix(['_', '.', '/', ':']).unwrap_or(rest),
    };
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

pub(crate) fn damaged(path: &Path, place: &str, reason: &str) -> DataError {
    DataError::Damaged {
        path: path.into(),
        place: printable(place).into_owned(),
        reason: printable(reason).into_owned(),
    }
}
