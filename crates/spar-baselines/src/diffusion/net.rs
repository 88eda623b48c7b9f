//! The network of a diffusion policy: what noise is in a sample, of the state, the sample
//! and the time.

use std::{borrow::Borrow, collections::HashMap, f32::consts::TAU, ops::Range};

use candle_core::{D, Result, Tensor};
use spar_core::Stream;
use spar_nn::{
    Device, HiddenActivation, Mlp, MlpShape, NormEps, Rows, Trace, activated, clip_gradients,
    relu_shape,
};
use spar_policy::sampled::{NoiseNet, Residuals};

use crate::{Gradients, Trained, Variable, learner::Parts};

/// Sizes of a [`Noise`].
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseShape {
    /// How a time becomes numbers.
    pub code: CodeKind,
    /// Width of the hidden layer of the network that reads those.
    pub time_hidden: usize,
    /// Width of what it makes of them.
    pub code_dim: usize,
    /// What reads state, sample and that.
    pub body: Body,
    /// Between all layers.
    pub activation: HiddenActivation,
    /// Of all normalizations.
    pub eps: NormEps,
}

/// How a time becomes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeKind {
    /// So many, half of them sines and half cosines of the time at frequencies that fall
    /// from one to `1e-4` (Diffusion-QL).
    Sinusoid(usize),
    /// Cosines, then sines, of the time at so many trained frequencies, from
    /// `N(0, 0.2^2)` on (IDQL).
    Learned(usize),
    /// Sines, then cosines, of the time at so many frequencies of `N(0, 30^2)` that stay
    /// (SRPO).
    Fixed(usize),
}

/// What reads state, sample and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Hidden layers of these widths.
    Plain(Vec<usize>),
    /// A layer to `width`, then so many blocks `h + net(layer_norm(dropout(h)))`, each with
    /// a hidden layer four times as wide, an activation and a layer.
    Residual {
        /// Width of what blocks hand on.
        width: usize,
        /// How many blocks there are.
        blocks: usize,
    },
}

/// The time of rows.
#[derive(Clone, Copy, Debug)]
pub enum Times<'a> {
    /// One for all.
    Same(f32),
    /// Of each row, `[rows]`.
    Each(&'a [f32]),
}

/// A network of state, sample and time that says what noise is in the sample: trained
/// (of [`Trained`]) or an average of such (of [`Mlp`]).
#[derive(Debug)]
pub struct Noise<T> {
    code: Code,
    time: T,
    entry: T,
    residuals: Option<(Vec<T>, T)>,
    activation: HiddenActivation,
}

#[derive(Debug)]
enum Code {
    Sinusoid(usize),
    Learned(Variable),
    Fixed(Vec<f32>),
}

impl CodeKind {
    fn width(self) -> usize {
        match self {
            Self::Sinusoid(width) => width,
            Self::Learned(n) | Self::Fixed(n) => 2 * n,
        }
    }
}

impl Noise<Trained> {
    /// A fresh network; its parts are initialized from the streams `<name>/<part>/init` of
    /// `seed`. `rates` are Adam's learning rate and weight decay.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn new(
        shape: &NoiseShape,
        obs_dim: usize,
        act_dim: usize,
        (lr, decay): (f64, f64),
        seed: u64,
        name: &str,
    ) -> Result<Self> {
        let net = |part: &str, shape_of: MlpShape| {
            let shape_of = shape_of
                .with_activation(shape.activation)
                .with_norm_eps(shape.eps);
            Trained::decayed(shape_of, lr, decay, seed, &format!("{name}/{part}"))
        };
        let frequencies = |n: usize, std: f32| {
            let mut values = vec![0.0; n];
            Stream::new(seed, &format!("{name}/code/init")).fill_normal(std, &mut values);
            values
        };
        let code = match shape.code {
            CodeKind::Sinusoid(width) => Code::Sinusoid(width),
            CodeKind::Learned(n) => {
                Code::Learned(Variable::decayed(frequencies(n, 0.2), lr, decay)?)
            }
            CodeKind::Fixed(n) => Code::Fixed(frequencies(n, 30.0)),
        };
        let input = obs_dim + act_dim + shape.code_dim;
        let (entry, residuals) = match &shape.body {
            Body::Plain(hidden) => (relu_shape(input, hidden.clone(), act_dim)?, None),
            &Body::Residual { width, blocks } => {
                let block = relu_shape(width, [4 * width], width)?.with_input_norm(true);
                let blocks = (0..blocks).map(|i| net(&format!("block/{i}"), block.clone()));
                let blocks = blocks.collect::<Result<Vec<_>>>()?;
                let exit = net("exit", relu_shape(width, [], act_dim)?)?;
                (relu_shape(input, [], width)?, Some((blocks, exit)))
            }
        };
        Ok(Self {
            time: net(
                "time",
                relu_shape(shape.code.width(), [shape.time_hidden], shape.code_dim)?,
            )?,
            entry: net("entry", entry)?,
            code,
            residuals,
            activation: shape.activation,
        })
    }

    /// An average that starts here.
    ///
    /// # Errors
    /// Only if candle cannot copy the parameters.
    pub fn copy(&self) -> Result<Noise<Mlp>> {
        let copy = |net: &Trained| net.net.duplicate();
        let residuals = self.residuals.as_ref().map(|(blocks, exit)| {
            let blocks = blocks.iter().map(copy).collect::<Result<Vec<_>>>()?;
            Result::Ok((blocks, copy(exit)?))
        });
        Ok(Noise {
            code: match &self.code {
                Code::Sinusoid(width) => Code::Sinusoid(*width),
                Code::Learned(w) => Code::Learned(Variable::new(w.var.to_vec1()?, 0.0)?),
                Code::Fixed(w) => Code::Fixed(w.clone()),
            },
            time: copy(&self.time)?,
            entry: copy(&self.entry)?,
            residuals: residuals.transpose()?,
            activation: self.activation,
        })
    }

    /// Scales what backward passes left so that all of it together is no longer than
    /// `most`.
    ///
    /// # Errors
    /// If nothing was left.
    pub fn clip(&self, most: f64) -> Result<()> {
        clip_gradients(self.nets(), most)?;
        Ok(())
    }

    /// One step of all parts along the gradients of a backward pass.
    ///
    /// # Errors
    /// If none reaches them.
    pub fn step(&mut self, grads: &Gradients) -> Result<()> {
        if let Code::Learned(w) = &mut self.code {
            w.step(grads)?;
        }
        self.each_mut(|net| net.step(grads))
    }

    /// Changes the learning rate, for schedules.
    pub fn set_lr(&mut self, lr: f64) {
        if let Code::Learned(w) = &mut self.code {
            w.set_lr(lr);
        }
        // Nothing here can fail.
        let _: Result<()> = self.each_mut(|net| {
            net.set_lr(lr);
            Ok(())
        });
    }

    fn each_mut(&mut self, mut f: impl FnMut(&mut Trained) -> Result<()>) -> Result<()> {
        f(&mut self.time)?;
        f(&mut self.entry)?;
        if let Some((blocks, exit)) = &mut self.residuals {
            blocks.iter_mut().try_for_each(&mut f)?;
            f(exit)?;
        }
        Ok(())
    }

    /// Masks of one pass over `rows` rows: of what enters each block, zero with probability
    /// `rate`, else one over the probability of staying. None where there is no dropout.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    pub fn dropout(&self, stream: &mut Stream, rate: f64, rows: usize) -> Result<Vec<Tensor>> {
        let Some((blocks, _)) = &self.residuals else {
            return Ok(Vec::new());
        };
        if rate == 0.0 {
            return Ok(Vec::new());
        }
        // Of draws on [-1, 1) those below this stay.
        let (stay, kept) = ((1.0 - 2.0 * rate) as f32, (1.0 / (1.0 - rate)) as f32);
        let mask = |block: &Trained| {
            let width = block.net.shape().input();
            let mut values = vec![0.0; rows * width];
            stream.fill_uniform(-1.0, 1.0, &mut values);
            for v in &mut values {
                *v = if *v < stay { kept } else { 0.0 };
            }
            Tensor::from_vec(values, (rows, width), &Device::Cpu)
        };
        blocks.iter().map(mask).collect()
    }
}

impl Noise<Mlp> {
    /// Moves every part by `rate` towards that of `source`.
    ///
    /// # Errors
    /// Only if candle fails.
    pub fn track(&self, source: &Noise<Trained>, rate: f64) -> Result<()> {
        for (own, other) in self.nets().zip(source.nets()) {
            own.track(other, rate as f32)?;
        }
        if let (Code::Learned(own), Code::Learned(other)) = (&self.code, &source.code) {
            let kept = (own.var.as_detached_tensor() * (1.0 - rate))?;
            own.var
                .set(&(kept + (other.var.as_detached_tensor() * rate)?)?)?;
        }
        Ok(())
    }
}

impl<T: Borrow<Mlp>> Noise<T> {
    /// Its networks.
    pub fn nets(&self) -> impl Iterator<Item = &Mlp> {
        let residuals = self.residuals.iter();
        let residuals = residuals.flat_map(|(blocks, exit)| blocks.iter().chain([exit]));
        [&self.time, &self.entry]
            .into_iter()
            .chain(residuals)
            .map(Borrow::borrow)
    }

    /// The noise in `x`, `[rows, act_dim]`, with gradients of the parameters and of `x`;
    /// `s` is `[rows, obs_dim]` or has a row for several rows of `x` in turn. `masks` are
    /// what [`Noise::dropout`] drew, or none.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn forward(
        &self,
        s: &Tensor,
        x: &Tensor,
        times: Times<'_>,
        masks: &[Tensor],
    ) -> Result<Tensor> {
        let (numbers, trace) = match &self.code {
            Code::Learned(w) => (fourier(times, w.var.as_tensor())?, Trace::Both),
            _ => (self.numbers(times)?, Trace::Params),
        };
        let code = self.time.borrow().forward(&numbers, trace)?;
        let net = |net: &Mlp, x: Rows<'_>| net.forward(x, Trace::Both);
        self.body(s, x, &code, masks, net)
    }

    /// The same without any gradient, and without dropout.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn forward_detached(&self, s: &Tensor, x: &Tensor, times: Times<'_>) -> Result<Tensor> {
        let code = self.codes(times)?;
        self.body(s, x, &code, &[], |net, x| net.forward_detached(x))
    }

    /// What the body is told of `times`, without any gradient.
    fn codes(&self, times: Times<'_>) -> Result<Tensor> {
        let numbers = match &self.code {
            Code::Learned(w) => fourier(times, &w.var.as_detached_tensor())?,
            _ => self.numbers(times)?,
        };
        self.time.borrow().forward_detached(&numbers)
    }

    /// The numbers that `times` become, where nothing of them is trained.
    fn numbers(&self, times: Times<'_>) -> Result<Tensor> {
        let times = match times {
            Times::Same(ref t) => std::slice::from_ref(t),
            Times::Each(times) => times,
        };
        let pairs = |angles: Vec<f32>| {
            let sines = angles.iter().map(|a| a.sin());
            sines
                .chain(angles.iter().map(|a| a.cos()))
                .collect::<Vec<_>>()
        };
        let row = |&t: &f32| match &self.code {
            Code::Fixed(w) => pairs(w.iter().map(|w| TAU * t * w).collect()),
            Code::Sinusoid(width) => {
                let half = width / 2;
                let last = half.saturating_sub(1).max(1) as f64;
                let frequency = |j: usize| 1e4f64.powf(-(j as f64) / last);
                let angle = |j| (f64::from(t) * frequency(j)) as f32;
                pairs((0..half).map(angle).collect())
            }
            Code::Learned(_) => Vec::new(),
        };
        // Steps of a chain come again and again.
        let (mut values, mut known) = (Vec::new(), HashMap::new());
        for t in times {
            match known.get(&t.to_bits()) {
                Some(at) => values.extend_from_within(Range::clone(at)),
                None => {
                    let first = values.len();
                    values.extend(row(t));
                    known.insert(t.to_bits(), first..values.len());
                }
            }
        }
        let width = values.len() / times.len().max(1);
        Tensor::from_vec(values, (times.len(), width), &Device::Cpu)
    }

    fn body(
        &self,
        s: &Tensor,
        x: &Tensor,
        code: &Tensor,
        masks: &[Tensor],
        net: impl Fn(&Mlp, Rows<'_>) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let code = code.expand((x.dim(0)?, code.dim(1)?))?;
        let own = Tensor::cat(&[x, &code.contiguous()?], D::Minus1)?;
        let h = net(self.entry.borrow(), Rows::beside(s, &own))?;
        let Some((blocks, exit)) = &self.residuals else {
            return Ok(h);
        };
        let mut h = h;
        for (i, block) in blocks.iter().enumerate() {
            let change = match masks.get(i) {
                Some(mask) => net(block.borrow(), (&h.mul(mask)?).into())?,
                None => net(block.borrow(), (&h).into())?,
            };
            h = (h + change)?;
        }
        net(exit.borrow(), (&activated(&h, self.activation)?).into())
    }

    /// The same for acting, at the times `0..steps`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn rows(&self, steps: usize) -> Result<NoiseNet> {
        let times: Vec<f32> = (0..steps).map(|t| t as f32).collect();
        let codes = self.codes(Times::Each(&times))?;
        let residuals = self.residuals.as_ref().map(|(blocks, exit)| {
            let blocks = blocks.iter().map(|block| block.borrow().row_mlp());
            Result::Ok(Residuals {
                blocks: blocks.collect::<Result<_>>()?,
                exit: exit.borrow().row_mlp()?,
            })
        });
        Ok(NoiseNet {
            code_dim: codes.dim(1)?,
            codes: codes.flatten_all()?.to_vec1()?,
            entry: self.entry.borrow().row_mlp()?,
            residuals: residuals.transpose()?,
        })
    }
}

/// `[cos(2 pi t w), sin(2 pi t w)]`, `[times, 2 n]`, of the frequencies `w`, `[n]`.
fn fourier(times: Times<'_>, w: &Tensor) -> Result<Tensor> {
    let times = match times {
        Times::Same(ref t) => std::slice::from_ref(t),
        Times::Each(times) => times,
    };
    let angles: Vec<f32> = times.iter().map(|t| TAU * t).collect();
    let angles = Tensor::from_vec(angles, (times.len(), 1), &Device::Cpu)?;
    let f = angles.broadcast_mul(&w.unsqueeze(0)?)?;
    Tensor::cat(&[f.cos()?, f.sin()?], D::Minus1)
}

impl<'a> Parts<'a> {
    /// With a trained noise network.
    #[must_use]
    pub fn noise(mut self, name: &str, noise: &'a mut Noise<Trained>) -> Self {
        self = self.code(name, &mut noise.code);
        self = self.trained(&format!("{name}.time"), &mut noise.time);
        self = self.trained(&format!("{name}.entry"), &mut noise.entry);
        let Some((blocks, exit)) = &mut noise.residuals else {
            return self;
        };
        for (i, block) in blocks.iter_mut().enumerate() {
            self = self.trained(&format!("{name}.block.{i}"), block);
        }
        self.trained(&format!("{name}.exit"), exit)
    }

    /// With an average of one.
    #[must_use]
    pub fn noise_average(mut self, name: &str, noise: &'a mut Noise<Mlp>) -> Self {
        self = self.code(name, &mut noise.code);
        self = self.net(&format!("{name}.time"), &noise.time);
        self = self.net(&format!("{name}.entry"), &noise.entry);
        let Some((blocks, exit)) = &noise.residuals else {
            return self;
        };
        for (i, block) in blocks.iter().enumerate() {
            self = self.net(&format!("{name}.block.{i}"), block);
        }
        self.net(&format!("{name}.exit"), exit)
    }

    fn code(self, name: &str, code: &'a mut Code) -> Self {
        let name = format!("{name}.code");
        match code {
            Code::Sinusoid(_) => self,
            Code::Learned(w) => self.variable(&name, w),
            Code::Fixed(w) => self.fixed(&name, w),
        }
    }
}
