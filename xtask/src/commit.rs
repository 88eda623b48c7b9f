//! Which commit the workspace stands at.

use std::{path::Path, process::Command};

/// The commit of the checkout at `root`, with `-dirty` if tracked files differ from it;
/// `unknown` outside a checkout.
pub(crate) fn commit(root: &Path) -> String {
    known(root).unwrap_or_else(|| "unknown".to_owned())
}

fn known(root: &Path) -> Option<String> {
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        // Else `status` takes the checkout's lock, and leaves it behind where it is killed.
        command.arg("--no-optional-locks").args(words);
        let output = command.current_dir(root).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(head + if changes.is_empty() { "" } else { "-dirty" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_has_a_commit() {
        let commit = commit(crate::root());
        let commit = commit.trim_end_matches("-dirty");
        assert!(commit == "unknown" || commit.len() >= 12, "{commit}");
    }
}
