//! One open HDF5 file, and its arrays as checked numbers: what the readers of
//! both layouts share.

use std::{cell::Cell, path::Path};

use hdf5::{H5Type, types::TypeDescriptor};

use crate::{dataset::Layout, error::DataError};

/// Deflate packs at most 1032:1; shape declarations beyond that (and a little,
/// for small arrays) cannot be true and are refused before memory is taken.
const MAX_PACKING: u128 = 1100;
const SMALL: u128 = 1 << 16;

/// An open file and what is needed to complain about it.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) file: hdf5::File,
    pub(crate) layout: Layout,
    length: u64,
    /// Bytes of all arrays read so far: many names may be links to one array.
    declared: Cell<u128>,
}

/// A number an array can be read as.
pub(crate) trait Real: H5Type + Copy + Default + Into<f64> {}
impl Real for f32 {}
impl Real for f64 {}

impl<'a> Source<'a> {
    pub(crate) fn open(path: &'a Path, length: u64) -> Result<Self, DataError> {
        hdf5::silence_errors(true);
        // Unlocked: a finished file never changes under its name, and some file
        // systems cannot lock.
        let file = hdf5::File::with_options()
            .with_fapl(|access| access.file_locking(false))
            .open(path)
            .map_err(|e| damaged(path, "file", &e))?;
        // D4RL's arrays lie at the root, Minari's in groups, one an episode.
        let minari = !file.link_exists("observations") && file.link_exists("episode_0");
        Ok(Self {
            path,
            file,
            layout: if minari { Layout::Minari } else { Layout::D4rl },
            length,
            declared: Cell::new(0),
        })
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

    /// Whether `key` leads to a group.
    pub(crate) fn is_group(&self, key: &str) -> bool {
        self.file.group(key).is_ok()
    }

    /// The shape of the array `key`, if it is there.
    pub(crate) fn shape(&self, key: &str) -> Result<Option<Vec<usize>>, DataError> {
        let shape = |set: hdf5::Dataset| set.get_shape().map_err(|e| damaged(self.path, key, &e));
        self.find(key)?.map(shape).transpose()
    }

    pub(crate) fn if_present<T>(
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
            expected: match self.layout {
                Layout::D4rl => {
                    "observations, actions, rewards and terminals; is this a D4RL file?"
                }
                Layout::Minari => {
                    "observations, actions, rewards, terminations and truncations in every \
                     episode; write the data set again"
                }
            },
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
        let limit = |stored: u64| u128::from(stored) * MAX_PACKING + SMALL;
        let too_large = |declared, stored| DataError::TooLarge {
            path: self.path.into(),
            key: key.into(),
            declared,
            stored,
            limit: limit(stored),
        };
        let stored = set.storage_size().min(self.length);
        if declared > limit(stored) {
            return Err(too_large(declared, stored));
        }
        let all = self.declared.get().saturating_add(declared);
        if all > limit(self.length) {
            return Err(too_large(all, self.length));
        }
        self.declared.set(all);
        let count = shape.iter().product();
        let mut values = Vec::new();
        values
            .try_reserve_exact(count)
            .map_err(|_| too_large(declared, stored))?;
        values.resize(count, T::default());
        if count > 0 {
            set.read_into_raw(&mut values).map_err(fail)?;
        }
        Ok((shape, values))
    }

    /// Width and values of `[rows, width]`, all finite. Any positive number of
    /// rows if `rows` is `None`.
    pub(crate) fn matrix<T: Real>(
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
    pub(crate) fn squeezed<T: Real>(
        &self,
        key: &str,
        rows: usize,
        flags: bool,
    ) -> Result<Vec<T>, DataError> {
        let (shape, values) = self.values::<T>(key, flags)?;
        match shape[..] {
            [n] | [n, 1] if n == rows => Ok(values),
            _ => Err(self.shape_error(key, format!("[{rows}] like the observations"), &shape)),
        }
    }

    pub(crate) fn column(&self, key: &str, rows: usize) -> Result<Vec<f32>, DataError> {
        let values = self.squeezed::<f32>(key, rows, false)?;
        self.check_finite(key, 1, &values)?;
        Ok(values)
    }

    pub(crate) fn flags(&self, key: &str, rows: usize) -> Result<Vec<bool>, DataError> {
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

    pub(crate) fn shape_error(&self, key: &str, expected: String, got: &[usize]) -> DataError {
        DataError::Shape {
            path: self.path.into(),
            key: key.into(),
            expected,
            got: format!("{got:?}"),
        }
    }
}

pub(crate) fn damaged(path: &Path, place: &str, error: &hdf5::Error) -> DataError {
    DataError::Damaged {
        path: path.into(),
        place: place.into(),
        reason: error.to_string(),
    }
}
