//! What a data file holds, in numbers.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use spar_core::{DatasetIdentity, EnvId, Origin};

use crate::{
    dataset::{Dataset, EpisodeEnd},
    error::DataError,
    manifest,
    reading::Next,
    transitions::Transitions,
};

/// Episode length assumed in a file without timeouts where no environment is
/// named: that of the Gym-MuJoCo tasks.
const USUAL_HORIZON: usize = 1000;

/// Summary of one data file, as `spar data info` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Data set id.
    pub id: String,
    /// Official, local, of Minari or the user's.
    pub origin: Origin,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The environment it was read as, if one was named.
    pub env: Option<EnvId>,
    /// Rows in the file.
    pub rows: usize,
    /// Width of an observation.
    pub obs_dim: usize,
    /// Width of an action.
    pub act_dim: usize,
    /// Episodes, a trailing unfinished one included.
    pub episodes: usize,
    /// Episodes that ended in a terminal or were cut.
    pub complete_episodes: usize,
    /// Rows with a terminal flag.
    pub terminals: usize,
    /// Rows with a timeout flag; `None` in a file without such flags.
    pub timeouts: Option<usize>,
    /// Transitions: those of D4RL's `qlearning_dataset`, or every step of a
    /// Minari data set.
    pub transitions: usize,
    /// Undiscounted returns of the complete episodes; `None` without any.
    pub returns: Option<Returns>,
    /// Mean rows of a complete episode; `None` without any.
    pub mean_length: Option<f64>,
    /// D4RL's normalized score of the mean return, in percent; `None` without
    /// returns or reference scores (Minari's data have none).
    pub normalized_score: Option<f64>,
    /// Smallest and largest value of each observation dimension.
    pub observations: Vec<Span>,
    /// Smallest and largest value of each action dimension.
    pub actions: Vec<Span>,
    /// The file's metadata.
    pub metadata: BTreeMap<String, String>,
    /// What else a user should know.
    pub notes: Vec<String>,
}

/// Statistics over episode returns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returns {
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// Smallest and largest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Smallest.
    pub min: f32,
    /// Largest.
    pub max: f32,
}

/// The episode length that a file without timeouts is read with.
pub fn horizon_of(env: Option<EnvId>) -> usize {
    env.map_or(USUAL_HORIZON, EnvId::horizon)
}

/// Summarizes `data`; with `env`, by its horizon and reference scores.
///
/// # Errors
/// [`DataError::NoTransitions`] if no transition can be made of the rows.
pub fn info(data: &Arc<Dataset>, env: Option<EnvId>) -> Result<Info, DataError> {
    let horizon = horizon_of(env);
    let episodes: Vec<_> = data.episodes(horizon).collect();
    let complete: Vec<_> = episodes
        .iter()
        .filter(|e| e.end != EpisodeEnd::Unfinished)
        .map(|e| e.rows.clone())
        .collect();
    let returns = Returns::of(&data.returns(horizon));
    let count = |flags: &[bool]| flags.iter().filter(|&&f| f).count();
    let transitions = Transitions::new(Arc::clone(data), horizon)?.len();
    let mut notes = data.notes.clone();
    notes.extend(miscounted(&data.identity, transitions));
    notes.extend(dropped(data));
    let steps = complete.iter().map(|rows| rows.len()).sum::<usize>() as f64;
    Ok(Info {
        id: data.identity.id.clone(),
        origin: data.identity.origin,
        sha256: data.identity.sha256.clone(),
        env,
        rows: data.rows(),
        obs_dim: data.obs_dim,
        act_dim: data.act_dim,
        episodes: episodes.len(),
        complete_episodes: complete.len(),
        terminals: count(&data.terminals),
        timeouts: data.timeouts.as_deref().map(count),
        transitions,
        returns,
        mean_length: (!complete.is_empty()).then(|| steps / complete.len() as f64),
        normalized_score: env
            .zip(returns)
            .and_then(|(e, r)| data.identity.normalized_score(e, r.mean)),
        observations: spans(&data.observations, data.obs_dim),
        actions: spans(&data.actions, data.act_dim),
        metadata: data.metadata.clone(),
        notes,
    })
}

/// What to say if an official file has not the transitions that were counted
/// with D4RL's own loader: a mistake of ours.
fn miscounted(identity: &DatasetIdentity, transitions: usize) -> Option<String> {
    let official = manifest::by_sha256(&identity.sha256)?;
    let expected = official.transitions.filter(|&n| n != transitions)?;
    Some(format!(
        "{}: {transitions} transitions, but D4RL's loader makes {expected} of it; please report this",
        identity.id
    ))
}

/// What to say beside the count where rows are no transitions though their successors are
/// recorded. Of D4RL's own files and those made by its recipes that is what is wanted.
fn dropped(data: &Dataset) -> Option<String> {
    let own = matches!(data.identity.origin, Origin::Official | Origin::Local);
    let compared = data.next == Next::Checked && data.breaks.is_some();
    let cuts = data.timeouts.as_ref().filter(|_| compared && !own)?;
    let count = cuts.iter().filter(|&&cut| cut).count();
    (count > 0).then(|| {
        format!(
            "the {count} rows at `timeouts` are no transitions, as in D4RL's loader, though \
             next_observations say what followed them: `--next recorded` keeps them"
        )
    })
}

impl Returns {
    fn of(returns: &[f64]) -> Option<Self> {
        if returns.is_empty() {
            return None;
        }
        let n = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / n;
        let square = returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n;
        Some(Self {
            mean,
            std: square.sqrt(),
            min: returns.iter().copied().fold(f64::INFINITY, f64::min),
            max: returns.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

pub(crate) fn spans(values: &[f32], width: usize) -> Vec<Span> {
    let empty = Span {
        min: f32::INFINITY,
        max: f32::NEG_INFINITY,
    };
    let mut spans = vec![empty; width];
    for row in values.chunks_exact(width) {
        for (span, &x) in spans.iter_mut().zip(row) {
            span.min = span.min.min(x);
            span.max = span.max.max(x);
        }
    }
    spans
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn transitions_of_official_files_are_held_to_d4rls() {
        let official = manifest::official("hopper-medium".parse().unwrap()).unwrap();
        let mut identity = DatasetIdentity {
            id: official.id.clone(),
            origin: Origin::Official,
            sha256: official.sha256.clone().unwrap(),
            rows: 1_000_000,
        };
        assert_eq!(miscounted(&identity, 999_998), None);
        let note = miscounted(&identity, 999_997).unwrap();
        assert!(note.contains("makes 999998 of it"), "{note}");
        identity.sha256 = "0".repeat(64);
        assert_eq!(miscounted(&identity, 5), None);
    }
}
