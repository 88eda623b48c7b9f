//! `cargo xtask reproduce --suite theory` from outside, with a `spar` that only pretends.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    process::{Command, Output},
};

use tempfile::TempDir;

/// `--suite theory` in the checkout itself, whose suite `mujoco` it looks at.
fn theory(place: &TempDir, more: &[&str], env: &[(&str, &str)]) -> Output {
    let words = [&["--suite", "theory", "--out", "theory"], more].concat();
    xtask(place, &words, env)
}

fn xtask(place: &TempDir, words: &[&str], env: &[(&str, &str)]) -> Output {
    let spar = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-spar.sh");
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("reproduce")
        .args(words)
        .current_dir(place.path())
        .env("SPAR_BIN", spar)
        .env("FAKE", place.path())
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn calls(place: &TempDir) -> Vec<String> {
    let text = fs::read_to_string(place.path().join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
}

#[test]
fn the_theory_gets_the_runs_that_are_there_and_their_data() {
    let place = tempfile::tempdir().unwrap();
    let (runs, out) = (place.path().join("runs"), place.path().join("theory"));
    fs::create_dir_all(runs.join("hopper-medium/bc/seed-0")).unwrap();
    let output = theory(&place, &["--runs", "runs", "--preset", "smoke"], &[]);
    assert_code(&output, 0);
    let calls = calls(&place);
    assert!(
        calls[0].starts_with("data hopper-medium auto "),
        "{calls:?}"
    );
    let (out, runs) = (out.display(), runs.display());
    let expected = format!(
        "theory --out {out} --smoke --runs {runs} --data hopper-medium=data/hopper-medium.hdf5"
    );
    assert_eq!(calls[1..], [expected]);
    // What the program says of a claim's controls is what this one says.
    let output = theory(&place, &["--runs", "runs"], &[("FAKE_CODE", "1")]);
    assert_code(&output, 1);
}

#[test]
fn the_theory_has_no_methods_and_no_runs_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    for (words, why) in [
        (["--methods", "bc"], "has claims, not methods"),
        (["--runs", "nowhere"], "no run of a task of `mujoco` there"),
    ] {
        let output = theory(&place, &words, &[]);
        assert_code(&output, 2);
        assert!(
            text(&output.stderr).contains(why),
            "{}",
            text(&output.stderr)
        );
    }
    let output = xtask(&place, &["--suite", "mujoco", "--runs", "runs"], &[]);
    assert_code(&output, 2);
    assert!(text(&output.stderr).contains("--runs is for --suite theory"));
    assert_eq!(calls(&place), [""; 0]);
}
