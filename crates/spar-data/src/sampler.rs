//! Seeded minibatches.

use serde::{Deserialize, Serialize};
use spar_core::Stream;

use crate::{Normalizer, transitions::Transitions};

/// One minibatch, row-major and ready to become tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of transitions.
    pub size: usize,
    /// `[size, obs_dim]`, normalized.
    pub obs: Vec<f32>,
    /// `[size, act_dim]`.
    pub actions: Vec<f32>,
    /// `[size]`, as recorded.
    pub rewards: Vec<f32>,
    /// `[size, obs_dim]`, normalized; meaningless where `not_terminal` is 0.
    pub next_obs: Vec<f32>,
    /// `[size]`: 0 where the environment terminated, else 1.
    pub not_terminal: Vec<f32>,
    /// `[size]`: the discounted return of the trajectory from the transition on; empty
    /// unless the method learns from it.
    pub returns: Vec<f32>,
}

impl Batch {
    /// A batch for `size` transitions.
    pub fn new(size: usize, obs_dim: usize, act_dim: usize) -> Self {
        Self {
            size,
            obs: vec![0.0; size * obs_dim],
            actions: vec![0.0; size * act_dim],
            rewards: vec![0.0; size],
            next_obs: vec![0.0; size * obs_dim],
            not_terminal: vec![0.0; size],
            returns: Vec::new(),
        }
    }
}

/// Draws minibatches uniformly with replacement. Serialized, it is the state
/// of its random stream: a sampler read back draws the same batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampler {
    stream: Stream,
}

impl Sampler {
    /// A sampler that draws from `stream`.
    pub fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// The stream as it stands, for checkpoints.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Fills `batch` with `batch.size` drawn transitions. Allocates nothing.
    ///
    /// # Panics
    /// If `batch` was made for other widths than those of `transitions`.
    pub fn next(&mut self, transitions: &Transitions, normalizer: &Normalizer, batch: &mut Batch) {
        let (o, a) = (transitions.obs_dim(), transitions.act_dim());
        assert_eq!(
            batch.obs.len(),
            batch.size * o,
            "batch made for another observation width"
        );
        assert_eq!(
            batch.actions.len(),
            batch.size * a,
            "batch made for another action width"
        );
        for row in 0..batch.size {
            let i = self.stream.index(transitions.len());
            batch.obs[row * o..(row + 1) * o].copy_from_slice(transitions.obs(i));
            batch.next_obs[row * o..(row + 1) * o].copy_from_slice(transitions.next_obs(i));
            batch.actions[row * a..(row + 1) * a].copy_from_slice(transitions.action(i));
            batch.rewards[row] = transitions.reward(i);
            batch.not_terminal[row] = if transitions.terminal(i) { 0.0 } else { 1.0 };
        }
        normalizer.apply(&mut batch.obs);
        normalizer.apply(&mut batch.next_obs);
    }
}
