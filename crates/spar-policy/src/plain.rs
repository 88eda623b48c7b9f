//! Policies that are one plain network: those of most methods, and of other programs.

use std::cell::RefCell;

use spar_core::{Normalizer, Policy, Stream};

use crate::rows::{RowMlp, RowWork};

/// A plain network as a policy:
/// `clip(scale net((obs - mean) / std) + shift, -1, 1)`.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainPolicy {
    /// Of observations.
    pub normalizer: Normalizer,
    /// Normalized observation to action.
    pub net: RowMlp,
    /// Scale and shift, `[act_dim]` each, where they are not one and zero.
    pub affine: Option<(Vec<f32>, Vec<f32>)>,
}

/// Rows that pass through the network together.
const BLOCK: usize = 32;

thread_local! {
    /// Normalized observations of a block and what the layers hand on, of this thread, so
    /// that acting allocates nothing.
    static BUFFERS: RefCell<(Vec<f32>, RowWork)> = RefCell::default();
}

impl Policy for PlainPolicy {
    fn obs_dim(&self) -> usize {
        self.net.input_dim()
    }

    fn act_dim(&self) -> usize {
        self.net.output_dim()
    }

    fn act(&self, obs: &[f32], _streams: &mut [Stream], actions: &mut [f32]) {
        let (obs_dim, act_dim) = (self.obs_dim(), self.act_dim());
        let rows = obs.len() / obs_dim;
        assert_eq!(obs.len(), rows * obs_dim, "observations of a policy call");
        assert_eq!(actions.len(), rows * act_dim, "actions of a policy call");
        let blocks = obs.chunks(BLOCK * obs_dim);
        BUFFERS.with_borrow_mut(|(s, work)| {
            for (obs, actions) in blocks.zip(actions.chunks_mut(BLOCK * act_dim)) {
                s.clear();
                s.extend_from_slice(obs);
                self.normalizer.apply(s);
                self.net.rows(s, work, actions);
            }
        });
        if let Some((scale, shift)) = &self.affine {
            for row in actions.chunks_exact_mut(act_dim) {
                for ((a, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                    *a = *a * scale + shift;
                }
            }
        }
        actions.iter_mut().for_each(|a| *a = a.clamp(-1.0, 1.0));
    }
}
