//! Networks from elsewhere.

use safetensors::Dtype;

use crate::support::*;

#[test]
fn a_plain_network_from_elsewhere_acts_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    for activation in ["relu", "tanh", "leaky_relu_0.01"] {
        for output in ["identity", "tanh"] {
            let (parts, want) = plain(activation, output);
            let got = actions(&parts.read(dir.path()).unwrap());
            for (got, want) in got.iter().zip(&want) {
                assert!(
                    (got - want).abs() < 1e-5,
                    "{activation}, {output}: {got} {want}"
                );
            }
            assert!(
                output == "tanh" || want.contains(&1.0),
                "the clip is exercised"
            );
        }
    }
    // Double precision is read, and a normalizer that changes nothing is none.
    let (mut parts, want) = plain("relu", "tanh");
    for (dtype, _, data) in parts.tensors.values_mut() {
        let (words, _) = data.as_chunks::<4>();
        let wide = words
            .iter()
            .flat_map(|w| f64::from(f32::from_le_bytes(*w)).to_le_bytes());
        (*dtype, *data) = (Dtype::F64, wide.collect());
    }
    let parts = parts
        .floats("obs_mean", &[11], &[0.0; 11])
        .floats("obs_std", &[11], &[1.0; 11]);
    let got = actions(&parts.read(dir.path()).unwrap());
    assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-5));
}

#[test]
fn a_plain_network_that_says_too_little_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let good = || plain("relu", "tanh").0;
    let mut silent = good();
    silent.metadata.remove("activation");
    refused(
        dir,
        &silent,
        "no metadata `activation`; expected one of: relu, tanh",
    );
    refused(
        dir,
        &good().meta("output", "softmax"),
        "`output` is `softmax`",
    );
    refused(dir, &good().without("layers.0.weight"), "`layers.0.weight`");
    refused(dir, &good().without("layers.0"), "`layers.0.weight`");
    refused(
        dir,
        &good().floats("obs_mean", &[11], &[0.0; 11]),
        "`obs_std`",
    );
    let huge = good().floats("layers.1.bias", &[3], &[0.0, f32::INFINITY, 0.0]);
    refused(dir, &huge, "`layers.1.bias` is not finite at element 1");
}

#[test]
fn foreign_names_are_told_with_those_expected() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = plain("relu", "tanh").0;
    let renamed = parts.tensors.into_iter();
    parts.tensors = renamed
        .map(|(name, part)| (format!("actor.{name}"), part))
        .collect();
    for said in [
        "no tensor `layers.0.weight`",
        "found `actor.layers.0.bias`, `actor.layers.0.weight`",
        "expected `layers.<i>.weight`",
        "spar policy import",
    ] {
        refused(dir.path(), &parts, said);
    }
}

#[test]
fn scaled_outputs_act_scaled() {
    let dir = tempfile::tempdir().unwrap();
    let (parts, unscaled) = plain("relu", "tanh");
    let (scale, shift) = ([0.5, -0.25, 3.0], [0.1, 0.0, -0.5]);
    let scaled =
        parts
            .clone()
            .floats("output.scale", &[3], &scale)
            .floats("output.shift", &[3], &shift);
    let got = actions(&scaled.read(dir.path()).unwrap());
    for (i, (got, want)) in got.iter().zip(&unscaled).enumerate() {
        let want = (want * scale[i % 3] + shift[i % 3]).clamp(-1.0, 1.0);
        assert!((got - want).abs() < 1e-5, "{i}: {got} {want}");
    }
    let alone = parts.clone().floats("output.scale", &[3], &scale);
    refused(dir.path(), &alone, "`output.shift`");
    let short = scaled.floats("output.scale", &[2], &[1.0; 2]);
    refused(dir.path(), &short, "have 2 and 3 elements, expected 3");
}

#[test]
fn half_precision_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut parts, want) = plain("relu", "tanh");
    for (dtype, _, data) in parts.tensors.values_mut() {
        let (words, _) = data.as_chunks::<4>();
        let half = words
            .iter()
            .map(|w| half::f16::from_f32(f32::from_le_bytes(*w)));
        (*dtype, *data) = (Dtype::F16, half.flat_map(half::f16::to_le_bytes).collect());
    }
    let got = actions(&parts.read(dir.path()).unwrap());
    assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 2e-2));
    for (dtype, _, data) in parts.tensors.values_mut() {
        let (words, _) = data.as_chunks::<2>();
        let half = words.iter().map(|w| half::f16::from_le_bytes(*w).to_f32());
        let half = half.map(half::bf16::from_f32);
        (*dtype, *data) = (
            Dtype::BF16,
            half.flat_map(half::bf16::to_le_bytes).collect(),
        );
    }
    let got = actions(&parts.read(dir.path()).unwrap());
    assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 2e-1));
}
