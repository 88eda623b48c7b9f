//! Exported graphs act as the policies they come from, under ONNX Runtime and tract; what is
//! no graph is refused by name.
//!
//! `SPAR_DOORS_PYTHON` names a Python that has `onnxruntime`; `cargo xtask test` provides
//! one, and without it the comparison is skipped in words.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, num::NonZeroUsize, path::Path, process::Command};

use serde_json::Value;
use spar_core::{DatasetIdentity, Origin};
use spar_kernels::{Activation as Kernel, Head, MlpShape};
use spar_policy::{
    About, ActionBounds, Activation, Conservatism, Latent, LatentActor, LatentPolicy, Networks,
    Norm, Normalizer, PlainPolicy, Policy, RectifiedPolicy, Residual, RowMlp, SparPolicy, Stream,
};
#[cfg(feature = "onnx")]
use tract_onnx::prelude::*;

const OBS: usize = 11;
const ACT: usize = 3;
const LATENT: usize = 6;
const ROWS: usize = 1000;

fn draw(name: &str, n: usize, spread: f32) -> Vec<f32> {
    let mut values = vec![0.0; n];
    Stream::new(7, name).fill_normal(spread, &mut values);
    values
}

fn shape(input: usize, output: usize) -> MlpShape {
    MlpShape::relu(input, [32, 24], output)
        .unwrap()
        .with_head(Head::Tanh)
}

fn net_of(name: &str, shape: &MlpShape) -> RowMlp {
    RowMlp::from_params(shape, &draw(name, shape.parameters(), 0.2)).unwrap()
}

fn net(name: &str, input: usize, output: usize) -> RowMlp {
    net_of(name, &shape(input, output))
}

fn normalizer() -> Normalizer {
    Normalizer {
        mean: draw("mean", OBS, 1.0),
        std: draw("std", OBS, 0.3)
            .iter()
            .map(|x| 1.2 + x.abs())
            .collect(),
    }
}

fn about(method: &str) -> About {
    About {
        method: method.to_owned(),
        env: Some("hopper".to_owned()),
        task: "hopper-medium".to_owned(),
        dataset: DatasetIdentity {
            id: "hopper-medium-local".to_owned(),
            origin: Origin::Local,
            sha256: "0".repeat(64),
            rows: 7,
        },
        seed: 3,
        updates: 10,
    }
}

fn plain(net: RowMlp, affine: Option<(Vec<f32>, Vec<f32>)>) -> Networks {
    Networks::Plain(PlainPolicy {
        normalizer: normalizer(),
        net,
        affine,
    })
}

fn spar(residual: Option<Residual>) -> Networks {
    Networks::Spar(SparPolicy {
        normalizer: normalizer(),
        anchor: net("anchor", OBS, ACT),
        residual,
    })
}

fn residual(best_of: usize) -> Residual {
    Residual {
        decoder: net("decoder", OBS + ACT + LATENT, ACT),
        rho: 0.7,
        critics: vec![net_of(
            "critic",
            &shape(OBS + ACT, 1).with_head(Head::Linear),
        )],
        conservatism: Conservatism::Min,
        sigma_z: 1.0,
        best_of: NonZeroUsize::new(best_of).unwrap(),
    }
}

fn latent(latent: Latent, perturbed: bool) -> Networks {
    Networks::Latent(LatentPolicy {
        normalizer: normalizer(),
        actor: LatentActor {
            decoder: net("latent decoder", OBS + LATENT, ACT),
            affine: None,
            latent,
            perturbation: perturbed.then(|| (net("perturbation", OBS + ACT, ACT), 0.05)),
        },
    })
}

/// A linear decoder of standardized actions.
fn standardized() -> Networks {
    let shape = shape(OBS + LATENT, ACT).with_head(Head::Linear);
    let net = net("latent", OBS, LATENT);
    Networks::Latent(LatentPolicy {
        normalizer: normalizer(),
        actor: LatentActor {
            decoder: net_of("latent decoder", &shape),
            affine: Some((vec![0.5, 0.7, 0.3], vec![0.1, -0.2, 0.0])),
            latent: Latent::Actor { net, bound: 2.0 },
            perturbation: None,
        },
    })
}

fn policy(networks: Networks, method: &str) -> Policy {
    Policy::new(networks, Some(about(method)), None)
}

/// One of every kind of policy that is a graph, and of everything inside networks.
fn graphs() -> Vec<(&'static str, Policy)> {
    let actor = |perturbed| {
        let net = net("latent", OBS, LATENT);
        latent(Latent::Actor { net, bound: 2.0 }, perturbed)
    };
    let with = |hidden| RowMlp {
        hidden,
        ..net("net", OBS, ACT)
    };
    let gelu = shape(OBS, ACT)
        .with_activation(Kernel::Gelu)
        .with_layer_norm(true);
    let mut normalized = net_of("normalized", &gelu);
    let norms = normalized
        .layers
        .iter_mut()
        .filter_map(|layer| layer.norm.as_mut());
    for norm in norms {
        (norm.after, norm.eps) = (true, 1e-3);
    }
    normalized.input_norm = Some(Norm::new(draw("gain", OBS, 1.0), draw("shift", OBS, 1.0)));
    let bounds = vec![(-0.3, 0.2), (0.0, 40.0), (-1.0, 1.0)];
    let bounds = ActionBounds::try_from(bounds).unwrap();
    let scaled = Policy::new(actor(true), Some(about("plas")), Some(bounds));
    let affine = (vec![0.5, 2.0, 1.0], vec![0.1, -0.2, 0.0]);
    let linear = net_of("linear", &shape(OBS, ACT).with_head(Head::Linear));
    vec![
        ("bc", policy(spar(None), "bc")),
        ("spar", policy(spar(Some(residual(1))), "spar")),
        ("rpl", {
            let net = net("fixed", OBS + ACT, ACT);
            policy(spar(Some(Residual::fixed(net, 0.4))), "rpl")
        }),
        ("plas", policy(actor(false), "plas")),
        ("plas-scaled", scaled),
        (
            "td3bc",
            policy(plain(with(Activation::Relu), None), "td3bc"),
        ),
        ("tanh", policy(plain(with(Activation::Tanh), None), "iql")),
        (
            "leaky",
            policy(plain(with(Activation::LeakyRelu(0.01)), None), "iql"),
        ),
        ("mish", policy(plain(with(Activation::Mish), None), "iql")),
        ("silu", policy(plain(with(Activation::Silu), None), "iql")),
        ("normalized", policy(plain(normalized, None), "iql")),
        ("gelu", policy(plain(net_of("gelu", &gelu), None), "iql")),
        ("lapo", policy(standardized(), "lapo")),
        ("around", {
            // A base of another normalizer than the residual's.
            let base = Policy::new(plain(linear.clone(), Some(affine.clone())), None, None);
            let around = RectifiedPolicy {
                normalizer: Normalizer::identity(OBS),
                base: Box::new(base),
                residual: residual(1),
            };
            policy(Networks::Rectified(around), "spar")
        }),
        (
            "elsewhere",
            Policy::new(plain(linear, Some(affine)), None, None),
        ),
    ]
}

fn write(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(path, bytes).unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// Holds actions for `obs` to those of `policy`, which it returns.
#[track_caller]
fn assert_acts_as(policy: &Policy, obs: &[f32], got: &[f32], what: &str) -> Vec<f32> {
    let (mut wanted, mut worst) = (vec![0.0; ROWS * ACT], 0.0f32);
    for (obs, action) in obs.chunks(OBS).zip(wanted.chunks_mut(ACT)) {
        policy.act(obs, action);
    }
    assert_eq!(got.len(), wanted.len());
    for (i, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
        // Rounding grows with the units of the action.
        let units = policy.action_bounds().map_or(1.0, |bounds| {
            let (low, high) = bounds.components()[i % ACT];
            ((high - low) / 2.0).max(1.0)
        });
        let off = (got - wanted).abs() / units;
        assert!(!off.is_nan(), "{what}: row {}", i / ACT);
        worst = worst.max(off);
    }
    assert!(worst <= 1e-5, "{what}: {worst:e}");
    wanted
}

#[cfg(feature = "onnx")]
#[test]
fn tract_acts_as_the_policy_does() {
    let obs = draw("obs", ROWS * OBS, 2.0);
    for (name, policy) in &graphs() {
        let model = policy.to_onnx().unwrap();
        let fact = InferenceFact::dt_shape(f32::datum_type(), [ROWS, OBS]);
        let plan = tract_onnx::onnx()
            .model_for_read(&mut &*model)
            .and_then(|model| model.with_input_fact(0, fact))
            .and_then(|model| model.into_optimized())
            .and_then(|model| model.into_runnable())
            .unwrap_or_else(|e| panic!("{name}: {e:#}"));
        let input = Tensor::from_shape(&[ROWS, OBS], &obs).unwrap();
        let output = plan.run(tvec!(input.into())).unwrap().remove(0);
        let actions = output.to_plain_array_view::<f32>().unwrap();
        assert_eq!(actions.shape(), [ROWS, ACT], "{name}");
        let actions: Vec<f32> = actions.iter().copied().collect();
        assert_acts_as(policy, &obs, &actions, &format!("{name}, tract"));
    }
}

#[test]
fn onnx_runtime_acts_as_the_policy_does() {
    let Some(python) = std::env::var_os("SPAR_DOORS_PYTHON") else {
        eprintln!(
            "skipped: SPAR_DOORS_PYTHON names no Python with onnxruntime; use cargo xtask test"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let graphs = graphs();
    let place = |name: &str, kind: &str| dir.path().join(format!("{name}.{kind}"));
    let obs = draw("obs", ROWS * OBS, 2.0);
    for (name, policy) in &graphs {
        fs::write(place(name, "onnx"), policy.to_onnx().unwrap()).unwrap();
        write(&place(name, "obs.f32"), &obs);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts/onnx_actions.py");
    let output = Command::new(python)
        .arg(script)
        .args(graphs.iter().map(|(name, _)| dir.path().join(name)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    let told: Vec<Value> = told
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(told.len(), graphs.len());
    for ((name, policy), told) in graphs.iter().zip(told) {
        let got = read(&place(name, "actions.f32"));
        assert_eq!(got.len(), ROWS * ACT);
        let wanted = assert_acts_as(policy, &obs, &got, &format!("{name}, ONNX Runtime"));
        // They are actions of a policy, not all the same.
        let of = |i: usize| wanted[i * ACT];
        assert!((0..ROWS).any(|i| (of(i) - of(0)).abs() > 0.1), "{name}");
        assert_eq!(told["widths"], serde_json::json!([OBS, ACT]));
        assert_eq!(
            (&told["input"], &told["output"]),
            (&"obs".into(), &"action".into())
        );
        let method = policy.about().map(|about| about.method.clone().into());
        assert_eq!(told.get("method"), method.as_ref(), "{name}");
    }
}

#[test]
fn what_draws_is_no_graph_and_is_refused_by_name() {
    let critic = net_of("critic", &shape(OBS + ACT, 1).with_head(Head::Linear));
    let best = Latent::Best {
        critic,
        candidates: NonZeroUsize::new(100).unwrap(),
        clip: 0.5,
    };
    for (policy, expected) in [
        (
            policy(latent(best, true), "bcq"),
            "bcq acts by one of 100 actions that are drawn",
        ),
        (
            policy(spar(Some(residual(8))), "spar"),
            "spar acts by one of 8 actions that are drawn",
        ),
    ] {
        assert!(policy.draws());
        let error = policy.to_onnx().unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("spar act"),
            "{error}"
        );
    }
}
