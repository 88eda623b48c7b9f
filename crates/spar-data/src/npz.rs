//! Archives of NumPy arrays: the keys of D4RL's layout, one array a key, as OGBench
//! publishes its data and `numpy.savez` writes a dictionary.
//!
//! Such a file is a zip archive with one `.npy` a key. Places and names are the zip
//! library's, the arrays' headers another's; parts are unpacked here, each to the length
//! that is declared and checked against its CRC, so that memory is bounded before any is
//! taken.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use libdeflater::{Crc, Decompressor};
use zip::{CompressionMethod, ZipArchive};

use crate::{
    dataset::Dataset,
    elements::{Real, fits_stored},
    error::DataError,
    flags::{FlagNames, FlagSource},
    npy::{Numbers, Wrong},
    read::Checked,
    reading::{Asked, Next, Parts},
    remarks,
    table::Table,
};

/// Most bytes between two parts of an archive: a length and checksum of the first.
const DESCRIPTOR: u64 = 24;
/// Most parts of an archive.
const PARTS: usize = 1024;

/// One array of an archive.
struct Part {
    index: usize,
    /// Bytes once unpacked, its header among them.
    size: u64,
}

/// An open archive and the arrays in it.
struct Archive<'a> {
    path: &'a Path,
    length: u64,
    parts: BTreeMap<String, Part>,
}

/// Reads the archive `checked`.
pub(crate) fn read(checked: &Checked, asked: Asked<'_>) -> Result<Dataset, DataError> {
    let archive = Archive::open(checked.path(), checked.length())?;
    let reading = asked.reading;
    let observations = archive.observations("observations", &reading.observations)?;
    let (rows, obs_dim, observations) = observations;
    let (act_dim, integers, actions) = {
        let found = archive.numbers("actions")?;
        let width = archive.matrix("actions", &found, Some(rows))?;
        (width, found.integers, found.values::<f32>())
    };
    let rewards = archive.column::<f32>("rewards", rows)?;
    let flagged = FlagNames::of(&archive, rows).read(&archive)?;
    let first = reading.observations.first();
    let next = first.map(|name| format!("next_observations/{name}"));
    let recorded = archive.has(next.as_deref().unwrap_or("next_observations"));
    let recorded = recorded && reading.next != Next::Following;
    let next_observations = match recorded {
        false => None,
        true => {
            let (_, width, next) =
                archive.observations("next_observations", &reading.observations)?;
            archive.expect_width("next_observations", &next, rows, width, obs_dim)?;
            Some(next)
        }
    };
    let state = |keys: [&str; 2]| -> Result<Option<Vec<f64>>, DataError> {
        let key = keys.into_iter().find(|key| archive.has(key));
        let Some(key) = key.filter(|_| asked.parts == Parts::Everything) else {
            return Ok(None);
        };
        let found = archive.numbers(key)?;
        let width = archive.matrix(key, &found, Some(rows))?;
        let values = found.values::<f64>();
        remarks::check_finite_from(archive.path, key, &values, width, 0)?;
        Ok(Some(values))
    };
    let (qpos, qvel) = (
        state(["qpos", "infos/qpos"])?,
        state(["qvel", "infos/qvel"])?,
    );
    let table = Table {
        obs_dim,
        observations,
        act_dim,
        actions,
        rewards: Some(rewards),
        flagged,
        next_observations,
        qpos,
        qvel,
        integers,
    };
    table.dataset(archive.path, checked.scan()?.sha256, asked)
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path, length: u64) -> Result<Self, DataError> {
        let damaged = |place: &str, why: String| damaged(path, place, why);
        let mut zip = open(path)?;
        if zip.len() > PARTS {
            return Err(damaged("archive", format!("it has {} parts", zip.len())));
        }
        let mut parts = BTreeMap::new();
        let mut declared = 0u128;
        // Parts follow each other up to the directory. One that the directory does not
        // have would be missed in silence.
        let mut stretches = vec![(zip.central_directory_start(), 0)];
        for index in 0..zip.len() {
            let part = zip.by_index_raw(index);
            let part = part.map_err(|e| damaged("archive", e.to_string()))?;
            let end = part
                .data_start()
                .unwrap_or(0)
                .saturating_add(part.compressed_size());
            stretches.push((part.header_start(), end));
            let name = part.name().map_err(|e| damaged("archive", e.to_string()))?;
            let Some(key) = name.strip_suffix(".npy").map(str::to_owned) else {
                continue;
            };
            let stored = part.compressed_size().min(length);
            declared += u128::from(part.size());
            fits_stored(path, &key, part.size().into(), stored, declared, length)?;
            let size = part.size();
            if !local_name_is(path, part.header_start(), &name) {
                let why = "its header has another name than the archive's directory";
                return Err(damaged(&key, why.to_owned()));
            }
            if parts.insert(key.clone(), Part { index, size }).is_some() {
                return Err(damaged(&key, "it is there twice".to_owned()));
            }
        }
        stretches.sort_unstable();
        let mut before = 0u64;
        for (start, end) in stretches {
            if start.saturating_sub(before) > DESCRIPTOR {
                let why = format!("its directory lacks what lies at byte {before}");
                return Err(damaged("archive", why));
            }
            before = end;
        }
        if parts.is_empty() {
            return Err(DataError::NotHdf5 {
                path: path.into(),
                got: "a zip archive without NumPy arrays",
                hint: "unpack it first, or give the .npz or .hdf5 file itself",
            });
        }
        Ok(Self {
            path,
            length,
            parts,
        })
    }

    /// The array `key`.
    fn numbers(&self, key: &str) -> Result<Numbers, DataError> {
        let damaged = |why: String| damaged(self.path, key, why);
        let Some(part) = self.parts.get(key) else {
            return Err(DataError::MissingKey {
                path: self.path.into(),
                key: key.into(),
                expected: "observations, actions, rewards and terminals; OGBench's \
                           goal-conditioned files have no rewards, its singletask ones do",
            });
        };
        let bytes = self.unpack(part).map_err(damaged)?;
        Numbers::of(bytes).map_err(|why| match why {
            Wrong::Damaged(why) => damaged(why),
            Wrong::Type(got) => DataError::Type {
                path: self.path.into(),
                key: key.into(),
                expected: "floats, integers or flags of at most 64 bits",
                got,
            },
        })
    }

    /// The bytes of a part.
    fn unpack(&self, part: &Part) -> Result<Vec<u8>, String> {
        let told = |e: zip::result::ZipError| e.to_string();
        let mut zip = open(self.path).map_err(|e| e.to_string())?;
        let found = zip.by_index_raw(part.index).map_err(told)?;
        let (method, crc) = (found.compression(), found.crc32());
        if found.encrypted() {
            return Err("it is encrypted".to_owned());
        }
        let mut stored = Vec::new();
        let most = found.compressed_size().min(self.length);
        let read = found.take(most).read_to_end(&mut stored);
        read.map_err(|e| e.to_string())?;
        let size = usize::try_from(part.size).map_err(|e| e.to_string())?;
        let plain = match method {
            CompressionMethod::Stored => stored,
            CompressionMethod::DEFLATE => {
                let mut plain = vec![0; size];
                let got = Decompressor::new().deflate_decompress(&stored, &mut plain);
                let got = got.map_err(|e| format!("it does not inflate to {size} bytes: {e}"))?;
                plain.truncate(got);
                plain
            }
            other => {
                return Err(format!(
                    "it is packed with {other}, expected deflate or none"
                ));
            }
        };
        if plain.len() != size {
            return Err(format!("it has {} bytes instead of {size}", plain.len()));
        }
        let mut sum = Crc::new();
        sum.update(&plain);
        if sum.sum() != crc {
            return Err("its checksum differs".to_owned());
        }
        Ok(plain)
    }

    /// The width of a matrix of `rows` rows, or any positive number of them.
    fn matrix(&self, key: &str, found: &Numbers, rows: Option<usize>) -> Result<usize, DataError> {
        let fits = |n: usize| n > 0 && rows.is_none_or(|rows| rows == n);
        match found.shape[..] {
            [n, width] if fits(n) && width > 0 => Ok(width),
            _ => {
                let n = rows.map_or("at least 1 row".to_owned(), |n| n.to_string());
                Err(self.shape_error(key, format!("[{n}, width]"), &found.shape))
            }
        }
    }

    fn column<T: Real>(&self, key: &str, rows: usize) -> Result<Vec<T>, DataError> {
        let found = self.numbers(key)?;
        match found.shape[..] {
            [n] | [n, 1] if n == rows => Ok(found.values()),
            _ => {
                let expected = format!("[{rows}] like the observations");
                Err(self.shape_error(key, expected, &found.shape))
            }
        }
    }

    /// The matrix `key`, or the arrays `names` side by side, each below `key` or at the
    /// root: rows, width and numbers.
    fn observations(
        &self,
        key: &str,
        names: &[String],
    ) -> Result<(usize, usize, Vec<f32>), DataError> {
        if names.is_empty() {
            let found = self.numbers(key)?;
            let width = self.matrix(key, &found, None)?;
            return Ok((found.shape[0], width, found.values()));
        }
        let mut parts: Vec<(usize, Vec<f32>)> = Vec::with_capacity(names.len());
        let mut rows = None;
        for name in names {
            let inner = format!("{key}/{name}");
            // What is elsewhere is of now.
            let inside = key != "observations" || self.has(&inner);
            let place = if inside { &inner } else { name };
            let mut found = self.numbers(place)?;
            if found.shape.len() == 1 {
                found.shape.push(1);
            }
            let width = self.matrix(place, &found, rows)?;
            rows = Some(found.shape[0]);
            parts.push((width, found.values()));
        }
        let rows = rows.unwrap_or(0);
        let width = parts.iter().map(|(width, _)| width).sum();
        let mut joined = Vec::with_capacity(rows * width);
        for row in 0..rows {
            for (width, values) in &parts {
                joined.extend_from_slice(&values[row * width..][..*width]);
            }
        }
        Ok((rows, width, joined))
    }

    fn expect_width(
        &self,
        key: &str,
        values: &[f32],
        rows: usize,
        width: usize,
        expected: usize,
    ) -> Result<(), DataError> {
        if width == expected && values.len() == rows * expected {
            return Ok(());
        }
        let got = [values.len() / width.max(1), width];
        Err(self.shape_error(key, format!("[{rows}, {expected}]"), &got))
    }

    fn shape_error(&self, key: &str, expected: String, got: &[usize]) -> DataError {
        DataError::Shape {
            path: self.path.into(),
            key: key.into(),
            expected,
            got: format!("{got:?}"),
        }
    }
}

impl FlagSource for Archive<'_> {
    fn names(&self) -> Vec<String> {
        self.parts.keys().cloned().collect()
    }

    fn has(&self, name: &str) -> bool {
        self.parts.contains_key(name)
    }

    fn read_flags(&self, name: &str, rows: usize) -> Result<Vec<bool>, DataError> {
        let values = self.column::<f64>(name, rows)?;
        let flag = |(row, &got): (usize, &f64)| match got {
            0.0 => Ok(false),
            1.0 => Ok(true),
            _ => Err(DataError::Flag {
                path: self.path.into(),
                key: name.to_owned(),
                row,
                got,
            }),
        };
        values.iter().enumerate().map(flag).collect()
    }

    fn guess_flags(&self, name: &str, rows: usize, hints: &[&str]) -> Option<Vec<bool>> {
        let lower = name.to_lowercase();
        let called = hints.iter().any(|hint| lower.contains(hint));
        (called || self.numbers(name).ok()?.boolean).then_some(())?;
        self.read_flags(name, rows).ok()
    }
}

fn open(path: &Path) -> Result<ZipArchive<File>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io {
        path: path.into(),
        doing: "read the data file",
        source,
    })?;
    ZipArchive::new(file).map_err(|e| damaged(path, "archive", e.to_string()))
}

/// Whether the part whose own header is at `at` has the name that the directory gives it.
fn local_name_is(path: &Path, at: u64, name: &str) -> bool {
    // Of 30 bytes before the name, its length is in the last but 4.
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; 30];
        file.read_exact(&mut head)?;
        let length = u16::from_le_bytes([head[26], head[27]]);
        let mut own = vec![0; length.into()];
        file.read_exact(&mut own)?;
        Ok(own)
    };
    read().is_ok_and(|own| own == name.as_bytes())
}

fn damaged(path: &Path, place: &str, reason: String) -> DataError {
    DataError::Damaged {
        path: path.into(),
        place: place.into(),
        reason,
    }
}
