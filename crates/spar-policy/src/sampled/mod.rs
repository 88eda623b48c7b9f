//! Policies that sample their actions: diffusion chains, flows and one-step generators,
//! with one candidate or with several that critics choose among.
//!
//! All noise of an observation comes from its own stream, in one order: of all candidates
//! what the sampler starts from; then of each step its noise; then the choice. So an
//! episode's actions do not depend on what is evaluated beside it.

mod net;
mod schedule;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, num::NonZeroUsize};

use spar_core::{Normalizer, Policy, Stream};
use spar_kernels::{
    scalar,
    value::{Conservatism, conservative},
};

use crate::rows::{RowMlp, RowWork};
pub use net::{NoiseNet, Residuals};
pub use schedule::{Schedule, Step};

/// A policy that samples its actions, on observations in their own units.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledPolicy {
    /// Of observations.
    pub normalizer: Normalizer,
    /// The same on normalized observations.
    pub actor: SampledActor,
}

/// A policy that samples its actions.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledActor {
    /// Where actions come from.
    pub sampler: Sampler,
    /// How many are sampled for an observation.
    pub candidates: NonZeroUsize,
    /// Which of them is taken.
    pub pick: Pick,
}

/// What makes an action out of noise.
#[derive(Clone, Debug, PartialEq)]
pub enum Sampler {
    /// Denoising step by step, from the last step to the first.
    Chain {
        /// The noise in a sample, of `[s, x, code of the step]`.
        net: NoiseNet,
        /// How much noise each step stands for.
        schedule: Schedule,
        /// What is kept in `[-1, 1]`, and how much noise is added.
        clip: Clip,
    },
    /// Following a velocity from `t = 0` to one by Euler's method.
    Flow {
        /// The velocity, of `[s, x, t]`.
        net: RowMlp,
        /// Into how many equal steps the time is cut.
        steps: NonZeroUsize,
    },
    /// One pass: `[s, z]` to an action.
    OneStep(RowMlp),
}

/// The two usual forms of a chain's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clip {
    /// The guessed action is clipped, and noise of the posterior's variance is added
    /// (Diffusion-QL).
    Start,
    /// The sample is clipped, after noise of variance `beta` was added (IDQL).
    Sample,
}

/// Which of the candidates is taken, by critics of `[s, a]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    /// The first: there is no more than one.
    First,
    /// That of the greatest value.
    Greatest(Worth),
    /// One drawn with probability in proportion to `exp(value / temperature)`.
    Softmax {
        /// What the critics say.
        worth: Worth,
        /// The temperature.
        temperature: f32,
    },
    /// One drawn with probability in proportion to `expectile` where its value is at least
    /// that of the state, to `1 - expectile` where it is below.
    Expectile {
        /// What the critics say.
        worth: Worth,
        /// Value of a state.
        value: RowMlp,
        /// The expectile.
        expectile: f32,
    },
}

/// What critics say of a candidate: their least, their mean (`MeanMinusStd(0.0)`), or,
/// with a single one, its own value.
#[derive(Clone, Debug, PartialEq)]
pub struct Worth {
    /// `[s, a]` to a value; at least one.
    pub critics: Vec<RowMlp>,
    /// How their values become one.
    pub by: Conservatism,
}

/// Most steps of a sampler.
pub const MOST_STEPS: u16 = 1000;

/// Most passes of a sampler's network over all candidates of one observation.
pub const MOST_PASSES: usize = 1 << 17;

/// Rows that pass through a network together.
const ROWS: usize = 64;

thread_local! {
    /// Of this thread, so that acting allocates nothing.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// What a few observations go through.
#[derive(Default)]
struct Buffers {
    /// Normalized observations.
    s: Vec<f32>,
    /// Samples of all their candidates, `[observations, candidates, act_dim]`.
    x: Vec<f32>,
    /// What the sampler's network says of them.
    said: Vec<f32>,
    /// Noise of a step of one observation.
    z: Vec<f32>,
    /// The critics' values, `[critics, rows]`.
    values: Vec<f32>,
    /// Of each candidate, `[rows]`; then the weights of a draw.
    worth: Vec<f32>,
    pass: Pass,
}

/// Buffers of a pass of a network.
#[derive(Default)]
struct Pass {
    /// Rows of its input.
    input: Vec<f32>,
    work: RowWork,
    residual: net::Work,
}

/// Passes rows `[s, x, code]` through `net`, a few at a time, and leaves what it says of
/// each in `out`; `repeat` rows of `x`, `width` wide, in turn stand beside each row of `s`.
fn pass(
    (s, obs_dim, repeat): (&[f32], usize, usize),
    (x, width): (&[f32], usize),
    code: &[f32],
    out: &mut [f32],
    input: &mut Vec<f32>,
    mut net: impl FnMut(&[f32], &mut [f32]),
) {
    let rows = x.len() / width;
    let says = out.len() / rows.max(1);
    let blocks = x.chunks(ROWS * width).zip(out.chunks_mut(ROWS * says));
    for (block, (x, out)) in blocks.enumerate() {
        input.clear();
        for (i, x) in x.chunks_exact(width).enumerate() {
            let state = (block * ROWS + i) / repeat;
            input.extend_from_slice(&s[state * obs_dim..(state + 1) * obs_dim]);
            input.extend_from_slice(x);
            input.extend_from_slice(code);
        }
        net(input, out);
    }
}

fn clip(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = v.clamp(-1.0, 1.0));
}

impl Sampler {
    /// Width of an action.
    pub fn act_dim(&self) -> usize {
        match self {
            Self::Chain { net, .. } => net.act_dim(),
            Self::Flow { net, .. } | Self::OneStep(net) => net.output_dim(),
        }
    }

    /// Width of a state; `None` if there is none left beside the rest of the input.
    pub fn obs_dim(&self) -> Option<usize> {
        let act_dim = self.act_dim();
        let (input, others) = match self {
            Self::Chain { net, .. } => (net.input_dim(), act_dim.checked_add(net.code_dim())?),
            Self::Flow { net, .. } => (net.input_dim(), act_dim.checked_add(1)?),
            Self::OneStep(net) => (net.input_dim(), act_dim),
        };
        input.checked_sub(others).filter(|obs_dim| *obs_dim > 0)
    }

    /// Passes of the network in one sample.
    pub fn passes(&self) -> usize {
        match self {
            Self::Chain { schedule, .. } => schedule.steps(),
            Self::Flow { steps, .. } => steps.get(),
            Self::OneStep(_) => 1,
        }
    }

    /// Makes actions of the noise in `x`, `[states, each, act_dim]`, in place, for the
    /// states of `s`; each state's further noise comes from its stream.
    fn sample(
        &self,
        states: (&[f32], usize, usize),
        streams: &mut [Stream],
        buffers: &mut Buffers,
    ) {
        let Buffers {
            x, said, z, pass, ..
        } = buffers;
        let act_dim = self.act_dim();
        said.resize(x.len(), 0.0);
        match self {
            Self::Chain {
                net,
                schedule,
                clip: form,
            } => {
                for t in (0..schedule.steps()).rev() {
                    net.noise(states, x, t, said, pass);
                    let step = schedule.step(t);
                    form.mean(&step, x, said);
                    if t > 0 {
                        let each = x.len() / streams.len();
                        z.resize(each, 0.0);
                        for (x, stream) in x.chunks_exact_mut(each).zip(&mut *streams) {
                            stream.fill_normal(form.std(&step), z);
                            x.iter_mut().zip(&*z).for_each(|(x, z)| *x += z);
                        }
                    }
                    if *form == Clip::Sample {
                        clip(x);
                    }
                }
            }
            Self::Flow { net, steps } => {
                let size = 1.0 / steps.get() as f32;
                for i in 0..steps.get() {
                    let time = i as f32 / steps.get() as f32;
                    let Pass { input, work, .. } = &mut *pass;
                    self::pass(states, (x, act_dim), &[time], said, input, |input, out| {
                        net.rows(input, work, out);
                    });
                    x.iter_mut().zip(&*said).for_each(|(x, v)| *x += size * v);
                }
            }
            Self::OneStep(net) => {
                let Pass { input, work, .. } = &mut *pass;
                self::pass(states, (x, act_dim), &[], said, input, |input, out| {
                    net.rows(input, work, out);
                });
                x.copy_from_slice(said);
            }
        }
        clip(x);
    }
}

impl Clip {
    /// The mean of the sample before, in place of `x`, where `noise` is what the network
    /// says is in it.
    pub fn mean(self, step: &Step, x: &mut [f32], noise: &[f32]) {
        for (x, noise) in x.iter_mut().zip(noise) {
            *x = match self {
                Self::Start => {
                    let start = step.start[0] * *x - step.start[1] * noise;
                    step.mean[0] * start.clamp(-1.0, 1.0) + step.mean[1] * *x
                }
                Self::Sample => step.direct[0] * (*x - step.direct[1] * noise),
            };
        }
    }

    /// Deviation of the noise that is added to the mean, in all steps but the last.
    pub fn std(self, step: &Step) -> f32 {
        match self {
            Self::Start => step.posterior_std,
            Self::Sample => step.beta_std,
        }
    }
}

impl Worth {
    /// Of each of the candidates `x`, `[states, each, act_dim]`, into `worth`.
    fn of(&self, states: (&[f32], usize, usize), act_dim: usize, buffers: &mut Buffers) {
        let Buffers {
            x,
            values,
            worth,
            pass: Pass { input, work, .. },
            ..
        } = buffers;
        let rows = x.len() / act_dim;
        values.resize(self.critics.len() * rows, 0.0);
        for (critic, values) in self.critics.iter().zip(values.chunks_exact_mut(rows)) {
            pass(states, (x, act_dim), &[], values, input, |input, out| {
                critic.rows(input, work, out);
            });
        }
        worth.resize(rows, 0.0);
        conservative(values, self.critics.len(), self.by, worth);
    }
}

impl Pick {
    fn worth(&self) -> Option<&Worth> {
        match self {
            Self::First => None,
            Self::Greatest(worth) | Self::Softmax { worth, .. } | Self::Expectile { worth, .. } => {
                Some(worth)
            }
        }
    }

    /// Which of an observation's candidates, by what they are worth; `worth` holds
    /// something else afterwards.
    fn pick(&self, s: &[f32], worth: &mut [f32], stream: &mut Stream, work: &mut RowWork) -> usize {
        match self {
            Self::First => 0,
            Self::Greatest(_) => greatest(worth),
            Self::Softmax { temperature, .. } => {
                let most = worth[greatest(worth)];
                for w in &mut *worth {
                    *w = scalar::exp((*w - most) / temperature);
                }
                drawn(worth, stream)
            }
            Self::Expectile {
                value, expectile, ..
            } => {
                let mut base = [0.0];
                value.rows(s, work, &mut base);
                for w in &mut *worth {
                    *w = if *w - base[0] < 0.0 {
                        1.0 - expectile
                    } else {
                        *expectile
                    };
                }
                drawn(worth, stream)
            }
        }
    }
}

/// The first of the greatest.
fn greatest(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = i;
        }
    }
    best
}

/// An index drawn with probability in proportion to its weight.
fn drawn(weights: &[f32], stream: &mut Stream) -> usize {
    let all: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let mut left = stream.uniform(0.0, 1.0) * all;
    for (i, &weight) in weights.iter().enumerate() {
        left -= f64::from(weight);
        if left < 0.0 {
            return i;
        }
    }
    // Rounding, or weights that are no numbers.
    weights.len().saturating_sub(1)
}

impl SampledActor {
    /// Width of a state, if the networks fit each other.
    pub fn widths(&self) -> Option<usize> {
        let (obs_dim, act_dim) = (self.sampler.obs_dim()?, self.act_dim());
        let several = self.candidates > NonZeroUsize::MIN;
        let chosen = match self.pick.worth() {
            None => !several,
            Some(Worth { critics, .. }) => {
                let fits = |q: &RowMlp| (q.input_dim(), q.output_dim()) == (obs_dim + act_dim, 1);
                !critics.is_empty() && critics.iter().all(fits)
            }
        };
        let valued = match &self.pick {
            Pick::Expectile { value, .. } => {
                (value.input_dim(), value.output_dim()) == (obs_dim, 1)
            }
            _ => true,
        };
        let inner = match &self.sampler {
            Sampler::Chain { net, schedule, .. } => net.fits(schedule.steps()),
            Sampler::Flow { .. } | Sampler::OneStep(_) => true,
        };
        (act_dim > 0 && inner && chosen && valued).then_some(obs_dim)
    }

    /// Width of a state; zero if the networks do not fit each other.
    pub fn obs_dim(&self) -> usize {
        self.sampler.obs_dim().unwrap_or(0)
    }

    /// Width of an action.
    pub fn act_dim(&self) -> usize {
        self.sampler.act_dim()
    }

    /// The actions in the normalized states `s`, `[rows, obs_dim]`, into `actions`,
    /// `[rows, act_dim]`; each row draws from its own stream.
    ///
    /// # Panics
    /// If the widths do not fit.
    pub fn act(&self, s: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        BUFFERS.with_borrow_mut(|buffers| self.act_within(s, streams, actions, buffers));
    }

    fn act_within(
        &self,
        s: &[f32],
        streams: &mut [Stream],
        actions: &mut [f32],
        buffers: &mut Buffers,
    ) {
        let (obs_dim, act_dim) = (self.obs_dim(), self.act_dim());
        let each = self.candidates.get();
        // As many observations as fill the rows of a pass; at least one.
        let together = (ROWS / each).max(1);
        let blocks = s
            .chunks(together * obs_dim)
            .zip(streams.chunks_mut(together));
        for ((s, streams), actions) in blocks.zip(actions.chunks_mut(together * act_dim)) {
            buffers.x.resize(streams.len() * each * act_dim, 0.0);
            for (x, stream) in buffers
                .x
                .chunks_exact_mut(each * act_dim)
                .zip(&mut *streams)
            {
                stream.fill_normal(1.0, x);
            }
            let states = (s, obs_dim, each);
            self.sampler.sample(states, streams, buffers);
            if let Some(worth) = self.pick.worth() {
                worth.of(states, act_dim, buffers);
            } else {
                buffers.worth.resize(streams.len() * each, 0.0);
            }
            let Buffers { x, worth, pass, .. } = &mut *buffers;
            let rows = s.chunks_exact(obs_dim).zip(streams);
            let rows = rows.zip(worth.chunks_exact_mut(each));
            let candidates = x.chunks_exact(each * act_dim);
            for (((s, stream), worth), (x, action)) in
                rows.zip(candidates.zip(actions.chunks_exact_mut(act_dim)))
            {
                let i = self.pick.pick(s, worth, stream, &mut pass.work);
                action.copy_from_slice(&x[i * act_dim..(i + 1) * act_dim]);
            }
        }
    }
}

impl Policy for SampledPolicy {
    fn obs_dim(&self) -> usize {
        self.actor.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.actor.act_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let (obs_dim, act_dim) = (self.obs_dim(), self.act_dim());
        let rows = obs.len() / obs_dim;
        assert_eq!(obs.len(), rows * obs_dim, "observations of a policy call");
        assert_eq!(actions.len(), rows * act_dim, "actions of a policy call");
        assert_eq!(rows, streams.len(), "streams of a policy call");
        BUFFERS.with_borrow_mut(|buffers| {
            let mut s = std::mem::take(&mut buffers.s);
            s.clear();
            s.extend_from_slice(obs);
            self.normalizer.apply(&mut s);
            self.actor.act_within(&s, streams, actions, buffers);
            buffers.s = s;
        });
    }
}
