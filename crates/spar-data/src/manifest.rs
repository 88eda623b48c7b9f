//! The official D4RL files by their hashes, and where a user keeps them.

use std::{
    env,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::Deserialize;
use spar_core::TaskId;

/// One official file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficialFile {
    /// The task it belongs to.
    pub task: TaskId,
    /// D4RL's id, as in `hopper-medium-v2`.
    pub id: String,
    /// Its file name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Where D4RL publishes it.
    pub url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    file: Vec<OfficialFile>,
}

static FILES: LazyLock<Vec<OfficialFile>> = LazyLock::new(|| {
    // The manifest is part of the program: a test reads it, users cannot break it.
    let parsed: Result<Manifest, _> =
        toml::from_str(include_str!("../../../datasets/manifest.toml"));
    parsed.map(|m| m.file).unwrap_or_default()
});

/// Every official file this project knows.
pub fn files() -> &'static [OfficialFile] {
    &FILES
}

/// The official file of `task`, if D4RL has one.
pub fn official(task: TaskId) -> Option<&'static OfficialFile> {
    files().iter().find(|f| f.task == task)
}

/// The official file with this hash.
pub fn by_sha256(sha256: &str) -> Option<&'static OfficialFile> {
    files().iter().find(|f| f.sha256 == sha256)
}

/// Folders where official files are looked for, in this order:
/// `$D4RL_DATASET_DIR`, `~/.d4rl/datasets` (D4RL's own default), and
/// `datasets/official` below the working directory.
pub fn folders() -> Vec<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let home = set("HOME").map(|home| home.join(".d4rl/datasets"));
    set("D4RL_DATASET_DIR")
        .into_iter()
        .chain(home)
        .chain([PathBuf::from("datasets/official")])
        .collect()
}

/// The first file in [`folders`] named like `file` and of its length. Its hash
/// is not checked here: [`Dataset::read`](crate::Dataset::read) does that and
/// says in the identity what it found.
pub fn find(file: &OfficialFile) -> Option<PathBuf> {
    find_in(file, &folders())
}

fn find_in(file: &OfficialFile, folders: &[PathBuf]) -> Option<PathBuf> {
    let right = |path: &Path| path.metadata().is_ok_and(|m| m.len() == file.bytes);
    folders
        .iter()
        .map(|folder| folder.join(&file.name))
        .find(|p| right(p))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_each_task_once() {
        assert_eq!(files().len(), 9);
        for file in files() {
            assert_eq!(file.id, file.task.official_id());
            assert_eq!(official(file.task), Some(file));
            assert_eq!(by_sha256(&file.sha256), Some(file));
            assert!(file.sha256.len() == 64 && file.url.ends_with(&file.name));
        }
    }

    #[test]
    fn the_first_folder_with_a_file_of_the_right_length_wins() {
        let folder = tempfile::tempdir().unwrap();
        let below = ["none", "short", "right"].map(|name| folder.path().join(name));
        let mut file = files()[0].clone();
        file.bytes = 10;
        for (path, bytes) in [(&below[1], 9), (&below[2], 10)] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join(&file.name), vec![0; bytes]).unwrap();
        }
        assert_eq!(find_in(&file, &below), Some(below[2].join(&file.name)));
        assert_eq!(find_in(&file, &below[..2]), None);
    }
}
