//! The stochastic policy SAC trains and data are collected with.

use candle_core::{D, Result, Tensor};
use spar_core::{Policy, Stream};
use spar_nn::{Mlp, RowMlp, RowWork};

/// Bounds of the log standard deviation, as in D4RL's behaviour policies.
const LOG_STD: (f32, f32) = (-20.0, 2.0);

/// Added to `1 - a^2` inside the log-density's correction, as in rlkit.
const CORRECTION_EPS: f64 = 1e-6;

/// A reparametrized draw from the tanh-Gaussian whose mean and log standard
/// deviation are the two halves of `head`, `[rows, 2 act_dim]`.
///
/// With `u = mean + std * noise` (`noise` standard normal, `[rows, act_dim]`)
/// returns the action `a = tanh(u)`, `[rows, act_dim]`, and its log-density
/// `sum_i [log N(u_i) - log(1 - a_i^2 + 1e-6)]`, `[rows]` (Haarnoja et al.
/// 2018, appendix C).
///
/// # Errors
/// If the shapes do not fit.
pub fn sample(head: &Tensor, noise: &Tensor) -> Result<(Tensor, Tensor)> {
    let act_dim = noise.dim(1)?;
    let mean = head.narrow(1, 0, act_dim)?;
    let log_std = head
        .narrow(1, act_dim, act_dim)?
        .clamp(LOG_STD.0, LOG_STD.1)?;
    let action = (mean + log_std.exp()?.mul(noise)?)?.tanh()?;
    let gaussian = ((noise.sqr()? * -0.5)? - log_std)?;
    let half_log_two_pi = 0.5 * (2.0 * std::f64::consts::PI).ln();
    let correction = (action.sqr()?.neg()? + (1.0 + CORRECTION_EPS))?.log()?;
    let log_density = ((gaussian - half_log_two_pi)? - correction)?.sum(D::Minus1)?;
    Ok((action, log_density))
}

/// A tanh-Gaussian policy for rollouts: one network whose output is the mean
/// and the log standard deviation of the action before the tanh.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianPolicy {
    net: RowMlp,
    deterministic: bool,
}

impl GaussianPolicy {
    /// The policy of a trained actor network (output `2 act_dim` wide).
    ///
    /// # Errors
    /// If the network is not one for acting.
    pub fn of(actor: &Mlp) -> Result<Self> {
        Ok(Self::new(actor.row_mlp()?))
    }

    /// The stochastic policy of a network with output `2 act_dim` wide.
    pub fn new(net: RowMlp) -> Self {
        Self {
            net,
            deterministic: false,
        }
    }

    /// The same policy acting by its mean.
    pub fn deterministic(mut self) -> Self {
        self.deterministic = true;
        self
    }

    /// The network.
    pub fn net(&self) -> &RowMlp {
        &self.net
    }
}

impl Policy for GaussianPolicy {
    fn obs_dim(&self) -> usize {
        self.net.input_dim()
    }

    fn act_dim(&self) -> usize {
        self.net.output_dim() / 2
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let act_dim = self.act_dim();
        let mut heads = vec![0.0; 2 * actions.len()];
        self.net.rows(obs, &mut RowWork::default(), &mut heads);
        let rows = heads
            .chunks_exact(2 * act_dim)
            .zip(actions.chunks_exact_mut(act_dim));
        for ((head, action), stream) in rows.zip(streams) {
            let (mean, log_std) = head.split_at(act_dim);
            for ((a, mean), log_std) in action.iter_mut().zip(mean).zip(log_std) {
                let noise = if self.deterministic {
                    0.0
                } else {
                    stream.normal() as f32
                };
                let std = log_std.clamp(LOG_STD.0, LOG_STD.1).exp();
                *a = (mean + std * noise).tanh();
            }
        }
    }
}
