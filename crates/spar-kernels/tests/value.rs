//! Conservative values and latent-sampling weighted regression against their plain
//! references and against finite differences.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod common;

use common::{close, draw, wide};
use proptest::prelude::*;
use spar_kernels::{
    Isa, reference,
    value::{
        Conservatism, Imitation, ImitationStats, Penalty, Weighting, conservative, deviation,
        disagreement, imitation, penalize,
    },
};

/// What a state's candidates and values of several magnitudes come to.
fn case(seed: u64, states: usize, k: usize, act_dim: usize, scale: f32) -> (Vec<f32>, Vec<f32>) {
    let candidates = draw(seed, "candidates", 0.5, states * k * act_dim);
    let worth = draw(seed, "worth", 10.0 * scale, states);
    let q = draw(seed, "q", scale, states * k);
    let q = q
        .iter()
        .enumerate()
        .map(|(i, q)| q + worth[i / k])
        .collect();
    (candidates, q)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn conservative_values_are_their_definition(
        nets in 1usize..7, rows in 0usize..70, deviations in 0.0f32..4.0, seed: u64,
    ) {
        let values = draw(seed, "values", 3.0, nets * rows);
        let mut out = vec![f32::NAN; rows];
        let ways = [Conservatism::Min, Conservatism::MeanMinusStd(deviations)];
        for (by, isa) in ways.into_iter().flat_map(|by| Isa::present().map(move |isa| (by, isa))) {
            isa.confine(|| conservative(&values, nets, by, &mut out));
            let want: Vec<f64> = (0..rows)
                .map(|row| {
                    let row: Vec<f64> = (0..nets).map(|n| f64::from(values[n * rows + row])).collect();
                    reference::conservative(&row, by)
                })
                .collect();
            close("conservative value", &out, &want, 1e-5);
        }
    }

    #[test]
    fn penalties_are_their_definition(
        nets in 1usize..7, states in 1usize..20, k in 1usize..9, weight in 0.0f32..4.0,
        ratio in 0.0f32..2.0, level in 0.0f32..4.0, seed: u64,
    ) {
        let rows = states * k;
        let values = draw(seed, "values", 3.0, nets * rows);
        let start = draw(seed, "start", 3.0, rows);
        let of_row = |row: usize| -> Vec<f64> {
            values.iter().skip(row).step_by(rows).map(|v| f64::from(*v)).collect()
        };
        let excess: Vec<f64> = (0..rows)
            .map(|row| (reference::deviation(&of_row(row)) - f64::from(level)).max(0.0))
            .collect();
        let given = (f64::from(weight), f64::from(ratio));
        let u = reference::penalty_weight(&wide(&start), &excess, k, given);
        let want: Vec<f64> = start.iter().zip(&excess).map(|(q, e)| f64::from(*q) - u * e).collect();
        let penalty = Penalty { weight, ratio };
        let apart = reference::disagreement(&wide(&values), nets);
        for isa in Isa::present() {
            let mut out = start.clone();
            let (mut got, mut above) = (0.0, Vec::new());
            isa.confine(|| got = penalize(&values, (nets, k), penalty, level, &mut out, &mut above));
            close("excess", &above, &excess, 1e-4);
            // A quotient of spreads is as exact as the smaller of them.
            if excess.iter().all(|e| *e == 0.0) || excess.iter().any(|e| *e > 1e-2) {
                close("weight of the penalty", &[got], &[u], 1e-3);
                close("penalized value", &out, &want, 1e-3);
            }
            isa.confine(|| close("disagreement", &[disagreement(&values, nets)], &[apart], 1e-4));
        }
    }

    /// A ratio is of spreads: what candidates lose differs as much within a state as their
    /// values do, times it, and at another scale of rewards all is the same in its units.
    #[test]
    fn a_relative_penalty_weighs_alike_at_any_scale(
        states in 2usize..20, k in 2usize..9, ratio in 0.1f32..2.0, power in -6i32..9, seed: u64,
    ) {
        let values = draw(seed, "values", 3.0, 2 * states * k);
        let penalty = Penalty { weight: 0.0, ratio };
        let penalized = |scale: f32| {
            let values: Vec<f32> = values.iter().map(|v| v * scale).collect();
            let (mut q, mut excess) = (vec![0.0; states * k], Vec::new());
            conservative(&values, 2, Conservatism::Min, &mut q);
            let before = q.clone();
            let u = penalize(&values, (2, k), penalty, 0.5 * scale, &mut q, &mut excess);
            (before, q, u)
        };
        let (before, q, u) = penalized(1.0);
        prop_assume!(u > 0.0);
        let lost: Vec<f64> = before.iter().zip(&q).map(|(b, q)| f64::from(b - q)).collect();
        let spread = reference::advantage_deviation(&lost, k);
        let of_values = reference::advantage_deviation(&wide(&before), k);
        close("spread", &[spread as f32], &[of_values * f64::from(ratio)], 1e-3);
        let scale = 2f32.powi(power);
        let (_, scaled, again) = penalized(scale);
        let scaled: Vec<f32> = scaled.iter().map(|q| q / scale).collect();
        prop_assert_eq!((scaled, again), (q, u));
    }

    #[test]
    fn imitation_is_its_definition(
        states in 1usize..20, k in 1usize..18, act_dim in 1usize..9,
        temperature in 0.1f32..10.0, scale in -2i32..4, floor in 0.0f32..3.0, seed: u64,
    ) {
        let (candidates, q) = case(seed, states, k, act_dim, 10f32.powi(scale));
        let floor = floor * 10f32.powi(scale);
        let weighting = Weighting { temperature, floor };
        let by = (f64::from(temperature), f64::from(floor));
        let want = reference::imitation(&wide(&candidates), &wide(&q), k, by);
        let mut into = Imitation::default();
        let mut stats = ImitationStats::default();
        for isa in Isa::present() {
            isa.confine(|| stats = imitation(&candidates, &q, k, weighting, &mut into));
            close("weights", into.weights(), &want.weights, 2e-4);
            close("target", into.target(), &want.target, 2e-4);
            close("gradient", into.grad(), &want.grad, 2e-4);
            close("loss", &[stats.loss], &[want.loss], 2e-4);
        }

        let states_of = |values: &[f64], width: usize| -> Vec<Vec<f64>> {
            values.chunks(width).map(<[f64]>::to_vec).collect()
        };
        let largest: f64 = states_of(&want.weights, k)
            .iter()
            .map(|w| w.iter().copied().fold(0.0, f64::max))
            .sum::<f64>() / states as f64;
        close("largest weight", &[stats.weight_max], &[largest], 2e-4);
        let spread: f64 = states_of(&wide(&candidates), k * act_dim)
            .iter()
            .flat_map(|c| (0..act_dim).map(move |j| {
                let column: Vec<f64> = c.iter().skip(j).step_by(act_dim).copied().collect();
                let mean = column.iter().sum::<f64>() / k as f64;
                column.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
            }))
            .sum::<f64>() / (states * k) as f64;
        close("spread", &[stats.spread], &[spread], 1e-5);
        let effective: f64 = states_of(&want.weights, k)
            .iter()
            .map(|w| 1.0 / w.iter().map(|w| w * w).sum::<f64>())
            .sum::<f64>() / states as f64;
        close("effective candidates", &[stats.effective], &[effective], 2e-4);
        let own = reference::advantage_deviation(&wide(&q), k);
        close("deviation", &[stats.deviation], &[own], 1e-3);
    }

    /// Buffers of a larger problem leave nothing behind in a smaller one.
    #[test]
    fn buffers_used_again_change_nothing(seed: u64) {
        let mut used = Imitation::default();
        let (candidates, q) = case(seed, 30, 7, 5, 1.0);
        imitation(&candidates, &q, 7, Weighting::scale_free(0.5), &mut used);
        let (candidates, q) = case(seed, 4, 3, 2, 1.0);
        let mut fresh = Imitation::default();
        let stats = imitation(&candidates, &q, 3, Weighting::scale_free(0.5), &mut used);
        prop_assert_eq!(stats, imitation(&candidates, &q, 3, Weighting::scale_free(0.5), &mut fresh));
        prop_assert_eq!(used.weights(), fresh.weights());
        prop_assert_eq!(used.target(), fresh.target());
        prop_assert_eq!(used.grad(), fresh.grad());
    }
}

/// The gradient is that of the loss at a constant target: central differences of
/// the loss around the target the step was given.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    let (states, k, act_dim) = (5, 4, 3);
    let (candidates, q) = case(1, states, k, act_dim, 1.0);
    let mut into = Imitation::default();
    imitation(&candidates, &q, k, Weighting::scale_free(0.3), &mut into);
    let target = wide(into.target());
    let loss = |candidates: &[f64]| {
        let errors = candidates.iter().enumerate().map(|(i, c)| {
            let (state, j) = (i / (k * act_dim), i % act_dim);
            (c - target[state * act_dim + j]).powi(2)
        });
        errors.sum::<f64>() / (states * k) as f64
    };
    let at = wide(&candidates);
    for (i, got) in into.grad().iter().enumerate() {
        let moved = |by: f64| {
            let mut moved = at.clone();
            moved[i] += by;
            loss(&moved)
        };
        let want = (moved(1e-4) - moved(-1e-4)) / 2e-4;
        assert!((f64::from(*got) - want).abs() < 1e-6, "{i}: {got} {want}");
    }
}

#[test]
fn what_is_not_a_number_shows() {
    let (candidates, mut q) = case(1, 3, 4, 2, 1.0);
    q[5] = f32::NAN;
    let stats = imitation(
        &candidates,
        &q,
        4,
        Weighting::scale_free(0.3),
        &mut Imitation::default(),
    );
    assert!(
        stats.loss.is_nan() && stats.weight_max.is_nan(),
        "{stats:?}"
    );
    let values = [1.0, f32::NAN, f32::NAN, 2.0];
    for by in [Conservatism::Min, Conservatism::MeanMinusStd(1.0)] {
        let mut out = [0.0; 2];
        conservative(&values, 2, by, &mut out);
        assert!(out.iter().all(|v| v.is_nan()), "{by:?}: {out:?}");
    }
    let mut out = [0.0; 2];
    for penalty in [
        Penalty::of_weight(1.0),
        Penalty {
            weight: 0.0,
            ratio: 1.0,
        },
    ] {
        out.fill(0.0);
        penalize(&values, (2, 2), penalty, 0.5, &mut out, &mut Vec::new());
        assert!(out.iter().all(|v| v.is_nan()), "{out:?}");
    }
    assert!(disagreement(&values, 2).is_nan());
}

#[test]
#[should_panic(expected = "imitation of 7 numbers by 6 values, 3 to a state")]
fn candidates_that_do_not_fit_are_refused() {
    imitation(
        &[0.0; 7],
        &[0.0; 6],
        3,
        Weighting::scale_free(1.0),
        &mut Imitation::default(),
    );
}

fn weights(q: &[f32], k: usize, temperature: f32) -> Vec<f32> {
    let candidates = draw(3, "candidates", 0.5, q.len() * 3);
    let mut into = Imitation::default();
    imitation(
        &candidates,
        q,
        k,
        Weighting::scale_free(temperature),
        &mut into,
    );
    into.weights().to_vec()
}

#[test]
fn the_target_is_a_convex_combination_of_the_candidates() {
    let (states, k, act_dim) = (7, 5, 3);
    let (candidates, q) = case(2, states, k, act_dim, 1.0);
    for temperature in [1e-3, 0.3, 100.0] {
        let mut into = Imitation::default();
        imitation(
            &candidates,
            &q,
            k,
            Weighting::scale_free(temperature),
            &mut into,
        );
        for (state, w) in into.weights().chunks(k).enumerate() {
            assert!(w.iter().all(|w| (0.0..=1.0).contains(w)), "{w:?}");
            assert!((w.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{w:?}");
            for j in 0..act_dim {
                let of = |i: usize| candidates[(state * k + i) * act_dim + j];
                let combined: f32 = (0..k).map(|i| w[i] * of(i)).sum();
                assert!((into.target()[state * act_dim + j] - combined).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn the_scale_and_origin_of_values_do_not_matter() {
    let (states, k) = (7, 5);
    let q = draw(3, "q", 1.0, states * k);
    let want = weights(&q, k, 0.3);
    for (scale, shift) in [(1.0, 50.0), (1000.0, 0.0), (3.0, -7.0)] {
        let other: Vec<f32> = q.iter().map(|q| scale * q + shift).collect();
        for (got, want) in weights(&other, k, 0.3).iter().zip(&want) {
            assert!((got - want).abs() < 1e-3, "{scale} {shift}: {got} {want}");
        }
    }
    // Nor does what a state is worth, of which its candidates share the same.
    let worth = draw(3, "value", 1.0, states);
    let per_state: Vec<f32> = q
        .iter()
        .enumerate()
        .map(|(i, q)| q + worth[i / k])
        .collect();
    for (got, want) in weights(&per_state, k, 0.3).iter().zip(&want) {
        assert!((got - want).abs() < 1e-4, "{got} {want}");
    }
}

#[test]
fn candidates_of_equal_value_weigh_the_same() {
    for value in [0.0, -3.5, 1e4] {
        for w in weights(&[value; 35], 5, 0.3) {
            assert!((w - 0.2).abs() < 1e-6, "{value}: {w}");
        }
    }
}

#[test]
fn a_vanishing_temperature_picks_the_best_candidate() {
    let (states, k, act_dim) = (7, 5, 3);
    let (candidates, q) = case(4, states, k, act_dim, 1.0);
    let mut into = Imitation::default();
    imitation(&candidates, &q, k, Weighting::scale_free(1e-4), &mut into);
    for (state, q) in q.chunks(k).enumerate() {
        let best = (0..k).max_by(|&i, &j| q[i].total_cmp(&q[j])).unwrap();
        let at = (state * k + best) * act_dim;
        let target = &into.target()[state * act_dim..][..act_dim];
        for (got, want) in target.iter().zip(&candidates[at..]) {
            assert!((got - want).abs() < 1e-4, "state {state}");
        }
    }
}

#[test]
fn deviations_are_their_definition() {
    for (n, scale, shift) in [
        (1, 1.0, 0.0),
        (7, 3.0, -2.0),
        (64, 0.1, 5.0),
        (1000, 20.0, 100.0),
    ] {
        let values = draw(n as u64, "values", scale, n);
        let values: Vec<f32> = values.iter().map(|v| v + shift).collect();
        let want = reference::deviation(&wide(&values));
        for isa in Isa::present() {
            isa.confine(|| close("deviation", &[deviation(&values)], &[want], 1e-4));
        }
    }
    assert_eq!(deviation(&[]), 0.0);
    assert!(deviation(&[1.0, f32::NAN]).is_nan());
}

/// A floor in values, as rewards ten thousand times as large would make it.
#[test]
fn with_a_floor_the_scale_of_rewards_cancels() {
    let (states, k, act_dim) = (7, 5, 3);
    let (candidates, q) = case(5, states, k, act_dim, 1.0);
    let data = draw(5, "data", 2.0, states);
    let weights = |scale: f32| {
        let times = |values: &[f32]| values.iter().map(|v| v * scale).collect::<Vec<f32>>();
        let weighting = Weighting {
            temperature: 0.3,
            floor: deviation(&times(&data)),
        };
        let mut into = Imitation::default();
        imitation(&candidates, &times(&q), k, weighting, &mut into);
        into.weights().to_vec()
    };
    let want = weights(1.0);
    for scale in [1e-2, 1e2, 1e4] {
        for (got, want) in weights(scale).iter().zip(&want) {
            assert!((got - want).abs() < 1e-3, "{scale}: {got} {want}");
        }
    }
}

/// Candidates that draw together while the critic's noise about them shrinks as they do
/// are ranked by that noise without a floor, however little they differ. With one they
/// weigh the same in the end, and then imitation asks for nothing but their mean.
#[test]
fn with_a_floor_imitation_rests_where_candidates_agree() {
    let (states, k, act_dim) = (9, 6, 3);
    let (candidates, q) = case(6, states, k, act_dim, 1.0);
    let rest = |spread: f32, floor: f32| {
        let times = |values: &[f32]| values.iter().map(|v| v * spread).collect::<Vec<f32>>();
        let near = times(&candidates);
        let weighting = Weighting {
            temperature: 0.3,
            floor,
        };
        let mut into = Imitation::default();
        let stats = imitation(&near, &times(&q), k, weighting, &mut into);
        // How far the target is from the candidates' mean, in parts of their spread.
        let moved: f32 = (0..states * act_dim)
            .map(|i| {
                let (state, j) = (i / act_dim, i % act_dim);
                let of = |c: usize| near[(state * k + c) * act_dim + j];
                let mean = (0..k).map(of).sum::<f32>() / k as f32;
                (into.target()[i] - mean).powi(2)
            })
            .sum();
        let gradient = into.grad().iter().map(|g| g * g).sum::<f32>().sqrt();
        let share = moved.sqrt() / (spread * (states as f32).sqrt());
        (stats.effective, share, gradient)
    };
    let (sharp, pull, _) = rest(1e-3, 0.0);
    assert!(sharp < 0.7 * k as f32 && pull > 0.1, "{sharp} {pull}");
    let mut before = f32::INFINITY;
    for spread in [1.0, 1e-1, 1e-2, 1e-3] {
        let (effective, pull, gradient) = rest(spread, 1.0);
        assert!(gradient < 0.2 * before, "{spread}: {gradient} {before}");
        before = gradient;
        if spread < 0.05 {
            assert!(effective > 0.99 * k as f32, "{spread}: {effective}");
            assert!(pull < 0.05, "{spread}: {pull}");
        }
    }
}
