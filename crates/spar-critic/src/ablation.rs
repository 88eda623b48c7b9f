//! What only ablations ask of a critic: its gradient with respect to actions, which
//! SPAR never takes.

use candle_core::{Result, Tensor, bail};
use spar_nn::{Rows, Trace};

use crate::model::Critic;

/// `min_i Q_i(s, a)`, `[rows * K]`, of actions, `[rows * K, act_dim]`, K in turn in
/// each of the states `obs`, `[rows, obs_dim]`, with a gradient of the actions alone:
/// what a policy by value gradients climbs.
///
/// # Errors
/// If the shapes do not fit.
pub fn climbed(critic: &Critic, obs: &Tensor, actions: &Tensor) -> Result<Tensor> {
    let mut values = critic.q.iter().map(|q| {
        q.forward(Rows::beside(obs, actions), Trace::Input)?
            .squeeze(1)
    });
    let Some(first) = values.next() else {
        bail!("an ensemble of no critics")
    };
    values.try_fold(first?, |least, value| least.minimum(&value?))
}
