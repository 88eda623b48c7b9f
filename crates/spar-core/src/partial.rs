//! Files and folders while they are being written: under a name that says so, beside the
//! place they are for, and locked, so that what a killed process left is known from what
//! another is writing. Whoever starts one in a folder removes the left ones there first.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use tempfile::{Builder, NamedTempFile, TempDir};

/// How the names begin; six random letters and digits follow, then a suffix.
const PREFIX: &str = ".partial-";

/// Random characters in a name.
const RANDOM: usize = 6;

/// Starts a file in `folder`, locked, that the user's umask decides the mode of. It is
/// deleted when dropped; [`NamedTempFile::persist`] puts it in place.
///
/// # Errors
/// Any I/O error of making it.
pub fn file_in(folder: &Path, suffix: &str) -> io::Result<NamedTempFile> {
    remove_left(folder);
    loop {
        let mut builder = Builder::new();
        builder.prefix(PREFIX).suffix(suffix).rand_bytes(RANDOM);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder)?;
        if is_claimed(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
}

/// Starts a folder in `folder`, locked as long as the file returned is open. It is
/// deleted with all in it when dropped.
///
/// # Errors
/// Any I/O error of making it.
pub fn folder_in(folder: &Path) -> io::Result<(TempDir, File)> {
    remove_left(folder);
    loop {
        let made = Builder::new()
            .prefix(PREFIX)
            .rand_bytes(RANDOM)
            .tempdir_in(folder)?;
        let lock = File::open(made.path())?;
        if is_claimed(&lock, made.path()) {
            return Ok((made, lock));
        }
    }
}

/// Locks what has just been made at `path`; whether it is there still, and not taken for
/// a left one before it was locked. A file system without locks removes none.
fn is_claimed(file: &File, path: &Path) -> bool {
    file.lock().is_err() || path.symlink_metadata().is_ok()
}

/// Removes what processes that are gone had begun to write in `folder`. What cannot be
/// removed stays: it is in nobody's way.
pub fn remove_left(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours)) {
        let path = entry.path();
        // A link is nobody's unfinished file.
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if !(kind.is_file() || kind.is_dir()) {
            continue;
        }
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if file.try_lock().is_ok() {
            let _ = match kind.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
        }
    }
}

/// Whether [`file_in`] or [`folder_in`] gives such names.
fn is_ours(name: &str) -> bool {
    let random = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.get(..RANDOM));
    random.is_some_and(|random| random.chars().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Kills left one such file for every eighth run, for ever.
    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let left = |name: &str| dir.path().join(name);
        fs::write(left(".partial-aB3dE6"), "left").unwrap();
        fs::write(left(".partial-aB3dE6.hdf5"), "left").unwrap();
        fs::create_dir_all(left(".partial-xyz123/data")).unwrap();
        fs::write(left(".partial-xyz123/data/file"), "left").unwrap();
        let kept = [".partial-", ".partial-a-b-c-", "partial-aB3dE6", "file"];
        for name in kept {
            fs::write(left(name), "kept").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(left("file"), left(".partial-linked")).unwrap();
        remove_left(dir.path());
        let mut names: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".partial-linked")
            .collect();
        names.sort();
        let mut expected = kept;
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(fs::read(left("file")).unwrap(), b"kept");
    }

    #[test]
    fn what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(dir.path(), ".hdf5").unwrap();
        let (folder, lock) = folder_in(dir.path()).unwrap();
        remove_left(dir.path());
        assert!(file.path().exists() && folder.path().exists());
        // As after a kill: the names stay, the locks are gone.
        let paths = [file.path().to_owned(), folder.path().to_owned()];
        let (_, kept) = file.keep().unwrap();
        drop(lock);
        let _ = folder.keep();
        remove_left(dir.path());
        assert!(!kept.exists() && !paths[1].exists());
    }
}
