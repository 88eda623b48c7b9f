//! Every kind of policy acts through this crate alone: as its file's, in the units of its
//! data, by the same bits each time, without asking for memory.
// long: one policy of every kind there is, each through every rule of acting
#![allow(clippy::unwrap_used, missing_docs)]

use std::{num::NonZeroUsize, thread};

use spar_core::{DatasetIdentity, Origin, Policy as _};
use spar_kernels::{
    Head, MlpShape, NormEps, Normalization,
    counting::{Counting, allocations},
};
use spar_policy::{
    About, ActionBounds, Activation, Conservatism, Latent, LatentActor, LatentPolicy, Networks,
    Normalizer, PlainPolicy, Policy, RectifiedPolicy, Residual, RowMlp, SampledActor,
    SampledPolicy, SparPolicy, Stream,
    sampled::{Clip, NoiseNet, Pick, Residuals, Sampler, Schedule, Worth},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OBS: usize = 11;
const ACT: usize = 3;

fn draw(name: &str, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    Stream::new(2, name).fill_uniform(-1.0, 1.0, &mut values);
    values
}

fn net(name: &str, input: usize, output: usize, head: Head, layer_norm: bool) -> RowMlp {
    let shape = MlpShape::relu(input, [13, 9], output).unwrap();
    let shape = shape.with_head(head).with_layer_norm(layer_norm);
    RowMlp::from_params(&shape, &draw(name, shape.parameters())).unwrap()
}

fn normalizer() -> Normalizer {
    let std = draw("std", OBS).iter().map(|x| 1.5 + x).collect();
    Normalizer {
        mean: draw("mean", OBS),
        std,
    }
}

fn about(method: &str) -> About {
    About {
        method: method.to_owned(),
        // No program knows it.
        env: Some("arm-of-someone".to_owned()),
        task: "pick".to_owned(),
        dataset: DatasetIdentity {
            id: "pick".to_owned(),
            origin: Origin::User,
            sha256: "0".repeat(64),
            rows: 7,
        },
        seed: 3,
        updates: 10,
    }
}

fn spar(residual: Option<Residual>) -> Networks {
    Networks::Spar(SparPolicy {
        normalizer: normalizer(),
        anchor: net("anchor", OBS, ACT, Head::Tanh, false),
        residual,
    })
}

fn residual() -> Residual {
    let critic = |i: usize| net(&format!("q{i}"), OBS + ACT, 1, Head::Linear, true);
    Residual {
        decoder: net("decoder", OBS + ACT + 6, ACT, Head::Tanh, false),
        rho: 0.7,
        critics: vec![critic(0), critic(1)],
        conservatism: Conservatism::Min,
        sigma_z: 1.0,
        best_of: NonZeroUsize::MIN,
    }
}

fn plain() -> Networks {
    Networks::Plain(PlainPolicy {
        normalizer: normalizer(),
        net: net("plain", OBS, ACT, Head::Tanh, true),
        affine: Some((vec![0.5; ACT], vec![0.2; ACT])),
    })
}

fn latent(latent: Latent) -> Networks {
    Networks::Latent(LatentPolicy {
        normalizer: normalizer(),
        actor: LatentActor {
            affine: None,
            decoder: net("decode", OBS + 6, ACT, Head::Tanh, false),
            latent,
            perturbation: Some((net("change", OBS + ACT, ACT, Head::Tanh, false), 0.05)),
        },
    })
}

/// Policies that sample, of every sampler and every choice.
fn sampled() -> Vec<(&'static str, Networks)> {
    let linear = |name: &str, input, output, norm| net(name, input, output, Head::Linear, norm);
    let critics = || (0..2).map(|i| linear(&format!("q{i}"), OBS + ACT, 1, false));
    let worth = |by| Worth {
        critics: critics().collect(),
        by,
    };
    let of_kind = |name: &str, widths: [usize; 2], hidden: &[usize], input_norm| {
        let shape = MlpShape::relu(widths[0], hidden, widths[1]).unwrap();
        let shape = shape
            .with_activation(spar_kernels::Activation::Mish)
            .with_input_norm(input_norm);
        // So small that the bounds of actions do not hide what is drawn.
        let params = draw(name, shape.parameters());
        let params: Vec<f32> = params.iter().map(|p| 0.3 * p).collect();
        RowMlp::from_params(&shape, &params).unwrap()
    };
    let chain = |clip, residual: bool| Sampler::Chain {
        net: NoiseNet {
            codes: draw("codes", 5 * 4),
            code_dim: 4,
            entry: if residual {
                of_kind("entry", [OBS + ACT + 4, 8], &[], false)
            } else {
                of_kind("entry", [OBS + ACT + 4, ACT], &[16, 16], false)
            },
            residuals: residual.then(|| Residuals {
                blocks: (0..2)
                    .map(|i| of_kind(&format!("block{i}"), [8, 8], &[16], true))
                    .collect(),
                exit: of_kind("exit", [8, ACT], &[], false),
            }),
        },
        schedule: Schedule::variance_preserving(5),
        clip,
    };
    let flow = Sampler::Flow {
        net: linear("flow", OBS + ACT + 1, ACT, true),
        steps: NonZeroUsize::new(10).unwrap(),
    };
    let one_step = Sampler::OneStep(linear("one", OBS + ACT, ACT, false));
    let expectile = Pick::Expectile {
        worth: worth(Conservatism::Min),
        value: linear("v", OBS, 1, false),
        expectile: 0.8,
    };
    let softmax = Pick::Softmax {
        worth: worth(Conservatism::Min),
        temperature: 0.1,
    };
    let mean = Pick::Greatest(worth(Conservatism::MeanMinusStd(0.0)));
    [
        ("chain", chain(Clip::Start, false), 1, Pick::First),
        ("chain, softmax", chain(Clip::Start, false), 50, softmax),
        (
            "residual chain, best",
            chain(Clip::Sample, true),
            7,
            mean.clone(),
        ),
        (
            "residual chain, expectile",
            chain(Clip::Sample, true),
            33,
            expectile,
        ),
        // More than pass through the networks together.
        ("flow, best", flow.clone(), 100, mean),
        ("flow", flow, 1, Pick::First),
        ("one step", one_step, 1, Pick::First),
    ]
    .map(|(name, sampler, candidates, pick)| {
        let actor = SampledActor {
            sampler,
            candidates: NonZeroUsize::new(candidates).unwrap(),
            pick,
        };
        assert_eq!(actor.widths(), Some(OBS), "{name}");
        let normalizer = normalizer();
        (name, Networks::Sampled(SampledPolicy { normalizer, actor }))
    })
    .into()
}

/// A linear decoder of standardized actions, of which some lie beyond the bounds.
fn lapo() -> Networks {
    Networks::Latent(LatentPolicy {
        normalizer: normalizer(),
        actor: LatentActor {
            affine: Some((vec![0.5, 2.0, 1.0], vec![0.2; ACT])),
            decoder: net("decode", OBS + 6, ACT, Head::Linear, false),
            latent: Latent::Actor {
                net: net("latent", OBS, 6, Head::Tanh, false),
                bound: 2.0,
            },
            perturbation: None,
        },
    })
}

/// SPAR around `base`, which has a normalizer of its own.
fn around(base: Policy) -> Networks {
    Networks::Rectified(RectifiedPolicy {
        normalizer: Normalizer::identity(OBS),
        base: Box::new(base),
        residual: residual(),
    })
}

/// The best of a few draws, as a policy of ours.
fn best_of_draws() -> Policy {
    let best = Latent::Best {
        critic: net("q", OBS + ACT, 1, Head::Linear, false),
        candidates: NonZeroUsize::new(3).unwrap(),
        clip: 0.5,
    };
    Policy::new(latent(best), Some(about("bcq")), None)
}

/// A policy of every kind there is; `true` for those that draw.
fn every_kind() -> Vec<(&'static str, Policy, bool)> {
    let fixed = net("fixed", OBS + ACT, ACT, Head::Tanh, false);
    let actor = Latent::Actor {
        net: net("latent", OBS, 6, Head::Tanh, false),
        bound: 2.0,
    };
    let best = Latent::Best {
        critic: net("q", OBS + ACT, 1, Head::Linear, false),
        // More than pass through the networks together.
        candidates: NonZeroUsize::new(100).unwrap(),
        clip: 0.5,
    };
    let bounds = vec![(-40.0, 40.0), (0.0, 1.0), (3.0, 3.0)];
    let bounds = ActionBounds::try_from(bounds).unwrap();
    let of = |method: &str, networks| Policy::new(networks, Some(about(method)), None);
    let forty = NonZeroUsize::new(40).unwrap();
    let sampled = sampled().into_iter();
    let sampled = sampled.map(|(name, networks)| (name, of("diffusion-ql", networks), true));
    let mut kinds = vec![
        ("bc", of("bc", spar(None)), false),
        ("spar", of("spar", spar(Some(residual()))), false),
        (
            "best of 40",
            of("spar", spar(Some(residual()))).best_of(forty).unwrap(),
            true,
        ),
        (
            "rpl",
            of("rpl", spar(Some(Residual::fixed(fixed, 0.4)))),
            false,
        ),
        ("plain", of("iql", plain()), false),
        ("foreign", Policy::new(plain(), None, None), false),
        (
            "scaled",
            Policy::new(plain(), Some(about("iql")), Some(bounds)),
            false,
        ),
        ("plas", of("plas", latent(actor)), false),
        ("bcq", of("bcq", latent(best)), true),
    ];
    kinds.extend(sampled);
    kinds.extend([
        ("lapo", of("lapo", lapo()), false),
        (
            "around another program's",
            of("spar", around(Policy::new(plain(), None, None))),
            false,
        ),
        ("around draws", of("spar", around(best_of_draws())), false),
        (
            "around one around draws",
            of("spar", around(of("spar", around(best_of_draws())))),
            false,
        ),
    ]);
    kinds
}

fn act(policy: &Policy, obs: &[f32]) -> Vec<f32> {
    let mut action = vec![f32::NAN; policy.act_dim()];
    policy.act(obs, &mut action);
    action
}

#[test]
fn every_kind_is_read_back_as_what_was_written() {
    for (kind, policy, draws) in every_kind() {
        assert_eq!(policy.draws(), draws, "{kind}");
        let bytes = policy.to_bytes().unwrap();
        let read = Policy::from_bytes(&bytes).unwrap();
        assert_eq!(read.about(), policy.about(), "{kind}");
        if policy.about().is_some() {
            assert!(read.to_bytes().unwrap() == bytes, "{kind}");
        }
        if kind != "best of 40" {
            assert_eq!(read, policy, "{kind}");
            let obs = draw("obs", OBS);
            assert_eq!(act(&read, &obs), act(&policy, &obs), "{kind}");
        }
    }
}

/// `clip(base + rho Delta([s, base, 0]))`, the base by its own normalizer.
#[test]
fn a_base_of_another_normalizer_is_rectified_in_its_own_action() {
    let base = Policy::new(plain(), None, None);
    let (obs, residual) = (draw("obs", OBS), residual());
    let b = act(&base, &obs);
    let mut change = vec![0.0; ACT];
    let input = [&obs[..], &b, &[0.0; 6]].concat();
    let mut work = spar_policy::RowWork::default();
    residual.decoder.rows(&input, &mut work, &mut change);
    let want = b.iter().zip(&change);
    let want: Vec<f32> = want
        .map(|(b, c)| (b + residual.rho * c).clamp(-1.0, 1.0))
        .collect();
    let whole = Policy::new(around(base.clone()), Some(about("spar")), None);
    assert_eq!(act(&whole, &obs), want);
    assert_ne!(want, b);
    let mut of_base = vec![0.0; ACT];
    base.base_actions(&obs, &mut of_base);
    assert_eq!(of_base, b);
}

/// What a base draws is a function of the observation: whatever stream the row has, and
/// another in another state.
#[test]
fn a_base_that_draws_is_a_function_of_the_observation() {
    let base = best_of_draws();
    let obs = draw("obs", 40 * OBS);
    let (mut together, mut alone) = (vec![0.0; 40 * ACT], vec![0.0; 40 * ACT]);
    base.base_actions(&obs, &mut together);
    for (obs, action) in obs.chunks(OBS).zip(alone.chunks_mut(ACT)).rev() {
        base.base_actions(obs, action);
    }
    assert_eq!(together, alone);
    // Its first draw; a second is another in most states (some draws are cut off at the same
    // bound), of a policy that does not draw in none.
    let draw_of = |policy: &Policy, draw: usize| {
        let mut actions = vec![0.0; 40 * ACT];
        policy.base_draw(draw, &obs, &mut actions);
        actions
    };
    assert_eq!(draw_of(&base, 0), together);
    let second = draw_of(&base, 1);
    let pairs = second.chunks(ACT).zip(together.chunks(ACT));
    assert!(pairs.filter(|(second, first)| second != first).count() > 30);
    assert_eq!(draw_of(&base, 1), second);
    let fixed = Policy::new(plain(), None, None);
    assert_eq!(draw_of(&fixed, 1), draw_of(&fixed, 0));
    let whole = Policy::new(around(base), Some(about("spar")), None);
    let by = |seed: u64| {
        let mut streams: Vec<_> = (0..40).map(|i| Stream::new(seed + i, "eval")).collect();
        let mut actions = vec![0.0; 40 * ACT];
        spar_core::Policy::act(&whole, &obs, &mut streams, &mut actions);
        actions
    };
    assert_eq!(by(0), by(100));
    // In one state twice the same draws, beside it others.
    let same = [&obs[..OBS], &obs[..OBS], &obs[OBS..2 * OBS]].concat();
    let mut actions = vec![0.0; 3 * ACT];
    best_of_draws().base_actions(&same, &mut actions);
    assert_eq!(actions[..ACT], actions[ACT..2 * ACT]);
    assert_ne!(actions[..ACT], actions[2 * ACT..]);
}

/// A file in a file in a file ends somewhere, and a base of other units is no base.
#[test]
fn bases_without_end_and_of_other_bounds_are_refused() {
    let of = |networks| Policy::new(networks, Some(about("spar")), None);
    let mut policy = Policy::new(plain(), None, None);
    for bases in 1..=5 {
        policy = of(around(policy));
        let read = Policy::from_bytes(&policy.to_bytes().unwrap());
        match read {
            Ok(read) => assert!(bases <= 4 && read == policy, "{bases}"),
            Err(error) => {
                assert_eq!(bases, 5, "{error}");
                assert!(
                    error.to_string().contains("more than 4 policies"),
                    "{error}"
                );
            }
        }
    }
    let bounds = ActionBounds::try_from(vec![(-2.0, 2.0); ACT]).unwrap();
    let base = Policy::new(plain(), None, None);
    let other = Policy::new(around(base), Some(about("spar")), Some(bounds));
    let error = Policy::from_bytes(&other.to_bytes().unwrap()).unwrap_err();
    assert!(error.to_string().contains("other bounds"), "{error}");
    let changed = Policy::new(around(best_of_draws()), Some(about("spar")), None);
    let mut bytes = changed.to_bytes().unwrap();
    // In the base's values, in the middle of the file.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(Policy::from_bytes(&bytes).is_err());
}

#[test]
fn an_action_is_that_of_its_observation_on_every_thread() {
    for (kind, policy, draws) in every_kind() {
        let all = draw("obs", 70 * OBS);
        let one_by_one: Vec<f32> = all.chunks(OBS).flat_map(|obs| act(&policy, obs)).collect();
        let again = thread::scope(|scope| {
            let reversed = || -> Vec<Vec<f32>> {
                all.chunks(OBS).rev().map(|obs| act(&policy, obs)).collect()
            };
            let mut actions = scope.spawn(reversed).join().unwrap();
            actions.reverse();
            actions.concat()
        });
        assert_eq!(one_by_one, again, "{kind}");
        // As many rows at once as an evaluation has, with the same draws for each.
        let mut streams = vec![Stream::new(0, "policy/act"); 70];
        let mut together = vec![f32::NAN; 70 * ACT];
        spar_core::Policy::act(&policy, &all, &mut streams, &mut together);
        assert_eq!(one_by_one, together, "{kind}");
        let other = policy.clone().seeded(1);
        let moved = all
            .chunks(OBS)
            .any(|obs| act(&other, obs) != act(&policy, obs));
        assert_eq!(moved, draws, "{kind}");
    }
}

#[test]
fn acting_allocates_nothing() {
    let obs = draw("obs", OBS);
    let mut action = [0.0; ACT];
    for (kind, policy, _) in every_kind() {
        let mut act = || policy.act(&obs, &mut action);
        act();
        assert_eq!(allocations(&mut act), 0, "{kind}");
    }
    assert!(allocations(|| drop(draw("more", 1))) > 0, "it counts");
}

#[test]
fn actions_are_in_the_units_of_the_data() {
    let policies = every_kind();
    let of = |name: &str| {
        let found = policies.iter().find(|(kind, ..)| *kind == name);
        &found.unwrap().1
    };
    let obs = draw("obs", OBS);
    let (scaled, unscaled) = (act(of("scaled"), &obs), act(of("plain"), &obs));
    assert_eq!(scaled[0], unscaled[0] * 40.0);
    assert_eq!(scaled[1], unscaled[1] * 0.5 + 0.5);
    assert_eq!(scaled[2], 3.0);
    assert_eq!(of("scaled").obs_dim(), OBS);
    let text = of("bcq").to_bytes().unwrap();
    let read = Policy::from_bytes(&text).unwrap();
    let env = read.about().and_then(|about| about.env.clone());
    assert_eq!(env.as_deref(), Some("arm-of-someone"));
}

#[test]
fn a_policy_without_a_place_in_a_file_is_refused() {
    let error = Policy::new(spar(None), None, None).to_bytes().unwrap_err();
    assert!(error.to_string().contains("give an `About`"), "{error}");
    let Networks::Plain(mut plain) = plain() else {
        panic!("a plain policy")
    };
    plain.net.hidden = Activation::LeakyRelu(0.3);
    let policy = Policy::new(Networks::Plain(plain), Some(about("iql")), None);
    let error = policy.to_bytes().unwrap_err().to_string();
    assert!(
        error.contains("LeakyRelu(0.3)") && error.starts_with("policy: "),
        "{error}"
    );
    assert_eq!(policy.networks().act_dim(), ACT);
}

/// Without its activation, or with a normalization elsewhere, a network would act otherwise.
#[test]
fn every_activation_and_normalization_of_a_network_has_a_place_in_a_file() {
    let obs = draw("obs", OBS);
    let activations = [
        spar_kernels::Activation::Relu,
        spar_kernels::Activation::Gelu,
        spar_kernels::Activation::Mish,
        spar_kernels::Activation::Silu,
    ];
    let mut seen = Vec::new();
    for activation in activations {
        for norm in [
            Normalization::None,
            Normalization::Before,
            Normalization::After,
        ] {
            for (input_norm, eps) in [(false, NormEps::Torch), (true, NormEps::Flax)] {
                let shape = MlpShape::relu(OBS + ACT, [13, 9], ACT).unwrap();
                let shape = shape
                    .with_head(Head::Tanh)
                    .with_activation(activation)
                    .with_normalization(norm)
                    .with_input_norm(input_norm)
                    .with_norm_eps(eps);
                let net = RowMlp::from_params(&shape, &draw("kind", shape.parameters())).unwrap();
                // Without a normalization there is no epsilon to keep.
                if norm != Normalization::None || input_norm {
                    let (same, params) = net.to_params().unwrap();
                    assert_eq!(same, shape);
                    assert_eq!(params, draw("kind", shape.parameters()));
                }
                let networks = spar(Some(Residual::fixed(net, 0.4)));
                let policy = Policy::new(networks, Some(about("rpl")), None);
                let read = Policy::from_bytes(&policy.to_bytes().unwrap()).unwrap();
                assert_eq!(read, policy, "{shape:?}");
                let action = act(&read, &obs);
                assert!(!seen.contains(&action), "{shape:?} acts as another");
                seen.push(action);
            }
        }
    }
    // Of a plain network the metadata say it.
    for activation in [Activation::Gelu, Activation::Mish, Activation::Silu] {
        let Networks::Plain(mut plain) = plain() else {
            panic!("a plain policy")
        };
        plain.net.hidden = activation;
        let policy = Policy::new(Networks::Plain(plain), None, None);
        let read = Policy::from_bytes(&policy.to_bytes().unwrap()).unwrap();
        assert_eq!(read, policy, "{activation:?}");
    }
    // What no file can say is refused, not left out.
    let mut odd = net("fixed", OBS + ACT, ACT, Head::Tanh, false);
    odd.hidden = Activation::Identity;
    let networks = spar(Some(Residual::fixed(odd, 0.4)));
    let policy = Policy::new(networks, Some(about("rpl")), None);
    let error = policy.to_bytes().unwrap_err().to_string();
    assert!(error.contains("Identity between layers"), "{error}");
}

#[test]
#[should_panic(expected = "width of an observation")]
fn another_width_of_observations_is_a_panic_that_says_so() {
    let (_, policy, _) = every_kind().swap_remove(4);
    policy.act(&[0.0; OBS + 1], &mut [0.0; ACT]);
}

/// What may not change unless it is meant to. Acting gives the same bits on every machine.
#[test]
fn the_actions_of_every_kind_are_those_of_every_commit() {
    let obs = draw("obs", 20 * OBS);
    let hash = |(kind, policy, _): (&'static str, Policy, bool)| {
        let actions = obs.chunks(OBS).flat_map(|obs| act(&policy, obs));
        let bytes: Vec<u8> = actions.flat_map(f32::to_le_bytes).collect();
        (kind, spar_core::sha256_hex(&bytes)[..12].to_owned())
    };
    let got: Vec<_> = every_kind().into_iter().map(hash).collect();
    let kinds = every_kind().into_iter().map(|(kind, ..)| kind);
    let want = kinds.zip(ACTIONS.map(str::to_owned));
    assert_eq!(got, want.collect::<Vec<_>>());
}

/// Of each kind, the first digits of the SHA-256 of its actions.
const ACTIONS: [&str; 20] = [
    "821397a4ee1c",
    "c57ca0a0c539",
    "12e57bf61f92",
    "b0983edbf475",
    "4f6ac4a6148b",
    "4f6ac4a6148b",
    "41bac9039a87",
    "5541e4a9e4e7",
    "b7f4dcfd8c5c",
    "54e4af5ffd35",
    "35aaa1e36740",
    "085bd2f7270b",
    "67d8f3d8fff7",
    "678e535b9cc9",
    "96e0a6b7dc9e",
    "113011d9d88d",
    "aac52eaaf077",
    "c921fe8ca8d0",
    "756edcfa491a",
    "901d71620521",
];
