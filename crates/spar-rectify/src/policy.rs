//! SPAR's policy for acting.

use std::num::NonZeroUsize;

use candle_core::Result;
use spar_core::{Policy, Stream};
use spar_nn::{Conservatism, RowMlp, conservative};

use crate::{model::LATENT_CLIP, update::Spar};

/// The deterministic policy `clip(b + Delta(s, b, 0))` with `b = pi_base(s)`,
/// on observations in the environment's own units; or, if asked for, the best of
/// K latents ([`Residual::best_of`]).
///
/// Without a residual it is the anchor alone.
#[derive(Clone, Debug, PartialEq)]
pub struct SparPolicy {
    /// Mean of the training observations, `[obs_dim]`.
    pub obs_mean: Vec<f32>,
    /// Standard deviation the observations are divided by, `[obs_dim]`.
    pub obs_std: Vec<f32>,
    /// `pi_base`: normalized observation to action, tanh output.
    pub anchor: RowMlp,
    /// What rectifies the anchor's action.
    pub residual: Option<Residual>,
}

/// The residual policy, with the critics that can rank its candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    /// `[s, b, z]` to the residual: tanh output, not yet scaled by `rho`. The
    /// Polyak-averaged decoder: in an environment that ends episodes the returns of
    /// neighbouring checkpoints differ by more than those of methods, and
    /// averaging damps that.
    pub decoder: RowMlp,
    /// Largest residual.
    pub rho: f32,
    /// `Q_1..Q_N`: `[s, a]` to a value.
    pub critics: Vec<RowMlp>,
    /// How their values of one action become one.
    pub conservatism: Conservatism,
    /// Standard deviation of drawn latents.
    pub sigma_z: f32,
    /// K of acting: `z = 0` and `K - 1` latents drawn from the row's stream,
    /// `N(0, sigma_z^2)` clipped as in training; of their clipped actions the one
    /// with the greatest conservative value is taken. One is the deterministic
    /// policy.
    pub best_of: NonZeroUsize,
}

impl SparPolicy {
    /// The policy as trained so far, deterministic.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn of(spar: &Spar, obs_mean: Vec<f32>, obs_std: Vec<f32>) -> Result<Self> {
        let config = spar.config();
        Ok(Self {
            obs_mean,
            obs_std,
            anchor: spar.anchor.rows()?,
            residual: Some(Residual {
                decoder: RowMlp::of(&spar.decoder_average)?,
                rho: config.rho as f32,
                critics: spar.critic.rows()?,
                conservatism: spar.critic.config().conservatism(),
                sigma_z: config.sigma_z,
                best_of: NonZeroUsize::MIN,
            }),
        })
    }
}

impl Policy for SparPolicy {
    fn obs_dim(&self) -> usize {
        self.anchor.input_dim()
    }

    fn act_dim(&self) -> usize {
        self.anchor.output_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let (obs_dim, act_dim) = (self.obs_dim(), self.act_dim());
        let rows = obs.len() / obs_dim;
        assert_eq!(rows, actions.len() / act_dim, "rows of a policy call");
        assert_eq!(rows, streams.len(), "streams of a policy call");
        let rows = obs.chunks_exact(obs_dim).zip(streams);
        let mut s = vec![0.0; obs_dim];
        for ((row, stream), action) in rows.zip(actions.chunks_exact_mut(act_dim)) {
            for (i, x) in row.iter().enumerate() {
                s[i] = (x - self.obs_mean[i]) / self.obs_std[i];
            }
            self.anchor.row(&s, action);
            if let Some(residual) = &self.residual {
                residual.rectify(&s, stream, action);
            }
        }
    }
}

impl Residual {
    /// Replaces the anchor's `action` for normalized observation `s` by the
    /// rectified one.
    fn rectify(&self, s: &[f32], stream: &mut Stream, action: &mut [f32]) {
        let latent_at = s.len() + action.len();
        // [s, b, z] with z = 0; [s, a] for the critics.
        let mut input = vec![0.0; self.decoder.input_dim()];
        input[..s.len()].copy_from_slice(s);
        input[s.len()..latent_at].copy_from_slice(action);
        let mut judged = input[..latent_at].to_vec();
        let mut best = f32::NEG_INFINITY;
        for k in 0..self.best_of.get() {
            if k > 0 {
                stream.fill_normal(self.sigma_z, &mut input[latent_at..]);
                for z in &mut input[latent_at..] {
                    *z = z.clamp(-LATENT_CLIP, LATENT_CLIP);
                }
            }
            let (b, candidate) = (&input[s.len()..latent_at], &mut judged[s.len()..]);
            self.decoder.row(&input, candidate);
            for (a, b) in candidate.iter_mut().zip(b) {
                *a = (b + self.rho * *a).clamp(-1.0, 1.0);
            }
            let value = if self.best_of.get() == 1 {
                0.0
            } else {
                self.conservative_value(&judged)
            };
            if k == 0 || value > best {
                best = value;
                action.copy_from_slice(&judged[s.len()..]);
            }
        }
    }

    /// The conservative value of one row `[s, a]`.
    fn conservative_value(&self, row: &[f32]) -> f32 {
        let mut values = vec![0.0; self.critics.len()];
        for (critic, value) in self.critics.iter().zip(values.chunks_exact_mut(1)) {
            critic.row(row, value);
        }
        let mut out = [0.0];
        conservative(&values, self.critics.len(), self.conservatism, &mut out);
        out[0]
    }
}
