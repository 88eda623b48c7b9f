//! The stochastic policy SAC trains and data are collected with.

use candle_core::Result;
use spar_core::{Policy, Stream};
use spar_nn::{Mlp, RowMlp, RowWork};

/// Bounds of the log standard deviation, as in D4RL's behaviour policies.
pub(crate) const LOG_STD: (f32, f32) = (-20.0, 2.0);

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
