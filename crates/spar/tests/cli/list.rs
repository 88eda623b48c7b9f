//! What can be trained, where, on what and with which settings is listed; what is set is
//! recorded like a suite's.

use serde_json::Value;

use crate::support::{Folder, prepared, suite_run};

#[test]
fn methods_environments_and_tasks_are_listed_wherever_it_is_asked() {
    let folder = Folder::new();
    let methods = folder.spar("list methods --json").json();
    let names: Vec<&str> = methods
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    let known: Vec<&str> = spar_train::Method::all().map(|m| m.name()).collect();
    assert_eq!(names, known);
    for line in ["--list-methods", "train --list-methods"] {
        assert_eq!(folder.spar(line).ok(), folder.spar("list methods").ok());
    }

    let envs = folder.spar("list envs --json").json();
    let simulated = |name: &str| {
        let row = envs.as_array().unwrap().iter().find(|e| e["name"] == name);
        row.unwrap()["simulated"].as_bool().unwrap()
    };
    assert!(simulated("hopper") && simulated("kitchen-mixed"));

    let tasks = folder.spar("list tasks --json").json();
    let official = |row: &&Value| !row["official_id"].is_null();
    assert_eq!(
        tasks.as_array().unwrap().iter().filter(official).count(),
        77
    );
    assert!(
        folder
            .spar("--list-tasks")
            .ok()
            .contains("antmaze-large-play-v2")
    );
}

#[test]
fn every_listed_setting_can_be_set_to_its_default() {
    let folder = prepared();
    for method in ["spar", "bc", "iql", "bc10", "rpl", "cql", "edac", "lapo"] {
        let settings = folder
            .spar(&format!("list settings {method} --json"))
            .json();
        let mut line = format!(
            "train --dataset data.hdf5 --env pointmass --method {method} --out never --calibrate"
        );
        for (key, value) in settings.as_object().unwrap() {
            let value = value.to_string();
            if value != "null" && !value.contains(char::is_whitespace) {
                line += &format!(" --set {key}={}", value.replace('"', ""));
            }
        }
        let updates = match method {
            "bc" => "--set anchor.updates=20000",
            _ => "--set updates=100000",
        };
        assert!(line.contains(updates), "{line}");
        // What a record leaves out is listed too.
        let unwritten = match method {
            "spar" => "anchor.method",
            "bc" => "anchor.lr",
            "cql" => "calibrated",
            "edac" => "bc_updates",
            "lapo" => "value_bounds",
            _ => "data.keep.fraction",
        };
        assert!(settings.get(unwritten).is_some(), "{method}: {settings}");
        // As many updates as take three seconds: the settings are those of a run.
        folder.spar(&line).ok();
    }
}

#[test]
fn what_is_set_is_in_the_spec_and_makes_another_run() {
    let folder = prepared();
    let set = "--set critic.expectile=0.8 --set rectify.candidates=4";
    folder.spar(&suite_run("short", "spar", "set", set)).ok();
    let spec: Value = serde_json::from_slice(&folder.read("set/spec.json")).unwrap();
    assert_eq!(spec["config"]["critic"]["expectile"], 0.8);
    assert_eq!(spec["config"]["rectify"]["candidates"], 4);
    folder
        .spar(&suite_run("short", "spar", "set", ""))
        .fails(1, &["expectile", "0.8"]);

    folder
        .spar(&suite_run("short", "bc", "never", "--set updates=3"))
        .fails(2, &["--set", "anchor.updates"]);
    for (set, facts) in [
        ("critic.expektile=0.8", ["--set", "expektile"]),
        (
            "critic.expectile=2",
            ["`critic.expectile` is 2", "above 0 and below 1"],
        ),
        ("critic.expectile=high", ["expectile", "high"]),
        ("critic..tau=1", ["`critic..tau`", "no name"]),
        ("expectile", ["--set", "a name and a value"]),
    ] {
        let line = suite_run("short", "spar", "never", &format!("--set {set}"));
        folder.spar(&line).fails(2, &facts);
        assert!(!folder.exists("never"));
    }
}
