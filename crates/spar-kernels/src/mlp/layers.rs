//! What stands between the products of a network, a few rows at a time.

use std::ops::Range;

use super::{
    shape::{Activation, Head, LayerLayout, MlpShape, Normalization},
    sums::{dot, sum},
};
use crate::{scalar, vectorize::vectorized};

/// What is added to the rows of a product: one bias to all, or to each state's rows
/// what the shared columns of the input came to, bias included.
#[derive(Clone, Copy)]
pub(super) struct Bias<'a> {
    values: &'a [f32],
    width: usize,
    /// Rows that have one row of `values` in turn.
    repeat: usize,
    /// Index of the first row.
    first: usize,
}

impl<'a> Bias<'a> {
    /// The same for all rows.
    pub(super) fn one(values: &'a [f32]) -> Self {
        Self {
            values,
            width: values.len(),
            repeat: usize::MAX,
            first: 0,
        }
    }

    /// `values`, `[states, width]`, each for `repeat` rows, from row `first` on.
    pub(super) fn of_states(values: &'a [f32], width: usize, repeat: usize, first: usize) -> Self {
        Self {
            values,
            width,
            repeat,
            first,
        }
    }

    #[inline(always)]
    fn row(self, i: usize) -> &'a [f32] {
        let at = (self.first + i) / self.repeat * self.width;
        &self.values[at..at + self.width]
    }
}

/// Where a forward pass leaves what a backward pass needs; empty where it needs
/// nothing.
#[derive(Default)]
pub(super) struct Kept<'a> {
    pub(super) slopes: &'a mut [f32],
    pub(super) normalized: &'a mut [f32],
    pub(super) inverse_std: &'a mut [f32],
}

/// Gain, shift and epsilon of a layer normalization.
#[derive(Clone, Copy)]
struct Affine<'a> {
    gain: &'a [f32],
    shift: &'a [f32],
    eps: f32,
}

/// The same, for reading.
#[derive(Clone, Copy, Default)]
pub(super) struct KeptRows<'a> {
    pub(super) activation: &'a [f32],
    pub(super) slopes: &'a [f32],
    pub(super) normalized: &'a [f32],
    pub(super) inverse_std: &'a [f32],
}

/// Bias, normalization and activation of some `rows` of a hidden layer, in place.
pub(super) fn hidden(
    shape: &MlpShape,
    layer: &LayerLayout,
    params: &[f32],
    bias: Bias<'_>,
    rows: &mut [f32],
    kept: Kept<'_>,
) {
    let norm = layer.norm.clone().map(|(g, s)| Affine {
        gain: &params[g],
        shift: &params[s],
        eps: shape.eps.value(),
    });
    let Kept {
        slopes,
        normalized,
        inverse_std,
    } = kept;
    // A ReLU cuts off at zero in the same sweep, the others take what it leaves.
    let floor = match shape.activation {
        Activation::Relu => 0.0,
        _ => f32::NEG_INFINITY,
    };
    let (first, after) = match shape.norm {
        Normalization::After => (None, norm),
        _ => (norm, None),
    };
    match first {
        None => add_bias(bias, floor, rows),
        Some(norm) => normalize(Some(bias), norm, floor, rows, normalized, inverse_std),
    }
    if !slopes.is_empty() {
        activate_keeping(shape.activation, rows, slopes);
    } else if shape.activation != Activation::Relu {
        activate(shape.activation, rows);
    }
    if let Some(norm) = after {
        let floor = f32::NEG_INFINITY;
        // What the first normalization left is untouched: there is one of the two.
        normalize(None, norm, floor, rows, normalized, inverse_std);
    }
}

/// The layer normalization of input rows, in place.
pub(super) fn input(shape: &MlpShape, params: &[f32], rows: &mut [f32], kept: Kept<'_>) {
    let Some((gain, shift)) = shape.input_norm() else {
        return;
    };
    let norm = Affine {
        gain: &params[gain],
        shift: &params[shift],
        eps: shape.eps.value(),
    };
    let floor = f32::NEG_INFINITY;
    normalize(None, norm, floor, rows, kept.normalized, kept.inverse_std);
}

/// From the gradient of normalized input rows, in `rows`, to that of the input, in place;
/// gain and shift gradients are added to `grads`.
pub(super) fn input_backward(
    shape: &MlpShape,
    params: &[f32],
    rows: &mut [f32],
    kept: KeptRows<'_>,
    grads: Option<&mut [f32]>,
) {
    if let Some(norm) = shape.input_norm() {
        affine_backward(&norm, params, rows, kept, grads);
    }
}

/// Bias and head of some `rows` of the last layer, in place.
pub(super) fn last(head: Head, bias: Bias<'_>, rows: &mut [f32]) {
    add_bias(bias, f32::NEG_INFINITY, rows);
    if head == Head::Tanh {
        tanh(rows);
    }
}

/// From the gradient of a hidden layer's output, in `rows`, to that of its
/// product, in place; bias, gain and shift gradients are added to `grads`.
pub(super) fn hidden_backward(
    shape: &MlpShape,
    layer: &LayerLayout,
    params: &[f32],
    rows: &mut [f32],
    kept: KeptRows<'_>,
    mut grads: Option<&mut [f32]>,
) {
    let activation_backward = |rows: &mut [f32]| match shape.activation {
        Activation::Relu if shape.norm == Normalization::After => mask(kept.slopes, rows),
        Activation::Relu => mask(kept.activation, rows),
        _ => multiply(kept.slopes, rows),
    };
    match &layer.norm {
        None => activation_backward(rows),
        Some(norm) if shape.norm == Normalization::After => {
            affine_backward(norm, params, rows, kept, grads.as_deref_mut());
            activation_backward(rows);
        }
        Some(norm) => {
            activation_backward(rows);
            affine_backward(norm, params, rows, kept, grads.as_deref_mut());
        }
    }
    if let Some(g) = grads {
        add_columns(rows, &mut g[layer.bias.clone()]);
    }
}

/// Through gain, shift and normalization, in place.
fn affine_backward(
    (gain, shift): &(Range<usize>, Range<usize>),
    params: &[f32],
    rows: &mut [f32],
    kept: KeptRows<'_>,
    grads: Option<&mut [f32]>,
) {
    if let Some(g) = grads {
        add_columns(rows, &mut g[shift.clone()]);
        add_columns_of_product(rows, kept.normalized, &mut g[gain.clone()]);
    }
    let gain = &params[gain.clone()];
    normalize_backward(gain, kept.normalized, kept.inverse_std, rows);
}

/// Applies `activation` to every element, in place.
pub fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Relu => relu(values),
        Activation::Gelu => gelu(values),
        Activation::Mish => mish(values),
        Activation::Silu => silu(values),
    }
}

/// [`activate`], but of a ReLU, which has cut off already; its slopes at what was there into
/// `slopes`, since half of what a slope costs is the activation's own. A ReLU's are what it
/// left: they are 1 where that is not zero.
fn activate_keeping(activation: Activation, values: &mut [f32], slopes: &mut [f32]) {
    assert_eq!(values.len(), slopes.len(), "slopes of an activation");
    match activation {
        Activation::Relu => slopes.copy_from_slice(values),
        Activation::Gelu => gelu_keeping(values, slopes),
        Activation::Mish => mish_keeping(values, slopes),
        Activation::Silu => silu_keeping(values, slopes),
    }
}

/// `grad <- grad f'(before)`, element by element, of the activation `f`.
///
/// # Panics
/// If the lengths differ.
pub fn activate_backward(activation: Activation, before: &[f32], grad: &mut [f32]) {
    assert_eq!(before.len(), grad.len(), "gradient of an activation");
    match activation {
        Activation::Relu => mask(before, grad),
        Activation::Gelu => gelu_backward(before, grad),
        Activation::Mish => mish_backward(before, grad),
        Activation::Silu => silu_backward(before, grad),
    }
}

/// `grad <- grad (1 - out^2)`.
pub(super) fn tanh_backward(out: &[f32], grad: &mut [f32]) {
    for (g, y) in grad.iter_mut().zip(out) {
        *g *= 1.0 - y * y;
    }
}

/// `max(v, floor)` that lets a NaN through, as PyTorch's ReLU does: with
/// `f32::max` a diverged network would continue as a silent one.
#[inline(always)]
fn not_below(floor: f32, v: f32) -> f32 {
    if v < floor { floor } else { v }
}

vectorized! {
    /// `y <- max(y + b, floor)`, row by row.
    pub(super) fn add_bias(bias: Bias<'_>, floor: f32, rows: &mut [f32]) {
        for (i, row) in rows.chunks_exact_mut(bias.width).enumerate() {
            for (y, b) in row.iter_mut().zip(bias.row(i)) {
                *y = not_below(floor, *y + b);
            }
        }
    }

    fn tanh(values: &mut [f32]) {
        values.iter_mut().for_each(|v| *v = scalar::tanh(*v));
    }

    fn gelu(values: &mut [f32]) {
        values.iter_mut().for_each(|v| *v = scalar::gelu(*v));
    }

    fn gelu_keeping(values: &mut [f32], slopes: &mut [f32]) {
        for (v, slope) in values.iter_mut().zip(slopes) {
            (*v, *slope) = scalar::gelu_and_slope(*v);
        }
    }

    fn gelu_backward(before: &[f32], grad: &mut [f32]) {
        for (g, x) in grad.iter_mut().zip(before) {
            *g *= scalar::gelu_and_slope(*x).1;
        }
    }

    fn relu(values: &mut [f32]) {
        values.iter_mut().for_each(|v| *v = not_below(0.0, *v));
    }

    fn mish(values: &mut [f32]) {
        values.iter_mut().for_each(|v| *v = scalar::mish(*v));
    }

    fn mish_keeping(values: &mut [f32], slopes: &mut [f32]) {
        for (v, slope) in values.iter_mut().zip(slopes) {
            (*v, *slope) = scalar::mish_and_slope(*v);
        }
    }

    fn mish_backward(before: &[f32], grad: &mut [f32]) {
        for (g, x) in grad.iter_mut().zip(before) {
            *g *= scalar::mish_and_slope(*x).1;
        }
    }

    fn silu(values: &mut [f32]) {
        values.iter_mut().for_each(|v| *v = scalar::silu(*v));
    }

    fn silu_keeping(values: &mut [f32], slopes: &mut [f32]) {
        for (v, slope) in values.iter_mut().zip(slopes) {
            (*v, *slope) = scalar::silu_and_slope(*v);
        }
    }

    fn silu_backward(before: &[f32], grad: &mut [f32]) {
        for (g, x) in grad.iter_mut().zip(before) {
            *g *= scalar::silu_and_slope(*x).1;
        }
    }

    fn multiply(slopes: &[f32], grad: &mut [f32]) {
        for (g, slope) in grad.iter_mut().zip(slopes) {
            *g *= slope;
        }
    }

    /// Sets to zero what a ReLU has cut off.
    pub(super) fn mask(activation: &[f32], grad: &mut [f32]) {
        for (g, a) in grad.iter_mut().zip(activation) {
            *g = if *a > 0.0 { *g } else { 0.0 };
        }
    }

    /// `y <- max(gain * n + shift, floor)` with
    /// `n = (y + b - mean) / sqrt(var + eps)` over each row, as in PyTorch's
    /// `LayerNorm` (biased variance); `n` and the reciprocal root are left in
    /// `normalized` and `inverse_std` where those are not empty. Without a bias `b` is
    /// zero.
    fn normalize(
        bias: Option<Bias<'_>>,
        norm: Affine<'_>,
        floor: f32,
        rows: &mut [f32],
        normalized: &mut [f32],
        inverse_std: &mut [f32],
    ) {
        let Affine { gain, shift, eps } = norm;
        let width = gain.len();
        let mut normalized = normalized.chunks_exact_mut(width);
        let mut inverse_std = inverse_std.iter_mut();
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            if let Some(bias) = bias {
                for (y, b) in row.iter_mut().zip(bias.row(i)) {
                    *y += b;
                }
            }
            let mean = sum(row, |v| v) / width as f32;
            let variance = sum(row, |v| (v - mean) * (v - mean)) / width as f32;
            let inverse = 1.0 / (variance + eps).sqrt();
            let parameters = gain.iter().zip(shift);
            if let (Some(normal), Some(i)) = (normalized.next(), inverse_std.next()) {
                *i = inverse;
                for ((y, n), (g, s)) in row.iter_mut().zip(normal).zip(parameters) {
                    *n = (*y - mean) * inverse;
                    *y = not_below(floor, g * *n + s);
                }
            } else {
                for (y, (g, s)) in row.iter_mut().zip(parameters) {
                    *y = not_below(floor, g * ((*y - mean) * inverse) + s);
                }
            }
        }
    }

    /// Gradient through gain and normalization, in place: with `d = gain * grad`,
    /// `grad <- inverse_std * (d - mean(d) - n * mean(d * n))` over each row.
    fn normalize_backward(
        gain: &[f32],
        normalized: &[f32],
        inverse_std: &[f32],
        grad: &mut [f32],
    ) {
        let width = gain.len();
        let rows = grad
            .chunks_exact_mut(width)
            .zip(normalized.chunks_exact(width));
        for ((row, normal), inverse) in rows.zip(inverse_std) {
            for (d, g) in row.iter_mut().zip(gain) {
                *d *= g;
            }
            let mean = sum(row, |v| v) / width as f32;
            let along = dot(row, normal) / width as f32;
            for (d, n) in row.iter_mut().zip(normal) {
                *d = inverse * (*d - mean - n * along);
            }
        }
    }

    /// The sums of every `repeat` of `rows`, `width` wide, into `out`.
    pub(super) fn sum_states(rows: &[f32], width: usize, repeat: usize, out: &mut [f32]) {
        for (rows, out) in rows.chunks_exact(repeat * width).zip(out.chunks_exact_mut(width)) {
            out.copy_from_slice(&rows[..width]);
            for row in rows[width..].chunks_exact(width) {
                for (o, v) in out.iter_mut().zip(row) {
                    *o += v;
                }
            }
        }
    }

    /// Adds the sum of `rows` to `out`.
    pub(super) fn add_columns(rows: &[f32], out: &mut [f32]) {
        for row in rows.chunks_exact(out.len()) {
            for (o, v) in out.iter_mut().zip(row) {
                *o += v;
            }
        }
    }

    /// `out = c rows`, of one factor a row.
    pub(super) fn scale_rows(c: &[f32], rows: &[f32], out: &mut [f32]) {
        let width = (rows.len() / c.len().max(1)).max(1);
        let each = rows.chunks_exact(width).zip(out.chunks_exact_mut(width));
        for (c, (row, out)) in c.iter().zip(each) {
            for (o, v) in out.iter_mut().zip(row) {
                *o = c * v;
            }
        }
    }

    /// Adds the sum of `c rows`, of one factor a row, to `out`.
    pub(super) fn add_weighted_rows(c: &[f32], rows: &[f32], out: &mut [f32]) {
        for (c, row) in c.iter().zip(rows.chunks_exact(out.len())) {
            for (o, v) in out.iter_mut().zip(row) {
                *o += c * v;
            }
        }
    }

    /// `out = t + c h`, of one factor a row.
    pub(super) fn mix(c: &[f32], t: &[f32], h: &[f32], out: &mut [f32]) {
        let width = (t.len() / c.len().max(1)).max(1);
        let rows = t.chunks_exact(width).zip(h.chunks_exact(width));
        for ((c, (t, h)), out) in c.iter().zip(rows).zip(out.chunks_exact_mut(width)) {
            for ((o, t), h) in out.iter_mut().zip(t).zip(h) {
                *o = t + c * h;
            }
        }
    }

    /// Adds the sum of the rows of `a b`, element by element, to `out`.
    fn add_columns_of_product(a: &[f32], b: &[f32], out: &mut [f32]) {
        for (a, b) in a.chunks_exact(out.len()).zip(b.chunks_exact(out.len())) {
            for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                *o += a * b;
            }
        }
    }
}
