//! `spar behavior`: training the policies that local data are made of.

use std::path::PathBuf;

use anyhow::Result;
use spar_collect::{
    buffer,
    online::{self, Training},
    sac::SacConfig,
    select::select,
};
use spar_core::{EnvId, printable_json};

use super::numbers::whole;
use crate::output::{self, optional};

/// What to do with behaviour policies.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Train SAC and keep snapshots and the training curve
    Train(TrainArgs),
    /// Choose medium, expert and replay policies among a training's snapshots
    Select(SelectArgs),
    /// Write a training's replay buffer, every step the learner took, as a data file
    Buffer(BufferArgs),
}

/// Which buffer to write, and where.
#[derive(clap::Args)]
pub(crate) struct BufferArgs {
    /// Folder `spar behavior train` wrote
    #[arg(long, value_name = "DIR")]
    training: PathBuf,
    /// Data file to write, in D4RL's layout
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
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

/// What to train. Settings not given are those of the policies in
/// `datasets/behavior`.
#[derive(clap::Args)]
pub(crate) struct TrainArgs {
    /// Environment
    #[arg(long)]
    env: EnvId,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder of snapshots, curve and checkpoint; an interrupted training there is resumed
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

/// Settings of the training.
#[derive(clap::Args)]
struct Settings {
    /// Environment steps
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    steps: Option<usize>,
    /// Transitions per update
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Learning rate of the actor
    #[arg(long, value_name = "X")]
    lr: Option<f32>,
    /// Learning rate of critics and temperature
    #[arg(long, value_name = "X")]
    critic_lr: Option<f32>,
    /// Value of an action, from the critics' mean (0) to their minimum (1)
    #[arg(long, value_name = "X")]
    pessimism: Option<f32>,
    /// LayerNorm in the critics: true or false
    #[arg(long, value_name = "BOOL")]
    layer_norm: Option<bool>,
    /// Steps after which the learning rates are a fifth
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    late_from: Option<usize>,
    /// Steps with uniformly random actions before the first update
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    start_steps: Option<usize>,
    /// Environments stepped in turn
    #[arg(long, value_name = "N")]
    num_envs: Option<usize>,
    /// Updates after each step of all of them
    #[arg(long, value_name = "N")]
    gradient_steps: Option<usize>,
    /// Steps between two snapshots
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    snapshot_every: Option<usize>,
}

impl Settings {
    fn over(&self, usual: SacConfig) -> SacConfig {
        SacConfig {
            total_steps: self.steps.unwrap_or(usual.total_steps),
            batch_size: self.batch_size.unwrap_or(usual.batch_size),
            lr: self.lr.unwrap_or(usual.lr),
            critic_lr: self.critic_lr.unwrap_or(usual.critic_lr),
            pessimism: self.pessimism.unwrap_or(usual.pessimism),
            layer_norm: self.layer_norm.unwrap_or(usual.layer_norm),
            late_from: self.late_from.or(usual.late_from),
            start_steps: self.start_steps.unwrap_or(usual.start_steps),
            num_envs: self.num_envs.unwrap_or(usual.num_envs),
            gradient_steps: self.gradient_steps.unwrap_or(usual.gradient_steps),
            snapshot_every: self.snapshot_every.unwrap_or(usual.snapshot_every),
            ..usual
        }
    }
}

/// Does what `command` says.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Train(args) => train(args),
        Command::Select(args) => {
            let card = select(&args.training, &args.out, args.threads)?;
            output::text(&printable_json(&serde_json::to_string_pretty(&card)?))
        }
        Command::Buffer(args) => {
            let made = buffer::write(&args.training, &args.out)?;
            output::text(&printable_json(&serde_json::to_string_pretty(&made)?))
        }
    }
}

fn train(args: &TrainArgs) -> Result<()> {
    let config = args.settings.over(SacConfig::of(args.env));
    let training = Training {
        env: args.env,
        seed: args.seed,
        config,
    };
    Ok(online::train(&training, &args.out, &mut |point| {
        output::say(&format!(
            "{} {} steps: mean return {}, temperature {}",
            args.env,
            point.step,
            optional(point.mean_return),
            optional(point.alpha.map(f64::from)),
        ));
    })?)
}
