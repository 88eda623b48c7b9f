//! `spar suite`: tables of many runs, by this program itself.

use std::{env, process::ExitCode};

use anyhow::{Context, Result};

/// What to do with a suite.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a suite's table: data, training runs side by side, report. Does what is left
    ///
    /// Suites are files of the folder `suites` here, or named by their path; data and runs are
    /// kept below this folder.
    ///
    /// Example:
    ///   spar suite run --suite mujoco --preset smoke
    #[command(verbatim_doc_comment)]
    Run(Box<spar_suite::Options>),
    /// Make one run of a plan that `suite run --engine slurm` or `print` wrote
    ///
    /// To be called in the folder in which the plan was made. A run that is done is left alone,
    /// one that was begun is resumed. Exit code 75: its anchor is not done yet.
    ///
    /// Example:
    ///   spar suite job --plan runs/mujoco-quick/plan-0a1b2c3d/jobs.jsonl --index 3
    #[command(verbatim_doc_comment)]
    Job(spar_suite::JobOptions),
}

/// Runs the suite here, or one run of it; the exit code is 0 if every run is done.
pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let here = env::current_dir().context("cannot find the working directory")?;
    let program = || env::current_exe().map_err(Into::into);
    Ok(match command {
        Command::Run(options) => spar_suite::reproduce(&here, options, program)?,
        Command::Job(options) => spar_suite::job(&here, options, program)?,
    })
}
