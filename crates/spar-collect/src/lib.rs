//! Where local data come from: SAC behaviour policies trained in this
//! project's environments, and D4RL's recipes that roll them out into files of
//! D4RL's layout, for users who have no official files.

pub mod adroit;
pub mod ant_maze;
pub mod behavior;
pub mod buffer;
pub mod card;
pub mod cloned;
pub mod demonstrations;
pub mod facts;
pub mod gaussian;
pub mod maze;
pub mod online;
pub mod pickle;
pub mod recipe;
pub mod replay;
pub mod roll;
pub mod sac;
pub mod select;
pub mod upstream;
pub mod verify;

/// Why data could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The environment failed.
    #[error(transparent)]
    Env(#[from] spar_env::EnvError),
    /// A rollout failed.
    #[error(transparent)]
    Eval(#[from] spar_eval::EvalError),
    /// A data file could not be read or written.
    #[error(transparent)]
    Data(#[from] spar_data::DataError),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A checkpoint could not be read or does not fit.
    #[error(transparent)]
    State(#[from] spar_nn::StateError),
    /// The checkpoint that a training was to resume from cannot be read.
    #[error(
        "{0}; nothing can be resumed from it: remove that file, and the same command trains the \
         policy from its beginning"
    )]
    Unresumable(spar_nn::StateError),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A record could not be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A behaviour policy's file is not one.
    #[error("{file} is not a behaviour policy: {why}")]
    Policy {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of demonstrations is not the one that is meant.
    #[error("{file} is not the file of demonstrations: {why}")]
    Demonstrations {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of demonstrations could not be read.
    #[error("{file} is no pickle of demonstrations: {source}")]
    Pickle {
        /// The file.
        file: String,
        /// Why it could not.
        source: pickle::PickleError,
    },
    /// The folder of a training holds another one.
    #[error(
        "{folder} holds another training: expected {expected}, got {found}; choose another folder \
         or delete it"
    )]
    OtherTraining {
        /// The folder.
        folder: String,
        /// What was trained there.
        found: String,
        /// What was to be trained.
        expected: String,
    },
    /// There is no recipe for the data of a task.
    #[error(
        "{0}: there is no recipe for its data; recipes are for halfcheetah, hopper, walker2d and \
         ant, from random to expert, for maze2d, antmaze and adroit; fetch the official file, or \
         bring one with --dataset"
    )]
    NoRecipe(spar_core::TaskId),
    /// Third-party data that a recipe needs are not here.
    #[error(
        "{file} is needed and is not in this repository: have the variable {variable} name a \
         folder that holds it{instead}"
    )]
    Upstream {
        /// Names the folder.
        variable: &'static str,
        /// The file in it.
        file: &'static str,
        /// What can be done without it, as the end of the sentence.
        instead: &'static str,
    },
    /// A number of a training is out of range.
    #[error(transparent)]
    Setting(#[from] spar_core::limits::OutOfRange),
    /// A number of steps is not in whole units of another.
    #[error("{what} is {steps}, expected a positive multiple of {of}, which is {unit}")]
    Steps {
        /// What is counted.
        what: &'static str,
        /// How many steps it is.
        steps: usize,
        /// What it has to be a multiple of.
        of: &'static str,
        /// How many steps that is.
        unit: usize,
    },
    /// Training produced a loss that is not a number.
    #[error("SAC diverged at step {step}: a loss is not finite; train again with another seed")]
    Diverged {
        /// Environment step.
        step: usize,
    },
}

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
