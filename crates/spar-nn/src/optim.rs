//! Adam with readable state.

use std::cell::RefCell;

use candle_core::{CpuStorage, Layout, Result, Tensor, Var, backprop::GradStore, bail};
use spar_kernels::optim;
pub use spar_kernels::optim::AdamConfig;

use crate::{
    mlp::{slice, slice_mut},
    state::{State, StateError},
};

/// PyTorch's Adam over one flat variable. Moments and step are part of a
/// checkpoint: a run resumed from one goes on bit for bit.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    params: Var,
    step: u64,
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Adam {
    /// An optimizer of `params` with zero moments.
    pub fn new(params: &Var, config: AdamConfig) -> Self {
        let n = params.elem_count();
        Self {
            config,
            params: params.clone(),
            step: 0,
            m: vec![0.0; n],
            v: vec![0.0; n],
        }
    }

    /// Changes the learning rate, for schedules.
    pub fn set_lr(&mut self, lr: f32) {
        self.config.lr = lr;
    }

    /// One step along the gradient `grads` holds for this optimizer's variable.
    ///
    /// # Errors
    /// If there is none: a network that was meant to learn and cannot.
    pub fn step(&mut self, grads: &GradStore) -> Result<()> {
        let Some(grad) = grads.get(&self.params) else {
            bail!(
                "no gradient reached a trained network of {} parameters",
                self.m.len()
            );
        };
        self.step_along(grad)
    }

    /// One step along `grad`, of the variable's shape.
    ///
    /// # Errors
    /// If its shape or element type differs.
    pub fn step_along(&mut self, grad: &Tensor) -> Result<()> {
        self.step += 1;
        let op = AdamOp {
            config: self.config,
            step: self.step,
            moments: RefCell::new((&mut self.m, &mut self.v)),
        };
        self.params.inplace_op2(&grad.contiguous()?, &op)
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
    moments: RefCell<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
}

impl candle_core::InplaceOp2 for AdamOp<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        params: &mut CpuStorage,
        params_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<()> {
        let grad = slice(grad, grad_layout)?;
        let params = slice_mut(params, params_layout)?;
        if params.len() != grad.len() {
            bail!("{} gradients for {} parameters", grad.len(), params.len());
        }
        let mut moments = self.moments.borrow_mut();
        let (m, v) = &mut *moments;
        optim::adam(&self.config, self.step, params, grad, m, v);
        Ok(())
    }
}
