//! HDF5 files of robomimic and d3rlpy: arrays of their own for each episode.
//!
//! robomimic (v0.1 on) has `data/demo_<i>` with `obs/<key>`, `next_obs/<key>`, `actions`,
//! `rewards` and `dones`; which of the observations a policy sees its configuration says,
//! and here `--observations`. d3rlpy's `ReplayBuffer.dump` (2.1) has `observations_<i>`,
//! `actions_<i>`, `rewards_<i>` and the number `terminated_<i>`; its first version had D4RL's
//! layout, with `episode_terminals`. Both keep as many observations as steps: where an
//! episode is cut, its last step's successor is only in `next_obs`.

use super::source::Source;
use crate::{
    error::DataError,
    flags::Flagged,
    reading::{Next, Reading},
    table::Table,
};

/// Whose layout a file has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Robomimic,
    D3rlpy,
}

/// An open file whose episodes have arrays of their own.
pub(crate) struct Groups<'a> {
    source: &'a Source<'a>,
    kind: Kind,
    episodes: Vec<u64>,
}

/// Most episodes of a file.
const MOST: u64 = 1 << 20;

impl<'a> Groups<'a> {
    /// Of `source`, if it has one of these layouts.
    pub(crate) fn of(source: &'a Source<'a>) -> Option<Self> {
        if source.exists("observations") {
            return None;
        }
        if source.exists("observations_0") || source.exists("observations_0_0") {
            let found = (0..MOST).take_while(|i| source.exists(&format!("actions_{i}")));
            return Some(Self {
                source,
                kind: Kind::D3rlpy,
                episodes: found.collect(),
            });
        }
        let names = source.file.group("data").ok()?.member_names().ok()?;
        let numbers = names
            .iter()
            .filter_map(|name| name.strip_prefix("demo_")?.parse().ok());
        let mut episodes: Vec<u64> = numbers.collect();
        // By number: names are in the order of their letters.
        episodes.sort_unstable();
        (!episodes.is_empty()).then_some(Self {
            source,
            kind: Kind::Robomimic,
            episodes,
        })
    }

    /// The place of what an episode has of `what`.
    fn key(&self, what: &str, episode: u64) -> String {
        match (self.kind, what) {
            (Kind::D3rlpy, _) => format!("{what}_{episode}"),
            (Kind::Robomimic, "observations") => format!("data/demo_{episode}/obs"),
            (Kind::Robomimic, "next_observations") => format!("data/demo_{episode}/next_obs"),
            (Kind::Robomimic, _) => format!("data/demo_{episode}/{what}"),
        }
    }

    /// All of it, one episode after the other.
    ///
    /// # Errors
    /// What is missing or wrong in an episode.
    pub(crate) fn read(&self, reading: &Reading) -> Result<Table, DataError> {
        let source = self.source;
        let names = &reading.observations;
        let mut table = Table {
            obs_dim: 0,
            observations: Vec::new(),
            act_dim: 0,
            actions: Vec::new(),
            rewards: None,
            flagged: Flagged {
                terminals: Vec::new(),
                timeouts: Some(Vec::new()),
                notes: Vec::new(),
            },
            next_observations: None,
            qpos: None,
            qvel: None,
            integers: false,
        };
        let (mut next, mut rewarded) = (Vec::new(), Vec::new());
        let mut timeouts = Vec::new();
        let mut recorded = reading.next != Next::Following;
        for &episode in &self.episodes {
            let key = |what: &str| self.key(what, episode);
            if source.exists(&key("observations_0"))
                || source.exists(&format!("observations_{episode}_0"))
            {
                return Err(source.damaged(
                    &key("observations"),
                    "observations of several arrays, expected one; dump them side by side"
                        .to_owned(),
                ));
            }
            let wide = |width: usize| (width > 0).then_some(width);
            let observations =
                source.joined(&key("observations"), names, None, wide(table.obs_dim))?;
            let rows = observations.rows();
            table.obs_dim = observations.width();
            table.observations.extend(observations.read()?);
            let actions = source.matrix(&key("actions"), Some(rows), wide(table.act_dim))?;
            table.act_dim = actions.width();
            table.integers |= actions.holds_integers();
            table.actions.extend(actions.read::<f32>()?);
            let rewards = source.column(&key("rewards"), rows)?;
            rewarded.extend(rewards.read::<f32>()?);
            table
                .flagged
                .terminals
                .extend(self.terminals(episode, rows)?);
            timeouts.resize(timeouts.len() + rows, false);
            let ended = table.flagged.terminals.last() == Some(&true);
            if let Some(cut) = timeouts.last_mut() {
                *cut = !ended;
            }
            recorded &= source.exists(&key("next_observations"));
            if recorded {
                let place = key("next_observations");
                let width = Some(table.obs_dim);
                next.extend(source.joined(&place, names, Some(rows), width)?.read()?);
            }
        }
        table.rewards = Some(rewarded);
        table.flagged.timeouts = Some(timeouts);
        table.next_observations = recorded.then_some(next);
        table.flagged.notes = vec![self.note()];
        Ok(table)
    }

    /// Where the environment ended the episode.
    fn terminals(&self, episode: u64, rows: usize) -> Result<Vec<bool>, DataError> {
        match self.kind {
            Kind::Robomimic => {
                let key = self.key("dones", episode);
                match self.source.exists(&key) {
                    true => self.source.flags(&key, rows)?.flags(),
                    false => Ok(vec![false; rows]),
                }
            }
            Kind::D3rlpy => {
                let mut terminals = vec![false; rows];
                let ended = self.source.flag(&self.key("terminated", episode))?;
                if let Some(last) = terminals.last_mut() {
                    *last = ended;
                }
                Ok(terminals)
            }
        }
    }

    /// What was taken for what.
    fn note(&self) -> String {
        let count = self.episodes.len();
        match self.kind {
            Kind::Robomimic => format!(
                "read as robomimic's layout, {count} demonstrations: `dones` are terminations, an \
                 end without one is a cut"
            ),
            Kind::D3rlpy => format!(
                "read as d3rlpy's layout, {count} episodes: one that is not `terminated` is cut"
            ),
        }
    }
}
