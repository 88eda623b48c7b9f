//! The residual support model: a conditional variational autoencoder over the
//! residuals the data make around the anchor.

use candle_core::{Result, Tensor};
use spar_core::Stream;
use spar_nn::{Head, Mlp, Rows, Trace, normal, relu_shape};
use spar_policy::LATENT_CLIP;

use crate::config::RectifyConfig;

/// Bounds of the encoder's log standard deviation, as in BCQ.
const LOG_STD: (f32, f32) = (-4.0, 15.0);

/// How much smaller than PyTorch's default the decoder's last layer starts, so
/// that the policy starts at the anchor.
pub(crate) const INITIAL_OUTPUT_SCALE: f32 = 1e-2;

/// Encoder `q(z | s, b, r)` and decoder `Delta(s, b, z) = rho tanh(net(s, b, z))`
/// with latents `z` twice as wide as actions.
#[derive(Debug)]
pub struct SupportModel {
    pub(crate) encoder: Mlp,
    pub(crate) decoder: Mlp,
    rho: f64,
    latent_dim: usize,
}

impl SupportModel {
    /// A fresh model whose decoder starts near zero.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn new(config: &RectifyConfig, obs_dim: usize, act_dim: usize, seed: u64) -> Result<Self> {
        let latent_dim = 2 * act_dim;
        let hidden = &config.hidden;
        let encoder = relu_shape(obs_dim + 2 * act_dim, hidden.clone(), 2 * latent_dim)?;
        let decoder = relu_shape(obs_dim + act_dim + latent_dim, hidden.clone(), act_dim)?;
        let decoder = decoder.with_head(Head::Tanh);
        let encoder = Mlp::new(encoder, &mut Stream::new(seed, "rectify/encoder/init"))?;
        let decoder = Mlp::new(decoder, &mut Stream::new(seed, "rectify/decoder/init"))?;
        decoder.scale_output_layer(INITIAL_OUTPUT_SCALE)?;
        Ok(Self {
            encoder,
            decoder,
            rho: config.rho,
            latent_dim,
        })
    }

    /// Width of a latent.
    pub fn latent_dim(&self) -> usize {
        self.latent_dim
    }

    /// Mean and log standard deviation of `q(z | s, b, r)`, each
    /// `[rows, latent_dim]`, for states `s`, anchor actions `b` and residuals
    /// `r = a - b`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn encode(&self, s: &Tensor, b: &Tensor, r: &Tensor) -> Result<(Tensor, Tensor)> {
        let head = self
            .encoder
            .forward(&Tensor::cat(&[s, b, r], 1)?, Trace::Params)?;
        let mean = head.narrow(1, 0, self.latent_dim)?;
        let log_std = head.narrow(1, self.latent_dim, self.latent_dim)?;
        Ok((mean, log_std.clamp(LOG_STD.0, LOG_STD.1)?))
    }

    /// The residuals `Delta(s, b, z)`, `[rows * K, act_dim]`, of latents `z`,
    /// `[rows * K, latent_dim]`, K in turn for each state and its anchor action,
    /// with gradients as `trace` says; that of the input is of `z` alone.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn decode(&self, s: &Tensor, b: &Tensor, z: &Tensor, trace: Trace) -> Result<Tensor> {
        let state = Tensor::cat(&[s, b], 1)?;
        self.decoder.forward(Rows::beside(&state, z), trace)? * self.rho
    }

    /// Candidate latents `z ~ N(0, sigma_z^2 I)` clipped to `[-2, 2]`,
    /// `[rows, latent_dim]`.
    ///
    /// # Errors
    /// Only if candle fails.
    pub fn draw_latents(&self, stream: &mut Stream, sigma_z: f32, rows: usize) -> Result<Tensor> {
        normal(stream, sigma_z, rows, self.latent_dim)?.clamp(-LATENT_CLIP, LATENT_CLIP)
    }
}

/// The residual of a decoder apart from its model: the averaged copy.
pub(crate) fn decode_detached(
    decoder: &Mlp,
    rho: f64,
    s: &Tensor,
    b: &Tensor,
    z: &Tensor,
) -> Result<Tensor> {
    let state = Tensor::cat(&[s, b], 1)?;
    decoder.forward_detached(Rows::beside(&state, z))? * rho
}
