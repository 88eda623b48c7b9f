//! Hyper-parameters of the residual policy.

use serde::{Deserialize, Serialize};

/// Hyper-parameters of the residual support model and of Latent
/// Self-Imitation. None is published; all are this project's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RectifyConfig {
    /// Widths of the hidden layers of encoder and decoder.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of encoder and decoder.
    pub lr: f32,
    /// Weight of the KL term in the fitting loss.
    pub beta: f64,
    /// Largest residual per action component: `Delta` lies in `(-rho, rho)`.
    pub rho: f64,
    /// Weight of the fitting loss once self-imitation has begun; before, it is
    /// one.
    pub w_fit: f64,
    /// Weight of the self-imitation loss.
    pub lambda: f64,
    /// Residual candidates per state, `K`.
    pub candidates: usize,
    /// Temperature `T` of the candidates' softmax weights.
    pub temperature: f64,
    /// Standard deviation of candidate latents, `sigma_z`; they are clipped to
    /// `[-2, 2]`.
    pub sigma_z: f32,
    /// The policy learns in every `policy_freq`-th update.
    pub policy_freq: u64,
    /// Updates before self-imitation begins: until then the support model only
    /// fits the data and the critic matures.
    pub warmup: u64,
    /// Polyak rate of the averaged decoder: the one that acts, and that the
    /// residual critic evaluates.
    pub tau: f32,
}
