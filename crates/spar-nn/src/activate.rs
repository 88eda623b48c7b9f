//! Activations outside a network: of what several networks hand to each other.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use spar_kernels::{Activation, mlp};

use crate::storage::{slice, values};

/// `f(x)`, element by element, of the activation `f`, with the gradient of `x`.
///
/// # Errors
/// If `x` is not of `f32` on the CPU.
pub fn activated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Activate(activation))
}

struct Activate(Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = slice(x, layout)?.to_vec();
        mlp::activate(self.0, &mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, grad_out: &Tensor) -> Result<Option<Tensor>> {
        let mut grad: Vec<f32> = grad_out.flatten_all()?.to_vec1()?;
        values(x, |before| {
            mlp::activate_backward(self.0, before, &mut grad);
            Ok(())
        })?;
        Ok(Some(Tensor::from_vec(grad, x.shape(), &Device::Cpu)?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Var;

    use super::*;

    #[test]
    fn gradients_are_those_of_the_plain_composition() {
        let x = Var::new(&[[-2f32, -0.5, 0.25], [1.0, 3.0, -9.0]], &Device::Cpu).unwrap();
        let sigmoid = ((x.neg().unwrap().exp().unwrap() + 1.0).unwrap())
            .recip()
            .unwrap();
        let softplus = (x.exp().unwrap() + 1.0).unwrap().log().unwrap();
        for (activation, plain) in [
            (Activation::Silu, x.mul(&sigmoid)),
            (Activation::Mish, x.mul(&softplus.tanh().unwrap())),
            (Activation::Gelu, x.gelu()),
            (Activation::Relu, x.relu()),
        ] {
            // Transposed: as candle leaves it after a product.
            let ours = activated(&x.t().unwrap(), activation).unwrap().t().unwrap();
            let grads = [ours, plain.unwrap()].map(|y| {
                let loss = (y.sqr().unwrap() + &y).unwrap().sum_all().unwrap();
                let grads = loss.backward().unwrap();
                let grad = grads.get(&x).unwrap().flatten_all().unwrap();
                let y = y.flatten_all().unwrap();
                (y.to_vec1::<f32>().unwrap(), grad.to_vec1::<f32>().unwrap())
            });
            let [(got, got_grad), (want, want_grad)] = &grads;
            for (g, w) in got.iter().zip(want).chain(got_grad.iter().zip(want_grad)) {
                assert!((g - w).abs() < 1e-5, "{activation:?}: {g}, plain {w}");
            }
        }
    }
}
