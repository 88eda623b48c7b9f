//! A path in, an open file out: the checks before any layout is known.

use std::{
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use spar_core::EnvId;

use crate::{
    d4rl::D4rl,
    dataset::{Dataset, Layout},
    error::DataError,
    minari::{self, Description, Episodes},
    precheck::{Scanned, precheck, scan},
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
    /// What `path` means, after a look at its first bytes, and after another process
    /// has opened it, where there can be one.
    pub(crate) fn at(path: &Path) -> Result<Self, DataError> {
        let checked = Self::unrehearsed(path)?;
        rehearsal::before(&checked.path)?;
        Ok(checked)
    }

    /// The same for that other process.
    pub(crate) fn unrehearsed(path: &Path) -> Result<Self, DataError> {
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

    /// What all of its bytes tell.
    pub(crate) fn scan(&self) -> Result<Scanned, DataError> {
        scan(&self.path).map_err(|source| DataError::Io {
            path: self.path.clone(),
            doing: "read the data file",
            source,
        })
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
    // Hashing takes as long as reading, so each has a thread.
    thread::scope(|scope| {
        let scan = scope.spawn(|| checked.scan());
        let scanned = || scan.join().unwrap_or_else(|panic| resume_unwind(panic));
        let source = checked.open()?;
        match source.layout {
            Layout::D4rl => D4rl::open(&source, env, parts)?.read(scanned),
            Layout::Minari => minari::read(checked.episodes(&source, env, parts)?, scanned, parts),
        }
    })
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
