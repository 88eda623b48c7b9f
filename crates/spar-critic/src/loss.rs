//! The critic's losses.

use candle_core::{Result, Tensor};

/// Expectile loss of the residuals `u`, any shape:
/// `mean |expectile - 1(u < 0)| u^2` (Kostrikov et al. 2021, equation 5).
/// At 0.5 it is half the mean square; above, it punishes underestimation more.
///
/// # Errors
/// Only if candle fails.
pub fn expectile_loss(u: &Tensor, expectile: f64) -> Result<Tensor> {
    let negative = u.detach().lt(0.0)?.to_dtype(u.dtype())?;
    // expectile where u >= 0, 1 - expectile where u < 0
    let weight = negative.affine(1.0 - 2.0 * expectile, expectile)?;
    weight.mul(&u.sqr()?)?.mean_all()
}
