//! Policies of baselines that are no single network.

use spar_baselines::LatentActor;
use spar_core::{Policy, Stream};

/// A policy in a latent space, on observations in the environment's own units.
pub(crate) struct LatentPolicy {
    pub(crate) obs_mean: Vec<f32>,
    pub(crate) obs_std: Vec<f32>,
    pub(crate) actor: LatentActor,
}

impl Policy for LatentPolicy {
    fn obs_dim(&self) -> usize {
        self.actor.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.actor.act_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let rows = obs.chunks_exact(self.obs_dim()).zip(streams);
        for ((row, stream), action) in rows.zip(actions.chunks_exact_mut(self.act_dim())) {
            let units = self.obs_mean.iter().zip(&self.obs_std);
            let s: Vec<f32> = row
                .iter()
                .zip(units)
                .map(|(x, (mean, std))| (x - mean) / std)
                .collect();
            self.actor.act(&s, stream, action);
        }
    }
}
