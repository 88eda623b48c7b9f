//! A whole multi-layer perceptron as one operation.
//!
//! Hidden layers compute `relu(x W + b)` or, with layer normalization,
//! `relu(gain * normalize(x W + b) + shift)`; the last layer is linear. ReLU's
//! gradient at zero is zero, as in PyTorch.

use std::ops::Range;

use pulp::Arch;

use crate::matmul::{Matrix, matmul};

/// Added to the variance of a layer normalization, as in PyTorch.
pub const LAYER_NORM_EPS: f32 = 1e-5;

/// Rows a forward pass without gradients handles at a time, so that its two
/// activation buffers stay in the second-level cache.
const ROWS_PER_BLOCK: usize = 256;

/// Sizes of a multi-layer perceptron and the layout of its parameters.
///
/// All parameters lie in one flat buffer: for each layer its weight, row-major
/// `[in, out]`, then its bias `[out]`, then, for hidden layers of a normalized
/// network, the normalization's gain `[out]` and shift `[out]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpShape {
    /// Width of an input row.
    pub input: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Width of an output row.
    pub output: usize,
    /// Whether hidden layers are normalized before the ReLU.
    pub layer_norm: bool,
}

/// Where one layer's parameters lie in the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerLayout {
    /// Width of the layer's input.
    pub input: usize,
    /// Width of the layer's output.
    pub output: usize,
    /// Row-major `[input, output]` weight.
    pub weight: Range<usize>,
    /// `[output]` bias.
    pub bias: Range<usize>,
    /// `[output]` gain and shift of the layer normalization, if there is one.
    pub norm: Option<(Range<usize>, Range<usize>)>,
}

impl MlpShape {
    /// The layers from input to output.
    pub fn layers(&self) -> Vec<LayerLayout> {
        let mut offset = 0;
        let mut take = |n: usize| {
            offset += n;
            offset - n..offset
        };
        let mut input = self.input;
        let widths = self.hidden.iter().chain([&self.output]);
        widths
            .enumerate()
            .map(|(i, &output)| {
                let layer = LayerLayout {
                    input,
                    output,
                    weight: take(input * output),
                    bias: take(output),
                    norm: (self.layer_norm && i < self.hidden.len())
                        .then(|| (take(output), take(output))),
                };
                input = output;
                layer
            })
            .collect()
    }

    /// Number of parameters: the length of the flat buffer.
    pub fn parameters(&self) -> usize {
        self.layers().last().map_or(0, |l| l.bias.end)
    }

    /// Multiply-adds of one forward pass over one row.
    pub fn multiply_adds(&self) -> usize {
        self.layers().iter().map(|l| l.input * l.output).sum()
    }

    fn widest(&self) -> usize {
        let widths = self.hidden.iter().chain([&self.input, &self.output]);
        widths.copied().max().unwrap_or(0)
    }
}

/// Buffers of a pass, kept between passes so that a steady-state update
/// allocates nothing here.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Per hidden layer: what [`backward`] needs of the forward pass.
    saved: Vec<Saved>,
    /// Rows of the forward pass that filled `saved`.
    rows: usize,
    scratch: [Vec<f32>; 2],
}

#[derive(Debug, Default)]
struct Saved {
    /// Output of the layer after the ReLU, `[rows, width]`.
    activation: Vec<f32>,
    /// Normalized values before gain and shift, `[rows, width]`.
    normalized: Vec<f32>,
    /// Reciprocal standard deviation of each row, `[rows]`.
    inverse_std: Vec<f32>,
}

fn grow(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
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
    let layers = shape.layers();
    work.rows = rows;
    work.saved.resize_with(shape.hidden.len(), Saved::default);
    let mut input = x;
    for (layer, saved) in layers.iter().zip(&mut work.saved) {
        let Saved {
            activation,
            normalized,
            inverse_std,
        } = saved;
        let activation = grow(activation, rows * layer.output);
        linear(layer, params, input, rows, activation);
        match &layer.norm {
            None => bias_relu(&params[layer.bias.clone()], activation),
            Some((gain, shift)) => norm_relu(
                &params[layer.bias.clone()],
                &params[gain.clone()],
                &params[shift.clone()],
                activation,
                grow(normalized, rows * layer.output),
                grow(inverse_std, rows),
            ),
        }
        input = activation;
    }
    last_layer(&layers, params, input, rows, out);
}

/// The same output as [`forward`] without keeping anything for a gradient:
/// for targets, candidates and the frozen anchor.
///
/// # Panics
/// If a slice's length does not fit `shape` and `rows`.
pub fn forward_only(
    shape: &MlpShape,
    params: &[f32],
    x: &[f32],
    rows: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    check(shape, params, x, rows, out);
    let layers = shape.layers();
    let (hidden, _) = layers.split_at(shape.hidden.len());
    let block = ROWS_PER_BLOCK * shape.widest();
    let [ping, pong] = &mut work.scratch;
    let (mut ping, mut pong) = (grow(ping, block), grow(pong, block));
    let blocks = x.chunks(ROWS_PER_BLOCK * shape.input);
    for (x, out) in blocks.zip(out.chunks_mut(ROWS_PER_BLOCK * shape.output)) {
        let rows = x.len() / shape.input;
        let mut width = shape.input;
        for (i, layer) in hidden.iter().enumerate() {
            let input = if i == 0 { x } else { &pong[..rows * width] };
            let activation = &mut ping[..rows * layer.output];
            linear(layer, params, input, rows, activation);
            match &layer.norm {
                None => bias_relu(&params[layer.bias.clone()], activation),
                Some((gain, shift)) => norm_relu(
                    &params[layer.bias.clone()],
                    &params[gain.clone()],
                    &params[shift.clone()],
                    activation,
                    &mut pong[..rows * layer.output],
                    &mut [0.0; ROWS_PER_BLOCK][..rows],
                ),
            }
            std::mem::swap(&mut ping, &mut pong);
            width = layer.output;
        }
        let input = if hidden.is_empty() {
            x
        } else {
            &pong[..rows * width]
        };
        last_layer(&layers, params, input, rows, out);
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
    mut grad_x: Option<&mut [f32]>,
) {
    check(shape, params, x, rows, grad_out);
    assert_eq!(work.rows, rows, "rows of the forward pass");
    assert_eq!(
        work.saved.len(),
        shape.hidden.len(),
        "layers of the forward pass"
    );
    let layers = shape.layers();
    let size = rows * shape.widest();
    let [current, next] = &mut work.scratch;
    let (mut current, mut next) = (grow(current, size), grow(next, size));
    current[..grad_out.len()].copy_from_slice(grad_out);

    for (i, layer) in layers.iter().enumerate().rev() {
        let grad = &current[..rows * layer.output];
        let below = i.checked_sub(1);
        let input = below.map_or(x, |j| &work.saved[j].activation[..rows * layer.input]);
        if let Some(g) = grad_params.as_deref_mut() {
            let transposed = Matrix::new(input, rows, layer.input).t();
            let grad = Matrix::new(grad, rows, layer.output);
            matmul(transposed, grad, &mut g[layer.weight.clone()]);
        }
        if let Some(g) = grad_params.as_deref_mut() {
            column_sums(grad, &mut g[layer.bias.clone()]);
        }
        let weight = Matrix::new(&params[layer.weight.clone()], layer.input, layer.output);
        let Some(j) = below else {
            if let Some(g) = grad_x.take() {
                matmul(Matrix::new(grad, rows, layer.output), weight.t(), g);
            }
            break;
        };
        let grad_below = &mut next[..rows * layer.input];
        matmul(
            Matrix::new(grad, rows, layer.output),
            weight.t(),
            grad_below,
        );
        mask(input, grad_below);
        if let Some((gain, shift)) = &layers[j].norm {
            let normalized = &work.saved[j].normalized[..rows * layer.input];
            if let Some(g) = grad_params.as_deref_mut() {
                column_sums(grad_below, &mut g[shift.clone()]);
                column_sums_of_product(grad_below, normalized, &mut g[gain.clone()]);
            }
            let inverse_std = &work.saved[j].inverse_std[..rows];
            norm_backward(&params[gain.clone()], normalized, inverse_std, grad_below);
        }
        std::mem::swap(&mut current, &mut next);
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

fn linear(layer: &LayerLayout, params: &[f32], x: &[f32], rows: usize, out: &mut [f32]) {
    let x = Matrix::new(x, rows, layer.input);
    let weight = Matrix::new(&params[layer.weight.clone()], layer.input, layer.output);
    matmul(x, weight, out);
}

fn last_layer(layers: &[LayerLayout], params: &[f32], x: &[f32], rows: usize, out: &mut [f32]) {
    if let Some(layer) = layers.last() {
        linear(layer, params, x, rows, out);
        let bias = &params[layer.bias.clone()];
        for row in out.chunks_exact_mut(layer.output) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
}

/// `max(v, 0)` that lets a NaN through, as PyTorch's does: with `f32::max` a
/// diverged network would go on as a silent one.
#[inline(always)]
fn relu(v: f32) -> f32 {
    if v < 0.0 { 0.0 } else { v }
}

fn bias_relu(bias: &[f32], y: &mut [f32]) {
    Arch::new().dispatch(|| {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y = relu(*y + b);
            }
        }
    });
}

/// `y <- relu(gain * n + shift)` with `n = (y + b - mean) / sqrt(var + eps)`
/// over each row, as in PyTorch's `LayerNorm` (biased variance).
fn norm_relu(
    bias: &[f32],
    gain: &[f32],
    shift: &[f32],
    y: &mut [f32],
    normalized: &mut [f32],
    inverse_std: &mut [f32],
) {
    let width = bias.len();
    Arch::new().dispatch(|| {
        let rows = y
            .chunks_exact_mut(width)
            .zip(normalized.chunks_exact_mut(width));
        for ((row, normal), inverse) in rows.zip(inverse_std) {
            for ((n, y), b) in normal.iter_mut().zip(&*row).zip(bias) {
                *n = y + b;
            }
            let mean = sum(normal, |v| v) / width as f32;
            let variance = sum(normal, |v| (v - mean) * (v - mean)) / width as f32;
            *inverse = 1.0 / (variance + LAYER_NORM_EPS).sqrt();
            for (((y, n), g), s) in row.iter_mut().zip(normal).zip(gain).zip(shift) {
                *n = (*n - mean) * *inverse;
                *y = relu(g * *n + s);
            }
        }
    });
}

/// Gradient through gain and normalization, in place: with `d = gain * grad`,
/// `grad <- inverse_std * (d - mean(d) - n * mean(d * n))` over each row.
fn norm_backward(gain: &[f32], normalized: &[f32], inverse_std: &[f32], grad: &mut [f32]) {
    let width = gain.len();
    Arch::new().dispatch(|| {
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
    });
}

fn mask(activation: &[f32], grad: &mut [f32]) {
    Arch::new().dispatch(|| {
        for (g, a) in grad.iter_mut().zip(activation) {
            *g = if *a > 0.0 { *g } else { 0.0 };
        }
    });
}

fn column_sums(rows: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    Arch::new().dispatch(|| {
        for row in rows.chunks_exact(out.len()) {
            for (o, v) in out.iter_mut().zip(row) {
                *o += v;
            }
        }
    });
}

fn column_sums_of_product(a: &[f32], b: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    Arch::new().dispatch(|| {
        for (a, b) in a.chunks_exact(out.len()).zip(b.chunks_exact(out.len())) {
            for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                *o += a * b;
            }
        }
    });
}

/// Independent partial sums: the compiler may not reorder floating-point
/// additions itself, so a plain sum would not vectorize.
const LANES: usize = 16;

#[inline(always)]
pub(crate) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = values.chunks_exact(LANES);
    let rest: f32 = whole.remainder().iter().map(|&v| f(v)).sum();
    for chunk in whole {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + rest
}
