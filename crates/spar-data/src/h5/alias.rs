//! Names of files that the HDF5 library takes.
//!
//! Its binding wants UTF-8, and file names are bytes.

use std::{
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A name of a file, for as long as this is held.
pub(crate) struct Alias {
    path: PathBuf,
    /// Where the name is, if it is a link made for this.
    _folder: Option<TempDir>,
}

impl Alias {
    /// The file's own name where that is UTF-8, else that of a link to it.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if path.to_str().is_some() {
            return Ok(Self {
                path: path.into(),
                _folder: None,
            });
        }
        let folder = tempfile::tempdir()?;
        let link = folder.path().join("data");
        link_to(&std::path::absolute(path)?, &link)?;
        Ok(Self {
            path: link,
            _folder: Some(folder),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(unix)]
fn link_to(file: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(file, link)
}

#[cfg(windows)]
fn link_to(file: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(file, link)
}
