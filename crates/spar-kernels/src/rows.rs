//! One row at a time: what acting needs.
//!
//! A blocked matrix product may round a row differently depending on how many
//! rows it is given. A policy's action must depend on its observation alone,
//! or a rollout would change with the number of environments beside it; here
//! every row is accumulated in the same fixed order.

use crate::{
    mlp::{LAYER_NORM_EPS, sum},
    vectorize::vectorized,
};

/// `out = x W + bias` for one row: `weight` is row-major `[x.len(), out.len()]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn affine(weight: &[f32], bias: &[f32], x: &[f32], out: &mut [f32]) {
    assert_eq!(weight.len(), x.len() * out.len(), "weight of an affine map");
    out.copy_from_slice(bias);
    accumulate(weight, x, out);
}

/// `row <- gain * (row - mean) / sqrt(var + eps) + shift`, as in PyTorch's
/// `LayerNorm` (biased variance).
///
/// # Panics
/// If the lengths differ.
pub fn layer_norm(gain: &[f32], shift: &[f32], row: &mut [f32]) {
    assert!(
        gain.len() == row.len() && shift.len() == row.len(),
        "gain and shift of a normalized row"
    );
    normalize(gain, shift, row);
}

vectorized! {
    fn accumulate(weight: &[f32], x: &[f32], out: &mut [f32]) {
        for (x, row) in x.iter().zip(weight.chunks_exact(out.len())) {
            for (o, w) in out.iter_mut().zip(row) {
                *o += x * w;
            }
        }
    }

    fn normalize(gain: &[f32], shift: &[f32], row: &mut [f32]) {
        let width = row.len() as f32;
        let mean = sum(row, |v| v) / width;
        let variance = sum(row, |v| (v - mean) * (v - mean)) / width;
        let inverse = 1.0 / (variance + LAYER_NORM_EPS).sqrt();
        for ((y, g), s) in row.iter_mut().zip(gain).zip(shift) {
            *y = g * ((*y - mean) * inverse) + s;
        }
    }
}
