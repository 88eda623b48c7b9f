//! How the policy that is trained acts where it collects: by its own draws, or by its action
//! and noise.

use spar_baselines::Exploration;
use spar_collect::gaussian::GaussianPolicy;
use spar_core::{Policy, Stream};
use spar_policy::{LATENT_CLIP, Networks, Normalizer, RowWork, SparPolicy};

/// A policy that collects.
pub(crate) enum Explorer {
    /// Acts by a policy and adds normal noise of these deviations, `[act_dim]`.
    Noisy {
        policy: Box<Networks>,
        std: Vec<f32>,
    },
    /// Draws from a tanh-Gaussian of normalized observations.
    Squashed {
        normalizer: Normalizer,
        policy: GaussianPolicy,
    },
    /// Rectifies the anchor's action by one drawn latent.
    Latent(SparPolicy),
}

impl Explorer {
    /// The collecting policy of a method that explores as `how` says; `noise` is the deviation
    /// of the noise that the run was asked for, `policy` acts deterministically.
    pub(crate) fn of(how: Exploration, policy: Networks, noise: f32, norm: &Normalizer) -> Self {
        match how {
            Exploration::Noise => {
                let std = vec![noise; policy.act_dim()];
                Self::Noisy {
                    policy: Box::new(policy),
                    std,
                }
            }
            Exploration::Gaussian(std) => Self::Noisy {
                policy: Box::new(policy),
                std,
            },
            Exploration::Squashed(net) => Self::Squashed {
                normalizer: norm.clone(),
                policy: GaussianPolicy::new(net),
            },
        }
    }
}

impl Policy for Explorer {
    fn obs_dim(&self) -> usize {
        match self {
            Self::Noisy { policy, .. } => policy.obs_dim(),
            Self::Squashed { policy, .. } => policy.obs_dim(),
            Self::Latent(policy) => policy.obs_dim(),
        }
    }

    fn act_dim(&self) -> usize {
        match self {
            Self::Noisy { policy, .. } => policy.act_dim(),
            Self::Squashed { policy, .. } => policy.act_dim(),
            Self::Latent(policy) => policy.act_dim(),
        }
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        match self {
            Self::Noisy { policy, std } => {
                policy.act(obs, streams, actions);
                let rows = actions.chunks_exact_mut(std.len());
                for (row, stream) in rows.zip(streams) {
                    for (a, std) in row.iter_mut().zip(std) {
                        *a = (*a + std * stream.normal() as f32).clamp(-1.0, 1.0);
                    }
                }
            }
            Self::Squashed { normalizer, policy } => {
                let mut s = obs.to_vec();
                normalizer.apply(&mut s);
                policy.act(&s, streams, actions);
            }
            Self::Latent(policy) => rectify(policy, obs, streams, actions),
        }
    }
}

/// `clip(b + rho Delta(s, b, z))` with one `z` of the prior a row, clipped as in training.
fn rectify(policy: &SparPolicy, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
    let (obs_dim, act_dim) = (policy.obs_dim(), policy.act_dim());
    let mut s = obs.to_vec();
    policy.normalizer.apply(&mut s);
    let mut work = RowWork::default();
    policy.anchor.rows(&s, &mut work, actions);
    let Some(residual) = &policy.residual else {
        return;
    };
    let width = residual.decoder.input_dim();
    let mut input = Vec::with_capacity(streams.len() * width);
    let rows = s.chunks_exact(obs_dim).zip(actions.chunks_exact(act_dim));
    for ((s, b), stream) in rows.zip(streams) {
        let end = input.len() + width;
        input.extend_from_slice(s);
        input.extend_from_slice(b);
        let latent = input.len();
        input.resize(end, 0.0);
        stream.fill_normal(residual.sigma_z, &mut input[latent..]);
        for z in &mut input[latent..] {
            *z = z.clamp(-LATENT_CLIP, LATENT_CLIP);
        }
    }
    let mut change = vec![0.0; actions.len()];
    residual.decoder.rows(&input, &mut work, &mut change);
    for (a, change) in actions.iter_mut().zip(change) {
        *a = (*a + residual.rho * change).clamp(-1.0, 1.0);
    }
}
