//! A training's replay buffer as a data file: every step that the learner took, from its first
//! random action on. Such data are weak and mixed. D4RL's own `medium-replay` is a replay buffer,
//! too, but of a training that goes on to the medium policy. A weak buffer shows how far a method
//! improves on poor data.

use std::{collections::BTreeMap, path::Path};

use spar_core::DatasetIdentity;
use spar_data::{DataError, MetaValue, Row, Writer};
use spar_nn::State;

use crate::{
    CollectError,
    online::{CHECKPOINT_FILE, Training},
    replay::Replay,
};

/// Writes the replay buffer of the last checkpoint in the folder `training` to `out`, in D4RL's
/// layout with `next_observations`, and returns which data the file holds. They are a user's:
/// nothing in them passes for a task's.
///
/// Each environment's rows are in the order of its steps, one environment after the other.
/// An episode is cut (`timeouts`) where the next row does not follow from it: at the horizon, at
/// a snapshot, where training starts every environment anew, and at the buffer's end.
///
/// # Errors
/// [`DataError::Exists`] if something is at `out`; if the folder holds no training or no
/// checkpoint, if its buffer is empty, or if the file cannot be written.
pub fn write(training: &Path, out: &Path) -> Result<DatasetIdentity, CollectError> {
    if out.exists() {
        return Err(DataError::Exists { path: out.into() }.into());
    }
    let Training { env, seed, config } = Training::read(training)?;
    config.check()?;
    let state = State::read(&training.join(CHECKPOINT_FILE))?;
    let mut replay = Replay::new(env, config.buffer_size);
    replay.load(&state)?;
    let steps = usize::try_from(state.get_count("step")?).unwrap_or(usize::MAX);
    let metadata: BTreeMap<String, MetaValue> = [
        ("env", env.name().to_owned()),
        ("algorithm", "SAC, its replay buffer".to_owned()),
        ("spar_training_seed", seed.to_string()),
        ("spar_training_steps", steps.to_string()),
    ]
    .map(|(key, text)| (key.to_owned(), text.into()))
    .into();
    let mut writer = Writer::create(out, env.obs_dim(), env.act_dim(), 0, 0, &metadata)?;
    let (rows, oldest) = (replay.len(), steps.saturating_sub(replay.len()));
    let environments = config.num_envs;
    for environment in 0..environments {
        // Step `n` of all was taken in environment `n % num_envs`, and is in slot `n % rows`:
        // a buffer that is not full holds all of them.
        let first = oldest + (environment + environments - oldest % environments) % environments;
        let taken = (first..steps).step_by(environments);
        let slots: Vec<usize> = taken.map(|step| step % rows).collect();
        for (i, &slot) in slots.iter().enumerate() {
            let row = replay.get(slot);
            let follows = slots
                .get(i + 1)
                .is_some_and(|&next| replay.get(next).obs == row.next_obs);
            writer.push(&Row {
                obs: row.obs,
                action: row.action,
                reward: row.reward,
                terminal: row.terminal,
                timeout: !row.terminal && !follows,
                next_obs: row.next_obs,
                qpos: &[],
                qvel: &[],
            })?;
        }
    }
    Ok(writer.finish()?)
}
