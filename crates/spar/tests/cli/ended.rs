//! Runs that are ended from outside, by a signal, a kill or a limit: nothing is lost, and
//! what is said is one line.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use spar_core::{FinishedRun, RunIdentity, Scope, Stream};
use spar_nn::State;

use crate::support::{Done, Folder, finished_files, prepared, suite_run};

const CHECKPOINT: &str = "run/checkpoints/latest.safetensors";

/// A folder whose suite has runs of `updates`, and a checkpoint every `every`.
fn prepared_with(updates: u64, every: u64) -> Folder {
    let folder = prepared();
    let suite = fs::read_to_string(folder.path("suite.toml")).unwrap();
    let suite = suite
        .replace("updates = 200\n", &format!("updates = {updates}\n"))
        .replace("updates = 100 }\n", &format!("updates = {updates} }}\n"))
        .replace(
            "checkpoint_every = 30",
            &format!("checkpoint_every = {every}"),
        )
        .replace("eval_every = 40", "eval_every = 1000000");
    fs::write(folder.path("suite.toml"), suite).unwrap();
    folder
}

fn count(folder: &Folder, name: &str) -> u64 {
    let state = State::read(&folder.path(CHECKPOINT)).unwrap();
    state.get_count(name).unwrap()
}

/// Up to 5000 updates were lost in silence.
#[test]
fn a_signal_ends_a_run_once_its_checkpoint_is_written() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let folder = prepared_with(1_000_000, 1_000_000);
        let line = suite_run("long", "bc", "run", "--progress json");
        let mut child = folder
            .command(&line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
        told.next().unwrap().unwrap();
        assert!(!folder.exists(CHECKPOINT));
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", child.id())])
            .status();
        assert!(sent.unwrap().success());
        for line in told {
            line.unwrap();
        }
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{said}");
        let update = count(&folder, "updates.anchor");
        let expected =
            format!("SIG{signal}: stopped at update {update}; the same command resumes it\n");
        assert_eq!(said, expected);
        assert!(!folder.exists("run/DONE"));
        // It is resumed from there.
        let next = format!("--stop-after {}", update + 1);
        let resumed = folder.spar(&suite_run("long", "bc", "run", &next));
        assert!(
            resumed
                .err
                .contains(&format!("stopped at update {}", update + 1))
        );
        resumed.ok();
        assert_eq!(count(&folder, "updates.anchor"), update + 1);
    }
}

/// Each signal once, while the anchor is trained, while SPAR is, and again: the run that is
/// resumed by the same command has the bits of one that ran through.
#[test]
fn signals_change_no_bit_of_the_run_they_interrupt() {
    let folder = prepared_with(20_000, 1_000_000);
    let line = suite_run("long", "spar", "run", "--progress json");
    let mut stream = Stream::new(22, "signals");
    let mut ended = 0;
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("TERM", 143)] {
        let mut child = folder
            .command(&line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
        drop(told.next());
        thread::sleep(Duration::from_millis(stream.index(400) as u64));
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", child.id())])
            .status();
        assert!(sent.unwrap().success());
        drop(told.last());
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        if done.status.code() == Some(0) {
            // It was faster.
            break;
        }
        assert_eq!(done.status.code(), Some(code), "{said}");
        assert!(said.contains("the same command resumes it"), "{said}");
        ended += 1;
    }
    assert!(ended > 1);
    folder.spar(&line).ok();
    folder.spar(&suite_run("long", "spar", "straight", "")).ok();
    for name in [
        "policy.safetensors",
        "metrics.jsonl",
        "eval.csv",
        "returns.csv",
    ] {
        let read = |run: &str| folder.read(&format!("{run}/{name}"));
        assert!(read("run") == read("straight"), "{name}");
    }
}

/// Fifty kills, each at a random moment of a run that does little but save: the last
/// whole checkpoint is there every time, and in the end no bit has changed.
#[test]
fn fifty_kills_while_saving_lose_nothing() {
    let folder = prepared_with(2000, 1);
    let line = suite_run("long", "bc", "run", "");
    let modified = || {
        let file = fs::metadata(folder.path(CHECKPOINT));
        file.and_then(|file| file.modified()).ok()
    };
    let mut stream = Stream::new(21, "kills");
    let (mut reached, mut kills) = (0, 0);
    while kills < 50 {
        let before = modified();
        let mut child = folder
            .command(&line)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while modified() == before {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it saves nothing"
            );
            if child.try_wait().unwrap().is_some() {
                break;
            }
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_micros(stream.index(20_000) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        if folder.exists("run/DONE") {
            // It was faster than the kills: once more from the start.
            fs::remove_dir_all(folder.path("run")).unwrap();
            reached = 0;
            continue;
        }
        kills += 1;
        let update = count(&folder, "updates.anchor");
        assert!(update >= reached, "{update} after {reached}");
        reached = update;
    }
    folder.spar(&line).ok();
    folder.spar(&suite_run("long", "bc", "straight", "")).ok();
    for name in [
        "policy.safetensors",
        "metrics.jsonl",
        "eval.csv",
        "returns.csv",
    ] {
        let read = |run: &str| folder.read(&format!("{run}/{name}"));
        assert!(read("run") == read("straight"), "{name}");
    }
    assert_eq!(folder.files("run"), finished_files("run"));
}

/// `line` in a shell that has done `before`.
fn after(folder: &Folder, before: &str, line: &str) -> Done {
    let program = folder.command(line);
    let mut command = Command::new("bash");
    command
        .args(["-c", &format!("{before}; exec \"$@\""), "bash"])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(folder.path(""))
        .stdin(Stdio::null());
    Done::of(&mut command)
}

/// The limit of a file's size is a signal, which ended the program without a word.
#[test]
fn a_limit_of_the_size_of_files_is_an_error_of_one_line() {
    let folder = prepared();
    let line = suite_run("long", "spar", "run", "");
    after(&folder, "ulimit -c 0; ulimit -f 8", &line)
        .fails(1, &["run/checkpoints/latest.safetensors", "too large"]);
    folder.spar(&line).ok();
    assert_eq!(folder.files("run"), finished_files("run"));
}

/// It was a panic, exit code 101.
#[test]
fn a_full_or_closed_stderr_ends_nothing() {
    let folder = prepared();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let stopped = suite_run("long", "bc", "run", "--stop-after 20");
    let code = |line: &str| {
        let mut command = folder.command(line);
        command.stderr(full()).stdout(Stdio::null());
        command.status().unwrap().code()
    };
    assert_eq!(code(&stopped), Some(0));
    assert_eq!(code("train"), Some(2));
    assert_eq!(code(&stopped.replace("data.hdf5", "none.hdf5")), Some(1));
    for before in ["exec 2>&-", "exec 2>/dev/full"] {
        assert_eq!(after(&folder, before, &stopped).code, Some(0), "{before}");
    }
    // A reader that is gone.
    let mut child = folder
        .command(&stopped)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    folder.spar(&suite_run("long", "bc", "run", "")).ok();
}

/// What the planner of `cargo xtask reproduce` compares a run with is what the run was
/// made with, for a method of every kind.
#[test]
fn the_settings_of_a_suite_s_runs_are_those_the_runs_have() {
    let folder = prepared();
    let mut suite = fs::read_to_string(folder.path("suite.toml")).unwrap();
    suite += "[method.iql]\nhidden = [8]\n[method.rpl]\nanchored = true\nhidden = [8]\n\
              [variant.no-fit]\nabout = 'no fit'\nrectify.w_fit = 0.0\n";
    fs::write(folder.path("suite.toml"), suite).unwrap();
    let columns = ["bc", "spar", "iql", "rpl", "no-fit"];
    let told = folder.spar(&format!(
        "protocol --settings short --tasks pointmass-medium --methods {} suite.toml",
        columns.join(",")
    ));
    let told = told.ok();
    assert_eq!(told.lines().count(), columns.len());
    for (line, column) in told.lines().zip(columns) {
        let told: Value = serde_json::from_str(line).unwrap();
        assert_eq!(told["column"], column);
        let (method, more) = match column {
            "no-fit" => ("spar", "--variant no-fit"),
            // As the scheduler starts it: around the anchor that is there.
            "rpl" => ("rpl", "--anchor bc"),
            method => (method, ""),
        };
        folder.spar(&suite_run("short", method, column, more)).ok();
        let done = FinishedRun::read(&folder.path(column)).unwrap().unwrap();
        let mut spec = told["spec"].clone();
        spec["seed"] = 3.into();
        spec["dataset"] = serde_json::json!({ "sha256": done.record.dataset.sha256 });
        let anchored = told["anchored"].as_bool().unwrap();
        let here = RunIdentity::of(&spec, anchored).unwrap();
        assert_eq!(
            here.differences(&done.identity, Scope::Whole),
            [],
            "{column}"
        );
        assert_eq!(
            here.settings_sha256(),
            done.record.integrity.unwrap().run.settings_sha256
        );
    }
}

/// The README compares `runs/a` with `runs/b`; single runs were refused.
#[test]
fn two_single_runs_are_compared() {
    let folder = Folder::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runs/mujoco-quick");
    for (name, run) in [
        ("a", "hopper-medium/spar/seed-0"),
        ("b", "hopper-medium/spar/seed-0"),
        ("c", "hopper-medium/bc/seed-0"),
    ] {
        fs::create_dir_all(folder.path(name)).unwrap();
        for file in ["DONE", "spec.json", "eval.csv"] {
            let to = folder.path(name).join(file);
            fs::copy(format!("{source}/{run}/{file}"), to).unwrap();
        }
    }
    let told = folder.spar("report compare a b").ok();
    assert!(told.contains("hopper-medium SPAR"), "{told}");
    let told = folder.spar("report compare a c").ok();
    for fact in [
        "hopper-medium SPAR, BC",
        "methods: A SPAR, B BC",
        "no verdict",
    ] {
        assert!(told.contains(fact), "{fact}: {told}");
    }
    fs::remove_file(folder.path("b/spec.json")).unwrap();
    folder
        .spar("report compare a b")
        .fails(1, &["b/DONE", "no spec.json beside it"]);
    fs::remove_file(folder.path("b/DONE")).unwrap();
    folder
        .spar("report compare a b")
        .fails(1, &["b: no run there", "or one finished run"]);
}
