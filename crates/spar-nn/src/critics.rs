//! Critics: action-value networks with their optimizers and target copies.

use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use spar_kernels::value::Conservatism;
use spar_policy::RowMlp;

use crate::{
    batch::Batch,
    ensemble::conservative_value,
    input::Rows,
    mlp::{Mlp, MlpShape, Trace},
    optim::clip_gradients,
    state::{State, StateError},
    trained::{Gradients, Trained, scalar},
};

/// From how many critics on the least of them is expected to be each for few rows
/// ([`Trace::InputOfFew`]).
const MANY: usize = 4;

/// Action-value networks `Q_1..Q_N` with target copies.
#[derive(Debug)]
pub struct Critics {
    /// The critics, in order.
    pub nets: Vec<Trained>,
    /// Their targets, in the same order.
    pub targets: Vec<Mlp>,
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
        Self::of((0..count).map(|i| init(&format!("critic/{i}"))))
    }

    /// Critics as they are, and targets that equal them.
    ///
    /// # Errors
    /// If one of them could not be made, or candle cannot hold the parameters.
    pub fn of(nets: impl Iterator<Item = Result<Trained>>) -> Result<Self> {
        let nets = nets.collect::<Result<Vec<_>>>()?;
        let targets = nets.iter().map(|q| q.net.duplicate());
        let targets = targets.collect::<Result<_>>()?;
        Self::with_targets(nets, targets)
    }

    /// Critics and targets as they are.
    ///
    /// # Errors
    /// If there are not as many of the one as of the other.
    pub fn with_targets(mut nets: Vec<Trained>, mut targets: Vec<Mlp>) -> Result<Self> {
        if nets.len() != targets.len() {
            bail!("{} critics and {} targets", nets.len(), targets.len());
        }
        if let Some((first, others)) = nets.split_first_mut() {
            let others = others.iter_mut().map(|q| &mut q.net);
            let all = others.chain(&mut targets);
            all.for_each(|net| net.share_workspaces(&first.net));
        }
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
        self.climb_by(i, s, a, Trace::Input)
    }

    fn climb_by(&self, i: usize, s: &Tensor, a: &Tensor, trace: Trace) -> Result<Tensor> {
        let Some(q) = self.nets.get(i) else {
            bail!("no critic {i} of {}", self.nets.len());
        };
        q.net.forward(Rows::beside(s, a), trace)?.squeeze(1)
    }

    /// `min_i Q_i(s, a)`, `[rows * K]`, with a gradient of `a` alone.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn climb_min(&self, s: &Tensor, a: &Tensor) -> Result<Tensor> {
        // A row's gradient is that of one critic.
        let trace = match self.nets.len() {
            ..MANY => Trace::Input,
            _ => Trace::InputOfFew,
        };
        least((0..self.nets.len()).map(|i| self.climb_by(i, s, a, trace)))
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

    /// [`Self::step`] and [`Self::track`], critic by critic: each target reads parameters that
    /// are still in cache.
    ///
    /// # Errors
    /// As there.
    pub fn step_and_track(&mut self, grads: &Gradients, tau: f64) -> Result<()> {
        for (q, target) in self.nets.iter_mut().zip(&self.targets) {
            q.step(grads)?;
            target.track(&q.net, tau as f32)?;
        }
        Ok(())
    }

    /// One step of each critic down `mean (Q_i(s, a) - y)^2` and its target after it, one
    /// critic after the other; returns the sum.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn fit_and_track(&mut self, s: &Tensor, a: &Tensor, y: &Tensor, tau: f64) -> Result<f32> {
        let (sum, _) = self.fit_each(Rows::beside(s, a), y, Ok, Some(tau))?;
        Ok(sum)
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
        let (sum, _) = self.fit_each(&taken, y, |loss| loss * weight, None)?;
        Ok(sum)
    }

    /// [`Self::fit`] of `taken`, `[rows, obs_dim + act_dim]`, states and actions side by side;
    /// returns what each critic said of them before it learned, too, `[rows]` each.
    ///
    /// # Errors
    /// As there.
    pub fn fit_joined(&mut self, taken: &Tensor, y: &Tensor) -> Result<(f32, Vec<Tensor>)> {
        self.fit_each(taken, y, Ok, None)
    }

    /// One critic after the other; with a `tau`, its target after it.
    fn fit_each<'a>(
        &mut self,
        taken: impl Into<Rows<'a>>,
        y: &Tensor,
        weighted: impl Fn(Tensor) -> Result<Tensor>,
        tau: Option<f64>,
    ) -> Result<(f32, Vec<Tensor>)> {
        let taken = taken.into();
        let (mut sum, mut said) = (0.0, Vec::with_capacity(self.nets.len()));
        for (q, target) in self.nets.iter_mut().zip(&self.targets) {
            let value = q.net.forward(taken, Trace::Params)?.squeeze(1)?;
            said.push(value.detach());
            let loss = (value - y)?.sqr()?.mean_all()?;
            sum += q.descend(&weighted(loss)?)?;
            if let Some(tau) = tau {
                target.track(&q.net, tau as f32)?;
            }
        }
        Ok((sum, said))
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

    /// Adds every critic, its optimizer and its target to `state`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, state: &mut State) -> Result<()> {
        for (i, (q, target)) in self.nets.iter().zip(&self.targets).enumerate() {
            q.save(&format!("critic.{i}"), state)?;
            target.save(&format!("critic.{i}.target"), state)?;
        }
        Ok(())
    }

    /// Takes all that [`Self::save`] added from `state`.
    ///
    /// # Errors
    /// If something is absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        for (i, (q, target)) in self.nets.iter_mut().zip(&self.targets).enumerate() {
            q.load(&format!("critic.{i}"), state)?;
            target.load(&format!("critic.{i}.target"), state)?;
        }
        Ok(())
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

/// `net(s, a)` of a network with one output, `[rows * K]`, without any gradient.
///
/// # Errors
/// If the shapes do not fit.
pub fn detached(net: &Mlp, s: &Tensor, a: &Tensor) -> Result<Tensor> {
    net.forward_detached(Rows::beside(s, a))?.squeeze(1)
}

/// The least of several values, element by element.
fn least(values: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let least = values.reduce(|least, value| least?.minimum(&value?));
    least.unwrap_or_else(|| bail!("an ensemble of no critics"))
}

/// The mean of several values, element by element.
///
/// # Errors
/// If one of them could not be computed, or their shapes differ.
pub fn mean(values: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let values = values.collect::<Result<Vec<_>>>()?;
    Tensor::stack(&values, 0)?.mean(0)
}

/// Each row of `x`, `[rows, width]`, `k` times in turn: `[rows * k, width]`.
///
/// # Errors
/// If it is no matrix.
pub fn repeat_rows(x: &Tensor, k: usize) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    x.unsqueeze(1)?
        .expand((rows, k, width))?
        .reshape((rows * k, width))
}
