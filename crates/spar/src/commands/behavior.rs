//! `spar behavior`: training the policies that local data are made of.

use std::path::PathBuf;

use anyhow::Result;
use spar_collect::{
    online::{self, Training},
    sac::SacConfig,
    select::select,
};
use spar_core::EnvId;

/// What to do with behaviour policies.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Train SAC and keep snapshots and the training curve
    Train(TrainArgs),
    /// Choose medium, expert and replay policies among a training's snapshots
    Select(SelectArgs),
}

/// Where to choose from.
#[derive(clap::Args)]
pub(crate) struct SelectArgs {
    /// Folder `spar behavior train` wrote
    #[arg(long, value_name = "DIR")]
    training: PathBuf,
    /// Folder of all behaviour policies
    #[arg(long, value_name = "DIR", default_value = "datasets/behavior")]
    out: PathBuf,
    /// Threads of the rollouts
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
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
    match command {
        Command::Train(args) => train(args),
        Command::Select(args) => {
            let card = select(&args.training, &args.out, args.threads)?;
            println!("{}", serde_json::to_string_pretty(&card)?);
            Ok(())
        }
    }
}

fn train(args: &TrainArgs) -> Result<()> {
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
    let training = Training {
        env: args.env,
        seed: args.seed,
        config,
    };
    Ok(online::train(&training, &args.out)?)
}
