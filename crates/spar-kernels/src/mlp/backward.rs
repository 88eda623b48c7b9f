//! Gradients of a pass.

use super::{
    Head, MlpShape,
    input::{Input, Parts},
    layers,
    passes::{ROWS, Workspace, check},
    products::{Products, grow},
};

/// Where the gradient of the flat parameters goes.
#[derive(Debug)]
pub struct GradParams<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) onto: bool,
}

impl<'a> GradParams<'a> {
    /// Into `values`, whatever they hold.
    pub fn over(values: &'a mut [f32]) -> Self {
        Self {
            values,
            onto: false,
        }
    }

    /// Added to `values`: of a network that stands more than once in a loss.
    pub fn onto(values: &'a mut [f32]) -> Self {
        Self { values, onto: true }
    }
}

/// Gradients of a scalar loss, given `grad_out = d loss / d out`,
/// `[rows, output]`, for the pass `work` holds.
///
/// `grad_params` (flat) and `grad_x` (`[rows, input]`, or the width of its own part
/// where rows share columns, overwritten) are computed only where asked for. `params` and
/// `x` are those of the pass: what one call prepares of them, the next for the same pass
/// takes over. They are as exact as the pass was.
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
    grad_params: Option<GradParams<'_>>,
    grad_x: Option<&mut [f32]>,
) {
    let x = check(shape, params, x.into(), rows, grad_out);
    let layers = shape.hidden.len() + 1;
    let pass = (shape, params, x, rows);
    let grads = (grad_params, grad_x);
    let mut products = std::mem::take(&mut work.products);
    match work.precision.terms() {
        None => through(&mut products.lanes(layers), pass, work, grad_out, grads),
        Some(terms) => through(
            &mut products.tiles(terms, layers),
            pass,
            work,
            grad_out,
            grads,
        ),
    }
    work.products = products;
}

/// [`backward`] by `products`.
fn through(
    products: &mut impl Products,
    (shape, params, mut x, rows): (&MlpShape, &[f32], Parts<'_>, usize),
    work: &mut Workspace,
    grad_out: &[f32],
    (grad_params, mut grad_x): (Option<GradParams<'_>>, Option<&mut [f32]>),
) {
    let depth = shape.hidden.len();
    assert_eq!(work.rows, rows, "rows of the forward pass");
    assert_eq!(work.saved.len(), depth, "layers of the forward pass");
    let Workspace {
        saved,
        entry,
        out,
        turned,
        states,
        between,
        entering,
        ..
    } = work;
    if shape.input_norm {
        x.own = &entry.activation[..rows * shape.input];
    }
    let onto = grad_params.as_ref().is_some_and(|grad| grad.onto);
    let mut grad_params = grad_params.map(|grad| grad.values);
    if let Some(g) = grad_params.as_deref_mut() {
        assert_eq!(g.len(), params.len(), "gradient of {shape:?}");
        if !onto {
            clear_sums(shape, rows, g);
        }
    }
    // The parameters of the input's normalization lie beyond the first layer's product.
    let through = grad_x.is_some() || (shape.input_norm && grad_params.is_some());
    let lowest = usize::from(!through);
    // Where the gradient of the input goes if it is only passed on the way to those.
    let own = grow(
        entering,
        if through && grad_x.is_none() {
            rows * x.own_width
        } else {
            0
        },
    );
    let mut entering = match &mut grad_x {
        Some(grad_x) => Some(&mut **grad_x),
        None => through.then_some(own),
    };
    let there = turned.unwrap_or(depth + 1);
    for (i, layer) in shape.layers().enumerate().take(there).skip(lowest) {
        products.pack_transposed(i, &params[x.weight(i, &layer)], layer.output);
    }
    *turned = Some(lowest.min(there));
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
        products.enter(&current[..count * shape.output], shape.output);
        for i in (0..=depth).rev() {
            let layer = shape.layer(i);
            let grad = &current[..count * layer.output];
            if let Some(g) = grad_params.as_deref_mut() {
                let (n, add) = (layer.output, onto || first > 0);
                if i == 0 && x.shared_width > 0 {
                    let shared = x.block(first, count).shared;
                    let states = grow(states, count / x.repeat * n);
                    layers::sum_states(grad, n, x.repeat, states);
                    let to = &mut g[x.shared_weight(&layer)];
                    products.gradient(shared, states, n, to, add);
                }
                let input = match i.checked_sub(1) {
                    None => x.block(first, count).own,
                    Some(j) => &saved[j].activation[block(layer.input)],
                };
                let to = &mut g[x.weight(i, &layer)];
                products.gradient(input, grad, n, to, add);
                if i == depth {
                    layers::add_columns(grad, &mut g[layer.bias.clone()]);
                }
            }
            let weight = (&params[x.weight(i, &layer)], layer.output);
            let Some(below) = i.checked_sub(1) else {
                if let Some(g) = entering.as_deref_mut() {
                    let g = &mut g[block(x.own_width)];
                    products.multiply_transposed(i, weight, grad, g, false, |_, _| {});
                    let kept = layers::KeptRows {
                        normalized: entry.normalized.get(block(x.own_width)).unwrap_or_default(),
                        inverse_std: entry.inverse_std.get(first..).unwrap_or_default(),
                        ..layers::KeptRows::default()
                    };
                    let grads = grad_params.as_deref_mut();
                    layers::input_backward(shape, params, g, kept, grads);
                }
                break;
            };
            let (saved, below) = (&saved[below], shape.layer(below));
            let grad_below = &mut next[..count * layer.input];
            let enters = i > lowest;
            products.multiply_transposed(i, weight, grad, grad_below, enters, |row, rows| {
                let first = first + row;
                let values = first * layer.input..first * layer.input + rows.len();
                let kept = layers::KeptRows {
                    activation: &saved.activation[values.clone()],
                    slopes: saved.slopes.get(values.clone()).unwrap_or_default(),
                    normalized: saved.normalized.get(values).unwrap_or_default(),
                    inverse_std: saved.inverse_std.get(first..).unwrap_or_default(),
                };
                let grads = grad_params.as_deref_mut();
                layers::hidden_backward(shape, &below, params, rows, kept, grads);
            });
            std::mem::swap(&mut current, &mut next);
        }
    }
}

/// Sets to zero what [`backward`] adds to: all but the weights, of which the first
/// block of rows writes over what is there.
pub(super) fn clear_sums(shape: &MlpShape, rows: usize, grad: &mut [f32]) {
    if let Some((gain, shift)) = shape.input_norm() {
        grad[gain.start..shift.end].fill(0.0);
    }
    for layer in shape.layers() {
        let norm = layer.norm.into_iter();
        let summed = norm.flat_map(|(gain, shift)| [gain, shift]);
        let weight = (rows == 0).then_some(layer.weight);
        for range in summed.chain([layer.bias]).chain(weight) {
            grad[range].fill(0.0);
        }
    }
}
