//! Runs in bf16: another run than one in single precision, resumed exactly, of every kind of
//! method; and records of single precision as they always were.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use common::{data, spec, stop, train};
use serde_json::Value;
use spar_train::{Method, Precision, RunSpec, TrainConfig};

mod common;

/// A short run of `method` in these precisions.
fn rounded(name: &str, data: &spar_data::Transitions, precisions: [Precision; 2]) -> RunSpec {
    let method: Method = name.parse().unwrap();
    let mut spec = spec(method, data);
    spec.config.anchor.updates = 40;
    (spec.config.updates, spec.config.rectify.warmup) = (60, 10);
    spec.config.checkpoint_every = 15;
    (spec.config.eval_every, spec.final_episodes) = (50, 1);
    if let Method::Baseline(_) = method {
        spec.config.method = TrainConfig::defaults_of(method).unwrap().method;
    }
    [spec.config.precision, spec.config.detached_precision] = precisions;
    spec
}

const SINGLE: [Precision; 2] = [Precision::F32; 2];

#[test]
fn a_run_in_bf16_is_another_run_and_resumes_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for (name, after) in [("bc", 20), ("spar", 37), ("td3bc", 37)] {
        let policy = |precisions, folder: &str| {
            let out = dir.path().join(name).join(folder);
            train(&rounded(name, &data, precisions), &data, &out).unwrap();
            fs::read(out.join("policy.safetensors")).unwrap()
        };
        let single = policy(SINGLE, "f32");
        let three = policy([Precision::Bf16x3, Precision::F32], "bf16x3");
        let one = policy([Precision::Bf16, Precision::F32], "bf16");
        assert!(single != three && three != one && one != single, "{name}");
        // Anchors are cloned by passes that learn alone.
        let detached = policy([Precision::F32, Precision::Bf16], "detached");
        assert_eq!(detached == single, name == "bc", "{name}");

        let spec = rounded(name, &data, [Precision::Bf16x3, Precision::Bf16]);
        let whole = policy([Precision::Bf16x3, Precision::Bf16], "whole");
        let out = dir.path().join(name).join("in-parts");
        stop(&spec, &data, &out, after);
        train(&spec, &data, &out).unwrap();
        let resumed = fs::read(out.join("policy.safetensors")).unwrap();
        assert!(resumed == whole, "{name}");
        // And not as a run of another precision.
        let error = train(&rounded(name, &data, SINGLE), &data, &out).unwrap_err();
        assert!(error.to_string().contains("precision`"), "{error}");
    }
}

#[test]
fn a_record_in_single_precision_is_as_before_there_was_a_choice() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for (name, detached) in [("bc", false), ("spar", true), ("td3bc", false)] {
        let text = serde_json::to_string(&rounded(name, &data, SINGLE)).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let config = value["config"].as_object().unwrap();
        assert!(!config.contains_key("precision"), "{text}");
        assert_eq!(
            config.contains_key("detached_precision"),
            detached,
            "{text}"
        );
        let spec = rounded(name, &data, [Precision::Bf16x3, Precision::Bf16]);
        let text = serde_json::to_string(&spec).unwrap();
        let read: RunSpec = serde_json::from_str(&text).unwrap();
        assert_eq!(read.config.precision, Precision::Bf16x3, "{text}");
        let reaches = name != "bc";
        assert_eq!(
            read.config.detached_precision != Precision::F32,
            reaches,
            "{text}"
        );
        assert_eq!(
            read.identity().unwrap().sha256(),
            spec.identity().unwrap().sha256()
        );
    }
}

/// In a suite file a baseline's precisions stand in its own table or in `[train]`, and on a
/// command line under their own names.
#[test]
fn precisions_are_settings_of_every_method() {
    let method: Method = "td3bc".parse().unwrap();
    let defaults = TrainConfig::defaults_of(method).unwrap();
    let change = |key: &str, value: &str| {
        let changes = [(key.to_owned(), toml::Value::from(value))];
        defaults.clone().with(method, &changes)
    };
    let config = change("precision", "bf16x3").unwrap();
    assert_eq!(config.precision, Precision::Bf16x3);
    assert_eq!(config.method, defaults.method);
    let config = change("detached_precision", "bf16").unwrap();
    assert_eq!(config.detached_precision, Precision::Bf16);
    let error = change("precision", "f16").unwrap_err().to_string();
    assert!(error.contains("f16") && error.contains("bf16x3"), "{error}");

    let mut table = toml::Table::try_from(TrainConfig::default()).unwrap();
    table.insert("precision".to_owned(), "bf16".into());
    let own: toml::Table = toml::from_str("detached_precision = 'bf16x3'").unwrap();
    table.insert("method".to_owned(), own.into());
    let config = TrainConfig::for_method(table, method).unwrap();
    assert_eq!(config.precision, Precision::Bf16);
    assert_eq!(config.detached_precision, Precision::Bf16x3);
    for method in Method::all() {
        let listed = TrainConfig::listed(method).unwrap();
        for name in ["precision", "detached_precision"] {
            let rows = listed.iter().filter(|(key, _)| key == name).count();
            assert_eq!(rows, 1, "{name} of {}", method.name());
        }
    }
}

#[test]
fn a_run_says_once_that_its_precision_is_emulated() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let said = |name, precisions| rounded(name, &data, precisions).slow_precision();
    assert_eq!(said("spar", SINGLE), None);
    let detached = [Precision::F32, Precision::Bf16];
    assert_eq!(said("bc", detached), None);
    let emulated = spar_nn::MatrixUnit::absent().is_some();
    assert_eq!(said("td3bc", detached).is_some(), emulated);
    if let Some(line) = said("spar", [Precision::Bf16x3; 2]) {
        assert!(line.contains("bf16x3") && line.contains("f32"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}
