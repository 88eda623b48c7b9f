//! Minari's layout: where its data sets lie, what they are called, and how they
//! are read and written.
//!
//! A data set is a folder `<root>/<id>/data` with `main_data.hdf5`, one group an
//! episode, and `metadata.json`, which describes it. Versions before 0.5 kept
//! that description in the HDF5 file's attributes; both are read.

#[cfg(feature = "hdf5")]
mod description;
#[cfg(feature = "hdf5")]
mod read;
#[cfg(feature = "hdf5")]
mod write;

use std::{
    env,
    path::{Path, PathBuf},
};

#[cfg(feature = "hdf5")]
pub(crate) use description::Description;
#[cfg(feature = "hdf5")]
pub(crate) use read::{Episode, Episodes, read};
#[cfg(feature = "hdf5")]
pub(crate) use write::{About, EpisodeRows, MinariWriter, refuse_existing};

use crate::error::DataError;

/// The arrays of a data set.
const MAIN: &str = "main_data.hdf5";
/// Its description, beside them.
const METADATA: &str = "metadata.json";

/// The folder below which Minari's ids are paths: `$MINARI_DATASETS_PATH`, or
/// `~/.minari/datasets`, Minari's own default.
pub fn minari_root() -> PathBuf {
    let set = |name| env::var_os(name).map(PathBuf::from);
    set("MINARI_DATASETS_PATH")
        .unwrap_or_else(|| set("HOME").unwrap_or_default().join(".minari/datasets"))
}

/// The HDF5 file that `path` means: itself, the one of the data set whose folder
/// it is, or the one of the data set whose id it is. It need not be there.
pub(crate) fn locate(path: &Path) -> PathBuf {
    locate_below(path, &minari_root())
}

fn locate_below(path: &Path, root: &Path) -> PathBuf {
    let below = path.to_str().filter(|id| check_id(id).is_ok());
    let folder = match below {
        Some(id) if !path.exists() => root.join(id),
        _ => path.to_owned(),
    };
    let described = |data: &PathBuf| data.join(MAIN).is_file() || data.join(METADATA).is_file();
    let data = [folder.join("data"), folder.clone()];
    match data.into_iter().find(described) {
        Some(data) => data.join(MAIN),
        None => folder,
    }
}

/// The id of the data set at `folder`, by where it lies: its path below `root`,
/// or the folder's own name.
fn id_of_folder(folder: &Path, root: &Path) -> String {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let (folder, root) = (whole(folder), whole(root));
    let below = folder
        .strip_prefix(root)
        .ok()
        .or(folder.file_name().map(Path::new));
    let parts = below.into_iter().flat_map(Path::components);
    let parts: Vec<_> = parts
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

/// The id a data set written to `folder` gets where none is given.
///
/// # Errors
/// [`DataError::BadId`] if the folder's name is no id.
pub fn minari_id(folder: &Path) -> Result<String, DataError> {
    let id = id_of_folder(folder, &minari_root());
    check_id(&id).map(|()| id)
}

/// Whether Minari's `parse_dataset_id` takes `id`, which must carry a version.
pub(crate) fn check_id(id: &str) -> Result<(), DataError> {
    let letters = |part: &str| {
        let of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        !part.is_empty() && part.chars().all(of_word)
    };
    let (namespace, name) = match id.rsplit_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, id),
    };
    let versioned = name.rsplit_once("-v").is_some_and(|(name, version)| {
        letters(name) && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit())
    });
    // Its expression asks for two letters of a namespace.
    let spaced = namespace.is_none_or(|n| n.len() > 1 && n.split('/').all(letters));
    if versioned && spaced {
        return Ok(());
    }
    Err(DataError::BadId { got: id.into() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn ids_are_minari_s() {
        for good in [
            "a-v0",
            "mujoco/hopper/medium-v0",
            "D4RL/door/human-v12",
            "x_y-z-v3",
        ] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "a-v",
            "-v0",
            "a-vx",
            "/a-v0",
            "n/a-v0",
            "ns//a-v0",
            "../a-v0",
            "a.b-v0",
            "ns/a-v0/",
            "a b-v0",
            "ns/a-v0.hdf5",
        ] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_folders_and_ids_lead_to_the_same_arrays() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("ns/name-v0");
        let main = folder.join("data/main_data.hdf5");
        let found = |path: &Path| locate_below(path, root.path());
        let id = Path::new("ns/name-v0");
        assert_eq!(found(id), folder, "where it is missed");
        fs::create_dir_all(folder.join("data")).unwrap();
        fs::write(&main, "").unwrap();
        for path in [id, &folder, &folder.join("data"), &main] {
            assert_eq!(found(path), main, "{}", path.display());
        }
        let plain = Path::new("folder/hopper_medium-v2.hdf5");
        assert_eq!(found(plain), plain);
        assert_eq!(id_of_folder(&folder, root.path()), "ns/name-v0");
        assert_eq!(id_of_folder(&folder, Path::new("/else")), "name-v0");
        assert_eq!(
            id_of_folder(Path::new("ns/name-v0"), Path::new("./")),
            "ns/name-v0"
        );
    }
}
