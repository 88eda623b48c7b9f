//! The forward passes, and what they keep for the backward one.

use super::{
    Head, MlpShape,
    input::{Base, Input, Parts},
    layers::{self, Bias},
};
use crate::{
    isa::{Isa, has_bf16},
    matmul::{Scratch, Weight, Weight16, grow, pairs, round_rows},
};

/// How exactly a pass without gradients multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Weights and inputs of hidden layers rounded to bf16, sums, normalization and
    /// the last layer in single precision. Where the machine has no such
    /// instructions (AVX512-BF16) it is [`Precision::F32`].
    Bf16,
}

impl Precision {
    /// Whether this machine multiplies so.
    pub fn is_present(self) -> bool {
        self == Self::F32 || has_bf16()
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
    /// Per layer: its weight or its transpose, rearranged.
    pub(super) packed: Vec<Vec<f32>>,
    /// From which layer on those are transposes, made by a backward pass since the last
    /// forward one.
    pub(super) turned: Option<usize>,
    /// The same in bf16.
    pub(super) packed16: Vec<Vec<u32>>,
    /// What the shared part of the input comes to in the first layer, and the
    /// weight it is multiplied with, rearranged.
    pub(super) base: Vec<f32>,
    pub(super) packed_shared: Vec<f32>,
    /// Sums of a state's rows.
    pub(super) states: Vec<f32>,
    /// What two neighbouring layers hand to each other.
    pub(super) between: [Vec<f32>; 2],
    /// The same in bf16.
    pub(super) between16: [Vec<u32>; 2],
    /// A normalized input of which nothing is kept, or its gradient where nobody asks for it.
    pub(super) entering: Vec<f32>,
    pub(super) product: Scratch,
}

#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Output of the layer, `[rows, width]`.
    pub(super) activation: Vec<f32>,
    /// What a smooth activation was applied to, or a ReLU left for a normalization,
    /// `[rows, width]`.
    pub(super) before: Vec<f32>,
    /// Normalized values before gain and shift, `[rows, width]`.
    pub(super) normalized: Vec<f32>,
    /// Reciprocal standard deviation of each row, `[rows]`.
    pub(super) inverse_std: Vec<f32>,
}

/// Network output for inputs `x`, row-major `[rows, input]` or an [`Input`] whose
/// rows share columns, into `out`, `[rows, output]`, keeping in `work` what
/// [`backward`](super::backward()) will need.
///
/// # Panics
/// If a slice's length does not fit `shape` and `rows`.
pub fn forward<'a>(
    shape: &MlpShape,
    params: &[f32],
    x: impl Into<Input<'a>>,
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let x = check(shape, params, x.into(), rows, out);
    let isa = Isa::detect();
    let depth = shape.hidden.len();
    work.turned = None;
    let Workspace {
        saved,
        entry,
        packed,
        base,
        packed_shared,
        ..
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
    let base = Base::new(isa, shape, params, x, base, packed_shared);
    pack(isa, shape, params, x, packed);
    saved.resize_with(depth, Saved::default);
    for (saved, layer) in saved.iter_mut().zip(shape.layers()) {
        let values = rows * layer.output;
        grow(&mut saved.activation, values);
        if shape.keeps_before() {
            grow(&mut saved.before, values);
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
        for (i, layer) in shape.layers().enumerate() {
            let (below, from) = saved.split_at_mut(i);
            let input = match below.last() {
                None => x.block(first, count).own,
                Some(below) => &below.activation[block(layer.input)],
            };
            let weight = &params[x.weight(i, &layer)];
            let weight = Weight::packed(isa, weight, layer.output, &packed[i]);
            let bias = |row| base.bias(i, &layer, params, first + row);
            let Some(saved) = from.first_mut() else {
                weight.multiply(input, &mut out[block(layer.output)], |row, rows| {
                    layers::last(shape.head, bias(row), rows);
                });
                continue;
            };
            let Saved {
                activation,
                before,
                normalized,
                inverse_std,
            } = saved;
            weight.multiply(input, &mut activation[block(layer.output)], |row, rows| {
                let bias = bias(row);
                let first = first + row;
                let values = first * layer.output..first * layer.output + rows.len();
                let kept = layers::Kept {
                    before: before.get_mut(values.clone()).unwrap_or_default(),
                    normalized: normalized.get_mut(values).unwrap_or_default(),
                    inverse_std: inverse_std.get_mut(first..).unwrap_or_default(),
                };
                layers::hidden(shape, &layer, params, bias, rows, kept);
            });
        }
    }
    work.rows = rows;
    if shape.head == Head::Tanh {
        grow(&mut work.out, out.len()).copy_from_slice(out);
    }
}

/// The same output as [`forward`], bit for bit in single precision, without
/// keeping anything for a gradient: for targets, candidates and the frozen anchor.
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
    work.turned = None;
    let mut entering = std::mem::take(&mut work.entering);
    let x = normalized_input(shape, params, x, &mut entering, layers::Kept::default());
    if precision == Precision::Bf16 && precision.is_present() && !shape.hidden.is_empty() {
        forward_bf16(shape, params, x, rows, work, out);
    } else {
        forward_single(shape, params, x, rows, work, out);
    }
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

/// [`forward_only`] in single precision.
fn forward_single(
    shape: &MlpShape,
    params: &[f32],
    x: Parts<'_>,
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let isa = Isa::detect();
    let depth = shape.hidden.len();
    let Workspace {
        packed,
        between,
        base,
        packed_shared,
        ..
    } = work;
    let base = Base::new(isa, shape, params, x, base, packed_shared);
    pack(isa, shape, params, x, packed);
    let block_rows = x.block_rows(ROWS);
    let size = block_rows.min(rows) * shape.widest();
    let [ping, pong] = between;
    let (mut ping, mut pong) = (grow(ping, size), grow(pong, size));
    for first in (0..rows).step_by(block_rows) {
        let count = block_rows.min(rows - first);
        for (i, layer) in shape.layers().enumerate() {
            let input = if i == 0 {
                x.block(first, count).own
            } else {
                &pong[..count * layer.input]
            };
            let weight = &params[x.weight(i, &layer)];
            let weight = Weight::packed(isa, weight, layer.output, &packed[i]);
            let bias = |row| base.bias(i, &layer, params, first + row);
            if i == depth {
                let out = &mut out[first * layer.output..(first + count) * layer.output];
                weight.multiply(input, out, |row, rows| {
                    layers::last(shape.head, bias(row), rows);
                });
            } else {
                weight.multiply(input, &mut ping[..count * layer.output], |row, rows| {
                    let kept = layers::Kept::default();
                    layers::hidden(shape, &layer, params, bias(row), rows, kept);
                });
                std::mem::swap(&mut ping, &mut pong);
            }
        }
    }
}

/// [`forward_only`] in bf16, the shared part of an input in single precision.
fn forward_bf16(
    shape: &MlpShape,
    params: &[f32],
    x: Parts<'_>,
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let depth = shape.hidden.len();
    let Workspace {
        packed,
        packed16,
        base,
        packed_shared,
        between: [values, _],
        between16: [ping, pong],
        ..
    } = work;
    let isa = Isa::detect();
    let base = Base::new(isa, shape, params, x, base, packed_shared);
    packed.resize_with(depth + 1, Vec::new);
    packed16.resize_with(depth, Vec::new);
    for (i, (layer, packed)) in shape.layers().zip(&mut *packed16).enumerate() {
        Weight16::pack(&params[x.weight(i, &layer)], layer.output, packed);
    }
    let last = shape.layer(depth);
    let last_weight = &params[last.weight.clone()];
    Weight::pack(isa, last_weight, last.output, &mut packed[depth]);
    let last_weight = Weight::packed(isa, last_weight, last.output, &packed[depth]);

    let block_rows = x.block_rows(ROWS);
    let most = block_rows.min(rows);
    let values = grow(values, most * shape.widest());
    let (mut ping, mut pong) = (
        grow(ping, most * pairs(shape.widest())),
        grow(pong, most * pairs(shape.widest())),
    );
    for first in (0..rows).step_by(block_rows) {
        let count = block_rows.min(rows - first);
        let own = x.block(first, count).own;
        round_rows(own, x.own_width, &mut ping[..count * pairs(x.own_width)]);
        for (i, layer) in shape.layers().take(depth).enumerate() {
            let input = if i == 0 { x.own_width } else { layer.input };
            let weight = Weight16::packed(input, layer.output, &packed16[i]);
            let (input, width) = (&ping[..count * pairs(input)], pairs(layer.output));
            weight.multiply(input, &mut values[..count * layer.output], |row, rows| {
                let kept = layers::Kept::default();
                let bias = base.bias(i, &layer, params, first + row);
                layers::hidden(shape, &layer, params, bias, rows, kept);
                if i + 1 < depth {
                    let count = rows.len() / layer.output;
                    let to = &mut pong[row * width..(row + count) * width];
                    round_rows(rows, layer.output, to);
                }
            });
            std::mem::swap(&mut ping, &mut pong);
        }
        let out = &mut out[first * last.output..(first + count) * last.output];
        last_weight.multiply(&values[..count * last.input], out, |_, rows| {
            layers::last(shape.head, Bias::one(&params[last.bias.clone()]), rows);
        });
    }
}

/// Rearranges every layer's weight for products with what varies from row to row.
pub(super) fn pack(
    isa: Isa,
    shape: &MlpShape,
    params: &[f32],
    x: Parts<'_>,
    packed: &mut Vec<Vec<f32>>,
) {
    packed.resize_with(shape.hidden.len() + 1, Vec::new);
    for (i, (layer, packed)) in shape.layers().zip(packed).enumerate() {
        Weight::pack(isa, &params[x.weight(i, &layer)], layer.output, packed);
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
