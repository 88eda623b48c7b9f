//! Products of numbers rounded to bf16, summed in single precision: twice the
//! arithmetic of an instruction, for passes that carry no gradient.
//!
//! A bf16 has the exponent of an `f32` and 8 bits of precision. Two neighbours
//! along the inner dimension make one element of a product, the first in the low
//! half.

use super::{
    grow,
    tile::{self, Left, Right, panel_width},
};
use crate::{
    isa::{Isa, has_bf16},
    vectorize::vectorized,
};

/// Inner dimension in pairs: an odd one is filled up with a zero.
pub(crate) fn pairs(k: usize) -> usize {
    k.div_ceil(2)
}

/// A weight rounded to bf16, prepared as the right side of products.
pub(crate) struct Weight16<'a> {
    right: Right<'a, u32>,
}

impl<'a> Weight16<'a> {
    /// Rounds and rearranges row-major `data`, `[k, n]`, into `buffer`.
    pub(crate) fn pack(data: &[f32], n: usize, buffer: &mut Vec<u32>) {
        let (k, width) = (data.len() / n, panel_width(Isa::Avx512));
        let packed = grow(buffer, n.div_ceil(width) * width * pairs(k));
        for (i, panel) in packed.chunks_exact_mut(width * pairs(k)).enumerate() {
            pack_panel(data, n, i * width, width, panel);
        }
    }

    /// The weight `[k, n]` that [`Self::pack`] left in `buffer`.
    pub(crate) fn packed(k: usize, n: usize, buffer: &'a [u32]) -> Self {
        assert!(has_bf16(), "bf16 products on this machine");
        let right = Right {
            data: &[],
            in_place: 0,
            packed: buffer,
            k: pairs(k),
            n,
        };
        Self { right }
    }

    /// `out = x W` for `x`, `[rows, k]` in pairs, and `out`, `[rows, n]`. Every few
    /// finished rows are handed, with the index of the first, to `then`.
    pub(crate) fn multiply(
        &self,
        x: &[u32],
        out: &mut [f32],
        mut then: impl FnMut(usize, &mut [f32]),
    ) {
        let Right { k, n, .. } = self.right;
        assert_eq!(x.len() / k, out.len() / n, "rows of a product");
        let left = Left {
            data: x,
            stride: k,
            transposed: false,
        };
        for (i, block) in out.chunks_mut(tile::BLOCK * n).enumerate() {
            let first = i * tile::BLOCK;
            tile::rows_bf16(left.below(first), self.right, block);
            then(first, block);
        }
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

vectorized! {
    /// Rows of `width` floats as rows of pairs.
    pub(crate) fn round_rows(rows: &[f32], width: usize, to: &mut [u32]) {
        let rows = rows.chunks_exact(width);
        for (row, to) in rows.zip(to.chunks_exact_mut(width.div_ceil(2))) {
            let (twos, rest) = row.as_chunks::<2>();
            for (to, two) in to.iter_mut().zip(twos) {
                *to = round(two[0]) | (round(two[1]) << 16);
            }
            if let (Some(to), Some(last)) = (to.last_mut(), rest.first()) {
                *to = round(*last);
            }
        }
    }

    /// Columns `first..first + width` of row-major `[k, n]` as pairs of rows.
    fn pack_panel(data: &[f32], n: usize, first: usize, width: usize, panel: &mut [u32]) {
        let columns = if n - first < width { n - first } else { width };
        for (two, to) in data.chunks(2 * n).zip(panel.chunks_exact_mut(width)) {
            let (upper, lower) = two.split_at(n);
            let (to, padding) = to.split_at_mut(columns);
            padding.fill(0);
            let upper = &upper[first..first + columns];
            if lower.is_empty() {
                for (to, a) in to.iter_mut().zip(upper) {
                    *to = round(*a);
                }
            } else {
                let lower = &lower[first..first + columns];
                for ((to, a), b) in to.iter_mut().zip(upper).zip(lower) {
                    *to = round(*a) | (round(*b) << 16);
                }
            }
        }
    }
}
