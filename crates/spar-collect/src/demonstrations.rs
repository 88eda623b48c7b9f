//! Data of adroit's human tasks by D4RL's recipe: what people demonstrated, played again.
//!
//! `scripts/generation/hand_dapg_demos.py` of github.com/Farama-Foundation/D4RL at 89141a6
//! (studied, not copied): each demonstration's first state, its actions within their bounds,
//! and what *this* simulator makes of them. A timeout ends each, whatever its length; nothing
//! is terminal. Contacts are chaotic, so single demonstrations earn up to 200 more or less than
//! they did where they were recorded, all of them together as much.
//!
//! The first state is set as D4RL's `set_env_state` does, from `init_state_dict`. Only the
//! door's place is read off the first observation instead, to which it is equal but for
//! rounding: so was the first file that was made here, and so it stays.
//!
//! **The demonstrations are third-party data** and not in this repository: the pickles of
//! github.com/aravindr93/hand_dapg at 9a1de23, in the folder that `SPAR_UPSTREAM_DIR` names,
//! proven by git's names of them and read by [`crate::pickle`]. Of the door a copy as HDF5 does
//! as well.

mod file;

use std::{collections::BTreeMap, path::Path};

use spar_core::{EnvId, TaskId};
use spar_data::MetaValue;

pub use file::Demonstration;

use crate::{
    CollectError,
    facts::{Behavior, End, EpisodeFacts},
    recipe::{self, Generated},
    roll::Steps,
};
use file::{DOOR, File};

/// Who acts, in the file's metadata and its card.
pub(crate) const BEHAVIOR: &str = "DAPG's demonstrations, replayed";

/// Whether the data of `task` are made of demonstrations alone.
pub(crate) fn is_replayed(task: TaskId) -> bool {
    let env = task.env();
    File::of(env).is_some() && task.name().strip_prefix(env.name()) == Some("-human")
}

/// Rows of the local file of `task`, at every scale; `None` if there is no recipe for it.
pub(crate) fn rows_of(task: TaskId) -> Option<usize> {
    let file = File::of(task.env())?;
    is_replayed(task).then_some(file.rows)
}

/// What proves the demonstrations of `env`, as an entry of a file's metadata. Of the door it
/// is the hash of the copy whichever file was read, since the numbers are the same.
pub(crate) fn proof(env: EnvId) -> Option<(&'static str, &'static str)> {
    let file = File::of(env)?;
    Some(match env.name() {
        "door" => ("spar_policies_sha256", DOOR.sha256),
        _ => ("spar_policies_git_blob", file.pickle.id),
    })
}

/// The metadata of a local file; see [`crate::recipe::metadata`].
pub(crate) fn metadata(
    task: TaskId,
    seed: u64,
) -> Result<BTreeMap<String, MetaValue>, CollectError> {
    let rows = rows_of(task).ok_or(CollectError::NoRecipe(task))?;
    let mut metadata = recipe::made_from(task, rows, seed)?;
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    text("algorithm", BEHAVIOR.to_owned());
    if let Some((key, value)) = proof(task.env()) {
        text(key, value.to_owned());
    }
    Ok(metadata)
}

/// Plays `demonstrations` in `env`, as episodes of `stage`.
///
/// # Errors
/// If the environment refuses a state or an action.
pub fn play(
    env: EnvId,
    demonstrations: &[Demonstration],
    stage: usize,
) -> Result<Vec<Steps>, CollectError> {
    let mut world = spar_env::make(env)?;
    let no_state = || CollectError::Demonstrations {
        file: env.to_string(),
        why: "the environment's state cannot be set".to_owned(),
    };
    let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&x| x as f32).collect() };
    let played = demonstrations.iter().map(|demo| {
        let state = world.physics_mut().ok_or_else(no_state)?;
        let Demonstration { qpos, qvel, .. } = demo;
        match env.name() {
            "door" => state.set_observed(qpos, qvel, &demo.observations[..env.obs_dim()])?,
            _ => state.set_placed(qpos, qvel, &demo.place)?,
        }
        let mut steps = Steps {
            stage,
            obs: single(world.obs()),
            ..Steps::default()
        };
        for action in demo.actions.chunks_exact(env.act_dim()) {
            let action: Vec<f32> = action.iter().map(|a| a.clamp(-1.0, 1.0) as f32).collect();
            let state = world.physics().ok_or_else(no_state)?;
            steps.qpos.extend_from_slice(state.qpos());
            steps.qvel.extend_from_slice(state.qvel());
            let step = world.step(&action)?;
            steps.actions.extend(action);
            steps.rewards.push(step.reward as f32);
            steps.obs.extend(single(world.obs()));
        }
        Ok(steps)
    });
    played.collect()
}

/// What is known of a demonstration that was played to its end.
pub(crate) fn facts(env: EnvId, steps: &Steps) -> EpisodeFacts {
    EpisodeFacts {
        end: End::Timeout,
        ..EpisodeFacts::of(steps, env.horizon())
    }
}

/// Plays the demonstrations of `task` into `out`. Nothing is drawn; `seed` is only noted.
pub(crate) fn generate(task: TaskId, seed: u64, out: &Path) -> Result<Generated, CollectError> {
    let env = task.env();
    let played = play(env, &Demonstration::of(env)?, 0)?;
    let mut writer = recipe::writer(env, out, &metadata(task, seed)?)?;
    let mut episodes = Vec::new();
    for steps in &played {
        recipe::write(&mut writer, env, steps, true, &[])?;
        episodes.push(facts(env, steps));
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
