//! Networks and variables with their optimizers: what is trained, saved and resumed as one.

use std::{borrow::Borrow, f64::consts::PI};

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore, bail};
use spar_core::Stream;

use crate::{
    mlp::{Mlp, MlpShape},
    optim::{Adam, AdamConfig},
    state::{State, StateError},
};

/// Gradients of one backward pass, as candle hands them out.
pub type Gradients = GradStore;

/// The one number of a scalar tensor.
///
/// # Errors
/// If it is no `f32` scalar.
pub fn scalar(tensor: &Tensor) -> Result<f32> {
    tensor.to_scalar()
}

/// A network and its Adam.
#[derive(Debug)]
pub struct Trained {
    /// The network.
    pub net: Mlp,
    optim: Adam,
}

impl Trained {
    /// A fresh network, initialized from the stream `<name>/init` of `seed`.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn new(shape: MlpShape, lr: f64, seed: u64, name: &str) -> Result<Self> {
        Self::decayed(shape, lr, 0.0, seed, name)
    }

    /// The same with AdamW's weight decay.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn decayed(shape: MlpShape, lr: f64, decay: f64, seed: u64, name: &str) -> Result<Self> {
        let net = Mlp::new(shape, &mut Stream::new(seed, &format!("{name}/init")))?;
        let config = AdamConfig::new(lr as f32).with_weight_decay(decay as f32);
        let optim = Adam::new(&net, config);
        Ok(Self { net, optim })
    }

    /// The same with flax's fan-average initialization: weights uniform within
    /// `sqrt(6 / (in + out))` of zero, biases zero.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn glorot(shape: MlpShape, lr: f64, seed: u64, name: &str) -> Result<Self> {
        let net = Mlp::glorot(shape, &mut Stream::new(seed, &format!("{name}/init")))?;
        Ok(Self::of(net, lr))
    }

    /// A network as it is.
    pub fn of(net: Mlp, lr: f64) -> Self {
        let optim = Adam::new(&net, AdamConfig::new(lr as f32));
        Self { net, optim }
    }

    /// One step along the gradient the backward pass of `grads` left.
    ///
    /// # Errors
    /// If there is none.
    pub fn step(&mut self, grads: &Gradients) -> Result<()> {
        self.optim.step(grads)
    }

    /// One step down `loss`, whose value is returned.
    ///
    /// # Errors
    /// If no gradient of it reaches this network.
    pub fn descend(&mut self, loss: &Tensor) -> Result<f32> {
        self.step(&loss.backward()?)?;
        scalar(loss)
    }

    /// Changes the learning rate, for schedules.
    pub fn set_lr(&mut self, lr: f64) {
        self.optim.set_lr(lr as f32);
    }

    /// Adds parameters and optimizer to `state` under `name`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, name: &str, state: &mut State) -> Result<()> {
        self.optim.save(name, state);
        self.net.save(name, state)
    }

    /// Takes parameters and optimizer from `state`.
    ///
    /// # Errors
    /// If they are absent or of another size.
    pub fn load(&mut self, name: &str, state: &State) -> std::result::Result<(), StateError> {
        self.optim.load(name, state)?;
        self.net.load(name, state)
    }
}

impl Borrow<Mlp> for Trained {
    fn borrow(&self) -> &Mlp {
        &self.net
    }
}

/// A trained flat variable that is no network, and its Adam.
#[derive(Debug)]
pub struct Variable {
    /// The variable, `[n]`.
    pub var: Var,
    optim: Adam,
}

impl Variable {
    /// A variable that starts at `values`.
    ///
    /// # Errors
    /// Only if candle cannot hold it.
    pub fn new(values: Vec<f32>, lr: f64) -> Result<Self> {
        Self::decayed(values, lr, 0.0)
    }

    /// The same with AdamW's weight decay.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn decayed(values: Vec<f32>, lr: f64, decay: f64) -> Result<Self> {
        let n = values.len();
        let var = Var::from_vec(values, n, &Device::Cpu)?;
        let config = AdamConfig::new(lr as f32).with_weight_decay(decay as f32);
        let optim = Adam::of(&var, config);
        Ok(Self { var, optim })
    }

    /// One step along its gradient in `grads`.
    ///
    /// # Errors
    /// If there is none.
    pub fn step(&mut self, grads: &Gradients) -> Result<()> {
        self.optim.step(grads)
    }

    /// One step along `grad`, of the variable's shape.
    ///
    /// # Errors
    /// If its shape differs.
    pub fn step_along(&mut self, grad: &Tensor) -> Result<()> {
        self.optim.step_along(grad)
    }

    /// Changes the learning rate, for schedules.
    pub fn set_lr(&mut self, lr: f64) {
        self.optim.set_lr(lr as f32);
    }

    /// Adds parameters and optimizer to `state` under `name`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, name: &str, state: &mut State) -> Result<()> {
        self.optim.save(name, state);
        state.insert(name, self.var.to_vec1()?);
        Ok(())
    }

    /// Takes parameters and optimizer from `state`.
    ///
    /// # Errors
    /// If they are absent or of another size.
    pub fn load(&mut self, name: &str, state: &State) -> std::result::Result<(), StateError> {
        self.optim.load(name, state)?;
        let n = self.var.elem_count();
        let values = Tensor::from_vec(state.get(name, n)?, n, &Device::Cpu)?;
        Ok(self.var.set(&values)?)
    }
}

/// A network and its stochastic gradient descent with momentum, by PyTorch's
/// definition: `v <- momentum v + g`, `p <- p - lr v`.
#[derive(Debug)]
pub struct Momentum {
    /// The network.
    pub net: Mlp,
    velocity: Vec<f32>,
    lr: f32,
    momentum: f32,
}

impl Momentum {
    /// An optimizer of `net` at rest.
    pub fn new(net: Mlp, lr: f64, momentum: f64) -> Self {
        Self {
            velocity: vec![0.0; net.shape().parameters()],
            lr: lr as f32,
            momentum: momentum as f32,
            net,
        }
    }

    /// One step down `loss`, whose value is returned.
    ///
    /// # Errors
    /// If no gradient of it reaches this network.
    pub fn descend(&mut self, loss: &Tensor) -> Result<f32> {
        loss.backward()?;
        let Some(grad) = self.net.take_gradient() else {
            bail!("no gradient reached a trained network");
        };
        let mut params = self.net.to_params()?;
        for ((p, v), g) in params.iter_mut().zip(&mut self.velocity).zip(grad) {
            *v = self.momentum * *v + g;
            *p -= self.lr * *v;
        }
        self.net.set_params(params)?;
        scalar(loss)
    }

    /// Adds parameters and optimizer to `state` under `name`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, name: &str, state: &mut State) -> Result<()> {
        state.insert(&format!("{name}.velocity"), self.velocity.clone());
        self.net.save(name, state)
    }

    /// Takes parameters and optimizer from `state`.
    ///
    /// # Errors
    /// If they are absent or of another size.
    pub fn load(&mut self, name: &str, state: &State) -> std::result::Result<(), StateError> {
        self.velocity = state.get(&format!("{name}.velocity"), self.velocity.len())?;
        self.net.load(name, state)
    }
}

/// A learning rate that falls from `lr` to zero by a cosine in `updates` updates and stays
/// there, in update `step`, from one.
pub fn cosine(lr: f64, step: u64, updates: u64) -> f64 {
    let done = ((step - 1) as f64 / updates as f64).min(1.0);
    lr * 0.5 * (1.0 + (PI * done).cos())
}
