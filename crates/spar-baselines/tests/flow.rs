//! Flows where the answer is known without a program to compare with, and when the
//! targets of the methods made of them move.
#![allow(clippy::unwrap_used, missing_docs)]

use std::num::NonZeroUsize;

use spar_baselines::flow::{Divergence, Flow, FlowConfig};
use spar_baselines::{Learner, Part};
use spar_core::Stream;
use spar_nn::{Device, Mlp, Tensor};

mod golden;

const OBS: usize = 3;
const ACT: usize = 2;
const STEPS: usize = 10;

fn flow(hidden: &[usize], steps: usize) -> Flow {
    let config = FlowConfig {
        hidden,
        lr: 3e-3,
        steps: NonZeroUsize::new(steps).unwrap(),
    };
    Flow::new(config, OBS, ACT, 1).unwrap()
}

/// A flow whose velocity is `own * x + time * t + constant`.
fn linear(own: f32, time: f32, constant: [f32; ACT]) -> Flow {
    let flow = flow(&[], STEPS);
    let mut weight = vec![0.0; (OBS + ACT + 1) * ACT];
    for k in 0..ACT {
        weight[(OBS + k) * ACT + k] = own;
        weight[(OBS + ACT) * ACT + k] = time;
    }
    weight.extend(constant);
    flow.velocity.net.set_params(weight).unwrap();
    flow
}

fn normal(name: &str, rows: usize, cols: usize) -> Tensor {
    spar_nn::normal(&mut Stream::new(2, name), 1.0, rows, cols).unwrap()
}

fn rows(x: &Tensor) -> Vec<Vec<f32>> {
    x.to_vec2().unwrap()
}

fn log_normal(x: &[f32]) -> f64 {
    let square = |x: &f32| f64::from(*x) * f64::from(*x);
    let one = |x| -0.5 * (square(x) + (2.0 * std::f64::consts::PI).ln());
    x.iter().map(one).sum()
}

#[track_caller]
fn close(got: f32, want: f64) {
    let got = f64::from(got);
    assert!(
        (got - want).abs() < 1e-4 * want.abs().max(1.0),
        "{got} {want}"
    );
}

fn probes(count: usize) -> Divergence {
    Divergence::new(count, Stream::new(3, "probes"))
}

#[test]
fn a_constant_velocity_shifts_and_keeps_volumes() {
    let shift = [0.5, -0.25];
    let flow = linear(0.0, 0.0, shift);
    let (s, x) = (normal("s", 50, OBS), normal("x", 50, ACT));
    let moved = flow.transport(&s, &x).unwrap();
    for (got, z) in rows(&moved).iter().zip(rows(&x)) {
        for ((got, z), c) in got.iter().zip(z).zip(shift) {
            close(*got, f64::from((z + c).clamp(-1.0, 1.0)));
        }
    }
    for mut by in [probes(0), probes(2)] {
        let density = flow.log_density(&s, &x, &mut by).unwrap();
        let density: Vec<f32> = density.to_vec1().unwrap();
        for (got, a) in density.iter().zip(rows(&x)) {
            close(*got, log_normal(&[a[0] - shift[0], a[1] - shift[1]]));
        }
    }
}

/// Its divergence is `k` times the dimensions, and integration back contracts by `1 - k h`
/// a step, which is not the inverse of a step there.
#[test]
fn a_linear_velocity_has_its_known_density() {
    let k = 0.7;
    let flow = linear(k as f32, 0.0, [0.0; ACT]);
    let (s, x) = (normal("s", 50, OBS), (normal("x", 50, ACT) * 0.2).unwrap());
    let back = (1.0 - k / STEPS as f64).powi(STEPS as i32);
    let there = (1.0 + k / STEPS as f64).powi(STEPS as i32);
    for mut by in [probes(0), probes(1)] {
        let density = flow.log_density(&s, &x, &mut by).unwrap();
        let density: Vec<f32> = density.to_vec1().unwrap();
        for (got, a) in density.iter().zip(rows(&x)) {
            let from: Vec<f32> = a.iter().map(|a| (f64::from(*a) * back) as f32).collect();
            close(*got, log_normal(&from) - k * ACT as f64);
        }
    }
    let moved = rows(&flow.transport(&s, &x).unwrap());
    for (got, z) in moved.iter().flatten().zip(rows(&x).iter().flatten()) {
        close(*got, (f64::from(*z) * there).clamp(-1.0, 1.0));
    }
}

/// With a velocity of `t` itself: there at the earlier end of each step, back at the later.
#[test]
fn velocities_are_taken_where_each_step_begins() {
    let flow = linear(0.0, 1.0, [0.0; ACT]);
    let (s, x) = (normal("s", 20, OBS), (normal("x", 20, ACT) * 0.1).unwrap());
    let moved = rows(&flow.transport(&s, &x).unwrap());
    let density = flow.log_density(&s, &x, &mut probes(0)).unwrap();
    let density: Vec<f32> = density.to_vec1().unwrap();
    for ((a, got), density) in rows(&x).iter().zip(moved).zip(density) {
        for (a, got) in a.iter().zip(got) {
            close(got, f64::from((a + 0.45).clamp(-1.0, 1.0)));
        }
        close(density, log_normal(&[a[0] - 0.55, a[1] - 0.55]));
    }
}

/// Of a network that is not linear: against differences of its velocity, and in the mean
/// over many probes, of which one alone is off.
#[test]
fn the_divergence_is_that_of_finite_differences() {
    let flow = flow(&[32, 32], 1);
    let (s, x) = (normal("s", 40, OBS), normal("x", 40, ACT));
    let velocity = |x: &Tensor| {
        let t = Tensor::ones((40, 1), x.dtype(), &Device::Cpu).unwrap();
        let input = Tensor::cat(&[&s, x, &t], 1).unwrap();
        flow.velocity.net.forward_detached(&input).unwrap()
    };
    let h = 1e-2f32;
    let mut divergence = vec![0.0; 40];
    for k in 0..ACT {
        let mut step = vec![0.0; ACT];
        step[k] = h;
        let step = Tensor::from_vec(step, (1, ACT), &Device::Cpu).unwrap();
        let above = rows(&velocity(&x.broadcast_add(&step).unwrap()));
        let below = rows(&velocity(&x.broadcast_sub(&step).unwrap()));
        for ((d, above), below) in divergence.iter_mut().zip(above).zip(below) {
            *d += f64::from(above[k] - below[k]) / (2.0 * f64::from(h));
        }
    }
    let start = rows(&(&x - velocity(&x)).unwrap());
    let expected: Vec<f64> = start
        .iter()
        .zip(&divergence)
        .map(|(x, d)| log_normal(x) - d)
        .collect();
    let off = |by: &mut Divergence| {
        let density = flow.log_density(&s, &x, by).unwrap();
        let density: Vec<f32> = density.to_vec1().unwrap();
        let off = density.iter().zip(&expected);
        off.map(|(got, want)| (f64::from(*got) - want).abs())
            .fold(0.0, f64::max)
    };
    let spread = divergence
        .iter()
        .fold(0.0, |most: f64, d| most.max(d.abs()));
    assert!(spread > 0.1, "nothing to be wrong about: {spread}");
    assert!(off(&mut probes(0)) < 1e-3);
    let (one, many) = (off(&mut probes(1)), off(&mut probes(2000)));
    assert!(many < 0.1 * one, "{many} with many probes, {one} with one");
}

/// Data of two points: draws are at both, and nowhere else.
#[test]
fn a_fitted_flow_draws_both_modes_of_the_data() {
    let mut flow = flow(&[64, 64], STEPS);
    let rows_of = 128;
    let modes = [[0.6f32, -0.4], [-0.5, 0.3]];
    let mut coin = Stream::new(4, "coin");
    let s = (normal("s", rows_of, OBS) * 0.0).unwrap();
    for _ in 0..1500 {
        let a: Vec<f32> = (0..rows_of).flat_map(|_| modes[coin.index(2)]).collect();
        let a = Tensor::from_vec(a, (rows_of, ACT), &Device::Cpu).unwrap();
        let loss = flow.loss(&s, &a).unwrap();
        flow.step(&loss.backward().unwrap()).unwrap();
    }
    let mut at = [0; 2];
    for draw in rows(&flow.transport(&s, &normal("draws", rows_of, ACT)).unwrap()) {
        let near = |m: &[f32; ACT]| (draw[0] - m[0]).hypot(draw[1] - m[1]) < 0.15;
        if let Some(mode) = modes.iter().position(near) {
            at[mode] += 1;
        }
    }
    assert!(at[0] + at[1] > rows_of * 3 / 4, "{at:?} of {rows_of}");
    assert!(at[0].min(at[1]) > rows_of / 3, "{at:?} of {rows_of}");
}

/// FQL's and IFQL's targets move towards the critics of before an update, FAC's towards
/// those of after it.
#[test]
fn the_targets_of_fql_and_ifql_lag_by_an_update_and_those_of_fac_do_not() {
    for (name, lags) in [("fql", true), ("ifql", true), ("fac", false)] {
        let case = golden::CASES.iter().find(|case| case.name == name).unwrap();
        let tau = case.settings()["tau"].as_float().unwrap() as f32;
        let mut learner = case.start();
        let sample = case.sample();
        learner.update(1, &sample).unwrap();
        let before = golden::networks(&mut *learner);
        learner.update(2, &sample).unwrap();
        let after = golden::networks(&mut *learner);
        let source = if lags { &before } else { &after };
        for critic in ["critic.0", "critic.1"] {
            let target = format!("{critic}.target");
            assert_ne!(
                before[critic], after[critic],
                "{name}: {critic} has not moved"
            );
            let old = before[&target].iter().zip(&source[critic]);
            let expected = old.map(|(old, q)| (1.0 - tau) * old + tau * q);
            for (got, want) in after[&target].iter().zip(expected) {
                assert!((got - want).abs() < 1e-6, "{name}: {target} {got} {want}");
            }
        }
    }
}

/// FAC's flow is in no update after its own.
#[test]
fn facs_flow_is_frozen_after_its_stage() {
    let case = golden::CASES
        .iter()
        .find(|case| case.name == "fac")
        .unwrap();
    let mut learner = case.start();
    let sample = case.sample();
    let flow_of = |learner: &mut dyn Learner| golden::networks(learner)["flow"].clone();
    let start = flow_of(&mut *learner);
    learner.update(1, &sample).unwrap();
    let cloned = flow_of(&mut *learner);
    assert_ne!(start, cloned);
    for update in 2..5 {
        learner.update(update, &sample).unwrap();
    }
    assert_eq!(flow_of(&mut *learner), cloned);
    let densities = learner
        .parts()
        .0
        .into_iter()
        .find_map(|(_, part)| match part {
            Part::Values(values) => Some(values.clone()),
            _ => None,
        });
    assert!(
        densities
            .unwrap()
            .iter()
            .all(|d| d.is_finite() && *d != 0.0)
    );
}

#[test]
fn a_fresh_network_has_flaxs_spread() {
    let shape = spar_nn::relu_shape(300, vec![500], 200).unwrap();
    let net = Mlp::glorot(shape, &mut Stream::new(5, "init")).unwrap();
    let params = net.to_params().unwrap();
    for layer in net.shape().layers() {
        let weights = &params[layer.weight.clone()];
        let bound = (6.0 / (layer.input + layer.output) as f32).sqrt();
        let most = weights.iter().fold(0f32, |most, w| most.max(w.abs()));
        assert!(most <= bound && most > 0.99 * bound, "{most} of {bound}");
        let square = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
        assert!((square / (bound * bound / 3.0) - 1.0).abs() < 0.02);
        assert!(params[layer.bias.clone()].iter().all(|b| *b == 0.0));
    }
}
