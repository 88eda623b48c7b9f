//! The `.part` beside a file that is being downloaded.

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use spar_core::{files::open_own, write_atomic};

use super::error::FetchError;

/// A partial download. Whatever ends the process, what was written stays and is
/// resumed from.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    len: u64,
    source: Option<Source>,
}

/// Where a part comes from: kept beside it, so that a later process can ask
/// whether the file there is still the same one.
#[derive(Serialize, Deserialize)]
struct Source {
    url: String,
    /// A strong entity tag or a date, as HTTP's `If-Range` takes it.
    validator: Option<String>,
}

impl Part {
    /// The part of `target`, empty if there was none.
    pub(super) fn open(target: &Path) -> Result<Self, FetchError> {
        let path = with_suffix(target, ".part");
        let opened = open_own(&path);
        let opened = opened.and_then(|mut file| Ok((file.seek(SeekFrom::End(0))?, file)));
        let (len, file) = opened.map_err(|e| io_error(&path, "write to it", e))?;
        let source = fs::read_to_string(source_path(&path)).ok();
        let source = source.and_then(|text| toml::from_str(&text).ok());
        Ok(Self {
            path,
            file,
            len,
            source,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// From which byte a download from `url` may resume. Bytes of another
    /// address, or of one that gave no validator, are only built upon where the
    /// whole will be `proven` by a known hash.
    pub(super) fn resumable(&self, url: &str, proven: bool) -> u64 {
        if proven || self.validator(url).is_some() {
            self.len
        } else {
            0
        }
    }

    /// What tells whether the file at `url` is still the one this is a part of.
    pub(super) fn validator(&self, url: &str) -> Option<&str> {
        let source = self.source.as_ref().filter(|source| source.url == url)?;
        source.validator.as_deref()
    }

    /// Throws away what is here and starts anew with the file at `url`.
    pub(super) fn begin(&mut self, url: &str, validator: Option<String>) -> Result<(), FetchError> {
        self.clear()?;
        let source = Source {
            url: url.to_owned(),
            validator,
        };
        let path = source_path(&self.path);
        let text = toml::to_string(&source).map_err(io::Error::other);
        text.and_then(|text| write_atomic(&path, text.as_bytes()))
            .map_err(|e| io_error(&path, "write it", e))?;
        self.source = Some(source);
        Ok(())
    }

    /// Throws away what is here.
    pub(super) fn clear(&mut self) -> Result<(), FetchError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|e| io_error(&self.path, "shorten it", e))?;
        self.len = 0;
        self.source = None;
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(|e| io_error(&self.path, "write to it", e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Gives the whole file its name.
    pub(super) fn finish(self, target: &Path) -> Result<(), FetchError> {
        let renamed = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, target));
        renamed.map_err(|e| io_error(target, "put the download in its place", e))?;
        forget(&source_path(&self.path));
        Ok(())
    }

    /// Leaves the part for a later process, or nothing if it is empty.
    pub(super) fn leave(self) -> u64 {
        if self.len == 0 {
            forget(&self.path);
            forget(&source_path(&self.path));
        }
        self.len
    }
}

/// Bytes of the partial download of `target`, 0 if there is none.
pub(super) fn waiting(target: &Path) -> u64 {
    let part = with_suffix(target, ".part").metadata();
    part.map_or(0, |part| part.len())
}

fn source_path(part: &Path) -> PathBuf {
    with_suffix(part, ".from")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a file that does no harm if it stays.
fn forget(path: &Path) {
    let _ = fs::remove_file(path);
}

pub(super) fn io_error(path: &Path, doing: &'static str, source: io::Error) -> FetchError {
    FetchError::Io {
        path: path.into(),
        doing,
        source,
    }
}
