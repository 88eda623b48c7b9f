//! Chains, flows and choices against cases that can be computed by hand.

use std::num::NonZeroUsize;

use spar_core::Stream;
use spar_kernels::value::Conservatism;

use super::*;
use crate::rows::{Activation, Linear};

/// One number sampled by a chain whose network says `said(x, t)`.
fn chain(
    clip: Clip,
    schedule: &Schedule,
    stream: &mut Stream,
    said: impl Fn(f64, usize) -> f64,
) -> f32 {
    let mut x = [stream.normal() as f32];
    for t in (0..schedule.steps()).rev() {
        let step = schedule.step(t);
        let noise = [said(f64::from(x[0]), t) as f32];
        clip.mean(&step, &mut x, &noise);
        if t > 0 {
            x[0] += clip.std(&step) * stream.normal() as f32;
        }
        if clip == Clip::Sample {
            super::clip(&mut x);
        }
    }
    super::clip(&mut x);
    x[0]
}

/// Signal and variance of the noise at step `t`, of the formula.
fn abar(steps: usize, t: usize) -> f64 {
    let n = steps as f64;
    let alpha = |t: usize| {
        let odd = (2 * t + 1) as f64;
        (-0.1 / n - 0.5 * 9.9 * odd / (n * n)).exp()
    };
    (0..=t).map(alpha).product()
}

/// What the best network says of data of several equal normals at `(weight, mean)`.
fn exact<const N: usize>(
    modes: [(f64, f64); N],
    std: f64,
    steps: usize,
) -> impl Fn(f64, usize) -> f64 {
    move |x, t| {
        let abar = abar(steps, t);
        let variance = abar * std * std + 1.0 - abar;
        let mut means = [0.0, 0.0];
        for (weight, mean) in &modes {
            let off = x - abar.sqrt() * mean;
            let density = weight * (-0.5 * off * off / variance).exp();
            means[0] += density;
            means[1] += density * (1.0 - abar).sqrt() * off / variance;
        }
        means[1] / means[0]
    }
}

#[test]
fn of_a_single_action_it_samples_that_action() {
    for steps in [1, 5, 20] {
        let schedule = Schedule::variance_preserving(steps);
        for clip in [Clip::Start, Clip::Sample] {
            for a in [-1.0, -0.25, 0.6] {
                let mut stream = Stream::new(1, "chain");
                let said = exact([(1.0, a)], 0.0, steps);
                let got = chain(clip, &schedule, &mut stream, said);
                assert!(
                    (f64::from(got) - a).abs() < 2e-5,
                    "{clip:?}, {steps}: {got}"
                );
            }
        }
    }
}

/// Mean and deviation of what the chain of either form samples of a normal of mean and `std`:
/// each step is linear, so that they can be computed without sampling.
fn moments(clip: Clip, mean: f64, std: f64, steps: usize) -> [f64; 2] {
    let (mut m, mut v) = (0.0, 1.0);
    for t in (0..steps).rev() {
        let (abar, before) = (abar(steps, t), if t > 0 { abar(steps, t - 1) } else { 1.0 });
        let (alpha, left) = (abar / before, 1.0 - abar);
        let beta = 1.0 - alpha;
        // The noise is this times the distance from the mean of the noised data.
        let k = left.sqrt() / (abar * std * std + left);
        let slope = (1.0 - beta / left.sqrt() * k) / alpha.sqrt();
        m = slope * m + beta / left.sqrt() * k * abar.sqrt() * mean / alpha.sqrt();
        let added = match clip {
            Clip::Start => beta * (1.0 - before) / left,
            Clip::Sample => beta,
        };
        v = slope * slope * v + if t > 0 { added } else { 0.0 };
    }
    [m, v.sqrt()]
}

#[test]
fn of_a_gaussian_it_samples_mean_and_deviation() {
    for (clip, steps, n) in [(Clip::Start, 5, 20_000), (Clip::Start, 200, 4000)] {
        let schedule = Schedule::variance_preserving(steps);
        let said = exact([(1.0, 0.2)], 0.1, steps);
        let mut stream = Stream::new(2, "gaussian");
        let draws: Vec<f64> = (0..n)
            .map(|_| f64::from(chain(clip, &schedule, &mut stream, &said)))
            .collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        let [m, std] = moments(clip, 0.2, 0.1, steps);
        assert!((mean - m).abs() < 0.005, "{steps}: {mean}, {m}");
        let got = variance.sqrt();
        assert!((got / std - 1.0).abs() < 0.04, "{steps}: {got}, {std}");
    }
    // With more steps it is the normal itself; with more noise in each, from above.
    for (clip, range) in [(Clip::Start, 0.094..0.1), (Clip::Sample, 0.1..0.107)] {
        let [mean, std] = moments(clip, 0.2, 0.1, 1000);
        assert!((mean - 0.2).abs() < 0.01, "{clip:?}: {mean}");
        assert!(range.contains(&std), "{clip:?}: {std}");
    }
}

/// A policy that is one Gaussian would put its mean between the two, where no data are.
#[test]
fn of_two_modes_it_samples_both_and_nothing_between() {
    let (steps, n) = (100, 3000);
    let schedule = Schedule::variance_preserving(steps);
    let said = exact([(0.3, -0.5), (0.7, 0.5)], 0.05, steps);
    let mut stream = Stream::new(3, "modes");
    let (mut left, mut between) = (0, 0);
    for _ in 0..n {
        let x = chain(Clip::Start, &schedule, &mut stream, &said);
        left += u32::from(x < 0.0);
        between += u32::from((x.abs() - 0.5).abs() > 0.25);
    }
    let share = f64::from(left) / f64::from(n);
    assert!((share - 0.3).abs() < 0.04, "{share}");
    assert!(between < 10, "{between} of {n} between the modes");
}

/// The two forms are two: one adds less noise, and they clip different things.
#[test]
fn the_forms_of_a_step_differ() {
    let step = Schedule::variance_preserving(5).step(2);
    let of = |clip: Clip, x: f32, noise: f32| {
        let mut x = [x];
        clip.mean(&step, &mut x, &[noise]);
        x[0]
    };
    assert!((of(Clip::Start, 0.3, 0.2) - of(Clip::Sample, 0.3, 0.2)).abs() < 1e-5);
    assert!((of(Clip::Start, 2.0, -1.5) - of(Clip::Sample, 2.0, -1.5)).abs() > 0.5);
    assert!(Clip::Start.std(&step) < Clip::Sample.std(&step) - 0.1);
}

/// `out = w x + b` of rows `x`.
fn linear(weight: &[f32], bias: &[f32]) -> RowMlp {
    RowMlp {
        layers: vec![Linear {
            weight: weight.to_vec(),
            bias: bias.to_vec(),
            norm: None,
        }],
        hidden: Activation::Relu,
        output: Activation::Identity,
        input_norm: None,
    }
}

fn actor(sampler: Sampler, candidates: usize, pick: Pick) -> SampledActor {
    let actor = SampledActor {
        sampler,
        candidates: NonZeroUsize::new(candidates).unwrap_or(NonZeroUsize::MIN),
        pick,
    };
    assert_eq!(actor.widths(), Some(1));
    actor
}

fn one(actor: &SampledActor, stream: &Stream) -> f32 {
    let mut action = [f32::NAN];
    actor.act(&[0.5], &mut [stream.clone()], &mut action);
    action[0]
}

#[test]
fn a_constant_velocity_moves_the_noise_by_itself_and_a_linear_one_by_its_power() {
    let steps = NonZeroUsize::new(10).unwrap_or(NonZeroUsize::MIN);
    for row in 0..50 {
        let stream = Stream::new(row, "flow");
        let z = stream.clone().normal() as f32;
        // Of [s, x, t].
        let constant = linear(&[0.0, 0.0, 0.0], &[0.3]);
        let flow = actor(
            Sampler::Flow {
                net: constant,
                steps,
            },
            1,
            Pick::First,
        );
        assert!((one(&flow, &stream) - (z + 0.3).clamp(-1.0, 1.0)).abs() < 1e-5);
        let shrinking = linear(&[0.0, -0.7, 0.0], &[0.0]);
        let flow = actor(
            Sampler::Flow {
                net: shrinking,
                steps,
            },
            1,
            Pick::First,
        );
        let want = (z * 0.93f32.powi(10)).clamp(-1.0, 1.0);
        assert!((one(&flow, &stream) - want).abs() < 1e-5, "{row}");
        // The times are 0, 0.1, .. 0.9; their mean is 0.45.
        let timed = linear(&[0.0, 0.0, 1.0], &[0.0]);
        let flow = actor(Sampler::Flow { net: timed, steps }, 1, Pick::First);
        assert!((one(&flow, &stream) - (z + 0.45).clamp(-1.0, 1.0)).abs() < 1e-5);
        let pass = linear(&[1.0, 0.5], &[0.1]);
        let pass = actor(Sampler::OneStep(pass), 1, Pick::First);
        assert!((one(&pass, &stream) - (0.6 + 0.5 * z).clamp(-1.0, 1.0)).abs() < 1e-5);
    }
}

/// What is chosen of candidates `z / 4` by critics that say `a` and `-3 a`.
#[test]
fn choices_are_those_of_their_rules() {
    let n = 6;
    let sampler = || Sampler::OneStep(linear(&[0.0, 0.25], &[0.0]));
    let critic = |slope: f32| linear(&[0.0, slope], &[0.0]);
    let worth = |by| Worth {
        critics: vec![critic(1.0), critic(-3.0)],
        by,
    };
    let least = |a: f32| a.min(-3.0 * a);
    let mut counts = [0usize; 2];
    let rows = 4000;
    for row in 0..rows {
        let stream = Stream::new(row, "choice");
        let mut draws = stream.clone();
        let mut z = vec![0.0; n];
        draws.fill_normal(0.25, &mut z);
        z.iter_mut().for_each(|a| *a = a.clamp(-1.0, 1.0));
        let best = |value: &dyn Fn(f32) -> f32| {
            let better = |a: &&f32, b: &&f32| value(**a).total_cmp(&value(**b));
            z.iter().max_by(better).copied().unwrap_or(f32::NAN)
        };
        let greatest = |by| actor(sampler(), n, Pick::Greatest(worth(by)));
        let got = one(&greatest(Conservatism::Min), &stream);
        assert!((got - best(&least)).abs() < 1e-6);
        // The mean of a and -3 a.
        let got = one(&greatest(Conservatism::MeanMinusStd(0.0)), &stream);
        assert!((got - best(&|a| -a)).abs() < 1e-6);

        let softmax = Pick::Softmax {
            worth: worth(Conservatism::Min),
            temperature: 0.2,
        };
        let got = one(&actor(sampler(), n, softmax), &stream);
        let weight = |a: f32| f64::from(least(a) / 0.2).exp();
        let u = draws.clone().uniform(0.0, 1.0) * z.iter().map(|a| weight(*a)).sum::<f64>();
        let mut sum = 0.0;
        let want = z.iter().find(|a| {
            sum += weight(**a);
            sum > u
        });
        assert!(
            (got - want.copied().unwrap_or(f32::NAN)).abs() < 1e-6,
            "{row}"
        );

        // Of the state 0.5 the value -0.1: drawn below it with the smaller weight.
        let expectile = Pick::Expectile {
            worth: worth(Conservatism::Min),
            value: linear(&[-0.2], &[0.0]),
            expectile: 0.9,
        };
        let got = one(&actor(sampler(), n, expectile), &stream);
        let above = |a: f32| least(a) >= -0.1;
        let share = z.iter().filter(|a| above(**a)).count();
        if share == n / 2 {
            counts[usize::from(above(got))] += 1;
        }
    }
    let share = counts[1] as f64 / (counts[0] + counts[1]) as f64;
    assert!((share - 0.9).abs() < 0.03, "{share} of {counts:?}");
}
