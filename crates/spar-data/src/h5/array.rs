//! One array of an open file, its shape and type checked: read whole, or row by row
//! in the memory of a band.

use std::ops::Range;

use hdf5::types::TypeDescriptor;

use super::{
    packed::{Plan, Scratch, plan},
    source::{Source, damaged},
};
use crate::{elements::Real, error::DataError, remarks};

/// An array `[rows, width]`, neither of which is 0; a vector's width is 1.
pub(crate) struct Array<'a> {
    source: &'a Source<'a>,
    key: String,
    set: hdf5::Dataset,
    rows: usize,
    width: usize,
    /// Whether its shape is `[rows]`.
    flat: bool,
    integers: bool,
    plan: Plan,
}

impl<'a> Array<'a> {
    /// An array of a shape that has been accepted.
    pub(crate) fn new(
        source: &'a Source<'a>,
        key: &str,
        set: hdf5::Dataset,
        kind: &TypeDescriptor,
        shape: &[usize],
    ) -> Result<Self, DataError> {
        let rows = shape.first().copied().unwrap_or(1);
        let width = shape.get(1).copied().unwrap_or(1);
        let plan = plan(&set, kind, [rows, width], &source.bytes, source.length)
            .map_err(|reason| source.damaged(key, reason))?;
        if let Plan::Nobody(filters) = plan {
            return Err(DataError::Packing {
                path: source.path.into(),
                key: key.into(),
                got: filters,
                expected: "gzip or none",
            });
        }
        Ok(Self {
            source,
            key: key.to_owned(),
            set,
            rows,
            width,
            flat: shape.len() == 1,
            integers: matches!(
                kind,
                TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_)
            ),
            plan,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether its numbers are stored as integers.
    pub(crate) fn holds_integers(&self) -> bool {
        self.integers
    }

    /// Rows that are read at a time.
    fn band_rows(&self) -> usize {
        match &self.plan {
            Plan::Ours(packed) => packed.band_rows(),
            Plan::Library(rows) => *rows,
            Plan::Nobody(_) => self.rows,
        }
    }

    fn bands(&self) -> usize {
        self.rows.div_ceil(self.band_rows())
    }

    /// Every number, row by row, all finite.
    pub(crate) fn read<T: Real>(&self) -> Result<Vec<T>, DataError> {
        let values = self.unchecked()?;
        self.check_finite(0, &values)?;
        Ok(values)
    }

    /// Every number, finite or not.
    pub(crate) fn unchecked<T: Real>(&self) -> Result<Vec<T>, DataError> {
        let count = self.rows * self.width;
        let mut values = Vec::new();
        values
            .try_reserve_exact(count)
            .map_err(|e| self.source.damaged(&self.key, e.to_string()))?;
        values.resize(count, T::default());
        match &self.plan {
            Plan::Ours(packed) => packed
                .read(&self.source.bytes, &mut values)
                .map_err(|reason| self.source.damaged(&self.key, reason))?,
            _ => {
                let read = self.set.read_into_raw(&mut values);
                read.map_err(|e| damaged(self.source.path, &self.key, &e))?;
            }
        }
        Ok(values)
    }

    /// Every number as a flag, 0 or 1.
    pub(crate) fn flags(&self) -> Result<Vec<bool>, DataError> {
        let mut flags = Vec::with_capacity(self.rows * self.width);
        let mut scratch = Scratch::new();
        for band in 0..self.bands() {
            for got in self.band::<f64>(band, &mut scratch)? {
                flags.push(match got {
                    0.0 => false,
                    1.0 => true,
                    _ => {
                        return Err(DataError::Flag {
                            path: self.source.path.into(),
                            key: self.key.clone(),
                            row: flags.len(),
                            got,
                        });
                    }
                });
            }
        }
        Ok(flags)
    }

    /// Has the library read what it is going to read, for the process that finds out
    /// whether it can.
    pub(crate) fn rehearse(&self) -> Result<(), DataError> {
        if matches!(self.plan, Plan::Library(_)) {
            let mut scratch = Scratch::new();
            for band in 0..self.bands() {
                self.band::<f64>(band, &mut scratch)?;
            }
        }
        Ok(())
    }

    fn band<T: Real>(&self, band: usize, scratch: &mut Scratch<T>) -> Result<Vec<T>, DataError> {
        let from = band * self.band_rows();
        let to = self.rows.min(from.saturating_add(self.band_rows()));
        let failed = |e: hdf5::Error| damaged(self.source.path, &self.key, &e);
        let values = match &self.plan {
            Plan::Ours(packed) => {
                let mut values = vec![T::default(); (to - from) * self.width];
                packed
                    .band(&self.source.bytes, band, &mut values, scratch)
                    .map_err(|reason| self.source.damaged(&self.key, reason))?;
                values
            }
            _ if self.flat => {
                let part = self.set.read_slice_1d::<T, _>(from..to);
                part.map_err(failed)?.into_raw_vec_and_offset().0
            }
            _ => {
                let part = self.set.read_slice_2d::<T, _>((from..to, ..));
                part.map_err(failed)?.into_raw_vec_and_offset().0
            }
        };
        Ok(values)
    }

    fn check_finite<T: Real>(&self, first_row: usize, values: &[T]) -> Result<(), DataError> {
        remarks::check_finite_from(self.source.path, &self.key, values, self.width, first_row)
    }

    /// Its rows from the first to the last, in the memory of a band.
    pub(crate) fn cursor<T: Real>(self) -> Cursor<'a, T> {
        Cursor {
            array: self,
            band: usize::MAX,
            values: Vec::new(),
            scratch: Scratch::new(),
        }
    }
}

/// The rows of an array, of which one band is held.
pub(crate) struct Cursor<'a, T> {
    array: Array<'a>,
    band: usize,
    values: Vec<T>,
    scratch: Scratch<T>,
}

impl<T: Real> Cursor<'_, T> {
    /// Adds some rows, all finite, to `out`. Cheap if they do not lie before those of
    /// the last call.
    pub(crate) fn append(&mut self, rows: Range<usize>, out: &mut Vec<T>) -> Result<(), DataError> {
        let tall = self.array.band_rows();
        let mut row = rows.start;
        while row < rows.end {
            let band = row / tall;
            if band != self.band {
                self.values = Vec::new();
                self.values = self.array.band(band, &mut self.scratch)?;
                self.array.check_finite(band * tall, &self.values)?;
                self.band = band;
            }
            let stop = rows.end.min((band + 1).saturating_mul(tall));
            let width = self.array.width;
            let part = (row - band * tall) * width..(stop - band * tall) * width;
            out.extend_from_slice(&self.values[part]);
            row = stop;
        }
        Ok(())
    }
}
