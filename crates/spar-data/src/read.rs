//! A path in, an open file out: the checks before any layout is known.

use std::path::{Path, PathBuf};

use spar_core::{EnvId, files::sha256_file};

use crate::{
    d4rl::D4rl,
    dataset::{Dataset, Layout},
    error::DataError,
    minari::{self, Description, Episodes},
    precheck::precheck,
    rehearsal,
    source::Source,
};

/// How much of a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    Everything,
    Training,
}

/// A file that the library may open.
pub(crate) struct Checked {
    path: PathBuf,
    /// What stands beside it, if it is a Minari data set's.
    described: Option<Description>,
    length: u64,
}

impl Checked {
    /// What `path` means, after a look at its first bytes.
    pub(crate) fn at(path: &Path) -> Result<Self, DataError> {
        let path = minari::locate(path);
        let described = Description::beside(&path)?;
        let length = precheck(&path)?;
        Ok(Self {
            path,
            described,
            length,
        })
    }

    /// Its bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The hash of its bytes. One that is no official file's has been opened by
    /// another process first, where there can be one.
    pub(crate) fn sha256(&self) -> Result<String, DataError> {
        let sha256 = sha256_file(&self.path).map_err(|source| DataError::Io {
            path: self.path.clone(),
            doing: "read the data file",
            source,
        })?;
        rehearsal::before(&self.path, &sha256)?;
        Ok(sha256)
    }

    pub(crate) fn open(&self) -> Result<Source<'_>, DataError> {
        Source::open(&self.path, self.length)
    }

    /// The episodes of `source`, which has Minari's layout.
    pub(crate) fn episodes<'a>(
        &self,
        source: &'a Source<'a>,
        env: Option<EnvId>,
        parts: Parts,
    ) -> Result<Episodes<'a>, DataError> {
        Episodes::new(source, self.described.clone(), env, parts)
    }
}

pub(crate) fn read_file(
    path: &Path,
    env: Option<EnvId>,
    parts: Parts,
) -> Result<Dataset, DataError> {
    let checked = Checked::at(path)?;
    let sha256 = checked.sha256()?;
    let source = checked.open()?;
    match source.layout {
        Layout::D4rl => D4rl::open(&source, env, parts)?.read(sha256),
        Layout::Minari => minari::read(checked.episodes(&source, env, parts)?, sha256, parts),
    }
}

/// Refuses widths that are not `env`'s.
pub(crate) fn check_env(
    path: &Path,
    env: Option<EnvId>,
    obs_dim: usize,
    act_dim: usize,
) -> Result<(), DataError> {
    let Some(env) = env else { return Ok(()) };
    let widths = [
        ("observations", env.obs_dim(), obs_dim),
        ("actions", env.act_dim(), act_dim),
    ];
    match widths
        .into_iter()
        .find(|(_, expected, got)| expected != got)
    {
        None => Ok(()),
        Some((key, expected, got)) => Err(DataError::WrongEnv {
            path: path.into(),
            key,
            env,
            expected,
            got,
        }),
    }
}
