//! Policies trained elsewhere: one plain network.

use spar_core::{Policy, Stream};
use spar_nn::{RowMlp, RowWork};

/// A plain network as a policy:
/// `clip(scale net((obs - mean) / std) + shift, -1, 1)`.
pub(crate) struct PlainPolicy {
    pub(crate) obs_mean: Vec<f32>,
    pub(crate) obs_std: Vec<f32>,
    pub(crate) net: RowMlp,
    /// Scale and shift, `[act_dim]` each, where they are not one and zero.
    pub(crate) affine: Option<(Vec<f32>, Vec<f32>)>,
}

impl Policy for PlainPolicy {
    fn obs_dim(&self) -> usize {
        self.net.input_dim()
    }

    fn act_dim(&self) -> usize {
        self.net.output_dim()
    }

    fn act(&self, obs: &[f32], _streams: &mut [Stream], actions: &mut [f32]) {
        let mut s = obs.to_vec();
        for row in s.chunks_exact_mut(self.obs_dim()) {
            for ((x, mean), std) in row.iter_mut().zip(&self.obs_mean).zip(&self.obs_std) {
                *x = (*x - mean) / std;
            }
        }
        self.net.rows(&s, &mut RowWork::default(), actions);
        if let Some((scale, shift)) = &self.affine {
            for row in actions.chunks_exact_mut(self.act_dim()) {
                for ((a, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                    *a = *a * scale + shift;
                }
            }
        }
        actions.iter_mut().for_each(|a| *a = a.clamp(-1.0, 1.0));
    }
}
