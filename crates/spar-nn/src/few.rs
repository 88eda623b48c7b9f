//! The gradient of an input of which only few rows are asked for: of critics that are
//! seldom the least of a large ensemble.

use candle_core::Result;
use spar_kernels::{MlpShape, Precision, Workspace, mlp};

use crate::input::Shared;

/// The rows whose output has a gradient.
pub(crate) struct Few {
    index: Vec<usize>,
    /// Theirs, `[index, output]`.
    grad: Vec<f32>,
    rows: usize,
}

impl Few {
    /// Those of `grad`, `[rows, width]`, that are not zero, if they are so few that a pass
    /// over them alone, forward and backward, costs less than the gradient of all.
    pub(crate) fn of(grad: &[f32], width: usize) -> Option<Self> {
        let rows = grad.chunks_exact(width).enumerate();
        let asked = rows.filter(|(_, row)| row.iter().any(|g| *g != 0.0));
        let index: Vec<usize> = asked.map(|(i, _)| i).collect();
        (3 * index.len() * width <= grad.len()).then(|| Self {
            grad: gathered(grad, width, &index),
            rows: grad.len() / width,
            index,
        })
    }

    /// Writes the gradient of the input `own`, `[rows, width]` beside `shared`, of the
    /// network of `shape` and `params` into these rows of `grad_x`, which is zero: the bits
    /// that a pass over all gives, since rows do not know of each other.
    ///
    /// # Errors
    /// Only if candle cannot hold what the rows share.
    pub(crate) fn input_gradient(
        &self,
        (shape, params, own, shared): (&MlpShape, &[f32], &[f32], &Shared),
        precision: Precision,
        work: &mut Workspace,
        grad_x: &mut [f32],
    ) -> Result<()> {
        let (count, width) = (self.index.len(), own.len() / self.rows.max(1));
        if count == 0 {
            return Ok(());
        }
        let own = gathered(own, width, &self.index);
        let (mut out, mut grad) = (vec![0.0; self.grad.len()], vec![0.0; own.len()]);
        shared.of_rows(&self.index)?.beside(&own, |x| {
            mlp::forward(precision, shape, params, x, count, work, &mut out);
            let to = Some(&mut grad[..]);
            mlp::backward(shape, params, x, count, work, &self.grad, None, to);
            Ok(())
        })?;
        for (&i, grad) in self.index.iter().zip(grad.chunks_exact(width)) {
            grad_x[i * width..(i + 1) * width].copy_from_slice(grad);
        }
        Ok(())
    }
}

/// The rows `index` of `values`, `width` wide.
fn gathered(values: &[f32], width: usize, index: &[usize]) -> Vec<f32> {
    let row = |i: &usize| &values[i * width..(i + 1) * width];
    index.iter().flat_map(row).copied().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{Device, Tensor, Var};
    use spar_core::Stream;

    use crate::{HiddenActivation, Mlp, Normalization, Rows, Trace, normal, relu_shape};

    /// Of a loss of few rows and of the same loss with a share of all that is too small to
    /// be seen: the first passes over few rows, the second over all.
    #[test]
    fn the_gradient_of_few_rows_has_the_bits_of_that_of_all() {
        let plain = relu_shape(5, [9, 7], 1).unwrap();
        let shapes = [
            plain.clone(),
            plain
                .with_activation(HiddenActivation::Gelu)
                .with_normalization(Normalization::After),
        ];
        for (shape, few) in shapes.iter().flat_map(|shape| [(shape, 5), (shape, 1)]) {
            let net = Mlp::new(shape.clone(), &mut Stream::new(3, "net")).unwrap();
            // Two rows to a state.
            let s = normal(&mut Stream::new(3, "s"), 1.0, 17, 3).unwrap();
            let a = normal(&mut Stream::new(3, "a"), 1.0, 34, 2).unwrap();
            let gradient = |trace: Trace, rest: f32| {
                let a = Var::from_tensor(&a).unwrap();
                let weight = |i: usize| if i % 7 == 3 && i / 7 < few { 1.5 } else { rest };
                let weights: Vec<f32> = (0..34).map(weight).collect();
                let weights = Tensor::from_vec(weights, (34, 1), &Device::Cpu).unwrap();
                let q = net.forward(Rows::beside(&s, &a), trace).unwrap();
                let grads = q.mul(&weights).unwrap().sum_all().unwrap().backward();
                let grad = grads.unwrap().get(&a).unwrap().to_vec2::<f32>().unwrap();
                (0..few)
                    .map(|i| grad[7 * i + 3].clone())
                    .collect::<Vec<_>>()
            };
            let alone = gradient(Trace::Input, 0.0);
            assert_eq!(alone, gradient(Trace::Input, 1e-30), "{shape:?}");
            assert_eq!(alone, gradient(Trace::InputOfFew, 0.0), "{shape:?}");
            assert_eq!(alone, gradient(Trace::InputOfFew, 1e-30), "{shape:?}");
            assert!(alone.iter().flatten().any(|g| g.abs() > 1e-3), "{alone:?}");
        }
    }
}
