//! The lock on a folder that one process works in at a time, and how that process knows
//! that the folder is still the one it locked.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::files::in_file;

/// A folder that this process has to itself, as long as this value lives.
#[derive(Debug)]
pub struct FolderLock {
    path: PathBuf,
    file: File,
}

impl FolderLock {
    /// Locks `folder` by its file `.lock`; `None` if another process holds it.
    ///
    /// # Errors
    /// If the file cannot be made or locked, or is a link: what it points to is not ours.
    pub fn take(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(".lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        }
        let file = options.open(&path).map_err(|e| in_file(e, &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(in_file(e, &path)),
        }
        let lock = Self { path, file };
        // Deleted before it was locked: whoever comes next makes another.
        Ok(lock.holds().then_some(lock))
    }

    /// Whether the folder is still the one that was locked, and not gone or another of
    /// its name.
    pub fn holds(&self) -> bool {
        is_same(&self.file, &self.path)
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // A process that another thread is just starting has a copy of the open file until it
        // runs its program, and closing ours alone would leave the folder locked as long.
        let _ = self.file.unlock();
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(there)) = (file.metadata(), path.symlink_metadata()) else {
        return false;
    };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(not(unix))]
fn is_same(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_at_a_time_and_only_while_the_folder_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        fs::create_dir(&folder).unwrap();
        let lock = FolderLock::take(&folder).unwrap().unwrap();
        assert!(FolderLock::take(&folder).unwrap().is_none());
        assert!(lock.holds());
        fs::remove_dir_all(&folder).unwrap();
        assert!(!lock.holds());
        fs::create_dir(&folder).unwrap();
        assert!(!lock.holds());
        let next = FolderLock::take(&folder).unwrap().unwrap();
        assert!(next.holds() && !lock.holds());
        drop(next);
        assert!(FolderLock::take(&folder).unwrap().is_some());
    }

    /// As by a thread that starts a process meanwhile.
    #[test]
    fn a_copy_of_the_open_file_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(dir.path()).unwrap().unwrap();
        let copy = lock.file.try_clone().unwrap();
        drop(lock);
        assert!(FolderLock::take(dir.path()).unwrap().is_some());
        drop(copy);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mine = dir.path().join("mine");
        fs::write(&mine, "kept").unwrap();
        std::os::unix::fs::symlink(&mine, dir.path().join(".lock")).unwrap();
        let error = FolderLock::take(dir.path()).unwrap_err();
        assert!(error.to_string().contains(".lock"), "{error}");
        assert_eq!(fs::read(&mine).unwrap(), b"kept");
    }
}
