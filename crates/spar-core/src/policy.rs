//! What every policy can do, wherever it was trained.

use crate::rng::Stream;

/// A policy over flat `f32` observations: the meeting point of training,
/// evaluation, data collection and deployment.
pub trait Policy: Send + Sync {
    /// Width of one observation.
    fn obs_dim(&self) -> usize;

    /// Width of one action.
    fn act_dim(&self) -> usize;

    /// Writes one action per observation.
    ///
    /// `obs` is row-major `[n, obs_dim]` in the environment's own units,
    /// `actions` is `[n, act_dim]`, each component in `[-1, 1]`. `streams` has
    /// one stream per row, and a stochastic policy draws only from its row's
    /// stream: a row's action depends on that row alone, whatever `n` is, bit
    /// for bit. That is what makes serial and parallel rollouts agree.
    ///
    /// # Panics
    /// If the slices' lengths do not fit the widths.
    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]);
}
