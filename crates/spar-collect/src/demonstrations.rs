//! Data of door-human by D4RL's recipe: what people demonstrated, played again.
//!
//! `scripts/generation/hand_dapg_demos.py` of github.com/Farama-Foundation/D4RL at 89141a6
//! (studied, not copied): each demonstration's first state, its actions within their bounds,
//! and what *this* simulator makes of them. A timeout ends each, whatever its length; nothing
//! is terminal. Contacts are chaotic, so single demonstrations earn up to 200 more or less than
//! they did where they were recorded, all of them together as much.
//!
//! **The demonstrations are third-party data** and not in this repository: those of
//! github.com/aravindr93/hand_dapg at 9a1de23, in the folder that `SPAR_UPSTREAM_DIR` names.
//! Those of the other three tasks are not to be had there.

use std::{collections::BTreeMap, path::Path};

use spar_core::TaskId;
use spar_data::{MetaValue, Row, Writer, arrays, local_metadata};

use crate::{
    CollectError,
    facts::{Behavior, End, EpisodeFacts},
    recipe::{Generated, RECIPE_VERSION},
    upstream::Upstream,
};

/// Who acts, in the file's metadata and its card.
const BEHAVIOR: &str = "DAPG's demonstrations, replayed";

const TASK: &str = "door-human";

const FILE: Upstream = Upstream {
    file: "hand_dapg/demonstrations/door-v0_demos.hdf5",
    sha256: "02986d8c297f5e19f1cfa33feee710ae60d792b158a1ab041318f68327e3a25e",
    instead: "",
};

/// Demonstrations, and steps of all of them.
const EPISODES: usize = 25;
const ROWS: usize = 6729;

/// Whether the data of `task` are made of demonstrations.
pub(crate) fn is_replayed(task: TaskId) -> bool {
    task.name() == TASK
}

/// Rows of the local file of `task`, at every scale; `None` if there is no recipe for it.
pub(crate) fn rows_of(task: TaskId) -> Option<usize> {
    is_replayed(task).then_some(ROWS)
}

/// The metadata of a local file; see [`crate::recipe::metadata`].
pub(crate) fn metadata(
    task: TaskId,
    seed: u64,
) -> Result<BTreeMap<String, MetaValue>, CollectError> {
    let mut metadata = local_metadata(task);
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    text("algorithm", BEHAVIOR.to_owned());
    text("spar_policies_sha256", FILE.sha256.to_owned());
    text("spar_rows", ROWS.to_string());
    text("spar_seed", seed.to_string());
    text("spar_recipe", RECIPE_VERSION.to_string());
    text("spar_physics", spar_env::physics_version(task.env())?);
    Ok(metadata)
}

/// Plays the demonstrations of `task` into `out`. Nothing is drawn; `seed` is only noted.
pub(crate) fn generate(task: TaskId, seed: u64, out: &Path) -> Result<Generated, CollectError> {
    let (path, _) = FILE.read()?;
    let env = task.env();
    let mut world = spar_env::make(env)?;
    let (obs_dim, act_dim) = (env.obs_dim(), env.act_dim());
    let no_state = || CollectError::Policy {
        file: path.display().to_string(),
        why: format!("the state of {env} cannot be set"),
    };
    let (nq, nv) = {
        let state = world.physics().ok_or_else(no_state)?;
        (state.nq(), state.nv())
    };
    let shapes = [
        ("lengths", [EPISODES, 1]),
        ("init/qpos", [EPISODES, nq]),
        ("init/qvel", [EPISODES, nv]),
        ("observations", [ROWS, obs_dim]),
        ("actions", [ROWS, act_dim]),
    ];
    let read = arrays(&path, &shapes)?;
    let [lengths, qpos, qvel, seen, actions] = &read[..] else {
        return Err(no_state());
    };
    let metadata = metadata(task, seed)?;
    let mut writer = Writer::create(out, obs_dim, act_dim, nq, nv, &metadata)?;
    let (mut episodes, mut row) = (Vec::new(), 0);
    let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&x| x as f32).collect() };
    for (i, length) in lengths.iter().enumerate() {
        let length = (*length as usize).min(ROWS - row);
        let state = world.physics_mut().ok_or_else(no_state)?;
        let first = &seen[row * obs_dim..][..obs_dim];
        state.set_observed(&qpos[i * nq..][..nq], &qvel[i * nv..][..nv], first)?;
        let mut ret = 0.0;
        for t in 0..length {
            let action = &actions[(row + t) * act_dim..][..act_dim];
            let action: Vec<f32> = action.iter().map(|a| a.clamp(-1.0, 1.0) as f32).collect();
            let obs = single(world.obs());
            let state = world.physics().ok_or_else(no_state)?;
            let (q, v) = (state.qpos().to_vec(), state.qvel().to_vec());
            let step = world.step(&action)?;
            ret += f64::from(step.reward as f32);
            writer.push(&Row {
                obs: &obs,
                action: &action,
                reward: step.reward as f32,
                terminal: false,
                timeout: t + 1 == length,
                next_obs: &single(world.obs()),
                qpos: &q,
                qvel: &v,
            })?;
        }
        row += length;
        episodes.push(EpisodeFacts {
            stage: 0,
            ret,
            length,
            end: End::Timeout,
        });
    }
    let identity = writer.finish()?;
    let behavior = vec![Behavior::of(BEHAVIOR, 0, &episodes)];
    Ok(Generated {
        identity,
        episodes,
        behavior,
        policies: None,
    })
}
