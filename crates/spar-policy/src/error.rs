//! Why a policy cannot be read, written or used.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a policy cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// What was given is no policy, or would not act as it was meant to.
    #[error("policy: {0}")]
    Content(String),
    /// The same of a file.
    #[error("{file}: {why}")]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PolicyError {
    /// The same error of the file at `path`.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Content(why) => Self::File {
                file: path.to_owned(),
                why,
            },
            other => other,
        }
    }
}
