//! `cargo xtask demo`: one command from a fresh clone to a picture of the idea. It
//! only builds `spar` and hands on to `spar demo`.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    cargo::{Cargo, exit_code},
    program,
};

/// What to make.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folder of demo.svg (still), demo-animated.svg and demo-modes.svg
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,
    /// Seed of data and methods
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Draw nothing; print what other settings of each method do
    #[arg(long, conflicts_with = "out")]
    search: bool,
}

/// Builds `spar` and runs its demo; the exit code is `spar`'s.
pub(crate) fn demo(
    options: &Options,
    provisioned: impl FnOnce() -> Result<Cargo>,
) -> Result<ExitCode> {
    let spar = program(provisioned)?;
    let mut command = Command::new(&spar);
    command.args(["demo", "--seed", &options.seed.to_string()]);
    if options.search {
        command.arg("--search");
    } else {
        command.arg("--out").arg(&options.out);
    }
    let status = command.status();
    let status = status.with_context(|| format!("cannot start {}", spar.display()))?;
    Ok(exit_code(status))
}
