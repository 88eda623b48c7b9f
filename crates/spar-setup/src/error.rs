//! Why a part could not be had, each in one line that says what to do.

use std::path::PathBuf;

/// Why set-up failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The library that the user named is not there.
    #[error(
        "SPAR_MUJOCO_LIB names {}, which is not a file; expected a MuJoCo 3.17.0 library: correct \
         or unset it",
        .0.display()
    )]
    NamedLibrary(PathBuf),
    /// The part is provided for another kind of machine only.
    #[error("set-up provides {part} for linux x86_64 only, this is {os} {arch}{instead}")]
    Platform {
        /// The part.
        part: &'static str,
        /// This machine's system.
        os: &'static str,
        /// Its processor.
        arch: &'static str,
        /// What can be done instead.
        instead: String,
    },
    /// The part could not be fetched or is another one.
    #[error("set-up could not fetch {part}: {why}; by hand: {by_hand}{instead}")]
    Fetch {
        /// The part.
        part: &'static str,
        /// What failed.
        why: String,
        /// What to put where.
        by_hand: String,
        /// What can be done instead.
        instead: &'static str,
    },
    /// A Python environment could not be installed.
    #[error("set-up could not install the Python environment {name}: {why}")]
    Python {
        /// The environment.
        name: &'static str,
        /// What failed.
        why: String,
    },
}

/// Why a command failed: what it is, and its complaint.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct CommandError {
    pub(crate) what: String,
    pub(crate) why: String,
}
