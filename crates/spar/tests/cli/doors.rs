//! Out to other programs: acting over stdin and a socket, ONNX models, trackers.
//!
//! `SPAR_TRACKERS_PYTHON` names a Python that has `wandb`, `mlflow` and `trackio`; `cargo
//! xtask test` provides one, and without it what needs them is skipped in words.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use spar_core::Stream;
use spar_policy::Policy;

use crate::support::{Done, Folder, prepared, suite_run, write_tensors};

/// A folder with a network of 3 observations and 2 actions in `policy.safetensors`.
fn with_policy() -> (Folder, Policy) {
    let folder = Folder::new();
    let mut stream = Stream::new(8, "policy");
    let mut tensor = |name: &str, shape: &[usize]| {
        let mut values = vec![0.0; shape.iter().product()];
        stream.fill_normal(0.5, &mut values);
        (name.to_owned(), shape.to_vec(), values)
    };
    let tensors = [
        tensor("layers.0.weight", &[4, 3]),
        tensor("layers.0.bias", &[4]),
        tensor("layers.1.weight", &[2, 4]),
        tensor("layers.1.bias", &[2]),
    ];
    let path = folder.path("policy.safetensors");
    write_tensors(
        &path,
        &tensors,
        &[("activation", "relu"), ("output", "tanh")],
    );
    let policy = Policy::load(&path).unwrap();
    (folder, policy)
}

fn action(policy: &Policy, obs: &[f32]) -> Vec<f32> {
    let mut action = vec![0.0; 2];
    policy.act(obs, &mut action);
    action
}

fn observations() -> Vec<[f32; 3]> {
    let mut stream = Stream::new(8, "obs");
    let draw = |_| {
        let mut obs = [0.0; 3];
        stream.fill_normal(2.0, &mut obs);
        obs
    };
    (0..200).map(draw).collect()
}

/// What the program makes of `input`.
fn fed(folder: &Folder, line: &str, input: &[u8]) -> std::process::Output {
    let mut child = folder
        .command(line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // It may end before it has read all.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

fn to_bytes(rows: impl IntoIterator<Item = f32>) -> Vec<u8> {
    rows.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[test]
fn act_answers_lines_and_raw_numbers_by_the_policy_s_own_bits() {
    let (folder, policy) = with_policy();
    let all = observations();
    let text: String = all.iter().map(|obs| format!("{}\n", json!(obs))).collect();
    let done = fed(&folder, "act --policy policy.safetensors", text.as_bytes());
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let told = String::from_utf8(done.stdout).unwrap();
    assert_eq!(told.lines().count(), all.len());
    for (line, obs) in told.lines().zip(&all) {
        let got: Vec<f32> = serde_json::from_str(line).unwrap();
        assert_eq!(got, action(&policy, obs));
    }
    let raw = to_bytes(all.iter().flatten().copied());
    let done = fed(
        &folder,
        "act --policy policy.safetensors --format f32",
        &raw,
    );
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let wanted = all.iter().flat_map(|obs| action(&policy, obs));
    assert_eq!(done.stdout, to_bytes(wanted));
    assert_eq!(done.stderr, b"");
}

/// A robot waits for the action before it has a next observation.
#[test]
fn an_action_is_there_before_the_next_observation() {
    let (folder, policy) = with_policy();
    let mut child = folder
        .command("act --policy policy.safetensors")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (
        child.stdin.take().unwrap(),
        BufReader::new(child.stdout.take().unwrap()),
    );
    for obs in &observations()[..20] {
        writeln!(to, "{}", json!(obs)).unwrap();
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        let got: Vec<f32> = serde_json::from_str(&line).unwrap();
        assert_eq!(got, action(&policy, obs));
    }
    drop(to);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_no_observation_is_refused_by_its_number_and_nothing_is_made_up() {
    let (folder, _) = with_policy();
    let huge = format!("[{}]", "1,".repeat(1000));
    for (input, facts) in [
        ("[1,2]", "2 numbers, expected an array of 3 numbers"),
        ("[1,2,null]", "no observation"),
        ("[1,2,1e300]", "number out of range"),
        ("{\"obs\":1}", "expected an array of 3 numbers"),
        (huge.as_str(), "a line of more than"),
    ] {
        let input = format!("[1,2,3]\n\n{input}\n[1,2,3]\n");
        let done = fed(&folder, "act --policy policy.safetensors", input.as_bytes());
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(
            said.contains("observation 3: ") && said.contains(facts),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        let told = String::from_utf8(done.stdout).unwrap();
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    for (numbers, facts) in [
        (&[1.0, 2.0, 3.0, 4.0][..], "ends after 4 bytes, expected 12"),
        (&[1.0, 2.0, 3.0, f32::NAN, 1.0, 2.0], "number 0 is NaN"),
    ] {
        let input = to_bytes(numbers.iter().copied());
        let done = fed(
            &folder,
            "act --policy policy.safetensors --format f32",
            &input,
        );
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(
            (done.status.code(), done.stdout.len()),
            (Some(1), 8),
            "{said}"
        );
        assert!(
            said.contains("observation 2: ") && said.contains(facts),
            "{said}"
        );
    }
}

#[test]
fn a_socket_serves_programs_side_by_side_until_a_signal_ends_it() {
    let (folder, policy) = with_policy();
    let socket = folder.path("arm.sock");
    // What a program that was killed leaves.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut child = folder
        .command("act --policy policy.safetensors --socket arm.sock")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "listening at arm.sock: 3 numbers in, 2 out\n");
    let connect = || {
        let stream = UnixStream::connect(&socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        (stream.try_clone().unwrap(), BufReader::new(stream))
    };
    let ask = |(to, from): &mut (UnixStream, BufReader<UnixStream>), what: &str| -> Value {
        writeln!(to, "{what}").unwrap();
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let (mut one, mut two) = (connect(), connect());
    for obs in &observations()[..10] {
        let wanted = action(&policy, obs);
        for program in [&mut one, &mut two] {
            let got = ask(program, &json!(obs).to_string());
            assert_eq!(serde_json::from_value::<Vec<f32>>(got).unwrap(), wanted);
        }
    }
    // A fault is told, and is nobody else's.
    let fault = ask(&mut one, "[1]");
    assert!(
        fault["error"].as_str().unwrap().contains("1 numbers"),
        "{fault}"
    );
    assert!(ask(&mut one, "[1,2,3]").is_array() && ask(&mut two, "[1,2,3]").is_array());
    // Two are connected; the one after the last that may be is told why it gets nothing.
    let more: Vec<_> = (2..64).map(|_| connect()).collect();
    let mut turned_away = String::new();
    connect().1.read_to_string(&mut turned_away).unwrap();
    assert_eq!(
        turned_away,
        "{\"error\":\"64 programs are connected, the most there may be\"}\n"
    );
    line.clear();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("turned away: 64 are connected"), "{line}");
    drop(more);
    // A second program does not take its place.
    folder
        .spar("act --policy policy.safetensors --socket arm.sock")
        .fails(1, &["arm.sock", "another program listens there"]);
    fs::write(folder.path("file"), "mine").unwrap();
    folder
        .spar("act --policy policy.safetensors --socket file")
        .fails(1, &["file", "is there and no socket"]);
    assert_eq!(folder.read("file"), b"mine");
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -TERM {}", child.id())])
        .status();
    assert!(sent.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "SIGTERM: ended\n");
    assert!(!socket.exists());
}

#[test]
fn export_writes_a_model_or_says_why_not() {
    let (folder, _) = with_policy();
    let told = folder
        .spar("export --policy policy.safetensors --onnx out/policy.onnx --json")
        .json();
    assert_eq!((&told["obs_dim"], &told["act_dim"]), (&json!(3), &json!(2)));
    let written = folder.read("out/policy.onnx");
    assert_eq!(told["bytes"], written.len());
    folder
        .spar("export --policy policy.safetensors --onnx out/policy.onnx")
        .fails(1, &["out/policy.onnx", "is there already"]);
    folder.spar("export --policy . --onnx other.onnx").ok();
    assert_eq!(folder.read("other.onnx"), written);
    folder
        .spar("export --policy out --onnx third.onnx")
        .fails(1, &["out", "without"]);
    assert!(!folder.exists("third.onnx"));
}

/// What MLflow's file store, Weights & Biases' offline file and Trackio's database hold.
const READ_BACK: &str = r#"
import glob, json, os, sqlite3, sys
sys.path = [place for place in sys.path if place not in ("", ".")]
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow
from wandb.proto import wandb_internal_pb2

def records(path):
    # LevelDB's log format: blocks of 32 KB, of pieces with a checksum, a length and a kind.
    data, at, whole = open(path, "rb").read(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""

client = mlflow.MlflowClient("file:" + os.path.abspath("mlruns"))
(experiment,) = [e for e in client.search_experiments() if e.name == "doors"]
(run,) = client.search_runs([experiment.experiment_id])
history = {m: [[p.step, p.value] for p in client.get_metric_history(run.info.run_id, m)]
           for m in run.data.metrics}
found = {"mlflow": {"history": history, "params": run.data.params, "status": run.info.status}}
rows = []
for data in records(*glob.glob("wandb/offline-run-*/*.wandb")):
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data)
    if record.WhichOneof("record_type") == "history":
        rows.append({(i.key or "/".join(i.nested_key)): json.loads(i.value_json)
                     for i in record.history.item})
found["wandb"] = rows
db = sqlite3.connect("trackio/doors.db")
found["trackio"] = [[step, json.loads(text)] for step, text in
                    db.execute("select step, metrics from metrics order by id")]
json.dump(found, sys.stdout)
"#;

#[test]
fn trackers_hold_what_the_log_says_after_a_replay() {
    let Some(python) = std::env::var_os("SPAR_TRACKERS_PYTHON") else {
        eprintln!(
            "skipped: SPAR_TRACKERS_PYTHON names no Python with trackers; use cargo xtask test"
        );
        return;
    };
    let folder = prepared();
    folder.spar(&suite_run("short", "bc", "runs/bc", "")).ok();
    let log = String::from_utf8(folder.read("runs/bc/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let (update, loss) = (
        last["update"].as_u64().unwrap(),
        last["loss"].as_f64().unwrap(),
    );
    let with_clients = |command: &mut Command| {
        command
            .env("WANDB_MODE", "offline")
            .env("WANDB_SILENT", "true")
            .env("MLFLOW_ALLOW_FILE_STORE", "true")
            .env(
                "MLFLOW_TRACKING_URI",
                format!("file:{}", folder.path("mlruns").display()),
            )
            .env("TRACKIO_DIR", folder.path("trackio"));
    };
    for tracker in ["wandb", "mlflow", "trackio"] {
        // A module of the folder is not the client.
        fs::write(folder.path(&format!("{tracker}.py")), "raise SystemExit(9)").unwrap();
        let line = format!("log replay --to {tracker} --project doors runs --python");
        let mut command = folder.command(&line);
        with_clients(command.arg(&python));
        let done = Done::of(&mut command);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.err.contains("steps to"), "{done:?}");
    }
    let mut read = Command::new(&python);
    read.args(["-c", READ_BACK]).current_dir(folder.path(""));
    let found = Done::of(&mut read).json();
    let points = &found["mlflow"]["history"]["anchor/loss"];
    assert_eq!(
        points.as_array().unwrap().last().unwrap(),
        &json!([update, loss])
    );
    assert_eq!(found["mlflow"]["params"]["method"], "bc");
    assert_eq!(found["mlflow"]["params"]["seed"], "3");
    assert_eq!(found["mlflow"]["status"], "FINISHED");
    let rows = found["wandb"].as_array().unwrap();
    let of_loss = rows
        .iter()
        .rfind(|row| row.get("anchor/loss").is_some())
        .unwrap();
    assert_eq!(of_loss["anchor/loss"], loss);
    assert_eq!(of_loss["anchor/update"], update);
    assert!(
        rows.iter()
            .any(|row| row.get("final/mean_return").is_some())
    );
    let rows = found["trackio"].as_array().unwrap();
    assert!(
        rows.iter()
            .any(|row| row[0] == update && row[1]["anchor/loss"] == loss)
    );
}

#[test]
fn a_replay_that_cannot_be_made_says_why() {
    let folder = Folder::new();
    folder
        .spar("log replay --to wandb none")
        .fails(1, &["none", "no folder of a run"]);
    fs::create_dir(folder.path("empty")).unwrap();
    folder
        .spar("log replay --to wandb empty --python no-such-python")
        .fails(1, &["no-such-python", "--python"]);
    if Command::new("python3").arg("--version").output().is_ok() {
        let done = folder.spar("log replay --to wandb empty");
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.err.contains("error: empty: no run there"), "{done:?}");
    }
    let printed = folder.spar("log replay --to wandb --print").ok();
    assert!(printed.contains("class Wandb"));
}
