//! From one layout to the other.
//!
//! Minari keeps an episode's last observation and D4RL's layout does not, except
//! in files with `next_observations`: those convert there and back row for row.
//! From others, a step whose next observation nobody recorded is left out, as
//! D4RL's own loader does, and [`Converted`] counts what was.

use std::{collections::BTreeMap, ops::Range, path::Path};

use serde_json::{Map, Value};
use spar_core::{DatasetIdentity, EnvId};

use crate::{
    dataset::{Dataset, EpisodeEnd, Layout},
    error::DataError,
    minari::{About, EpisodeRows, MinariWriter, refuse_existing},
    writer::{META_DATASET, META_ORIGIN, MetaValue, Row, Writer},
};

/// For data that do not need one to tell where episodes are cut.
const NO_HORIZON: usize = usize::MAX;

/// What became of data that are a Minari data set now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The data as they are now.
    pub identity: DatasetIdentity,
    /// Rows left out, one an episode at most: the last of a cut episode, whose
    /// next observation is not recorded.
    pub left_out: usize,
    /// Terminated episodes whose last observation is not recorded. The one before
    /// stands in its place, which no learner looks at: the step is terminal.
    pub repeated: usize,
}

/// Writes `data` as the Minari data set `id` to the folder `folder`, whole or not
/// at all. With `env`, actions are declared to lie in `[-1, 1]` as all of its do,
/// and an old file without timeouts is cut at its horizon.
///
/// # Errors
/// [`DataError::Exists`] if something is at `folder`, [`DataError::BadId`],
/// [`DataError::SameLayout`] for data of a Minari data set,
/// [`DataError::NoCuts`] for a file without timeouts where `env` is `None`, and
/// [`DataError::Write`].
pub fn to_minari(
    data: &Dataset,
    folder: &Path,
    id: &str,
    env: Option<EnvId>,
) -> Result<Converted, DataError> {
    differs(data, Layout::Minari)?;
    let horizon = match (env, &data.timeouts) {
        (Some(env), _) => env.horizon(),
        (None, Some(_)) => NO_HORIZON,
        (None, None) => {
            return Err(DataError::NoCuts {
                id: data.identity.id.clone(),
            });
        }
    };
    let about = About {
        id: id.to_owned(),
        obs_dim: data.obs_dim,
        act_dim: data.act_dim,
        action_bounds: env.map(|_| (-1.0, 1.0)),
        fields: source_fields(data),
    };
    let mut writer = MinariWriter::create(folder, about)?;
    let (mut left_out, mut repeated) = (0, 0);
    for episode in data.episodes(horizon) {
        let mut rows = episode.rows;
        let known = data.observation_after(rows.end - 1, true);
        if known.is_none() {
            if episode.end == EpisodeEnd::Terminal {
                repeated += 1;
            } else {
                left_out += 1;
                rows.end -= 1;
            }
        }
        if rows.is_empty() {
            continue;
        }
        let last = match (known, episode.end) {
            (Some(last), _) => last,
            (None, EpisodeEnd::Terminal) => data.observation(rows.end - 1),
            (None, _) => data.observation(rows.end),
        };
        let flags = |flags: &[bool]| flags[rows.clone()].to_vec();
        let mut truncations = match &data.timeouts {
            Some(timeouts) => flags(timeouts),
            None => vec![false; rows.len()],
        };
        if episode.end == EpisodeEnd::Timeout
            && let Some(cut) = truncations.last_mut()
        {
            *cut = true;
        }
        let part = |width: usize| rows.start * width..rows.end * width;
        let of = |values, width: Option<usize>| state(values, rows.clone(), width.unwrap_or(0));
        writer.push(&EpisodeRows {
            observations: &data.observations[part(data.obs_dim)],
            last,
            actions: &data.actions[part(data.act_dim)],
            rewards: &data.rewards[rows.clone()],
            terminations: &data.terminals[rows.clone()],
            truncations: &truncations,
            qpos: of(&data.qpos, data.nq()),
            qvel: of(&data.qvel, data.nv()),
        })?;
    }
    Ok(Converted {
        identity: writer.finish()?,
        left_out,
        repeated,
    })
}

/// Writes a Minari data set as a file in D4RL's layout to `path`, whole or not at
/// all, with `next_observations`.
///
/// An episode's last row carries the flags it has; one with neither is marked as
/// cut, since D4RL's layout tells episodes by nothing else. Flags within an
/// episode do not end it in Minari: such a termination is kept, such a truncation
/// is not.
///
/// # Errors
/// [`DataError::Exists`] if something is at `path`, [`DataError::SameLayout`] for
/// data in D4RL's layout, and [`DataError::Write`].
pub fn to_d4rl(data: &Dataset, path: &Path) -> Result<DatasetIdentity, DataError> {
    differs(data, Layout::D4rl)?;
    refuse_existing(path)?;
    let text = |(key, value): (String, Value)| Some((key, value.as_str()?.into()));
    let mut metadata: BTreeMap<String, MetaValue> =
        source_fields(data).into_iter().filter_map(text).collect();
    metadata.insert(META_ORIGIN.into(), "minari".into());
    metadata.insert(META_DATASET.into(), data.identity.id.clone().into());
    let widths = [data.nq(), data.nv()].map(|width| width.unwrap_or(0));
    let [nq, nv] = widths;
    let mut writer = Writer::create(path, data.obs_dim, data.act_dim, nq, nv, &metadata)?;
    for episode in data.episodes(NO_HORIZON) {
        let stop = episode.rows.end;
        let unmarked = episode.end == EpisodeEnd::Unfinished && stop < data.rows();
        for row in episode.rows {
            let last = row + 1 == stop;
            let flagged = data.timeouts.as_ref().is_some_and(|timeouts| timeouts[row]);
            writer.push(&Row {
                obs: data.observation(row),
                action: data.action(row),
                reward: data.rewards[row],
                terminal: data.terminals[row],
                timeout: last && (flagged || unmarked),
                next_obs: data.observation_after(row, last).unwrap_or_default(),
                qpos: state(&data.qpos, row..row + 1, nq).unwrap_or_default(),
                qvel: state(&data.qvel, row..row + 1, nv).unwrap_or_default(),
            })?;
        }
    }
    writer.finish()
}

fn differs(data: &Dataset, to: Layout) -> Result<(), DataError> {
    if data.layout() != to {
        return Ok(());
    }
    Err(DataError::SameLayout {
        id: data.identity.id.clone(),
        layout: to.name(),
    })
}

/// Some rows of a part of the simulator's state.
fn state(values: &Option<Vec<f64>>, rows: Range<usize>, width: usize) -> Option<&[f64]> {
    let values = values.as_ref()?;
    Some(&values[rows.start * width..rows.end * width])
}

/// What a converted data set says of where it comes from.
fn source_fields(data: &Dataset) -> Map<String, Value> {
    let identity = &data.identity;
    let mut fields = Map::from_iter([
        (
            "description".to_owned(),
            format!(
                "converted by spar from {} ({})",
                identity.id, identity.origin
            )
            .into(),
        ),
        ("spar_source".to_owned(), identity.id.clone().into()),
        (
            "spar_source_origin".to_owned(),
            identity.origin.to_string().into(),
        ),
        (
            "spar_source_sha256".to_owned(),
            identity.sha256.clone().into(),
        ),
    ]);
    let said = |key| data.metadata.get(key);
    if let Some(algorithm) = said("algorithm").or(said("algorithm_name")) {
        fields.insert("algorithm_name".to_owned(), algorithm.clone().into());
    }
    fields
}
