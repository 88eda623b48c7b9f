//! What a method acts by once it is trained, in the states it was trained on.

use candle_core::Result;
use spar_nn::{Activation, Mlp, RowMlp};
use spar_policy::{LatentActor, SampledActor};

/// A trained policy: normalized state to action, always clipped to `[-1, 1]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Actor {
    /// `net(s)`.
    Net(RowMlp),
    /// `b + rho tanh(net([s, b]))` with the anchor's action `b`.
    Residual {
        /// The anchor.
        anchor: RowMlp,
        /// The residual, its output not yet scaled.
        net: RowMlp,
        /// Its largest correction.
        rho: f32,
    },
    /// What a latent space decodes to.
    Latent(LatentActor),
    /// What a sampler makes of noise.
    Sampled(SampledActor),
}

impl Actor {
    /// The policy `net(s)` of a trained network.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn net(net: &Mlp) -> Result<Self> {
        Ok(Self::Net(net.row_mlp()?))
    }

    /// The policy `tanh(mean)` of a network whose output is `[mean, rest]`, half
    /// and half: its last layer's other half is left out.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn tanh_mean(net: &Mlp) -> Result<Self> {
        let mut rows = net.row_mlp()?;
        if let Some(last) = rows.layers.last_mut() {
            let (width, kept) = (last.output(), last.output() / 2);
            let weight = last.weight.chunks_exact(width);
            last.weight = weight.flat_map(|row| row[..kept].to_vec()).collect();
            last.bias.truncate(kept);
        }
        rows.output = Activation::Tanh;
        Ok(Self::Net(rows))
    }
}
