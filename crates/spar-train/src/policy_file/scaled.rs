//! Policies that act in the units of a machine: what a run without an environment writes.

use spar_core::{Policy, Stream};
use spar_data::ActionBounds;

/// A policy whose actions are scaled from `[-1, 1]` to bounds of their own.
pub(super) struct Scaled {
    pub(super) policy: Box<dyn Policy>,
    pub(super) bounds: ActionBounds,
}

impl Policy for Scaled {
    fn obs_dim(&self) -> usize {
        self.policy.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.policy.act_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        self.policy.act(obs, streams, actions);
        self.bounds.unscale(actions);
    }
}
