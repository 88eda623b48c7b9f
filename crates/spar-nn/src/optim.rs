//! Adam with readable state.

use std::cell::RefCell;

use candle_core::{CpuStorage, Layout, Result, Tensor, Var, backprop::GradStore, bail};
use spar_kernels::optim;
pub use spar_kernels::optim::AdamConfig;

use crate::{
    mlp::{GradSlot, Mlp, lock},
    state::{State, StateError},
    storage::{slice_mut, values},
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

/// Scales the gradients that backward passes have left for `nets` since their last steps
/// so that, together, they are no longer than `most`; returns how long they were. As
/// PyTorch's `clip_grad_norm_`: each is multiplied by `most / (norm + 1e-6)`, where that is
/// below one.
///
/// # Errors
/// If none was left for one of the networks.
pub fn clip_gradients<'a>(nets: impl IntoIterator<Item = &'a Mlp>, most: f64) -> Result<f64> {
    let slots: Vec<GradSlot> = nets.into_iter().map(Mlp::grad_slot).collect();
    let mut sum = 0.0;
    for slot in &slots {
        let mut gradient = lock(slot);
        let Some(values) = gradient.pending() else {
            bail!("no gradient reached a network whose gradient is clipped");
        };
        sum += values.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
    }
    let norm = sum.sqrt();
    let factor = most / (norm + 1e-6);
    // A norm that is not a number goes on into the gradients, where it shows.
    if factor < 1.0 || factor.is_nan() {
        for slot in &slots {
            for g in lock(slot).pending().into_iter().flatten() {
                *g = (f64::from(*g) * factor) as f32;
            }
        }
    }
    Ok(norm)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;
    use spar_core::Stream;

    use super::*;
    use crate::{Trace, relu_shape};

    #[test]
    fn gradients_are_clipped_together_and_only_where_they_are_longer() {
        let net = |name| Mlp::new(relu_shape(2, [], 1).unwrap(), &mut Stream::new(0, name));
        let (a, b) = (net("a").unwrap(), net("b").unwrap());
        let x = Tensor::new(&[[3f32, 0.0]], &Device::Cpu).unwrap();
        let leave = || {
            // d loss / d params = [3, 0, 1] of both: norm sqrt(20).
            let [of_a, of_b] = [&a, &b].map(|net| net.forward(&x, Trace::Params).unwrap());
            let y = of_a + of_b;
            y.unwrap().sum_all().unwrap().backward().unwrap();
        };
        leave();
        let norm = clip_gradients([&a, &b], 10.0).unwrap();
        assert!((norm - 20f64.sqrt()).abs() < 1e-6);
        assert_eq!(a.take_gradient().unwrap(), [3.0, 0.0, 1.0]);
        let error = clip_gradients([&a, &b], 10.0).unwrap_err().to_string();
        assert!(error.contains("no gradient reached"), "{error}");
        b.take_gradient();
        leave();
        clip_gradients([&a, &b], 2.0).unwrap();
        for net in [&a, &b] {
            let got = net.take_gradient().unwrap();
            let factor = 2.0 / 20f32.sqrt();
            for (got, want) in got.iter().zip([3.0 * factor, 0.0, factor]) {
                assert!((got - want).abs() < 1e-5, "{got}, expected {want}");
            }
        }
    }
}
