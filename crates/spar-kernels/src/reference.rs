//! Plain counterparts of the fused operations, in double precision and with no
//! concern for speed: what they are tested against.

use crate::{
    mlp::{Activation, Head, MlpShape, Normalization},
    value::Conservatism,
};

/// [`crate::mlp::forward`] written as its definition. `x` is `[rows, input]`,
/// the result `[rows, output]`.
pub fn forward(shape: &MlpShape, params: &[f64], x: &[f64]) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> = x.chunks(shape.input).map(<[f64]>::to_vec).collect();
    let eps = f64::from(shape.eps.value());
    if let Some((gain, shift)) = shape.input_norm() {
        for row in &mut rows {
            normalize(&params[gain.clone()], &params[shift.clone()], eps, row);
        }
    }
    for (i, layer) in shape.layers().enumerate() {
        let last = i == shape.hidden.len();
        for row in &mut rows {
            let weight = &params[layer.weight.clone()];
            let mut y: Vec<f64> = params[layer.bias.clone()].to_vec();
            for (j, y) in y.iter_mut().enumerate() {
                *y += (0..layer.input)
                    .map(|k| row[k] * weight[k * layer.output + j])
                    .sum::<f64>();
            }
            let norm = |there: Normalization, y: &mut [f64]| {
                if let Some((gain, shift)) = layer.norm.clone().filter(|_| shape.norm == there) {
                    normalize(&params[gain], &params[shift], eps, y);
                }
            };
            norm(Normalization::Before, &mut y);
            for v in &mut y {
                *v = match (last, shape.head) {
                    (false, _) => activate(shape.activation, *v),
                    (true, Head::Linear) => *v,
                    (true, Head::Tanh) => v.tanh(),
                };
            }
            norm(Normalization::After, &mut y);
            *row = y;
        }
    }
    rows.concat()
}

/// [`crate::mlp::slope`] written as its definition: the product of the weights of the
/// units that are on. `x` is `[rows, input]`, as is the result.
pub fn slope(shape: &MlpShape, params: &[f64], x: &[f64]) -> Vec<f64> {
    let layers: Vec<_> = shape.layers().collect();
    let row = |x: &[f64]| {
        let (mut values, mut kept) = (x.to_vec(), Vec::new());
        for layer in &layers {
            let weight = &params[layer.weight.clone()];
            let sums = (0..layer.output).map(|j| {
                let terms = values.iter().enumerate();
                let sum: f64 = terms.map(|(k, v)| v * weight[k * layer.output + j]).sum();
                sum + params[layer.bias.start + j]
            });
            let sums: Vec<f64> = sums.collect();
            values = sums.iter().map(|v| v.max(0.0)).collect();
            kept.push(sums);
        }
        let mut signal = vec![1.0; shape.output];
        for (i, layer) in layers.iter().enumerate().rev() {
            let weight = &params[layer.weight.clone()];
            if i + 1 < layers.len() {
                let on = signal.iter_mut().zip(&kept[i]);
                on.filter(|(_, sum)| **sum <= 0.0)
                    .for_each(|(u, _)| *u = 0.0);
            }
            let back = weight.chunks_exact(layer.output);
            signal = back
                .map(|w| w.iter().zip(&signal).map(|(w, u)| w * u).sum())
                .collect();
        }
        signal
    };
    x.chunks(shape.input).flat_map(row).collect()
}

/// `gain * (y - mean) / sqrt(var + eps) + shift`, the variance biased.
fn normalize(gain: &[f64], shift: &[f64], eps: f64, y: &mut [f64]) {
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let var = y.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let std = (var + eps).sqrt();
    for ((v, gain), shift) in y.iter_mut().zip(gain).zip(shift) {
        *v = gain * (*v - mean) / std + shift;
    }
}

/// An activation written as its definition.
fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Gelu => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Mish => x * x.exp().ln_1p().tanh(),
        Activation::Silu => x / (1.0 + (-x).exp()),
    }
}

/// What an ensemble of critics says of one action, `values` one per critic.
pub fn conservative(values: &[f64], by: Conservatism) -> f64 {
    let Conservatism::MeanMinusStd(deviations) = by else {
        return values.iter().copied().fold(f64::INFINITY, f64::min);
    };
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    mean - f64::from(deviations) * variance.sqrt()
}

/// Latent-sampling weighted regression, target, loss and gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Imitation {
    /// `mean_B (1/K) sum_k |Delta_k - Delta*|^2`.
    pub loss: f64,
    /// `softmax(A / (sigma T))` over `k`, `[B, K]`.
    pub weights: Vec<f64>,
    /// `Delta* = sum_k w_k Delta_k`, `[B, A]`.
    pub target: Vec<f64>,
    /// `d loss / d Delta_k` at a constant target, `[B, K, A]`.
    pub grad: Vec<f64>,
}

/// [`Imitation`] of candidates `[B, K, act_dim]` with conservative values `q`,
/// `[B, K]`: `A_k = q_k - mean_j q_j`, `sigma` their root mean square over the batch,
/// but no less than `floor`, and 1e-6.
pub fn imitation(
    candidates: &[f64],
    q: &[f64],
    k: usize,
    (temperature, floor): (f64, f64),
) -> Imitation {
    let (rows, act_dim) = (q.len() / k, candidates.len() / q.len());
    let centred: Vec<f64> = q
        .chunks(k)
        .flat_map(|q| {
            let mean = q.iter().sum::<f64>() / k as f64;
            q.iter().map(move |q| q - mean)
        })
        .collect();
    let std = advantage_deviation(q, k);
    let scale = 1.0 / ((std.max(floor) + 1e-6) * temperature);
    let mut out = Imitation {
        loss: 0.0,
        weights: Vec::new(),
        target: Vec::new(),
        grad: Vec::new(),
    };
    for (centred, candidates) in centred.chunks(k).zip(candidates.chunks(k * act_dim)) {
        let greatest = centred.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = centred
            .iter()
            .map(|a| ((a - greatest) * scale).exp())
            .collect();
        let sum: f64 = weights.iter().sum();
        let mut target = vec![0.0; act_dim];
        for (w, candidate) in weights.iter().zip(candidates.chunks(act_dim)) {
            for (t, c) in target.iter_mut().zip(candidate) {
                *t += w / sum * c;
            }
        }
        for (j, c) in candidates.iter().enumerate() {
            let error = c - target[j % act_dim];
            out.loss += error * error / (rows * k) as f64;
            out.grad.push(2.0 * error / (rows * k) as f64);
        }
        out.weights.extend(weights.iter().map(|w| w / sum));
        out.target.extend(target);
    }
    out
}

/// The root mean square of all the batch's advantages `q_k - mean_j q_j`, from
/// conservative values `q`, `[B, K]`.
pub fn advantage_deviation(q: &[f64], k: usize) -> f64 {
    let squares = q.chunks(k).map(|q| {
        let mean = q.iter().sum::<f64>() / k as f64;
        q.iter().map(|q| (q - mean).powi(2)).sum::<f64>()
    });
    (squares.sum::<f64>() / q.len() as f64).sqrt()
}

/// `u = weight + ratio sd(q) / sd(e)` of candidates' values `q` and what their deviations
/// exceed, `e`, `[B, K]`, `sd` as [`advantage_deviation`]; without a spread of `e`,
/// `weight`.
pub fn penalty_weight(q: &[f64], e: &[f64], k: usize, (weight, ratio): (f64, f64)) -> f64 {
    match advantage_deviation(e, k) {
        0.0 => weight,
        of_excess => weight + ratio * advantage_deviation(q, k) / of_excess,
    }
}

/// The (biased) standard deviation of `values` around their mean.
pub fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// The root mean square over rows of the deviation of an ensemble's `values`,
/// `[nets, rows]`.
pub fn disagreement(values: &[f64], nets: usize) -> f64 {
    let rows = values.len() / nets;
    let of_row = |row| values.iter().skip(row).step_by(rows).copied();
    let squares = (0..rows).map(|row| deviation(&of_row(row).collect::<Vec<_>>()).powi(2));
    (squares.sum::<f64>() / rows as f64).sqrt()
}
