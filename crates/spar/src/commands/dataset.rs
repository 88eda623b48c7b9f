//! Data by name: an id of D4RL's stands for the file that `spar data fetch` puts into the
//! cache.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use spar_core::{DatasetIdentity, EnvId};
use spar_data::manifest;

/// What `--dataset` names.
pub(super) struct Found {
    /// The file or folder, or a Minari data set's id.
    pub(super) path: PathBuf,
    /// The environment of D4RL's data, where their id is given.
    pub(super) env: Option<EnvId>,
}

/// The file of the D4RL data `dataset`, if that is an id and no file or folder of this name
/// is here; else `dataset` itself.
pub(super) fn found(dataset: &Path) -> Result<Found> {
    Ok(match manifest::named(dataset)? {
        None => Found {
            path: dataset.to_owned(),
            env: None,
        },
        Some((entry, path)) => Found {
            path,
            env: Some(entry.task.env()).filter(|env| spar_env::simulated().contains(env)),
        },
    })
}

/// A SHA-256 in hexadecimal, in lower case.
pub(crate) fn sha256(text: &str) -> Result<String, String> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("expected 64 hexadecimal digits".to_owned()),
    }
}

/// Refuses the data of `path`, which are `identity`, if they are not the `expected` ones.
pub(crate) fn check(path: &Path, identity: &DatasetIdentity, expected: Option<&str>) -> Result<()> {
    let got = &identity.sha256;
    match expected {
        Some(expected) if expected != got => bail!(
            "{}: sha256 is {got}, expected {expected}; the data were changed since the run was \
             planned",
            path.display()
        ),
        _ => Ok(()),
    }
}
