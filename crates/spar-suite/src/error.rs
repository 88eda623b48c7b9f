//! What can go wrong between a suite file and its table.

use std::{error::Error, path::PathBuf};

use spar_core::suite::SuiteError;

/// A request that makes no sense as given, in one line that names what there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Why a table cannot be made. A run that fails is none of these: the others go on without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// The request makes no sense.
    #[error(transparent)]
    Usage(#[from] Usage),
    /// The suite file cannot be used.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The system refused something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The suite's settings are none that runs can be made with.
    #[error("{0}")]
    Settings(String),
    /// `spar` failed at something the whole table depends on.
    #[error("`spar {command}`: {said}")]
    Child {
        /// The command.
        command: &'static str,
        /// Its exit status and last line.
        said: String,
    },
    /// A command of Slurm's failed.
    #[error("`{program}`: {said}")]
    Slurm {
        /// The command.
        program: &'static str,
        /// Its exit status and last line, or why it could not be started.
        said: String,
    },
    /// A plan cannot be used.
    #[error("{}: {why}", file.display())]
    Plan {
        /// The plan.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A run of a plan cannot be made yet.
    #[error(
        "{run} waits for its anchor {anchor}, which is not done: `spar suite job --plan {} \
         --index {index}` makes it", plan.display()
    )]
    Waits {
        /// The run.
        run: String,
        /// Its anchor.
        anchor: String,
        /// The anchor's number in the plan.
        index: usize,
        /// The plan.
        plan: PathBuf,
    },
    /// Another process is at it.
    #[error(
        "another process makes a table in {}; wait for it or choose another --out",
        .0.display()
    )]
    Busy(PathBuf),
    /// The program `spar` cannot be had.
    #[error(transparent)]
    Program(Box<dyn Error + Send + Sync>),
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, RunnerError>;

/// Turns the system's error into one that says what was tried.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RunnerError {
    let what = what.into();
    move |source| RunnerError::Io { what, source }
}
