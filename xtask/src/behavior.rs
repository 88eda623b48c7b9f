//! `cargo xtask data behavior`: trains the policies that local data of an
//! environment are made of, as those in `datasets/behavior` were.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;
use spar_core::EnvId;

use crate::{
    cargo::{Cargo, exit_code},
    program,
};

/// Which policies to train.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Environment
    #[arg(long)]
    env: EnvId,
    /// Training seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Environment steps [default: those of the policies in datasets/behavior]
    #[arg(long, value_name = "N")]
    steps: Option<NonZeroUsize>,
    /// Folder of snapshots, curve and checkpoint; an interrupted training there goes
    /// on [default: runs/behavior/ENV-seed-SEED]
    #[arg(long)]
    training: Option<PathBuf>,
    /// Folder of the chosen policies, one folder per environment
    #[arg(long, default_value = "datasets/behavior")]
    out: PathBuf,
}

/// Trains and chooses; the exit code is `spar`'s.
pub(crate) fn behavior(
    root: &Path,
    options: &Options,
    provisioned: impl FnOnce() -> Result<Cargo>,
) -> Result<ExitCode> {
    let Options {
        env,
        seed,
        steps,
        training,
        out,
    } = options;
    let training = match training {
        Some(folder) => std::path::absolute(folder)?,
        None => root.join(format!("runs/behavior/{env}-seed-{seed}")),
    };
    let spar = program(provisioned)?;
    let mut train = Command::new(&spar);
    train.args(["behavior", "train", "--env", env.name()]);
    train.args(["--seed", &seed.to_string()]);
    train.arg("--out").arg(&training);
    if let Some(steps) = steps {
        train.args(["--steps", &steps.to_string()]);
    }
    let mut select = Command::new(&spar);
    select.args(["behavior", "select"]);
    select
        .arg("--training")
        .arg(&training)
        .arg("--out")
        .arg(out);
    for mut command in [train, select] {
        let status = command
            .current_dir(root)
            .env("RAYON_NUM_THREADS", "1")
            .status()
            .with_context(|| format!("cannot start {}", spar.display()))?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}
