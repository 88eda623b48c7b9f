//! What a report refuses, and in which words.

use std::fs;

use expect_test::expect;
use serde_json::json;
use spar_report::{Report, ReportError};

use crate::{check, runs::Runs};

#[track_caller]
fn refused(runs: &Runs) -> String {
    let error = Report::build(&runs.request).unwrap_err().to_string();
    assert!(!error.contains('\n'), "more than one line: {error}");
    error.replace(&runs.request.runs.display().to_string(), "RUNS")
}

#[test]
fn corrupt_files_are_named() {
    let runs = Runs::complete();
    let folder = runs.folder("hopper-medium", "bc", 0);
    let done = fs::read_to_string(folder.join("DONE")).unwrap();
    fs::write(folder.join("DONE"), &done[..done.len() / 2]).unwrap();
    check(
        &refused(&runs),
        expect![
            "RUNS/hopper-medium/bc/seed-0/DONE: not a valid run record: EOF while parsing a string at line 1 column 243; remove the run's folder and run it again"
        ],
    );
    fs::write(folder.join("DONE"), "").unwrap();
    check(
        &refused(&runs),
        expect![
            "RUNS/hopper-medium/bc/seed-0/DONE: not a valid run record: EOF while parsing a value at line 1 column 0; remove the run's folder and run it again"
        ],
    );
    fs::write(folder.join("DONE"), done.replace("1110.0", "null")).unwrap();
    check(
        &refused(&runs),
        expect![
            "RUNS/hopper-medium/bc/seed-0/DONE: not a valid run record: invalid type: null, expected f64 at line 1 column 264; remove the run's folder and run it again"
        ],
    );
    fs::write(folder.join("DONE"), &done).unwrap();
    let whole = runs.record("hopper-medium", "bc", 0);
    runs.change("hopper-medium", "bc", 0, |r| r.returns.clear());
    check(
        &refused(&runs),
        expect![
            "RUNS/hopper-medium/bc/seed-0/DONE: not a valid run record: it holds no evaluation returns; copy the file from where the run was made, or move the run's folder away and run it again"
        ],
    );
    runs.change("hopper-medium", "bc", 0, |r| *r = whole);
    for (curve, expected) in [
        (
            "update,mean_return\n1,2\n",
            expect![
                "RUNS/hopper-medium/bc/seed-0/eval.csv: not a valid learning curve: CSV deserialize error: record 1 (line: 2, byte: 19): missing field `normalized_score`; copy the file from where the run was made, or move the run's folder away and run it again"
            ],
        ),
        (
            "update,episodes,mean_return,normalized_score\n1,2,3,NaN\n",
            expect![
                "RUNS/hopper-medium/bc/seed-0/eval.csv: not a valid learning curve: the score at update 1 is NaN, expected a finite number; copy the file from where the run was made, or move the run's folder away and run it again"
            ],
        ),
        (
            "update,episodes,mean_return,normalized_score\n5,2,3,4\n5,2,3,4\n",
            expect![
                "RUNS/hopper-medium/bc/seed-0/eval.csv: not a valid learning curve: update 5 follows update 5, expected rising updates; copy the file from where the run was made, or move the run's folder away and run it again"
            ],
        ),
        (
            "update,episodes,mean_return,normalized_score\n5,2\n",
            expect![
                "RUNS/hopper-medium/bc/seed-0/eval.csv: not a valid learning curve: CSV error: record 1 (line: 2, byte: 45): found record with 2 fields, but the previous record has 4 fields; copy the file from where the run was made, or move the run's folder away and run it again"
            ],
        ),
    ] {
        fs::write(folder.join("eval.csv"), curve).unwrap();
        check(&refused(&runs), expected);
    }
    fs::remove_file(folder.join("eval.csv")).unwrap();
    assert!(
        Report::build(&runs.request).is_ok(),
        "a run need not keep a curve"
    );
}

#[test]
fn rows_that_mix_are_refused() {
    let mixed = |method: &str, edit: &dyn Fn(&mut spar_core::RunRecord)| {
        let runs = Runs::complete();
        runs.change("hopper-medium", method, 1, edit);
        refused(&runs)
    };
    check(
        &mixed("spar", &|r| r.dataset.sha256 = "00".repeat(32)),
        expect![
            "task hopper-medium: refusing to mix data sets: `hopper-medium-local` (local, sha256 8ad492fd7dea066b1cd443e927e8db46e238e7c79fd78db5e1f49ea4f21ac495) in RUNS/hopper-medium/bc/seed-0/DONE and `hopper-medium-local` (local, sha256 0000000000000000000000000000000000000000000000000000000000000000) in RUNS/hopper-medium/spar/seed-1/DONE; make the runs of a row again with one"
        ],
    );
    check(
        &mixed("bc", &|r| r.mujoco_version = "4.0.0".into()),
        expect![
            "task hopper-medium: refusing to mix MuJoCo versions: 3.17.0 in RUNS/hopper-medium/bc/seed-0/DONE and 4.0.0 in RUNS/hopper-medium/bc/seed-1/DONE; make the runs of a row again with one"
        ],
    );
    check(
        &mixed("spar", &|r| r.eval_seed = 9),
        expect![
            "task hopper-medium: refusing to mix evaluations: 4 episodes of seed 1000 in RUNS/hopper-medium/bc/seed-0/DONE and 4 episodes of seed 9 in RUNS/hopper-medium/spar/seed-1/DONE; make the runs of a row again with one"
        ],
    );
    check(
        &mixed("bc", &|r| r.returns.push(1.0)),
        expect![
            "task hopper-medium: refusing to mix evaluations: 4 episodes of seed 1000 in RUNS/hopper-medium/bc/seed-0/DONE and 5 episodes of seed 1000 in RUNS/hopper-medium/bc/seed-1/DONE; make the runs of a row again with one"
        ],
    );
    check(
        &mixed("spar", &|r| r.updates += 1),
        expect![
            "task hopper-medium: refusing to mix lengths of training: 20000 updates after 5000 in RUNS/hopper-medium/spar/seed-0/DONE and 20001 updates after 5000 in RUNS/hopper-medium/spar/seed-1/DONE; make the runs of a row again with one"
        ],
    );
}

/// Data of one hash are the same data, whatever they are called.
#[test]
fn renamed_data_may_stand_in_one_row() {
    let runs = Runs::complete();
    runs.change("hopper-medium", "spar", 1, |r| {
        r.dataset.id = "renamed".into()
    });
    Report::build(&runs.request).unwrap();
}

/// A record of the former format without settings was averaged like any other.
#[test]
fn a_record_without_its_settings_is_not_believed() {
    let runs = Runs::complete();
    let folder = runs.folder("hopper-medium", "spar", 1);
    fs::remove_file(folder.join("spec.json")).unwrap();
    check(
        &refused(&runs),
        expect![
            "RUNS/hopper-medium/spar/seed-1/DONE: there is no spec.json beside it, so that nothing says how the run was made; copy it from the run too, or remove the folder to train the run again"
        ],
    );
}

#[test]
fn a_record_beside_another_run_s_settings_is_not_believed() {
    for (path, value, expected) in [
        (
            "/seed",
            json!(77),
            expect![
                "RUNS/hopper-medium/spar/seed-1/DONE: its seed is 1, but 77 in the spec.json beside it: the two files are of different runs; copy both from one run, or remove the folder to train it again"
            ],
        ),
        (
            "/dataset/sha256",
            json!("feed"),
            expect![[
                r#"RUNS/hopper-medium/spar/seed-1/DONE: its data set is {"id":"hopper-medium-local","origin":"local","rows":100000,"sha256":"8ad492fd7dea066b1cd443e927e8db46e238e7c79fd78db5e1f49ea4f21ac495"}, but {"id":"hopper-medium-local","origin":"local","rows":100000,"sha256":"feed"} in the spec.json beside it: the two files are of different runs; copy both from one run, or remove the folder to train it again"#
            ]],
        ),
        (
            "/final_episodes",
            json!(5),
            expect![
                "RUNS/hopper-medium/spar/seed-1/DONE: its number of final episodes is 4, but 5 in the spec.json beside it: the two files are of different runs; copy both from one run, or remove the folder to train it again"
            ],
        ),
        (
            "/config/updates",
            json!(5),
            expect![
                "RUNS/hopper-medium/spar/seed-1/DONE: its number of updates is 20000, but 5 in the spec.json beside it: the two files are of different runs; copy both from one run, or remove the folder to train it again"
            ],
        ),
    ] {
        let runs = Runs::complete();
        runs.set("hopper-medium", "spar", 1, path, value);
        check(&refused(&runs), expected);
    }
}

/// Seeds trained with different settings were averaged.
#[test]
fn seeds_of_different_settings_are_not_averaged() {
    for (method, path, value, expected) in [
        (
            "spar",
            "/config/critic/tau",
            json!(0.5),
            Some(expect![
                "task hopper-medium: refusing to average seeds of spar that differ in `config.critic.tau`: 0.005 in RUNS/hopper-medium/spar/seed-0/DONE and 0.5 in RUNS/hopper-medium/spar/seed-1/DONE; make them again with one"
            ]),
        ),
        (
            "spar",
            "/config/critic/deviations",
            json!(2.0),
            Some(expect![
                "task hopper-medium: refusing to average seeds of spar that differ in `config.critic.deviations`: null in RUNS/hopper-medium/spar/seed-0/DONE and 2.0 in RUNS/hopper-medium/spar/seed-1/DONE; make them again with one"
            ]),
        ),
        (
            "bc",
            "/config/anchor/lr",
            json!(0.5),
            Some(expect![
                "task hopper-medium: refusing to average seeds of bc that differ in `config.anchor.lr`: 0.0003 in RUNS/hopper-medium/bc/seed-0/DONE and 0.5 in RUNS/hopper-medium/bc/seed-1/DONE; make them again with one"
            ]),
        ),
        // Nothing of it reaches an anchor.
        ("bc", "/config/critic/tau", json!(0.5), None),
    ] {
        let runs = Runs::complete();
        runs.set("hopper-medium", method, 1, path, value);
        match expected {
            Some(expected) => check(&refused(&runs), expected),
            None => drop(Report::build(&runs.request).unwrap()),
        }
    }
}

#[test]
fn a_curve_that_the_run_did_not_write_is_refused() {
    let runs = Runs::complete();
    let folder = runs.folder("hopper-medium", "spar", 1);
    let curve = fs::read(folder.join("eval.csv")).unwrap();
    let files = [("eval.csv".to_owned(), spar_core::sha256_hex(&curve))].into();
    let spec: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("spec.json")).unwrap()).unwrap();
    let stamp = spar_core::RunIdentity::of(&spec, true).unwrap().stamp();
    runs.change("hopper-medium", "spar", 1, |r| {
        *r = r.clone().sealed(stamp, files).unwrap();
    });
    Report::build(&runs.request).unwrap();
    let mut changed = String::from_utf8(curve).unwrap();
    changed = changed.replacen("\n0,4,", "\n0,5,", 1);
    fs::write(folder.join("eval.csv"), changed).unwrap();
    check(
        &refused(&runs),
        expect![
            "RUNS/hopper-medium/spar/seed-1/eval.csv: its sha256 is afe73313da37b529aac912dce76fb0baf4833cf46f7f4f59b8a58d48ac514411, but the run wrote 3f229f996cd338d7754d427d097847b00365e63aac6b969d52b5ed5b693fdc3c; copy it from the run again, or have the run evaluated again: remove RUNS/hopper-medium/spar/seed-1/DONE and repeat its command"
        ],
    );
    fs::remove_file(folder.join("eval.csv")).unwrap();
    assert!(refused(&runs).contains("its sha256 is absent"));
    // A number of the record changed by hand.
    let done = fs::read_to_string(folder.join("DONE")).unwrap();
    let changed = done.replacen("\"wall_s\":12.5", "\"wall_s\":12.25", 1);
    assert_ne!(done, changed);
    fs::write(folder.join("DONE"), changed).unwrap();
    assert!(refused(&runs).contains("its content has been changed"));
}

#[test]
fn a_copied_run_is_refused() {
    let runs = Runs::complete();
    let first = runs.record("hopper-medium", "spar", 0).returns;
    runs.change("hopper-medium", "spar", 1, |r| r.returns = first);
    check(
        &refused(&runs),
        expect![
            "task hopper-medium: spar has the same returns with seeds 0 and 1, in RUNS/hopper-medium/spar/seed-0/DONE and RUNS/hopper-medium/spar/seed-1/DONE; one is a copy: delete it and run it again"
        ],
    );
}

#[test]
fn returns_that_are_the_same_by_chance_are_no_copy() {
    let both = |returns: &[f64; 4], clocks: [f64; 2]| {
        let runs = Runs::complete();
        for (seed, wall_s) in clocks.into_iter().enumerate() {
            runs.change("hopper-medium", "spar", seed as u64, |r| {
                r.returns = returns.to_vec();
                r.wall_s = wall_s;
            });
        }
        Report::build(&runs.request).map(drop)
    };
    for few in [[0.0, 1.0, 1.0, 0.0], [-12.0, 0.5, 0.5, 3.0], [0.1 + 0.2; 4]] {
        assert!(both(&few, [1.5, 1.75]).is_ok(), "{few:?}");
        let copied = both(&few, [1.5, 1.5]);
        assert!(matches!(copied, Err(ReportError::Copied { .. })), "{few:?}");
    }
    let fine = [812.374_912_3, 3.25, 0.0, 77.120_001_9];
    let copied = both(&fine, [1.5, 1.75]);
    assert!(matches!(copied, Err(ReportError::Copied { .. })));
}

#[test]
fn runs_in_the_wrong_folder_are_refused() {
    let misplaced = |edit: &dyn Fn(&mut spar_core::RunRecord)| {
        let runs = Runs::complete();
        runs.change("hopper-medium", "spar", 1, edit);
        refused(&runs)
    };
    check(
        &misplaced(&|r| r.seed = 0),
        expect![
            "RUNS/hopper-medium/spar/seed-1/DONE: seed is `0`, expected `1`; the run belongs elsewhere: move or delete its folder"
        ],
    );
    check(
        &misplaced(&|r| r.env = Some("walker2d".to_owned())),
        expect![
            "RUNS/hopper-medium/spar/seed-1/DONE: environment is `walker2d`, expected `hopper`; the run belongs elsewhere: move or delete its folder"
        ],
    );
    check(
        &misplaced(&|r| r.preset = "smoke".into()),
        expect![
            "RUNS/hopper-medium/spar/seed-1/DONE: preset is `smoke`, expected `quick`; the run belongs elsewhere: move or delete its folder"
        ],
    );
    check(
        &misplaced(&|r| r.task = "hopper-medium-replay".into()),
        expect![
            "RUNS/hopper-medium/spar/seed-1/DONE: task is `hopper-medium-replay`, expected `hopper-medium`; the run belongs elsewhere: move or delete its folder"
        ],
    );
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let with = |edit: &dyn Fn(&mut spar_report::ReportRequest)| {
        let mut runs = Runs::empty();
        edit(&mut runs.request);
        refused(&runs)
    };
    check(
        &with(&|r| r.seeds = vec![3, 1, 3]),
        expect!["seed `3` is given twice; name each seed once"],
    );
    check(
        &with(&|r| r.methods.push("bc".into())),
        expect!["method `bc` is given twice; name each method once"],
    );
    check(
        &with(&|r| r.tasks.clear()),
        expect!["nothing to report: no task given; name at least one"],
    );
    check(
        &with(&|r| r.preset = "paper".into()),
        expect!["suite `mujoco` has no preset `paper`; expected one of: quick"],
    );
    let mut runs = Runs::empty();
    runs.request.seeds = vec![1, 1];
    let error = Report::build(&runs.request).unwrap_err();
    assert!(matches!(error, ReportError::Duplicate { what: "seed", .. }));
}
