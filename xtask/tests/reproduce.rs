//! `cargo xtask reproduce` from outside, with a `spar` that only pretends:
//! order, resume, failures, and being killed.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use common::{assert_code, text};
use tempfile::TempDir;

const SUITE: &str = r#"
name = "fake"
tasks = ["hopper-medium", "walker2d-medium"]
methods = ["bc", "spar"]
eval_seed = 1
[presets.quick]
description = "d"
seeds = [0, 1]
eval_episodes = 1
data_rows = 70
[train]
batch_size = 4
critic.tau = 0.5
"#;

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("suite.toml"), SUITE).unwrap();
        Self { dir }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn command(&self, words: &[&str], env: &[(&str, &str)]) -> Command {
        let mut command = common::xtask(self.dir.path(), words, env);
        command.args(["--suite", "suite.toml"]);
        command
    }

    fn reproduce(&self, more: &[&str], env: &[(&str, &str)]) -> Output {
        let words = [&["reproduce", "--out", "out"], more].concat();
        self.command(&words, env).output().unwrap()
    }

    /// Starts it with runs that never end, and waits for them to be at work.
    fn reproduce_slowly(&self) -> Child {
        let child = self
            .command(
                &["reproduce", "--out", "out", "--jobs", "2"],
                &[("FAKE_SLOW", "*/spar/*")],
            )
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.wait(|calls| calls.iter().filter(|c| c.contains("/spar/")).count() == 2);
        child
    }

    fn wait(&self, until: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        while !until(&self.calls()) {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "{:?}",
                self.calls()
            );
            sleep(Duration::from_millis(20));
        }
    }

    fn calls(&self) -> Vec<String> {
        common::calls(self.dir.path())
    }

    /// The calls since then, which are forgotten.
    fn take_calls(&self) -> Vec<String> {
        let calls = self.calls();
        fs::write(self.dir.path().join("calls"), "").unwrap();
        calls
    }
}

#[test]
fn data_then_runs_after_their_anchors_then_the_report() {
    let place = Place::new();
    let output = place.reproduce(&["--jobs", "3"], &[]);
    assert_code(&output, 0);
    assert_eq!(text(&output.stdout), "the table\n");
    let calls = place.calls();
    let at = |what: &str| {
        let found = calls.iter().position(|call| call.starts_with(what));
        found.unwrap_or_else(|| panic!("no `{what}` in {calls:#?}"))
    };
    for task in ["hopper-medium", "walker2d-medium"] {
        assert!(at(&format!("data {task} auto 70")) < at("start"));
        for seed in [0, 1] {
            let spar = at(&format!("start {task}/spar/seed-{seed}"));
            assert!(at(&format!("end {task}/bc/seed-{seed}")) < spar);
            let anchor = place.out().join(format!("{task}/bc/seed-{seed}"));
            let expected = format!("anchor={} threads=1", anchor.display());
            assert!(calls[spar].ends_with(&expected), "{}", calls[spar]);
            let log = place.out().join(format!("{task}/spar/seed-{seed}/log.txt"));
            assert!(fs::read_to_string(log).unwrap().starts_with("training"));
        }
    }
    let report = &calls[at("report")];
    assert_eq!(at("report"), calls.len() - 1);
    assert!(report.contains("--seeds 0,1") && report.contains("--methods bc,spar"));
    // 4 anchors of 3.6 s and 4 runs of an hour, three at a time.
    let said = text(&output.stderr);
    assert!(
        said.contains("estimate: 81 minutes for 8 runs, 3 at a time"),
        "{said}"
    );
}

#[test]
fn a_gpu_trains_one_run_at_a_time_and_its_runs_are_other_runs() {
    let place = Place::new();
    assert_code(&place.reproduce(&["--seeds", "1"], &[]), 0);
    place.take_calls();
    // What the CPU has done does not count, and is not overwritten.
    let output = place.reproduce(&["--seeds", "1", "--device", "cuda"], &[]);
    assert_code(&output, 1);
    let said = text(&output.stderr);
    for part in [
        "its device is \"cpu\", this plan's \"cuda\"",
        "for 4 runs, 1 at a time",
        "was made from other data",
    ] {
        assert!(said.contains(part), "{said}");
    }
    place.take_calls();
    let elsewhere = || {
        let words = ["reproduce", "--out", "gpu", "--device", "cuda"];
        assert_code(&place.command(&words, &[]).output().unwrap(), 0);
        let calls = place.take_calls();
        let started = calls.iter().filter(|call| call.starts_with("start"));
        assert!(started.clone().all(|call| call.contains("device=cuda")));
        started.count()
    };
    assert_eq!([elsewhere(), elsewhere()], [8, 0]);
}

#[test]
fn what_is_done_is_not_done_again() {
    let place = Place::new();
    let first = place.reproduce(&["--methods", "bc", "--seeds", "1"], &[]);
    assert_code(&first, 0);
    place.take_calls();
    assert_code(&place.reproduce(&["--seeds", "1"], &[]), 0);
    let calls = place.take_calls();
    assert!(
        calls
            .iter()
            .all(|call| !call.contains("start") || call.contains("/spar/"))
    );
    // An anchor of an earlier call is used.
    let started: Vec<_> = calls
        .iter()
        .filter(|call| call.starts_with("start"))
        .collect();
    assert!(
        started
            .iter()
            .all(|call| call.contains("bc/seed-1 threads")),
        "{started:?}"
    );
    assert_eq!(started.len(), 2);
    assert_code(&place.reproduce(&["--seeds", "1"], &[]), 0);
    assert!(place.calls().iter().all(|call| !call.starts_with("start")));
}

#[test]
fn a_record_of_other_settings_does_not_count() {
    let place = Place::new();
    let words = ["--seeds", "1", "--tasks", "hopper-medium"];
    assert_code(&place.reproduce(&words, &[]), 0);
    let changed = SUITE.replace("tau = 0.5", "tau = 0.25");
    fs::write(place.dir.path().join("suite.toml"), changed).unwrap();
    place.take_calls();
    let output = place.reproduce(&words, &[]);
    assert_code(&output, 1);
    let said = text(&output.stderr);
    assert!(
        said.contains("its config.critic.tau is 0.5, this plan's 0.25"),
        "{said}"
    );
    // The critic is nothing to an anchor.
    let calls = place.calls();
    let started: Vec<_> = calls.iter().filter(|c| c.starts_with("start")).collect();
    assert!(
        started.len() == 1 && started[0].contains("/spar/"),
        "{started:?}"
    );
}

/// The suite gave `anchor.lr` when the runs were made and leaves it to the default now.
#[test]
fn a_record_made_with_a_line_the_suite_has_no_more_does_not_count() {
    let place = Place::new();
    let words = ["--seeds", "1", "--tasks", "hopper-medium"];
    let suite = place.dir.path().join("suite.toml");
    fs::write(&suite, format!("{SUITE}anchor.lr = 0.25\n")).unwrap();
    assert_code(&place.reproduce(&words, &[]), 0);
    fs::write(&suite, SUITE).unwrap();
    let output = place.reproduce(&words, &[]);
    assert_code(&output, 1);
    let said = text(&output.stderr);
    let named = "its config.anchor.lr is 0.25, this plan's 0.5";
    assert_eq!(said.matches(named).count(), 2, "{said}");
}

#[test]
fn a_record_without_its_settings_does_not_count() {
    let place = Place::new();
    let words = [
        "--seeds",
        "1",
        "--tasks",
        "hopper-medium",
        "--methods",
        "bc",
    ];
    assert_code(&place.reproduce(&words, &[]), 0);
    fs::remove_file(place.out().join("hopper-medium/bc/seed-1/spec.json")).unwrap();
    let output = place.reproduce(&words, &[]);
    assert_code(&output, 1);
    let said = text(&output.stderr);
    assert!(said.contains("there is no spec.json beside it"), "{said}");
}

#[test]
fn a_record_from_other_data_does_not_count() {
    let place = Place::new();
    let words = [
        "--seeds",
        "1",
        "--tasks",
        "hopper-medium",
        "--methods",
        "bc",
    ];
    assert_code(&place.reproduce(&words, &[]), 0);
    let output = place.reproduce(&words, &[("FAKE_SHA", "beef")]);
    assert_code(&output, 1);
    let said = text(&output.stderr);
    assert!(
        said.contains("its dataset.sha256 is \"feed\", this plan's \"beef\""),
        "{said}"
    );
    assert!(said.contains("was made from other data"), "{said}");
}

#[test]
fn a_failed_run_stops_no_other_and_is_named_at_the_end() {
    let place = Place::new();
    let output = place.reproduce(&[], &[("FAKE_FAIL", "hopper-medium/spar/seed-0")]);
    assert_code(&output, 1);
    let calls = place.calls();
    let ended = calls.iter().filter(|call| call.starts_with("end")).count();
    assert_eq!(ended, 7);
    assert!(calls.last().unwrap().starts_with("report"));
    let said = text(&output.stderr);
    let end = said.split("1 failed:").nth(1).unwrap();
    assert!(
        end.contains("hopper-medium/spar/seed-0: exit status: 1: error: the loss is not finite")
    );
    assert!(end.contains("log.txt"), "{end}");
}

#[test]
fn without_an_anchor_a_run_makes_its_own() {
    let place = Place::new();
    let output = place.reproduce(&["--seeds", "0"], &[("FAKE_FAIL", "hopper-medium/bc/*")]);
    assert_code(&output, 1);
    let calls = place.calls();
    let spar = calls
        .iter()
        .find(|c| c.starts_with("start hopper-medium/spar"));
    assert!(spar.unwrap().contains("anchor=none"), "{calls:?}");
}

#[test]
fn a_task_without_data_stops_no_other() {
    let place = Place::new();
    let output = place.reproduce(&["--seeds", "0"], &[("FAKE_FAIL", "data/hopper-medium")]);
    assert_code(&output, 1);
    let said = text(&output.stderr);
    assert!(
        said.contains("data of hopper-medium: exit status: 1: error: disk full"),
        "{said}"
    );
    assert!(
        said.contains("hopper-medium/spar/seed-0: it has no data"),
        "{said}"
    );
    let ended = place
        .calls()
        .iter()
        .filter(|c| c.starts_with("end walker2d"))
        .count();
    assert_eq!(ended, 2);
}

#[test]
fn killed_it_is_heard_no_more_and_goes_on_when_called_again() {
    let place = Place::new();
    let mut child = place.reproduce_slowly();
    child.kill().unwrap();
    child.wait().unwrap();
    place.wait(|calls| calls.iter().filter(|c| c.starts_with("unheard")).count() == 2);
    let done = place
        .take_calls()
        .iter()
        .filter(|c| c.starts_with("end"))
        .count();
    let output = place.reproduce(&[], &[]);
    assert_code(&output, 0);
    let again = place
        .calls()
        .iter()
        .filter(|c| c.starts_with("end"))
        .count();
    assert_eq!(done + again, 8);
}

#[test]
fn ctrl_c_takes_the_runs_down_and_says_how_to_go_on() {
    let place = Place::new();
    let child = place.reproduce_slowly();
    let pid = child.id().to_string();
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -INT {pid}")])
        .status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 130);
    let said = text(&output.stderr);
    assert!(
        said.contains("SIGINT: ") && said.contains("the same command"),
        "{said}"
    );
    assert!(!said.contains("failed"), "{said}");
    assert!(place.calls().iter().all(|call| !call.starts_with("report")));
    assert_code(&place.reproduce(&[], &[]), 0);
}

#[test]
fn two_at_once_do_not_share_a_folder() {
    let place = Place::new();
    let mut child = place.reproduce_slowly();
    let output = place.reproduce(&[], &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_code(&output, 1);
    let said = text(&output.stderr);
    assert!(said.contains("another process makes a table in"), "{said}");
}

#[test]
fn a_wrong_name_is_a_usage_error_of_one_line() {
    let place = Place::new();
    for (words, expected) in [
        (
            ["--tasks", "hopper"],
            "expected one of: hopper-medium, walker2d-medium",
        ),
        (["--methods", "sac"], "expected one of: bc, spar"),
        (["--preset", "slow"], "expected one of: quick"),
    ] {
        let output = place.reproduce(&words, &[]);
        assert_code(&output, 2);
        let said = text(&output.stderr);
        assert!(
            said.lines().count() == 1 && said.contains(expected),
            "{said}"
        );
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command
        .args(["reproduce", "--suite", "chess"])
        .output()
        .unwrap();
    assert_code(&output, 2);
    assert!(text(&output.stderr).contains("unknown suite `chess`; expected one of:"));
    assert_eq!(place.calls(), Vec::<String>::new());
}

#[test]
fn every_level_is_generated_and_then_verified() {
    let place = Place::new();
    let words = ["data", "generate", "--scale", "full", "--verify", "5"];
    let output = place.command(&words, &[]).output().unwrap();
    assert_code(&output, 0);
    let printed = text(&output.stdout);
    // 1000 is a hopper's 31.3 by D4RL's scores.
    let row = printed.lines().find(|l| l.contains("hopper-expert-local"));
    let cells: Vec<_> = row.unwrap().split_whitespace().collect();
    assert_eq!(
        cells,
        [
            "hopper-expert-local",
            "7",
            "1000.0",
            "31.3",
            "–",
            "–",
            "–",
            "5",
            "2e-7",
            "feed"
        ]
    );
    let calls = place.calls();
    assert_eq!(calls.len(), 2 * 12);
    for env in ["hopper", "walker2d"] {
        for level in [
            "random",
            "medium",
            "medium-replay",
            "full-replay",
            "medium-expert",
            "expert",
        ] {
            let at = |call: String| calls.iter().position(|c| *c == call).unwrap();
            let made = at(format!("data {env}-{level} local 1000000"));
            assert!(made < at(format!("verify 1000000/{env}-{level}-local.hdf5 5")));
        }
    }
}

#[test]
fn a_file_that_is_not_made_or_not_sound_fails_and_the_others_are_shown() {
    let place = Place::new();
    let words = [
        "data",
        "generate",
        "hopper-medium",
        "hopper-expert",
        "walker2d-random",
    ];
    let faults = [
        ("FAKE_FAIL", "data/hopper-expert"),
        ("FAKE_BAD", "walker2d-random"),
    ];
    let output = place.command(&words, &faults).output().unwrap();
    assert_code(&output, 1);
    assert!(text(&output.stdout).contains("hopper-medium-local"));
    let said = text(&output.stderr);
    assert!(said.contains("failed: hopper-expert: not made: ") && said.contains("disk full"));
    assert!(
        said.contains("failed: walker2d-random: not verified: "),
        "{said}"
    );

    let words = ["data", "generate", "--scale", "huge"];
    assert_code(&place.command(&words, &[]).output().unwrap(), 2);
}

#[test]
fn fetching_is_handed_on_with_paths_that_hold_in_the_root() {
    let place = Place::new();
    let words = ["data", "fetch", "hopper-best", "--dir", "cache", "--list"];
    let output = place.command(&words, &[]).output().unwrap();
    // The exit code is `spar`'s.
    assert_code(&output, 2);
    let here = place.dir.path().canonicalize().unwrap();
    let here = here.display();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let root = PathBuf::from(root).canonicalize().unwrap();
    let expected = format!(
        "data fetch hopper-best --jobs 2 --suite {here}/suite.toml --dir {here}/cache --list in {}",
        root.display()
    );
    assert_eq!(place.calls(), [expected]);
}
