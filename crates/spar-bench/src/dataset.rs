//! Data to measure the memory of a run on: random numbers in the layout and at
//! the widths of a D4RL file. Nothing can be learned from them, and the file
//! says so.

use std::path::Path;

use anyhow::Result;
use spar_core::{EnvId, Stream};
use spar_data::{Row, Writer};

/// Whose widths the rows have.
const ENV: EnvId = EnvId::WALKER2D;

/// Steps after which an episode is cut.
const HORIZON: usize = 1000;

/// Writes `rows` rows to `file`, and returns the bytes that training holds of each in memory:
/// observation, action, reward as `f32`, two flags of one byte.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(file: &Path, rows: usize) -> Result<usize> {
    let (obs_dim, act_dim) = (ENV.obs_dim(), ENV.act_dim());
    let says = "random numbers, to measure memory with; no task's data";
    let metadata = [("spar_content".to_owned(), says.into())].into();
    let mut writer = Writer::create(file, obs_dim, act_dim, 0, 0, &metadata)?;
    let mut stream = Stream::new(0, "bench/dataset");
    let mut draw = |n: usize| {
        let mut values = vec![0.0; n];
        stream.fill_uniform(-1.0, 1.0, &mut values);
        values
    };
    let mut obs = draw(obs_dim);
    for row in 0..rows {
        let next_obs = draw(obs_dim);
        writer.push(&Row {
            obs: &obs,
            action: &draw(act_dim),
            reward: draw(1)[0],
            terminal: false,
            timeout: (row + 1).is_multiple_of(HORIZON),
            next_obs: &next_obs,
            qpos: &[],
            qvel: &[],
        })?;
        obs = next_obs;
    }
    writer.finish()?;
    Ok((obs_dim + act_dim + 1) * size_of::<f32>() + 2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use spar_data::{Dataset, Transitions};

    use super::*;

    #[test]
    fn what_is_written_is_what_training_holds() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("random.hdf5");
        let bytes_per_row = write(&file, 2500).unwrap();
        let data = Dataset::read_training(&file, ENV).unwrap();
        assert_eq!(data.rows(), 2500);
        let floats = data.observations.len() + data.actions.len() + data.rewards.len();
        let flags = data.terminals.len() + data.timeouts.as_ref().unwrap().len();
        let held = floats * size_of::<f32>() + flags;
        assert_eq!(held, 2500 * bytes_per_row);
        assert!(data.next_observations.is_none());
        let transitions = Transitions::new(data.into(), HORIZON).unwrap();
        // The cut rows, and the last, give none.
        assert_eq!(transitions.len(), 2500 - 3);
    }
}
