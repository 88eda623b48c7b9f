//! `cargo xtask reproduce --suite theory` from outside, with a `spar` that only pretends.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, process::Output};

use common::{assert_code, calls, text};
use tempfile::TempDir;

/// `--suite theory` in the checkout itself, whose suite `mujoco` it looks at.
fn theory(place: &TempDir, more: &[&str], env: &[(&str, &str)]) -> Output {
    let words = [&["--suite", "theory", "--out", "theory"], more].concat();
    reproduce(place, &words, env)
}

fn reproduce(place: &TempDir, words: &[&str], env: &[(&str, &str)]) -> Output {
    let words = [&["reproduce"], words].concat();
    common::xtask(place.path(), &words, env).output().unwrap()
}

#[test]
fn the_theory_gets_the_runs_that_are_there_and_their_data() {
    let place = tempfile::tempdir().unwrap();
    let (runs, out) = (place.path().join("runs"), place.path().join("theory"));
    fs::create_dir_all(runs.join("hopper-medium/bc/seed-0")).unwrap();
    let output = theory(&place, &["--runs", "runs", "--preset", "smoke"], &[]);
    assert_code(&output, 0);
    let calls = calls(place.path());
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
    let output = reproduce(&place, &["--suite", "mujoco", "--runs", "runs"], &[]);
    assert_code(&output, 2);
    assert!(text(&output.stderr).contains("--runs is for --suite theory"));
    assert_eq!(calls(place.path()), [""; 0]);
}
