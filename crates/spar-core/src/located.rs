//! Errors that name their file.

use std::{io, path::Path};

/// Adds the file's name to an I/O error's message and keeps its kind.
pub fn in_file(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
