//! HalfCheetah, Hopper and Walker2d with gym v2 semantics over MuJoCo.
//!
//! D4RL's data sets and reference scores are defined by gym's v2 environments,
//! so a score means something only in environments that agree with them step
//! for step. These follow gymnasium 1.4.0's `-v4` classes, which kept v2's
//! models, rewards and terminations; `tests/gymnasium.rs` holds them to
//! recorded gymnasium trajectories. One more environment, [`EnvId::PointMass`],
//! is pure Rust and serves tests.
//!
//! MuJoCo is opened at run time: nothing is linked, and everything but the
//! three locomotion environments works without it. This is the only crate that
//! knows MuJoCo, and `mujoco/binding.rs` its only file with `unsafe`.
//!
//! Both native parts are looked for as follows, `cargo xtask setup` puts them
//! there:
//!
//! | part | override | else, in the program's folder and in the workspace it was built in |
//! |---|---|---|
//! | library | file `SPAR_MUJOCO_LIB` | `.spar/native/mujoco-3.17.0/libmujoco.so.3.17.0` |
//! | models | folder `SPAR_MUJOCO_MODELS` | `.spar/native/models/` |
//!
//! Wherever they come from, their bytes are hashed first. A library of another build, as
//! for another kind of machine, is used if `SPAR_MUJOCO_LIB_SHA256` names its hash. The
//! working directory is never looked at.
//!
//! ```
//! use spar_core::{EnvId, Stream};
//!
//! let mut env = spar_env::make(EnvId::PointMass)?;
//! env.reset(&mut Stream::new(0, "example"))?;
//! let step = env.step(&[0.5])?;
//! assert!(!step.terminal && env.obs().len() == EnvId::PointMass.obs_dim());
//! # Ok::<(), spar_env::EnvError>(())
//! ```

mod error;
mod locomotion;
mod mujoco;
mod point_mass;

use spar_core::{EnvId, Stream};

pub use error::EnvError;

/// What one environment step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The reward of the transition.
    pub reward: f64,
    /// True if the environment ended the episode. The cut after
    /// [`EnvId::horizon`] steps is a timeout: the caller's business, and never
    /// reported here.
    pub terminal: bool,
}

/// One environment, stepped by one caller.
///
/// An environment is in a defined state from the start (its model's rest
/// pose). Going on after a terminal step is allowed and means what the physics
/// says, as in gymnasium's unwrapped environments.
pub trait Env: Send {
    /// Which environment this is; it fixes widths and horizon.
    fn id(&self) -> EnvId;

    /// Starts an episode from gym's distribution of initial states, drawn from
    /// `stream` (positions first, then velocities).
    ///
    /// # Errors
    /// If the physics library rejects the state.
    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError>;

    /// The current observation, [`EnvId::obs_dim`] wide.
    fn obs(&self) -> &[f64];

    /// Applies `action` for one control step. Components outside `[-1, 1]` are
    /// clamped where they act; the control cost is charged for the action as
    /// given, as gymnasium does.
    ///
    /// # Errors
    /// If `action` has the wrong width or a non-finite component (the
    /// environment is then unchanged), or if the simulation became unstable.
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError>;

    /// Puts the environment into a given state and forgets everything else:
    /// what follows depends on `qpos`, `qvel` and the actions alone.
    ///
    /// # Errors
    /// If a slice has the wrong length or a non-finite component.
    fn set_state(&mut self, qpos: &[f64], qvel: &[f64]) -> Result<(), EnvError>;

    /// Generalized positions, the horizontal one included.
    fn qpos(&self) -> &[f64];

    /// Generalized velocities, unclipped.
    fn qvel(&self) -> &[f64];

    /// Number of generalized positions.
    fn nq(&self) -> usize {
        self.qpos().len()
    }

    /// Number of generalized velocities.
    fn nv(&self) -> usize {
        self.qvel().len()
    }
}

/// A new environment.
///
/// # Errors
/// If it needs MuJoCo and the library or the model file is missing, of another
/// version, or damaged.
pub fn make(id: EnvId) -> Result<Box<dyn Env>, EnvError> {
    Ok(match locomotion::Spec::of(id) {
        Some(spec) => Box::new(locomotion::Locomotion::new(spec)?),
        None => Box::new(point_mass::PointMass::default()),
    })
}

/// Version of the MuJoCo library, as in `3.17.0`.
///
/// # Errors
/// If the library is missing, of another version, or damaged.
pub fn mujoco_version() -> Result<String, EnvError> {
    Ok(mujoco::library()?.version())
}

/// What the results of an environment depend on: [`mujoco_version`], or
/// `"none"` for one in pure Rust.
///
/// # Errors
/// As [`mujoco_version`].
pub fn physics_version(id: EnvId) -> Result<String, EnvError> {
    match locomotion::Spec::of(id) {
        Some(_) => mujoco_version(),
        None => Ok("none".to_owned()),
    }
}

/// The checks every environment makes of what its caller hands in.
fn check_input(
    env: EnvId,
    what: &'static str,
    values: impl ExactSizeIterator<Item = f64>,
    expected: usize,
) -> Result<(), EnvError> {
    if values.len() != expected {
        let got = values.len();
        return Err(EnvError::Length {
            env,
            what,
            expected,
            got,
        });
    }
    for (index, value) in values.enumerate() {
        if !value.is_finite() {
            return Err(EnvError::NotFinite {
                env,
                what,
                index,
                value,
            });
        }
    }
    Ok(())
}
