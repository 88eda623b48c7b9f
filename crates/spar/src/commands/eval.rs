//! `spar eval`: a policy file judged in its environment.

use std::{num::NonZeroUsize, path::PathBuf, thread};

use anyhow::Result;
use spar_core::EnvId;
use spar_eval::Episode;
use spar_train::{DeviceKind, DevicePolicy, TrainError, policy_file};

use crate::{
    failure::Usage,
    output::{self, Score},
};

/// What to judge, and how.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Policy: a file `spar train` wrote, or a plain network (safetensors)
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Environment to play
    #[arg(long)]
    env: EnvId,
    /// Episodes
    #[arg(long, value_name = "N", default_value = "10")]
    episodes: NonZeroUsize,
    /// Seed of the episodes
    #[arg(long, default_value_t = super::train::EVAL_SEED)]
    seed: u64,
    /// Act by the best of K candidates, judged by the policy's critics
    #[arg(long, value_name = "K", default_value = "1")]
    best_of: NonZeroUsize,
    /// What computes the actions: cpu, or cuda for the first GPU
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// Threads; they do not change the result [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Plays the policy and prints how it did.
pub(crate) fn run(args: &Args) -> Result<()> {
    let episodes = args.episodes.get();
    let played = match args.device {
        DeviceKind::Cpu => play(args)?,
        DeviceKind::Cuda => play_on_gpu(args)?,
    };
    let returns: Vec<f64> = played.iter().map(|e| e.ret).collect();
    let mean = spar_eval::stats::mean(&returns);
    let normalized = match policy_file::about(&args.policy)? {
        Some(about) => about.dataset.normalized_score(args.env, mean),
        None => args.env.normalized_score(mean),
    };
    let score = Score::of(normalized, returns);
    if args.json {
        return output::json(&score);
    }
    let steps: usize = played.iter().map(|e| e.length).sum();
    let ended = played.iter().filter(|e| e.terminated).count();
    let mut facts = score.facts();
    facts.push((
        "mean length",
        format!("{:.1}", steps as f64 / episodes as f64),
    ));
    facts.push(("terminated", format!("{ended} of {episodes}")));
    output::facts(&facts)
}

fn play(args: &Args) -> Result<Vec<Episode>> {
    let policy = policy_file::read_best_of(&args.policy, args.env, args.best_of)?;
    let threads = args
        .threads
        .or_else(|| thread::available_parallelism().ok());
    let threads = threads.map_or(1, NonZeroUsize::get);
    let episodes = args.episodes.get();
    Ok(spar_eval::rollout(
        args.env, &*policy, episodes, args.seed, threads,
    )?)
}

/// All episodes in step: a launch takes as long for one observation as for many.
fn play_on_gpu(args: &Args) -> Result<Vec<Episode>> {
    if args.best_of.get() > 1 {
        let why = "--best-of chooses among candidates on the CPU only; \
                   leave it out or use --device cpu";
        return Err(Usage(why.to_owned()).into());
    }
    let gpu = super::cuda()?;
    let policy = DevicePolicy::read(&gpu, &args.policy, args.env)?;
    let played = spar_eval::rollout_in_step(args.env, &policy, args.episodes.get(), args.seed);
    // A device that failed gave no actions; that is the cause.
    match policy.failure() {
        Some(error) => Err(TrainError::from(error).into()),
        None => Ok(played?),
    }
}
