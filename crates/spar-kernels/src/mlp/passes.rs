//! The forward passes, and what they keep for the backward one.

use super::{
    Head, MlpShape,
    input::{Base, Input, Parts},
    layers,
    products::{Buffers, Products, grow},
};
use crate::tiles::Terms;

/// How exactly a pass multiplies. Everything else of it, sums, normalization and activations,
/// is in single precision.
///
/// A pass in bf16 has the same bits on every machine, with a matrix unit
/// ([`MatrixUnit`](crate::MatrixUnit)) or without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision: a product of `k` terms is off by about `2e-7` of their root mean
    /// square.
    #[default]
    F32,
    /// Both sides of a product as two bf16, three products in single-precision sums: about
    /// `4e-6`.
    Bf16x3,
    /// Both sides of a product rounded to bf16: about `2e-3`.
    Bf16,
}

impl Precision {
    /// All, from the most exact.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16x3, Self::Bf16];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16x3 => "bf16x3",
            Self::Bf16 => "bf16",
        }
    }

    /// Products of bf16 for one, if it is made of such.
    pub(super) fn terms(self) -> Option<Terms> {
        match self {
            Self::F32 => None,
            Self::Bf16x3 => Some(Terms::Three),
            Self::Bf16 => Some(Terms::One),
        }
    }
}

/// Rows that go through all layers together.
pub(super) const ROWS: usize = 256;

/// Buffers of a pass, kept between passes so that a steady-state update
/// allocates nothing here.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Per hidden layer: what [`backward`](super::backward()) needs of the forward pass.
    pub(super) saved: Vec<Saved>,
    /// The same of the normalization of the input, where there is one.
    pub(super) entry: Saved,
    /// Output of a forward pass with a tanh head, `[rows, output]`.
    pub(super) out: Vec<f32>,
    /// Rows of the forward pass that filled `saved`.
    pub(super) rows: usize,
    /// How that pass multiplied, which its gradients do, too.
    pub(super) precision: Precision,
    /// What products keep, weights prepared for them among it.
    pub(super) products: Buffers,
    /// From which layer on those are transposes, made by a backward pass since the last
    /// forward one.
    pub(super) turned: Option<usize>,
    /// What the shared part of the input comes to in the first layer.
    pub(super) base: Vec<f32>,
    /// Sums of a state's rows.
    pub(super) states: Vec<f32>,
    /// What two neighbouring layers hand to each other.
    pub(super) between: [Vec<f32>; 2],
    /// A normalized input of which nothing is kept, or its gradient where nobody asks for it.
    pub(super) entering: Vec<f32>,
}

#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Output of the layer, `[rows, width]`.
    pub(super) activation: Vec<f32>,
    /// Slopes of a smooth activation where it was applied, or what a ReLU left for a
    /// normalization, `[rows, width]`.
    pub(super) slopes: Vec<f32>,
    /// Normalized values before gain and shift, `[rows, width]`.
    pub(super) normalized: Vec<f32>,
    /// Reciprocal standard deviation of each row, `[rows]`.
    pub(super) inverse_std: Vec<f32>,
}

/// Network output for inputs `x`, row-major `[rows, input]` or an [`Input`] whose
/// rows share columns, into `out`, `[rows, output]`, keeping in `work` what
/// [`backward`](super::backward()) will need. Its gradients have the same `precision`.
///
/// # Panics
/// If a slice's length does not fit `shape` and `rows`.
pub fn forward<'a>(
    precision: Precision,
    shape: &MlpShape,
    params: &[f32],
    x: impl Into<Input<'a>>,
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let x = check(shape, params, x.into(), rows, out);
    let layers = shape.hidden.len() + 1;
    work.turned = None;
    work.precision = precision;
    let mut products = std::mem::take(&mut work.products);
    match precision.terms() {
        None => keeping(
            &mut products.lanes(layers),
            shape,
            params,
            x,
            rows,
            work,
            out,
        ),
        Some(terms) => keeping(
            &mut products.tiles(terms, layers),
            shape,
            params,
            x,
            rows,
            work,
            out,
        ),
    }
    work.products = products;
    work.rows = rows;
    if shape.head == Head::Tanh {
        grow(&mut work.out, out.len()).copy_from_slice(out);
    }
}

/// [`forward`] by `products`.
fn keeping(
    products: &mut impl Products,
    shape: &MlpShape,
    params: &[f32],
    x: Parts<'_>,
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let depth = shape.hidden.len();
    let Workspace {
        saved, entry, base, ..
    } = work;
    let x = if shape.input_norm {
        let kept = layers::Kept {
            normalized: grow(&mut entry.normalized, rows * shape.input),
            inverse_std: grow(&mut entry.inverse_std, rows),
            ..layers::Kept::default()
        };
        normalized_input(shape, params, x, &mut entry.activation, kept)
    } else {
        x
    };
    let base = Base::new(products, shape, params, x, base);
    pack(products, shape, params, x);
    saved.resize_with(depth, Saved::default);
    for (saved, layer) in saved.iter_mut().zip(shape.layers()) {
        let values = rows * layer.output;
        grow(&mut saved.activation, values);
        if shape.keeps_slopes() {
            grow(&mut saved.slopes, values);
        }
        if layer.norm.is_some() {
            grow(&mut saved.normalized, values);
            grow(&mut saved.inverse_std, rows);
        }
    }
    let block_rows = x.block_rows(ROWS);
    for first in (0..rows).step_by(block_rows) {
        let count = block_rows.min(rows - first);
        let block = |width: usize| first * width..(first + count) * width;
        products.enter(x.block(first, count).own, x.own_width);
        for (i, layer) in shape.layers().enumerate() {
            let (below, from) = saved.split_at_mut(i);
            let input = match below.last() {
                None => x.block(first, count).own,
                Some(below) => &below.activation[block(layer.input)],
            };
            let weight = (&params[x.weight(i, &layer)], layer.output);
            let bias = |row| base.bias(i, &layer, params, first + row);
            let Some(saved) = from.first_mut() else {
                let out = &mut out[block(layer.output)];
                products.multiply(i, weight, input, out, false, |row, rows| {
                    layers::last(shape.head, bias(row), rows);
                });
                continue;
            };
            let Saved {
                activation,
                slopes,
                normalized,
                inverse_std,
            } = saved;
            let out = &mut activation[block(layer.output)];
            products.multiply(i, weight, input, out, true, |row, rows| {
                let bias = bias(row);
                let first = first + row;
                let values = first * layer.output..first * layer.output + rows.len();
                let kept = layers::Kept {
                    slopes: slopes.get_mut(values.clone()).unwrap_or_default(),
                    normalized: normalized.get_mut(values).unwrap_or_default(),
                    inverse_std: inverse_std.get_mut(first..).unwrap_or_default(),
                };
                layers::hidden(shape, &layer, params, bias, rows, kept);
            });
        }
    }
}

/// The same output as [`forward`], bit for bit, without keeping anything for a gradient: for
/// targets, candidates and the frozen anchor.
///
/// # Panics
/// If a slice's length does not fit `shape` and `rows`.
pub fn forward_only<'a>(
    precision: Precision,
    shape: &MlpShape,
    params: &[f32],
    x: impl Into<Input<'a>>,
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let x = check(shape, params, x.into(), rows, out);
    let layers = shape.hidden.len() + 1;
    work.turned = None;
    let mut entering = std::mem::take(&mut work.entering);
    let mut products = std::mem::take(&mut work.products);
    let x = normalized_input(shape, params, x, &mut entering, layers::Kept::default());
    match precision.terms() {
        None => passing(
            &mut products.lanes(layers),
            shape,
            params,
            x,
            rows,
            work,
            out,
        ),
        Some(terms) => passing(
            &mut products.tiles(terms, layers),
            shape,
            params,
            x,
            rows,
            work,
            out,
        ),
    }
    work.products = products;
    work.entering = entering;
}

/// The input as the first layer takes it: normalized, where the network does that, into
/// `buffer`, what a backward pass needs into `kept`.
fn normalized_input<'a>(
    shape: &MlpShape,
    params: &[f32],
    x: Parts<'a>,
    buffer: &'a mut Vec<f32>,
    kept: layers::Kept<'_>,
) -> Parts<'a> {
    if !shape.input_norm {
        return x;
    }
    let own = grow(buffer, x.own.len());
    own.copy_from_slice(x.own);
    layers::input(shape, params, own, kept);
    Parts { own, ..x }
}

/// [`forward_only`] by `products`.
fn passing(
    products: &mut impl Products,
    shape: &MlpShape,
    params: &[f32],
    x: Parts<'_>,
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let depth = shape.hidden.len();
    let Workspace { between, base, .. } = work;
    let base = Base::new(products, shape, params, x, base);
    pack(products, shape, params, x);
    let block_rows = x.block_rows(ROWS);
    let size = block_rows.min(rows) * shape.widest();
    let [ping, pong] = between;
    let (mut ping, mut pong) = (grow(ping, size), grow(pong, size));
    for first in (0..rows).step_by(block_rows) {
        let count = block_rows.min(rows - first);
        products.enter(x.block(first, count).own, x.own_width);
        for (i, layer) in shape.layers().enumerate() {
            let input = if i == 0 {
                x.block(first, count).own
            } else {
                &pong[..count * layer.input]
            };
            let weight = (&params[x.weight(i, &layer)], layer.output);
            let bias = |row| base.bias(i, &layer, params, first + row);
            if i == depth {
                let out = &mut out[first * layer.output..(first + count) * layer.output];
                products.multiply(i, weight, input, out, false, |row, rows| {
                    layers::last(shape.head, bias(row), rows);
                });
            } else {
                let out = &mut ping[..count * layer.output];
                products.multiply(i, weight, input, out, true, |row, rows| {
                    let kept = layers::Kept::default();
                    layers::hidden(shape, &layer, params, bias(row), rows, kept);
                });
                std::mem::swap(&mut ping, &mut pong);
            }
        }
    }
}

/// Prepares every layer's weight for products with what varies from row to row.
pub(super) fn pack(products: &mut impl Products, shape: &MlpShape, params: &[f32], x: Parts<'_>) {
    for (i, layer) in shape.layers().enumerate() {
        products.pack(i, &params[x.weight(i, &layer)], layer.output);
    }
}

/// Checks lengths, and takes the input apart.
pub(super) fn check<'a>(
    shape: &MlpShape,
    params: &[f32],
    x: Input<'a>,
    rows: usize,
    out: &[f32],
) -> Parts<'a> {
    assert_eq!(
        params.len(),
        shape.parameters(),
        "flat parameters of {shape:?}"
    );
    assert_eq!(out.len(), rows * shape.output, "output rows of {shape:?}");
    let x = x.split(shape, rows);
    assert!(
        x.shared_width == 0 || !shape.input_norm,
        "shared columns of an input that is normalized, of {shape:?}"
    );
    x
}
