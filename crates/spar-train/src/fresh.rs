//! What opening the folder of a run made, taken away again where the run is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use spar_core::files::in_file;

use crate::error::TrainError;

/// Folders that were not there before, and the lock in them. Until [`Fresh::keep`] they go
/// with this value, as far as nobody has put anything into them.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// The innermost first.
    made: Vec<PathBuf>,
    /// The lock that will be made.
    lock: Option<PathBuf>,
}

impl Fresh {
    /// Makes `inner` within the folder `run`, with every folder above that is missing.
    pub(crate) fn make(run: &Path, inner: &Path) -> Result<Self, TrainError> {
        let named = |folder: &&Path| !folder.as_os_str().is_empty();
        let missing = |folder: &&Path| folder.symlink_metadata().is_err();
        let above = || inner.ancestors().filter(named);
        if let Some(there) = above().find(|folder| !missing(folder))
            && !there.is_dir()
        {
            let what = match there.exists() {
                true => "a file",
                false => "a link to nothing",
            };
            let path = there.to_owned();
            return Err(TrainError::NotFolder { path, what });
        }
        let lock = run.join(".lock");
        let fresh = Self {
            made: above().take_while(missing).map(Path::to_owned).collect(),
            lock: lock.symlink_metadata().is_err().then_some(lock),
        };
        fs::create_dir_all(inner).map_err(|e| in_file(e, run))?;
        Ok(fresh)
    }

    /// Leaves all of it where it is.
    pub(crate) fn keep(&mut self) {
        self.made.clear();
        self.lock = None;
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // Only empty folders go; what cannot be removed is no worse than before. The lock
        // goes first, for the folder to be empty, and only if the folder itself is new: one
        // that was there is another process's too.
        let new = |lock: &PathBuf| self.made.iter().any(|made| lock.parent() == Some(made));
        if let Some(lock) = self.lock.as_ref().filter(|lock| new(lock)) {
            let _ = fs::remove_file(lock);
        }
        for folder in &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}
