//! Policies of files, for an environment they are to act in: `spar-policy` reads them
//! without knowing one, here they are checked against it.

use std::{num::NonZeroUsize, path::Path};

use spar_core::{ActionBounds, EnvId};
use spar_policy::{Policy, PolicyError};

use crate::error::TrainError;

/// Reads the policy at `path`, ours or a plain network, and checks that its
/// widths are those of `env`, if one is named, and its actions within that one's bounds.
/// A policy trained without an environment acts in the units of its data.
///
/// # Errors
/// One line saying what is missing or wrong in the file, or does not fit.
pub fn read(path: &Path, env: impl Into<Option<EnvId>>) -> Result<Policy, TrainError> {
    let policy = Policy::load(path)?;
    if let Some(env) = env.into() {
        fits(&policy, env).map_err(|why| PolicyError::Content(why).in_file(path))?;
    }
    Ok(policy)
}

/// [`read`], acting by the best of `best_of` latents (`Residual::best_of`); one is the
/// deterministic policy.
///
/// # Errors
/// As [`read`]; and if there is more than one to choose from and nothing in the
/// file to choose by.
pub fn read_best_of(
    path: &Path,
    env: impl Into<Option<EnvId>>,
    best_of: NonZeroUsize,
) -> Result<Policy, TrainError> {
    let policy = read(path, env)?.best_of(best_of);
    Ok(policy.map_err(|e| e.in_file(path))?)
}

/// Whether `policy` can act in `env`.
///
/// # Errors
/// Why not, in words.
fn fits(policy: &Policy, env: EnvId) -> Result<(), String> {
    let (obs, act) = (policy.obs_dim(), policy.act_dim());
    if (obs, act) != (env.obs_dim(), env.act_dim()) {
        return Err(format!(
            "policy maps {obs} observations to {act} actions, {env} has {} and {}; \
             give the --env it was trained for",
            env.obs_dim(),
            env.act_dim()
        ));
    }
    let beyond = |(low, high): &&(f32, f32)| *low < -1.0 || *high > 1.0;
    let bounds = policy.action_bounds();
    let mut components = bounds.into_iter().flat_map(ActionBounds::components);
    match components.find(beyond) {
        None => Ok(()),
        Some((low, high)) => Err(format!(
            "its actions lie in [{low}, {high}], those of {env} in [-1, 1]; it was trained on \
             data in other units: give the environment those are of"
        )),
    }
}
