//! LeRobot's folders: `meta/info.json`, and the rows in `data/chunk-<i>/<name>.parquet`, a
//! file an episode up to version 2.1 and of many episodes from 3.0 on. Both are the same
//! here: the files in the order of their numbers, one after the other.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use spar_core::{printable, sha256_file, sha256_hex};

use crate::{
    error::DataError,
    precheck::{Kind, precheck},
};

/// Where the description is, in the folder.
const INFO: &str = "meta/info.json";
/// Longest description that is read.
const LONGEST: u64 = 4 << 20;
/// Most files of a data set.
const MOST: usize = 1 << 20;

/// A data set's folder.
pub(crate) struct Folder {
    path: PathBuf,
    info: Info,
    /// In the order of their rows.
    files: Vec<PathBuf>,
    length: u64,
}

/// What is needed of the description.
#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    codebase_version: String,
    total_episodes: usize,
    total_frames: usize,
    #[serde(default)]
    features: BTreeMap<String, Feature>,
}

#[derive(Deserialize)]
struct Feature {
    #[serde(default)]
    dtype: String,
}

impl Folder {
    /// That at `path`, if it is one.
    ///
    /// # Errors
    /// If it is one and its description or its files cannot be read.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>, DataError> {
        let place = path.join(INFO);
        if !place.is_file() {
            return Ok(None);
        }
        let io = |path: &Path, source| DataError::Io {
            path: path.into(),
            doing: "read the data set",
            source,
        };
        let mut text = String::new();
        let file = File::open(&place).map_err(|e| io(&place, e))?;
        let read = file.take(LONGEST).read_to_string(&mut text);
        read.map_err(|e| io(&place, e))?;
        let info: Info = serde_json::from_str(&text).map_err(|e| wrong(path, &e.to_string()))?;
        let data = path.join("data");
        let mut files = Vec::new();
        let chunks = numbered(&data).map_err(|e| io(&data, e))?;
        for (_, chunk) in chunks {
            let found = numbered(&chunk).map_err(|e| io(&chunk, e))?;
            let tables = found.into_iter().map(|(_, file)| file);
            files.extend(tables.filter(|file| file.extension().is_some_and(|e| e == "parquet")));
            if files.len() > MOST {
                return Err(wrong(path, &format!("it has more than {MOST} files")));
            }
        }
        if files.is_empty() {
            return Err(wrong(path, "there is no data/chunk-<i>/<name>.parquet"));
        }
        let mut length = 0;
        for file in &files {
            let (kind, bytes) = precheck(file)?;
            if kind != Kind::Parquet {
                return Err(DataError::NotHdf5 {
                    path: file.clone(),
                    got: "something else than a Parquet file",
                    hint: "download it again",
                });
            }
            length += bytes;
        }
        // What it is called, also where it is `.`.
        let path = match path.file_name() {
            Some(_) => path.to_owned(),
            None => path.canonicalize().map_err(|e| io(path, e))?,
        };
        Ok(Some(Self {
            path,
            info,
            files,
            length,
        }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its tables.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Bytes of all tables together.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The hash of description and tables: that of what `sha256sum meta/info.json
    /// data/*/*.parquet` prints in the folder.
    pub(crate) fn sha256(&self) -> io::Result<String> {
        let below = |file: &PathBuf| file.strip_prefix(&self.path).map(Path::to_owned);
        let mut names: Vec<PathBuf> = self.files.iter().flat_map(below).collect();
        names.sort();
        names.insert(0, INFO.into());
        let mut lines = String::new();
        for name in names {
            let hash = sha256_file(&self.path.join(&name))?;
            // A string takes all that is written to it.
            let _ = writeln!(lines, "{hash}  {}", name.display());
        }
        Ok(sha256_hex(lines.as_bytes()))
    }

    /// Refuses `rows` rows of so many episodes, if those are numbered, that are not all.
    pub(crate) fn agrees(&self, rows: usize, episodes: Option<usize>) -> Result<(), DataError> {
        let frames = ("total_frames", self.info.total_frames, rows);
        let episodes = episodes.map(|n| ("total_episodes", self.info.total_episodes, n));
        let counts = [Some(frames), episodes];
        let other = counts
            .into_iter()
            .flatten()
            .find(|(_, said, got)| said != got);
        other.map_or(Ok(()), |(what, said, got)| {
            let why = format!(
                "its `{what}` is {said}, its {} files hold {got}: files are missing or another's",
                self.files.len()
            );
            Err(wrong(&self.path, &why))
        })
    }

    /// What a user should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        let Info {
            codebase_version,
            total_episodes,
            features,
            ..
        } = &self.info;
        let seen = |feature: &Feature| matches!(&*feature.dtype, "video" | "image");
        let images = features.iter().filter(|(_, feature)| seen(feature));
        let images: Vec<&str> = images.map(|(name, _)| name.as_str()).collect();
        let mut notes = vec![format!(
            "read as LeRobot's layout {}, {total_episodes} episodes in {} files",
            printable(codebase_version),
            self.files.len()
        )];
        if !images.is_empty() {
            let images = images.join(",");
            notes.push(format!("images are not read: {}", printable(&images)));
        }
        notes
    }
}

/// What is in the folder `path` and has a number in its name, by the last of them.
fn numbered(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        let stem = entry.file_stem().unwrap_or_default().to_string_lossy();
        let number = stem.rsplit(['-', '_']).next().and_then(|n| n.parse().ok());
        found.extend(number.map(|number| (number, entry.clone())));
    }
    found.sort();
    Ok(found)
}

fn wrong(folder: &Path, why: &str) -> DataError {
    DataError::LeRobot {
        path: folder.join(INFO),
        why: printable(why).into_owned(),
    }
}
