//! Copies of the right matrix in the order in which tiles read it.

use super::{
    IN_PLACE, grow,
    tile::{Right, panel_width},
};
use crate::{isa::Isa, vectorize::vectorized};

/// Side of the blocks a transpose is done in: two cache lines of four.
const SIDE: usize = 8;

/// How many panels of row-major `[k, n]` are used where they lie: all whole ones,
/// unless the rows are far apart.
fn in_place(isa: Isa, n: usize) -> usize {
    if n <= IN_PLACE {
        n / panel_width(isa)
    } else {
        0
    }
}

/// Packs those panels of row-major `[k, n]` that are not used where they lie.
pub(super) fn panels(isa: Isa, data: &[f32], n: usize, packed: &mut Vec<f32>) {
    let (k, width, skip) = (data.len() / n, panel_width(isa), in_place(isa, n));
    let packed = grow(packed, (n.div_ceil(width) - skip) * width * k);
    for (i, panel) in packed.chunks_exact_mut((width * k).max(1)).enumerate() {
        let first = (skip + i) * width;
        let columns = width.min(n - first);
        for (row, to) in data.chunks_exact(n).zip(panel.chunks_exact_mut(width)) {
            let (to, padding) = to.split_at_mut(columns);
            to.copy_from_slice(&row[first..first + columns]);
            padding.fill(0.0);
        }
    }
}

/// Row-major `[k, n]` as the right side of a product, with what [`panels`] packed.
pub(super) fn right<'a>(isa: Isa, data: &'a [f32], n: usize, packed: &'a [f32]) -> Right<'a, f32> {
    Right {
        data,
        in_place: in_place(isa, n),
        packed,
        k: data.len() / n,
        n,
    }
}

/// Packs every panel of the transpose of row-major `[n, k]`.
pub(super) fn panels_of_transpose(isa: Isa, data: &[f32], k: usize, packed: &mut Vec<f32>) {
    let (n, width) = (data.len() / k, panel_width(isa));
    let packed = grow(packed, n.div_ceil(width) * width * k);
    for (i, panel) in packed.chunks_exact_mut(width * k).enumerate() {
        let first = i * width;
        let columns = width.min(n - first);
        transpose(&data[first * k..(first + columns) * k], k, width, panel);
        for row in panel.chunks_exact_mut(width) {
            row[columns..].fill(0.0);
        }
    }
}

vectorized! {
    /// Row-major `from`, `[rows, cols]`, as columns: `to[c * width + r]`.
    pub(super) fn transpose(from: &[f32], cols: usize, width: usize, to: &mut [f32]) {
        let rows = from.len() / cols;
        for r in (0..rows).step_by(SIDE) {
            let height = SIDE.min(rows - r);
            for c in (0..cols).step_by(SIDE) {
                let length = SIDE.min(cols - c);
                if height == SIDE && length == SIDE {
                    let mut block = [[0.0; SIDE]; SIDE];
                    for (i, row) in block.iter_mut().enumerate() {
                        row.copy_from_slice(&from[(r + i) * cols + c..][..SIDE]);
                    }
                    for j in 0..SIDE {
                        let column: [f32; SIDE] = std::array::from_fn(|i| block[i][j]);
                        to[(c + j) * width + r..][..SIDE].copy_from_slice(&column);
                    }
                } else {
                    for i in r..r + height {
                        for j in c..c + length {
                            to[j * width + i] = from[i * cols + j];
                        }
                    }
                }
            }
        }
    }
}
