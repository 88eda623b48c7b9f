//! What stops a run, and what it says: one line, naming what is wrong.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs::{self, File},
    io,
};

use common::{Around, RESULTS, data, data_with, same_files, spec, stop, train, train_in};
use spar_train::{Control, Method, Precision, RunSpec, TrainError};

mod common;

#[track_caller]
fn one_line(error: &TrainError, parts: &[&str]) {
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    type Spoil = fn(&mut RunSpec);
    let cases: [(&str, Method, &str, Spoil); 3] = [
        ("anchor", Method::Bc, "anchor", |s| {
            s.config.anchor.lr = 1e37
        }),
        ("critic", Method::Spar, "spar", |s| {
            s.config.critic.lr = 1e37
        }),
        ("rectify", Method::Spar, "spar", |s| {
            s.config.rectify.lr = 1e37
        }),
    ];
    for (name, method, phase, spoil) in cases {
        let out = dir.path().join(name);
        let mut spec = spec(method, &data);
        spoil(&mut spec);
        let error = train(&spec, &data, &out).unwrap_err();
        let TrainError::NonFinite { update, .. } = &error else {
            panic!("{name}: {error}");
        };
        assert!(*update < 20, "{name}: only seen in update {update}");
        one_line(&error, &[phase, "not finite", "diagnostic.json"]);
        assert!(!out.join("DONE").exists() && !out.join("policy.safetensors").exists());

        let text = fs::read_to_string(out.join("diagnostic.json")).unwrap();
        let diagnostic: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(diagnostic["phase"], phase);
        assert_eq!(diagnostic["update"], *update);
        assert_eq!(diagnostic["spec"]["seed"], 3);
        let range = &diagnostic["batch_range"]["actions"];
        assert!(range[0].as_f64().unwrap() >= -1.0 && range[1].as_f64().unwrap() <= 1.0);

        // The folder is whole: the same run stops at the same place.
        let again = train(&spec, &data, &out).unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
    }
}

/// Every return is the same, so that nothing scales these rewards down.
#[test]
fn rewards_beyond_what_a_loss_can_hold_stop_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = data_with(dir.path(), |_| 1e38);
    let out = dir.path().join("run");
    let error = train(&spec(Method::Spar, &data), &data, &out).unwrap_err();
    assert!(
        matches!(
            error,
            TrainError::NonFinite {
                phase: "spar",
                update: 1,
                ..
            }
        ),
        "{error}"
    );
    let text = fs::read_to_string(out.join("diagnostic.json")).unwrap();
    let diagnostic: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(diagnostic["reward_scale"], 1.0);
    assert!(diagnostic["batch_range"]["rewards"][1].as_f64().unwrap() > 9e37);
    assert!(diagnostic["metrics"]["q_loss"].is_null());
}

#[test]
fn a_corrupt_checkpoint_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let spec = spec(Method::Spar, &data);
    stop(&spec, &data, &out, 200);
    let file = out.join("checkpoints/latest.safetensors");
    let good = fs::read(&file).unwrap();
    for bytes in [&good[..good.len() - 4], &good[..100], b""] {
        fs::write(&file, bytes).unwrap();
        let error = train(&spec, &data, &out).unwrap_err();
        one_line(&error, &["latest.safetensors", "not a valid checkpoint"]);
    }
    fs::remove_file(&file).unwrap();
    let record = train(&spec, &data, &out).unwrap();
    assert_eq!(record.updates, 700, "without it the run starts again");

    for (name, bytes) in [("DONE", "{"), ("spec.json", "[]")] {
        let kept = fs::read(out.join(name)).unwrap();
        fs::write(out.join(name), bytes).unwrap();
        one_line(
            &train(&spec, &data, &out).unwrap_err(),
            &[name, "remove the run's folder"],
        );
        fs::write(out.join(name), kept).unwrap();
    }
}

#[test]
fn a_folder_of_another_run_is_refused_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let first = spec(Method::Spar, &data);
    stop(&first, &data, &out, 100);
    let before = fs::read(out.join("spec.json")).unwrap();
    type Change = fn(&mut RunSpec);
    let cases: [(&str, Change); 9] = [
        ("seed", |s| s.seed = 4),
        ("method", |s| s.method = Method::Bc),
        ("dataset.sha256", |s| s.dataset.sha256 = "0".into()),
        ("config.batch_size", |s| s.config.batch_size = 17),
        ("config.critic.hidden", |s| {
            s.config.critic.hidden = vec![16]
        }),
        ("config.rectify.temperature", |s| {
            s.config.rectify.temperature = 0.5
        }),
        ("config.anchor.updates", |s| s.config.anchor.updates = 601),
        ("config.detached_precision", |s| {
            s.config.detached_precision = Precision::Bf16
        }),
        ("eval_seed", |s| s.eval_seed = 43),
    ];
    for (field, change) in cases {
        let mut other = first.clone();
        change(&mut other);
        let error = train(&other, &data, &out).unwrap_err();
        assert!(matches!(error, TrainError::OtherRun { .. }), "{error}");
        one_line(&error, &[&format!("`{field}`"), "--out"]);
        let named = &other.differences(&first).unwrap()[0];
        assert_eq!(named.field, field);
        assert_ne!(named.there, named.here);
    }
    assert_eq!(fs::read(out.join("spec.json")).unwrap(), before);

    // How long a run is and how it is judged do not make it another one.
    let mut longer = first.clone();
    (longer.config.updates, longer.final_episodes) = (5000, 1);
    assert_eq!(longer.differences(&first).unwrap(), []);
    assert_eq!(first.differences(&first).unwrap(), []);
    let bc = spec(Method::Bc, &data);
    let mut longer = bc.clone();
    (longer.config.updates, longer.config.anchor.updates) = (1, 5000);
    assert_eq!(longer.differences(&bc).unwrap(), []);
    // Nothing beyond the anchor makes its run another one.
    let mut beyond = bc.clone();
    beyond.config.critic.tau = 0.5;
    beyond.config.rectify.w_fit = 3.0;
    beyond.config.detached_precision = Precision::Bf16;
    assert_eq!(beyond.differences(&bc).unwrap(), []);
}

/// Its record would say fewer updates than its policy had.
#[test]
fn a_run_is_not_made_shorter() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    for method in [Method::Bc, Method::Spar] {
        let out = dir.path().join(method.name());
        let long = spec(method, &data);
        let record = train(&long, &data, &out).unwrap();
        let mut short = long.clone();
        (short.config.updates, short.config.anchor.updates) = match method {
            Method::Bc => (700, 100),
            _ => (100, 600),
        };
        let error = train(&short, &data, &out).unwrap_err();
        one_line(&error, &["trained for", "the 100 asked for"]);
        assert_eq!(
            train(&long, &data, &out).unwrap(),
            record,
            "it is still whole"
        );
    }
}

#[test]
fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("run"));
    let spec = spec(Method::Bc, &data);
    fs::create_dir(&out).unwrap();
    let other = File::create(out.join(".lock")).unwrap();
    other.lock().unwrap();
    let error = train(&spec, &data, &out).unwrap_err();
    assert!(matches!(error, TrainError::Busy(_)), "{error}");
    one_line(&error, &["run", "in use"]);
    other.unlock().unwrap();
    train(&spec, &data, &out).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    fs::write(dir.path().join("file"), b"").unwrap();
    let error = train(
        &spec(Method::Bc, &data),
        &data,
        &dir.path().join("file/run"),
    )
    .unwrap_err();
    one_line(&error, &["--out", "file is a file"]);
}

#[test]
fn an_anchor_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let bc = dir.path().join("bc");
    let spar = spec(Method::Spar, &data);
    let with = |spec: &RunSpec, out: &str, anchor: &std::path::Path| {
        let around = Around {
            anchor: Some(anchor),
            ..Around::default()
        };
        train_in(spec, &data, &dir.path().join(out), around).unwrap_err()
    };
    let clone = spec(Method::Bc, &data);
    stop(&clone, &data, &bc, 100);
    one_line(&with(&spar, "a", &bc), &["bc", "not finished"]);
    train(&clone, &data, &bc).unwrap();
    let mut other = spar.clone();
    other.seed = 9;
    one_line(&with(&other, "b", &bc), &["bc", "seed"]);
    let mut wider = spar.clone();
    wider.config.anchor.hidden = vec![8];
    one_line(
        &with(&wider, "c", &bc),
        &["bc", "`config.anchor.hidden` is"],
    );
    train(&spar, &data, &dir.path().join("spar")).unwrap();
    one_line(
        &with(&spar, "d", &dir.path().join("spar")),
        &["its method is \"spar\", not bc"],
    );
}

/// Nobody listens any more: the run stops before it is done, and resumes.
#[test]
fn a_run_whose_watcher_is_gone_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let spec = spec(Method::Bc, &data);
    let [whole, left] = ["whole", "left"].map(|n| dir.path().join(n));
    train(&spec, &data, &whole).unwrap();
    let control = Control {
        anchor: None,
        commit: "test".into(),
        command: "test".into(),
        stop_after: None,
        every: None,
        stop: &|| false,
        report: &mut |_| Err(io::Error::from(io::ErrorKind::BrokenPipe)),
    };
    let error = spar_train::run(&spec, &data, &left, control).unwrap_err();
    assert!(matches!(error, TrainError::Orphaned), "{error}");
    assert!(!left.join("DONE").exists());
    train(&spec, &data, &left).unwrap();
    same_files(&RESULTS, &whole, &left);
}
