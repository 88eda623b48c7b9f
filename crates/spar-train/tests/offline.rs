//! Runs without an environment: what is held out stays out, policies act in the data's
//! units, and nothing that would need an environment is there.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path, sync::Arc};

use common::{Around, data, spec, train_in};
use spar_core::EnvId;
use spar_data::{Dataset, Steps, Transitions};
use spar_train::{Method, Offline, RunSpec, TrainError, policy_file};

/// A run of `method` on `data` without an environment.
fn offline(method: &str, data: &Transitions) -> RunSpec {
    let method: Method = method.parse().unwrap();
    let usual = spec(method, data);
    let mut config = usual.config.clone();
    if let Method::Baseline(entry) = method {
        let own = toml::from_str(SMALL).unwrap();
        let small = entry.settings(own);
        config.method = Some(small.unwrap_or_else(|_| entry.settings(toml::Table::new()).unwrap()));
        config.updates = 60;
        config.eval_every = 25;
    }
    RunSpec {
        env: None,
        offline: Some(Offline {
            held_out: 0.2,
            horizon: None,
            action_bounds: data.dataset().bounds().0,
        }),
        final_episodes: 0,
        config,
        ..usual
    }
}

const SMALL: &str = "data = { batch_size = 16 }";

/// A run's data in other units: actions times `scale`.
fn scaled(data: &Transitions, scale: f32, declared: bool) -> Transitions {
    let mut set = Dataset::clone(data.dataset());
    set.actions.iter_mut().for_each(|a| *a *= scale);
    set.action_bounds = declared.then(|| vec![(-scale, scale)]);
    Transitions::new(Arc::new(set), usize::MAX).unwrap()
}

fn rows_of(file: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        row.iter().map(str::to_owned).collect()
    });
    rows.collect()
}

#[test]
fn a_run_without_an_environment_has_no_return_and_no_score() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let spec = offline("spar", &data);
    let out = dir.path().join("run");
    let record = train_in(&spec, &data, &out, Around::default()).unwrap();
    let validation = record.validation.unwrap();
    assert_eq!((validation.episodes, &record.env), (2, &None));
    assert_eq!(record.normalized_score(), None);
    let done = fs::read_to_string(out.join("DONE")).unwrap();
    for absent in ["score", "returns", "\"env\""] {
        assert!(!done.contains(absent), "`{absent}` in {done}");
    }
    assert!(!out.join("eval.csv").exists() && !out.join("returns.csv").exists());
    // The curve is there at every `eval_every` and at the end, which is the record's number.
    let curve = rows_of(&out.join("validation.csv"));
    let updates: Vec<&str> = curve.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(updates, ["200", "400", "600", "700"]);
    assert_eq!(curve[3][1].parse::<f64>().unwrap(), validation.mse);
    // What is held out is recorded.
    let held = rows_of(&out.join("held_out.csv"));
    assert_eq!(held.len(), 2);
    let rows: usize = held
        .iter()
        .map(|row| row[2].parse::<usize>().unwrap())
        .sum();
    assert_eq!(rows, validation.rows);
}

/// The number a run records, computed again from its policy file and the file's rows.
#[test]
fn the_error_is_that_of_the_written_policy_on_the_rows_held_out() {
    let dir = tempfile::tempdir().unwrap();
    let data = scaled(&data(dir.path()), 40.0, false);
    let spec = offline("bc", &data);
    let out = dir.path().join("run");
    let record = train_in(&spec, &data, &out, Around::default()).unwrap();
    let policy = policy_file::read(&out.join("policy.safetensors"), None).unwrap();
    let bounds = spec.offline.as_ref().unwrap().action_bounds.components()[0];
    let half = f64::from(bounds.1 - bounds.0) / 2.0;
    let set = data.dataset();
    let (mut sum, mut count, mut beyond) = (0.0, 0, 0);
    for row in rows_of(&out.join("held_out.csv")) {
        let [first, rows] = [1, 2].map(|i| row[i].parse::<usize>().unwrap());
        for row in first..first + rows {
            let mut action = [0.0];
            policy.act(set.observation(row), &mut action);
            beyond += usize::from(action[0].abs() > 1.0);
            sum += (f64::from(action[0] - set.action(row)[0]) / half).powi(2);
            count += 1;
        }
    }
    let mse = record.validation.unwrap().mse;
    assert!(
        (sum / count as f64 - mse).abs() < 1e-5 * mse.max(1.0),
        "{sum} {mse}"
    );
    assert!(beyond > count / 2, "the policy acts in the data's units");
    assert!(mse < 0.5, "{mse}");
}

/// Whatever stands in the rows held out, the policy is the same to the bit.
#[test]
fn training_never_sees_what_is_held_out() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    // With the rewards' range, the states' mean, and the best trajectories.
    for method in ["spar", "iql", "bc10", "td3bc"] {
        let spec = offline(method, &data);
        let held = spec
            .offline
            .as_ref()
            .unwrap()
            .held_out(&data, spec.eval_seed);
        let mut other = Dataset::clone(data.dataset());
        for rows in held.iter().map(|held| held.rows.clone()) {
            other.observations[rows.start * 2..rows.end * 2].fill(5.0);
            other.rewards[rows.clone()].fill(100.0);
            other.actions[rows].fill(0.5);
        }
        let other = Transitions::new(Arc::new(other), usize::MAX).unwrap();
        let train = |data: &Transitions, name: &str| {
            let out = dir.path().join(method).join(name);
            train_in(&spec, data, &out, Around::default()).unwrap();
            fs::read(out.join("policy.safetensors")).unwrap()
        };
        assert!(train(&data, "a") == train(&other, "b"), "{method}");
    }
}

#[test]
fn every_method_is_trained_and_resumed_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let data = scaled(&data(dir.path()), 3.0, true);
    for method in Method::all() {
        let spec = offline(method.name(), &data);
        let [whole, parts] =
            ["whole", "parts"].map(|name| dir.path().join(method.name()).join(name));
        train_in(&spec, &data, &whole, Around::default()).unwrap();
        let stop = Around {
            stop_after: Some(40),
            ..Around::default()
        };
        let stopped = train_in(&spec, &data, &parts, stop).unwrap_err();
        assert!(matches!(stopped, TrainError::Stopped(40)), "{stopped}");
        train_in(&spec, &data, &parts, Around::default()).unwrap();
        for name in [
            "policy.safetensors",
            "metrics.jsonl",
            "validation.csv",
            "held_out.csv",
        ] {
            let of = |out: &Path| fs::read(out.join(name)).unwrap();
            assert!(of(&whole) == of(&parts), "{name} of {}", method.name());
        }
    }
}

#[test]
fn one_episode_alone_is_not_held_out() {
    let steps = Steps {
        observations: (0..40).map(|x| x as f32 / 20.0).collect(),
        actions: vec![0.5; 20],
        rewards: vec![1.0; 20],
        terminals: vec![false; 20],
        timeouts: vec![false; 20],
    };
    let set = Dataset::in_memory("arm", 2, 1, steps).unwrap();
    let data = Transitions::new(Arc::new(set), usize::MAX).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let record = train_in(&offline("bc", &data), &data, &out, Around::default()).unwrap();
    assert_eq!(record.validation, None);
    for name in ["validation.csv", "held_out.csv", "eval.csv"] {
        assert!(!out.join(name).exists(), "{name}");
    }
}

#[test]
fn a_spec_has_an_environment_or_what_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let neither = RunSpec {
        offline: None,
        ..offline("bc", &data)
    };
    let both = RunSpec {
        env: Some(EnvId::POINT_MASS),
        ..offline("bc", &data)
    };
    let with = |held_out| {
        let mut spec = offline("bc", &data);
        spec.offline.as_mut().unwrap().held_out = held_out;
        spec
    };
    for (spec, fact) in [
        (neither, "both or neither"),
        (both, "both or neither"),
        (with(1.0), "`held_out` is 1"),
        (with(f64::NAN), "`held_out` is NaN"),
    ] {
        let out = dir.path().join("run");
        let error = train_in(&spec, &data, &out, Around::default()).unwrap_err();
        assert!(error.to_string().contains(fact), "{error}");
        assert!(!out.exists());
    }
}

#[test]
fn an_environment_of_other_bounds_refuses_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let usual = data(dir.path());
    for (scale, plays) in [(40.0, false), (0.5, true)] {
        let data = scaled(&usual, scale, true);
        let out = dir.path().join(scale.to_string());
        train_in(&offline("bc", &data), &data, &out, Around::default()).unwrap();
        let file = out.join("policy.safetensors");
        let policy = spar_policy::Policy::load(&file).unwrap();
        assert_eq!(policy.about().unwrap().env, None);
        match policy_file::read(&file, EnvId::POINT_MASS) {
            Ok(_) => assert!(plays),
            Err(error) => {
                let error = error.to_string();
                assert!(!plays && error.contains("lie in [-40, 40]"), "{error}");
            }
        }
    }
}

/// Fields that only runs without an environment have would change the hashes of all others.
#[test]
fn a_run_with_an_environment_is_recorded_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let mut spec = spec(Method::Bc, &data);
    spec.config.anchor.updates = 20;
    train_in(&spec, &data, dir.path(), Around::default()).unwrap();
    let keys = |name: &str| -> Vec<String> {
        let text = fs::read(dir.path().join(name)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    };
    let mut of_spec = vec![
        "suite",
        "preset",
        "task",
        "method",
        "seed",
        "env",
        "dataset",
        "eval_seed",
        "final_episodes",
        "device",
        "config",
    ];
    of_spec.sort_unstable();
    let mut of_record = vec![
        "suite",
        "preset",
        "task",
        "method",
        "seed",
        "env",
        "dataset",
        "returns",
        "eval_seed",
        "updates",
        "anchor_updates",
        "wall_s",
        "commit",
        "mujoco_version",
        "threads",
        "device",
        "command",
        "integrity",
    ];
    of_record.sort_unstable();
    for (name, expected) in [("spec.json", of_spec), ("DONE", of_record)] {
        let mut found = keys(name);
        found.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
}
