//! Plain counterparts of the fused operations, in double precision and with no
//! concern for speed: what they are tested against.

use crate::mlp::{LAYER_NORM_EPS, MlpShape};

/// [`crate::mlp::forward`] written as its definition. `x` is `[rows, input]`,
/// the result `[rows, output]`.
pub fn forward(shape: &MlpShape, params: &[f64], x: &[f64]) -> Vec<f64> {
    let layers = shape.layers();
    let mut rows: Vec<Vec<f64>> = x.chunks(shape.input).map(<[f64]>::to_vec).collect();
    for (i, layer) in layers.iter().enumerate() {
        for row in &mut rows {
            let weight = &params[layer.weight.clone()];
            let mut y: Vec<f64> = params[layer.bias.clone()].to_vec();
            for (j, y) in y.iter_mut().enumerate() {
                *y += (0..layer.input)
                    .map(|k| row[k] * weight[k * layer.output + j])
                    .sum::<f64>();
            }
            if let Some((gain, shift)) = &layer.norm {
                let n = y.len() as f64;
                let mean = y.iter().sum::<f64>() / n;
                let var = y.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                let std = (var + f64::from(LAYER_NORM_EPS)).sqrt();
                for (j, v) in y.iter_mut().enumerate() {
                    *v = params[gain.start + j] * (*v - mean) / std + params[shift.start + j];
                }
            }
            if i + 1 < layers.len() {
                y.iter_mut().for_each(|v| *v = v.max(0.0));
            }
            *row = y;
        }
    }
    rows.concat()
}
