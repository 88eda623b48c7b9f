//! What the tests of `reproduce` from outside share: the `spar` that only pretends,
//! what it was asked, and what came out.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// `cargo xtask` with these words in `folder`, where the pretended `spar` keeps its
/// list of calls.
pub(crate) fn xtask(folder: &Path, words: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(words)
        .current_dir(folder)
        .env(
            "SPAR_BIN",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-spar.sh"),
        )
        .env("FAKE", folder)
        .envs(env.iter().copied());
    command
}

/// The calls so far, one a line.
pub(crate) fn calls(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
pub(crate) fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
}
