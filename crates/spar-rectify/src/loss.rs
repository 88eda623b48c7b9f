//! The losses of the residual policy.

use candle_core::{D, Result, Tensor};
use spar_core::Stream;
use spar_nn::{Trace, normal};

use crate::model::SupportModel;

/// Added to the batch's standard deviation of advantages: candidates that all
/// look the same must weigh the same, not divide zero by zero.
const ADVANTAGE_EPS: f64 = 1e-6;

/// Residual regression, the fitting of the manifold:
/// `L_fit = mean_B [ |Delta(s, b, z) - r|^2 + beta KL(q(z | s, b, r) || N(0, I)) ]`
/// with `r = a - b`, one posterior sample `z` per row, both terms summed over
/// their dimensions.
///
/// Returns the loss, and its reconstruction and KL terms for the log.
///
/// # Errors
/// If the shapes do not fit.
pub fn fit_loss(
    model: &SupportModel,
    beta: f64,
    s: &Tensor,
    b: &Tensor,
    a: &Tensor,
    posterior: &mut Stream,
) -> Result<(Tensor, f32, f32)> {
    let r = (a - b)?;
    let (mean, log_std) = model.encode(s, b, &r)?;
    let noise = normal(posterior, 1.0, s.dim(0)?, model.latent_dim())?;
    let z = (&mean + log_std.exp()?.mul(&noise)?)?;
    let residual = model.decode(s, b, &z, Trace::Both)?;
    let reconstruction = (residual - r)?.sqr()?.sum(D::Minus1)?.mean_all()?;
    // KL of diagonal Gaussians: 1/2 sum(mean^2 + std^2 - 1) - sum(log std)
    let spread = (mean.sqr()? + (&log_std * 2.0)?.exp()?)?;
    let kl = (((spread - 1.0)? * 0.5)? - &log_std)?
        .sum(D::Minus1)?
        .mean_all()?;
    let parts = (reconstruction.to_scalar()?, kl.to_scalar()?);
    let loss = (reconstruction + (kl * beta)?)?;
    Ok((loss, parts.0, parts.1))
}

/// The target of self-imitation from candidates `[B, K, act_dim]` and their
/// conservative values `q`, `[B, K]`, all without gradients:
///
/// `A_k = (q_k - mean_j q_j) / std`, `std` that of all advantages of the batch;
/// `w = softmax(A / T)` over `k`; `Delta* = sum_k w_k Delta_k`.
///
/// The division makes the weights independent of the scale of rewards. Returns
/// `Delta*`, `[B, 1, act_dim]`, and the weights, `[B, K]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn self_imitation_target(
    candidates: &Tensor,
    q: &Tensor,
    temperature: f64,
) -> Result<(Tensor, Tensor)> {
    let advantage = q.broadcast_sub(&q.mean_keepdim(1)?)?;
    let std = advantage.sqr()?.mean_all()?.sqrt()?;
    let scaled = advantage.broadcast_div(&((std + ADVANTAGE_EPS)? * temperature)?)?;
    let weights = scaled.broadcast_sub(&scaled.max_keepdim(1)?)?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(1)?)?;
    let target = candidates
        .broadcast_mul(&weights.unsqueeze(2)?)?
        .sum_keepdim(1)?;
    Ok((target, weights))
}
