//! Environments over MuJoCo: HalfCheetah, Hopper, Walker2d and Ant with gym v2 semantics,
//! D4RL's maze2d, antmaze, adroit and kitchen, and any that a program brings along.
//!
//! D4RL's data sets and reference scores are defined by gym's v2 environments,
//! so a score means something only in environments that agree with them step
//! for step. These follow gymnasium 1.4.0's `-v4` classes, which kept v2's
//! models, rewards and terminations; `tests/gymnasium.rs` holds them to
//! recorded gymnasium trajectories. One more environment, [`EnvId::POINT_MASS`],
//! is pure Rust and serves tests.
//!
//! [`make`] finds an environment by its id. What a program [`register`]s is found like
//! these: runs, evaluations and suites then name it like any other. [`simulated`] lists
//! what there is.
//!
//! MuJoCo is opened at run time: nothing is linked, and everything but these environments
//! works without it. This is the only crate that knows MuJoCo, and `mujoco/binding` its only
//! folder with `unsafe`.
//!
//! Both native parts are looked for as follows:
//!
//! | part | override | else, below `.spar/native` of the program's folder and of the workspace it was built in (`cargo xtask setup`), and below `spar/native` of the user's data folder (`spar setup`) |
//! |---|---|---|
//! | library | file `SPAR_MUJOCO_LIB` | `mujoco-3.17.0/libmujoco.so.3.17.0` |
//! | models | folder `SPAR_MUJOCO_MODELS` | `models/` |
//!
//! Wherever they come from, their bytes are hashed first. A library of another build, as
//! for another kind of machine, is used if `SPAR_MUJOCO_LIB_SHA256` names its hash. The
//! working directory is never looked at.
//!
//! ```
//! use spar_core::{EnvId, Stream};
//!
//! let mut env = spar_env::make(EnvId::POINT_MASS)?;
//! env.reset(&mut Stream::new(0, "example"))?;
//! let step = env.step(&[0.5])?;
//! assert!(!step.terminal && env.obs().len() == EnvId::POINT_MASS.obs_dim());
//! # Ok::<(), spar_env::EnvError>(())
//! ```

/// In `impl Env`, of an environment that is [`Physics`] itself.
macro_rules! state_of_simulation {
    () => {
        fn physics(&self) -> Option<&dyn Physics> {
            Some(self)
        }

        fn physics_mut(&mut self) -> Option<&mut dyn Physics> {
            Some(self)
        }
    };
}

/// In `impl Physics`, of an environment over a `simulation` that `observe`s it; `$begin` is done
/// to it wherever it is put into a state.
macro_rules! physics_of_simulation {
    () => {
        physics_of_simulation!(|_| {});
    };
    ($begin:expr) => {
        fn set_state(&mut self, qpos: &[f64], qvel: &[f64]) -> Result<(), EnvError> {
            let (nq, nv) = (self.simulation.qpos().len(), self.simulation.qvel().len());
            crate::check_input(self.id(), "qpos", qpos.iter().copied(), nq)?;
            crate::check_input(self.id(), "qvel", qvel.iter().copied(), nv)?;
            let set = self.simulation.set_state(qpos, qvel);
            set.map_err(|why| self.unstable(why))?;
            let begin: fn(&mut Self) = $begin;
            begin(self);
            self.observe();
            Ok(())
        }

        fn qpos(&self) -> &[f64] {
            self.simulation.qpos()
        }

        fn qvel(&self) -> &[f64] {
            self.simulation.qvel()
        }
    };
}

mod adroit;
mod ant;
pub mod antmaze;
mod error;
mod goal_ant;
mod kitchen;
mod locomotion;
pub mod maze2d;
mod mujoco;
mod point_mass;
mod registry;
mod scene;

use spar_core::{EnvId, Stream};

pub use error::EnvError;
pub use mujoco::{OffScreen, Subject};
pub use registry::{MakeEnv, NotRegistered, make, physics_version, register, simulated};
pub use scene::{Role, Scene, Shape, Solid, View};

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
/// pose). Stepping after a terminal step is allowed and means what the physics
/// says, as in gymnasium's unwrapped environments. `examples/own_environment.rs` implements
/// one.
pub trait Env: Send {
    /// Which environment this is; it fixes widths and horizon.
    fn id(&self) -> EnvId;

    /// Starts an episode from the environment's distribution of initial states (of the
    /// MuJoCo ones gym's, positions first, then velocities), drawn from `stream`.
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

    /// The simulation's state, where it can be read and set: what is written into data
    /// files, and what data are checked by. `None`, where an implementation does not say
    /// otherwise.
    fn physics(&self) -> Option<&dyn Physics> {
        None
    }

    /// The same, to be set.
    fn physics_mut(&mut self) -> Option<&mut dyn Physics> {
        None
    }

    /// What there is to see, as last computed: of MuJoCo's environments before the last
    /// integration of a step. Looking changes nothing. `None`, where an implementation does
    /// not say otherwise: then there is nothing to draw.
    fn scene(&self) -> Option<Scene> {
        None
    }

    /// The same for MuJoCo's own renderer ([`OffScreen`]): of adroit and the kitchen, where
    /// meshes and depth matter. `None` of every other environment.
    fn subject(&self) -> Option<Subject<'_>> {
        None
    }
}

/// The state of an environment's simulation, in MuJoCo's terms.
pub trait Physics {
    /// Puts the environment into a given state and forgets everything else:
    /// what follows depends on `qpos`, `qvel` and the actions alone.
    ///
    /// # Errors
    /// If a slice has the wrong length or a non-finite component.
    fn set_state(&mut self, qpos: &[f64], qvel: &[f64]) -> Result<(), EnvError>;

    /// [`Self::set_state`] of an episode's first row, whose observation was `obs`: what else
    /// differs between episodes, as where a door stands, is taken from the observation and
    /// holds until the next reset. Where nothing does, the same as `set_state`.
    ///
    /// # Errors
    /// As [`Self::set_state`], of `obs` too.
    fn set_observed(&mut self, qpos: &[f64], qvel: &[f64], obs: &[f64]) -> Result<(), EnvError> {
        let _ = obs;
        self.set_state(qpos, qvel)
    }

    /// [`Self::set_state`] with what else differs between episodes given as D4RL records it,
    /// `place`; it holds until the next reset. Of pen that is the target's quaternion, of door
    /// the position of its frame, of hammer that of the nail's board, of relocate the ball's
    /// place and then the target's position. Where nothing differs, the same as `set_state`.
    ///
    /// # Errors
    /// As [`Self::set_state`], of `place` too.
    fn set_placed(&mut self, qpos: &[f64], qvel: &[f64], place: &[f64]) -> Result<(), EnvError> {
        let _ = place;
        self.set_state(qpos, qvel)
    }

    /// Whether observations or rewards are also of what MuJoCo computed before the last
    /// integration of a step: a row of data then follows from the state and action of the row
    /// before it, and not from its own state alone.
    fn lags(&self) -> bool {
        false
    }

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

/// Version of the MuJoCo library, as in `3.17.0`.
///
/// # Errors
/// If the library is missing, of another version, or damaged.
pub fn mujoco_version() -> Result<String, EnvError> {
    Ok(mujoco::library()?.version())
}

/// The checks an environment makes of what its caller hands in, for [`Env::step`] and
/// [`Physics::set_state`]: `values` of `what` are `expected` finite numbers.
///
/// # Errors
/// If there are more or fewer, or if one is not finite.
pub fn check_input(
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

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
