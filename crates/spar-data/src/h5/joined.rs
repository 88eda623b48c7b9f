//! Arrays side by side as one: observations that a file keeps apart by what they are of.

use std::ops::Range;

use super::array::{Array, Cursor};
use crate::error::DataError;

/// Arrays of as many rows, whose columns follow each other; at least one.
pub(crate) struct Joined<'a> {
    parts: Vec<Array<'a>>,
}

impl<'a> From<Array<'a>> for Joined<'a> {
    fn from(array: Array<'a>) -> Self {
        Self { parts: vec![array] }
    }
}

impl<'a> Joined<'a> {
    /// Of `parts`, which have as many rows and are not none.
    pub(crate) fn of(parts: Vec<Array<'a>>) -> Self {
        Self { parts }
    }

    pub(crate) fn rows(&self) -> usize {
        self.parts[0].rows()
    }

    pub(crate) fn width(&self) -> usize {
        self.parts.iter().map(Array::width).sum()
    }

    /// Every number, row by row, all finite.
    pub(crate) fn read(&self) -> Result<Vec<f32>, DataError> {
        if let [only] = &self.parts[..] {
            return only.read();
        }
        let width = self.width();
        let mut all = vec![0.0; self.rows() * width];
        let mut left = 0;
        for part in &self.parts {
            let values = part.read::<f32>()?;
            let rows = all.chunks_exact_mut(width);
            for (to, from) in rows.zip(values.chunks_exact(part.width())) {
                to[left..left + from.len()].copy_from_slice(from);
            }
            left += part.width();
        }
        Ok(all)
    }

    /// Has the library read what it is going to read.
    pub(crate) fn rehearse(&self) -> Result<(), DataError> {
        self.parts.iter().try_for_each(Array::rehearse)
    }

    /// Its rows from the first to the last, in the memory of a band.
    pub(crate) fn cursor(self) -> JoinedCursor<'a> {
        let widths = self.parts.iter().map(Array::width).collect();
        JoinedCursor {
            parts: self.parts.into_iter().map(Array::cursor).collect(),
            widths,
            part: Vec::new(),
        }
    }
}

/// The rows of joined arrays.
pub(crate) struct JoinedCursor<'a> {
    parts: Vec<Cursor<'a, f32>>,
    widths: Vec<usize>,
    part: Vec<f32>,
}

impl JoinedCursor<'_> {
    /// Adds some rows, all finite, to `out`; see [`Cursor::append`].
    pub(crate) fn append(
        &mut self,
        rows: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        if let [only] = &mut self.parts[..] {
            return only.append(rows, out);
        }
        let width: usize = self.widths.iter().sum();
        let from = out.len();
        out.resize(from + rows.len() * width, 0.0);
        let mut left = 0;
        for (cursor, &wide) in self.parts.iter_mut().zip(&self.widths) {
            self.part.clear();
            cursor.append(rows.clone(), &mut self.part)?;
            let to = out[from..].chunks_exact_mut(width);
            for (to, from) in to.zip(self.part.chunks_exact(wide)) {
                to[left..left + wide].copy_from_slice(from);
            }
            left += wide;
        }
        Ok(())
    }
}
