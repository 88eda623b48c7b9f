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
    Run(spar_suite::Options),
}

/// Runs the suite here; the exit code is 0 if every run is done.
pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let Command::Run(options) = command;
    let here = env::current_dir().context("cannot find the working directory")?;
    let program = || env::current_exe().map_err(Into::into);
    Ok(spar_suite::reproduce(&here, options, program)?)
}
