//! The official D4RL files by their hashes, and where a user keeps them.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::{Deserialize, Serialize};
use spar_core::{TaskId, suite::parse_error};

/// One file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The task it belongs to.
    pub task: TaskId,
    /// D4RL's id, as in `hopper-medium-v2`.
    pub id: String,
    /// Its file name, the same as in D4RL's cache folder.
    pub name: String,
    /// Its length, where known.
    pub bytes: Option<u64>,
    /// SHA-256 of the file, lower-case hexadecimal, where known.
    pub sha256: Option<String>,
    /// How many transitions D4RL's `qlearning_dataset` makes of it, where
    /// somebody has counted.
    pub transitions: Option<usize>,
    /// Where it can be downloaded, in the order to try.
    pub urls: Vec<String>,
}

/// Why a manifest file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It could not be read.
    #[error("cannot read manifest {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// It is not what a manifest has to be.
    #[error("manifest {}: {why}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what was expected.
        why: String,
    },
    /// The file of an id of D4RL's is not in the cache.
    #[error("{id}: its file {name} is not in {folders}; fetch it with `spar data fetch {task}`")]
    Absent {
        /// D4RL's id.
        id: &'static str,
        /// The file's name.
        name: &'static str,
        /// Where it was looked for.
        folders: String,
        /// The task it belongs to.
        task: TaskId,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    file: Vec<Entry>,
}

static FILES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    // The manifest is part of the program: a test reads it, users cannot break it.
    parse(include_str!("../manifest.toml")).unwrap_or_default()
});

/// Every official file this project knows.
pub fn files() -> &'static [Entry] {
    &FILES
}

/// The official file of `task`, if D4RL has one.
pub fn official(task: TaskId) -> Option<&'static Entry> {
    files().iter().find(|f| f.task == task)
}

/// The official file with this hash. Nothing else makes a file official, and no
/// other manifest than the built-in one is asked.
pub fn by_sha256(sha256: &str) -> Option<&'static Entry> {
    files().iter().find(|f| f.sha256.as_deref() == Some(sha256))
}

/// Reads a manifest of the user's own, in the layout of
/// this crate's `manifest.toml`; `bytes`, `sha256` and `transitions` may be absent.
/// It says where files are, not which are official.
///
/// # Errors
/// If the file cannot be read, does not parse, or names an entry twice, a file
/// outside the folder, a malformed hash or an address that is not HTTP's.
pub fn load(path: &Path) -> Result<Vec<Entry>, ManifestError> {
    let text = fs::read_to_string(path).map_err(|source| ManifestError::Read {
        path: path.into(),
        source,
    })?;
    parse(&text).map_err(|why| ManifestError::Wrong {
        path: path.into(),
        why,
    })
}

fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let Manifest { file: entries } =
        toml::from_str(text).map_err(|error| parse_error(text, &error))?;
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for entry in &entries {
        entry.check()?;
        if !ids.insert(&entry.id) || !names.insert(&entry.name) {
            return Err(format!(
                "{}: its id or its name `{}` stands there twice, expected once",
                entry.id, entry.name
            ));
        }
    }
    Ok(entries)
}

impl Entry {
    fn check(&self) -> Result<(), String> {
        let wrong = |key: &str, got: &str, expected: &str| {
            Err(format!(
                "{}: {key} is `{got}`, expected {expected}",
                self.id
            ))
        };
        let official = self.task.official_id().unwrap_or("none");
        if self.id != official {
            return wrong("id", &self.id, &format!("`{official}`"));
        }
        // What is downloaded goes into the folder and nowhere else.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.starts_with('.')
            || !self.name.ends_with(".hdf5")
            || !self.name.chars().all(plain)
        {
            return wrong("name", &self.name, "a plain file name that ends in .hdf5");
        }
        let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if let Some(sha256) = &self.sha256
            && (sha256.len() != 64 || !sha256.chars().all(hexadecimal))
        {
            return wrong("sha256", sha256, "64 lower-case hexadecimal digits");
        }
        let http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        match self.urls.iter().find(|url| !http(url)) {
            Some(url) => wrong("urls", url, "addresses that start with http:// or https://"),
            None if self.urls.is_empty() => wrong("urls", "[]", "at least one address"),
            None => Ok(()),
        }
    }
}

/// Folders where official files are looked for, in this order:
/// `$D4RL_DATASET_DIR`, `~/.d4rl/datasets` (D4RL's own default), and
/// `datasets/official` below the working directory.
pub fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> = caches().collect();
    folders.push(PathBuf::from("datasets/official"));
    folders
}

/// D4RL's cache folder: `$D4RL_DATASET_DIR`, else `~/.d4rl/datasets`; `None`
/// where neither that variable nor `HOME` is set.
pub fn cache() -> Option<PathBuf> {
    caches().next()
}

fn caches() -> impl Iterator<Item = PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let home = set("HOME").map(|home| home.join(".d4rl/datasets"));
    set("D4RL_DATASET_DIR").into_iter().chain(home)
}

/// The first file in [`folders`] named like `entry` and of its length. Its hash
/// is not checked here: [`Dataset::read`](crate::Dataset::read) does that and
/// says in the identity what it found.
pub fn find(entry: &Entry) -> Option<PathBuf> {
    find_in(entry, &folders())
}

/// The file of the D4RL data `dataset`, with its entry, if that is an id, as in
/// `hopper-medium-v2`, and no file or folder of this name is here; else `None`.
///
/// # Errors
/// [`ManifestError::Absent`] if it is an id whose file is in none of [`folders`].
pub fn named(dataset: &Path) -> Result<Option<(&'static Entry, PathBuf)>, ManifestError> {
    let entry = files()
        .iter()
        .find(|entry| dataset.as_os_str() == entry.id.as_str() && !dataset.exists());
    let Some(entry) = entry else {
        return Ok(None);
    };
    let absent = || {
        let folders: Vec<_> = folders().iter().map(|f| f.display().to_string()).collect();
        ManifestError::Absent {
            id: &entry.id,
            name: &entry.name,
            folders: folders.join(", "),
            task: entry.task,
        }
    };
    let path = find(entry).ok_or_else(absent)?;
    Ok(Some((entry, path)))
}

fn find_in(entry: &Entry, folders: &[PathBuf]) -> Option<PathBuf> {
    let right = |path: &Path| {
        path.metadata()
            .is_ok_and(|m| m.is_file() && entry.bytes.is_none_or(|bytes| m.len() == bytes))
    };
    folders
        .iter()
        .map(|folder| folder.join(&entry.name))
        .find(|p| right(p))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use spar_core::{EnvId, Level};

    use super::*;

    #[test]
    fn the_manifest_has_a_file_of_each_of_d4rls_tasks() {
        let tasks = TaskId::all()
            .into_iter()
            .filter(|t| t.official_id().is_some());
        let official: Vec<_> = tasks.map(|task| official(task).unwrap()).collect();
        assert_eq!((official.len(), files().len()), (77, 77));
        for file in official {
            assert_eq!(file.sha256.is_some(), file.bytes.is_some(), "{}", file.id);
            let (own, name) = (&file.urls[0], format!("/{}", file.name));
            assert!(own.ends_with(&name), "{own}");
        }
    }

    #[test]
    fn the_files_of_the_mujoco_suite_have_a_hash_and_a_mirror() {
        let envs = [EnvId::HALF_CHEETAH, EnvId::HOPPER, EnvId::WALKER2D];
        for env in envs {
            for level in Level::ALL {
                let file = official(TaskId::of(env, level).unwrap()).unwrap();
                let sha256 = file.sha256.as_deref().unwrap();
                assert_eq!(by_sha256(sha256), Some(file));
                assert!(file.bytes.unwrap() > 50_000_000);
                assert!(file.urls.len() > 1);
                for url in &file.urls {
                    assert!(url.ends_with(&format!("/{}", file.name)), "{url}");
                }
            }
        }
    }

    #[test]
    fn transitions_are_those_of_whole_episodes_where_none_terminates() {
        // The half cheetah never falls: 999 transitions of each 1000-step episode.
        for file in files()
            .iter()
            .filter(|f| f.task.env() == EnvId::HALF_CHEETAH)
        {
            assert_eq!(file.transitions.unwrap_or(0) % 999, 0, "{}", file.id);
        }
    }

    #[test]
    fn a_manifest_is_checked_where_it_is_read() {
        let entry = |key: &str, value: &str| {
            let mut keys = vec![
                ("task", "\"hopper-medium\""),
                ("id", "\"hopper-medium-v2\""),
                ("name", "\"a.hdf5\""),
                ("urls", "[\"https://host/a.hdf5\"]"),
            ];
            keys.retain(|(name, _)| *name != key);
            keys.push((key, value));
            let lines = keys.iter().map(|(key, value)| format!("{key} = {value}\n"));
            format!("[[file]]\n{}", lines.collect::<String>())
        };
        let right = entry("bytes", "3");
        let read = parse(&right).unwrap();
        assert_eq!((read[0].bytes, &read[0].sha256), (Some(3), &None));
        for (text, fact) in [
            (entry("task", "\"hopper\""), "hopper-medium"),
            (
                entry("id", "\"hopper-medium\""),
                "expected `hopper-medium-v2`",
            ),
            (entry("name", "\"../a.hdf5\""), "plain file name"),
            (entry("name", "\".hdf5\""), "plain file name"),
            (entry("sha256", "\"FEED\""), "64 lower-case"),
            (entry("urls", "[\"file:///etc/passwd\"]"), "http"),
            (entry("urls", "[]"), "at least one"),
            (entry("sha", "1"), "line 6: unknown field"),
            (format!("{right}{right}"), "twice"),
        ] {
            let why = parse(&text).unwrap_err();
            assert!(why.contains(fact) && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn the_first_folder_with_a_file_of_the_right_length_wins() {
        let folder = tempfile::tempdir().unwrap();
        let below = ["none", "short", "right"].map(|name| folder.path().join(name));
        let mut file = files()[0].clone();
        file.bytes = Some(10);
        for (path, bytes) in [(&below[1], 9), (&below[2], 10)] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join(&file.name), vec![0; bytes]).unwrap();
        }
        assert_eq!(find_in(&file, &below), Some(below[2].join(&file.name)));
        assert_eq!(find_in(&file, &below[..2]), None);
    }
}
