//! What a pass multiplies with: vector instructions in single precision, or tiles of bf16.
//!
//! The passes are written once over this trait. Rows go from layer to layer in the order in
//! which the passes hand them on, so that tiles are filled by what follows a product, a few
//! rows at a time, and single precision is written only where something reads it.

use crate::{
    isa::Isa,
    matmul::{self, Weight},
    tiles::{self, Split, Terms, Tile, Tiles},
};

pub(super) use crate::matmul::grow;

/// Products of the rows of a pass with its weights.
pub(super) trait Products {
    /// Prepares row-major `weight`, `[k, n]`, as that of layer `i`.
    fn pack(&mut self, i: usize, weight: &[f32], n: usize);

    /// Prepares the transpose of row-major `weight`, `[n, k]`, as that of layer `i`.
    fn pack_transposed(&mut self, i: usize, weight: &[f32], k: usize);

    /// Begins a block of rows with `rows`, `width` wide.
    fn enter(&mut self, rows: &[f32], width: usize);

    /// `out = rows W` for what [`Self::pack`] made of `weight`, `[k, n]`. Every few finished
    /// rows are handed, with the index of the first, to `then`. `rows` are those that entered,
    /// or that the last product and its `then` left; those of this are entered if `enters`.
    fn multiply(
        &mut self,
        i: usize,
        weight: (&[f32], usize),
        rows: &[f32],
        out: &mut [f32],
        enters: bool,
        then: impl FnMut(usize, &mut [f32]),
    );

    /// The same for what [`Self::pack_transposed`] made of `weight`, `[n, k]`.
    fn multiply_transposed(
        &mut self,
        i: usize,
        weight: (&[f32], usize),
        rows: &[f32],
        out: &mut [f32],
        enters: bool,
        then: impl FnMut(usize, &mut [f32]),
    );

    /// `out = rows W` for row-major `weight`, `[k, n]`, that is used once: beside the others.
    fn multiply_once(
        &mut self,
        weight: (&[f32], usize),
        rows: &[f32],
        out: &mut [f32],
        then: impl FnMut(usize, &mut [f32]),
    );

    /// A weight's gradient `out = x^T dy` for `dy`, `[rows, n]`; added to what is there if
    /// `add`.
    fn gradient(&mut self, x: &[f32], dy: &[f32], n: usize, out: &mut [f32], add: bool);
}

/// Buffers of products, kept between passes.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Of products in single precision.
    pub(super) lanes: LaneBuffers,
    tiles: TileBuffers,
}

/// Those of [`Lanes`].
#[derive(Debug, Default)]
pub(super) struct LaneBuffers {
    /// Per layer: its weight or its transpose, rearranged.
    pub(super) packed: Vec<Vec<f32>>,
    /// A weight that is used once.
    once: Vec<f32>,
    pub(super) product: matmul::Scratch,
}

/// Those of [`Tiled`].
#[derive(Debug, Default)]
struct TileBuffers {
    packed: Vec<Vec<Tile>>,
    once: Vec<Tile>,
    /// Rows of the present block, and of the next layer's.
    rows: [Vec<Tile>; 2],
    product: tiles::Scratch,
}

impl Buffers {
    /// Products of a pass over `layers` layers in single precision.
    pub(super) fn lanes(&mut self, layers: usize) -> Lanes<'_> {
        let buffers = &mut self.lanes;
        if buffers.packed.len() < layers {
            buffers.packed.resize_with(layers, Vec::new);
        }
        Lanes {
            isa: Isa::detect(),
            buffers,
        }
    }

    /// Products of a pass over `layers` layers in tiles, for as long as what comes back lives.
    pub(super) fn tiles(&mut self, terms: Terms, layers: usize) -> Tiled<'_> {
        let buffers = &mut self.tiles;
        if buffers.packed.len() < layers {
            buffers.packed.resize_with(layers, Vec::new);
        }
        Tiled {
            tiles: Tiles::configure(terms),
            terms,
            buffers,
        }
    }
}

/// In single precision.
pub(super) struct Lanes<'a> {
    isa: Isa,
    buffers: &'a mut LaneBuffers,
}

impl Products for Lanes<'_> {
    fn pack(&mut self, i: usize, weight: &[f32], n: usize) {
        Weight::pack(self.isa, weight, n, &mut self.buffers.packed[i]);
    }

    fn pack_transposed(&mut self, i: usize, weight: &[f32], k: usize) {
        Weight::pack_transposed(self.isa, weight, k, &mut self.buffers.packed[i]);
    }

    fn enter(&mut self, _rows: &[f32], _width: usize) {}

    fn multiply(
        &mut self,
        i: usize,
        (weight, n): (&[f32], usize),
        rows: &[f32],
        out: &mut [f32],
        _enters: bool,
        then: impl FnMut(usize, &mut [f32]),
    ) {
        Weight::packed(self.isa, weight, n, &self.buffers.packed[i]).multiply(rows, out, then);
    }

    fn multiply_transposed(
        &mut self,
        i: usize,
        (weight, k): (&[f32], usize),
        rows: &[f32],
        out: &mut [f32],
        _enters: bool,
        then: impl FnMut(usize, &mut [f32]),
    ) {
        let packed = &self.buffers.packed[i];
        Weight::packed_transposed(self.isa, weight, k, packed).multiply(rows, out, then);
    }

    fn multiply_once(
        &mut self,
        (weight, n): (&[f32], usize),
        rows: &[f32],
        out: &mut [f32],
        then: impl FnMut(usize, &mut [f32]),
    ) {
        let packed = &mut self.buffers.once;
        Weight::pack(self.isa, weight, n, packed);
        Weight::packed(self.isa, weight, n, packed).multiply(rows, out, then);
    }

    fn gradient(&mut self, x: &[f32], dy: &[f32], n: usize, out: &mut [f32], add: bool) {
        matmul::gradient(self.isa, x, dy, n, out, add, &mut self.buffers.product);
    }
}

/// In tiles of bf16.
pub(super) struct Tiled<'a> {
    tiles: Tiles,
    terms: Terms,
    buffers: &'a mut TileBuffers,
}

impl Tiled<'_> {
    /// A product with the weight in `packed[i]`, `[k, n]`.
    fn through(
        &mut self,
        i: usize,
        (k, n): (usize, usize),
        out: &mut [f32],
        enters: bool,
        mut then: impl FnMut(usize, &mut [f32]),
    ) {
        let (terms, buffers) = (self.terms, &mut *self.buffers);
        let [current, next] = &mut buffers.rows;
        let next = match enters {
            true => grow(next, Split::new(terms, out.len() / n, n).tiles()),
            false => &mut [],
        };
        let packed = &buffers.packed[i];
        tiles::multiply(
            &mut self.tiles,
            current,
            packed,
            (k, n),
            out,
            |first, rows| {
                then(first, rows);
                if enters {
                    tiles::left(terms, rows, n, first, next);
                }
            },
        );
        buffers.rows.swap(0, 1);
    }
}

impl Products for Tiled<'_> {
    fn pack(&mut self, i: usize, weight: &[f32], n: usize) {
        let size = Split::new(self.terms, n, weight.len() / n).tiles();
        let to = grow(&mut self.buffers.packed[i], size);
        tiles::right(self.terms, weight, n, to);
    }

    fn pack_transposed(&mut self, i: usize, weight: &[f32], k: usize) {
        let size = Split::new(self.terms, weight.len() / k, k).tiles();
        let to = grow(&mut self.buffers.packed[i], size);
        tiles::right_of_transpose(self.terms, weight, k, to);
    }

    fn enter(&mut self, rows: &[f32], width: usize) {
        let size = Split::new(self.terms, rows.len() / width, width).tiles();
        let to = grow(&mut self.buffers.rows[0], size);
        tiles::left(self.terms, rows, width, 0, to);
    }

    fn multiply(
        &mut self,
        i: usize,
        (weight, n): (&[f32], usize),
        _rows: &[f32],
        out: &mut [f32],
        enters: bool,
        then: impl FnMut(usize, &mut [f32]),
    ) {
        self.through(i, (weight.len() / n, n), out, enters, then);
    }

    fn multiply_transposed(
        &mut self,
        i: usize,
        (weight, k): (&[f32], usize),
        _rows: &[f32],
        out: &mut [f32],
        enters: bool,
        then: impl FnMut(usize, &mut [f32]),
    ) {
        self.through(i, (k, weight.len() / k), out, enters, then);
    }

    fn multiply_once(
        &mut self,
        (weight, n): (&[f32], usize),
        rows: &[f32],
        out: &mut [f32],
        then: impl FnMut(usize, &mut [f32]),
    ) {
        let k = weight.len() / n;
        self.enter(rows, k);
        let to = grow(&mut self.buffers.once, Split::new(self.terms, n, k).tiles());
        tiles::right(self.terms, weight, n, to);
        let left = &self.buffers.rows[0];
        tiles::multiply(&mut self.tiles, left, to, (k, n), out, then);
    }

    fn gradient(&mut self, x: &[f32], dy: &[f32], n: usize, out: &mut [f32], add: bool) {
        let scratch = &mut self.buffers.product;
        tiles::gradient(&mut self.tiles, x, dy, n, out, add, scratch);
    }
}
