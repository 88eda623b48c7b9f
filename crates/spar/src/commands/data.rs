//! `spar data`: looking at data files, checking them, and getting them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use spar_collect::verify::{Tolerance, verify};
use spar_core::EnvId;
use spar_data::{Info, info};

use super::{
    ReadingArgs, convert, counts, data_of, fetch, head, numbers::tolerance, plot, prepare, stats,
    tell_notes,
};
use crate::output::{self, InFile, optional};

/// What to do with data.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// What a file holds
    Info(InfoArgs),
    /// Step a file's recorded states and actions in the environment and
    /// compare, as D4RL does; fails beyond the tolerance
    Verify(VerifyArgs),
    /// Download official files into D4RL's cache folder, each proven by its
    /// sha256; resumes where a download broke off
    Fetch(fetch::FetchArgs),
    /// Convert a D4RL file to a Minari data set, or back
    Convert(convert::Args),
    /// The first rows
    Head(head::Args),
    /// How returns, lengths, actions and observations are distributed
    Stats(stats::Args),
    /// Draw the episodes' returns
    Plot(plot::Args),
    /// Find a task's data or generate them, and say where they are
    Prepare(prepare::PrepareArgs),
    /// Generate a task's local data into a file
    Generate(prepare::GenerateArgs),
    /// Open a file as the first of two processes
    #[command(hide = true)]
    Rehearse {
        /// Arrays joined to observations
        #[arg(long)]
        observations: Vec<String>,
        /// The file
        file: PathBuf,
    },
}

/// What to look at.
#[derive(clap::Args)]
pub(crate) struct InfoArgs {
    /// Data file in D4RL's layout, or a Minari data set: its file, folder or id
    file: PathBuf,
    /// Environment, for its horizon and reference scores
    #[arg(long)]
    env: Option<EnvId>,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What to check, and how strictly.
#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// Data file or Minari data set, with infos/qpos and infos/qvel
    file: PathBuf,
    /// Environment it was recorded in
    #[arg(long)]
    env: EnvId,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Check only N rows, evenly spaced
    #[arg(long, value_name = "N", value_parser = counts(u32::MAX))]
    sample: Option<u32>,
    /// Largest deviation of an observation, relative above 1 [default: 1e-4, of adroit 2e-3]
    #[arg(long, value_name = "X", value_parser = tolerance)]
    obs_tolerance: Option<f64>,
    /// Largest deviation of a reward, relative above 1 [default: 1e-3]
    #[arg(long, value_name = "X", value_parser = tolerance)]
    reward_tolerance: Option<f64>,
    /// Rows whose terminal flag may differ
    #[arg(long, value_name = "N", default_value_t = Tolerance::default().terminals)]
    terminal_tolerance: usize,
}

/// Does what `command` says.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Info(args) => show(args),
        Command::Verify(args) => check(args),
        Command::Fetch(args) => fetch::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Head(args) => head::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Plot(args) => plot::run(args),
        Command::Prepare(args) => prepare::prepare(args),
        Command::Generate(args) => prepare::generate(args),
        Command::Rehearse { observations, file } => rehearse(file, observations),
    }
}

/// What the process does that reads a file before the one that was asked to: see
/// [`spar_data::rehearse_in`].
fn rehearse(file: &Path, observations: &[String]) -> Result<()> {
    if let Err(error) = spar_data::rehearse(file, observations) {
        println!("{error}");
        return Err(error.into());
    }
    Ok(())
}

fn show(args: &InfoArgs) -> Result<()> {
    let data = data_of(&args.file, args.env, &args.reading)?;
    let info = info(&Arc::new(data), args.env)?;
    if args.json {
        return output::json(&InFile {
            file: &args.file,
            found: &info,
        });
    }
    output::facts(&facts(&info))
}

fn facts(info: &Info) -> Vec<(&str, String)> {
    let mut facts = vec![
        ("data set", format!("{} ({})", info.id, info.origin)),
        ("sha256", info.sha256.clone()),
        ("rows", info.rows.to_string()),
        ("transitions", info.transitions.to_string()),
        (
            "widths",
            format!("{} observed, {} acted", info.obs_dim, info.act_dim),
        ),
        (
            "episodes",
            format!("{}, {} complete", info.episodes, info.complete_episodes),
        ),
        ("terminals", info.terminals.to_string()),
        (
            "timeouts",
            info.timeouts
                .map_or_else(|| "not recorded".to_owned(), |n| n.to_string()),
        ),
        ("mean length", optional(info.mean_length)),
    ];
    if let Some(r) = info.returns {
        facts.push(("return", format!("{:.2} ± {:.2}", r.mean, r.std)));
        facts.push(("lowest, highest", format!("{:.2}, {:.2}", r.min, r.max)));
    }
    facts.push(("normalized score", optional(info.normalized_score)));
    let metadata = info.metadata.iter();
    facts.extend(metadata.map(|(key, value)| (key.as_str(), value.clone())));
    facts.extend(info.notes.iter().map(|note| ("note", note.clone())));
    facts
}

fn check(args: &VerifyArgs) -> Result<()> {
    let usual = Tolerance::of(args.env);
    let tolerance = Tolerance {
        obs: args.obs_tolerance.unwrap_or(usual.obs),
        reward: args.reward_tolerance.unwrap_or(usual.reward),
        terminals: args.terminal_tolerance,
    };
    let data = data_of(&args.file, Some(args.env), &args.reading)?;
    tell_notes(&data);
    let found = verify(
        &data,
        args.env,
        args.sample.map(|rows| rows as usize),
        tolerance,
    )?;
    if args.json {
        output::json(&InFile {
            file: &args.file,
            found: &found,
        })?;
    } else {
        output::facts(&[
            ("data set", found.id.clone()),
            ("environment", found.env.to_string()),
            ("rows", format!("{}, {} checked", found.rows, found.checked)),
            ("episodes", found.episodes.to_string()),
            ("mean return", optional(found.mean_return)),
            (
                "largest deviations",
                format!(
                    "observation {:.2e} (row {}), reward {:.2e} (row {})",
                    found.max_abs_obs,
                    found.worst_obs_row,
                    found.max_abs_reward,
                    found.worst_reward_row
                ),
            ),
            ("terminal flags off", found.terminal_mismatches.to_string()),
        ])?;
    }
    if !found.ok {
        bail!(
            "{}: the rows are not {}'s: observations deviate by up to {:.2e} (row {}; allowed {:e}), \
             rewards by {:.2e} (row {}; allowed {:e}), {} terminal flags differ (allowed {}); \
             name the right environment or allow more",
            args.file.display(),
            args.env,
            found.max_abs_obs,
            found.worst_obs_row,
            tolerance.obs,
            found.max_abs_reward,
            found.worst_reward_row,
            tolerance.reward,
            found.terminal_mismatches,
            tolerance.terminals
        );
    }
    Ok(())
}
