//! The matrix product: the one place nearly all the arithmetic goes through.
//!
//! Written here because the products of small networks are unlike those that
//! general libraries are tuned for: a weight is prepared once and multiplied by
//! many blocks of rows, inputs are read where they lie, and what follows a
//! product (bias, ReLU, normalization, mask) is done on a few of its rows while
//! they are still in the first-level cache.
//!
//! Every element of a product is one chain of multiply-adds in the order of `k`
//! (or, for very narrow results, a fixed number of chains): a row's result does
//! not depend on how many rows surround it.

mod dot;
mod lanes;
mod pack;
mod tile;

pub(crate) use pack::transpose;
use tile::{Left, Right};

use crate::isa::Isa;

pub(crate) use crate::buffers::grow;

/// A weight, prepared as the right side of products.
pub(crate) struct Weight<'a> {
    isa: Isa,
    form: Form<'a>,
}

enum Form<'a> {
    Panels(Right<'a>),
    /// Few columns, `[n, k]`: a tile would be mostly padding.
    Columns {
        data: &'a [f32],
        k: usize,
    },
}

/// Most columns that are computed as dot products.
const NARROW: usize = 6;

/// Most columns with which rows are read where they lie: rows further apart
/// share too few sets of the caches.
const IN_PLACE: usize = 1024;

impl<'a> Weight<'a> {
    /// Rearranges row-major `data`, `[k, n]`, as far as products want it, into
    /// `buffer`.
    pub(crate) fn pack(isa: Isa, data: &[f32], n: usize, buffer: &mut Vec<f32>) {
        if n <= NARROW {
            pack::transpose(isa, data, n, data.len() / n, grow(buffer, data.len()));
        } else {
            pack::panels(isa, data, n, buffer);
        }
    }

    /// The weight `data`, `[k, n]`, that [`Self::pack`] rearranged into `buffer`.
    pub(crate) fn packed(isa: Isa, data: &'a [f32], n: usize, buffer: &'a [f32]) -> Self {
        let k = data.len() / n;
        assert!(isa.is_present(), "{isa:?} on this machine");
        assert_eq!(data.len(), k * n, "weight of {k} x {n}");
        let form = if n <= NARROW {
            let data = &buffer[..n * k];
            Form::Columns { data, k }
        } else {
            Form::Panels(pack::right(isa, data, n, buffer))
        };
        Self { isa, form }
    }

    /// Like [`Self::pack`], for the transpose of row-major `data`, `[n, k]`.
    pub(crate) fn pack_transposed(isa: Isa, data: &[f32], k: usize, buffer: &mut Vec<f32>) {
        if data.len() / k > NARROW {
            pack::panels_of_transpose(isa, data, k, buffer);
        }
    }

    /// The transpose of `data`, `[n, k]`, that [`Self::pack_transposed`]
    /// rearranged into `buffer`.
    pub(crate) fn packed_transposed(
        isa: Isa,
        data: &'a [f32],
        k: usize,
        buffer: &'a [f32],
    ) -> Self {
        let n = data.len() / k;
        assert!(isa.is_present(), "{isa:?} on this machine");
        assert_eq!(data.len(), k * n, "weight of {k} x {n}");
        let form = if n <= NARROW {
            Form::Columns { data, k }
        } else {
            Form::Panels(Right {
                data: &[],
                in_place: 0,
                packed: buffer,
                k,
                n,
            })
        };
        Self { isa, form }
    }

    /// `out = x W` for `x`, `[rows, k]`, and `out`, `[rows, n]`. Every few
    /// finished rows are handed, with the index of the first, to `then` while
    /// they are in cache.
    pub(crate) fn multiply(
        &self,
        x: &[f32],
        out: &mut [f32],
        mut then: impl FnMut(usize, &mut [f32]),
    ) {
        let right = match self.form {
            Form::Columns { data, k } => {
                dot::rows(self.isa, x, data, k, out);
                return then(0, out);
            }
            Form::Panels(right) => right,
        };
        let left = Left {
            data: x,
            stride: right.k,
            transposed: false,
        };
        assert_eq!(x.len() / right.k, out.len() / right.n, "rows of a product");
        for (i, block) in out.chunks_mut(tile::BLOCK * right.n).enumerate() {
            let first = i * tile::BLOCK;
            tile::rows(self.isa, left.below(first), right, block, false);
            then(first, block);
        }
    }
}

/// Buffers of [`gradient`].
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    packed: Vec<f32>,
    narrow: Vec<f32>,
}

/// A weight's gradient `out = x^T dy`, `[k, n]`, for `x`, `[rows, k]`, and `dy`,
/// `[rows, n]`; added to what is there if `add`.
pub(crate) fn gradient(
    isa: Isa,
    x: &[f32],
    dy: &[f32],
    n: usize,
    out: &mut [f32],
    add: bool,
    scratch: &mut Scratch,
) {
    let (rows, k) = (dy.len() / n, out.len() / n);
    assert!(isa.is_present(), "{isa:?} on this machine");
    assert!(
        dy.len() == rows * n && out.len() == k * n,
        "gradient of {k} x {n}"
    );
    assert_eq!(x.len(), rows * k, "input of a gradient");
    if n > NARROW || k <= n {
        return turned(isa, (x, k), (dy, n), out, add, &mut scratch.packed);
    }
    // The transpose, so that the vectors run along the wide side.
    let narrow = grow(&mut scratch.narrow, 2 * k * n);
    let (columns, rows) = narrow.split_at_mut(k * n);
    turned(isa, (dy, n), (x, k), columns, false, &mut scratch.packed);
    pack::transpose(isa, columns, k, n, rows);
    for (out, g) in out.iter_mut().zip(&*rows) {
        *out = if add { *out + g } else { *g };
    }
}

/// `out = a^T b` in tiles, for `a`, `[rows, k]`, and `b`, `[rows, n]`.
fn turned(
    isa: Isa,
    (a, k): (&[f32], usize),
    (b, n): (&[f32], usize),
    out: &mut [f32],
    add: bool,
    packed: &mut Vec<f32>,
) {
    pack::panels(isa, b, n, packed);
    let right = pack::right(isa, b, n, packed);
    let left = Left {
        data: a,
        stride: k,
        transposed: true,
    };
    for (i, block) in out.chunks_mut(tile::BLOCK * n).enumerate() {
        tile::rows(isa, left.below(i * tile::BLOCK), right, block, add);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
