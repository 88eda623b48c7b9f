//! A stranger's robot log in each format that people have, from the file to the machine:
//! trained on, exported and acted by, without a simulator. The formats hold the same steps,
//! so that the policies have to be the same to the bit.
//!
//! `SPAR_DOORS_PYTHON` names a Python that has `pyarrow`, `SPAR_MINARI_PYTHON` one that has
//! `h5py`; `cargo xtask test` provides both, and without them this is skipped in words.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::json;
use spar_core::Stream;

use crate::support::{Done, Folder};

const SEEN: usize = 24;
const DONE: usize = 7;

/// Formats with the options they are read by.
const FORMATS: [(&str, &str); 7] = [
    ("log.hdf5", ""),
    ("log.csv", ""),
    ("log.npz", ""),
    ("robomimic.hdf5", "--observations joints,object"),
    ("d3rlpy.hdf5", ""),
    ("log.parquet", ""),
    ("lerobot", ""),
];

fn written() -> Option<Folder> {
    let folder = Folder::new();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/scripts/robot_log.py"
    );
    for (variable, formats) in [
        (
            "SPAR_DOORS_PYTHON",
            ["csv", "npz", "parquet", "lerobot"].as_slice(),
        ),
        ("SPAR_MINARI_PYTHON", &["hdf5", "robomimic", "d3rlpy"]),
    ] {
        let Some(python) = std::env::var_os(variable) else {
            eprintln!("skipped: {variable} names no Python; use cargo xtask test");
            return None;
        };
        let mut command = Command::new(python);
        command.arg(script).arg(folder.path("")).args(formats);
        Done::of(&mut command).ok();
    }
    Some(folder)
}

/// The actions of the policy `file` for a few observations, by `spar act`.
fn acted(folder: &Folder, file: &str) -> Vec<Vec<f32>> {
    let mut stream = Stream::new(8, "obs");
    let mut lines = String::new();
    for _ in 0..50 {
        let mut obs = [0.0; SEEN];
        stream.fill_normal(1.0, &mut obs);
        lines.push_str(&format!("{}\n", json!(obs)));
    }
    let mut child = folder
        .command(&format!("act --policy {file}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Fewer bytes than a pipe holds.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{file}: {done:?}");
    let told = String::from_utf8(done.stdout).unwrap();
    let actions = told.lines().map(|line| serde_json::from_str(line).unwrap());
    actions.collect()
}

#[test]
fn a_robot_log_of_any_format_is_trained_on_exported_and_acted_by() {
    let Some(folder) = written() else { return };
    let mut first: Option<Vec<Vec<f32>>> = None;
    for (name, options) in FORMATS {
        let run = format!("runs/{name}");
        let line = format!(
            "train --dataset {name} {options} --method spar --updates 20 --set anchor.updates=20 \
             --batch-size 16 --out {run} --json"
        );
        let ended = folder.spar(&line).json();
        assert_eq!(ended["held_out_episodes"], 1, "{name}: {ended}");
        let model = format!("{run}/policy.onnx");
        folder
            .spar(&format!("export --policy {run} --onnx {model}"))
            .ok();
        let actions = acted(&folder, &run);
        assert_eq!((actions.len(), actions[0].len()), (50, DONE), "{name}");
        let wide = actions.iter().flatten().any(|a| a.abs() > 1.0);
        assert!(wide, "{name}: actions in the units of the log: {actions:?}");
        let exported = acted(&folder, &model);
        for (a, b) in actions.iter().flatten().zip(exported.iter().flatten()) {
            assert!((a - b).abs() <= 2e-5, "{name}: {a} {b}");
        }
        match &first {
            None => first = Some(actions),
            Some(first) => assert_eq!(*first, actions, "{name}"),
        }
    }
}
