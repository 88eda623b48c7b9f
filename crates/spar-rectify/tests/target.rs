//! The target of Latent Self-Imitation: a convex combination, ranked by value.
#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{Device, Tensor};
use spar_core::Stream;
use spar_rectify::self_imitation_target;

const ROWS: usize = 7;
const K: usize = 5;
const ACT: usize = 3;

fn draw(name: &str, shape: &[usize]) -> Tensor {
    let mut values = vec![0.0; shape.iter().product()];
    Stream::new(3, name).fill_normal(1.0, &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn candidates() -> Tensor {
    draw("candidates", &[ROWS, K, ACT])
}

fn weights(q: &Tensor, temperature: f64) -> Vec<Vec<f32>> {
    let (_, w) = self_imitation_target(&candidates(), q, temperature).unwrap();
    w.to_vec2().unwrap()
}

/// The definition in double precision, one number at a time.
fn plain_weights(q: &[Vec<f32>], temperature: f64) -> Vec<Vec<f64>> {
    let advantage: Vec<Vec<f64>> = q
        .iter()
        .map(|q| {
            let mean = q.iter().map(|&q| f64::from(q)).sum::<f64>() / q.len() as f64;
            q.iter().map(|&q| f64::from(q) - mean).collect()
        })
        .collect();
    let all: Vec<f64> = advantage.concat();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let var = all.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / all.len() as f64;
    let softmax = |row: &Vec<f64>| {
        let e: Vec<f64> = row
            .iter()
            .map(|a| (a / var.sqrt() / temperature).exp())
            .collect();
        let sum: f64 = e.iter().sum();
        e.iter().map(|e| e / sum).collect()
    };
    advantage.iter().map(softmax).collect()
}

#[test]
fn weights_are_their_definition() {
    let q = draw("q", &[ROWS, K]);
    for temperature in [0.1, 0.3, 1.0, 10.0] {
        let want = plain_weights(&q.to_vec2().unwrap(), temperature);
        let got = weights(&q, temperature);
        for (got, want) in got.concat().iter().zip(want.concat()) {
            assert!(
                (f64::from(*got) - want).abs() < 1e-5,
                "{temperature}: {got} {want}"
            );
        }
    }
}

#[test]
fn the_target_is_a_convex_combination_of_the_candidates() {
    for temperature in [1e-3, 0.3, 100.0] {
        let (target, weights) =
            self_imitation_target(&candidates(), &draw("q", &[ROWS, K]), temperature).unwrap();
        assert_eq!(target.dims(), [ROWS, 1, ACT]);
        let (target, weights) = (
            target.squeeze(1).unwrap(),
            weights.to_vec2::<f32>().unwrap(),
        );
        let (target, deltas) = (target.to_vec2::<f32>().unwrap(), candidates());
        for (row, deltas) in deltas.to_vec3::<f32>().unwrap().iter().enumerate() {
            let w = &weights[row];
            assert!(w.iter().all(|&w| (0.0..=1.0).contains(&w)), "{w:?}");
            assert!((w.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{w:?}");
            for j in 0..ACT {
                let combined: f32 = (0..K).map(|k| w[k] * deltas[k][j]).sum();
                assert!((target[row][j] - combined).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn the_scale_and_origin_of_values_do_not_matter() {
    let q = draw("q", &[ROWS, K]);
    let want = weights(&q, 0.3).concat();
    for (scale, shift) in [(1.0, 50.0), (1000.0, 0.0), (3.0, -7.0)] {
        let got = weights(&q.affine(scale, shift).unwrap(), 0.3).concat();
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() < 1e-3, "{scale} {shift}: {got} {want}");
        }
    }
    // Nor does what a state is worth, of which its candidates share the same.
    let per_state = q.broadcast_add(&draw("value", &[ROWS, 1])).unwrap();
    for (got, want) in weights(&per_state, 0.3).concat().iter().zip(&want) {
        assert!((got - want).abs() < 1e-4, "{got} {want}");
    }
}

#[test]
fn candidates_of_equal_value_weigh_the_same() {
    for value in [0.0, -3.5, 1e4] {
        let q = Tensor::full(value, (ROWS, K), &Device::Cpu).unwrap();
        let q = q.to_dtype(candle_core::DType::F32).unwrap();
        for w in weights(&q, 0.3).concat() {
            assert!((w - 1.0 / K as f32).abs() < 1e-6, "{value}: {w}");
        }
    }
}

#[test]
fn a_vanishing_temperature_picks_the_best_candidate() {
    let q = draw("q", &[ROWS, K]);
    let (target, _) = self_imitation_target(&candidates(), &q, 1e-4).unwrap();
    let target = target.squeeze(1).unwrap().to_vec2::<f32>().unwrap();
    let deltas = candidates().to_vec3::<f32>().unwrap();
    for (row, q) in q.to_vec2::<f32>().unwrap().iter().enumerate() {
        let best = (0..K).max_by(|&i, &j| q[i].total_cmp(&q[j])).unwrap();
        for (got, want) in target[row].iter().zip(&deltas[row][best]) {
            assert!((got - want).abs() < 1e-4, "row {row}");
        }
    }
}
