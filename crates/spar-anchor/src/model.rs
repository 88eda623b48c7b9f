//! The anchor's network.

use candle_core::{Result, Tensor};
use spar_core::{Stream, sha256_hex};
use spar_nn::{Head, Mlp, RowMlp, Trace, relu_shape};

use crate::config::AnchorConfig;

/// The deterministic policy `pi_base(s) = tanh(net(s))`.
#[derive(Debug)]
pub struct Anchor {
    net: Mlp,
}

impl Anchor {
    /// A fresh policy for states `obs_dim` wide and actions `act_dim` wide.
    ///
    /// # Errors
    /// Only if candle cannot hold its parameters.
    pub fn new(
        config: &AnchorConfig,
        obs_dim: usize,
        act_dim: usize,
        init: &mut Stream,
    ) -> Result<Self> {
        let shape = relu_shape(obs_dim, config.hidden.clone(), act_dim)?.with_head(Head::Tanh);
        Ok(Self {
            net: Mlp::new(shape, init)?,
        })
    }

    /// Another policy with the same parameters.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    pub fn duplicate(&self) -> Result<Self> {
        Ok(Self {
            net: self.net.duplicate()?,
        })
    }

    /// The frozen policy's actions, `[rows, act_dim]`, for normalized states
    /// `obs`, `[rows, obs_dim]`. No gradient reaches the anchor from here.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn act(&self, obs: &Tensor) -> Result<Tensor> {
        self.net.forward_detached(obs)
    }

    /// The same actions with a gradient of the parameters: for cloning, and for the
    /// ablation that does not freeze the anchor.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn trained_act(&self, obs: &Tensor) -> Result<Tensor> {
        self.net.forward(obs, Trace::Params)
    }

    /// The network, for checkpoints.
    pub fn net(&self) -> &Mlp {
        &self.net
    }

    /// The policy for acting, row by row.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn rows(&self) -> Result<RowMlp> {
        self.net.row_mlp()
    }

    /// SHA-256 of the parameters: equal before and after a run, since the
    /// anchor is frozen.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn fingerprint(&self) -> Result<String> {
        let params = self.net.to_params()?;
        let bytes: Vec<u8> = params.iter().flat_map(|p| p.to_le_bytes()).collect();
        Ok(sha256_hex(&bytes))
    }
}
