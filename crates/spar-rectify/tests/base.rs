//! SPAR around a policy whose actions come with the data is SPAR around that policy.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use candle_core::Tensor;
use common::{ACT, OBS, anchor, batch, rectify, saved, shape, spar_of, spar_on};
use spar_core::{Policy as _, Stream};
use spar_critic::CriticForm;
use spar_nn::{BaseActions, Batch, Trace, normal};
use spar_policy::{Networks, Normalizer, PlainPolicy, Policy, RectifiedPolicy};
use spar_rectify::{Ablation, Base, RectifyConfig, SparMetrics};

const SEED: u64 = 1;

/// A batch with what the anchor of [`SEED`] does in it.
fn given(seed: u64) -> Batch {
    let (anchor, mut batch) = (anchor(SEED), batch(seed));
    batch.base = Some(BaseActions {
        at: anchor.act(&batch.obs).unwrap(),
        next: anchor.act(&batch.next_obs).unwrap(),
    });
    batch
}

/// Every number of several updates is the same, bit for bit, whether the anchor's actions
/// are computed in the update or come with the batch: in both forms of the critic, in
/// warm-up and in self-imitation, and in the ablations that leave the base alone.
#[test]
fn given_actions_are_those_of_the_policy_that_gave_them() {
    let alone = [
        Ablation::None,
        Ablation::ValueGradient,
        Ablation::AdvantageWeighted,
        Ablation::SeparateHead,
        Ablation::OwnLatent,
    ];
    for (form, ablation) in [CriticForm::Expectile, CriticForm::Residual]
        .into_iter()
        .flat_map(|form| alone.map(|ablation| (form, ablation)))
    {
        let config = RectifyConfig {
            warmup: 2,
            ablation,
            ..rectify()
        };
        let mut cloned = spar_of(form, config.clone(), SEED);
        let mut around = spar_on(Base::Given, form, config, SEED);
        for update in 0..4 {
            let (mut one, mut other) = (SparMetrics::default(), SparMetrics::default());
            cloned.update(&batch(update), &mut one).unwrap();
            around.update(&given(update), &mut other).unwrap();
            assert_eq!(one, other, "{form:?}, {ablation:?}, update {update}");
        }
        let around = saved(&around);
        let (there, mut compared) = (saved(&cloned), 0);
        for (name, values) in around.arrays() {
            assert_eq!(there.get(name, values.len()).unwrap(), values, "{name}");
            compared += 1;
        }
        // All but the anchor, of which a given base has nothing to keep.
        let own = there.arrays().filter(|(name, _)| *name != "anchor").count();
        assert_eq!(compared, own);
    }
}

/// The policy in training code, by candle, and as it deploys, from its file.
#[test]
fn the_policy_of_training_and_that_of_the_file_act_the_same() {
    let mut spar = spar_on(Base::Given, CriticForm::Expectile, rectify(), SEED);
    for update in 0..20 {
        spar.update(&given(update), &mut SparMetrics::default())
            .unwrap();
    }
    // A base of another normalizer than the data's.
    let of = |mean: [f32; OBS], std: [f32; OBS]| Normalizer {
        mean: mean.into(),
        std: std.into(),
    };
    let base = PlainPolicy {
        normalizer: of([0.3, 0.0, -0.2], [2.0, 1.0, 0.5]),
        net: anchor(7).rows().unwrap(),
        affine: None,
    };
    let base = Policy::new(Networks::Plain(base), None, None);
    let normalizer = of([-0.1, 0.4, 0.0], [1.5, 0.7, 1.0]);

    let obs = normal(&mut Stream::new(1, "obs"), 1.0, 100, OBS).unwrap();
    let mut states: Vec<f32> = obs.flatten_all().unwrap().to_vec1().unwrap();
    let mut b = vec![0.0; 100 * ACT];
    base.base_actions(&states, &mut b);
    let policy = RectifiedPolicy {
        normalizer: normalizer.clone(),
        base: Box::new(base),
        residual: spar.residual().unwrap(),
    };
    let mut got = vec![0.0; 100 * ACT];
    policy.act(&states, &mut vec![Stream::new(0, ""); 100], &mut got);

    normalizer.apply(&mut states);
    let s = Tensor::from_vec(states, (100, OBS), obs.device()).unwrap();
    let b = Tensor::from_vec(b, (100, ACT), obs.device()).unwrap();
    let z = Tensor::zeros((100, 2 * ACT), obs.dtype(), obs.device()).unwrap();
    // The average acts, so it is what the model has to be compared with.
    let mut state = saved(&spar);
    let size = shape("rectify.decoder_average").parameters();
    let average = state.get("rectify.decoder_average", size).unwrap();
    state.insert("rectify.decoder", average);
    spar.load(&state).unwrap();
    let residual = spar.model.decode(&s, &b, &z, Trace::Params).unwrap();
    let want = (b + residual).unwrap().clamp(-1f32, 1f32).unwrap();
    let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < 1e-6, "{got} {want}");
    }
}

#[test]
fn a_batch_without_the_base_and_a_changed_base_are_refused() {
    let mut spar = spar_on(Base::Given, CriticForm::Expectile, rectify(), SEED);
    let error = spar
        .update(&batch(0), &mut SparMetrics::default())
        .unwrap_err();
    assert!(error.to_string().contains("without the actions"), "{error}");
    assert!(spar.policy(Normalizer::identity(OBS)).is_err());
}
