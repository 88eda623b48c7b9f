//! Where the inputs are written: every reader takes a path.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// In memory where the system has such a folder: a file is written for every input.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("spar-fuzz-").tempdir_in(parent);
    folder.expect("a folder for the inputs").keep()
});

/// Writes `bytes` to the file `name` and hands it to `read`, whose errors have one line.
pub fn with<T, E: std::fmt::Display>(
    name: &str,
    bytes: &[u8],
    read: impl FnOnce(&Path) -> Result<T, E>,
) -> Option<T> {
    let path = FOLDER.join(name);
    fs::write(&path, bytes).expect("the input is written");
    read(&path)
        .map_err(|error| {
            let line = error.to_string();
            assert!(!line.contains('\n'), "{line}");
        })
        .ok()
}
