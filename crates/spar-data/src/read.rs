//! HDF5 in, checked arrays out.

use std::path::Path;

use hdf5::{H5Type, types::TypeDescriptor};
use spar_core::{EnvId, files::sha256_file};

use crate::{dataset::Dataset, error::DataError, identity::identify, metadata, precheck::precheck};

/// How much of a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    Everything,
    Training,
}

/// Deflate packs at most 1032:1; shape declarations beyond that (and a little,
/// for small arrays) cannot be true and are refused before memory is taken.
const MAX_PACKING: u128 = 1100;
const SMALL: u128 = 1 << 16;

pub(crate) fn read_file(
    path: &Path,
    env: Option<EnvId>,
    parts: Parts,
) -> Result<Dataset, DataError> {
    let length = precheck(path)?;
    let sha256 = sha256_file(path).map_err(|source| DataError::Io {
        path: path.into(),
        doing: "read the data file",
        source,
    })?;
    let source = Source::open(path, length)?;

    let (obs_dim, observations) = source.matrix::<f32>("observations", None)?;
    let rows = observations.len() / obs_dim;
    let (act_dim, actions) = source.matrix::<f32>("actions", Some(rows))?;
    if let Some(env) = env {
        let widths = [
            ("observations", env.obs_dim(), obs_dim),
            ("actions", env.act_dim(), act_dim),
        ];
        for (key, expected, got) in widths {
            if expected != got {
                return Err(DataError::WrongEnv {
                    path: path.into(),
                    key,
                    env,
                    expected,
                    got,
                });
            }
        }
    }
    let rewards = source.column("rewards", rows)?;
    let terminals = source.flags("terminals", rows)?;
    let timeouts = source.if_present("timeouts", |key| source.flags(key, rows))?;

    let (mut next_observations, mut qpos, mut qvel) = (None, None, None);
    if parts == Parts::Everything {
        let matrix64 = |key: &str| Ok(source.matrix::<f64>(key, Some(rows))?.1);
        next_observations = source.if_present("next_observations", |key| {
            let (width, values) = source.matrix::<f32>(key, Some(rows))?;
            if width != obs_dim {
                let got = [rows, width];
                return Err(source.shape_error(key, format!("[{rows}, {obs_dim}]"), &got));
            }
            Ok(values)
        })?;
        qpos = source.if_present("infos/qpos", matrix64)?;
        qvel = source.if_present("infos/qvel", matrix64)?;
    }

    let metadata = metadata::read(path, &source.file);
    let (identity, notes) = identify(path, sha256, rows, &metadata);
    Ok(Dataset {
        obs_dim,
        act_dim,
        observations,
        actions,
        rewards,
        terminals,
        timeouts,
        next_observations,
        qpos,
        qvel,
        metadata,
        identity,
        notes,
    })
}

/// An open file and what is needed to complain about it.
struct Source<'a> {
    path: &'a Path,
    length: u64,
    file: hdf5::File,
}

/// A number an array can be read as.
trait Real: H5Type + Copy + Default + Into<f64> {}
impl Real for f32 {}
impl Real for f64 {}

impl<'a> Source<'a> {
    fn open(path: &'a Path, length: u64) -> Result<Self, DataError> {
        hdf5::silence_errors(true);
        // Unlocked: a finished file never changes under its name, and some file
        // systems cannot lock.
        let file = hdf5::File::with_options()
            .with_fapl(|access| access.file_locking(false))
            .open(path)
            .map_err(|e| damaged(path, "file", &e))?;
        Ok(Self { path, length, file })
    }

    /// The array at `key`, or `None` if some part of the key is absent.
    fn find(&self, key: &str) -> Result<Option<hdf5::Dataset>, DataError> {
        let ends = key.match_indices('/').map(|(at, _)| at).chain([key.len()]);
        for end in ends {
            if !self.file.link_exists(&key[..end]) {
                return Ok(None);
            }
        }
        let found = self.file.dataset(key);
        found.map(Some).map_err(|e| damaged(self.path, key, &e))
    }

    fn if_present<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, DataError>,
    ) -> Result<Option<T>, DataError> {
        self.find(key)?.map(|_| read(key)).transpose()
    }

    /// Shape and values of the numeric array `key`, after checking that they
    /// are numbers (or flags, where `flags`) and that their size is possible.
    fn values<T: Real>(&self, key: &str, flags: bool) -> Result<(Vec<usize>, Vec<T>), DataError> {
        let fail = |e: hdf5::Error| damaged(self.path, key, &e);
        let set = self.find(key)?.ok_or_else(|| DataError::MissingKey {
            path: self.path.into(),
            key: key.into(),
        })?;
        let kind = set.dtype().and_then(|t| t.to_descriptor()).map_err(fail)?;
        let fits = match kind {
            TypeDescriptor::Float(_) | TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
                true
            }
            TypeDescriptor::Boolean | TypeDescriptor::Enum(_) => flags,
            _ => false,
        };
        if !fits {
            return Err(DataError::Type {
                path: self.path.into(),
                key: key.into(),
                expected: if flags {
                    "bool, float or integer flags"
                } else {
                    "floats or integers"
                },
                got: kind.to_string(),
            });
        }
        let shape = set.get_shape().map_err(fail)?;
        let element = kind.size();
        let bytes = |dims: &[usize]| {
            dims.iter()
                .fold(element as u128, |n, &d| n.saturating_mul(d as u128))
        };
        // The library unpacks whole chunks, so their shape must be possible too.
        let chunk = set.chunk().unwrap_or_default();
        let declared = bytes(&shape).max(bytes(&chunk));
        let stored = set.storage_size().min(self.length);
        let limit = u128::from(stored) * MAX_PACKING + SMALL;
        let too_large = || DataError::TooLarge {
            path: self.path.into(),
            key: key.into(),
            declared,
            stored,
            limit,
        };
        if declared > limit {
            return Err(too_large());
        }
        let count = shape.iter().product();
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| too_large())?;
        values.resize(count, T::default());
        if count > 0 {
            set.read_into_raw(&mut values).map_err(fail)?;
        }
        Ok((shape, values))
    }

    /// Width and values of `[rows, width]`, all finite. Any positive number of
    /// rows if `rows` is `None`.
    fn matrix<T: Real>(
        &self,
        key: &str,
        rows: Option<usize>,
    ) -> Result<(usize, Vec<T>), DataError> {
        let (shape, values) = self.values::<T>(key, false)?;
        match shape[..] {
            [n, width] if n > 0 && width > 0 && rows.is_none_or(|rows| rows == n) => {
                self.check_finite(key, width, &values)?;
                Ok((width, values))
            }
            _ => {
                let n = rows.map_or("at least 1 row".into(), |n| n.to_string());
                Err(self.shape_error(key, format!("[{n}, width]"), &shape))
            }
        }
    }

    /// Values of `[rows]` or `[rows, 1]`.
    fn squeezed<T: Real>(&self, key: &str, rows: usize, flags: bool) -> Result<Vec<T>, DataError> {
        let (shape, values) = self.values::<T>(key, flags)?;
        match shape[..] {
            [n] | [n, 1] if n == rows => Ok(values),
            _ => Err(self.shape_error(key, format!("[{rows}] like the observations"), &shape)),
        }
    }

    fn column(&self, key: &str, rows: usize) -> Result<Vec<f32>, DataError> {
        let values = self.squeezed::<f32>(key, rows, false)?;
        self.check_finite(key, 1, &values)?;
        Ok(values)
    }

    fn flags(&self, key: &str, rows: usize) -> Result<Vec<bool>, DataError> {
        let values = self.squeezed::<f64>(key, rows, true)?;
        let flag = |(row, &got): (usize, &f64)| match got {
            0.0 => Ok(false),
            1.0 => Ok(true),
            _ => Err(DataError::Flag {
                path: self.path.into(),
                key: key.into(),
                row,
                got,
            }),
        };
        values.iter().enumerate().map(flag).collect()
    }

    fn check_finite<T: Real>(
        &self,
        key: &str,
        width: usize,
        values: &[T],
    ) -> Result<(), DataError> {
        let bad = values.iter().position(|&x| !x.into().is_finite());
        bad.map_or(Ok(()), |at| {
            Err(DataError::NonFinite {
                path: self.path.into(),
                key: key.into(),
                row: at / width,
                got: values[at].into(),
            })
        })
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

fn damaged(path: &Path, place: &str, error: &hdf5::Error) -> DataError {
    DataError::Damaged {
        path: path.into(),
        place: place.into(),
        reason: error.to_string(),
    }
}
