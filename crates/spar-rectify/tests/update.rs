//! What one update moves and what it leaves alone; where the policy starts;
//! how it acts; and that a run goes on exactly.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::num::NonZeroUsize;

use candle_core::{Tensor, Var};
use common::{ACT, OBS, ROWS, batch, moved, params, rectify, saved, shape, spar_of, update};
use spar_core::{Normalizer, Policy, Stream};
use spar_critic::CriticForm;
use spar_nn::{State, Trace, normal};
use spar_rectify::RectifyConfig;

#[track_caller]
fn averaged(before: &State, after: &State, target: &str, source: &str, tau: f32) {
    let (old, new) = (params(before, target), params(after, target));
    let source = params(after, source);
    for i in 0..old.len() {
        let want = (1.0 - tau) * old[i] + tau * source[i];
        assert!(
            (new[i] - want).abs() < 1e-6,
            "{target} at {i}: {} {want}",
            new[i]
        );
    }
    assert_ne!(old, new, "{target}");
}

#[test]
fn one_update_moves_every_trained_tensor_and_no_frozen_one() {
    for form in [CriticForm::Expectile, CriticForm::Residual] {
        // With the first update in warm-up, and in self-imitation.
        for warmup in [1, 0] {
            let config = RectifyConfig {
                warmup,
                ..rectify()
            };
            let mut spar = spar_of(form, config, 1);
            let (before, frozen) = (
                saved(&spar),
                spar.base.cloned().unwrap().fingerprint().unwrap(),
            );
            update(&mut spar, 1);
            let after = saved(&spar);
            let case = format!("{form:?}, warm-up {warmup}");
            for name in ["critic.0", "critic.1", "rectify.encoder", "rectify.decoder"] {
                assert_eq!(moved(&before, &after, name), Some(true), "{case}: {name}");
            }
            if form == CriticForm::Expectile {
                assert_eq!(moved(&before, &after, "critic.value"), Some(true), "{case}");
            }
            assert_eq!(moved(&before, &after, "anchor"), Some(false), "{case}");
            assert_eq!(
                spar.base.cloned().unwrap().fingerprint().unwrap(),
                frozen,
                "{case}"
            );
            averaged(&before, &after, "critic.0.target", "critic.0", 0.05);
            averaged(&before, &after, "critic.1.target", "critic.1", 0.05);
            averaged(
                &before,
                &after,
                "rectify.decoder_average",
                "rectify.decoder",
                0.1,
            );
        }
    }
}

#[test]
fn the_policy_learns_in_every_nth_update_only() {
    let config = RectifyConfig {
        policy_freq: 3,
        ..rectify()
    };
    let mut spar = spar_of(CriticForm::Expectile, config, 1);
    for i in 0..7 {
        let before = saved(&spar);
        update(&mut spar, i);
        let after = saved(&spar);
        for name in [
            "rectify.encoder",
            "rectify.decoder",
            "rectify.decoder_average",
        ] {
            assert_eq!(
                moved(&before, &after, name),
                Some(i % 3 == 0),
                "{name} in update {i}"
            );
        }
        assert_eq!(moved(&before, &after, "critic.0"), Some(true));
    }
}

#[test]
fn warm_up_imitates_nothing_and_draws_no_candidates() {
    let config = RectifyConfig {
        warmup: 2,
        ..rectify()
    };
    let mut spar = spar_of(CriticForm::Expectile, config, 1);
    let start = saved(&spar).get_stream("rectify.latents").unwrap();
    for i in 0..2 {
        let metrics = update(&mut spar, i);
        assert_eq!((metrics.self_imitation, metrics.weight_max), (0.0, 0.0));
        assert!(metrics.kl > 0.0 && metrics.reconstruction > 0.0);
    }
    assert_eq!(saved(&spar).get_stream("rectify.latents").unwrap(), start);
    let metrics = update(&mut spar, 2);
    assert!(metrics.self_imitation > 0.0 && metrics.weight_max > 0.25);
    assert_ne!(saved(&spar).get_stream("rectify.latents").unwrap(), start);
}

/// Self-imitation alone must reach the decoder, and only the decoder.
#[test]
fn self_imitation_teaches_the_decoder_alone() {
    let config = RectifyConfig {
        w_fit: 0.0,
        ..rectify()
    };
    let mut spar = spar_of(CriticForm::Expectile, config, 1);
    let before = saved(&spar);
    update(&mut spar, 1);
    let after = saved(&spar);
    assert_eq!(moved(&before, &after, "rectify.decoder"), Some(true));
    assert_eq!(moved(&before, &after, "rectify.encoder"), Some(false));
    assert_eq!(moved(&before, &after, "anchor"), Some(false));
}

/// Where every candidate is worth the same, the target is their mean.
#[test]
fn a_critic_without_opinion_only_contracts_the_candidates() {
    let mut spar = spar_of(CriticForm::Expectile, rectify(), 1);
    let mut state = saved(&spar);
    for i in 0..2 {
        let name = format!("critic.{i}");
        let mut p = params(&state, &name);
        let last = shape(&name).layers().last().unwrap();
        p[last.weight].fill(0.0);
        state.insert(&name, p.clone());
        // The critic's own step would give it an opinion: its moments start
        // so large that it does not move.
        state.insert(&format!("{name}.adam_v"), vec![1e30; p.len()]);
    }
    spar.load(&state).unwrap();
    let metrics = update(&mut spar, 1);
    assert!((metrics.weight_max - 0.25).abs() < 1e-6);
    assert!((metrics.self_imitation - metrics.spread).abs() < 1e-6 * metrics.spread);
}

#[test]
fn the_policy_starts_at_the_anchor() {
    let spar = spar_of(CriticForm::Expectile, rectify(), 1);
    let s = normal(&mut Stream::new(1, "s"), 1.0, 200, OBS).unwrap();
    let b = spar.base.cloned().unwrap().act(&s).unwrap();
    let z = spar
        .model
        .draw_latents(&mut Stream::new(1, "z"), 1.0, 200)
        .unwrap();
    let residual = spar.model.decode(&s, &b, &z, Trace::Params).unwrap();
    let largest = residual
        .abs()
        .unwrap()
        .max_all()
        .unwrap()
        .to_scalar::<f32>()
        .unwrap();
    assert!(largest > 0.0 && largest < 0.01, "{largest}");
}

#[test]
fn latents_are_clipped_draws() {
    let spar = spar_of(CriticForm::Expectile, rectify(), 1);
    let z = spar
        .model
        .draw_latents(&mut Stream::new(1, "z"), 1.5, 5000)
        .unwrap();
    assert_eq!(z.dims(), [5000, 2 * ACT]);
    let z: Vec<f32> = z.flatten_all().unwrap().to_vec1().unwrap();
    assert!(z.iter().all(|z| z.abs() <= 2.0));
    // A normal of deviation 1.5 lies beyond 2 in 18.2% of draws.
    let clipped = z.iter().filter(|z| z.abs() == 2.0).count() as f64 / z.len() as f64;
    assert!((clipped - 0.182).abs() < 0.01, "{clipped}");
}

#[test]
fn rows_act_as_anchor_plus_residual_at_the_latents_centre() {
    let mut spar = spar_of(CriticForm::Expectile, rectify(), 1);
    let mut state = saved(&spar);
    for name in ["anchor", "rectify.decoder", "rectify.decoder_average"] {
        let mut p = vec![0.0; shape(name).parameters()];
        Stream::new(1, name).fill_normal(0.7, &mut p);
        state.insert(name, p);
    }
    spar.load(&state).unwrap();
    let (mean, std) = (vec![0.5, -1.0, 2.0], vec![2.0, 0.5, 1.0]);
    let policy = spar
        .policy(Normalizer {
            mean: mean.clone(),
            std: std.clone(),
        })
        .unwrap();
    assert_eq!((policy.obs_dim(), policy.act_dim()), (OBS, ACT));

    let obs = normal(&mut Stream::new(1, "obs"), 2.0, 100, OBS).unwrap();
    let s = obs
        .broadcast_sub(&Tensor::new(mean, obs.device()).unwrap())
        .unwrap();
    let s = s
        .broadcast_div(&Tensor::new(std, obs.device()).unwrap())
        .unwrap();
    let b = spar.base.cloned().unwrap().act(&s).unwrap();
    let z = Tensor::zeros((100, 2 * ACT), obs.dtype(), obs.device()).unwrap();
    // The average acts, so it is what the model has to be compared with.
    state.insert("rectify.decoder", params(&state, "rectify.decoder_average"));
    spar.load(&state).unwrap();
    let residual = spar.model.decode(&s, &b, &z, Trace::Params).unwrap();
    assert!(
        residual
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap()
            <= 0.7
    );
    let want = (b + residual).unwrap();
    let want: Vec<f32> = want
        .clamp(-1f32, 1f32)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();

    let obs: Vec<f32> = obs.flatten_all().unwrap().to_vec1().unwrap();
    let mut streams = vec![Stream::new(0, "unused"); 100];
    let mut got = vec![0.0; 100 * ACT];
    policy.act(&obs, &mut streams, &mut got);
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
    let at_the_bound = got.iter().filter(|a| a.abs() == 1.0).count();
    assert!(
        (5..195).contains(&at_the_bound),
        "the clip is not exercised: {at_the_bound}"
    );
    assert_eq!(
        streams,
        vec![Stream::new(0, "unused"); 100],
        "it draws nothing"
    );
    let mut one = [0.0; ACT];
    policy.act(&obs[OBS * 41..OBS * 42], &mut streams[..1], &mut one);
    assert_eq!(one, got[ACT * 41..ACT * 42]);
}

#[test]
fn the_best_of_k_is_the_candidate_the_critics_value_most() {
    let drawn = rows_best_at_a_drawn_latent(6);
    assert!((50..100).contains(&drawn), "z = 0 is a candidate: {drawn}");
    // More than pass through the networks together.
    rows_best_at_a_drawn_latent(70);
}

/// How many of 100 rows act by a drawn latent, after checking what all do.
fn rows_best_at_a_drawn_latent(k: usize) -> usize {
    let mut spar = spar_of(CriticForm::Expectile, rectify(), 1);
    let mut state = saved(&spar);
    for name in ["anchor", "rectify.decoder", "critic.0", "critic.1"] {
        let mut p = vec![0.0; shape(name).parameters()];
        Stream::new(1, name).fill_normal(0.7, &mut p);
        state.insert(name, p);
    }
    let decoder = params(&state, "rectify.decoder");
    state.insert("rectify.decoder_average", decoder);
    spar.load(&state).unwrap();
    let mut policy = spar.policy(Normalizer::identity(OBS)).unwrap();
    policy.residual.as_mut().unwrap().best_of = NonZeroUsize::new(k).unwrap();

    let s = normal(&mut Stream::new(1, "obs"), 2.0, 100, OBS).unwrap();
    let obs: Vec<f32> = s.flatten_all().unwrap().to_vec1().unwrap();
    let streams: Vec<_> = (0..100).map(|i| Stream::new(i, "act")).collect();
    let mut got = vec![0.0; 100 * ACT];
    policy.act(&obs, &mut streams.clone(), &mut got);

    let mut drawn = 0;
    for (i, mut stream) in streams.into_iter().enumerate() {
        let mut z = vec![0.0; 2 * ACT];
        for _ in 1..k {
            let mut draw = vec![0.0; 2 * ACT];
            stream.fill_normal(1.0, &mut draw);
            z.extend(draw.iter().map(|z| z.clamp(-2.0, 2.0)));
        }
        let z = Tensor::from_vec(z, (k, 2 * ACT), s.device()).unwrap();
        let s = s.narrow(0, i, 1).unwrap().repeat((k, 1)).unwrap();
        let b = spar.base.cloned().unwrap().act(&s).unwrap();
        let delta = spar.model.decode(&s, &b, &z, Trace::Params).unwrap();
        let a = (b + delta).unwrap().clamp(-1f32, 1f32).unwrap();
        let values = spar.critic.conservative_value(&s, &a).unwrap();
        let values: Vec<f32> = values.to_vec1().unwrap();
        let greatest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let candidates: Vec<Vec<f32>> = a.to_vec2().unwrap();
        // By value: two candidates may be alike up to rounding.
        let got = &got[ACT * i..ACT * (i + 1)];
        let taken = candidates
            .iter()
            .position(|a| a.iter().zip(got).all(|(a, got)| (a - got).abs() < 1e-5));
        let taken = taken.unwrap_or_else(|| panic!("row {i}: {got:?} is no candidate"));
        let value = values[taken];
        assert!(
            value >= greatest - 1e-5 * (1.0 + greatest.abs()),
            "row {i}: candidate {taken} of value {value}, best {greatest}"
        );
        drawn += usize::from(taken > 0);
    }
    drawn
}

#[test]
fn no_gradient_of_the_policys_loss_reaches_what_it_is_fed() {
    let spar = spar_of(CriticForm::Expectile, rectify(), 1);
    let b = batch(1);
    let s = Var::from_tensor(&b.obs).unwrap();
    let anchor = spar.base.cloned().unwrap().act(&s).unwrap();
    let z = spar
        .model
        .draw_latents(&mut Stream::new(1, "z"), 1.0, ROWS)
        .unwrap();
    let actions = spar.model.decode(&s, &anchor, &z, Trace::Params).unwrap();
    let q = spar
        .critic
        .conservative_value(&s, &(anchor + actions).unwrap())
        .unwrap();
    let grads = q.sum_all().unwrap().backward().unwrap();
    assert!(
        grads.get(&s).is_none(),
        "a value's gradient went through an action"
    );
}

#[test]
fn a_run_read_back_goes_on_as_the_written_one() {
    for form in [CriticForm::Expectile, CriticForm::Residual] {
        let config = || RectifyConfig {
            warmup: 4,
            policy_freq: 2,
            ..rectify()
        };
        let mut one = spar_of(form, config(), 1);
        for i in 0..3 {
            update(&mut one, i);
        }
        let mut two = spar_of(form, config(), 2);
        two.load(&saved(&one)).unwrap();
        assert_eq!(two.updates(), 3);
        for i in 3..8 {
            assert_eq!(
                update(&mut one, i),
                update(&mut two, i),
                "{form:?}, update {i}"
            );
        }
        assert_eq!(saved(&one), saved(&two), "{form:?}");
    }
}
