//! The conditional variational autoencoder over actions that BCQ introduced and
//! PLAS took over.

use candle_core::{Result, Tensor};
use spar_nn::{Batch, Head, Mlp, RowMlp, Rows, Trace, relu_shape};

use crate::{
    learner::{Parts, scalar},
    parts::Trained,
};

/// Bounds of the encoder's log standard deviation.
const LOG_STD: (f32, f32) = (-4.0, 15.0);

/// Weight of the KL beside the reconstruction, both means over all components.
const KL_WEIGHT: f64 = 0.5;

/// Encoder `q(z | s, a)` and decoder `a = tanh(net(s, z))`, latents twice as wide
/// as actions.
#[derive(Debug)]
pub struct Vae {
    encoder: Trained,
    decoder: Trained,
    latent_dim: usize,
}

impl Vae {
    /// A fresh model.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn new(
        hidden: &[usize],
        lr: f64,
        obs_dim: usize,
        act_dim: usize,
        seed: u64,
    ) -> Result<Self> {
        let latent_dim = 2 * act_dim;
        let encoder = relu_shape(obs_dim + act_dim, hidden, 2 * latent_dim)?;
        let decoder = relu_shape(obs_dim + latent_dim, hidden, act_dim)?;
        Ok(Self {
            encoder: Trained::new(encoder, lr, seed, "vae/encoder")?,
            decoder: Trained::new(decoder.with_head(Head::Tanh), lr, seed, "vae/decoder")?,
            latent_dim,
        })
    }

    /// Width of a latent.
    pub fn latent_dim(&self) -> usize {
        self.latent_dim
    }

    /// One step of both networks down `mean |decode(s, z) - a|^2 + KL / 2` with one
    /// posterior sample `z` a row from standard normal `noise`, `[rows, latent_dim]`;
    /// returns the two terms.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn fit(&mut self, batch: &Batch, noise: &Tensor) -> Result<(f32, f32)> {
        let (s, a) = (&batch.obs, &batch.actions);
        let head = self
            .encoder
            .net
            .forward(&Tensor::cat(&[s, a], 1)?, Trace::Params)?;
        let mean = head.narrow(1, 0, self.latent_dim)?;
        let log_std = head.narrow(1, self.latent_dim, self.latent_dim)?;
        let log_std = log_std.clamp(LOG_STD.0, LOG_STD.1)?;
        let z = (&mean + log_std.exp()?.mul(noise)?)?;
        let decoded = self.decode(s, &z, Trace::Both)?;
        let reconstruction = (decoded - a)?.sqr()?.mean_all()?;
        // KL of diagonal Gaussians: (mean^2 + std^2 - 1) / 2 - log std.
        let spread = (mean.sqr()? + (&log_std * 2.0)?.exp()?)?;
        let kl = (((spread - 1.0)? * 0.5)? - log_std)?.mean_all()?;
        let parts = (scalar(&reconstruction)?, scalar(&kl)?);
        let grads = (reconstruction + (kl * KL_WEIGHT)?)?.backward()?;
        self.encoder.step(&grads)?;
        self.decoder.step(&grads)?;
        Ok(parts)
    }

    /// The actions, `[rows * K, act_dim]`, of latents `z`, K in turn for each state,
    /// with gradients as `trace` says; that of the input is of `z` alone.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn decode(&self, s: &Tensor, z: &Tensor, trace: Trace) -> Result<Tensor> {
        self.decoder.net.forward(Rows::beside(s, z), trace)
    }

    /// [`Self::decode`] without any gradient.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn decode_detached(&self, s: &Tensor, z: &Tensor) -> Result<Tensor> {
        self.decoder.net.forward_detached(Rows::beside(s, z))
    }

    /// The decoder for acting: `[s, z]` to an action.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn rows(&self) -> Result<RowMlp> {
        self.decoder.net.row_mlp()
    }
}

impl<'a> Parts<'a> {
    /// With both networks of an autoencoder.
    #[must_use]
    pub fn vae(self, vae: &'a mut Vae) -> Self {
        self.trained("vae.encoder", &mut vae.encoder)
            .trained("vae.decoder", &mut vae.decoder)
    }
}

/// `clip(a + size tanh(net(s, a)))`, `[rows, act_dim]`, of a perturbation network.
pub(crate) fn perturbed(
    net: &Mlp,
    size: f64,
    s: &Tensor,
    a: &Tensor,
    trace: Trace,
) -> Result<Tensor> {
    let change = net.forward(Rows::beside(s, a), trace)?;
    (a + (change * size)?)?.clamp(-1f32, 1f32)
}

/// [`perturbed`] without any gradient.
pub(crate) fn perturbed_detached(net: &Mlp, size: f64, s: &Tensor, a: &Tensor) -> Result<Tensor> {
    let change = net.forward_detached(Rows::beside(s, a))?;
    (a + (change * size)?)?.clamp(-1f32, 1f32)
}
