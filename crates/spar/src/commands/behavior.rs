//! `spar behavior`: training the policies that local data are made of.

use std::path::PathBuf;

use anyhow::Result;
use spar_collect::{online, sac::SacConfig};
use spar_core::EnvId;

/// What to do with behaviour policies.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Train SAC and keep snapshots and the training curve
    Train(TrainArgs),
}

/// What to train.
#[derive(clap::Args)]
pub(crate) struct TrainArgs {
    /// Environment
    #[arg(long)]
    env: EnvId,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Environment steps [default: 1000000]
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Transitions per update [default: 256]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Steps between two snapshots [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    snapshot_every: Option<u64>,
    /// Folder of the snapshots and the curve
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Does what `command` says.
pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Train(args) = command;
    let usual = SacConfig::default();
    let config = SacConfig {
        total_steps: args.steps.unwrap_or(usual.total_steps),
        batch_size: args.batch_size.unwrap_or(usual.batch_size),
        snapshot_every: match args.snapshot_every {
            Some(every) => usize::try_from(every)?,
            None => usual.snapshot_every,
        },
        ..usual
    };
    Ok(online::train(&config, args.env, args.seed, &args.out)?)
}
