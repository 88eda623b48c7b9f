//! Flow policies: what `bc-flow`, `fql`, `ifql` and `fac` share, once.
//!
//! A flow is a velocity `v(s, x, t)` that transports a standard normal `z` at `t = 0` to
//! an action at `t = 1`. It is fitted to the data's actions along straight lines, integrated
//! by Euler's method, distilled into a network of one pass, and integrated back for the density
//! of an action.

use std::{f64::consts::PI, num::NonZeroUsize};

use candle_core::{D, Result, Tensor, Var};
use spar_core::Stream;
use spar_nn::{
    Conservatism, Device, HiddenActivation, Mlp, MlpShape, NormEps, Normalization, Rows, Trace,
    normal, relu_shape,
};
use spar_policy::{
    SampledActor,
    sampled::{Pick, Sampler, Worth},
};

use crate::{Critics, Gradients, Trained, actor::Actor, learner::Parts};

/// Widths of the hidden layers of the sources' networks (`agents/fql.py`).
pub(crate) const HIDDEN: [usize; 4] = [512; 4];

/// The sources' Euler steps.
pub(crate) const STEPS: NonZeroUsize = NonZeroUsize::new(10).expect("not zero");

/// The largest component of a data action: the sources clip to a hair inside the box.
const LARGEST_ACTION: f32 = 1.0 - 1e-5;

/// The data's actions as the sources see them, `[rows, act_dim]`.
pub(crate) fn data_actions(actions: &Tensor) -> Result<Tensor> {
    actions.clamp(-LARGEST_ACTION, LARGEST_ACTION)
}

/// A velocity network with its optimizer, and what draws its examples.
#[derive(Debug)]
pub struct Flow {
    /// `[s, x, t]` to a velocity of `x`.
    pub velocity: Trained,
    /// Euler steps from `t = 0` to `t = 1`.
    steps: NonZeroUsize,
    noise: Stream,
    time: Stream,
}

/// Sizes of a [`Flow`] and how it is trained.
#[derive(Clone, Copy, Debug)]
pub struct FlowConfig<'a> {
    /// Widths of the hidden layers.
    pub hidden: &'a [usize],
    /// Adam's learning rate.
    pub lr: f64,
    /// Euler steps from `t = 0` to `t = 1`.
    pub steps: NonZeroUsize,
}

impl Flow {
    /// A fresh flow of actions in a state; what it draws comes from `flow/...` of `seed`.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn new(config: FlowConfig<'_>, obs_dim: usize, act_dim: usize, seed: u64) -> Result<Self> {
        let shape = shape(obs_dim + act_dim + 1, config.hidden, act_dim)?;
        Ok(Self {
            velocity: Trained::glorot(shape, config.lr, seed, "flow")?,
            steps: config.steps,
            noise: Stream::new(seed, "flow/noise"),
            time: Stream::new(seed, "flow/time"),
        })
    }

    /// `mean (v(s, x_t, t) - (a - x_0))^2` with `x_t = (1 - t) x_0 + t a`, a normal `x_0`
    /// and a uniform `t` a row: its minimizer transports normals to the data's actions.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn loss(&mut self, s: &Tensor, a: &Tensor) -> Result<Tensor> {
        let (rows, act_dim) = a.dims2()?;
        let x_0 = normal(&mut self.noise, 1.0, rows, act_dim)?;
        let mut t = vec![0.0; rows];
        self.time.fill_uniform(0.0, 1.0, &mut t);
        let t = Tensor::from_vec(t, (rows, 1), &Device::Cpu)?;
        let line = (a - &x_0)?;
        let x_t = (x_0 + line.broadcast_mul(&t)?)?;
        let own = Tensor::cat(&[&x_t, &t], 1)?;
        let net = &self.velocity.net;
        let velocity = net.forward(Rows::beside(s, &own), Trace::Params)?;
        (velocity - line)?.sqr()?.mean_all()
    }

    /// The actions that `z`, `[rows, act_dim]`, are transported to in the states `s`, clipped
    /// at the end alone, without any gradient. Step `i` of `n` takes the velocity at
    /// `t = i / n`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn transport(&self, s: &Tensor, z: &Tensor) -> Result<Tensor> {
        let (mut x, n) = (z.clone(), self.steps.get());
        for i in 0..n {
            let own = at(&x, i as f64 / n as f64)?;
            let velocity = self.velocity.net.forward_detached(Rows::beside(s, &own))?;
            x = (x + (velocity / n as f64)?)?;
        }
        x.clamp(-1f32, 1f32)
    }

    /// `log beta(a | s)`, `[rows]`, without any gradient: the actions are integrated back to
    /// where they come from, `x <- x - v h` for `t = 1, 1 - h, ..., h`, and
    /// `log N(x) - sum h div v` is taken, velocity and divergence of every step where it
    /// begins. That is not the inverse of [`Self::transport`], whose steps take their
    /// velocities at their earlier ends; it is the source's.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn log_density(&self, s: &Tensor, a: &Tensor, by: &mut Divergence) -> Result<Tensor> {
        let (rows, act_dim) = a.dims2()?;
        let (mut x, n) = (a.clone(), self.steps.get());
        let mut volume = Tensor::zeros(rows, a.dtype(), &Device::Cpu)?;
        for i in (1..=n).rev() {
            let t = i as f64 / n as f64;
            let (velocity, divergence) = by.of(&self.velocity.net, s, &x, t)?;
            volume = (volume + (divergence / n as f64)?)?;
            x = (x - (velocity / n as f64)?)?;
        }
        let normal = (x.sqr()?.sum(D::Minus1)? * -0.5)? - 0.5 * act_dim as f64 * (2.0 * PI).ln();
        normal? - volume
    }

    /// One step along the gradient a backward pass left.
    ///
    /// # Errors
    /// If there is none.
    pub fn step(&mut self, grads: &Gradients) -> Result<()> {
        self.velocity.step(grads)
    }

    fn sampler(&self) -> Result<Sampler> {
        Ok(Sampler::Flow {
            net: self.velocity.net.row_mlp()?,
            steps: self.steps,
        })
    }

    /// Acting by one draw.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn actor(&self) -> Result<Actor> {
        Ok(one_draw(self.sampler()?))
    }

    /// Acting by that of several draws whose least value by the trained critics is
    /// greatest.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn best_of(&self, candidates: NonZeroUsize, critics: &Critics) -> Result<Actor> {
        let rows = (0..critics.count()).map(|i| critics.rows(i));
        Ok(Actor::Sampled(SampledActor {
            sampler: self.sampler()?,
            candidates,
            pick: Pick::Greatest(Worth {
                critics: rows.collect::<Result<_>>()?,
                by: Conservatism::Min,
            }),
        }))
    }
}

/// Acting by the one action that is sampled.
fn one_draw(sampler: Sampler) -> Actor {
    Actor::Sampled(SampledActor {
        sampler,
        candidates: NonZeroUsize::MIN,
        pick: Pick::First,
    })
}

impl<'a> Parts<'a> {
    /// With a flow and what it draws from.
    #[must_use]
    pub fn flow(self, flow: &'a mut Flow) -> Self {
        self.trained("flow", &mut flow.velocity)
            .stream("flow.noise", &mut flow.noise)
            .stream("flow.time", &mut flow.time)
    }
}

/// How the divergence of a velocity is computed.
#[derive(Debug)]
pub enum Divergence {
    /// One backward pass a dimension.
    Exact,
    /// The mean of `e^T (dv/dx) e` over so many probes `e` a row, every component drawn
    /// from the stream, one or minus one: Hutchinson's estimate.
    Probes(usize, Stream),
}

impl Divergence {
    /// By `probes`, drawn from `stream`; none stands for the exact one.
    pub fn new(probes: usize, stream: Stream) -> Self {
        match probes {
            0 => Self::Exact,
            _ => Self::Probes(probes, stream),
        }
    }

    /// `v(s, x, t)`, `[rows, act_dim]`, and its divergence in `x`, `[rows]`.
    fn of(&mut self, net: &Mlp, s: &Tensor, x: &Tensor, t: f64) -> Result<(Tensor, Tensor)> {
        let (rows, act_dim) = x.dims2()?;
        let x = Var::from_tensor(x)?;
        let velocity = net.forward(Rows::beside(s, &at(x.as_tensor(), t)?), Trace::Input)?;
        let along = |e: &Tensor| {
            let grads = velocity.broadcast_mul(e)?.sum_all()?.backward()?;
            match grads.get(&x) {
                Some(grad) => grad.broadcast_mul(e)?.sum(D::Minus1),
                None => Tensor::zeros(rows, x.dtype(), &Device::Cpu),
            }
        };
        let divergence = match self {
            Self::Exact => {
                let axes = Tensor::eye(act_dim, x.dtype(), &Device::Cpu)?;
                sum((0..act_dim).map(|k| along(&axes.narrow(0, k, 1)?)))?
            }
            Self::Probes(count, stream) => {
                let probes = (0..*count).map(|_| along(&signs(stream, rows, act_dim)?));
                (sum(probes)? / *count as f64)?
            }
        };
        Ok((velocity.detach(), divergence))
    }
}

impl<'a> Parts<'a> {
    /// With the stream of the probes, where there are any.
    #[must_use]
    pub fn divergence(self, by: &'a mut Divergence) -> Self {
        match by {
            Divergence::Exact => self,
            Divergence::Probes(_, stream) => self.stream("probes", stream),
        }
    }
}

/// `[rows, cols]` of ones and minus ones.
fn signs(stream: &mut Stream, rows: usize, cols: usize) -> Result<Tensor> {
    let mut values = vec![0.0; rows * cols];
    stream.fill_uniform(-1.0, 1.0, &mut values);
    values
        .iter_mut()
        .for_each(|v| *v = if *v < 0.0 { -1.0 } else { 1.0 });
    Tensor::from_vec(values, (rows, cols), &Device::Cpu)
}

/// The sum of several tensors of one shape.
fn sum(mut terms: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let Some(first) = terms.next() else {
        candle_core::bail!("the divergence of a velocity without dimensions");
    };
    terms.try_fold(first?, |sum, term| sum + term?)
}

/// `[x, t]`, `[rows, act_dim + 1]`, at one time.
fn at(x: &Tensor, t: f64) -> Result<Tensor> {
    let rows = x.dim(0)?;
    Tensor::cat(&[x, &Tensor::full(t as f32, (rows, 1), &Device::Cpu)?], 1)
}

/// An actor of one pass, distilled from a flow: `a = clip(mu(s, z))` of a normal `z`.
#[derive(Debug)]
pub struct OneStep {
    /// `[s, z]` to an action, not yet clipped.
    pub net: Trained,
}

/// The terms of an [`OneStep`] actor's loss, scalars.
#[derive(Debug)]
pub struct OneStepLoss {
    /// `mean (mu(s, z) - F(s, z))^2`.
    pub distil: Tensor,
    /// `- mean Q(s, clip mu(s, z))`, normalized where asked for.
    pub value: Tensor,
}

impl OneStep {
    /// A fresh actor, initialized from the stream `actor/init` of `seed`.
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
        let shape = shape(obs_dim + act_dim, hidden, act_dim)?;
        let net = Trained::glorot(shape, lr, seed, "actor")?;
        Ok(Self { net })
    }

    /// `clip(mu(s, z))` without any gradient.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn act(&self, s: &Tensor, z: &Tensor) -> Result<Tensor> {
        let a = self.net.net.forward_detached(Rows::beside(s, z))?;
        a.clamp(-1f32, 1f32)
    }

    /// What the actor descends: the distance, before it is clipped, to where `flow`
    /// transports the same `z`, and the mean of the critics, which are frozen here, at its
    /// clipped action; divided by the mean of their mean's size if `normalized`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn loss(
        &self,
        flow: &Flow,
        critics: &Critics,
        s: &Tensor,
        z: &Tensor,
        normalized: bool,
    ) -> Result<OneStepLoss> {
        let proposed = self.net.net.forward(Rows::beside(s, z), Trace::Params)?;
        let distil = (&proposed - flow.transport(s, z)?)?.sqr()?.mean_all()?;
        let q = critics.climb_mean(s, &proposed.clamp(-1f32, 1f32)?)?;
        let value = q.mean_all()?.neg()?;
        let value = match normalized {
            false => value,
            true => value.div(&q.detach().abs()?.mean_all()?)?,
        };
        Ok(OneStepLoss { distil, value })
    }

    /// Acting by one draw.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn actor(&self) -> Result<Actor> {
        Ok(one_draw(Sampler::OneStep(self.net.net.row_mlp()?)))
    }
}

/// A network of a flow or an actor: GELU between its layers and nothing else.
pub(crate) fn shape(input: usize, hidden: &[usize], output: usize) -> Result<MlpShape> {
    Ok(relu_shape(input, hidden, output)?.with_activation(HiddenActivation::Gelu))
}

/// One of a critic or a value: its hidden layers are normalized after their activation,
/// as Flax normalizes.
pub(crate) fn value_shape(input: usize, hidden: &[usize]) -> Result<MlpShape> {
    let shape = shape(input, hidden, 1)?.with_normalization(Normalization::After);
    Ok(shape.with_norm_eps(NormEps::Flax))
}
