//! Copies of the right matrix in the order in which tiles read it.

use super::{
    IN_PLACE, grow,
    tile::{Right, panel_width},
};
use crate::isa::Isa;

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
pub(super) fn right<'a>(isa: Isa, data: &'a [f32], n: usize, packed: &'a [f32]) -> Right<'a> {
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
        transpose(
            isa,
            &data[first * k..(first + columns) * k],
            k,
            width,
            panel,
        );
        for row in panel.chunks_exact_mut(width) {
            row[columns..].fill(0.0);
        }
    }
}

/// Four bytes that are moved as they are.
pub(crate) trait Word: Copy {}

impl Word for f32 {}
impl Word for u32 {}

/// Row-major `from`, `[rows, cols]`, as columns: `to[c * width + r]`.
///
/// # Panics
/// If `to` is too short, or the machine has not got `isa`.
pub(crate) fn transpose<W: Word>(isa: Isa, from: &[W], cols: usize, width: usize, to: &mut [W]) {
    assert!(isa.is_present(), "{isa:?} on this machine");
    let rows = from.len() / cols;
    assert!(
        rows <= width && to.len() >= (cols - 1) * width + rows,
        "columns"
    );
    match isa {
        // SAFETY: the assert above found AVX2, all the function enables.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => unsafe { x86::transpose(from, cols, width, to) },
        _ => blocks(from, cols, width, to, |from, to| {
            for r in 0..SIDE {
                for c in 0..SIDE {
                    to[c * width + r] = from[r * cols + c];
                }
            }
        }),
    }
}

/// [`transpose`] by whole blocks, each by `block`, which is handed both matrices
/// from the block's first element on; what is left one by one.
#[inline(always)]
fn blocks<W: Word>(
    from: &[W],
    cols: usize,
    width: usize,
    to: &mut [W],
    mut block: impl FnMut(&[W], &mut [W]),
) {
    let rows = from.len() / cols;
    let (whole_rows, whole_cols) = (rows / SIDE * SIDE, cols / SIDE * SIDE);
    for r in (0..whole_rows).step_by(SIDE) {
        for c in (0..whole_cols).step_by(SIDE) {
            block(&from[r * cols + c..], &mut to[c * width + r..]);
        }
    }
    for r in 0..rows {
        let done = if r < whole_rows { whole_cols } else { 0 };
        for c in done..cols {
            to[c * width + r] = from[r * cols + c];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{SIDE, Word, blocks};

    /// [`super::transpose`] by shuffles of vectors of eight.
    #[target_feature(enable = "avx2")]
    pub(super) fn transpose<W: Word>(from: &[W], cols: usize, width: usize, to: &mut [W]) {
        const { assert!(size_of::<W>() == size_of::<f32>()) }
        blocks(from, cols, width, to, |from, to| {
            assert!(from.len() >= (SIDE - 1) * cols + SIDE, "rows of a block");
            assert!(to.len() >= (SIDE - 1) * width + SIDE, "columns of a block");
            // SAFETY: the asserts keep the eight words from each row's start
            // inside `from`; a load moves the bits of a word, whatever they are.
            let row: [__m256; SIDE] = std::array::from_fn(|i| unsafe {
                _mm256_loadu_ps(from.as_ptr().add(i * cols).cast())
            });
            // Pairs of rows interleaved, then fours, then halves exchanged.
            let low = |i: usize| _mm256_unpacklo_ps(row[i], row[i + 1]);
            let high = |i: usize| _mm256_unpackhi_ps(row[i], row[i + 1]);
            let pairs: [[__m256; 2]; 4] = [0, 2, 4, 6].map(|i| [low(i), high(i)]);
            let four = |upper: usize, odd: usize| {
                let (a, b) = (pairs[upper][odd], pairs[upper + 1][odd]);
                [
                    _mm256_shuffle_ps::<0x44>(a, b),
                    _mm256_shuffle_ps::<0xee>(a, b),
                ]
            };
            let [[a0, a1], [a2, a3]] = [four(0, 0), four(0, 1)];
            let [[b0, b1], [b2, b3]] = [four(2, 0), four(2, 1)];
            let columns = [(a0, b0), (a1, b1), (a2, b2), (a3, b3)];
            for (i, (a, b)) in columns.into_iter().enumerate() {
                let halves = [
                    _mm256_permute2f128_ps::<0x20>(a, b),
                    _mm256_permute2f128_ps::<0x31>(a, b),
                ];
                for (half, column) in halves.into_iter().enumerate() {
                    let at = (4 * half + i) * width;
                    // SAFETY: as above, of each column's start and `to`.
                    unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(at).cast(), column) };
                }
            }
        });
    }
}
