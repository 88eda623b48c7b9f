//! Rows that do not know of each other: what acting needs.
//!
//! A policy's action must depend on its observation alone, bit for bit, or a
//! rollout would change with the number of environments beside it and with the
//! machine. Here every output is one chain in the order of its inputs, each
//! product rounded before it is added, which every instruction set does alike; a
//! few rows and columns are computed side by side only because each weight is
//! then read once for several rows.

use crate::{mlp::sum, vectorize::vectorized};

/// `out = x W + bias` for each row of `x`, `[rows, input]`, into `out`,
/// `[rows, output]`: `weight` is row-major `[input, output]`, `bias` `[output]`.
/// The number of rows is that of `out`.
///
/// # Panics
/// If the lengths do not fit.
pub fn affine(weight: &[f32], bias: &[f32], x: &[f32], out: &mut [f32]) {
    let rows = out.len().checked_div(bias.len()).unwrap_or(0);
    assert_eq!(
        out.len(),
        rows * bias.len(),
        "output rows of an affine map {} wide",
        bias.len()
    );
    if rows == 0 {
        return;
    }
    let input = x.len() / rows;
    assert_eq!(x.len(), rows * input, "input rows of an affine map");
    assert_eq!(
        weight.len(),
        input * bias.len(),
        "weight of an affine map from {input} to {}",
        bias.len()
    );
    affine_rows(weight, bias, x, out);
}

/// `row <- gain * (row - mean) / sqrt(var + eps) + shift` for each row of `rows`,
/// `[rows, width]`, as in PyTorch's `LayerNorm` (biased variance); `gain` and
/// `shift` are `[width]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn layer_norm(gain: &[f32], shift: &[f32], eps: f32, rows: &mut [f32]) {
    assert!(
        gain.len() == shift.len() && rows.len().is_multiple_of(gain.len().max(1)),
        "gain and shift of normalized rows"
    );
    normalize(gain, shift, eps, rows);
}

/// Rows computed side by side: more would not hide more of an addition's latency
/// and, on the narrower instruction sets, not fit the registers.
const ROWS: usize = 4;

vectorized! {
    fn affine_rows(weight: &[f32], bias: &[f32], x: &[f32], out: &mut [f32]) {
        let input = x.len() / (out.len() / bias.len());
        let mut rest = (x, out);
        while rest.1.len() >= ROWS * bias.len() {
            rest = some_rows::<ROWS>(weight, bias, rest, input);
        }
        while !rest.1.is_empty() {
            rest = some_rows::<1>(weight, bias, rest, input);
        }
    }

    fn normalize(gain: &[f32], shift: &[f32], eps: f32, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(gain.len()) {
            let width = row.len() as f32;
            let mean = sum(row, |v| v) / width;
            let variance = sum(row, |v| (v - mean) * (v - mean)) / width;
            let inverse = 1.0 / (variance + eps).sqrt();
            for ((y, g), s) in row.iter_mut().zip(gain).zip(shift) {
                *y = g * ((*y - mean) * inverse) + s;
            }
        }
    }
}

/// The first `R` rows; returns the others.
#[inline(always)]
fn some_rows<'a, 'b, const R: usize>(
    weight: &[f32],
    bias: &[f32],
    (x, out): (&'a [f32], &'b mut [f32]),
    input: usize,
) -> (&'a [f32], &'b mut [f32]) {
    let (x, x_rest) = x.split_at(R * input);
    let (out, out_rest) = out.split_at_mut(R * bias.len());
    let mut first = 0;
    // As many sums as hide the latency of an addition, in whole vectors; powers of
    // two for what is left.
    macro_rules! columns {
        ($width:expr) => {
            while bias.len() - first >= $width {
                some_columns::<R, $width>(weight, bias, x, out, first);
                first += $width;
            }
        };
    }
    if R == 1 {
        columns!(64);
    }
    columns!(16);
    columns!(8);
    columns!(4);
    columns!(2);
    columns!(1);
    (x_rest, out_rest)
}

/// Columns `first..first + W` of `R` rows.
#[inline(always)]
fn some_columns<const R: usize, const W: usize>(
    weight: &[f32],
    bias: &[f32],
    x: &[f32],
    out: &mut [f32],
    first: usize,
) {
    let (input, output) = (x.len() / R, bias.len());
    let mut sums = [[0.0; W]; R];
    for sums in &mut sums {
        sums.copy_from_slice(&bias[first..first + W]);
    }
    let x: [&[f32]; R] = std::array::from_fn(|r| &x[r * input..(r + 1) * input]);
    for k in 0..input {
        let mut w = [0.0; W];
        w.copy_from_slice(&weight[k * output + first..][..W]);
        for (x, sums) in x.iter().zip(&mut sums) {
            let x = x[k];
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum += x * w;
            }
        }
    }
    for (out, sums) in out.chunks_exact_mut(output).zip(sums) {
        out[first..first + W].copy_from_slice(&sums);
    }
}
