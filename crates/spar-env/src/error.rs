//! Every way an environment can refuse, so that callers can tell a missing
//! set-up from bad input and from physics gone wrong.

use std::{io, path::PathBuf};

use spar_core::EnvId;

/// Why an environment could not be made or stepped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvError {
    /// A native part is nowhere to be found.
    #[error(
        "{what} not found; looked at: {}; run `spar setup` to fetch it, or set {variable}",
        places(looked_at)
    )]
    Missing {
        /// The part.
        what: &'static str,
        /// Environment variable that names it directly.
        variable: &'static str,
        /// Every path looked at.
        looked_at: Vec<PathBuf>,
    },
    /// The library file could not be opened as MuJoCo.
    #[error(
        "{}: not a usable MuJoCo library: {why}; run `spar setup` to fetch the right one",
        path.display()
    )]
    Library {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        why: String,
    },
    /// The library is another version than the numbers were proven with.
    #[error(
        "{}: MuJoCo version: expected 3.17.x, got {got} (other versions give other trajectories); \
         run `spar setup` to fetch the right one",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version, or its version number if it names none.
        got: String,
    },
    /// MuJoCo's own renderer cannot draw here.
    #[error(
        "MuJoCo's renderer does not draw here: {0}; it needs EGL or OSMesa (Debian's libegl1 \
         with libgl1-mesa-dri, or libosmesa6)"
    )]
    OffScreen(String),
    /// A library or model file could not be read.
    #[error("cannot read the {what} {source}; run `spar setup` to fetch it")]
    Unreadable {
        /// Which of them.
        what: &'static str,
        /// The file and why.
        source: io::Error,
    },
    /// A library or model file is not the pinned one.
    #[error(
        "{}: {what}: expected sha256 {expected}, got {got}; \
         delete it and run `spar setup` to fetch the right one",
        path.display()
    )]
    Hash {
        /// Which of them.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Pinned hash.
        expected: String,
        /// Hash of the file.
        got: String,
    },
    /// MuJoCo refused a model file or its memory.
    #[error("{}: MuJoCo cannot load this model: {why}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What MuJoCo said.
        why: String,
    },
    /// The name is known, but nothing in this program simulates it.
    #[error(
        "{env}: nothing in this program simulates this environment; it has: {}; \
         train without an environment (no --env), or register one",
        ids(simulated)
    )]
    NotSimulated {
        /// The environment.
        env: EnvId,
        /// Those that can be made.
        simulated: Vec<EnvId>,
    },
    /// An environment of a program's own failed.
    #[error("{env}: {source}")]
    Other {
        /// The environment.
        env: EnvId,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A slice of the wrong length.
    #[error("{env}: {what}: expected {expected} values, got {got}")]
    Length {
        /// The environment.
        env: EnvId,
        /// `action`, `qpos` or `qvel`.
        what: &'static str,
        /// Length that fits.
        expected: usize,
        /// Length given.
        got: usize,
    },
    /// A NaN or an infinity.
    #[error("{env}: {what}[{index}]: expected a finite number, got {value}")]
    NotFinite {
        /// The environment.
        env: EnvId,
        /// `action`, `qpos` or `qvel`.
        what: &'static str,
        /// Which component.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// The simulation diverged and MuJoCo fell back to the rest pose.
    #[error("{env}: the simulation became unstable: {why}; reset the environment to step it again")]
    Unstable {
        /// The environment.
        env: EnvId,
        /// What MuJoCo said.
        why: String,
    },
}

fn ids(envs: &[EnvId]) -> String {
    let list: Vec<&str> = envs.iter().map(|env| env.name()).collect();
    list.join(", ")
}

fn places(paths: &[PathBuf]) -> String {
    let list: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    list.join(", ")
}
