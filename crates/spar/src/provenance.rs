//! Which program made a run, and with which words.

use std::{env, path::Path, process::Command};

use spar_core::shell_word;

/// The commit a release was built from: `cargo xtask dist` names it when it builds one.
const BUILT: Option<&str> = option_env!("SPAR_BUILD_COMMIT");

/// The commit of this program: `SPAR_COMMIT`, else the one it was built from as a release,
/// else that of the checkout its file lies in, with `-dirty` if tracked files differ from
/// it, else `unknown`.
pub(crate) fn commit() -> String {
    let given = env::var("SPAR_COMMIT").ok().filter(|c| !c.is_empty());
    given
        .or_else(|| BUILT.map(str::to_owned))
        .or_else(commit_of_checkout)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Version, commit, target and what runs can be computed by.
pub(crate) fn version() -> String {
    format!(
        "{} (commit {}, {} {}; devices: cpu, cuda; MuJoCo 3.17.0 where `spar setup` put it)",
        env!("CARGO_PKG_VERSION"),
        commit(),
        env::consts::ARCH,
        env::consts::OS
    )
}

fn commit_of_checkout() -> Option<String> {
    let program = env::current_exe().ok()?;
    let folder = program.parent()?;
    // An installed program may lie in a checkout of something else.
    let top = git(folder, &["rev-parse", "--show-toplevel"])?;
    if !Path::new(&top).join("crates/spar/Cargo.toml").is_file() {
        return None;
    }
    let head = git(folder, &["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(
        Path::new(&top),
        &["status", "--porcelain", "--untracked-files=no"],
    )?;
    let dirty = if changes.is_empty() { "" } else { "-dirty" };
    Some(head + dirty)
}

fn git(folder: &Path, words: &[&str]) -> Option<String> {
    // `status` would take the checkout's lock to write its index anew, and leave it behind
    // where the signal that ends a run reaches it too.
    let output = Command::new("git")
        .arg("--no-optional-locks")
        .arg("-C")
        .arg(folder)
        .args(words)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The command line of this process as it could be typed again.
pub(crate) fn command_line() -> String {
    let words = env::args_os().skip(1);
    line_of(words.map(|word| word.to_string_lossy().into_owned()))
}

/// `spar` and these words as they could be typed.
pub(crate) fn line_of(words: impl Iterator<Item = String>) -> String {
    let words = words.map(|word| shell_word(&word).into_owned());
    std::iter::once("spar".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The words of a command line that [`command_line`] wrote.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut escaped) = (None, false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.get_or_insert_with(String::new).push(c);
                escaped = false;
            }
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            '\\' if !quoted => escaped = true,
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_read_as_it_was_written() {
        let written = [
            "a b",
            "",
            "it's",
            "$HOME",
            "plain-1.hdf5",
            "*",
            "\\",
            "--x=y",
        ];
        let line = written.map(shell_word).join(" ");
        assert_eq!(words(&line), written);
        assert_eq!(words("  a   b "), ["a", "b"]);
    }
}
