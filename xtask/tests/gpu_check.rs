//! `cargo xtask gpu-check` from outside: the folder is made from what is built, and its script
//! runs over the stand-in for a GPU, as it will run on one.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// The folder that `--pack` makes of this checkout.
fn pack(place: &Path) -> PathBuf {
    let folder = place.join("pack");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["gpu-check", "--pack", "--out"])
        .arg(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("needs glibc 2."), "{said}");
    folder
}

/// Runs a folder's script over the stand-in, from another folder, into `out`.
fn run(folder: &Path, out: &Path, env: &[(&str, &str)]) -> Output {
    Command::new(folder.join("run.sh"))
        .arg(out)
        .current_dir(std::env::temp_dir())
        .env("SPAR_GPU_STAND_IN", "1")
        .env("SPAR_CUDA_SEED", "3")
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

/// State of every step, in order, and the whole summary.
fn summary(out: &Path) -> (Vec<(String, String)>, Value) {
    let text = fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let text = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    let steps = summary["steps"].as_array().unwrap().iter();
    let steps = steps.map(|step| (text(step, "step"), text(step, "state")));
    (steps.collect(), summary)
}

#[test]
fn the_pack_checks_and_measures_over_the_stand_in_and_keeps_what_it_has() {
    let place = tempfile::tempdir().unwrap();
    let folder = pack(place.path());
    if !folder.join("stand-in/libcuda.so.1").exists() {
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "SKIPPED: gpu-check's script is not run: no C++ compiler"
        )
        .unwrap();
        return;
    }
    // Nothing of where it was made is needed where it runs.
    let moved = place.path().join("another place");
    fs::rename(&folder, &moved).unwrap();

    // Only packed programs travel, and what is unpacked is gone in the end.
    for entry in fs::read_dir(moved.join("bin")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(name.to_str().unwrap().ends_with(".gz"), "{name:?}");
    }
    let scratch = place.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let out = place.path().join("out");
    let output = run(&moved, &out, &[("TMPDIR", scratch.to_str().unwrap())]);
    let (steps, all) = summary(&out);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let skipped = ["memcheck", "racecheck", "jax", "torch"];
    for (step, state) in &steps {
        let expected = if skipped.contains(&step.as_str()) {
            "skipped"
        } else {
            "passed"
        };
        assert_eq!(state, expected, "{step}\n{said}");
    }
    let names: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "device",
        "kernels",
        "agree",
        "memcheck",
        "racecheck",
        "data",
        "train-cpu",
        "train-cuda",
        "curves",
        "time",
        "beside-lanes-1",
        "beside-lanes-2",
        "beside-streams-1",
        "beside-streams-2",
        "beside-processes-1",
        "beside-processes-2",
        "losses",
        "inputs",
        "jax",
        "torch",
    ];
    assert_eq!(names, expected);
    assert_eq!(all["holds"], true);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "left behind");
    let log = fs::read_to_string(out.join("kernels.log")).unwrap();
    assert!(log.contains("the CUDA kernels ran on stand-in"), "{log}");
    let results = &all["results"];
    let checks = results["agree"][0]["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 13, "{checks:?}");
    assert!(
        results["curves"][0]["curves"]
            .as_array()
            .is_some_and(|c| !c.is_empty())
    );
    assert!(results["time"][0]["launches_per_update"].as_f64().unwrap() > 20.0);
    let page = fs::read_to_string(out.join("summary.md")).unwrap();
    assert!(
        page.contains("No GPU: this ran over the stand-in"),
        "{page}"
    );
    assert!(page.contains("| streams | 2 |"), "{page}");
    assert!(page.contains("| lanes | 2 |"), "{page}");

    // A kernel that is wrong fails the check, and the rest is measured all the same.
    fs::write(
        moved.join("bin/cuda_device"),
        "#!/bin/sh\necho forward at 3 >&2\nexit 101\n",
    )
    .unwrap();
    let packed = Command::new("gzip")
        .arg("-f")
        .arg(moved.join("bin/cuda_device"))
        .status();
    assert!(packed.unwrap().success());
    let output = run(&moved, &out, &[("SPAR_GPU_TOTAL_S", "25")]);
    let (steps, all) = summary(&out);
    assert!(!output.status.success());
    assert_eq!(all["holds"], false);
    assert_eq!(steps[1], ("kernels".to_owned(), "failed".to_owned()));
    assert_eq!(steps[2].0, "agree");
    assert!(
        steps[2].1 == "passed" || steps[2].1 == "timed out",
        "{steps:?}"
    );
    let page = fs::read_to_string(out.join("summary.md")).unwrap();
    assert!(page.contains("exit 101: forward at 3"), "{page}");
    // Its time is up before its end: that is said, step by step.
    assert!(page.contains("no time left"), "{page}");

    // What is not its own it does not empty.
    let other = place.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "years of work").unwrap();
    assert_eq!(run(&moved, &other, &[]).status.code(), Some(2));
    assert!(other.join("thesis.tex").exists());

    // With neither a GPU nor a stand-in there is nothing to run on.
    fs::remove_dir_all(moved.join("stand-in")).unwrap();
    let output = run(&moved, &out, &[]);
    assert!(!output.status.success());
    let (steps, _) = summary(&out);
    assert_eq!(steps, [("device".to_owned(), "failed".to_owned())]);
}

#[test]
fn a_folder_of_others_is_not_removed() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("thesis.tex"), "years of work").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["gpu-check", "--pack", "--out"])
        .arg(place.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is no folder of gpu-check's"), "{said}");
    assert!(place.path().join("thesis.tex").exists());
}
