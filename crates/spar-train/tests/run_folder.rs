//! Whose a run folder is, and what becomes of it when it is changed, removed or left by a
//! kill: a run is resumed exactly, or refused in one line.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use common::{Around, RESULTS, data, same_files, spec, stop, train, train_in};
use serde_json::Value;
use spar_core::{FinishedRun, RunRecord, identity::HISTORIC};
use spar_train::{Control, Method, RunSpec, TrainError};

mod common;

const CHECKPOINT: &str = "checkpoints/latest.safetensors";

/// A tiny clone, long enough to be stopped.
fn short(data: &spar_data::Transitions) -> RunSpec {
    let mut spec = spec(Method::Bc, data);
    (spec.config.anchor.updates, spec.config.anchor.hidden) = (300, vec![4]);
    spec
}

#[track_caller]
fn refused(result: Result<RunRecord, TrainError>, parts: &[&str]) -> TrainError {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    error
}

/// Seed 77 resumed the checkpoint of seed 9, and `DONE` said 77.
#[test]
fn a_folder_without_its_spec_is_nobody_s() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let mut spec = short(&data);
    spec.seed = 9;
    stop(&spec, &data, &out, 200);
    fs::remove_file(out.join("spec.json")).unwrap();
    let kept = fs::read(out.join(CHECKPOINT)).unwrap();
    for seed in [77, 9] {
        spec.seed = seed;
        let error = refused(train(&spec, &data, &out), &["run", "no spec.json", "--out"]);
        assert!(matches!(error, TrainError::Nobodys { .. }), "{error}");
    }
    assert_eq!(fs::read(out.join(CHECKPOINT)).unwrap(), kept);
    assert!(!out.join("spec.json").exists() && !out.join("DONE").exists());
    // What a supervisor leaves there before the run begins is no run.
    let fresh = dir.path().join("fresh");
    fs::create_dir(&fresh).unwrap();
    fs::write(fresh.join("log.txt"), "started").unwrap();
    train(&spec, &data, &fresh).unwrap();
}

#[test]
fn a_record_without_its_spec_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let spec = short(&data);
    train(&spec, &data, &out).unwrap();
    fs::remove_file(out.join("spec.json")).unwrap();
    refused(train(&spec, &data, &out), &["DONE", "no spec.json"]);
    let error = FinishedRun::read(&out).unwrap_err().to_string();
    assert!(error.contains("no spec.json beside it"), "{error}");
}

#[test]
fn a_checkpoint_of_another_run_is_refused_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let [mine, other] = ["mine", "other"].map(|n| dir.path().join(n));
    let spec = short(&data);
    stop(&spec, &data, &mine, 200);
    type Change = fn(&mut RunSpec);
    let cases: [(&str, Change); 3] = [
        ("seed", |s| s.seed = 77),
        ("dataset.sha256", |s| s.dataset.sha256 = "0".repeat(64)),
        ("config.anchor.lr", |s| s.config.anchor.lr = 1e-2),
    ];
    for (field, change) in cases {
        let mut theirs = spec.clone();
        change(&mut theirs);
        stop(&theirs, &data, &other, 100);
        fs::copy(other.join(CHECKPOINT), mine.join(CHECKPOINT)).unwrap();
        fs::remove_dir_all(&other).unwrap();
        let named = format!("`{field}`");
        refused(train(&spec, &data, &mine), &[CHECKPOINT, &named]);
    }
}

#[test]
fn a_record_of_another_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let [mine, other] = ["mine", "other"].map(|n| dir.path().join(n));
    let spec = short(&data);
    let mut theirs = spec.clone();
    theirs.seed = 77;
    train(&spec, &data, &mine).unwrap();
    train(&theirs, &data, &other).unwrap();
    fs::copy(other.join("DONE"), mine.join("DONE")).unwrap();
    refused(
        train(&spec, &data, &mine),
        &["DONE", "seed is 77, but 3 in the spec.json"],
    );
}

/// Identity is in every file that a run leaves, and is the same in all of them.
#[test]
fn every_file_says_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let spec = short(&data);
    let record = train(&spec, &data, &out).unwrap();
    let stamp = spec.identity().unwrap().stamp();
    assert_eq!((stamp.seed, &stamp.data_sha256), (3, &spec.dataset.sha256));
    let integrity = record.integrity.clone().unwrap();
    assert_eq!(integrity.run, stamp);
    let log = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let head: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(head["run"], serde_json::to_value(&stamp).unwrap());
    let state = spar_nn::State::read(&out.join(CHECKPOINT)).unwrap();
    let kept: RunSpec = serde_json::from_str(&state.metadata["spec"]).unwrap();
    // Of another method's settings a spec holds none.
    assert_eq!(kept.identity().unwrap(), spec.identity().unwrap());
    let files: Vec<&str> = integrity.files.keys().map(String::as_str).collect();
    let mut expected = RESULTS;
    expected.sort_unstable();
    assert_eq!(files, expected);
    for (name, hash) in &integrity.files {
        let bytes = fs::read(out.join(name)).unwrap();
        assert_eq!(*hash, spar_core::sha256_hex(&bytes), "{name}");
    }
    assert_eq!(FinishedRun::read(&out).unwrap().unwrap().record, record);
}

/// Log and curve come from the checkpoint: what has become of the files is no matter.
#[test]
fn a_changed_log_or_curve_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let spec = spec(Method::Spar, &data);
    let whole = dir.path().join("whole");
    let record = train(&spec, &data, &whole).unwrap();
    let spoil: [fn(&Path); 3] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, "").unwrap(),
        |file| {
            let text = fs::read_to_string(file).unwrap();
            fs::write(file, text.replace('1', "2")).unwrap();
        },
    ];
    for (case, spoil) in spoil.into_iter().enumerate() {
        let out = dir.path().join(format!("changed-{case}"));
        stop(&spec, &data, &out, 550);
        stop(&spec, &data, &out, 650);
        for name in ["metrics.jsonl", "eval.csv"] {
            spoil(&out.join(name));
        }
        train(&spec, &data, &out).unwrap();
        same_files(&RESULTS, &whole, &out);
        // Of a finished run as well.
        for name in RESULTS.into_iter().skip(usize::from(case == 2)) {
            spoil(&out.join(name));
            let again = train(&spec, &data, &out).unwrap();
            assert_eq!(again.returns, record.returns, "{name}");
            same_files(&RESULTS, &whole, &out);
        }
    }
    // Without the checkpoint nobody can write them again.
    let out = dir.path().join("changed-0");
    fs::remove_file(out.join(CHECKPOINT)).unwrap();
    fs::write(out.join("eval.csv"), "").unwrap();
    refused(
        train(&spec, &data, &out),
        &["eval.csv", "its sha256 is", "the run wrote"],
    );
}

/// A run made its folder again after it had been removed, without spec and lock.
#[test]
fn a_run_whose_folder_vanishes_stops_and_does_not_make_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let spec = short(&data);
    for replaced in [false, true] {
        let out = dir.path().join(format!("run-{replaced}"));
        let updates = Cell::new(0);
        let at_update = |n: u64, then: &dyn Fn()| {
            updates.set(updates.get() + 1);
            if updates.get() == n {
                then();
            }
            false
        };
        let remove = || {
            fs::remove_dir_all(&out).unwrap();
            if replaced {
                fs::create_dir(&out).unwrap();
                fs::write(out.join(".lock"), "").unwrap();
            }
        };
        let control = Control {
            anchor: None,
            commit: "test".into(),
            command: "test".into(),
            stop_after: None,
            every: None,
            stop: &|| at_update(100, &remove),
            report: &mut |_| Ok(()),
        };
        let error = refused(
            spar_train::run(&spec, &data, &out, control),
            &["run-", "removed or replaced", "the same command"],
        );
        assert!(matches!(error, TrainError::Vanished(_)), "{error}");
        // It got as far as its next checkpoint.
        assert_eq!(updates.get(), 149);
        let left: Vec<_> = fs::read_dir(&out)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, if replaced { vec![".lock"] } else { vec![] });
    }
}

/// Asked to stop, a run writes its checkpoint first: nothing is lost.
#[test]
fn a_run_that_is_asked_to_stop_writes_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let spec = spec(Method::Spar, &data);
    let [whole, parts] = ["whole", "parts"].map(|n| dir.path().join(n));
    train(&spec, &data, &whole).unwrap();
    let mut stopped = Vec::new();
    // In the anchor's phase, in SPAR's, and in the final evaluation.
    for at in [70, 600, 629] {
        let seen = Cell::new(0);
        let control = Control {
            anchor: None,
            commit: "test".into(),
            command: "test".into(),
            stop_after: None,
            every: None,
            stop: &|| {
                seen.set(seen.get() + 1);
                seen.get() >= at
            },
            report: &mut |_| Ok(()),
        };
        match spar_train::run(&spec, &data, &parts, control) {
            Err(TrainError::Stopped(update)) => stopped.push(update),
            other => panic!("{other:?}"),
        }
        assert!(!parts.join("DONE").exists());
    }
    // One update after it was asked, 71 behind it; 529 more of the anchor, 72 of SPAR; the
    // 628 that are left, and then an evaluation.
    assert_eq!(stopped[0], 71);
    assert_eq!(stopped[1], 600 - (600 - 71) + 1);
    assert_eq!(stopped[2], 700);
    train(&spec, &data, &parts).unwrap();
    same_files(&RESULTS, &whole, &parts);
}

#[test]
fn what_a_kill_left_half_written_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let spec = short(&data);
    stop(&spec, &data, &out, 100);
    for name in [".partial-aB12cd", "checkpoints/.partial-xyzXYZ"] {
        fs::write(out.join(name), "half").unwrap();
    }
    train(&spec, &data, &out).unwrap();
    let mut names = Vec::new();
    let mut folders = vec![out.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(
        names.iter().all(|n| !n.starts_with(".partial-")),
        "{names:?}"
    );
}

/// The bytes of the data decide, not what the file is called.
#[test]
fn renamed_data_are_the_same_data() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let whole = dir.path().join("whole");
    let spec = short(&data);
    train(&spec, &data, &whole).unwrap();
    stop(&spec, &data, &out, 200);
    let mut renamed = spec.clone();
    renamed.dataset.id = "renamed.hdf5".into();
    renamed.task = "renamed.hdf5".into();
    let record = train(&renamed, &data, &out).unwrap();
    assert_eq!(record.task, "renamed.hdf5");
    same_files(&["metrics.jsonl", "eval.csv", "returns.csv"], &whole, &out);
    // It is finished for both names.
    assert_eq!(train(&spec, &data, &out).unwrap(), record);
}

#[test]
fn a_run_that_is_never_evaluated_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let mut spec = short(&data);
    spec.final_episodes = 0;
    refused(
        train(&spec, &data, &dir.path().join("run")),
        &["`final_episodes` is 0, expected at least 1"],
    );
}

/// A finished run from before records had hashes is still one; its checkpoint is not
/// resumed.
#[test]
fn a_run_of_the_former_format_is_read_and_not_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let spec = short(&data);
    let mut record = train(&spec, &data, &out).unwrap();
    record.integrity = None;
    fs::write(out.join("DONE"), serde_json::to_string(&record).unwrap()).unwrap();
    let old = [("updates.anchor", 300u64)].map(|(name, count)| (name, count.to_le_bytes()));
    let views = old.iter().map(|(name, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::U64, vec![1], bytes);
        (*name, view.unwrap())
    });
    let text = BTreeMap::from([("curve", "[]")]);
    let metadata = [("spar".to_owned(), serde_json::to_string(&text).unwrap())];
    let bytes = safetensors::serialize(views, Some(metadata.into())).unwrap();
    fs::write(out.join(CHECKPOINT), bytes).unwrap();
    assert_eq!(train(&spec, &data, &out).unwrap(), record);
    let mut longer = spec.clone();
    longer.config.anchor.updates = 400;
    refused(
        train(&longer, &data, &out),
        &[
            CHECKPOINT,
            "format 1, expected 2",
            "an older version of spar",
        ],
    );
    let around = Around {
        anchor: Some(&out),
        ..Around::default()
    };
    let mut spar = longer.clone();
    (spar.method, spar.config.anchor.updates) = (Method::Spar, 300);
    refused(
        train_in(&spar, &data, &dir.path().join("spar"), around),
        &["format 1"],
    );
}

/// The list of fields that old records lack is complete, and each value there is the one
/// that a spec without the field is read with.
#[test]
fn every_field_that_a_spec_may_lack_has_its_value_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let spec = spec(Method::Spar, &data);
    // The name of a variant, another method's settings, the environment where there is
    // none: absent is a value of theirs.
    let beyond = ["variant", "config.method", "env"];
    let mut all = Vec::new();
    paths("", &every_field(&spec), &mut all);
    let mut optional = Vec::new();
    for path in all {
        let mut without = every_field(&spec);
        let pointer = format!("/{}", path.replace('.', "/"));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = match parent {
            "" => &mut without,
            parent => without.pointer_mut(parent).unwrap(),
        };
        parent.as_object_mut().unwrap().remove(name).unwrap();
        let Ok(read) = serde_json::from_value::<RunSpec>(without) else {
            continue;
        };
        if beyond.contains(&path.as_str()) {
            continue;
        }
        let value = every_field(&read).pointer(&pointer).cloned();
        let known = HISTORIC.iter().find(|(field, _)| *field == path);
        let known = known.unwrap_or_else(|| panic!("`{path}` is missing in HISTORIC"));
        let expected: Value = serde_json::from_str(known.1).unwrap();
        assert_eq!(value, Some(expected), "{path}");
        optional.push(path);
    }
    assert_eq!(optional.len(), HISTORIC.len(), "{optional:?}");
}

/// `spec` as JSON, with the fields that it leaves out where they say nothing.
fn every_field(spec: &RunSpec) -> Value {
    let mut value = serde_json::to_value(spec).unwrap();
    value["config"]["rectify"]["ablation"] =
        serde_json::to_value(spec.config.rectify.ablation).unwrap();
    value
}

fn paths(prefix: &str, value: &Value, out: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        paths(&path, value, out);
        out.push(path);
    }
}

/// A run's spec says what reached it, and is read as what it was.
#[test]
fn a_spec_holds_only_the_settings_that_reach_its_method() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let fields = |method: &str| {
        let method: Method = method.parse().unwrap();
        let mut spec = spec(method, &data);
        let own = spar_train::TrainConfig::defaults_of(method).unwrap().method;
        spec.config.method = own;
        let text = serde_json::to_string(&spec).unwrap();
        let read: RunSpec = serde_json::from_str(&text).unwrap();
        let (here, there) = (spec.identity().unwrap(), read.identity().unwrap());
        assert_eq!(here.sha256(), there.sha256(), "{text}");
        // A record that holds everything, as they did, is of the same run.
        let mut whole: Value = serde_json::from_str(&text).unwrap();
        let of_spar = serde_json::to_string(&self::spec(Method::Spar, &data).config).unwrap();
        let of_spar: Value = serde_json::from_str(&of_spar).unwrap();
        for (name, value) in of_spar.as_object().unwrap() {
            let config = whole["config"].as_object_mut().unwrap();
            config.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let old: RunSpec = serde_json::from_value(whole).unwrap();
        assert_eq!(old.identity().unwrap().sha256(), here.sha256(), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        let config = value["config"].as_object().unwrap();
        let reached = |name: &&str| config.contains_key(*name);
        [
            "anchor",
            "batch_size",
            "reward_range",
            "critic",
            "rectify",
            "detached_precision",
            "method",
            "updates",
            "eval_every",
        ]
        .into_iter()
        .filter(reached)
        .collect::<Vec<_>>()
        .join(" ")
    };
    assert_eq!(fields("bc"), "anchor batch_size eval_every");
    assert_eq!(
        fields("spar"),
        "anchor batch_size reward_range critic rectify detached_precision updates eval_every"
    );
    assert_eq!(fields("iql"), "method updates eval_every");
    assert_eq!(
        fields("rpl"),
        "anchor batch_size reward_range method updates eval_every"
    );
    // What reaches it is not guessed.
    let text = serde_json::to_string(&spec(Method::Spar, &data)).unwrap();
    let mut without: Value = serde_json::from_str(&text).unwrap();
    without["config"]
        .as_object_mut()
        .unwrap()
        .remove("critic")
        .unwrap();
    let error = serde_json::from_value::<RunSpec>(without)
        .unwrap_err()
        .to_string();
    assert!(error.contains("critic"), "{error}");
}
