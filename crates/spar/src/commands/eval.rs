//! `spar eval`: a policy file evaluated in its environment.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Result, anyhow, bail};
use spar_core::{
    EnvId,
    limits::{MOST_EPISODES, MOST_THREADS},
};
use spar_eval::Episode;
use spar_kernels::cuda::{CudaDevice, Kernels};
use spar_policy::Policy;
use spar_train::{DeviceKind, DevicePolicy, TrainError, policy_file};

use super::counts;
use crate::{
    failure::Usage,
    output::{self, Played, Score},
};

/// Most candidates of `--best-of`.
pub(crate) const MOST_BEST_OF: u32 = 100_000;

/// What to evaluate, and how.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Policy: a file `spar train` wrote, its run's folder, or a plain network
    /// (safetensors)
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Environment to play [default: the one the policy was trained for]
    #[arg(long)]
    env: Option<EnvId>,
    /// Episodes
    #[arg(long, value_name = "N", default_value = "10", value_parser = counts(MOST_EPISODES))]
    episodes: u32,
    /// Seed of the episodes
    #[arg(long, default_value_t = super::train::EVAL_SEED)]
    seed: u64,
    /// Act by the best of K candidates, valued by the policy's critics
    #[arg(long, value_name = "K", default_value = "1", value_parser = counts(MOST_BEST_OF))]
    best_of: u32,
    /// What computes the actions: cpu, or cuda for the first GPU
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// Threads; they do not change the result [default: one per core]
    #[arg(long, value_name = "N", value_parser = counts(MOST_THREADS))]
    threads: Option<u32>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Plays the policy and prints how it did.
pub(crate) fn run(args: &Args) -> Result<()> {
    let episodes = args.episodes;
    // What is asked for and not there is said before anything is read.
    let gpu = match args.device {
        DeviceKind::Cpu => None,
        DeviceKind::Cuda => Some(gpu(args)?),
    };
    let file = spar_policy::file_of(&args.policy)?;
    let policy = Policy::load(&file)?;
    let about = policy.about();
    let env = environment(&file, &policy, args.env)?;
    let played = match &gpu {
        None => play(args, env, &file)?,
        Some(gpu) => play_on_gpu(args, env, &file, gpu)?,
    };
    let returns: Vec<f64> = played.iter().map(|e| e.ret).collect();
    let mean = spar_stats::mean(&returns);
    let normalized = match about {
        Some(about) => about.dataset.normalized_score(env, mean),
        None => env.normalized_score(mean),
    };
    let played_by = Played {
        env: env.name().to_owned(),
        policy: file.display().to_string(),
        seed: args.seed,
    };
    let score = Score::of(played_by, normalized, returns);
    if args.json {
        return output::json(&score);
    }
    let steps: usize = played.iter().map(|e| e.length).sum();
    let ended = played.iter().filter(|e| e.terminated).count();
    let mut facts = score.facts();
    facts.push((
        "mean length",
        format!("{:.1}", steps as f64 / f64::from(episodes)),
    ));
    facts.push(("terminated", format!("{ended} of {episodes}")));
    output::facts(&facts)
}

/// The environment to play the policy of `file` in: the one that is `asked` for, or the one it
/// was trained for.
///
/// # Errors
/// If they differ, or there is neither.
pub(super) fn environment(file: &Path, policy: &Policy, asked: Option<EnvId>) -> Result<EnvId> {
    let about = policy.about();
    match (about.map(|about| about.env.as_deref()), asked) {
        (Some(Some(own)), Some(env)) if own != env.name() => {
            // Environments of equal widths would not tell by themselves.
            bail!(
                "{}: was trained for {own}, but --env is {env}; give --env {own}",
                file.display()
            );
        }
        (_, Some(env)) => Ok(env),
        (Some(Some(own)), None) => {
            let env = own.parse::<EnvId>();
            env.map_err(|unknown| anyhow!("{}: {unknown}; or give --env", file.display()))
        }
        (Some(None), None) => Err(Usage(format!(
            "{}: the policy was trained without an environment, so there is none to play; \
                 give one that its data are of with --env",
            file.display()
        ))
        .into()),
        (None, None) => Err(Usage(format!(
            "{}: the file does not say which environment it is for; give one with --env",
            file.display()
        ))
        .into()),
    }
}

fn play(args: &Args, env: EnvId, file: &Path) -> Result<Vec<Episode>> {
    let best_of = NonZeroUsize::new(args.best_of as usize).unwrap_or(NonZeroUsize::MIN);
    let policy = policy_file::read_best_of(file, env, best_of)?;
    let threads = args.threads.map_or_else(
        || thread::available_parallelism().map_or(1, NonZeroUsize::get),
        |threads| threads as usize,
    );
    let episodes = args.episodes as usize;
    Ok(spar_eval::rollout(
        env, &policy, episodes, args.seed, threads,
    )?)
}

/// The first GPU, if it can do what is asked for.
fn gpu(args: &Args) -> Result<Kernels<CudaDevice>> {
    if args.best_of > 1 {
        let why = "--best-of chooses among candidates on the CPU only; \
                   leave it out or use --device cpu";
        return Err(Usage(why.to_owned()).into());
    }
    super::cuda()
}

/// All episodes in step: a launch takes as long for one observation as for many.
fn play_on_gpu(
    args: &Args,
    env: EnvId,
    file: &Path,
    gpu: &Kernels<CudaDevice>,
) -> Result<Vec<Episode>> {
    let policy = DevicePolicy::read(gpu, file, env)?;
    let episodes = args.episodes as usize;
    let played = spar_eval::rollout_in_step(env, &policy, episodes, args.seed);
    // A device that failed gave no actions; that is the cause.
    match policy.failure() {
        Some(error) => Err(TrainError::from(error).into()),
        None => Ok(played?),
    }
}
