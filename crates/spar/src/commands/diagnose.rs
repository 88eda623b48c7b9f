//! `spar diagnose`: whether SPAR's candidates hold something better, and its critics know it.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result};
use serde::Serialize;
use spar_core::{
    EnvId,
    limits::{MOST_CANDIDATES, MOST_EPISODES, MOST_THREADS},
};
use spar_eval::{DiagnoseConfig, Diagnosis, diagnose};
use spar_policy::Policy;
use spar_stats::Estimate;

use super::{counts, eval};
use crate::{failure::Usage, output};

/// Which policies to diagnose, and on how much.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Policies of SPAR: files `spar train` wrote, or their runs' folders
    #[arg(value_name = "POLICY", required = true)]
    policies: Vec<PathBuf>,
    /// Environment to play [default: the one each policy was trained for]
    #[arg(long)]
    env: Option<EnvId>,
    /// Episodes that states are taken from
    #[arg(long, value_name = "N", default_value = "16", value_parser = counts(MOST_EPISODES))]
    episodes: u32,
    /// States of each episode
    #[arg(long, value_name = "N", default_value = "4", value_parser = counts(10_000))]
    states: u32,
    /// Candidates in each state
    #[arg(long, value_name = "K", default_value = "8", value_parser = counts(u32::from(MOST_CANDIDATES)))]
    candidates: u32,
    /// Discount of rewards that follow an action, from 0 to below 1
    #[arg(long, value_name = "PART", default_value_t = DiagnoseConfig::default().discount)]
    discount: f64,
    /// Steps that are played after an action [default: until a reward counts a hundredth]
    #[arg(long, value_name = "N", value_parser = counts(100_000))]
    steps: Option<u32>,
    /// Seed of episodes, states and candidates
    #[arg(long, default_value_t = super::train::EVAL_SEED)]
    seed: u64,
    /// Threads; they do not change the result [default: one per core]
    #[arg(long, value_name = "N", value_parser = counts(MOST_THREADS))]
    threads: Option<u32>,
    /// Print one line of JSON for each policy
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  spar diagnose runs/mine
  spar diagnose runs/mujoco-quick/*/spar/seed-0";

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(serialize_with = "output::path")]
    policy: &'a Path,
    env: &'a str,
    settings: DiagnoseConfig,
    #[serde(flatten)]
    found: &'a Diagnosis,
}

/// Diagnoses every policy that is asked for.
pub(crate) fn run(args: &Args) -> Result<()> {
    let config = config(args)?;
    let threads = args.threads.map_or_else(
        || thread::available_parallelism().map_or(1, NonZeroUsize::get),
        |threads| threads as usize,
    );
    let mut rows = Vec::with_capacity(args.policies.len());
    for name in &args.policies {
        let file = spar_policy::file_of(name)?;
        let policy = Policy::load(&file)?;
        let env = eval::environment(&file, &policy, args.env)?;
        let found = diagnose(env, &policy, &config, threads);
        let found = found.with_context(|| file.display().to_string())?;
        if args.json {
            output::json(&Printed {
                policy: &file,
                env: env.name(),
                settings: config,
                found: &found,
            })?;
        }
        rows.push((name, found));
    }
    match (args.json, &*rows) {
        (true, _) => Ok(()),
        (false, [(_, found)]) => output::facts(&facts(found, &config)),
        (false, rows) => output::text(&table(rows)),
    }
}

fn config(args: &Args) -> Result<DiagnoseConfig> {
    let discount = args.discount;
    if !(0.0..1.0).contains(&discount) {
        let why = format!("--discount: expected a number from 0 to below 1, got {discount}");
        return Err(Usage(why).into());
    }
    // discount^steps = 1/100; with a discount of 0 the action alone counts.
    let far = (0.01f64.ln() / discount.ln()).ceil().clamp(1.0, 100_000.0);
    Ok(DiagnoseConfig {
        episodes: args.episodes as usize,
        states: args.states as usize,
        candidates: args.candidates as usize,
        discount,
        steps: args.steps.map_or(far as usize, |steps| steps as usize),
        seed: args.seed,
    })
}

fn interval(estimate: &Estimate) -> String {
    let Estimate { value, interval } = estimate;
    format!("{value:+.2} [{:+.2}, {:+.2}]", interval.low, interval.high)
}

/// What of the reach the critics' choice takes.
fn share(found: &Diagnosis) -> String {
    match found.reach.value > 0.0 {
        true => format!("{:.0}%", 100.0 * found.choice.value / found.reach.value),
        false => "-".to_owned(),
    }
}

fn ranks(found: &Diagnosis) -> String {
    found.ranks.as_ref().map_or("-".to_owned(), interval)
}

fn facts(found: &Diagnosis, config: &DiagnoseConfig) -> Vec<(&'static str, String)> {
    let DiagnoseConfig {
        discount, steps, ..
    } = config;
    vec![
        (
            "looked at",
            format!(
                "{} states, {} candidates each, {steps} steps at discount {discount}",
                found.states, config.candidates
            ),
        ),
        ("policy's value [95%]", interval(&found.value)),
        ("gain of the base's action", interval(&found.base)),
        ("of a candidate, mean", interval(&found.candidate)),
        ("of the best (reach)", interval(&found.reach)),
        ("  by chance", interval(&found.chance)),
        (
            "of the critics' choice",
            format!("{}, {} of the reach", interval(&found.choice), share(found)),
        ),
        (
            "critics' ranks",
            format!(
                "{} within a state, {} between states",
                ranks(found),
                output::optional(found.value_ranks)
            ),
        ),
    ]
}

/// A line for each policy.
fn table(rows: &[(&PathBuf, Diagnosis)]) -> String {
    let header = [
        "policy",
        "value",
        "base",
        "candidate",
        "reach",
        "by chance",
        "choice",
        "of reach",
        "ranks within",
        "between",
    ];
    let rows = rows.iter().map(|(name, found)| {
        vec![
            name.display().to_string(),
            format!("{:.1}", found.value.value),
            interval(&found.base),
            interval(&found.candidate),
            interval(&found.reach),
            interval(&found.chance),
            interval(&found.choice),
            share(found),
            ranks(found),
            output::optional(found.value_ranks),
        ]
    });
    output::table(&header, rows)
}
