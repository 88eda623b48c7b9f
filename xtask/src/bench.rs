//! `cargo xtask bench`: builds what is measured and what measures, `spar-bench`, and hands the
//! command line on to it.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::{
    cargo::{Cargo, exit_code},
    commit::commit,
};

/// Only parsed here: what is wrong on the line costs no build.
#[path = "../../crates/spar-bench/src/options.rs"]
#[allow(dead_code)]
mod options;

pub(crate) use options::Options;

/// Builds, and measures as `options`, the words after `bench` on this program's command line, say.
pub(crate) fn bench(
    root: &Path,
    options: &Options,
    provisioned: impl FnOnce() -> Result<Cargo>,
) -> Result<ExitCode> {
    let words: Vec<OsString> = env::args_os().skip(2).collect();
    let cargo = provisioned()?;
    if options.acting {
        cargo.build_libraries()?;
    }
    // Everything it starts is built with it, into one folder.
    let program = cargo.build("spar-bench")?;
    let mut bench = Command::new(&program);
    bench.arg("bench").arg("--root").arg(root);
    bench.args(["--commit", &commit(root)]).args(words);
    let status = bench.status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    Ok(exit_code(status))
}
