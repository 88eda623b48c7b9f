//! What diffusion policies are made of, once: the network that says how much noise is in
//! an action, its loss, and chains that sample.

mod net;

use candle_core::{Result, Tensor};
use spar_core::Stream;
use spar_nn::{Mlp, normal};
use spar_policy::sampled::{Clip, Schedule};
use std::borrow::Borrow;

pub use net::{Body, CodeKind, Noise, NoiseShape, Times};

/// All noise of one chain.
#[derive(Debug)]
pub struct ChainNoise {
    /// What it starts from, `[rows, act_dim]`.
    start: Tensor,
    /// Of each step but the last, in the order of sampling.
    steps: Vec<Tensor>,
}

impl ChainNoise {
    /// Drawn from `stream`: the start, then of each step but the last.
    ///
    /// # Errors
    /// Only if candle cannot hold it.
    pub fn draw(stream: &mut Stream, steps: usize, rows: usize, act_dim: usize) -> Result<Self> {
        Ok(Self {
            start: normal(stream, 1.0, rows, act_dim)?,
            steps: (1..steps)
                .map(|_| normal(stream, 1.0, rows, act_dim))
                .collect::<Result<_>>()?,
        })
    }
}

/// Actions sampled by a whole chain for the states `s`, `[states, obs_dim]`, several rows
/// of `noise` in turn for each; with gradients through all steps and bounds if `traced`.
///
/// # Errors
/// If the shapes do not fit.
pub fn sample<T: Borrow<Mlp>>(
    net: &Noise<T>,
    schedule: &Schedule,
    clip: Clip,
    s: &Tensor,
    noise: &ChainNoise,
    traced: bool,
) -> Result<Tensor> {
    let mut x = noise.start.clone();
    let mut drawn = noise.steps.iter();
    for t in (0..schedule.steps()).rev() {
        let step = schedule.step(t);
        let times = Times::Same(t as f32);
        let said = if traced {
            net.forward(s, &x, times, &[])?
        } else {
            net.forward_detached(s, &x, times)?
        };
        let scaled = |x: &Tensor, by: f32| x * f64::from(by);
        x = match clip {
            Clip::Start => {
                let start = (scaled(&x, step.start[0])? - scaled(&said, step.start[1])?)?;
                let start = start.clamp(-1f32, 1f32)?;
                (scaled(&start, step.mean[0])? + scaled(&x, step.mean[1])?)?
            }
            Clip::Sample => {
                let less = (x - scaled(&said, step.direct[1])?)?;
                scaled(&less, step.direct[0])?
            }
        };
        if let Some(z) = drawn.next() {
            x = (x + scaled(z, clip.std(&step))?)?;
        }
        if clip == Clip::Sample {
            x = x.clamp(-1f32, 1f32)?;
        }
    }
    x.clamp(-1f32, 1f32)
}

/// Which step each of `rows` rows is noised by, uniform.
pub fn draw_steps(stream: &mut Stream, steps: usize, rows: usize) -> Vec<usize> {
    (0..rows).map(|_| stream.index(steps)).collect()
}

/// `(net(signal a + level noise, t, s) - noise)^2`, `[rows, act_dim]`: what a diffusion
/// model is fitted by. `levels` are signal and level of noise of each row's time.
///
/// # Errors
/// If the shapes do not fit.
pub fn noise_error<T: Borrow<Mlp>>(
    net: &Noise<T>,
    (s, a): (&Tensor, &Tensor),
    times: &[f32],
    levels: &[[f32; 2]],
    noise: &Tensor,
    masks: &[Tensor],
) -> Result<Tensor> {
    let x = noised(a, levels, noise)?;
    (net.forward(s, &x, Times::Each(times), masks)? - noise)?.sqr()
}

/// `signal a + level noise`, row by row, `[rows, act_dim]`.
///
/// # Errors
/// If the shapes do not fit.
pub fn noised(a: &Tensor, levels: &[[f32; 2]], noise: &Tensor) -> Result<Tensor> {
    let column = |i: usize| {
        let values = levels.iter().map(|level| level[i]).collect();
        Tensor::from_vec(values, (levels.len(), 1), a.device())
    };
    a.broadcast_mul(&column(0)?)? + noise.broadcast_mul(&column(1)?)?
}

/// Times and levels of noise of rows at the steps `index` of `schedule`.
pub fn at_steps(schedule: &Schedule, index: &[usize]) -> (Vec<f32>, Vec<[f32; 2]>) {
    let level = |t: usize| {
        let step = schedule.step(t);
        [step.signal, step.noise]
    };
    let levels: Vec<[f32; 2]> = (0..schedule.steps()).map(level).collect();
    let times = index.iter().map(|&t| t as f32);
    (times.collect(), index.iter().map(|&t| levels[t]).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use spar_nn::{Device, HiddenActivation, NormEps};
    use spar_policy::{
        SampledActor,
        sampled::{Pick, Sampler},
    };

    use super::*;
    use crate::Trained;

    fn shape(code: CodeKind, body: Body) -> NoiseShape {
        NoiseShape {
            code,
            time_hidden: 12,
            code_dim: 6,
            body,
            activation: HiddenActivation::Mish,
            eps: NormEps::Torch,
        }
    }

    fn noises() -> Vec<Noise<Trained>> {
        let plain = shape(CodeKind::Sinusoid(8), Body::Plain(vec![16, 16]));
        let residual = Body::Residual {
            width: 8,
            blocks: 2,
        };
        [plain, shape(CodeKind::Learned(4), residual)]
            .into_iter()
            .map(|shape| Noise::new(&shape, 3, 2, (1e-3, 0.0), 1, "noise").unwrap())
            .collect()
    }

    /// What is exported acts as what is trained, in both forms of a step.
    #[test]
    fn a_chain_of_training_is_that_of_acting() {
        let schedule = Schedule::variance_preserving(5);
        let s: Vec<f32> = (0..12).map(|i| (i as f32 * 0.7).sin()).collect();
        let states = Tensor::from_slice(&s, (4, 3), &Device::Cpu).unwrap();
        for net in noises() {
            for clip in [Clip::Start, Clip::Sample] {
                let mut want = Vec::new();
                for row in 0..4 {
                    let mut stream = Stream::new(row, "act");
                    let noise = ChainNoise::draw(&mut stream, 5, 1, 2).unwrap();
                    let s = states.narrow(0, row as usize, 1).unwrap();
                    for traced in [false, true] {
                        let a = sample(&net, &schedule, clip, &s, &noise, traced).unwrap();
                        want.push(a.flatten_all().unwrap().to_vec1::<f32>().unwrap());
                    }
                }
                let actor = SampledActor {
                    sampler: Sampler::Chain {
                        net: net.rows(5).unwrap(),
                        schedule: schedule.clone(),
                        clip,
                    },
                    candidates: std::num::NonZeroUsize::MIN,
                    pick: Pick::First,
                };
                assert_eq!(actor.widths(), Some(3));
                let mut streams: Vec<_> = (0..4).map(|row| Stream::new(row, "act")).collect();
                let mut got = [0.0; 8];
                actor.act(&s, &mut streams, &mut got);
                for (pair, got) in want.chunks(2).zip(got.chunks(2)) {
                    for want in pair {
                        let off = got.iter().zip(want).map(|(g, w)| (g - w).abs());
                        let off = off.fold(0.0, f32::max);
                        assert!(off < 2e-5, "{clip:?}: {got:?}, {want:?}");
                    }
                }
            }
        }
    }

    /// Gradients through the whole chain are those of finite differences: of the bias that
    /// the last layer adds to what is noise.
    #[test]
    fn gradients_pass_through_all_steps() {
        let schedule = Schedule::variance_preserving(3);
        let s = Tensor::new(&[[0.3f32, -0.2, 0.5]], &Device::Cpu).unwrap();
        for net in noises() {
            for clip in [Clip::Start, Clip::Sample] {
                let noise = ChainNoise::draw(&mut Stream::new(3, "z"), 3, 1, 2).unwrap();
                let noise = ChainNoise {
                    start: (noise.start * 0.02).unwrap(),
                    steps: noise.steps.iter().map(|z| (z * 0.02).unwrap()).collect(),
                };
                // Little noise is seen, so that no action lies on a bound, where nothing passes.
                let last = net.nets().last().unwrap();
                last.scale_output_layer(0.1).unwrap();
                let loss = || {
                    let a = sample(&net, &schedule, clip, &s, &noise, true).unwrap();
                    a.sum_all().unwrap()
                };
                let start = loss();
                start.backward().unwrap();
                let got = last.take_gradient().unwrap();
                for other in net.nets() {
                    other.take_gradient();
                }
                let params = last.to_params().unwrap();
                let at = params.len() - 1;
                let moved = |by: f32| {
                    let mut params = params.clone();
                    params[at] += by;
                    last.set_params(params).unwrap();
                    loss().to_scalar::<f32>().unwrap()
                };
                let want = (moved(2e-3) - moved(-2e-3)) / 4e-3;
                moved(0.0);
                let off = (got[at] - want).abs();
                assert!(
                    off < 5e-3 * want.abs().max(1.0),
                    "{clip:?}: {}, {want}",
                    got[at]
                );
                assert!(want.abs() > 0.05, "{clip:?}: all is clipped: {want}");
            }
        }
    }
}
