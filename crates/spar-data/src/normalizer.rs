//! Observation normalization as TD3+BC does it.

use serde::{Deserialize, Serialize};

use crate::transitions::Transitions;

/// Added to the standard deviation, so that a constant dimension stays finite
/// (TD3+BC, `utils.py`: `std = state.std(0) + 1e-3`).
const STD_OFFSET: f64 = 1e-3;

/// Maps observations to zero mean and about unit variance, dimension by
/// dimension: `(obs - mean) / std`. Part of every saved policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    /// `[obs_dim]`.
    pub mean: Vec<f32>,
    /// `[obs_dim]`, what is divided by: the population standard deviation
    /// plus `1e-3`.
    pub std: Vec<f32>,
}

impl Normalizer {
    /// Mean and standard deviation over the observations of `transitions` (not
    /// their next observations), summed in `f64` in two passes.
    pub fn of(transitions: &Transitions) -> Self {
        let dim = transitions.obs_dim();
        let count = transitions.len() as f64;
        let mut mean = vec![0f64; dim];
        for i in 0..transitions.len() {
            for (sum, &x) in mean.iter_mut().zip(transitions.obs(i)) {
                *sum += f64::from(x);
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut square = vec![0f64; dim];
        for i in 0..transitions.len() {
            for ((sum, &x), m) in square.iter_mut().zip(transitions.obs(i)).zip(&mean) {
                *sum += (f64::from(x) - m).powi(2);
            }
        }
        Self {
            mean: mean.iter().map(|&m| m as f32).collect(),
            std: square
                .iter()
                .map(|s| ((s / count).sqrt() + STD_OFFSET) as f32)
                .collect(),
        }
    }

    /// The normalizer that changes nothing.
    pub fn identity(obs_dim: usize) -> Self {
        Self {
            mean: vec![0.0; obs_dim],
            std: vec![1.0; obs_dim],
        }
    }

    /// Normalizes `obs`, row-major `[n, obs_dim]`, in place.
    ///
    /// # Panics
    /// If `obs` is not a whole number of rows.
    pub fn apply(&self, obs: &mut [f32]) {
        assert_eq!(
            obs.len() % self.mean.len(),
            0,
            "observations are not whole rows"
        );
        for row in obs.chunks_exact_mut(self.mean.len()) {
            for ((x, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *x = (*x - mean) / std;
            }
        }
    }
}
