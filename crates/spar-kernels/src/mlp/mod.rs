//! A whole multi-layer perceptron as one operation.
//!
//! Hidden layers compute `f(x W + b)` or, with layer normalization,
//! `f(gain * normalize(x W + b) + shift)`, `f` ReLU or GELU; the last layer is
//! linear, or linear and tanh.
//!
//! Passes go through all layers a block of rows at a time, so that what one layer
//! leaves is still in the second-level cache when the next reads it.

mod layers;
mod shape;

pub use layers::LAYER_NORM_EPS;
pub(crate) use layers::sum;
pub use shape::{Activation, Head, LayerLayout, MlpShape};

use crate::{
    isa::{Isa, has_bf16},
    matmul::{Scratch, Weight, Weight16, gradient, grow, pairs, round_rows},
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
const ROWS: usize = 256;

/// Buffers of a pass, kept between passes so that a steady-state update
/// allocates nothing here.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Per hidden layer: what [`backward`] needs of the forward pass.
    saved: Vec<Saved>,
    /// Output of a forward pass with a tanh head, `[rows, output]`.
    out: Vec<f32>,
    /// Rows of the forward pass that filled `saved`.
    rows: usize,
    /// Per layer: its weight or its transpose, rearranged.
    packed: Vec<Vec<f32>>,
    /// The same in bf16.
    packed16: Vec<Vec<u32>>,
    /// What two neighbouring layers hand to each other.
    between: [Vec<f32>; 2],
    /// The same in bf16.
    between16: [Vec<u32>; 2],
    product: Scratch,
}

#[derive(Debug, Default)]
struct Saved {
    /// Output of the layer, `[rows, width]`.
    activation: Vec<f32>,
    /// What a GELU was applied to, `[rows, width]`.
    before: Vec<f32>,
    /// Normalized values before gain and shift, `[rows, width]`.
    normalized: Vec<f32>,
    /// Reciprocal standard deviation of each row, `[rows]`.
    inverse_std: Vec<f32>,
}

/// Network output for inputs `x`, row-major `[rows, input]`, into `out`,
/// `[rows, output]`, keeping in `work` what [`backward`] will need.
///
/// # Panics
/// If a slice's length does not fit `shape` and `rows`.
pub fn forward(
    shape: &MlpShape,
    params: &[f32],
    x: &[f32],
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    check(shape, params, x, rows, out);
    let isa = Isa::detect();
    let depth = shape.hidden.len();
    let Workspace { saved, packed, .. } = work;
    pack(isa, shape, params, packed);
    saved.resize_with(depth, Saved::default);
    for (saved, layer) in saved.iter_mut().zip(shape.layers()) {
        let values = rows * layer.output;
        grow(&mut saved.activation, values);
        if shape.activation == Activation::Gelu {
            grow(&mut saved.before, values);
        }
        if layer.norm.is_some() {
            grow(&mut saved.normalized, values);
            grow(&mut saved.inverse_std, rows);
        }
    }
    for first in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let block = |width: usize| first * width..(first + count) * width;
        for (i, layer) in shape.layers().enumerate() {
            let (below, from) = saved.split_at_mut(i);
            let input = match below.last() {
                None => &x[block(layer.input)],
                Some(below) => &below.activation[block(layer.input)],
            };
            let weight =
                Weight::packed(isa, &params[layer.weight.clone()], layer.output, &packed[i]);
            let Some(saved) = from.first_mut() else {
                weight.multiply(input, &mut out[block(layer.output)], |_, rows| {
                    layers::last(shape.head, &params[layer.bias.clone()], rows);
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
                let first = first + row;
                let values = first * layer.output..first * layer.output + rows.len();
                let kept = layers::Kept {
                    before: before.get_mut(values.clone()).unwrap_or_default(),
                    normalized: normalized.get_mut(values).unwrap_or_default(),
                    inverse_std: inverse_std.get_mut(first..).unwrap_or_default(),
                };
                layers::hidden(shape.activation, &layer, params, rows, kept);
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
pub fn forward_only(
    precision: Precision,
    shape: &MlpShape,
    params: &[f32],
    x: &[f32],
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    check(shape, params, x, rows, out);
    if precision == Precision::Bf16 && precision.is_present() && !shape.hidden.is_empty() {
        return forward_bf16(shape, params, x, work, out);
    }
    let isa = Isa::detect();
    let depth = shape.hidden.len();
    let Workspace {
        packed, between, ..
    } = work;
    pack(isa, shape, params, packed);
    let size = ROWS.min(rows) * shape.widest();
    let [ping, pong] = between;
    let (mut ping, mut pong) = (grow(ping, size), grow(pong, size));
    let blocks = x.chunks(ROWS * shape.input);
    for (x, out) in blocks.zip(out.chunks_mut(ROWS * shape.output)) {
        let rows = x.len() / shape.input;
        for (i, layer) in shape.layers().enumerate() {
            let input = if i == 0 {
                x
            } else {
                &pong[..rows * layer.input]
            };
            let weight =
                Weight::packed(isa, &params[layer.weight.clone()], layer.output, &packed[i]);
            if i == depth {
                weight.multiply(input, out, |_, rows| {
                    layers::last(shape.head, &params[layer.bias.clone()], rows);
                });
            } else {
                weight.multiply(input, &mut ping[..rows * layer.output], |_, rows| {
                    let kept = layers::Kept::default();
                    layers::hidden(shape.activation, &layer, params, rows, kept);
                });
                std::mem::swap(&mut ping, &mut pong);
            }
        }
    }
}

/// [`forward_only`] in bf16.
fn forward_bf16(
    shape: &MlpShape,
    params: &[f32],
    x: &[f32],
    work: &mut Workspace,
    out: &mut [f32],
) {
    let depth = shape.hidden.len();
    let Workspace {
        packed,
        packed16,
        between: [values, _],
        between16: [ping, pong],
        ..
    } = work;
    packed.resize_with(depth + 1, Vec::new);
    packed16.resize_with(depth, Vec::new);
    for (layer, packed) in shape.layers().zip(&mut *packed16) {
        Weight16::pack(&params[layer.weight], layer.output, packed);
    }
    let isa = Isa::detect();
    let last = shape.layer(depth);
    let last_weight = &params[last.weight.clone()];
    Weight::pack(isa, last_weight, last.output, &mut packed[depth]);
    let last_weight = Weight::packed(isa, last_weight, last.output, &packed[depth]);

    let rows = ROWS.min(x.len() / shape.input);
    let values = grow(values, rows * shape.widest());
    let (mut ping, mut pong) = (
        grow(ping, rows * pairs(shape.widest())),
        grow(pong, rows * pairs(shape.widest())),
    );
    let blocks = x.chunks(ROWS * shape.input);
    for (x, out) in blocks.zip(out.chunks_mut(ROWS * shape.output)) {
        let rows = x.len() / shape.input;
        round_rows(x, shape.input, &mut ping[..rows * pairs(shape.input)]);
        for (i, layer) in shape.layers().take(depth).enumerate() {
            let weight = Weight16::packed(layer.input, layer.output, &packed16[i]);
            let (input, width) = (&ping[..rows * pairs(layer.input)], pairs(layer.output));
            weight.multiply(input, &mut values[..rows * layer.output], |first, rows| {
                let kept = layers::Kept::default();
                layers::hidden(shape.activation, &layer, params, rows, kept);
                if i + 1 < depth {
                    let count = rows.len() / layer.output;
                    let to = &mut pong[first * width..(first + count) * width];
                    round_rows(rows, layer.output, to);
                }
            });
            std::mem::swap(&mut ping, &mut pong);
        }
        last_weight.multiply(&values[..rows * last.input], out, |_, rows| {
            layers::last(shape.head, &params[last.bias.clone()], rows);
        });
    }
}

/// Gradients of a scalar loss, given `grad_out = d loss / d out`,
/// `[rows, output]`, for the pass `work` holds.
///
/// `grad_params` (flat, overwritten) and `grad_x` (`[rows, input]`,
/// overwritten) are computed only where asked for.
///
/// # Panics
/// If `work` is not that of a [`forward`] pass of the same shape and rows, or
/// a slice's length does not fit.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    shape: &MlpShape,
    params: &[f32],
    x: &[f32],
    rows: usize,
    work: &mut Workspace,
    grad_out: &[f32],
    mut grad_params: Option<&mut [f32]>,
    grad_x: Option<&mut [f32]>,
) {
    if let Some(g) = grad_params.as_deref_mut() {
        assert_eq!(g.len(), params.len(), "gradient of {shape:?}");
        // Of the weights the first block of rows writes over what is there.
        for layer in shape.layers() {
            let norm = layer.norm.into_iter();
            let summed = norm.flat_map(|(gain, shift)| [gain, shift]);
            let weight = (rows == 0).then_some(layer.weight);
            for range in summed.chain([layer.bias]).chain(weight) {
                g[range].fill(0.0);
            }
        }
    }
    let grad_params = grad_params.map(|values| (values, false));
    gradients(shape, params, x, rows, work, grad_out, grad_params, grad_x);
}

/// [`backward`] that adds the gradient of the parameters to what `grad_params`
/// holds: of a network that stands more than once in a loss.
///
/// # Panics
/// As [`backward`].
#[allow(clippy::too_many_arguments)]
pub fn backward_onto(
    shape: &MlpShape,
    params: &[f32],
    x: &[f32],
    rows: usize,
    work: &mut Workspace,
    grad_out: &[f32],
    grad_params: &mut [f32],
    grad_x: Option<&mut [f32]>,
) {
    assert_eq!(grad_params.len(), params.len(), "gradient of {shape:?}");
    let grad_params = Some((grad_params, true));
    gradients(shape, params, x, rows, work, grad_out, grad_params, grad_x);
}

/// Both: bias, gain and shift gradients are added, those of weights only where
/// asked for.
#[allow(clippy::too_many_arguments)]
fn gradients(
    shape: &MlpShape,
    params: &[f32],
    x: &[f32],
    rows: usize,
    work: &mut Workspace,
    grad_out: &[f32],
    grad_params: Option<(&mut [f32], bool)>,
    mut grad_x: Option<&mut [f32]>,
) {
    check(shape, params, x, rows, grad_out);
    let isa = Isa::detect();
    let depth = shape.hidden.len();
    assert_eq!(work.rows, rows, "rows of the forward pass");
    assert_eq!(work.saved.len(), depth, "layers of the forward pass");
    let Workspace {
        saved,
        out,
        packed,
        between,
        product,
        ..
    } = work;
    let (mut grad_params, onto) = match grad_params {
        Some((values, onto)) => (Some(values), onto),
        None => (None, false),
    };
    packed.resize_with(depth + 1, Vec::new);
    let lowest = usize::from(grad_x.is_none());
    for (layer, packed) in shape.layers().zip(&mut *packed).skip(lowest) {
        Weight::pack_transposed(isa, &params[layer.weight], layer.output, packed);
    }
    let size = ROWS.min(rows) * shape.widest();
    let [current, next] = between;
    let (mut current, mut next) = (grow(current, size), grow(next, size));
    for first in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let block = |width: usize| first * width..(first + count) * width;
        let top = block(shape.output);
        current[..top.len()].copy_from_slice(&grad_out[top.clone()]);
        if shape.head == Head::Tanh {
            layers::tanh_backward(&out[top], current);
        }
        for i in (0..=depth).rev() {
            let layer = shape.layer(i);
            let grad = &current[..count * layer.output];
            if let Some(g) = grad_params.as_deref_mut() {
                let input = match i.checked_sub(1) {
                    None => &x[block(layer.input)],
                    Some(j) => &saved[j].activation[block(layer.input)],
                };
                let (n, add) = (layer.output, onto || first > 0);
                gradient(
                    isa,
                    input,
                    grad,
                    n,
                    &mut g[layer.weight.clone()],
                    add,
                    product,
                );
                if i == depth {
                    layers::add_columns(grad, &mut g[layer.bias.clone()]);
                }
            }
            let weight = || {
                let weight = &params[layer.weight.clone()];
                Weight::packed_transposed(isa, weight, layer.output, &packed[i])
            };
            let Some(below) = i.checked_sub(1) else {
                if let Some(g) = grad_x.as_deref_mut() {
                    weight().multiply(grad, &mut g[block(layer.input)], |_, _| {});
                }
                break;
            };
            let (saved, below) = (&saved[below], shape.layer(below));
            let grad_below = &mut next[..count * layer.input];
            weight().multiply(grad, grad_below, |row, rows| {
                let first = first + row;
                let values = first * layer.input..first * layer.input + rows.len();
                let kept = layers::KeptRows {
                    activation: &saved.activation[values.clone()],
                    before: saved.before.get(values.clone()).unwrap_or_default(),
                    normalized: saved.normalized.get(values).unwrap_or_default(),
                    inverse_std: saved.inverse_std.get(first..).unwrap_or_default(),
                };
                let grads = grad_params.as_deref_mut();
                layers::hidden_backward(shape.activation, &below, params, rows, kept, grads);
            });
            std::mem::swap(&mut current, &mut next);
        }
    }
}

/// Rearranges every layer's weight for products.
fn pack(isa: Isa, shape: &MlpShape, params: &[f32], packed: &mut Vec<Vec<f32>>) {
    packed.resize_with(shape.hidden.len() + 1, Vec::new);
    for (layer, packed) in shape.layers().zip(packed) {
        Weight::pack(isa, &params[layer.weight], layer.output, packed);
    }
}

fn check(shape: &MlpShape, params: &[f32], x: &[f32], rows: usize, out: &[f32]) {
    assert_eq!(
        params.len(),
        shape.parameters(),
        "flat parameters of {shape:?}"
    );
    assert_eq!(x.len(), rows * shape.input, "input rows of {shape:?}");
    assert_eq!(out.len(), rows * shape.output, "output rows of {shape:?}");
}
