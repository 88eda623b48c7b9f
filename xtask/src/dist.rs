//! `cargo xtask dist`: the program as it is handed on, one file that knows its commit.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use spar_core::sha256_file;

use spar_suite::{below, say};

use crate::{cargo::Cargo, commit::commit, setup::checked};

/// Builds `spar` with its commit in it and puts it, stripped, into `target/dist`.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let commit = commit(root);
    let built = Cargo::new(root)
        .with("SPAR_BUILD_COMMIT", &commit)
        .build("spar")?;
    let folder = root.join("target/dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join("spar");
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&file).arg(built);
    checked(strip, "strip (of binutils, as the C compiler)")?;
    let bytes = fs::metadata(&file).map_or(0, |m| m.len());
    say!(
        "{}: commit {commit}, {:.1} MB, sha256 {}",
        below(root, file.clone()).display(),
        bytes as f64 / 1e6,
        sha256_file(&file)?
    );
    Ok(ExitCode::SUCCESS)
}
