//! Training runs: what they print and leave, that they are pure functions of
//! their words, and that no way of ending one spoils it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Done, Folder, finished_files, prepared, suite_run};

/// A run of its own, without a suite.
const SINGLE: &str = "train --dataset data.hdf5 --env pointmass --method spar --seed 1 \
     --anchor-updates 60 --warmup 20 --batch-size 16 --eval-episodes 2";

#[test]
fn a_run_of_its_own_ends_with_its_score_and_the_policy_earns_it() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    let line = format!("{SINGLE} --updates 60 --out run --json");
    let first = folder.spar(&line);
    let score = first.json();
    let returns = score["returns"].as_array().unwrap();
    assert_eq!(returns.len(), 2);
    let mean = returns.iter().map(|r| r.as_f64().unwrap()).sum::<f64>() / 2.0;
    assert!((score["mean_return"].as_f64().unwrap() - mean).abs() < 1e-9);
    assert!(score["normalized_score"].is_null());
    assert_eq!(folder.files("run"), finished_files("run"));

    let eval = "eval --policy run/policy.safetensors --env pointmass --episodes 2 --seed 42 --json";
    assert_eq!(folder.spar(eval).json(), score);

    let record: Value = serde_json::from_slice(&folder.read("run/DONE")).unwrap();
    assert_eq!(record["command"], format!("spar {}", words(&line)));
    assert_eq!(record["commit"], "test");
    assert_eq!(record["task"], "data");
    assert_eq!(record["dataset"]["origin"], "user");
    assert_eq!(
        (&record["updates"], &record["anchor_updates"]),
        (&60.into(), &60.into())
    );

    // Asked again it has nothing to do, and says the same.
    let before = folder.read("run/DONE");
    assert_eq!(folder.spar(&line).json(), score);
    assert_eq!(folder.read("run/DONE"), before);
}

#[test]
fn bc_is_trained_for_as_many_updates_as_asked() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    let line = "train --dataset data.hdf5 --env pointmass --method bc --updates 30 \
         --batch-size 16 --eval-episodes 1 --out run";
    let table = folder.spar(line).ok();
    assert!(
        table.contains("return") && table.contains("normalized score"),
        "{table}"
    );
    let record: Value = serde_json::from_slice(&folder.read("run/DONE")).unwrap();
    assert_eq!(
        (&record["updates"], &record["anchor_updates"]),
        (&0.into(), &30.into())
    );
    let both = format!("{line} --anchor-updates 10");
    folder
        .spar(&both)
        .fails(2, &["--anchor-updates", "--method bc"]);
}

/// They were taken without a word, and changed nothing.
#[test]
fn options_that_a_method_has_no_use_for_are_refused() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    for (words, facts) in [
        (
            "--method iql --anchor-updates 90",
            ["--anchor-updates", "iql has none"],
        ),
        (
            "--method td3bc --anchor-updates 90",
            ["--anchor-updates", "td3bc has none"],
        ),
        ("--method iql --warmup 3", ["--warmup", "--method is iql"]),
        ("--method bc --warmup 3", ["--warmup", "--method is bc"]),
        ("--method rpl --warmup 3", ["--warmup", "--method is rpl"]),
        (
            "--method spar --set anchor.method=iql --anchor-updates 3",
            ["--anchor-updates", "another policy stands in its place"],
        ),
    ] {
        let line =
            format!("train --dataset data.hdf5 --env pointmass --updates 5 --out run {words}");
        folder.spar(&line).fails(2, &facts);
    }
    assert!(!folder.exists("run"));
}

#[test]
fn a_baseline_is_a_method_like_any_other() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    // A plain network, one in a latent space, and one that grows out of the anchor.
    for (method, anchor) in [("td3bc", 0), ("bcq", 0), ("rpl", 30)] {
        let option = match anchor {
            0 => String::new(),
            updates => format!("--anchor-updates {updates}"),
        };
        let line = format!(
            "train --dataset data.hdf5 --env pointmass --method {method} --updates 20 {option} \
             --batch-size 16 --eval-episodes 2 --out {method} --json"
        );
        let score = folder.spar(&line).json();
        assert_eq!(folder.files(method), finished_files(method));
        let eval = format!(
            "eval --policy {method}/policy.safetensors --env pointmass --episodes 2 --json"
        );
        assert_eq!(folder.spar(&eval).json(), score);
        let read = |name: &str| {
            let bytes = folder.read(&format!("{method}/{name}"));
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let (record, spec) = (read("DONE"), read("spec.json"));
        assert_eq!(record["method"], method);
        assert_eq!(
            (&record["updates"], &record["anchor_updates"]),
            (&20.into(), &anchor.into())
        );
        assert_eq!(spec["config"]["method"]["data"]["batch_size"], 16);
        assert_eq!(spec["config"]["method"]["discount"], 0.99);
    }
    let measured = folder
        .spar("train --dataset data.hdf5 --env pointmass --method iql --out none --calibrate")
        .json();
    assert!(measured["updates_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(measured["anchor_updates"], 0);
    folder
        .spar("train --dataset data.hdf5 --env pointmass --method iql --device cuda --out none")
        .fails(2, &["method iql is trained on the CPU only", "--device"]);
}

#[test]
fn two_hundred_updates_are_a_hundred_and_a_hundred_more() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    let train = |updates: usize, out: &str| {
        let line = format!("{SINGLE} --updates {updates} --out {out} --json");
        let mut ended = folder.spar(&line).json();
        ended.as_object_mut().unwrap().remove("policy");
        ended
    };
    train(100, "resumed");
    let short = folder.read("resumed/policy.safetensors");
    let resumed = train(200, "resumed");
    let straight = train(200, "straight");
    assert_ne!(short, folder.read("resumed/policy.safetensors"));
    assert_eq!(resumed, straight);
    same_run(
        &folder,
        "resumed",
        "straight",
        &["policy.safetensors", "returns.csv", "spec.json"],
    );
}

#[test]
fn the_same_words_give_the_same_bits() {
    let folder = prepared();
    for out in ["a", "b"] {
        folder.spar(&suite_run("long", "spar", out, "")).ok();
    }
    same_run(&folder, "a", "b", &RESULTS);
    folder
        .spar(&suite_run("long", "spar", "c", "--seed 4").replace("--seed 3", ""))
        .ok();
    assert_ne!(
        folder.read("a/policy.safetensors"),
        folder.read("c/policy.safetensors")
    );
}

#[test]
fn a_run_stopped_anywhere_ends_with_the_same_bits() {
    let folder = prepared();
    folder.spar(&suite_run("long", "spar", "straight", "")).ok();
    // Within the anchor, within SPAR, off the checkpoints' beat.
    for stop in [45, 77, 101] {
        let stopped = folder.spar(&suite_run(
            "long",
            "spar",
            "stopped",
            &format!("--stop-after {stop}"),
        ));
        assert!(
            stopped.err.contains(&format!("stopped at update {stop}")),
            "{stopped:?}"
        );
        assert_eq!(stopped.ok(), "");
        assert!(!folder.exists("stopped/DONE"));
    }
    folder.spar(&suite_run("long", "spar", "stopped", "")).ok();
    same_run(&folder, "stopped", "straight", &RESULTS);
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let folder = prepared();
    let suite = fs::read_to_string(folder.path("suite.toml")).unwrap();
    // Long enough that there is a middle to be killed in.
    let suite = suite.replace("updates = 200\n", "updates = 3000\n");
    fs::write(folder.path("suite.toml"), suite).unwrap();
    let line = |out| suite_run("long", "spar", out, "");
    // In the anchor's phase, and in SPAR's.
    for sign in ["checkpoints/latest.safetensors", "eval.csv"] {
        let mut child = folder
            .command(&line("killed"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !folder.exists(&format!("killed/{sign}")) {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before it was killed"
            );
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!folder.exists("killed/DONE"));
    }
    folder.spar(&line("killed")).ok();
    folder.spar(&line("straight")).ok();
    same_run(&folder, "killed", "straight", &RESULTS);
    // What the kills left half-written is gone.
    assert_eq!(folder.files("killed"), finished_files("killed"));
}

#[test]
fn a_finished_anchor_serves_as_well_as_training_it_again() {
    let folder = prepared();
    folder.spar(&suite_run("long", "bc", "bc", "")).ok();
    folder
        .spar(&suite_run("long", "spar", "with", "--anchor bc"))
        .ok();
    folder.spar(&suite_run("long", "spar", "without", "")).ok();
    same_run(
        &folder,
        "with",
        "without",
        &["policy.safetensors", "returns.csv", "eval.csv"],
    );
    let other = suite_run("long", "spar", "other", "--anchor bc").replace("--seed 3", "--seed 4");
    folder.spar(&other).fails(1, &["anchor run bc", "seed"]);
    folder
        .spar(&suite_run("long", "spar", "third", "--anchor nowhere"))
        .fails(1, &["anchor run nowhere", "no such folder"]);
}

#[test]
fn progress_is_told_in_json_over_the_whole_run() {
    let folder = prepared();
    let line = suite_run("long", "spar", "run", "--progress json");
    let out = folder.spar(&line).ok();
    let told: Vec<Value> = out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let last = told.last().unwrap();
    assert_eq!(last["phase"], "eval");
    assert_eq!((&last["done"], &last["total"]), (&300.into(), &300.into()));
    let done: Vec<u64> = told.iter().map(|p| p["done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted());
}

#[test]
fn a_run_nobody_listens_to_stops_and_can_be_resumed() {
    let folder = prepared();
    let line = suite_run("long", "spar", "run", "--progress json");
    let mut child = folder
        .command(&line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(
        said.starts_with("error: the process that started this run is gone"),
        "{said}"
    );
    assert!(!folder.exists("run/DONE"));
    folder.spar(&line).ok();
    assert_eq!(folder.files("run"), finished_files("run"));
}

#[test]
fn data_for_a_reader_that_has_seen_enough_end_quietly() {
    let folder = prepared();
    let mut child = folder
        .command("data info data.hdf5 --json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stderr), (Some(0), Vec::new()));
}

#[test]
fn calibration_measures_and_writes_nothing() {
    let folder = prepared();
    let measured = folder
        .spar(&suite_run("long", "spar", "run", "--calibrate"))
        .json();
    for (field, expected) in [("total_updates", 200), ("anchor_updates", 100)] {
        assert_eq!(measured[field], expected);
    }
    for field in ["updates_per_s", "anchor_updates_per_s"] {
        assert!(measured[field].as_f64().unwrap() > 0.0, "{measured}");
    }
    assert!(!folder.exists("run"));
}

#[test]
fn a_folder_has_one_run_at_a_time_and_the_next_one_waits() {
    let folder = prepared();
    let suite = fs::read_to_string(folder.path("suite.toml")).unwrap();
    let suite = suite.replace("updates = 200\n", "updates = 1000000\n");
    fs::write(folder.path("suite.toml"), suite).unwrap();
    let line = suite_run("long", "spar", "run", "--progress json");
    let mut first = folder
        .command(&line)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(first.stdout.take().unwrap()).lines();
    told.next().unwrap().unwrap();
    folder
        .spar(&line)
        .fails(1, &["run is in use by another process"]);
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn another_run_s_folder_is_refused() {
    let folder = prepared();
    folder.spar(&suite_run("short", "bc", "run", "")).ok();
    let done = folder.read("run/DONE");
    let other = suite_run("short", "bc", "run", "").replace("--seed 3", "--seed 4");
    folder
        .spar(&other)
        .fails(1, &["run holds another run", "`seed`", "there 3, here 4"]);
    assert_eq!(folder.read("run/DONE"), done);
}

/// Files that a run's words decide to the bit.
const RESULTS: [&str; 5] = [
    "policy.safetensors",
    "returns.csv",
    "eval.csv",
    "metrics.jsonl",
    "spec.json",
];

fn same_run(folder: &Folder, a: &str, b: &str, files: &[&str]) {
    for file in files {
        let same = folder.read(&format!("{a}/{file}")) == folder.read(&format!("{b}/{file}"));
        assert!(same, "{file} of {a} and {b} differ");
    }
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn threads_of_the_environment_change_no_bit() {
    let folder = prepared();
    for (out, threads) in [("one", "1"), ("two", "2")] {
        let line = suite_run("short", "spar", out, "");
        let mut command = folder.command(&line);
        Done::of(command.env("RAYON_NUM_THREADS", threads)).ok();
    }
    same_run(&folder, "one", "two", &RESULTS);
}
