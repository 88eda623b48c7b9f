//! The parts methods are made of: a network with its optimizer, and critics with
//! their targets.

use std::{borrow::Borrow, f64::consts::PI};

use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{
    Adam, AdamConfig, Batch, Conservatism, Mlp, MlpShape, RowMlp, Rows, State, StateError, Trace,
    clip_gradients, conservative_value,
};

use crate::learner::{Gradients, scalar, var};

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

    pub(crate) fn save(&self, name: &str, state: &mut State) -> Result<()> {
        self.optim.save(name, state);
        self.net.save(name, state)
    }

    pub(crate) fn load(
        &mut self,
        name: &str,
        state: &State,
    ) -> std::result::Result<(), StateError> {
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
    pub var: candle_core::Var,
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
        let var = var(values)?;
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

    /// Changes the learning rate, for schedules.
    pub fn set_lr(&mut self, lr: f64) {
        self.optim.set_lr(lr as f32);
    }

    pub(crate) fn save(&self, name: &str, state: &mut State) -> Result<()> {
        self.optim.save(name, state);
        state.insert(name, self.var.to_vec1()?);
        Ok(())
    }

    pub(crate) fn load(
        &mut self,
        name: &str,
        state: &State,
    ) -> std::result::Result<(), StateError> {
        self.optim.load(name, state)?;
        let n = self.var.elem_count();
        let values = Tensor::from_vec(state.get(name, n)?, n, &spar_nn::Device::Cpu)?;
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

    pub(crate) fn save(&self, name: &str, state: &mut State) -> Result<()> {
        state.insert(&format!("{name}.velocity"), self.velocity.clone());
        self.net.save(name, state)
    }

    pub(crate) fn load(
        &mut self,
        name: &str,
        state: &State,
    ) -> std::result::Result<(), StateError> {
        self.velocity = state.get(&format!("{name}.velocity"), self.velocity.len())?;
        self.net.load(name, state)
    }
}

/// Action-value networks `Q_1..Q_N` with target copies.
#[derive(Debug)]
pub struct Critics {
    pub(crate) nets: Vec<Trained>,
    pub(crate) targets: Vec<Mlp>,
}

impl Critics {
    /// `count` fresh critics of `shape`, `[s, a]` to a value; number `i` is
    /// initialized from the stream `critic/<i>/init` of `seed`.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn new(shape: &MlpShape, count: usize, lr: f64, seed: u64) -> Result<Self> {
        let init = |name: &str| Trained::new(shape.clone(), lr, seed, name);
        Self::each(count, init)
    }

    /// The same with flax's initialization ([`Trained::glorot`]).
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn glorot(shape: &MlpShape, count: usize, lr: f64, seed: u64) -> Result<Self> {
        let init = |name: &str| Trained::glorot(shape.clone(), lr, seed, name);
        Self::each(count, init)
    }

    fn each(count: usize, init: impl Fn(&str) -> Result<Trained>) -> Result<Self> {
        let nets = (0..count)
            .map(|i| init(&format!("critic/{i}")))
            .collect::<Result<Vec<_>>>()?;
        let targets = nets
            .iter()
            .map(|q| q.net.duplicate())
            .collect::<Result<_>>()?;
        Ok(Self { nets, targets })
    }

    /// `min_i Q'_i(s, a)`, `[rows * K]`, of actions `[rows * K, act_dim]`, K in
    /// turn in each state of `s`, `[rows, obs_dim]`, without any gradient.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn target_min(&self, s: &Tensor, a: &Tensor) -> Result<Tensor> {
        conservative_value(&self.targets, Conservatism::Min, Rows::beside(s, a))
    }

    /// What `by` makes of `Q'_i(s, a)`, `[rows * K]`, without any gradient.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn target(&self, s: &Tensor, a: &Tensor, by: Aggregate) -> Result<Tensor> {
        match by {
            Aggregate::Min => self.target_min(s, a),
            Aggregate::Mean => mean(self.targets.iter().map(|net| detached(net, s, a))),
        }
    }

    /// `min_i Q_i(s, a)`, `[rows * K]`, without any gradient.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn min(&self, s: &Tensor, a: &Tensor) -> Result<Tensor> {
        let values = self.nets.iter().map(|q| detached(&q.net, s, a));
        least(values)
    }

    /// `w min_i Q'_i + (1 - w) max_i Q'_i`, `[rows * K]`: BCQ's soft clipped
    /// double Q, without any gradient.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn target_mix(&self, s: &Tensor, a: &Tensor, w: f64) -> Result<Tensor> {
        let values = self.targets.iter().map(|net| detached(net, s, a));
        let values = values.collect::<Result<Vec<_>>>()?;
        let low = least(values.iter().cloned().map(Ok))?;
        let mut high = low.clone();
        for value in &values {
            high = high.maximum(value)?;
        }
        (low * w)? + (high * (1.0 - w))?
    }

    /// `Q_i(s, a)`, `[rows * K]`, with a gradient of `a` alone: what a policy
    /// climbs.
    ///
    /// # Errors
    /// If the shapes do not fit or there is no critic `i`.
    pub fn climb(&self, i: usize, s: &Tensor, a: &Tensor) -> Result<Tensor> {
        let Some(q) = self.nets.get(i) else {
            bail!("no critic {i} of {}", self.nets.len());
        };
        q.net.forward(Rows::beside(s, a), Trace::Input)?.squeeze(1)
    }

    /// `min_i Q_i(s, a)`, `[rows * K]`, with a gradient of `a` alone.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn climb_min(&self, s: &Tensor, a: &Tensor) -> Result<Tensor> {
        least((0..self.nets.len()).map(|i| self.climb(i, s, a)))
    }

    /// `mean_i Q_i(s, a)`, `[rows * K]`, with a gradient of `a` alone.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn climb_mean(&self, s: &Tensor, a: &Tensor) -> Result<Tensor> {
        mean((0..self.nets.len()).map(|i| self.climb(i, s, a)))
    }

    /// `Q_i(s, a)` of every critic, `[rows * K]` each, with a gradient of their
    /// parameters alone.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn values(&self, s: &Tensor, a: &Tensor) -> Result<Vec<Tensor>> {
        let value = |q: &Trained| q.net.forward(Rows::beside(s, a), Trace::Params)?.squeeze(1);
        self.nets.iter().map(value).collect()
    }

    /// `mean (Q_i(s, a) - y)^2` over the batch and the critics, with a gradient of their
    /// parameters: a term of a loss that is stepped along as a whole.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn error(&self, s: &Tensor, a: &Tensor, y: &Tensor) -> Result<Tensor> {
        let values = self.values(s, a)?.into_iter();
        mean(values.map(|q| (q - y)?.sqr()?.mean_all()))
    }

    /// One step of every critic along the gradients a backward pass left.
    ///
    /// # Errors
    /// If none reached one of them.
    pub fn step(&mut self, grads: &Gradients) -> Result<()> {
        self.nets.iter_mut().try_for_each(|q| q.step(grads))
    }

    /// One step of every critic down `mean (Q_i(s, a) - y)^2`; returns the sum.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn fit(&mut self, s: &Tensor, a: &Tensor, y: &Tensor) -> Result<f32> {
        self.fit_weighted(s, a, y, 1.0)
    }

    /// [`Self::fit`] with each loss times `weight`.
    ///
    /// # Errors
    /// As there.
    pub fn fit_weighted(&mut self, s: &Tensor, a: &Tensor, y: &Tensor, weight: f64) -> Result<f32> {
        let taken = Tensor::cat(&[s, a], 1)?;
        let mut sum = 0.0;
        for q in &mut self.nets {
            let error = (q.net.forward(&taken, Trace::Params)?.squeeze(1)? - y)?;
            sum += q.descend(&(error.sqr()?.mean_all()? * weight)?)?;
        }
        Ok(sum)
    }

    /// [`Self::fit`] of critics whose gradients, together, are no longer than `most`.
    ///
    /// # Errors
    /// As there.
    pub fn fit_clipped(&mut self, s: &Tensor, a: &Tensor, y: &Tensor, most: f64) -> Result<f32> {
        let taken = Tensor::cat(&[s, a], 1)?;
        let (mut sum, mut passes) = (0.0, Vec::new());
        for q in &self.nets {
            let error = (q.net.forward(&taken, Trace::Params)?.squeeze(1)? - y)?;
            let loss = error.sqr()?.mean_all()?;
            passes.push(loss.backward()?);
            sum += scalar(&loss)?;
        }
        clip_gradients(self.nets.iter().map(|q| &q.net), most)?;
        for (q, grads) in self.nets.iter_mut().zip(&passes) {
            q.step(grads)?;
        }
        Ok(sum)
    }

    /// The targets for acting.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn target_rows(&self) -> Result<Vec<RowMlp>> {
        self.targets.iter().map(Mlp::row_mlp).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nets.len()
    }

    /// Critic `i` for acting: `[s, a]` to a value.
    ///
    /// # Errors
    /// If there is no such critic.
    pub fn rows(&self, i: usize) -> Result<RowMlp> {
        match self.nets.get(i) {
            Some(q) => q.net.row_mlp(),
            None => bail!("no critic {i} of {}", self.nets.len()),
        }
    }

    /// Moves every target by `tau` towards its critic.
    ///
    /// # Errors
    /// Only if candle fails.
    pub fn track(&self, tau: f64) -> Result<()> {
        let mut pairs = self.targets.iter().zip(&self.nets);
        pairs.try_for_each(|(target, q)| target.track(&q.net, tau as f32))
    }
}

/// What several critics say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The least of them.
    Min,
    /// Their mean.
    Mean,
}

/// `y = r + discount (1 - terminal) next`, `[rows]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn bellman(batch: &Batch, discount: f64, next: &Tensor) -> Result<Tensor> {
    &batch.rewards + (next.mul(&batch.not_terminal)? * discount)?
}

/// A learning rate that falls from `lr` to zero by a cosine in `updates` updates and stays
/// there, in update `step`, from one.
pub(crate) fn cosine(lr: f64, step: u64, updates: u64) -> f64 {
    let done = ((step - 1) as f64 / updates as f64).min(1.0);
    lr * 0.5 * (1.0 + (PI * done).cos())
}

/// `net(s, a)` of a network with one output, `[rows * K]`, without any gradient.
pub(crate) fn detached(net: &Mlp, s: &Tensor, a: &Tensor) -> Result<Tensor> {
    net.forward_detached(Rows::beside(s, a))?.squeeze(1)
}

/// The least of several values, element by element.
fn least(values: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let least = values.reduce(|least, value| least?.minimum(&value?));
    least.unwrap_or_else(|| bail!("an ensemble of no critics"))
}

/// The mean of several values, element by element.
pub(crate) fn mean(values: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let values = values.collect::<Result<Vec<_>>>()?;
    Tensor::stack(&values, 0)?.mean(0)
}

/// Each row of `x`, `[rows, width]`, `k` times in turn: `[rows * k, width]`.
pub(crate) fn repeat_rows(x: &Tensor, k: usize) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    x.unsqueeze(1)?
        .expand((rows, k, width))?
        .reshape((rows * k, width))
}
