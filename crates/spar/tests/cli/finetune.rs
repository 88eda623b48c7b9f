//! `spar finetune`: from a run's folder to a better policy, its report, and what it refuses.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{Folder, finished_files};

const OFFLINE: &str = "train --dataset data.hdf5 --env pointmass --seed 1 --batch-size 16 \
     --updates 40 --eval-episodes 3";

/// A folder with the data and an offline run of IQL, `iql`.
fn trained() -> Folder {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    folder
        .spar(&format!("{OFFLINE} --method iql --out iql"))
        .ok();
    folder
}

#[test]
fn a_run_is_fine_tuned_from_its_folder_alone() {
    let folder = trained();
    let line = "finetune --policy iql --env pointmass --steps 150 --start-steps 50 --eval-every 60";
    let first = folder.spar(&format!("{line} --out online --json")).json();
    assert_eq!(folder.files("online"), finished_files("online"));
    let record: Value = serde_json::from_slice(&folder.read("online/DONE")).unwrap();
    assert_eq!(record["method"], "iql-finetuned");
    assert_eq!(record["finetuned"]["steps"], 150);
    assert_eq!(record["finetuned"]["updates"], 100);
    assert_eq!(record["returns"], first["returns"]);
    assert_eq!(
        record["finetuned"]["offline_returns"],
        first["offline"]["returns"]
    );
    assert_eq!(first["steps"], 150);
    let file = "iql/policy.safetensors";
    assert_eq!(first["offline"]["policy"], file);
    let eval = |policy: &str| {
        let line = format!("eval --policy {policy} --env pointmass --episodes 3 --json");
        folder.spar(&line).json()["returns"].clone()
    };
    assert_eq!(eval("iql"), first["offline"]["returns"]);
    assert_eq!(eval("online"), first["returns"]);

    // From the checkpoint, in parts, with the data named: the same bits.
    let line = line.replace(
        "--policy iql",
        "--policy iql/checkpoints/latest.safetensors",
    );
    let line = format!("{line} --dataset data.hdf5 --out parts");
    let whole = line.replace("--out parts", "--out named --json");
    assert_eq!(folder.spar(&whole).json()["offline"]["policy"], file);
    for stop in [20, 75] {
        let stopped = folder.spar(&format!("{line} --stop-after {stop}"));
        assert!(
            stopped.err.contains(&format!("stopped at step {stop}")),
            "{stopped:?}"
        );
        stopped.ok();
    }
    let table = folder.spar(&line).ok();
    assert!(
        table.contains("offline") && table.contains("fine-tuned"),
        "{table}"
    );
    for name in [
        "policy.safetensors",
        "eval.csv",
        "metrics.jsonl",
        "returns.csv",
    ] {
        let [one, two] = ["online", "parts"].map(|run| folder.read(&format!("{run}/{name}")));
        assert!(one == two, "{name}");
    }

    // Its curve counts steps, and it is a run like any other where runs are compared.
    let text = folder.spar("report compare iql online").ok();
    for fact in [
        "data IQL, IQL fine-tuned",
        "methods: A IQL, B IQL fine-tuned",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    let found = folder.spar("report compare iql online --json").json();
    let row = &found["rows"][0];
    assert_eq!(
        (&row["method"], &row["method_b"], &found["unit"]),
        (&"iql".into(), &"iql-finetuned".into(), &"return".into())
    );
    assert_eq!(row["a"], first["offline"]["mean_return"]);
    assert_eq!(row["b"], first["mean_return"]);

    // The report shows both, and says what it is of.
    let text = folder.spar("report --runs online --out report").ok();
    for word in ["IQL", "offline", "fine-tuned", "return", "150"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let table: Value = serde_json::from_slice(&folder.read("report/finetune.json")).unwrap();
    let row = &table["rows"][0];
    let mean = |returns: &Value| {
        let returns = returns.as_array().unwrap();
        returns.iter().map(|r| r.as_f64().unwrap()).sum::<f64>() / returns.len() as f64
    };
    for (field, returns) in [("offline", &first["offline"]), ("finetuned", &first)] {
        let off = row[field].as_f64().unwrap() - mean(&returns["returns"]);
        assert!(off.abs() < 1e-9, "{field}");
    }
    assert_eq!(
        (&row["unit"], &row["steps"]),
        (&"return".into(), &150.into())
    );
    let curve = String::from_utf8(folder.read("report/finetune.csv")).unwrap();
    assert_eq!(curve.lines().count(), 5, "{curve}");
}

#[test]
fn what_does_not_fit_an_offline_run_is_refused() {
    let folder = trained();
    let other = "train --dataset data.hdf5 --env pointmass --batch-size 16 --updates 5";
    folder.spar(&format!("{other} --method awr --out awr")).ok();
    for (words, code, facts) in [
        (
            "--policy awr --out x",
            1,
            &["method awr cannot be fine-tuned", "spar, td3bc, iql, cql"][..],
        ),
        (
            "--policy iql --env hopper --out x",
            2,
            &["--env hopper", "pointmass"],
        ),
        (
            "--policy iql --steps 10 --out x",
            2,
            &["start_steps", "0 to 9"],
        ),
        (
            "--policy iql --noise 0.1 --out x",
            2,
            &["noise", "iql draws its actions itself"],
        ),
        ("--policy iql --set nothing=1 --out x", 2, &["nothing"]),
        ("--policy data.hdf5 --out x", 1, &["data.hdf5"]),
        ("--policy nowhere --out x", 1, &["nowhere"]),
        (
            "--policy iql --dataset nowhere.hdf5 --out x",
            1,
            &["nowhere.hdf5"],
        ),
    ] {
        let steps = if words.contains("--steps") {
            ""
        } else {
            "--steps 2000"
        };
        folder
            .spar(&format!("finetune {words} {steps}"))
            .fails(code, facts);
        assert!(!folder.exists("x/spec.json"), "{words}");
    }
    // Data are told by their bytes.
    std::fs::rename(folder.path("data.hdf5"), folder.path("moved.hdf5")).unwrap();
    let line = "finetune --policy iql --steps 20 --start-steps 5 --out y";
    folder.spar(line).fails(2, &["--dataset is missing"]);
    folder.spar(&format!("{line} --dataset moved.hdf5")).ok();
    let more = format!("{OFFLINE} --method iql --out z").replace("data.hdf5", "moved.hdf5");
    folder.spar(&more).ok();
    let mut bytes = folder.read("z/checkpoints/latest.safetensors");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(folder.path("z/checkpoints/latest.safetensors"), bytes).unwrap();
    folder
        .spar("finetune --policy z --steps 20 --start-steps 5 --out w")
        .fails(1, &["sha256"]);
}

#[test]
fn a_signal_ends_fine_tuning_once_its_checkpoint_is_written() {
    let folder = trained();
    let line = "finetune --policy iql --steps 1000000 --out online --checkpoint-every 1000000 \
         --eval-every 1000000 --progress json";
    let mut child = folder
        .command(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    let progress: Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
    assert_eq!(
        (&progress["phase"], &progress["total"]),
        (&"online".into(), &1_000_000.into())
    );
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -TERM {}", child.id())])
        .status();
    assert!(sent.unwrap().success());
    drop(told.last());
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(143), "{said}");
    assert!(said.starts_with("SIGTERM: stopped at step "), "{said}");
    let state = folder.path("online/checkpoints/latest.safetensors");
    let state = spar_nn::State::read(&state).unwrap();
    let step = state.get_count("steps.online").unwrap();
    assert!(said.contains(&format!("stopped at step {step};")), "{said}");
    assert_eq!(state.get_count("replay.pushed").unwrap(), step);
}
