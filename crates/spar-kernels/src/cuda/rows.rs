//! The input of a pass, gathered from its parts by the kernel, and where its actions go.

use super::{
    Arg, CudaError, Device, Kernels,
    device::{InputParts, int},
};
use crate::MlpShape;

/// One of up to three parts that stand side by side in the input.
#[derive(Debug)]
pub struct Part<'a, B> {
    /// `[rows / repeat, width]`.
    pub values: &'a B,
    /// Columns.
    pub width: usize,
    /// Input rows that each of its rows stands for in turn: K for the states of
    /// K candidates each, else one.
    pub repeat: usize,
}

impl<'a, B> Part<'a, B> {
    /// A part each of whose rows, `width` columns wide, stands for one row.
    pub fn new(values: &'a B, width: usize) -> Self {
        Self::repeated(values, width, 1)
    }

    /// A part each of whose rows stands for `repeat` rows in turn.
    pub fn repeated(values: &'a B, width: usize, repeat: usize) -> Self {
        Self {
            values,
            width,
            repeat,
        }
    }
}

/// The input of a pass, gathered from its parts by the kernel.
#[derive(Debug)]
pub struct Rows<'a, B> {
    /// Number of rows.
    pub rows: usize,
    /// At least one part, at most three.
    pub parts: &'a [Part<'a, B>],
}

impl<'a, B> Rows<'a, B> {
    /// `rows` rows made of `parts`.
    pub fn new(rows: usize, parts: &'a [Part<'a, B>]) -> Self {
        Self { rows, parts }
    }
}

/// Where a forward pass puts the actions of its residuals.
#[derive(Debug)]
pub struct Actions<'a, B> {
    /// `b`, `[rows / repeat, output]`.
    pub base: &'a B,
    /// Rows that each row of `base` stands for in turn.
    pub repeat: usize,
    /// `clip(b + out, -1, 1)`, `[rows, output]`.
    pub actions: &'a mut B,
}

impl<D: Device> Kernels<D> {
    /// The arguments that describe an input.
    pub(super) fn input<'a>(
        &self,
        shape: &MlpShape,
        input: &Rows<'a, D::Buffer>,
    ) -> Result<[Arg<'a, D::Buffer>; 4], CudaError> {
        let &Rows { rows, parts } = input;
        let width: usize = parts.iter().map(|part| part.width).sum();
        if rows == 0 || parts.len() > 3 || width != shape.input {
            return Err(CudaError::Shape(format!(
                "an input of {rows} rows and {width} columns in {} parts; expected at least one \
                 row, {} columns and at most 3 parts",
                parts.len(),
                shape.input
            )));
        }
        let mut spec = InputParts {
            width: [0; 3],
            repeat: [1; 3],
        };
        let mut args = [Arg::Null, Arg::Null, Arg::Null, Arg::Null];
        for (i, part) in parts.iter().enumerate() {
            let distinct = distinct_rows(rows, part.repeat)?;
            self.check("part of an input", part.values, distinct * part.width)?;
            spec.width[i] = int("width of an input", part.width)?;
            spec.repeat[i] = int("repetitions", part.repeat)?;
            args[i + 1] = Arg::Read(part.values);
        }
        args[0] = Arg::Input(spec);
        Ok(args)
    }
}

/// Rows of a part whose rows stand for `repeat` rows each.
pub(super) fn distinct_rows(rows: usize, repeat: usize) -> Result<usize, CudaError> {
    if repeat == 0 || !rows.is_multiple_of(repeat) {
        return Err(CudaError::Shape(format!(
            "{rows} rows are not {repeat} for each"
        )));
    }
    Ok(rows / repeat)
}
