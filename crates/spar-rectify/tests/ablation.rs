//! What each row of the ablation table does otherwise, and that the rest is as it was.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{ACT, OBS, ROWS, moved, params, rectify, saved, spar_of, update};
use spar_core::{Normalizer, Policy, Stream};
use spar_critic::CriticForm;
use spar_nn::{Head, MlpShape, Trace, normal};
use spar_rectify::{Ablation, RectifyConfig, Spar, SparPolicy};

const ALL: [Ablation; 6] = [
    Ablation::Global,
    Ablation::ValueGradient,
    Ablation::AdvantageWeighted,
    Ablation::SeparateHead,
    Ablation::OwnLatent,
    Ablation::TunedAnchor,
];

fn with(ablation: Ablation, warmup: u64, w_fit: f64) -> Spar {
    let config = RectifyConfig {
        warmup,
        w_fit,
        ablation,
        ..rectify()
    };
    spar_of(CriticForm::Expectile, config, 1)
}

#[test]
fn each_moves_what_it_trains_and_nothing_else() {
    for ablation in ALL {
        for (warmup, w_fit) in [(1, 0.1), (0, 0.1), (0, 0.0)] {
            let mut spar = with(ablation, warmup, w_fit);
            let before = saved(&spar);
            update(&mut spar, 1);
            let after = saved(&spar);
            let case = format!("{ablation:?}, warm-up {warmup}, w_fit {w_fit}");
            let fits = warmup > 0 || (w_fit > 0.0 || ablation == Ablation::AdvantageWeighted);
            let frozen = ablation.has_head() && warmup == 0;
            for (name, expected) in [
                ("rectify.encoder", fits && !frozen),
                ("rectify.decoder", !frozen),
                ("anchor", ablation == Ablation::TunedAnchor && warmup == 0),
            ] {
                assert_eq!(
                    moved(&before, &after, name),
                    Some(expected),
                    "{case}: {name}"
                );
            }
            if ablation.has_head() {
                let head = moved(&before, &after, "rectify.head");
                assert_eq!(head, Some(true), "{case}");
            }
            for name in ["critic.0", "critic.1", "critic.value"] {
                assert_eq!(moved(&before, &after, name), Some(true), "{case}: {name}");
            }
        }
    }
}

#[test]
fn only_those_with_candidates_draw_latents() {
    for ablation in ALL {
        let mut spar = with(ablation, 0, 0.1);
        let start = saved(&spar).get_stream("rectify.latents").unwrap();
        update(&mut spar, 1);
        let drawn = saved(&spar).get_stream("rectify.latents").unwrap() != start;
        assert_eq!(
            drawn,
            ablation != Ablation::AdvantageWeighted,
            "{ablation:?}"
        );
    }
}

#[test]
fn a_run_read_back_goes_on_as_the_written_one() {
    for ablation in ALL {
        let mut one = with(ablation, 2, 0.1);
        for i in 0..4 {
            update(&mut one, i);
        }
        let mut two = spar_of(CriticForm::Expectile, one.config().clone(), 2);
        two.load(&saved(&one)).unwrap();
        for i in 4..7 {
            assert_eq!(update(&mut one, i), update(&mut two, i), "{ablation:?}");
        }
        assert_eq!(saved(&one), saved(&two), "{ablation:?}");
    }
}

#[test]
fn without_an_anchor_the_residual_is_the_action() {
    let mut spar = with(Ablation::Global, 0, 0.1);
    update(&mut spar, 1);
    let policy = spar.policy(Normalizer::identity(OBS)).unwrap();
    let obs: Vec<f32> = (0..ROWS * OBS).map(|i| (i as f32).sin()).collect();
    let mut base = vec![1.0; ROWS * ACT];
    let anchor = SparPolicy {
        residual: None,
        ..policy
    };
    anchor.act(&obs, &mut vec![Stream::new(0, ""); ROWS], &mut base);
    assert!(base.iter().all(|&b| b == 0.0));
}

#[test]
fn a_separate_head_acts() {
    let mut spar = with(Ablation::SeparateHead, 0, 0.1);
    update(&mut spar, 1);
    let state = saved(&spar);
    let shape = MlpShape::relu(OBS + ACT, common::HIDDEN.to_vec(), ACT)
        .unwrap()
        .with_head(Head::Tanh);
    let head = spar_nn::Mlp::from_params(shape, params(&state, "rectify.head_average")).unwrap();
    let (head, anchor) = (
        head.row_mlp().unwrap(),
        spar.base.cloned().unwrap().rows().unwrap(),
    );
    let policy = spar.policy(Normalizer::identity(OBS)).unwrap();
    let obs = [0.3, -0.2, 0.7];
    let mut action = [0.0; ACT];
    policy.act(&obs, &mut [Stream::new(0, "")], &mut action);
    let (mut b, mut h) = ([0.0; ACT], [0.0; ACT]);
    let work = &mut spar_nn::RowWork::default();
    anchor.rows(&obs, work, &mut b);
    head.rows(&[&obs[..], &b].concat(), work, &mut h);
    for i in 0..ACT {
        let expected = (b[i] + rectify().rho as f32 * h[i]).clamp(-1.0, 1.0);
        assert!((action[i] - expected).abs() < 1e-6, "{action:?}");
        assert_ne!(action[i], b[i]);
    }
}

/// Of critics that do not learn.
#[test]
fn a_value_gradient_climbs_the_critics() {
    let mut spar = with(Ablation::ValueGradient, 0, 0.0);
    let s = normal(&mut Stream::new(1, "states"), 1.0, 64, OBS).unwrap();
    let b = spar.base.cloned().unwrap().act(&s).unwrap();
    let z = spar
        .model
        .draw_latents(&mut Stream::new(1, "z"), 1.0, 64)
        .unwrap();
    let critics = saved(&spar);
    let value = |spar: &Spar| {
        let residual = spar.model.decode(&s, &b, &z, Trace::Params).unwrap();
        let actions = (residual + &b).unwrap().clamp(-1f32, 1f32).unwrap();
        let q = spar.critic.conservative_value(&s, &actions).unwrap();
        q.mean_all().unwrap().to_scalar::<f32>().unwrap()
    };
    let before = value(&spar);
    for i in 0..100 {
        update(&mut spar, i);
        spar.critic.load(&critics).unwrap();
    }
    let after = value(&spar);
    assert!(after > before + 0.01, "{before} {after}");
}
