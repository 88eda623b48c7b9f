//! Gradients of a pass.

use super::{Head, Input, LayerLayout, MlpShape, ROWS, Workspace, check, layers};
use crate::{
    isa::Isa,
    matmul::{Weight, gradient, grow},
};

/// Gradients of a scalar loss, given `grad_out = d loss / d out`,
/// `[rows, output]`, for the pass `work` holds.
///
/// `grad_params` (flat, overwritten) and `grad_x` (`[rows, input]`, or the width of
/// its own part where rows share columns, overwritten) are computed only where
/// asked for.
///
/// # Panics
/// If `work` is not that of a [`super::forward`] pass of the same shape and rows, or
/// a slice's length does not fit.
#[allow(clippy::too_many_arguments)]
pub fn backward<'a>(
    shape: &MlpShape,
    params: &[f32],
    x: impl Into<Input<'a>>,
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
    gradients(
        shape,
        params,
        x.into(),
        rows,
        work,
        grad_out,
        grad_params,
        grad_x,
    );
}

/// [`backward`] that adds the gradient of the parameters to what `grad_params`
/// holds: of a network that stands more than once in a loss.
///
/// # Panics
/// As [`backward`].
#[allow(clippy::too_many_arguments)]
pub fn backward_onto<'a>(
    shape: &MlpShape,
    params: &[f32],
    x: impl Into<Input<'a>>,
    rows: usize,
    work: &mut Workspace,
    grad_out: &[f32],
    grad_params: &mut [f32],
    grad_x: Option<&mut [f32]>,
) {
    assert_eq!(grad_params.len(), params.len(), "gradient of {shape:?}");
    let grad_params = Some((grad_params, true));
    gradients(
        shape,
        params,
        x.into(),
        rows,
        work,
        grad_out,
        grad_params,
        grad_x,
    );
}

/// Both: bias, gain and shift gradients are added, those of weights only where
/// asked for.
#[allow(clippy::too_many_arguments)]
fn gradients(
    shape: &MlpShape,
    params: &[f32],
    x: Input<'_>,
    rows: usize,
    work: &mut Workspace,
    grad_out: &[f32],
    grad_params: Option<(&mut [f32], bool)>,
    mut grad_x: Option<&mut [f32]>,
) {
    let x = check(shape, params, x, rows, grad_out);
    let isa = Isa::detect();
    let depth = shape.hidden.len();
    assert_eq!(work.rows, rows, "rows of the forward pass");
    assert_eq!(work.saved.len(), depth, "layers of the forward pass");
    let Workspace {
        saved,
        out,
        packed,
        states,
        between,
        product,
        ..
    } = work;
    let (mut grad_params, onto) = match grad_params {
        Some((values, onto)) => (Some(values), onto),
        None => (None, false),
    };
    packed.resize_with(depth + 1, Vec::new);
    let [shared_weight, own_weight] = x.weights(shape.layer(0).weight);
    let weight_of = |i: usize, layer: &LayerLayout| match i {
        0 => own_weight.clone(),
        _ => layer.weight.clone(),
    };
    let lowest = usize::from(grad_x.is_none());
    for (i, (layer, packed)) in shape.layers().zip(&mut *packed).enumerate().skip(lowest) {
        Weight::pack_transposed(isa, &params[weight_of(i, &layer)], layer.output, packed);
    }
    let block_rows = x.block_rows(ROWS);
    let size = block_rows.min(rows) * shape.widest();
    let [current, next] = between;
    let (mut current, mut next) = (grow(current, size), grow(next, size));
    for first in (0..rows).step_by(block_rows) {
        let count = block_rows.min(rows - first);
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
                let (n, add) = (layer.output, onto || first > 0);
                if i == 0 && x.shared_width > 0 {
                    let shared = x.block(first, count).shared;
                    let states = grow(states, count / x.repeat * n);
                    layers::sum_states(grad, n, x.repeat, states);
                    let to = &mut g[shared_weight.clone()];
                    gradient(isa, shared, states, n, to, add, product);
                }
                let input = match i.checked_sub(1) {
                    None => x.block(first, count).own,
                    Some(j) => &saved[j].activation[block(layer.input)],
                };
                let to = &mut g[weight_of(i, &layer)];
                gradient(isa, input, grad, n, to, add, product);
                if i == depth {
                    layers::add_columns(grad, &mut g[layer.bias.clone()]);
                }
            }
            let weight = || {
                let weight = &params[weight_of(i, &layer)];
                Weight::packed_transposed(isa, weight, layer.output, &packed[i])
            };
            let Some(below) = i.checked_sub(1) else {
                if let Some(g) = grad_x.as_deref_mut() {
                    weight().multiply(grad, &mut g[block(x.own_width)], |_, _| {});
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
