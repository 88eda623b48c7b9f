#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use spar_core::RunRecord;

use super::*;

fn suite() -> Suite {
    let presets = ["quick", "paper"].map(|name| {
        let preset = spar_core::Preset {
            description: String::new(),
            seeds: vec![0, 1],
            eval_episodes: 1,
            data_rows: 10,
            verdict: true,
            train: Default::default(),
            method: Default::default(),
        };
        (name.to_owned(), preset)
    });
    Suite {
        define: std::collections::BTreeMap::new(),
        name: "s".into(),
        tasks: ["hopper-medium", "walker2d-medium"]
            .map(|t| t.parse().unwrap())
            .into(),
        methods: vec!["bc".into(), "spar".into()],
        eval_seed: 0,
        presets: presets.into(),
        train: Default::default(),
        task: Default::default(),
        bands: Vec::new(),
        method: Default::default(),
        variant: Default::default(),
    }
}

/// The same with settings for two methods that are not in its table.
fn suite_with_baselines() -> Suite {
    let method = toml::from_str(
        "[iql]\nexpectile = 0.7\n[iql.task.walker2d-medium]\nexpectile = 0.9\n\
         [rpl]\nanchored = true\nlr = 1.0",
    );
    Suite {
        method: method.unwrap(),
        ..suite()
    }
}

fn select(tasks: &[&str], methods: &[&str], seeds: &[u64]) -> Result<Selection, Usage> {
    let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
    Selection::new(&suite(), "quick", &owned(tasks), &owned(methods), seeds)
}

fn names(runs: &[Run]) -> Vec<String> {
    runs.iter().map(Run::name).collect()
}

#[test]
fn nothing_named_is_the_whole_suite() {
    let all = select(&[], &[], &[]).unwrap();
    assert_eq!(runs(&all).len(), 2 * 2 * 2);
    assert_eq!(all.data_rows, 10);
}

#[test]
fn what_is_named_comes_once_in_the_suites_order() {
    let some = select(&["walker2d-medium", "hopper-medium"], &["spar"], &[3, 1, 3]).unwrap();
    let expected = [
        "hopper-medium/spar/seed-1",
        "hopper-medium/spar/seed-3",
        "walker2d-medium/spar/seed-1",
        "walker2d-medium/spar/seed-3",
    ];
    assert_eq!(names(&runs(&some)), expected);
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let error = |r: Result<Selection, Usage>| r.unwrap_err().to_string();
    assert_eq!(
        error(select(&["hopper"], &[], &[])),
        "suite `s` has no task `hopper`; expected one of: hopper-medium, walker2d-medium"
    );
    assert_eq!(
        error(select(&[], &["bc", "sac"], &[])),
        "suite `s` has no method `sac`; expected one of: bc, spar"
    );
    assert_eq!(
        error(Selection::new(&suite(), "slow", &[], &[], &[])),
        "suite `s` has no preset `slow`; expected one of: paper, quick"
    );
}

#[test]
fn a_run_waits_for_its_own_anchor_if_that_is_to_be_made() {
    let both = runs(&select(&["hopper-medium"], &[], &[]).unwrap());
    assert_eq!(waits_for(&both), [None, None, Some(0), Some(1)]);
    let spar = runs(&select(&["hopper-medium"], &["spar"], &[]).unwrap());
    assert_eq!(waits_for(&spar), [None, None]);
}

#[test]
fn methods_beyond_the_table_are_made_when_asked_for() {
    let suite = suite_with_baselines();
    let methods = |asked: &[&str]| {
        let asked: Vec<String> = asked.iter().map(|&m| m.to_owned()).collect();
        Selection::new(&suite, "quick", &[], &asked, &[0]).map(|s| s.methods)
    };
    assert_eq!(methods(&[]).unwrap(), ["bc", "spar"]);
    assert_eq!(methods(&["rpl", "bc"]).unwrap(), ["bc", "rpl"]);
    assert_eq!(methods(&["all"]).unwrap(), ["bc", "spar", "iql", "rpl"]);
    assert_eq!(
        methods(&["sac"]).unwrap_err().to_string(),
        "suite `s` has no method `sac`; expected one of: bc, spar, iql, rpl"
    );

    let all = Selection::new(&suite, "quick", &[], &["all".to_owned()], &[0]).unwrap();
    let runs = runs(&all);
    assert_eq!(runs.len(), 8);
    let waits: Vec<_> = waits_for(&runs).into_iter().take(4).collect();
    assert_eq!(
        waits,
        [None, Some(0), None, Some(0)],
        "rpl has an anchor, iql none"
    );
}

#[test]
fn what_has_most_behind_it_starts_first() {
    // 0 <- 2 and 1 <- 3; 4 stands alone.
    let waits = [None, None, Some(0), Some(1), None];
    let mut schedule = Schedule::new(&[1.0, 1.0, 5.0, 9.0, 4.0], &waits);
    assert_eq!(schedule.start_next(), Some(1));
    assert_eq!(schedule.start_next(), Some(0));
    assert_eq!(schedule.start_next(), Some(4));
    assert_eq!(schedule.start_next(), None, "2 and 3 wait");
    schedule.ended(0);
    assert_eq!(schedule.start_next(), Some(2));
    schedule.ended(1);
    assert_eq!(schedule.start_next(), Some(3));
    assert_eq!(schedule.start_next(), None);
}

#[test]
fn equal_jobs_start_in_order() {
    let mut schedule = Schedule::new(&[1.0; 3], &[None; 3]);
    let order: Vec<_> = std::iter::from_fn(|| schedule.start_next()).collect();
    assert_eq!(order, [0, 1, 2]);
}

#[test]
fn every_job_starts_once_after_its_predecessor() {
    // Any shape of waiting, by a small fixed generator.
    let mut x = 1u64;
    for _ in 0..200 {
        let mut draw = |n: u64| {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (x >> 33) % n
        };
        let n = 1 + draw(9) as usize;
        let waits: Vec<_> = (0..n)
            .map(|i| (i > 0 && draw(2) == 0).then(|| draw(i as u64) as usize))
            .collect();
        let costs: Vec<_> = (0..n).map(|_| draw(5) as f64).collect();
        let mut schedule = Schedule::new(&costs, &waits);
        let mut ended = vec![false; n];
        while let Some(job) = schedule.start_next() {
            assert!(!ended[job] && waits[job].is_none_or(|before| ended[before]));
            ended[job] = true;
            schedule.ended(job);
        }
        assert!(ended.iter().all(|&e| e), "{waits:?}");
    }
}

#[test]
fn the_whole_takes_as_long_as_its_longest_chain_at_least() {
    assert_eq!(makespan(&[1.0; 8], &[None; 8], 2), 4.0);
    assert_eq!(makespan(&[1.0, 9.0, 1.0], &[None, Some(0), None], 4), 10.0);
    assert_eq!(makespan(&[], &[], 2), 0.0);
}

#[test]
fn a_run_costs_its_updates_and_its_anchors_where_it_brings_none() {
    let measured = Calibration {
        updates_per_s: 10.0,
        anchor_updates_per_s: 100.0,
        total_updates: 1000.0,
        anchor_updates: 500.0,
    };
    let all = runs(&select(&["hopper-medium"], &[], &[0]).unwrap());
    assert_eq!(measured.seconds(&all[0], false), 5.0);
    assert_eq!(measured.seconds(&all[1], true), 100.0);
    assert_eq!(measured.seconds(&all[1], false), 105.0);
}

/// What `spar` says of the runs of hopper-medium.
fn settled() -> Selection {
    let mut selection = select(&["hopper-medium"], &[], &[0]).unwrap();
    for (column, anchored) in [("bc", true), ("spar", true)] {
        let settings = serde_json::from_value(json!({
            "task": "hopper-medium",
            "column": column,
            "anchored": anchored,
            "spec": spec(column),
        }));
        let key = ("hopper-medium".parse().unwrap(), column.to_owned());
        selection.settings.insert(key, settings.unwrap());
    }
    selection
}

fn spec(method: &str) -> Value {
    json!({
        "suite": "s", "preset": "quick", "task": "hopper-medium", "method": method,
        "seed": 0, "env": "hopper", "eval_seed": 0, "final_episodes": 1, "device": "cpu",
        "dataset": {
            "id": "hopper-medium-local", "origin": "local", "sha256": "feed", "rows": 10,
        },
        "config": {
            "updates": 10, "batch_size": 4, "eval_every": 5, "checkpoint_every": 5,
            "anchor": { "lr": 0.0003, "updates": 1 }, "rectify": { "w_fit": 1.0, "beta": 0.1 },
        },
    })
}

/// What a run of `spec` leaves, as it is read.
fn done(spec: &Value) -> FinishedRun {
    let method = spec["method"].as_str().unwrap();
    let record = RunRecord {
        suite: "s".into(),
        preset: "quick".into(),
        task: "hopper-medium".into(),
        method: method.into(),
        seed: 0,
        env: Some("hopper".to_owned()),
        validation: None,
        dataset: serde_json::from_value(spec["dataset"].clone()).unwrap(),
        returns: vec![1.0],
        eval_seed: 0,
        updates: 10,
        anchor_updates: 1,
        wall_s: 1.0,
        commit: String::new(),
        mujoco_version: String::new(),
        threads: 1,
        device: "cpu".into(),
        command: String::new(),
        finetuned: None,
        integrity: None,
    };
    FinishedRun {
        record,
        identity: RunIdentity::of(spec, true).unwrap(),
    }
}

fn mismatch(spec: &Value, sha256: &str) -> Option<String> {
    let selection = settled();
    let all = runs(&selection);
    let run = all.iter().find(|run| run.method == spec["method"]);
    run.unwrap().mismatch(&done(spec), &selection, sha256)
}

#[test]
fn a_record_of_something_else_does_not_fit() {
    let spec = spec("bc");
    assert_eq!(mismatch(&spec, "feed"), None);
    assert_eq!(
        mismatch(&spec, "beef").unwrap(),
        "its dataset.sha256 is \"feed\", this plan's \"beef\""
    );
    for (field, value) in [
        ("suite", json!("t")),
        ("preset", json!("smoke")),
        ("task", json!("walker2d-medium")),
        ("seed", json!(1)),
        ("env", json!("walker2d")),
        ("device", json!("cuda")),
        ("eval_seed", json!(1)),
        ("final_episodes", json!(2)),
    ] {
        let mut other = spec.clone();
        other[field] = value.clone();
        let differing = mismatch(&other, "feed").unwrap();
        assert!(
            differing.starts_with(&format!("its {field} is {value}, this plan's ")),
            "{differing}"
        );
        assert!(!differing.contains(';'), "{differing}");
    }
}

/// Only what a suite gave was compared: a run made with a line that the suite has no more,
/// or with another default, was taken.
#[test]
fn every_setting_that_reaches_a_run_is_compared_and_each_is_named() {
    let mut other = spec("spar");
    other["config"]["rectify"]["w_fit"] = json!(0.5);
    other["config"]["rectify"]["beta"] = json!(0.2);
    other["config"]["critic"] = json!({ "expectile": 0.9 });
    assert_eq!(
        mismatch(&other, "feed").unwrap(),
        "its config.critic.expectile is 0.9, this plan's absent; \
         its config.rectify.beta is 0.2, this plan's 0.1; \
         its config.rectify.w_fit is 0.5, this plan's 1.0"
    );
    // What an anchor never sees may change without training it anew.
    let mut anchor = spec("bc");
    anchor["config"]["rectify"]["w_fit"] = json!(0.5);
    anchor["config"]["updates"] = json!(99);
    anchor["config"]["checkpoint_every"] = json!(99);
    assert_eq!(mismatch(&anchor, "feed"), None);
    anchor["config"]["anchor"]["lr"] = json!(0.001);
    assert_eq!(
        mismatch(&anchor, "feed").unwrap(),
        "its config.anchor.lr is 0.001, this plan's 0.0003"
    );
}

#[test]
fn without_the_settings_no_run_counts() {
    let mut selection = settled();
    selection.settings.clear();
    let run = runs(&selection).swap_remove(0);
    assert!(
        run.mismatch(&done(&spec("bc")), &selection, "feed")
            .is_some()
    );
}

/// Hopper and Walker2d differ in their widths.
#[test]
fn runs_of_one_kind_share_a_process_anchors_first() {
    let all = select(&[], &[], &[0, 1, 2]).unwrap();
    let runs = runs(&all);
    let waits = waits_for(&runs);
    let named = |most| -> Vec<Vec<String>> {
        let groups = groups(&runs, &waits, &all, most);
        let name = |&run: &usize| runs[run].name();
        groups
            .iter()
            .map(|g| g.iter().map(name).collect())
            .collect()
    };
    let of = |task: &str, method: &str, seeds: &[u64]| -> Vec<String> {
        let name = |seed| format!("{task}-medium/{method}/seed-{seed}");
        seeds.iter().map(name).collect()
    };
    let whole = [
        of("hopper", "bc", &[0, 1, 2]),
        of("walker2d", "bc", &[0, 1, 2]),
        of("hopper", "spar", &[0, 1, 2]),
        of("walker2d", "spar", &[0, 1, 2]),
    ];
    assert_eq!(named(45), whole);
    let two = named(2);
    assert_eq!(two[0], of("hopper", "bc", &[0, 1]));
    assert_eq!(two[1], of("hopper", "bc", &[2]));
    assert_eq!(two.len(), 8);
    assert!(named(1).iter().all(|group| group.len() == 1));
}

/// HalfCheetah and Walker2d have the same widths: their runs differ only in their settings.
#[test]
fn runs_of_other_settings_are_in_another_process() {
    let tasks = ["halfcheetah-medium", "walker2d-medium"].map(|t| t.parse::<TaskId>().unwrap());
    let selection = |rates: [f64; 2]| {
        let mut selection = select(&[], &["spar"], &[0]).unwrap();
        selection.tasks = tasks.into();
        for (task, rate) in tasks.into_iter().zip(rates) {
            let settings = json!({
                "task": task.to_string(), "column": "spar", "anchored": true,
                "spec": { "config": { "lr": rate }, "task": task.to_string() },
            });
            let settings = serde_json::from_value(settings).unwrap();
            selection
                .settings
                .insert((task, "spar".to_owned()), settings);
        }
        selection
    };
    let grouped = |rates| {
        let selection = selection(rates);
        let runs = runs(&selection);
        groups(&runs, &waits_for(&runs), &selection, 45)
    };
    assert_eq!(grouped([0.1, 0.1]), [vec![0, 1]]);
    assert_eq!(grouped([0.1, 0.2]), [vec![0], vec![1]]);
}
