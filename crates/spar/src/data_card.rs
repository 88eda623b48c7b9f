//! What is known of a generated data file: the JSON beside it, made while the
//! file is written and so without reading it again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spar_collect::{
    card::Card,
    facts::{Behavior, End},
    recipe::Generated,
};
use spar_core::{Origin, TaskId, files::in_file, write_atomic};
use spar_data::Distribution;
use spar_report::bars;

/// The card of a generated file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataCard {
    /// Data set id, which says `local`.
    pub(crate) id: String,
    /// Always local.
    pub(crate) origin: Origin,
    /// The task.
    pub(crate) task: TaskId,
    /// The command that makes the file again.
    pub(crate) command: String,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Rows in the file.
    pub(crate) rows: usize,
    /// Episodes, a trailing unfinished one included.
    pub(crate) episodes: usize,
    /// Rows with a terminal flag.
    pub(crate) terminals: usize,
    /// Rows with a timeout flag.
    pub(crate) timeouts: usize,
    /// Undiscounted returns of the complete episodes, each up to its first terminal.
    pub(crate) returns: Option<Distribution>,
    /// D4RL's normalized score of their mean, in percent.
    pub(crate) normalized_score: Option<f64>,
    /// Rows of the complete episodes.
    pub(crate) lengths: Option<Distribution>,
    /// The returns in equal bins.
    pub(crate) histogram: Vec<Bin>,
    /// Who acted, in order.
    pub(crate) behavior: Vec<Behavior>,
    /// How the policies were trained; absent where nobody was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policies: Option<Card>,
    /// The file's metadata.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// One bin of a histogram: numbers from `from` to below `to`; the last bin has
/// its upper end too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bin {
    /// Lower end.
    pub(crate) from: f64,
    /// Upper end.
    pub(crate) to: f64,
    /// Numbers in it.
    pub(crate) count: usize,
}

impl DataCard {
    /// The card of what [`spar_collect::recipe::generate`] made for `task` at `path`,
    /// with the file's `metadata` and the `command` that makes it again.
    ///
    /// # Errors
    /// If the file's size cannot be read.
    pub(crate) fn new(
        task: TaskId,
        made: &Generated,
        path: &Path,
        metadata: BTreeMap<String, String>,
        command: String,
    ) -> Result<Self> {
        let Generated {
            identity,
            episodes,
            behavior,
            policies,
        } = made;
        let bytes = std::fs::metadata(path).map_err(|e| in_file(e, path))?;
        let complete = || episodes.iter().filter(|e| e.end != End::Unfinished);
        let returns: Vec<f64> = complete().map(|e| e.ret).collect();
        let lengths = complete().map(|e| e.length as f64).collect();
        let histogram = bars(&returns)
            .into_iter()
            .map(|(from, to, count)| Bin { from, to, count })
            .collect();
        let returns = Distribution::of(returns);
        Ok(Self {
            id: identity.id.clone(),
            origin: identity.origin,
            task,
            command,
            sha256: identity.sha256.clone(),
            bytes: bytes.len(),
            rows: identity.rows,
            episodes: episodes.len(),
            terminals: episodes.iter().map(|e| e.terminals).sum(),
            timeouts: episodes.iter().filter(|e| e.end == End::Timeout).count(),
            normalized_score: returns
                .as_ref()
                .and_then(|r| task.env().normalized_score(r.mean)),
            returns,
            lengths: Distribution::of(lengths),
            histogram,
            behavior: behavior.clone(),
            policies: policies.clone(),
            metadata,
        })
    }

    /// Where the card of the data file at `path` is.
    pub(crate) fn path(path: &Path) -> PathBuf {
        path.with_extension("json")
    }

    /// Reads the card of the data file at `path`; none if there is none, or none
    /// of this version.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read(Self::path(path)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes the card of the data file at `path`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(write_atomic(&Self::path(path), text.as_bytes())?)
    }
}
