//! SPAR's policy for acting.

use candle_core::Result;
use spar_core::{Policy, Stream};
use spar_nn::{Activation, RowMlp};

use crate::update::Spar;

/// The deterministic policy `clip(b + Delta(s, b, 0))` with `b = pi_base(s)`,
/// on observations in the environment's own units. `Delta` is the Polyak-averaged
/// decoder: in an environment that ends episodes the returns of neighbouring
/// checkpoints differ by more than those of methods, and averaging damps that.
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
    /// Decoder at `[s, b, z]`, tanh output not yet scaled, and `rho`.
    pub residual: Option<(RowMlp, f32)>,
}

impl SparPolicy {
    /// The policy as trained so far.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn of(spar: &Spar, obs_mean: Vec<f32>, obs_std: Vec<f32>) -> Result<Self> {
        let decoder = RowMlp::of(&spar.decoder_average, Activation::Tanh)?;
        Ok(Self {
            obs_mean,
            obs_std,
            anchor: spar.anchor.rows()?,
            residual: Some((decoder, spar.config().rho as f32)),
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

    fn act(&self, obs: &[f32], _streams: &mut [Stream], actions: &mut [f32]) {
        let (obs_dim, act_dim) = (self.obs_dim(), self.act_dim());
        assert_eq!(
            obs.len() / obs_dim,
            actions.len() / act_dim,
            "rows of a policy call"
        );
        let latent_at = obs_dim + act_dim;
        let mut input = vec![0.0; latent_at];
        if let Some((decoder, _)) = &self.residual {
            // What follows [s, b] is the latent, and acting takes z = 0.
            input.resize(decoder.input_dim(), 0.0);
        }
        let mut delta = vec![0.0; act_dim];
        for (row, action) in obs
            .chunks_exact(obs_dim)
            .zip(actions.chunks_exact_mut(act_dim))
        {
            for (i, x) in row.iter().enumerate() {
                input[i] = (x - self.obs_mean[i]) / self.obs_std[i];
            }
            self.anchor.row(&input[..obs_dim], action);
            if let Some((decoder, rho)) = &self.residual {
                input[obs_dim..latent_at].copy_from_slice(action);
                decoder.row(&input, &mut delta);
                for (a, d) in action.iter_mut().zip(&delta) {
                    *a = (*a + rho * d).clamp(-1.0, 1.0);
                }
            }
        }
    }
}
