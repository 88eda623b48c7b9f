//! Fine-tuning online: from an offline run's checkpoint, to the bit, and better than it was.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use common::{RESULTS, data_with, same_files, spec, train};
use serde_json::Value;
use spar_core::RunRecord;
use spar_data::Transitions;
use spar_train::{Asked, Control, Method, OfflineRun, RunSpec, TrainError, finetune};

mod common;

fn data(dir: &Path) -> Transitions {
    data_with(dir, |r| r as f32)
}

/// A small offline run of `method`.
fn offline(method: &str, settings: &[(&str, toml::Value)], data: &Transitions) -> RunSpec {
    let method: Method = method.parse().unwrap();
    let mut spec = spec(method, data);
    spec.config.updates = 300;
    spec.config.anchor.updates = 200;
    if matches!(method, Method::Baseline(_)) {
        let mut all: Vec<(String, toml::Value)> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        all.push(("hidden".to_owned(), vec![16, 16].into()));
        all.push(("data.batch_size".to_owned(), 16.into()));
        spec.config = spec.config.with(method, &all).unwrap();
    }
    spec
}

fn asked(steps: u64) -> Asked {
    Asked {
        steps,
        start_steps: Some(40),
        ..Asked::default()
    }
}

/// Fine-tunes the run in `from` as `asked`, stopping after so many steps.
fn tune(
    from: &Path,
    asked: &Asked,
    data: &Transitions,
    out: &Path,
    stop_after: Option<u64>,
) -> Result<RunRecord, TrainError> {
    let from = OfflineRun::read(from)?;
    let mut spec = from.finetuned(asked)?;
    (spec.config.eval_every, spec.config.checkpoint_every) = (90, 70);
    let control = Control {
        anchor: None,
        commit: "test".into(),
        command: "test".into(),
        stop_after,
        every: None,
        stop: &|| false,
        report: &mut |_| Ok(()),
    };
    finetune(&spec, &from, data, out, control)
}

const METHODS: [(&str, &[(&str, bool)]); 5] = [
    ("spar", &[]),
    ("td3bc", &[]),
    ("iql", &[]),
    ("cql", &[]),
    ("cql", &[("calibrated", true)]),
];

#[test]
fn a_fine_tuned_run_stopped_anywhere_ends_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for (place, (method, settings)) in METHODS.into_iter().enumerate() {
        let at = |name: &str| dir.path().join(format!("{method}-{place}-{name}"));
        let [run, whole, parts] = ["offline", "whole", "parts"].map(at);
        let settings: Vec<_> = settings.iter().map(|(k, v)| (*k, (*v).into())).collect();
        train(&offline(method, &settings, &data), &data, &run).unwrap();
        let asked = asked(230);
        let record = tune(&run, &asked, &data, &whole, None).unwrap();
        // Before the first update, within an episode, off the beat of checkpoints.
        for stop in [17, 61, 203] {
            let error = tune(&run, &asked, &data, &parts, Some(stop)).unwrap_err();
            assert!(
                matches!(error, TrainError::Stopped(n) if n == stop),
                "{error}"
            );
        }
        tune(&run, &asked, &data, &parts, None).unwrap();
        same_files(&RESULTS, &whole, &parts);
        // A longer one begins as a shorter one.
        let grown = at("grown");
        let short = Asked {
            steps: 120,
            ..asked.clone()
        };
        tune(&run, &short, &data, &grown, None).unwrap();
        tune(&run, &asked, &data, &grown, None).unwrap();
        same_files(&RESULTS, &whole, &grown);

        let finetuned = record.finetuned.unwrap();
        assert_eq!((finetuned.steps, finetuned.updates), (230, 190));
        assert_eq!(record.method, format!("{method}-finetuned"));
        let before: Value = read_json(&run.join("DONE"));
        let before: Vec<f64> = serde_json::from_value(before["returns"].clone()).unwrap();
        assert_eq!(finetuned.offline_returns, before, "{method}");
        let policy = |folder: &Path| fs::read(folder.join("policy.safetensors")).unwrap();
        assert_ne!(policy(&run), policy(&whole));
    }
}

fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn the_curve_begins_with_the_offline_policy_and_counts_steps() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let [run, out] = ["offline", "online"].map(|name| dir.path().join(name));
    train(&offline("iql", &[], &data), &data, &run).unwrap();
    let record = tune(&run, &asked(230), &data, &out, None).unwrap();
    let text = fs::read_to_string(out.join("eval.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("step,episodes,mean_return,normalized_score")
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let steps: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(steps, ["0", "90", "180", "230"]);
    let offline = &record.finetuned.as_ref().unwrap().offline_returns;
    let mean = |returns: &[f64]| returns.iter().sum::<f64>() / returns.len() as f64;
    let of_row = |row: &[&str]| row[2].parse::<f64>().unwrap();
    assert_eq!(of_row(&rows[0]), mean(offline));
    assert_eq!(of_row(&rows[3]), mean(&record.returns));
    let log = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["phase"], &last["step"]),
        (&"online".into(), &230.into())
    );
    assert!(
        last["critic_loss"].is_number() && last["episodes"] == 2.0,
        "{last}"
    );
    assert!(
        last["last_return"].is_number() && last["update"].is_null(),
        "{last}"
    );
}

/// Data of a policy that pushes at random: what is learned of them alone is poor, and what
/// the policy finds out by itself is better.
#[test]
fn the_point_mass_improves() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let mean = |returns: &[f64]| returns.iter().sum::<f64>() / returns.len() as f64;
    for (method, settings) in [("td3bc", vec![("alpha", 10.0.into())]), ("spar", vec![])] {
        let [run, out] =
            ["offline", "online"].map(|name| dir.path().join(format!("{method}-{name}")));
        let mut offline = offline(method, &settings, &data);
        offline.config.updates = 40;
        offline.config.anchor.updates = 40;
        offline.final_episodes = 20;
        train(&offline, &data, &run).unwrap();
        let asked = Asked {
            start_steps: Some(100),
            updates_per_step: Some(2),
            ..asked(3000)
        };
        let record = tune(&run, &asked, &data, &out, None).unwrap();
        let before = mean(&record.finetuned.as_ref().unwrap().offline_returns);
        let after = mean(&record.returns);
        println!("{method}: {before} {after}");
        assert!(after > before + 3.0, "{method}: {before} {after}");
    }
}

#[test]
fn what_cannot_be_fine_tuned_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let at = |name: &str| dir.path().join(name);
    for method in ["bc", "awac"] {
        let run = at(method);
        let mut offline = offline(method, &[], &data);
        (offline.config.anchor.updates, offline.config.updates) = (5, 5);
        train(&offline, &data, &run).unwrap();
        let error = tune(&run, &asked(100), &data, &at("none"), None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("method {method} cannot")), "{text}");
        assert!(text.contains("spar, td3bc, iql, cql"), "{text}");
    }
    let run = at("iql");
    train(&offline("iql", &[], &data), &data, &run).unwrap();
    for (asked, fact) in [
        (
            Asked {
                noise: Some(0.1),
                ..asked(100)
            },
            "iql draws its actions itself",
        ),
        (
            asked(40),
            "`start_steps` is 40, expected a whole number from 0 to 39",
        ),
        (
            Asked {
                offline_fraction: Some(1.5),
                ..asked(100)
            },
            "`offline_fraction` is 1.5",
        ),
        (
            Asked {
                updates_per_step: Some(0),
                ..asked(100)
            },
            "`updates_per_step` is 0",
        ),
        (
            Asked {
                settings: vec![("nothing".to_owned(), 1.into())],
                ..asked(100)
            },
            "nothing",
        ),
    ] {
        let error = tune(&run, &asked, &data, &at("none"), None).unwrap_err();
        assert!(error.to_string().contains(fact), "{error}");
    }
    assert!(!at("none").exists());

    // A policy file by itself has no critics; one in a run's folder stands for the run.
    let alone = at("policy.safetensors");
    fs::copy(run.join("policy.safetensors"), &alone).unwrap();
    let error = OfflineRun::read(&alone).unwrap_err().to_string();
    assert!(error.contains("critics and optimizers"), "{error}");
    let by_file = OfflineRun::read(&run.join("policy.safetensors")).unwrap();
    assert_eq!(by_file.sha256(), OfflineRun::read(&run).unwrap().sha256());

    // Not from another checkpoint, and not twice.
    let out = at("online");
    tune(&run, &asked(100), &data, &out, None).unwrap();
    let error = OfflineRun::read(&out).unwrap_err().to_string();
    assert!(error.contains("was fine-tuned"), "{error}");
    let other = at("other");
    let mut shorter = offline("iql", &[], &data);
    shorter.config.updates = 299;
    train(&shorter, &data, &other).unwrap();
    let error = tune(&other, &asked(100), &data, &out, None).unwrap_err();
    assert!(matches!(error, TrainError::OtherRun { .. }), "{error}");
    let error = tune(&run, &asked(90), &data, &out, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("already trained for 100 steps"), "{error}");
}

/// The rate of IQL's actor has fallen to zero at the end of a run as long as its schedule:
/// online it is what it was at the start.
#[test]
fn schedules_of_the_offline_run_do_not_last() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for (method, setting) in [("iql", "decay_updates"), ("cql", "bc_updates")] {
        let [run, out] =
            ["offline", "online"].map(|name| dir.path().join(format!("{method}-{name}")));
        train(
            &offline(method, &[(setting, 300.into())], &data),
            &data,
            &run,
        )
        .unwrap();
        tune(&run, &asked(100), &data, &out, None).unwrap();
        let spec = read_json(&out.join("spec.json"));
        assert_ne!(spec["config"]["method"][setting], 300, "{spec}");
        let actor = |folder: &Path| {
            let file = folder.join("policy.safetensors");
            let bytes = fs::read(file).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let weight = tensors.tensor("layers.0.weight").unwrap();
            weight.data().to_vec()
        };
        assert_ne!(actor(&run), actor(&out), "{method}");
    }
}
