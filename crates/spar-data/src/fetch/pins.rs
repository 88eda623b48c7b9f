//! Files whose hash nobody published: the first one that comes is trusted, and
//! its hash pinned, so that it cannot change unnoticed afterwards.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use spar_core::{files::open_own, suite::parse_error, write_atomic};

use super::{error::FetchError, part::io_error};

/// What is remembered of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    /// SHA-256 in lower-case hexadecimal.
    pub(super) sha256: String,
    /// Its length.
    pub(super) bytes: u64,
}

const HEAD: &str = "# Files that came without a known sha256: trusted on first use, not proven official.\n\
                    # Written by `spar data fetch`; remove an entry to trust its file anew.\n\n";

/// Where the pins of the files in `folder` are.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("spar-pins.toml")
}

/// The pin of the file `name` in `folder`.
pub(super) fn find(folder: &Path, name: &str) -> Result<Option<Pin>, FetchError> {
    Ok(read(&path(folder))?.remove(name))
}

/// Pins the file `name` in `folder`.
pub(super) fn add(folder: &Path, name: &str, pin: Pin) -> Result<(), FetchError> {
    let path = path(folder);
    // Another process may pin another file of the folder at this moment.
    let lock = folder.join(".spar-pins.lock");
    let held = open_own(&lock).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    let _held = held.map_err(|e| io_error(&lock, "lock it", e))?;
    let mut pins = read(&path)?;
    pins.insert(name.to_owned(), pin);
    let text = toml::to_string(&pins).map_err(io::Error::other);
    text.and_then(|text| write_atomic(&path, format!("{HEAD}{text}").as_bytes()))
        .map_err(|e| io_error(&path, "write it", e))
}

fn read(path: &Path) -> Result<BTreeMap<String, Pin>, FetchError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&e.kind()) => {
            return Ok(BTreeMap::new());
        }
        Err(e) => return Err(io_error(path, "read it", e)),
    };
    toml::from_str(&text).map_err(|error| FetchError::Pins {
        path: path.into(),
        why: parse_error(&text, &error),
    })
}
