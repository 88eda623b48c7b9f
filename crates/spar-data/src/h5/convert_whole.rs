//! Data that were read whole as a file in D4RL's layout.

use std::{collections::BTreeMap, path::Path};

use spar_core::DatasetIdentity;

use super::writer::{MetaValue, Row, Writer};
use crate::{
    dataset::{Dataset, EpisodeEnd},
    error::DataError,
};

/// What was written.
pub(crate) struct Written {
    pub(crate) identity: DatasetIdentity,
    /// See [`crate::Converted::left_out`].
    pub(crate) left_out: usize,
    /// See [`crate::Converted::repeated`].
    pub(crate) repeated: usize,
}

/// Writes `data`, whose episodes are cut after `horizon` steps where nothing else says so,
/// to `path`, with `next_observations`.
pub(crate) fn write(
    data: &Dataset,
    horizon: usize,
    path: &Path,
    metadata: &BTreeMap<String, MetaValue>,
) -> Result<Written, DataError> {
    let (nq, nv) = (data.nq().unwrap_or(0), data.nv().unwrap_or(0));
    let mut writer = Writer::create(path, data.obs_dim, data.act_dim, nq, nv, metadata)?;
    let (mut left_out, mut repeated) = (0, 0);
    for episode in data.episodes(horizon) {
        let mut rows = episode.rows.clone();
        let known = data.observation_after(rows.end - 1, true).is_some();
        let ended = episode.end == EpisodeEnd::Terminal;
        if !known && !ended {
            // What was observed after it is not recorded.
            rows.end -= 1;
            left_out += 1;
        }
        repeated += usize::from(!known && ended);
        for row in rows.clone() {
            let last = row + 1 == rows.end;
            let next = data.observation_after(row, row + 1 == episode.rows.end);
            let state = |values: &Option<Vec<f64>>, width: usize| match values {
                Some(values) => values[row * width..][..width].to_vec(),
                None => Vec::new(),
            };
            writer.push(&Row {
                obs: data.observation(row),
                action: data.action(row),
                reward: data.rewards[row],
                terminal: data.terminals[row],
                timeout: last && !ended,
                next_obs: next.unwrap_or_else(|| data.observation(row)),
                qpos: &state(&data.qpos, nq),
                qvel: &state(&data.qvel, nv),
            })?;
        }
    }
    Ok(Written {
        identity: writer.finish()?,
        left_out,
        repeated,
    })
}
