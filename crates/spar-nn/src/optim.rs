//! Adam with readable state.

use std::cell::RefCell;

use candle_core::{CpuStorage, Layout, Result, Tensor, Var, backprop::GradStore, bail};
use spar_kernels::optim;
pub use spar_kernels::optim::AdamConfig;

use crate::{
    mlp::{GradSlot, Mlp, lock, slice_mut, values},
    state::{State, StateError},
};

/// PyTorch's Adam over one flat variable. Moments and step are part of a
/// checkpoint: a run resumed from one continues bit for bit.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    params: Var,
    /// Where the gradient is, of a network's optimizer.
    grad: Option<GradSlot>,
    step: u64,
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Adam {
    /// An optimizer of `net` with zero moments.
    pub fn new(net: &Mlp, config: AdamConfig) -> Self {
        Self {
            grad: Some(net.grad_slot()),
            ..Self::of(net.params(), config)
        }
    }

    /// An optimizer of a variable that is no network, with zero moments.
    pub fn of(params: &Var, config: AdamConfig) -> Self {
        let n = params.elem_count();
        Self {
            config,
            params: params.clone(),
            grad: None,
            step: 0,
            m: vec![0.0; n],
            v: vec![0.0; n],
        }
    }

    /// Changes the learning rate, for schedules.
    pub fn set_lr(&mut self, lr: f32) {
        self.config.lr = lr;
    }

    /// One step along the gradient that the backward pass of `grads` left for
    /// this optimizer's network, or that `grads` holds for its variable.
    ///
    /// # Errors
    /// If there is none: a network that was meant to learn and cannot.
    pub fn step(&mut self, grads: &GradStore) -> Result<()> {
        let n = self.m.len();
        let none = || {
            candle_core::Error::Msg(format!(
                "no gradient reached a trained network of {n} parameters"
            ))
        };
        match self.grad.clone() {
            Some(slot) => self.along(lock(&slot).take().ok_or_else(none)?),
            None => self.step_along(grads.get(&self.params).ok_or_else(none)?),
        }
    }

    /// One step along `grad`, of the variable's shape.
    ///
    /// # Errors
    /// If its shape or element type differs.
    pub fn step_along(&mut self, grad: &Tensor) -> Result<()> {
        values(&grad.contiguous()?, |grad| self.along(grad))
    }

    fn along(&mut self, grad: &[f32]) -> Result<()> {
        if grad.len() != self.m.len() {
            bail!("{} gradients for {} parameters", grad.len(), self.m.len());
        }
        self.step += 1;
        let op = AdamOp {
            config: self.config,
            step: self.step,
            grad,
            moments: RefCell::new((&mut self.m, &mut self.v)),
        };
        self.params.inplace_op1(&op)
    }

    /// Adds moments and step to `state` under `name`.
    pub fn save(&self, name: &str, state: &mut State) {
        state.insert(&format!("{name}.adam_m"), self.m.clone());
        state.insert(&format!("{name}.adam_v"), self.v.clone());
        state.insert_count(&format!("{name}.adam_step"), self.step);
    }

    /// Takes moments and step from `state`.
    ///
    /// # Errors
    /// If they are absent or of another size.
    pub fn load(&mut self, name: &str, state: &State) -> std::result::Result<(), StateError> {
        self.m = state.get(&format!("{name}.adam_m"), self.m.len())?;
        self.v = state.get(&format!("{name}.adam_v"), self.v.len())?;
        self.step = state.get_count(&format!("{name}.adam_step"))?;
        Ok(())
    }
}

struct AdamOp<'a> {
    config: AdamConfig,
    step: u64,
    grad: &'a [f32],
    moments: RefCell<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
}

impl candle_core::InplaceOp1 for AdamOp<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, params: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let params = slice_mut(params, layout)?;
        let (m, v) = &mut *self.moments.borrow_mut();
        optim::adam(&self.config, self.step, params, self.grad, m, v);
        Ok(())
    }
}
