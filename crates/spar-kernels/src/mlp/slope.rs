//! The slope of a critic in its action, and the gradient of a loss of slopes.
//!
//! EDAC's loss is of `g = dQ/da`, so that its gradient is a second derivative of the
//! network. With ReLU the network is linear between its kinks: which units are on is
//! fixed there, and `g` is the product of the weights of those that are. Its gradient is
//! then a product of two passes, the slope's own from the output down and that of a
//! direction `v = d loss / d g` from the input up:
//! `d loss / d W_l = sum over rows of t_l^T u_l`.

use super::{
    Activation, GradParams, Head, Input, MlpShape, Precision, Workspace, forward, layers,
    passes::{check, pack},
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
}

impl SlopeWork {
    /// The network's output of the last slope's `rows` rows, and the pass that made it: its
    /// gradient is that of a [`forward()`].
    ///
    /// # Panics
    /// If that had fewer rows.
    pub fn pass(&mut self, rows: usize) -> (&[f32], &mut Workspace) {
        (&self.out[..rows], &mut self.pass)
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

/// The gradient of the parameters of a scalar loss of slopes, given
/// `grad_out = d loss / d slope`, shaped as the slopes, for those `work` holds. That of
/// the biases is zero, and there is none of the input.
///
/// # Panics
/// If `work` is not that of a [`slope`] of the same shape, parameters and rows, or a
/// slice's length does not fit.
pub fn slope_backward<'a>(
    shape: &MlpShape,
    params: &[f32],
    x: impl Into<Input<'a>>,
    rows: usize,
    work: &mut SlopeWork,
    grad_out: &[f32],
    grad: GradParams<'_>,
) {
    let depth = shape.hidden.len();
    let SlopeWork {
        pass,
        out,
        signals,
        tangents: [current, next],
        ..
    } = work;
    let x = check(shape, params, x.into(), rows, &out[..rows]);
    let isa = Isa::detect();
    assert_eq!(pass.rows, rows, "rows of the slope");
    if pass.turned.take().is_some() {
        // By the gradient of the output, which came first.
        pack(&mut pass.products.lanes(depth + 1), shape, params, x);
    }
    assert_eq!(signals.len(), depth, "layers of the slope");
    assert_eq!(grad_out.len(), rows * x.own_width, "gradients of slopes");
    let grad = grad.whole();
    assert_eq!(grad.len(), params.len(), "gradient of {shape:?}");
    let size = rows * shape.widest();
    let (mut current, mut next) = (grow(current, size), grow(next, size));
    current[..grad_out.len()].copy_from_slice(grad_out);
    for (i, signal) in signals.iter().enumerate() {
        let layer = shape.layer(i);
        let (range, width) = (x.weight(i, &layer), layer.output);
        let tangent = &current[..range.len() / width * rows];
        let signal = &signal[..rows * width];
        let to = &mut grad[range.clone()];
        let lanes = &mut pass.products.lanes;
        gradient(isa, tangent, signal, width, to, true, &mut lanes.product);
        let weight = Weight::packed(isa, &params[range], width, &lanes.packed[i]);
        let kept = &pass.saved[i].activation;
        weight.multiply(tangent, &mut next[..rows * width], |first, rows| {
            layers::mask(&kept[first * width..first * width + rows.len()], rows);
        });
        std::mem::swap(&mut current, &mut next);
    }
    let last = x.weight(depth, &shape.layer(depth));
    layers::add_columns(&current[..rows * last.len()], &mut grad[last]);
}
