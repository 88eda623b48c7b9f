//! Files that hold what is not read, what is out of range, or what was changed.

use std::{fs, path::Path};

use spar_policy::Policy;

use crate::support::*;

#[test]
fn a_tensor_that_is_not_read_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let plain = || plain("relu", "tanh").0;
    let of = |name: &str, width: usize| plain().floats(name, &[width], &vec![0.5; width]);
    // Statistics, scales and spreads under other programs' names, with ours.
    for (name, width, documented) in [
        ("mean", 11, "`obs_mean`"),
        ("std", 11, "`obs_std`"),
        ("state_mean", 11, "`obs_mean`"),
        ("obs_rms.var", 11, "`obs_std`: this one's square root"),
        ("normalizer.running_mean", 11, "`obs_mean`"),
        ("action_scale", 3, "`output.scale`"),
        ("action_bias", 3, "`output.shift`"),
        ("max_action", 1, "`output.scale`"),
        ("action_low", 3, "`output.scale`, half their distance"),
        ("log_std", 3, "acts by the mean"),
        ("anything", 3, "expected `layers.<i>.weight`"),
        ("layers.0.norm.running_mean", 5, "`obs_mean`"),
        ("layers.0.weight_mask", 5, "layers.<i>.weight"),
        ("critic.0.layers.0.bias", 5, "layer"),
    ] {
        refused(dir, &of(name, width), &format!("`{name}`"));
        refused(dir, &of(name, width), documented);
        refused(dir, &of(name, width), "spar policy import");
    }
    // Layers behind a gap: without them the first would act alone.
    let gap = plain()
        .floats("layers.3.weight", &[3, 3], &[0.5; 9])
        .floats("layers.3.bias", &[3], &[0.5; 3]);
    refused(dir, &gap, "`layers.3.bias`, `layers.3.weight`");
    refused(dir, &gap, "there is no layer 2");
    // A normalization without a half, and one behind the last layer's gap.
    let half = plain().floats("layers.0.norm.weight", &[5], &[1.0; 5]);
    refused(dir, &half, "`layers.0.norm.bias`");
    // The same of our own policies, where nothing may be left over either.
    let spar = || Parts::of_spar().without_digest();
    for name in [
        "mean",
        "anchor.layers.7.bias",
        "critic.3.layers.0.bias",
        "decoder",
    ] {
        refused(
            dir,
            &spar().floats(name, &[11], &[0.5; 11]),
            &format!("`{name}`"),
        );
    }
    // What changes actions may not stand in the metadata either.
    refused(
        dir,
        &plain().meta("max_action", "2.0"),
        "metadata `max_action`",
    );
    refused(dir, &plain().meta("obs_mean", "[0]"), "metadata `obs_mean`");
    plain()
        .meta("format", "pt")
        .meta("author", "me")
        .read(dir)
        .unwrap();
}

#[test]
fn every_number_of_a_policy_has_a_range() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let spar = || Parts::of_spar().without_digest();
    let of = |name: &str, value: f32| spar().floats(name, &[1], &[value]);
    for (name, values) in [
        ("residual.rho", [0.0, -1.0, 101.0, 1e30]),
        ("residual.sigma_z", [-1.0, 101.0, 1e30, f32::MIN]),
        ("critic.deviations", [-1.0, 101.0, 1e30, f32::MIN]),
    ] {
        for value in values {
            refused(
                dir,
                &of(name, value),
                &format!("`{name}` is {value}, expected a number"),
            );
        }
    }
    for (name, values) in [
        ("residual.activation", [0.0, 1.5, 5.0, -1.0]),
        ("critic.1.layers.0.norm.after", [0.0, 2.0, 0.5, -1.0]),
        ("critic.1.layers.0.norm.eps", [0.0, -1.0, 1.5, 1e30]),
    ] {
        for value in values {
            refused(
                dir,
                &of(name, value),
                &format!("`{name}` is {value}, expected a"),
            );
        }
    }
    // Of what is not there nothing is said.
    refused(
        dir,
        &of("anchor.layers.0.norm.after", 1.0),
        "which no reader knows",
    );
    refused(
        dir,
        &spar().floats("anchor.norm.weight", &[10], &[1.0; 10]),
        "`anchor.norm.weight` is [10], expected [11]",
    );
    refused(
        dir,
        &spar().floats("obs_std", &[11], &[-1.0; 11]),
        "none zero or negative",
    );

    let latent = || latent();
    latent().read(dir).unwrap();
    let of = |name: &str, value: f32| latent().floats(name, &[1], &[value]);
    for value in [0.0, -1.0, 0.5, 1.5, 10_001.0, 1e7, 1e30] {
        let said =
            format!("`latent.candidates` is {value}, expected a whole number from 1 to 10000");
        refused(dir, &of("latent.candidates", value), &said);
    }
    for name in ["latent.clip", "perturbation.size"] {
        for value in [0.0, -1.0, 101.0, 1e30] {
            refused(dir, &of(name, value), &format!("`{name}` is {value}"));
        }
    }
    // In range by itself, but not with so wide a latent.
    let wide = latent()
        .floats("latent.candidates", &[1], &[10_000.0])
        .floats("decoder.layers.0.weight", &[1, 2000], &[0.0; 2000])
        .floats("decoder.layers.0.bias", &[1], &[0.0])
        .floats("decoder.layers.1.weight", &[3, 1], &[0.0; 3]);
    refused(
        dir,
        &wide,
        "expected at most 8388 of a decoder of 2000 inputs",
    );
}

#[test]
fn a_policy_that_samples_is_whole_and_within_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for sampler in ["chain", "flow", "one step"] {
        let whole = || sampled(sampler);
        whole().read(dir).unwrap();
        let of = |name: &str, value: f32| whole().floats(name, &[1], &[value]);
        for (name, values) in [
            ("sampled.candidates", [0.0, 1.5, 10_001.0, 1e30]),
            ("sampled.softmax", [0.0, -1.0, 101.0, 1e30]),
        ] {
            for value in values {
                refused(
                    dir,
                    &of(name, value),
                    &format!("`{name}` is {value}, expected a"),
                );
            }
        }
        refused(
            dir,
            &of("sampled.expectile", 1.5),
            "`sampled.expectile` is 1.5",
        );
        for name in ["value.layers.0.weight", "sampled.candidates", "obs_mean"] {
            refused(dir, &whole().without(name), &format!("`{name}`"));
        }
        // Without a critic there is nothing to choose by.
        let blind = whole()
            .without("critic")
            .without("value")
            .without("sampled.expectile");
        refused(dir, &blind, "do not fit each other");
        let alone = blind.floats("sampled.candidates", &[1], &[1.0]);
        alone.read(dir).unwrap();
        // What would be left out.
        refused(
            dir,
            &alone.clone().floats("value.layers.0.bias", &[4], &[0.0; 4]),
            "no reader",
        );
        refused(dir, &of("sampled.softmax", 1.0), "no reader knows");
        for stray in ["critic.1.layers.0.bias", "decoder.layers.0.weight"] {
            let with = whole().floats(stray, &[4], &[0.5; 4]);
            assert!(with.read(dir).is_err(), "{stray}");
        }
        // A critic of other rows than `[s, a]`.
        let other = whole().floats("critic.0.layers.0.weight", &[4, 13], &[0.0; 52]);
        refused(dir, &other, "maps 13 values to 1, expected 14 to 1");
    }
    let chain = || sampled("chain");
    for alphas in [
        vec![],
        vec![0.0, 0.5, 0.4, 0.2, 0.1],
        vec![1.0, 0.5, 0.4, 0.2, 0.1],
        vec![0.8, 0.5, -0.4, 0.2, 0.1],
        vec![0.8, 0.5, 1e-9, 0.2, 0.1],
        vec![0.5; 1001],
    ] {
        let other = chain().floats("chain.alphas", &[alphas.len()], &alphas);
        refused(dir, &other, "`chain.alphas` has");
    }
    let other = chain().floats("chain.alphas", &[2], &[0.8, 0.5]);
    refused(
        dir,
        &other,
        "`chain.codes` is [5, 2], expected a row for each of the 2",
    );
    // With wider codes fewer columns are left for the state.
    let other = chain().floats("chain.codes", &[5, 3], &[0.0; 15]);
    refused(
        dir,
        &other,
        "`critic.0.` maps 14 values to 1, expected 13 to 1",
    );
    let other = chain().floats("chain.codes", &[5, 13], &[0.0; 65]);
    refused(dir, &other, "do not fit each other");
    refused(
        dir,
        &chain().floats("chain.clips_start", &[1], &[0.0]),
        "`chain.clips_start` is 0",
    );
    refused(
        dir,
        &chain().without("chain.exit"),
        "`chain.exit.layers.0.weight`",
    );
    let other = chain().floats("chain.exit.layers.0.weight", &[3, 5], &[0.0; 15]);
    refused(dir, &other, "do not fit each other");
    let flow = |steps: f32| sampled("flow").floats("flow.steps", &[1], &[steps]);
    for steps in [0.0, 0.5, 1001.0] {
        refused(dir, &flow(steps), &format!("`flow.steps` is {steps}"));
    }
    // Each in its range, but together hours for an action.
    let long = flow(1000.0).floats("sampled.candidates", &[1], &[10_000.0]);
    refused(
        dir,
        &long,
        "expected at most 16777216 values and 131072 passes in all",
    );
}

#[test]
fn a_policy_of_a_newer_format_or_changed_since_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let with = |field: &str, value: serde_json::Value| {
        let mut parts = Parts::of_spar();
        let text = parts.metadata.get_mut("spar").unwrap();
        let mut said: serde_json::Value = serde_json::from_str(text).unwrap();
        said[field] = value;
        *text = said.to_string();
        parts
    };
    refused(
        dir,
        &with("format", 3.into()),
        "is of format 3, this `spar` reads formats up to 2",
    );
    refused(dir, &with("format", 0.into()), "`format` is 0");
    refused(dir, &with("format", "2".into()), "`format` is \"2\"");
    refused(dir, &with("digest", serde_json::Value::Null), "was changed");
    refused(
        dir,
        &with("seed", 2.into()),
        "was changed after it was written",
    );
    refused(dir, &with("unknown", 2.into()), "unknown field `unknown`");
    for name in [
        "obs_mean",
        "anchor.layers.1.weight",
        "residual.rho",
        "critic.1.layers.2.bias",
    ] {
        let mut parts = Parts::of_spar();
        let (_, _, data) = parts.tensors.get_mut(name).unwrap();
        data[0] ^= 1;
        refused(dir, &parts, "was changed after it was written");
    }
    refused(dir, &Parts::of_spar().without("critic.1"), "was changed");
}

#[test]
fn what_is_no_policy_file_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let large = dir.path().join("large");
    // Sparse: a terabyte of nothing.
    fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    let error = Policy::load(&large).err().unwrap().to_string();
    assert!(error.contains("has 1099511627776 bytes"), "{error}");
    let error = Policy::load(dir.path()).err().unwrap().to_string();
    assert!(error.contains("no regular file"), "{error}");
    #[cfg(unix)]
    {
        let error = Policy::load(Path::new("/dev/zero"))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("no regular file"), "{error}");
    }
}
