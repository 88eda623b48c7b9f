//! The slope of a critic in its action, and the gradient of a loss of values and slopes.
//!
//! EDAC's loss is of `g = dQ/da`, so that its gradient is a second derivative of the
//! network. With ReLU the network is linear between its kinks: which units are on is
//! fixed there, and `g` is the product of the weights of those that are. Its gradient is
//! then a product of two passes, the slope's own from the output down, `u_l`, and that of a
//! direction `v = d loss / d g` from the input up, `t_l`:
//! `d loss / d W_l = sum over rows of t_l^T u_l`.
//!
//! The value's own gradient is made of the same: with `c = d loss / d Q`, one number a row, what
//! comes down to a layer is `c u_l`, so that with the layer's input `h_l` both are one product,
//! `d loss / d W_l = sum over rows of (t_l + c h_l)^T u_l`. A gradient of the value apart would
//! take two more, of eight.

use super::{
    Activation, GradParams, Head, Input, MlpShape, Precision, Workspace, backward::clear_sums,
    forward, layers, passes::check,
};
use crate::{
    isa::Isa,
    matmul::{Weight, gradient, grow},
};

/// Buffers of a slope, kept between passes.
#[derive(Debug, Default)]
pub struct SlopeWork {
    /// Of the pass that says which units are on; its weights stay prepared.
    pass: Workspace,
    /// The network's output there, `[rows, 1]`.
    out: Vec<f32>,
    /// Per hidden layer: `u`, the output's gradient in the layer's sums,
    /// `[rows, width]`.
    signals: Vec<Vec<f32>>,
    /// Per layer: its weight's transpose, rearranged.
    turned: Vec<Vec<f32>>,
    /// `t` of two neighbouring layers, `[rows, width]`.
    tangents: [Vec<f32>; 2],
    /// `t + c h` of a layer, `[rows, width]`.
    mixed: Vec<f32>,
}

impl SlopeWork {
    /// The network's output of the last slope's `rows` rows.
    ///
    /// # Panics
    /// If that had fewer rows.
    pub fn values(&self, rows: usize) -> &[f32] {
        &self.out[..rows]
    }
}

/// `d net / d x`, `[rows, input]` or the width of the rows' own part, into `out`, of a
/// network with one linear output, ReLU and no normalization; keeps in `work` what
/// [`slope_backward`] will need.
///
/// # Panics
/// If `shape` is of another kind, or a slice's length does not fit it and `rows`.
pub fn slope<'a>(
    shape: &MlpShape,
    params: &[f32],
    x: impl Into<Input<'a>>,
    rows: usize,
    work: &mut SlopeWork,
    out: &mut [f32],
) {
    assert!(
        shape.output == 1
            && shape.head == Head::Linear
            && shape.activation == Activation::Relu
            && !shape.layer_norm()
            && !shape.input_norm,
        "the slope of {shape:?}"
    );
    let x = x.into();
    let depth = shape.hidden.len();
    let SlopeWork {
        pass,
        out: values,
        signals,
        turned,
        ..
    } = work;
    let values = grow(values, rows);
    forward(Precision::F32, shape, params, x, rows, pass, values);
    let x = check(shape, params, x, rows, values);
    assert_eq!(out.len(), rows * x.own_width, "slopes of {shape:?}");
    let isa = Isa::detect();
    signals.resize_with(depth, Vec::new);
    turned.resize_with(depth, Vec::new);
    let last = &params[x.weight(depth, &shape.layer(depth))];
    let Some(top) = signals.last_mut() else {
        return out
            .chunks_exact_mut(x.own_width)
            .for_each(|row| row.copy_from_slice(last));
    };
    let top = grow(top, rows * last.len());
    top.chunks_exact_mut(last.len())
        .for_each(|row| row.copy_from_slice(last));
    layers::mask(&pass.saved[depth - 1].activation, top);
    for i in (0..depth).rev() {
        let layer = shape.layer(i);
        let weight = &params[x.weight(i, &layer)];
        Weight::pack_transposed(isa, weight, layer.output, &mut turned[i]);
        let weight = Weight::packed_transposed(isa, weight, layer.output, &turned[i]);
        let (below, from) = signals.split_at_mut(i);
        let signal = &from[0][..rows * layer.output];
        let Some(below) = below.last_mut() else {
            weight.multiply(signal, out, |_, _| {});
            break;
        };
        let width = layer.input;
        let kept = &pass.saved[i - 1].activation;
        weight.multiply(signal, grow(below, rows * width), |first, rows| {
            layers::mask(&kept[first * width..first * width + rows.len()], rows);
        });
    }
}

/// The gradient of the parameters of a scalar loss of values and slopes, given
/// `grad_value = d loss / d value`, `[rows]`, and `grad_slope = d loss / d slope`, shaped as the
/// slopes, for those `work` holds. There is none of the input.
///
/// # Panics
/// If `work` is not that of a [`slope`] of the same shape, parameters and rows, or a
/// slice's length does not fit.
#[allow(clippy::too_many_arguments)]
pub fn slope_backward<'a>(
    shape: &MlpShape,
    params: &[f32],
    x: impl Into<Input<'a>>,
    rows: usize,
    work: &mut SlopeWork,
    grad_value: &[f32],
    grad_slope: &[f32],
    grad: GradParams<'_>,
) {
    let depth = shape.hidden.len();
    let SlopeWork {
        pass,
        signals,
        tangents: [current, next],
        mixed,
        ..
    } = work;
    let x = check(shape, params, x.into(), rows, grad_value);
    let isa = Isa::detect();
    assert_eq!(pass.rows, rows, "rows of the slope");
    assert_eq!(signals.len(), depth, "layers of the slope");
    assert_eq!(grad_slope.len(), rows * x.own_width, "gradients of slopes");
    let GradParams { values: grad, onto } = grad;
    assert_eq!(grad.len(), params.len(), "gradient of {shape:?}");
    if !onto {
        clear_sums(shape, rows, grad);
    }
    let Workspace {
        saved,
        states,
        products,
        ..
    } = pass;
    let lanes = &mut products.lanes;
    let size = rows * shape.widest();
    let (mut current, mut next) = (grow(current, size), grow(next, size));
    current[..grad_slope.len()].copy_from_slice(grad_slope);
    for (i, layer) in shape.layers().enumerate() {
        let range = x.weight(i, &layer);
        let input = match i.checked_sub(1) {
            None => x.own,
            Some(below) => &saved[below].activation[..rows * layer.input],
        };
        let tangent = &current[..input.len()];
        let mixed = grow(mixed, input.len());
        layers::mix(grad_value, tangent, input, mixed);
        let width = layer.output;
        let signal = signals.get(i).map(|signal| &signal[..rows * width]);
        let scratch = &mut lanes.product;
        if i == 0 && x.shared_width > 0 {
            let scaled = &mut next[..rows * width];
            match signal {
                Some(signal) => layers::scale_rows(grad_value, signal, scaled),
                None => scaled.copy_from_slice(grad_value),
            }
            let states = grow(states, rows / x.repeat * width);
            layers::sum_states(scaled, width, x.repeat, states);
            let to = &mut grad[x.shared_weight(&layer)];
            gradient(isa, x.shared, states, width, to, onto, scratch);
        }
        let Some(signal) = signal else {
            // The output's own gradient in its sum is one.
            let to = &mut grad[range];
            if !onto {
                to.fill(0.0);
            }
            layers::add_columns(mixed, to);
            layers::add_columns(grad_value, &mut grad[layer.bias]);
            break;
        };
        layers::add_weighted_rows(grad_value, signal, &mut grad[layer.bias.clone()]);
        let to = &mut grad[range.clone()];
        gradient(isa, mixed, signal, width, to, onto, scratch);
        let weight = Weight::packed(isa, &params[range], width, &lanes.packed[i]);
        let kept = &saved[i].activation;
        weight.multiply(tangent, &mut next[..rows * width], |first, rows| {
            layers::mask(&kept[first * width..first * width + rows.len()], rows);
        });
        std::mem::swap(&mut current, &mut next);
    }
}
