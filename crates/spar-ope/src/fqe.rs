//! The estimator: a network, its slowly following copy, and the units they speak in.

use candle_core::{Device, Result, Tensor};
use spar_nn::{Mlp, Rows, Trained, relu_shape};

use crate::config::FqeConfig;

/// What a network's output stands for: `Q = center + scale * net(s, a)`.
///
/// A level of value has to travel back along whole episodes by the pace of the target
/// network; started at the data's own, it has little way to go. The fixed point is the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Units {
    /// About the mean of all values.
    pub center: f32,
    /// About their standard deviation, positive.
    pub scale: f32,
    /// Least value that rewards like the data's can add up to.
    pub least: f32,
    /// Greatest such value.
    pub greatest: f32,
}

/// One estimator of a policy's action values.
#[derive(Debug)]
pub struct Fqe {
    pub(crate) units: Units,
    pub(crate) discount: f64,
    pub(crate) tau: f32,
    pub(crate) q: Trained,
    pub(crate) target: Mlp,
}

impl Fqe {
    /// Estimator number `index`, its network initialized from the stream `ope/<index>/init`
    /// of the settings' seed.
    ///
    /// # Errors
    /// If a width is zero, or candle cannot hold the parameters.
    pub fn new(
        config: &FqeConfig,
        obs_dim: usize,
        act_dim: usize,
        index: usize,
        units: Units,
    ) -> Result<Self> {
        let shape = relu_shape(obs_dim + act_dim, config.hidden.clone(), 1)?.with_layer_norm(true);
        let (lr, name) = (f64::from(config.lr), format!("ope/{index}"));
        let q = Trained::new(shape, lr, config.seed, &name)?;
        Ok(Self {
            units,
            discount: config.discount,
            tau: config.tau,
            target: q.net.duplicate()?,
            q,
        })
    }

    /// The network, whose output is in [`Units`].
    pub fn network(&self) -> &Mlp {
        &self.q.net
    }

    /// Its slowly following copy.
    pub fn target(&self) -> &Mlp {
        &self.target
    }

    /// Replaces the parameters of both.
    ///
    /// # Errors
    /// If their number is not the network's.
    pub fn set_params(&self, params: Vec<f32>) -> Result<()> {
        self.target.set_params(params.clone())?;
        self.q.net.set_params(params)
    }

    /// `Q(s, a)`, `[rows]`, in the units of the rewards; `obs`, `[rows, obs_dim]`, is
    /// normalized, `actions` are `[rows, act_dim]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn values(&self, obs: &[f32], actions: &[f32], rows: usize) -> Result<Vec<f64>> {
        let matrix = |v: &[f32]| Tensor::from_slice(v, (rows, v.len() / rows.max(1)), &Device::Cpu);
        let (obs, actions) = (matrix(obs)?, matrix(actions)?);
        let out = self.q.net.forward_detached(Rows::beside(&obs, &actions))?;
        let out: Vec<f32> = out.flatten_all()?.to_vec1()?;
        let Units { center, scale, .. } = self.units;
        let value = |q: f32| f64::from(center) + f64::from(scale) * f64::from(q);
        Ok(out.into_iter().map(value).collect())
    }
}
