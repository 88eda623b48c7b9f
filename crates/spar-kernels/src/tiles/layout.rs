//! Numbers split into bf16 and laid out in the tiles of a product's two sides.
//!
//! A tile of the left side has 16 rows of 16 pairs along the inner dimension, one of the
//! right side the pairs of 16 columns. The same numbers stand in both as each other's
//! transpose, so that two functions (`rows_of`, `pairs_of`) and a transpose make all four
//! kinds: rows and columns of what is stored by rows, and of its transpose. What a matrix
//! lacks of whole tiles is zero.

use super::{BLOCK, DEPTH, SIDE, Terms, Tile};
use crate::{isa::Isa, matmul::transpose, vectorize::vectorized};

/// A matrix that is laid out: its size in tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    terms: Terms,
    /// Rows of a left side, columns of a right one.
    outer: usize,
    /// Numbers of the inner dimension.
    inner: usize,
}

impl Split {
    /// Of `outer` rows or columns of `inner` numbers each.
    pub(crate) fn new(terms: Terms, outer: usize, inner: usize) -> Self {
        Self {
            terms,
            outer,
            inner,
        }
    }

    /// Products of tiles to a block.
    pub(super) fn steps(self) -> usize {
        self.inner.div_ceil(DEPTH)
    }

    /// Tiles to 16 rows or columns.
    pub(super) fn strip(self) -> usize {
        self.steps() * self.terms.parts()
    }

    /// Tiles in all: of whole blocks, so that two strips of rows always stand together.
    pub(crate) fn tiles(self) -> usize {
        self.outer.div_ceil(BLOCK) * 2 * self.strip()
    }
}

/// The bits of `x` rounded to the nearest bf16, ties to even.
#[inline(always)]
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    // A NaN must not round up to an infinity, or over it to a number.
    if x.is_nan() { 0x7fc0 } else { rounded }
}

/// `hi` and `lo` of `x`, the first alone if that is all `terms` needs.
#[inline(always)]
fn split(x: f32, terms: Terms) -> [u32; 2] {
    let hi = round(x);
    match terms {
        Terms::One => [hi, 0],
        // Exact: the rounding error of 8 bits is a multiple of the last of 24.
        Terms::Three => [hi, round(x - f32::from_bits(hi << 16))],
    }
}

/// The first `count` of `from`, and zeros.
#[inline(always)]
fn padded<const N: usize>(from: &[f32], count: usize) -> [f32; N] {
    let mut values = [0.0; N];
    if count == N {
        values.copy_from_slice(&from[..N]);
    } else {
        values[..count].copy_from_slice(&from[..count]);
    }
    values
}

/// Pairs along the rows of the region of `size` at the start of `data`, whose rows lie
/// `stride` apart: at most 16 rows of 32. `put` takes part, row and pairs.
#[inline(always)]
fn rows_of(
    terms: Terms,
    data: &[f32],
    stride: usize,
    size: (usize, usize),
    mut put: impl FnMut(usize, usize, [u32; SIDE]),
) {
    for i in 0..SIDE {
        let values: [f32; DEPTH] = match i < size.0 {
            true => padded(&data[i * stride..], size.1),
            false => [0.0; DEPTH],
        };
        let mut parts = [[0; SIDE]; 2];
        for k in 0..SIDE {
            let (a, b) = (split(values[2 * k], terms), split(values[2 * k + 1], terms));
            parts[0][k] = a[0] | b[0] << 16;
            parts[1][k] = a[1] | b[1] << 16;
        }
        for (part, pairs) in parts.into_iter().take(terms.parts()).enumerate() {
            put(part, i, pairs);
        }
    }
}

/// Pairs down the columns of such a region: at most 32 rows of 16. `put` takes part, pair of
/// rows and pairs.
#[inline(always)]
fn pairs_of(
    terms: Terms,
    data: &[f32],
    stride: usize,
    size: (usize, usize),
    mut put: impl FnMut(usize, usize, [u32; SIDE]),
) {
    for k in 0..SIDE {
        let row = |i: usize| -> [f32; SIDE] {
            match i < size.0 {
                true => padded(&data[i * stride..], size.1),
                false => [0.0; SIDE],
            }
        };
        let (first, second) = (row(2 * k), row(2 * k + 1));
        let mut parts = [[0; SIDE]; 2];
        for j in 0..SIDE {
            let (a, b) = (split(first[j], terms), split(second[j], terms));
            parts[0][j] = a[0] | b[0] << 16;
            parts[1][j] = a[1] | b[1] << 16;
        }
        for (part, pairs) in parts.into_iter().take(terms.parts()).enumerate() {
            put(part, k, pairs);
        }
    }
}

vectorized! {
    /// Rows of `width` numbers as rows `first..` of a left side, whole strips from `first` on.
    fn left_rows(terms: Terms, rows: &[f32], width: usize, to: &mut [Tile]) {
        let strip = width.div_ceil(DEPTH) * terms.parts();
        for (rows, to) in rows.chunks(SIDE * width).zip(to.chunks_exact_mut(strip)) {
            let count = rows.len() / width;
            for (step, to) in to.chunks_exact_mut(terms.parts()).enumerate() {
                let first = step * DEPTH;
                let size = (count, if width - first < DEPTH { width - first } else { DEPTH });
                rows_of(terms, &rows[first..], width, size, |part, i, pairs| to[part].0[i] = pairs);
            }
        }
    }

    /// Strip `first / 16` of the columns of row-major `[k, n]`.
    fn right_strip(terms: Terms, data: &[f32], n: usize, first: usize, to: &mut [Tile]) {
        let (parts, columns) = (terms.parts(), if n - first < SIDE { n - first } else { SIDE });
        for (rows, to) in data.chunks(DEPTH * n).zip(to.chunks_mut(2 * parts)) {
            let size = (rows.len() / n, columns);
            pairs_of(terms, &rows[first..], n, size, |part, k, pairs| to[2 * part].0[k] = pairs);
        }
    }

    /// One region of rows as tiles of pairs along them.
    fn rows_tile(terms: Terms, data: &[f32], stride: usize, size: (usize, usize), to: &mut [Tile; 2]) {
        rows_of(terms, data, stride, size, |part, i, pairs| to[part].0[i] = pairs);
    }

    /// One region of rows as tiles of pairs down its columns.
    fn pairs_tile(terms: Terms, data: &[f32], stride: usize, size: (usize, usize), to: &mut [Tile; 2]) {
        pairs_of(terms, data, stride, size, |part, k, pairs| to[part].0[k] = pairs);
    }
}

/// Rows of `width` numbers as rows `first..` of the left side in `to`. What is there of
/// other rows stays, but for those that fill up the last 16.
///
/// # Panics
/// If `first` is no multiple of 16, or `to` is too short.
pub(crate) fn left(terms: Terms, rows: &[f32], width: usize, first: usize, to: &mut [Tile]) {
    assert!(first.is_multiple_of(SIDE), "row {first} of a strip");
    let strip = width.div_ceil(DEPTH) * terms.parts();
    let count = rows.len() / width;
    let (start, strips) = (first / SIDE, count.div_ceil(SIDE));
    left_rows(
        terms,
        rows,
        width,
        &mut to[start * strip..(start + strips) * strip],
    );
}

/// The transpose of row-major `[rows, k]` as a left side: `k` rows.
///
/// # Panics
/// If `to` is too short.
pub(super) fn left_of_transpose(terms: Terms, data: &[f32], k: usize, to: &mut [Tile]) {
    let layout = Split::new(terms, k, data.len() / k);
    let strips = to[..layout.tiles()].chunks_exact_mut(layout.strip().max(1));
    for (i, strip) in strips.enumerate() {
        let first = i * SIDE;
        if first >= k {
            // The second strip of a block that has but one.
            strip.fill(Tile::default());
            continue;
        }
        let columns = SIDE.min(k - first);
        let steps = strip.chunks_exact_mut(terms.parts());
        for (rows, to) in data.chunks(DEPTH * k).zip(steps) {
            let mut tiles = [Tile::default(); 2];
            pairs_tile(
                terms,
                &rows[first..],
                k,
                (rows.len() / k, columns),
                &mut tiles,
            );
            for (to, tile) in to.iter_mut().zip(&tiles) {
                turn(tile, to);
            }
        }
    }
}

/// Row-major `[k, n]` as a right side: `n` columns.
///
/// # Panics
/// If `to` is too short.
pub(crate) fn right(terms: Terms, data: &[f32], n: usize, to: &mut [Tile]) {
    let layout = Split::new(terms, n, data.len() / n);
    let panels = to[..layout.tiles()].chunks_exact_mut((2 * layout.strip()).max(1));
    for (i, panel) in panels.enumerate() {
        for j in 0..2 {
            let first = i * BLOCK + j * SIDE;
            if first < n {
                right_strip(terms, data, n, first, &mut panel[j..]);
            } else {
                panel[j..]
                    .iter_mut()
                    .step_by(2)
                    .for_each(|tile| *tile = Tile::default());
            }
        }
    }
}

/// The transpose of row-major `[n, k]` as a right side: `n` columns.
///
/// # Panics
/// If `to` is too short.
pub(crate) fn right_of_transpose(terms: Terms, data: &[f32], k: usize, to: &mut [Tile]) {
    let layout = Split::new(terms, data.len() / k, k);
    let parts = terms.parts();
    let panels = to[..layout.tiles()].chunks_exact_mut((2 * layout.strip()).max(1));
    for (i, panel) in panels.enumerate() {
        for (step, to) in panel.chunks_exact_mut(2 * parts).enumerate() {
            let first = step * DEPTH;
            for j in 0..2 {
                let column = i * BLOCK + j * SIDE;
                let mut tiles = [Tile::default(); 2];
                if let Some(rows) = data.get(column * k..) {
                    let size = ((rows.len() / k).min(SIDE), DEPTH.min(k - first));
                    let from = rows.get(first..).unwrap_or_default();
                    rows_tile(terms, from, k, size, &mut tiles);
                }
                for (part, tile) in tiles.iter().take(parts).enumerate() {
                    turn(tile, &mut to[2 * part + j]);
                }
            }
        }
    }
}

/// The transpose of `from`.
fn turn(from: &Tile, to: &mut Tile) {
    let (from, to) = (from.0.as_flattened(), to.0.as_flattened_mut());
    transpose(Isa::detect(), from, SIDE, SIDE, to);
}
