//! Gaussian policies: what several methods need of them, once.

use std::f64::consts::PI;

use candle_core::{D, Result, Tensor};

use crate::{
    learner::Gradients,
    parts::{Trained, Variable},
};

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

/// How a free log standard deviation is kept in its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Cut off.
    Clamp(f64, f64),
    /// `low + sigmoid(x) (high - low)`.
    Sigmoid(f64, f64),
}

impl FreeGaussian {
    /// A policy of `mean` whose log standard deviation starts at zero.
    ///
    /// # Errors
    /// Only if candle cannot hold it.
    pub fn new(mean: Trained, bound: Bound, lr: f64) -> Result<Self> {
        let log_std = Variable::new(vec![0.0; mean.net.shape().output], lr)?;
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
        let free = self.log_std.var.as_tensor();
        match self.bound {
            Bound::Clamp(low, high) => free.clamp(low as f32, high as f32),
            Bound::Sigmoid(low, high) => {
                // candle has no sigmoid of its own: 1 / (1 + exp(-x)).
                let sigmoid = (free.neg()?.exp()? + 1.0)?.recip()?;
                sigmoid.affine(high - low, low)
            }
        }
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
