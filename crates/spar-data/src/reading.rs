//! What a user may say of how a file is read, where the file itself leaves it open.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use spar_core::{EnvId, id::UnknownName};

/// How data are read. What differs from the usual way is part of a run's record: it
/// decides what the run learns from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reading {
    /// What follows a row.
    #[serde(skip_serializing_if = "Next::is_checked")]
    pub next: Next,
    /// The arrays whose columns, joined in this order, are the observations, by their
    /// keys below `observations` or below the file's root; empty for the one array
    /// `observations`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<String>,
    /// The column of a table that holds the rewards, where it has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<String>,
    /// Whether data that name another environment than the one asked for are read all
    /// the same.
    #[serde(skip_serializing_if = "is_false")]
    pub other_env: bool,
    /// Whether a horizon is named that cuts episodes where the data do not: a table may then
    /// have no column that says where they end. A run's record holds the horizon itself.
    #[serde(skip)]
    pub horizon: bool,
}

impl Reading {
    /// Whether everything is read as it usually is.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What follows a row of a file in D4RL's layout that records successors
/// (`next_observations`). In others it is the next row's observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Next {
    /// The next row's observation, as D4RL's `qlearning_dataset` has it, where the
    /// recorded successor is the same. Where it is not, the rows do not follow each other:
    /// an episode is cut there, and the recorded successor is used. A row flagged as cut is
    /// dropped, as there. A file that says that all successors are to be used
    /// ([`META_NEXT`](crate::META_NEXT)) is read as [`Self::Recorded`].
    #[default]
    Checked,
    /// The recorded successor of every row, cut ones and the last included.
    Recorded,
    /// The next row's observation, whatever is recorded.
    Following,
}

impl Next {
    fn is_checked(&self) -> bool {
        *self == Self::Checked
    }
}

impl FromStr for Next {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "checked" => Ok(Self::Checked),
            "recorded" => Ok(Self::Recorded),
            "following" => Ok(Self::Following),
            _ => Err(UnknownName {
                what: "rule of what follows a row",
                got: text.to_owned(),
                expected: "checked, recorded, following".to_owned(),
            }),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What a reader is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The environment that the data are to be of, if one is named.
    pub(crate) env: Option<EnvId>,
    pub(crate) reading: &'a Reading,
    pub(crate) parts: Parts,
}

/// How much of a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    Everything,
    Training,
}
