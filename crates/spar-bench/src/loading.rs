//! Data to measure the reading of files on, and the reading. Their numbers are walks, as
//! a simulator's are, so that they pack as real ones do: nearby rows share their high
//! bytes and not their low ones.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use spar_core::{EnvId, Stream, sha256_hex};
use spar_data::{Dataset, Row, Writer};

use crate::clock;

/// Whose widths the rows have; of positions and velocities, as D4RL records them.
const ENV: EnvId = EnvId::HALF_CHEETAH;
const STATE: [usize; 2] = [9, 9];

/// Steps after which an episode is cut.
const HORIZON: usize = 1000;

/// One reading, as a contender says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Reading {
    /// Of the file.
    pub(crate) rows: usize,
    /// Bytes of the arrays read.
    pub(crate) data_bytes: u64,
    /// Seconds of CPU time.
    pub(crate) cpu_s: f64,
    /// Seconds that passed.
    pub(crate) wall_s: f64,
    /// Largest resident set of the process (`VmHWM`), in bytes.
    pub(crate) peak_bytes: u64,
    /// Of observations, actions, rewards, terminals and timeouts, one after the other.
    pub(crate) sha256: String,
    /// Who read it, where it is not us.
    #[serde(default)]
    pub(crate) version: String,
}

/// Writes `rows` rows to `file`.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn walk(file: &Path, rows: usize) -> Result<()> {
    let [nq, nv] = STATE;
    let (obs_dim, act_dim) = (ENV.obs_dim(), ENV.act_dim());
    let says = "random walks, to measure reading with; no task's data";
    let metadata = [("spar_content".to_owned(), says.into())].into();
    let mut writer = Writer::create(file, obs_dim, act_dim, nq, nv, &metadata)?;
    let mut stream = Stream::new(0, "bench/walk");
    let mut at = vec![0.0f64; obs_dim];
    let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
    let mut obs = narrow(&at);
    for row in 0..rows {
        let state = [&at[..nq], &at[..nv]].map(<[f64]>::to_vec);
        let action: Vec<f32> = (0..act_dim)
            .map(|_| stream.normal().tanh() as f32)
            .collect();
        for x in &mut at {
            *x = 0.99 * *x + 0.1 * stream.normal();
        }
        let next_obs = narrow(&at);
        writer.push(&Row {
            obs: &obs,
            action: &action,
            reward: at[0] as f32,
            terminal: false,
            timeout: (row + 1).is_multiple_of(HORIZON),
            next_obs: &next_obs,
            qpos: &state[0],
            qvel: &state[1],
        })?;
        obs = next_obs;
    }
    writer.finish()?;
    Ok(())
}

/// Reads `file` once and prints what it took.
///
/// # Errors
/// If it cannot be read, or the system does not tell this process's peak.
pub(crate) fn load(file: &Path, core: Option<usize>) -> Result<()> {
    if let Some(core) = core {
        clock::stay_on_core(core)?;
    }
    let (wall, cpu) = (Instant::now(), clock::cpu_seconds());
    let data = Dataset::read_training(file, ENV)?;
    let (cpu_s, wall_s) = (clock::cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let peak = spar_core::memory::peak_bytes();
    let bytes = bytes(&data);
    let reading = Reading {
        rows: data.rows(),
        data_bytes: bytes.len() as u64,
        cpu_s,
        wall_s,
        peak_bytes: peak.context("this system does not tell a process's peak in /proc")?,
        sha256: sha256_hex(&bytes),
        version: String::new(),
    };
    println!("{}", serde_json::to_string(&reading)?);
    Ok(())
}

/// What training holds, as its little-endian bytes.
fn bytes(data: &Dataset) -> Vec<u8> {
    let floats = [&data.observations, &data.actions, &data.rewards];
    let timeouts = data.timeouts.as_deref().unwrap_or_default();
    let flags = data.terminals.iter().chain(timeouts);
    let mut bytes = Vec::new();
    for x in floats.into_iter().flatten() {
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.extend(flags.map(|&flag| u8::from(flag)));
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("walk.hdf5");
        walk(&file, 2500).unwrap();
        let data = Dataset::read_training(&file, ENV).unwrap();
        assert_eq!(data.rows(), 2500);
        assert_eq!(bytes(&data).len(), 2500 * ((17 + 6 + 1) * 4 + 2));
        // It walks: neighbours are near, and it gets somewhere.
        let far = |a: usize, b: usize| (data.observation(a)[3] - data.observation(b)[3]).abs();
        assert!((1..2500).all(|row| far(row - 1, row) < 1.0));
        assert!((1..2500).any(|row| far(0, row) > 1.0));
    }
}
