//! Products of whole matrices, block by block.

use super::{
    BLOCK, Block, Operands, SIDE, Split, Sums, Tile, Tiles,
    layout::{left_of_transpose, right},
};
use crate::buffers::grow;

/// Buffers of [`gradient`].
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    left: Vec<Tile>,
    right: Vec<Tile>,
}

/// `out = x W`, `[rows, n]`, for `x` laid out in `left` and `W`, `[k, n]`, in `right`. Every
/// few finished rows are handed, with the index of the first, a multiple of 32, to `then`
/// while they are in cache.
///
/// A row of `out` depends on its row of `x` alone, and on `W`.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn multiply(
    tiles: &mut Tiles,
    left: &[Tile],
    right: &[Tile],
    (k, n): (usize, usize),
    out: &mut [f32],
    mut then: impl FnMut(usize, &mut [f32]),
) {
    let strip = Split::new(tiles.terms, n, k).strip();
    let blocks = out.len().div_ceil(BLOCK * n);
    assert!(
        left.len() >= blocks * 2 * strip,
        "strips of {blocks} blocks"
    );
    let strips = left.chunks_exact(2 * strip);
    for (i, (out, left)) in out.chunks_mut(BLOCK * n).zip(strips).enumerate() {
        for (j, right) in panels(right, n, strip).enumerate() {
            let (upper, lower) = left.split_at(strip);
            let mut sums = EMPTY;
            tiles.sum(Operands::new(tiles.terms, upper, lower, right), &mut sums);
            place(&sums, &mut out[j * BLOCK..], n, n - j * BLOCK, false);
        }
        then(i * BLOCK, out);
    }
}

/// A weight's gradient `out = x^T dy`, `[k, n]`, for `x`, `[rows, k]`, and `dy`,
/// `[rows, n]`; added to what is there if `add`.
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn gradient(
    tiles: &mut Tiles,
    x: &[f32],
    dy: &[f32],
    n: usize,
    out: &mut [f32],
    add: bool,
    scratch: &mut Scratch,
) {
    let (rows, k) = (dy.len() / n, out.len() / n);
    assert!(
        dy.len() == rows * n && out.len() == k * n && x.len() == rows * k,
        "gradient of {k} x {n}"
    );
    if rows == 0 {
        if !add {
            out.fill(0.0);
        }
        return;
    }
    let (turned, columns) = (
        Split::new(tiles.terms, k, rows),
        Split::new(tiles.terms, n, rows),
    );
    let left = grow(&mut scratch.left, turned.tiles());
    let right_side = grow(&mut scratch.right, columns.tiles());
    left_of_transpose(tiles.terms, x, k, left);
    right(tiles.terms, dy, n, right_side);
    let strip = turned.strip();
    for (out, left) in out.chunks_mut(BLOCK * n).zip(left.chunks_exact(2 * strip)) {
        for (j, right) in panels(right_side, n, strip).enumerate() {
            let (upper, lower) = left.split_at(strip);
            let mut sums = EMPTY;
            tiles.sum(Operands::new(tiles.terms, upper, lower, right), &mut sums);
            place(&sums, &mut out[j * BLOCK..], n, n - j * BLOCK, add);
        }
    }
}

const EMPTY: Block = [Sums([[0.0; SIDE]; SIDE]); 4];

/// The 32 columns of each block of a right side.
fn panels(right: &[Tile], n: usize, strip: usize) -> impl Iterator<Item = &[Tile]> {
    let count = n.div_ceil(BLOCK);
    assert!(right.len() >= count * 2 * strip, "panels of {n} columns");
    right.chunks_exact(2 * strip).take(count)
}

/// Writes a block to, or adds it to, rows `n` apart, as far as there are rows and `columns`.
fn place(sums: &Block, out: &mut [f32], n: usize, columns: usize, add: bool) {
    for (i, row) in out.chunks_mut(n).take(BLOCK).enumerate() {
        for (j, to) in row[..columns.min(BLOCK)].chunks_mut(SIDE).enumerate() {
            let from = &sums[2 * (i / SIDE) + j].0[i % SIDE];
            if add {
                for (to, from) in to.iter_mut().zip(from) {
                    *to += from;
                }
            } else {
                to.copy_from_slice(&from[..to.len()]);
            }
        }
    }
}
