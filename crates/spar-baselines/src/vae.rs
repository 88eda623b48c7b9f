//! The conditional variational autoencoder over actions that BCQ introduced and
//! PLAS and LAPO took over.

use candle_core::{Result, Tensor};
use spar_nn::{Batch, Head, Mlp, RowMlp, Rows, Trace, relu_shape};

use crate::{Trained, learner::Parts, scalar};

/// Bounds of the encoder's log standard deviation.
const LOG_STD: (f32, f32) = (-4.0, 15.0);

/// Weight of the KL beside the reconstruction, both means over all components.
const KL_WEIGHT: f64 = 0.5;

/// Encoder `q(z | s, a)` and decoder `a = tanh(net(s, z))`, or without the tanh, latents
/// twice as wide as actions.
#[derive(Debug)]
pub struct Vae {
    encoder: Trained,
    decoder: Trained,
    latent_dim: usize,
    spread: Spread,
}

/// What the encoder says of its deviation.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Its logarithm, clamped to [`LOG_STD`].
    LogStd,
    /// The logarithm of its square.
    LogVariance,
}

/// `q(z | s, a)` of a batch, and a draw of it.
struct Posterior {
    mean: Tensor,
    log_std: Tensor,
    z: Tensor,
}

/// What [`Vae::fit_weighted`] measured.
#[derive(Clone, Copy, Debug)]
pub struct Fitted {
    /// The loss.
    pub loss: f32,
    /// `|decode(s, z) - a|^2`, mean over the batch, unweighted.
    pub reconstruction: f32,
    /// The KL, mean over the batch, unweighted.
    pub kl: f32,
}

impl Vae {
    /// A fresh model whose actions lie in `[-1, 1]`.
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
        let forms = (Head::Tanh, Spread::LogStd);
        Self::with(hidden, lr, (obs_dim, act_dim), seed, forms)
    }

    /// A fresh model of standardized actions: a linear decoder, and a logarithm of the
    /// variance that is not bounded (LAPO).
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn linear(
        hidden: &[usize],
        lr: f64,
        obs_dim: usize,
        act_dim: usize,
        seed: u64,
    ) -> Result<Self> {
        let forms = (Head::Linear, Spread::LogVariance);
        Self::with(hidden, lr, (obs_dim, act_dim), seed, forms)
    }

    fn with(
        hidden: &[usize],
        lr: f64,
        (obs_dim, act_dim): (usize, usize),
        seed: u64,
        (head, spread): (Head, Spread),
    ) -> Result<Self> {
        let latent_dim = 2 * act_dim;
        let encoder = relu_shape(obs_dim + act_dim, hidden, 2 * latent_dim)?;
        let decoder = relu_shape(obs_dim + latent_dim, hidden, act_dim)?;
        Ok(Self {
            encoder: Trained::new(encoder, lr, seed, "vae/encoder")?,
            decoder: Trained::new(decoder.with_head(head), lr, seed, "vae/decoder")?,
            latent_dim,
            spread,
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
        let posterior = self.posterior(s, a, noise)?;
        let decoded = self.decode(s, &posterior.z, Trace::Both)?;
        let reconstruction = (decoded - a)?.sqr()?.mean_all()?;
        let kl = posterior.kl()?.mean_all()?;
        let parts = (scalar(&reconstruction)?, scalar(&kl)?);
        let grads = (reconstruction + (kl * KL_WEIGHT)?)?.backward()?;
        self.encoder.step(&grads)?;
        self.decoder.step(&grads)?;
        Ok(parts)
    }

    /// One step of both networks down
    /// `mean_b w (sum |decode(s, z) - a|^2 + kl_weight KL)`, `w` the row's weight,
    /// `[rows]`, sums over components, with one posterior sample `z` a row from standard
    /// normal `noise`, `[rows, latent_dim]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn fit_weighted(
        &mut self,
        s: &Tensor,
        a: &Tensor,
        noise: &Tensor,
        weights: &Tensor,
        kl_weight: f64,
    ) -> Result<Fitted> {
        let posterior = self.posterior(s, a, noise)?;
        let decoded = self.decode(s, &posterior.z, Trace::Both)?;
        let reconstruction = (decoded - a)?.sqr()?.sum(1)?;
        let kl = posterior.kl()?.sum(1)?;
        let loss = ((&reconstruction + (&kl * kl_weight)?)? * weights)?.mean_all()?;
        let fitted = Fitted {
            loss: scalar(&loss)?,
            reconstruction: scalar(&reconstruction.mean_all()?)?,
            kl: scalar(&kl.mean_all()?)?,
        };
        let grads = loss.backward()?;
        self.encoder.step(&grads)?;
        self.decoder.step(&grads)?;
        Ok(fitted)
    }

    fn posterior(&self, s: &Tensor, a: &Tensor, noise: &Tensor) -> Result<Posterior> {
        let head = self
            .encoder
            .net
            .forward(&Tensor::cat(&[s, a], 1)?, Trace::Params)?;
        let mean = head.narrow(1, 0, self.latent_dim)?;
        let spread = head.narrow(1, self.latent_dim, self.latent_dim)?;
        let log_std = match self.spread {
            Spread::LogStd => spread.clamp(LOG_STD.0, LOG_STD.1)?,
            Spread::LogVariance => (spread * 0.5)?,
        };
        let z = (&mean + log_std.exp()?.mul(noise)?)?;
        Ok(Posterior { mean, log_std, z })
    }

    /// The decoder's network, `[s, z]` to an action.
    pub fn decoder(&self) -> &Mlp {
        &self.decoder.net
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

impl Posterior {
    /// Its KL to the prior, `[rows, latent_dim]`.
    fn kl(&self) -> Result<Tensor> {
        // KL of diagonal Gaussians: (mean^2 + std^2 - 1) / 2 - log std.
        let spread = (self.mean.sqr()? + (&self.log_std * 2.0)?.exp()?)?;
        ((spread - 1.0)? * 0.5)? - &self.log_std
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
