//! Gaussian policies: what several methods need of them, once.

use std::f64::consts::PI;

use candle_core::{D, Result, Tensor};

use crate::trained::{Gradients, Trained, Variable};

/// `log N(x; mean, exp(log_std)^2)`, `[rows]`, summed over dimensions; `log_std`
/// is `[rows, dim]`, or `[dim]` for all rows.
///
/// # Errors
/// If the shapes do not fit.
pub fn log_density(x: &Tensor, mean: &Tensor, log_std: &Tensor) -> Result<Tensor> {
    let scaled = (x - mean)?.broadcast_mul(&log_std.neg()?.exp()?)?;
    let density = (scaled.sqr()? * -0.5)?.broadcast_sub(log_std)?;
    (density - 0.5 * (2.0 * PI).ln())?.sum(D::Minus1)
}

/// Mean and log standard deviation, `[rows, act_dim]` each, from the halves of a
/// network's output `[rows, 2 act_dim]`; `log_std` is kept in `bound`, after
/// `offset` was added to it.
///
/// # Errors
/// If the output has an odd width.
pub fn halves(head: &Tensor, bound: Bound, offset: f64) -> Result<(Tensor, Tensor)> {
    let act_dim = head.dim(1)? / 2;
    let log_std = (head.narrow(1, act_dim, act_dim)? + offset)?;
    Ok((head.narrow(1, 0, act_dim)?, bound.keep(&log_std)?))
}

/// A reparametrized draw `a = tanh(u)`, `u = mean + std * noise`, and its
/// log-density `log N(u) - sum log(1 - tanh(u)^2)`, `[rows]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn tanh_draw(mean: &Tensor, log_std: &Tensor, noise: &Tensor) -> Result<(Tensor, Tensor)> {
    let u = (mean + log_std.exp()?.mul(noise)?)?;
    let density = (log_density(&u, mean, log_std)? - log_slope(&u)?)?;
    Ok((u.tanh()?, density))
}

/// [`tanh_draw`] with the log-density `log N(u) - sum log(1 - a^2 + floor)`, as sources have
/// it that take `1 - a^2` of a rounded `a`. Here it is `4 e / (1 + e)^2` with
/// `e = exp(-2 |u|)`, which does not cancel.
///
/// # Errors
/// If the shapes do not fit.
pub fn tanh_draw_floored(
    mean: &Tensor,
    log_std: &Tensor,
    noise: &Tensor,
    floor: f64,
) -> Result<(Tensor, Tensor)> {
    let u = (mean + log_std.exp()?.mul(noise)?)?;
    let e = (u.abs()? * -2.0)?.exp()?;
    let slope = ((&e * 4.0)? / (e + 1.0)?.sqr()?)?;
    let density = (log_density(&u, mean, log_std)? - (slope + floor)?.log()?.sum(D::Minus1)?)?;
    Ok((u.tanh()?, density))
}

/// [`tanh_draw`] with the log-density `log N(u) - sum log(1 - a^2 + floor)` of the rounded `a`
/// itself, as rlkit computes it: the bits of what was trained so.
///
/// # Errors
/// If the shapes do not fit.
pub fn tanh_draw_rounded(
    mean: &Tensor,
    log_std: &Tensor,
    noise: &Tensor,
    floor: f64,
) -> Result<(Tensor, Tensor)> {
    let a = (mean + log_std.exp()?.mul(noise)?)?.tanh()?;
    let normal = (((noise.sqr()? * -0.5)? - log_std)? - 0.5 * (2.0 * PI).ln())?;
    let slope = (a.sqr()?.neg()? + (1.0 + floor))?;
    let density = (normal - slope.log()?)?.sum(D::Minus1)?;
    Ok((a, density))
}

/// The log-density, `[rows]`, that the same policy gives actions `a`, which are
/// first clipped to `[-limit, limit]`: at one it has none.
///
/// # Errors
/// If the shapes do not fit.
pub fn tanh_density(a: &Tensor, mean: &Tensor, log_std: &Tensor, limit: f32) -> Result<Tensor> {
    let a = a.clamp(-limit, limit)?;
    let u = (((&a + 1.0)?.log()? - (1.0 - &a)?.log()?)? * 0.5)?;
    log_density(&u, mean, log_std)? - log_slope(&u)?
}

/// The log-density, `[rows]`, that the policy of [`tanh_draw_floored`] gives actions `a`,
/// `log N(u) - sum log(1 - a^2 + floor)` with `u = log((1 + a) / (1 - a)) / 2`, of which
/// neither side of the fraction counts less than `floor`.
///
/// # Errors
/// If the shapes do not fit.
pub fn tanh_density_floored(
    a: &Tensor,
    mean: &Tensor,
    log_std: &Tensor,
    floor: f64,
) -> Result<Tensor> {
    let (above, below) = ((a + 1.0)?, (1.0 - a)?);
    let side = |x: &Tensor| x.maximum(floor as f32)?.log();
    let u = ((side(&above)? - side(&below)?)? * 0.5)?;
    let slope = ((above * below)? + floor)?.log()?.sum(D::Minus1)?;
    log_density(&u, mean, log_std)? - slope
}

/// `sum log(1 - tanh(u)^2)`, `[rows]`, as `2 (log 2 - u - softplus(-2u))`, which
/// does not cancel where `tanh(u)` is one.
fn log_slope(u: &Tensor) -> Result<Tensor> {
    let x = (u * -2.0)?;
    let softplus = (x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    (((softplus + u)?.neg()? + 2f64.ln())? * 2.0)?.sum(D::Minus1)
}

/// A Gaussian whose mean is a network of the state and whose log standard
/// deviation is a free parameter per dimension, the same in every state.
#[derive(Debug)]
pub struct FreeGaussian {
    /// State to mean.
    pub mean: Trained,
    /// `[act_dim]`, before it is bounded.
    pub log_std: Variable,
    bound: Bound,
}

/// How a log standard deviation is kept in its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Cut off.
    Clamp(f64, f64),
    /// `low + sigmoid(x) (high - low)`.
    Sigmoid(f64, f64),
    /// `low + (tanh(x) + 1) / 2 (high - low)`.
    Tanh(f64, f64),
}

impl Bound {
    fn keep(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Clamp(low, high) => x.clamp(low as f32, high as f32),
            Self::Sigmoid(low, high) => {
                // candle has no sigmoid of its own: 1 / (1 + exp(-x)).
                let sigmoid = (x.neg()?.exp()? + 1.0)?.recip()?;
                sigmoid.affine(high - low, low)
            }
            Self::Tanh(low, high) => {
                let half = 0.5 * (high - low);
                x.tanh()?.affine(half, low + half)
            }
        }
    }
}

impl FreeGaussian {
    /// A policy of `mean` whose log standard deviation starts at zero.
    ///
    /// # Errors
    /// Only if candle cannot hold it.
    pub fn new(mean: Trained, bound: Bound, lr: f64) -> Result<Self> {
        let log_std = Variable::new(vec![0.0; mean.net.shape().output()], lr)?;
        Ok(Self {
            mean,
            log_std,
            bound,
        })
    }

    /// The log standard deviation, `[act_dim]`.
    ///
    /// # Errors
    /// Only if candle fails.
    pub fn log_std(&self) -> Result<Tensor> {
        self.bound.keep(self.log_std.var.as_tensor())
    }

    /// `mean(s) + std * noise`, `[rows, act_dim]`, without any gradient; `noise`
    /// is standard normal.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn draw(&self, s: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let std = self.log_std()?.detach().exp()?;
        self.mean.net.forward_detached(s)? + noise.broadcast_mul(&std)?
    }

    /// One step of both parts along the gradients of a backward pass.
    ///
    /// # Errors
    /// If none reaches them.
    pub fn step(&mut self, grads: &Gradients) -> Result<()> {
        self.mean.step(grads)?;
        self.log_std.step(grads)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// In the open box it is the density of the draw that the action came of; at a bound it
    /// is that of the floor, by hand in double precision, and finite.
    #[test]
    fn the_floored_density_is_that_of_the_draw_and_finite_at_the_bounds() {
        let tensor = |x: [f32; 2]| Tensor::from_vec(x.to_vec(), (1, 2), &Device::Cpu).unwrap();
        let (mean, log_std) = (tensor([0.3, -0.2]), tensor([-0.5, 0.1]));
        let floor = 1e-6;
        let (a, drawn) = tanh_draw_floored(&mean, &log_std, &tensor([0.7, -0.4]), floor).unwrap();
        let found = |a: &Tensor| -> f32 {
            let density = tanh_density_floored(a, &mean, &log_std, floor).unwrap();
            density.to_vec1().unwrap()[0]
        };
        let drawn = drawn.to_vec1::<f32>().unwrap()[0];
        assert!((found(&a) - drawn).abs() < 1e-4, "{} {drawn}", found(&a));

        let normal = |u: f64, mean: f64, log_std: f64| {
            -0.5 * ((u - mean) / log_std.exp()).powi(2) - log_std - 0.5 * (2.0 * PI).ln()
        };
        let u = 0.5 * (2.0 / floor).ln();
        let want = normal(u, 0.3, -0.5) + normal(-u, -0.2, 0.1) - 2.0 * floor.ln();
        let got = f64::from(found(&tensor([1.0, -1.0])));
        assert!((got - want).abs() < 1e-4 * want.abs(), "{got} {want}");
    }
}
