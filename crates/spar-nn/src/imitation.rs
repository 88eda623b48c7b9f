//! Weighted regression onto candidates as one candle operation.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use spar_kernels::value::{self, Imitation, ImitationStats, Weighting};

use crate::{
    mlp::lock,
    storage::{slice, values},
};

/// Latent-sampling weighted regression of `candidates`, `[states * K, act_dim]`,
/// the K of a state one after the other, by their conservative values `q`,
/// `[states * K]`: [`spar_kernels::value::imitation`]. Returns the loss, a scalar
/// whose gradient reaches the candidates alone, and what else was measured.
///
/// # Errors
/// If the shapes do not fit.
pub fn weighted_regression(
    candidates: &Tensor,
    q: &Tensor,
    k: usize,
    weighting: Weighting,
) -> Result<(Tensor, ImitationStats)> {
    check(candidates, q, k)?;
    let done = Arc::<Mutex<Done>>::default();
    let op = ImitationOp {
        q: q.detach().contiguous()?,
        k,
        weighting,
        done: Arc::clone(&done),
    };
    let loss = candidates.contiguous()?.apply_op1(op)?;
    let stats = lock(&done).stats;
    Ok((loss, stats))
}

/// The target of [`weighted_regression`], `Delta* = sum_k w_k Delta_k`,
/// `[states, act_dim]`, without any gradient, and what was measured.
///
/// # Errors
/// If the shapes do not fit.
pub fn imitation_target(
    candidates: &Tensor,
    q: &Tensor,
    k: usize,
    weighting: Weighting,
) -> Result<(Tensor, ImitationStats)> {
    let (rows, act_dim) = check(candidates, q, k)?;
    let mut imitation = Imitation::default();
    let stats = values(&candidates.contiguous()?, |candidates| {
        values(&q.contiguous()?, |q| {
            Ok(value::imitation(
                candidates,
                q,
                k,
                weighting,
                &mut imitation,
            ))
        })
    })?;
    let target = Tensor::from_slice(imitation.target(), (rows / k, act_dim), &Device::Cpu)?;
    Ok((target, stats))
}

/// The standard deviation of all of `values` around their mean:
/// [`spar_kernels::value::deviation`].
///
/// # Errors
/// If `values` are not 32-bit floats on the CPU.
pub fn deviation(of: &Tensor) -> Result<f32> {
    values(&of.detach().contiguous()?, |values| {
        Ok(value::deviation(values))
    })
}

/// Rows and width of `candidates`, K to a state, that `q` values.
fn check(candidates: &Tensor, q: &Tensor, k: usize) -> Result<(usize, usize)> {
    let (rows, act_dim) = candidates.dims2()?;
    if rows == 0 || act_dim == 0 || k == 0 || !rows.is_multiple_of(k) || q.dims() != [rows] {
        bail!(
            "candidates {:?} with values {:?}, {k} to a state",
            candidates.shape(),
            q.shape()
        );
    }
    Ok((rows, act_dim))
}

#[derive(Default)]
struct Done {
    imitation: Imitation,
    stats: ImitationStats,
}

struct ImitationOp {
    q: Tensor,
    k: usize,
    weighting: Weighting,
    done: Arc<Mutex<Done>>,
}

impl CustomOp1 for ImitationOp {
    fn name(&self) -> &'static str {
        "weighted-regression"
    }

    fn cpu_fwd(&self, candidates: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let candidates = slice(candidates, layout)?;
        let Done { imitation, stats } = &mut *lock(&self.done);
        *stats = values(&self.q, |q| {
            let (k, weighting) = (self.k, self.weighting);
            Ok(value::imitation(candidates, q, k, weighting, imitation))
        })?;
        Ok((CpuStorage::F32(vec![stats.loss]), ().into()))
    }

    fn bwd(&self, candidates: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let factor: f32 = grad.to_scalar()?;
        let done = lock(&self.done);
        let grad = done.imitation.grad().iter().map(|g| factor * g).collect();
        Tensor::from_vec(grad, candidates.shape(), &Device::Cpu).map(Some)
    }
}
