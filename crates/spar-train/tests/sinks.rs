//! The numbers of a run while it is under way: the log has them at once, TensorBoard's own
//! reader finds them in the event file, and a resumed run has each of them once.
//!
//! `SPAR_DOORS_PYTHON` names a Python that has `tensorboard`; `cargo xtask test` provides
//! one, and without it the comparison is skipped in words.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{RESULTS, data, same_files, spec, stop, train};
use serde_json::Value;
use spar_train::{Control, Method, TrainError};

mod common;

fn lines(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert!(text.ends_with('\n'));
    let lines = text.lines().skip(1);
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn event_files(out: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_event_file = |path: &PathBuf| path.to_str().unwrap().contains("tfevents");
    entries.filter(is_event_file).collect()
}

/// They were there only after the next checkpoint: up to 5000 updates late.
#[test]
fn a_line_is_in_the_log_before_the_next_update_and_cut_when_it_was_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (data, whole) = (data(dir.path()), dir.path().join("whole"));
    let mut spec = spec(Method::Spar, &data);
    spec.config.checkpoint_every = 450;
    train(&spec, &data, &whole).unwrap();
    let out = dir.path().join("run");
    stop(&spec, &data, &out, 450);
    assert_eq!(lines(&out).len(), 0);
    let updates = Cell::new(450);
    let size = Cell::new(0);
    let seen = || {
        updates.set(updates.get() + 1);
        if updates.get() == 499 {
            size.set(fs::metadata(&event_files(&out)[0]).unwrap().len());
        }
        if updates.get() == 500 {
            // Of update 500 itself, and no checkpoint has it.
            assert_eq!(lines(&out).last().unwrap()["update"], 500);
            assert!(fs::metadata(&event_files(&out)[0]).unwrap().len() > size.get());
        }
        false
    };
    let control = Control {
        anchor: None,
        commit: "test".into(),
        command: "test".into(),
        stop_after: Some(520),
        every: None,
        stop: &seen,
        report: &mut |_| Ok(()),
    };
    let kept = fs::read(out.join("checkpoints/latest.safetensors")).unwrap();
    let stopped = spar_train::run(&spec, &data, &out, control).unwrap_err();
    assert!(matches!(stopped, TrainError::Stopped(520)), "{stopped}");
    assert_eq!(updates.get(), 519);
    // As if it had been killed there: what came after the checkpoint is measured again.
    fs::write(out.join("checkpoints/latest.safetensors"), kept).unwrap();
    let torn = fs::read_to_string(out.join("metrics.jsonl")).unwrap() + "{\"phase\":\"anc";
    fs::write(out.join("metrics.jsonl"), torn).unwrap();
    train(&spec, &data, &out).unwrap();
    same_files(&RESULTS, &whole, &out);
    assert_eq!(event_files(&out).len(), 1);
}

#[test]
fn tensorboard_s_reader_finds_every_number_of_a_resumed_run_once() {
    let Some(python) = std::env::var_os("SPAR_DOORS_PYTHON") else {
        eprintln!(
            "skipped: SPAR_DOORS_PYTHON names no Python with tensorboard; use cargo xtask test"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let spec = spec(Method::Spar, &data);
    let out = dir.path().join("runs/one");
    for at in [555, 220, 510] {
        stop(&spec, &data, &out, at);
    }
    let record = train(&spec, &data, &out).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts/event_files.py");
    let output = Command::new(python).arg(script).arg(&out).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["runs"], serde_json::json!(["one"]));

    let mut expected: BTreeMap<String, Vec<(u64, f64)>> = BTreeMap::new();
    for line in lines(&out) {
        let phase = line["phase"].as_str().unwrap();
        let update = line["update"].as_u64().unwrap();
        for (name, value) in line.as_object().unwrap() {
            if let (Some(value), true) = (value.as_f64(), name != "update") {
                let points = expected.entry(format!("{phase}/{name}")).or_default();
                points.push((update, value));
            }
        }
    }
    let curve = fs::read_to_string(out.join("eval.csv")).unwrap();
    let mut curve = curve.lines();
    let column = |name| {
        curve
            .clone()
            .next()
            .unwrap()
            .split(',')
            .position(|c| c == name)
    };
    let (update, mean) = (column("update").unwrap(), column("mean_return").unwrap());
    curve.next();
    let curve: Vec<(u64, f64)> = curve
        .map(|row| row.split(',').collect::<Vec<_>>())
        .map(|row| (row[update].parse().unwrap(), row[mean].parse().unwrap()))
        .collect();
    assert_eq!(curve.len(), 4);
    expected.insert("eval/mean_return".into(), curve);
    let mean = record.returns.iter().sum::<f64>() / record.returns.len() as f64;
    expected.insert("final/mean_return".into(), vec![(700, mean)]);
    assert!(expected.len() > 8 && expected["spar/q_loss"].len() == 2);

    let scalars = found["scalars"].as_object().unwrap();
    for (tag, points) in &expected {
        let read = scalars
            .get(tag)
            .unwrap_or_else(|| panic!("no {tag} in {scalars:?}"));
        let read: Vec<(u64, f64, f64)> = serde_json::from_value(read.clone()).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
        let same = |(r, p): (&(u64, f64, f64), &(u64, f64))| r.0 == p.0 && close(r.1, p.1);
        assert_eq!(read.len(), points.len(), "{tag}: {read:?}");
        assert!(
            read.iter().zip(points).all(same),
            "{tag}: {read:?}, not {points:?}"
        );
        assert!(read.iter().all(|(_, _, at)| *at > 1.6e9), "{tag}: {read:?}");
    }
    // And no other but the pace.
    for tag in scalars.keys().filter(|tag| !expected.contains_key(*tag)) {
        let known = tag.ends_with("/updates_per_s") || tag.ends_with("normalized_score");
        assert!(known, "{tag}");
    }
    assert!(scalars.contains_key("anchor/updates_per_s"));
    let hparams = &found["hparams"];
    assert_eq!(hparams["method"], "spar");
    assert_eq!(hparams["seed"], 3.0);
    assert_eq!(hparams["config.critic.expectile"], 0.7);
    assert_eq!(hparams["config.anchor.hidden"], "[16,16]");
    assert_eq!(found["status"], 1);
}
