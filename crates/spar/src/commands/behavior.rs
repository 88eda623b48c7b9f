//! `spar behavior`: training the policies that local data are made of.

use std::path::PathBuf;

use anyhow::Result;
use spar_collect::{
    online::{self, Training},
    sac::SacConfig,
    select::select,
};
use spar_core::EnvId;

use crate::output::optional;

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
    /// Environment steps
    #[arg(long, value_name = "N", default_value_t = SacConfig::default().total_steps)]
    steps: usize,
    /// Transitions per update
    #[arg(long, value_name = "N", default_value_t = SacConfig::default().batch_size)]
    batch_size: usize,
    /// Learning rate of the actor
    #[arg(long, value_name = "X", default_value_t = SacConfig::default().lr)]
    lr: f32,
    /// Learning rate of critics and temperature
    #[arg(long, value_name = "X", default_value_t = SacConfig::default().critic_lr)]
    critic_lr: f32,
    /// From the critics' mean (0) to their minimum (1)
    #[arg(long, value_name = "X", default_value_t = SacConfig::default().pessimism)]
    pessimism: f32,
    /// LayerNorm in the critics
    #[arg(long)]
    layer_norm: bool,
    /// Steps with uniformly random actions before the first update
    #[arg(long, value_name = "N", default_value_t = SacConfig::default().start_steps)]
    start_steps: usize,
    /// Environments stepped in turn
    #[arg(long, value_name = "N", default_value_t = SacConfig::default().num_envs)]
    num_envs: usize,
    /// Updates after each step of all of them
    #[arg(long, value_name = "N", default_value_t = SacConfig::default().gradient_steps)]
    gradient_steps: usize,
    /// Steps between two snapshots
    #[arg(long, value_name = "N", default_value_t = SacConfig::default().snapshot_every)]
    snapshot_every: usize,
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
    let config = SacConfig {
        total_steps: args.steps,
        batch_size: args.batch_size,
        lr: args.lr,
        critic_lr: args.critic_lr,
        pessimism: args.pessimism,
        layer_norm: args.layer_norm,
        start_steps: args.start_steps,
        num_envs: args.num_envs,
        gradient_steps: args.gradient_steps,
        snapshot_every: args.snapshot_every,
        ..SacConfig::default()
    };
    let training = Training {
        env: args.env,
        seed: args.seed,
        config,
    };
    Ok(online::train(&training, &args.out, &mut |point| {
        eprintln!(
            "{} {} steps: mean return {}, temperature {}",
            args.env,
            point.step,
            optional(point.mean_return),
            optional(point.alpha.map(f64::from)),
        );
    })?)
}
