//! What only ablations ask of a critic: its gradient with respect to actions, which
//! SPAR never takes.

use candle_core::{Result, Tensor};

use crate::model::Critic;

/// `min_i Q_i(s, a)`, `[rows * K]`, of actions, `[rows * K, act_dim]`, K in turn in
/// each of the states `obs`, `[rows, obs_dim]`, with a gradient of the actions alone:
/// what a policy by value gradients climbs.
///
/// # Errors
/// If the shapes do not fit.
pub fn climbed(critic: &Critic, obs: &Tensor, actions: &Tensor) -> Result<Tensor> {
    critic.q.climb_min(obs, actions)
}
