//! `cargo xtask data fetch`: hands on to `spar data fetch`, which knows where
//! files are; here only names of suites become files.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;
use spar_suite::suite_file;

use crate::{
    cargo::{Cargo, exit_code},
    program,
};

/// What to fetch, and from where.
#[derive(Args, Debug)]
pub(crate) struct FetchOptions {
    /// Tasks, as in `hopper-medium`
    #[arg(value_name = "TASK")]
    tasks: Vec<String>,
    /// Suite whose tasks are fetched, as in `mujoco`, or the path of a suite file
    #[arg(long)]
    suite: Option<String>,
    /// Files at a time
    #[arg(long, default_value = "2")]
    jobs: NonZeroUsize,
    /// Folder of the files [default: $D4RL_DATASET_DIR, else ~/.d4rl/datasets]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Manifest with other addresses, as of a mirror inside an institution
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Seconds without a byte after which a connection is given up
    #[arg(long, value_name = "SECONDS")]
    stall_timeout: Option<String>,
    /// Fetch nothing; say what the manifest has and what of it is here, proven
    #[arg(long)]
    list: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Fetches official files; the exit code is `spar`'s.
pub(crate) fn fetch(
    root: &Path,
    options: &FetchOptions,
    provisioned: impl FnOnce() -> Result<Cargo>,
) -> Result<ExitCode> {
    let suite = options.suite.as_deref();
    let suite = suite.map(|name| suite_file(root, name)).transpose()?;
    let spar = program(provisioned)?;
    let mut command = Command::new(&spar);
    // In the root, where `reproduce` looks for official files.
    command.current_dir(root).args(["data", "fetch"]);
    command.args(&options.tasks);
    command.args(["--jobs", &options.jobs.to_string()]);
    for (name, path) in [
        ("--suite", &suite),
        ("--dir", &options.dir),
        ("--manifest", &options.manifest),
    ] {
        if let Some(path) = path {
            command.arg(name).arg(std::path::absolute(path)?);
        }
    }
    if let Some(seconds) = &options.stall_timeout {
        command.args(["--stall-timeout", seconds]);
    }
    for (name, given) in [("--list", options.list), ("--json", options.json)] {
        if given {
            command.arg(name);
        }
    }
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", spar.display()))?;
    Ok(exit_code(status))
}
