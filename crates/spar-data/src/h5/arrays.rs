//! Arrays of an HDF5 file that is no data set, as demonstrations that a recipe replays.

use std::path::Path;

use crate::{error::DataError, read::Checked};

/// The arrays of `path` with these keys and shapes, `[rows, width]`, flat and in double
/// precision; one of width 1 may have one dimension. The caller vouches for the file, as by
/// its hash: no other process reads it first.
///
/// # Errors
/// If the file cannot be read, an array is absent, has another shape or holds what is no
/// finite number.
pub fn arrays(path: &Path, shapes: &[(&str, [usize; 2])]) -> Result<Vec<Vec<f64>>, DataError> {
    let checked = Checked::unrehearsed(path)?;
    let source = checked.open()?;
    let read = shapes.iter().map(|&(key, [rows, width])| match width {
        1 => source.column(key, rows)?.read(),
        _ => source.matrix(key, Some(rows), Some(width))?.read(),
    });
    read.collect()
}
