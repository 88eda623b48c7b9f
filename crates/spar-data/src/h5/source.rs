//! One open HDF5 file, and its arrays with types and shapes checked: what the
//! readers of both layouts share.

use std::{cell::Cell, fs::File, path::Path};

use hdf5::{plist::dataset_create::Layout as Storage, types::TypeDescriptor};

use spar_core::printable;

use super::{alias::Alias, array::Array, joined::Joined, plugins};
use crate::{dataset::Layout, elements::fits_stored, error::DataError, flags::FlagSource};

/// Bytes of the largest number that is read.
const LARGEST: usize = 8;

/// An open file and what is needed to complain about it.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) file: hdf5::File,
    /// The same, without the library.
    pub(crate) bytes: File,
    pub(crate) layout: Layout,
    pub(crate) length: u64,
    /// Bytes of all arrays opened so far: many names may be links to one array.
    declared: Cell<u128>,
    /// The name that the library opened the file by.
    _alias: Alias,
}

impl<'a> Source<'a> {
    pub(crate) fn open(path: &'a Path, length: u64) -> Result<Self, DataError> {
        plugins::refuse();
        hdf5::silence_errors(true);
        let bytes = File::open(path).map_err(|source| DataError::Io {
            path: path.into(),
            doing: "read the data file",
            source,
        })?;
        // Unlocked: a finished file never changes under its name, and some file
        // systems cannot lock.
        let alias = Alias::of(path).map_err(|source| DataError::Io {
            path: path.into(),
            doing: "give the file a name that the HDF5 library takes",
            source,
        })?;
        let file = hdf5::File::with_options()
            .with_fapl(|access| access.file_locking(false))
            .open(alias.path())
            .map_err(|e| damaged(path, "file", &e))?;
        // D4RL's arrays lie at the root, Minari's in groups, one an episode.
        let minari = !file.link_exists("observations") && file.link_exists("episode_0");
        Ok(Self {
            path,
            file,
            bytes,
            layout: if minari { Layout::Minari } else { Layout::D4rl },
            length,
            declared: Cell::new(0),
            _alias: alias,
        })
    }

    /// Whether every part of the key is there.
    pub(crate) fn exists(&self, key: &str) -> bool {
        let mut ends = key.match_indices('/').map(|(at, _)| at).chain([key.len()]);
        ends.all(|end| self.file.link_exists(&key[..end]))
    }

    /// The array at `key`, or `None` if some part of the key is absent.
    fn find(&self, key: &str) -> Result<Option<hdf5::Dataset>, DataError> {
        if !self.exists(key) {
            return Ok(None);
        }
        let fail = |e: hdf5::Error| damaged(self.path, key, &e);
        let elsewhere = |what| DataError::Elsewhere {
            path: self.path.into(),
            key: key.into(),
            what,
        };
        let found = self.file.dataset(key).map_err(fail)?;
        // The identity is this file's hash: nothing may come from another one.
        if found.filename() != self.file.filename() {
            return Err(elsewhere("a link to"));
        }
        let properties = found.create_plist().map_err(fail)?;
        if properties.get_layout().map_err(fail)? == Storage::Virtual {
            return Err(elsewhere("a virtual array, made of"));
        }
        if !properties.get_external().map_err(fail)?.is_empty() {
            return Err(elsewhere("stored in"));
        }
        Ok(Some(found))
    }

    /// The observations at `key`: the array there, or, where `names` are given, the arrays
    /// of these names in the group there, else at the root, side by side.
    pub(crate) fn joined(
        &'a self,
        key: &str,
        names: &[String],
        rows: Option<usize>,
        width: Option<usize>,
    ) -> Result<Joined<'a>, DataError> {
        if names.is_empty() {
            if self.is_group(key) {
                return Err(self.apart(key));
            }
            return self.matrix(key, rows, width).map(Joined::from);
        }
        let mut parts: Vec<Array<'a>> = Vec::with_capacity(names.len());
        for name in names {
            let inner = format!("{key}/{name}");
            // What is elsewhere is of now.
            let outside = !key.starts_with("next_") && !self.exists(&inner);
            let place = if outside && self.exists(name) {
                name
            } else {
                &inner
            };
            let rows = rows.or(parts.first().map(Array::rows));
            parts.push(self.part(place, rows)?);
        }
        let joined = Joined::of(parts);
        match width {
            Some(expected) if expected != joined.width() => Err(self.shape_error(
                key,
                format!("{expected} columns in all, like the observations"),
                &[joined.rows(), joined.width()],
            )),
            _ => Ok(joined),
        }
    }

    /// The array `[rows]` or `[rows, width]` at `key`, of numbers.
    fn part(&'a self, key: &str, rows: Option<usize>) -> Result<Array<'a>, DataError> {
        self.array(
            key,
            false,
            |shape| {
                let fits = |n: usize| n > 0 && rows.is_none_or(|rows| rows == n);
                matches!(shape, &[n] if fits(n)) || matches!(shape, &[n, w] if fits(n) && w > 0)
            },
            || {
                let n = rows.map_or("at least 1 row".into(), |n| n.to_string());
                format!("[{n}] or [{n}, width]")
            },
        )
    }

    /// The bounds of `width` action components that the file declares as
    /// `metadata/action_low` and `metadata/action_high`, one number each or one for all.
    pub(crate) fn declared_bounds(&'a self, width: usize) -> Option<Vec<(f32, f32)>> {
        let read = |key: &str| {
            let fits = |shape: &[usize]| matches!(shape, [] | [1]) || shape == [width];
            self.shape(key).ok()?.filter(|shape| fits(shape))?;
            let array = self.array(key, false, fits, String::new).ok()?;
            let mut values = array.unchecked::<f32>().ok()?;
            if values.len() == 1 {
                values.resize(width, values[0]);
            }
            Some(values)
        };
        let (low, high) = (read("metadata/action_low")?, read("metadata/action_high")?);
        Some(low.into_iter().zip(high).collect())
    }

    /// The error of a group where an array was expected.
    fn apart(&self, key: &str) -> DataError {
        let group = self.file.group(key);
        let names = group.and_then(|group| group.member_names());
        DataError::Apart {
            path: self.path.into(),
            key: key.into(),
            names: printable(&names.unwrap_or_default().join(",")).into_owned(),
        }
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

    /// The numeric array `key` if `accepted(shape)`, after checking that its type is a
    /// number's (or a flag's) and that its shape is possible; `expected` says what
    /// shape would have done.
    fn array(
        &'a self,
        key: &str,
        flags: bool,
        accepted: impl Fn(&[usize]) -> bool,
        expected: impl Fn() -> String,
    ) -> Result<Array<'a>, DataError> {
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
        let kind = self.kind(key, &set, flags)?;
        let shape = set.get_shape().map_err(fail)?;
        let element = kind.size();
        let bytes = |dims: &[usize]| {
            dims.iter()
                .fold(element as u128, |n, &d| n.saturating_mul(d as u128))
        };
        // Whole chunks are unpacked, so their shape must be possible too.
        let chunk = set.chunk().unwrap_or_default();
        let declared = bytes(&shape).max(bytes(&chunk));
        let stored = set.storage_size().min(self.length);
        let all = self.declared.get().saturating_add(declared);
        fits_stored(self.path, key, declared, stored, all, self.length)?;
        self.declared.set(all);
        if !accepted(&shape) {
            return Err(self.shape_error(key, expected(), &shape));
        }
        Array::new(self, key, set, &kind, &shape)
    }

    /// The type of an array's numbers.
    fn kind(
        &self,
        key: &str,
        set: &hdf5::Dataset,
        flags: bool,
    ) -> Result<TypeDescriptor, DataError> {
        let fail = |e: hdf5::Error| damaged(self.path, key, &e);
        let wrong = |got: String| DataError::Type {
            path: self.path.into(),
            key: key.into(),
            expected: if flags {
                "bool, float or integer flags"
            } else {
                "floats or integers of at most 64 bits"
            },
            got,
        };
        let dtype = set.dtype().map_err(fail)?;
        // Larger ones are not asked what they are: hostile types nest, and values of
        // an enumeration are handed over in 64 bits.
        if dtype.size() > LARGEST {
            return Err(wrong(format!("values of {} bytes", dtype.size())));
        }
        let kind = dtype
            .to_descriptor()
            .map_err(|e| wrong(format!("another type ({e})")))?;
        match kind {
            TypeDescriptor::Float(_) | TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
                Ok(kind)
            }
            TypeDescriptor::Boolean | TypeDescriptor::Enum(_) if flags => Ok(kind),
            other => Err(wrong(other.to_string())),
        }
    }

    /// The array `[rows, width]` at `key`; any positive number of rows if `rows` is
    /// `None`, and any width if `width` is.
    pub(crate) fn matrix(
        &'a self,
        key: &str,
        rows: Option<usize>,
        width: Option<usize>,
    ) -> Result<Array<'a>, DataError> {
        let fits = |wanted: Option<usize>, n| n > 0 && wanted.is_none_or(|wanted| wanted == n);
        self.array(
            key,
            false,
            |shape| matches!(shape, &[n, w] if fits(rows, n) && fits(width, w)),
            || {
                let n = rows.map_or("at least 1 row".into(), |n| n.to_string());
                let w = width.map_or("width".into(), |w| w.to_string());
                format!("[{n}, {w}]")
            },
        )
    }

    /// [`Self::matrix`], or `None` if the key is absent.
    pub(crate) fn matrix_if_present(
        &'a self,
        key: &str,
        rows: Option<usize>,
        width: Option<usize>,
    ) -> Result<Option<Array<'a>>, DataError> {
        if !self.exists(key) {
            return Ok(None);
        }
        self.matrix(key, rows, width).map(Some)
    }

    /// The array `[rows]` or `[rows, 1]` at `key`, of numbers.
    pub(crate) fn column(&'a self, key: &str, rows: usize) -> Result<Array<'a>, DataError> {
        self.squeezed(key, rows, false)
    }

    /// The same, of flags.
    pub(crate) fn flags(&'a self, key: &str, rows: usize) -> Result<Array<'a>, DataError> {
        self.squeezed(key, rows, true)
    }

    /// The flag at `key`: one number, or an array of one.
    pub(crate) fn flag(&'a self, key: &str) -> Result<bool, DataError> {
        let one = |shape: &[usize]| matches!(shape, [] | [1] | [1, 1]);
        let array = self.array(key, true, one, || "[]".to_owned())?;
        match array.unchecked::<f64>()?[..] {
            [0.0] => Ok(false),
            [1.0] => Ok(true),
            [got, ..] => Err(DataError::Flag {
                path: self.path.into(),
                key: key.into(),
                row: 0,
                got,
            }),
            [] => Err(self.damaged(key, "it has no value".to_owned())),
        }
    }

    fn squeezed(&'a self, key: &str, rows: usize, flags: bool) -> Result<Array<'a>, DataError> {
        self.array(
            key,
            flags,
            |shape| matches!(shape, &[n] | &[n, 1] if n == rows && n > 0),
            || format!("[{rows}] like the observations"),
        )
    }

    pub(crate) fn shape_error(&self, key: &str, expected: String, got: &[usize]) -> DataError {
        DataError::Shape {
            path: self.path.into(),
            key: key.into(),
            expected,
            got: format!("{got:?}"),
        }
    }

    pub(crate) fn damaged(&self, key: &str, reason: String) -> DataError {
        DataError::Damaged {
            path: self.path.into(),
            place: key.into(),
            reason,
        }
    }
}

impl FlagSource for Source<'_> {
    fn names(&self) -> Vec<String> {
        self.file.member_names().unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.exists(name)
    }

    fn read_flags(&self, name: &str, rows: usize) -> Result<Vec<bool>, DataError> {
        self.flags(name, rows)?.flags()
    }

    fn guess_flags(&self, name: &str, rows: usize, hints: &[&str]) -> Option<Vec<bool>> {
        let set = self.find(name).ok()??;
        let flags = matches!(
            self.kind(name, &set, true).ok()?,
            TypeDescriptor::Boolean | TypeDescriptor::Enum(_)
        );
        let lower = name.to_lowercase();
        if !flags && !hints.iter().any(|hint| lower.contains(hint)) {
            return None;
        }
        self.flags(name, rows).ok()?.flags().ok()
    }
}

pub(crate) fn damaged(path: &Path, place: &str, error: &hdf5::Error) -> DataError {
    DataError::Damaged {
        path: path.into(),
        place: place.into(),
        reason: error.to_string(),
    }
}
