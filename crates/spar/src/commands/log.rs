//! `spar log`: a run's numbers in the trackers that people use.

use std::{
    ffi::OsString,
    io::Write,
    path::PathBuf,
    process::{Command as Process, Stdio},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;

/// The program that talks to a tracker's own client.
const SCRIPT: &str = include_str!("log_replay.py");

/// What to do with logs.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Send the metrics, curve and settings of runs to Weights & Biases, MLflow or Trackio,
    /// by that one's own Python client
    Replay(ReplayArgs),
}

/// What goes where.
#[derive(clap::Args)]
#[command(after_help = ENVIRONMENT)]
pub(crate) struct ReplayArgs {
    /// Folders of runs, finished or not, or folders of such folders
    #[arg(value_name = "RUN", required_unless_present = "print")]
    runs: Vec<PathBuf>,
    /// The tracker
    #[arg(long, value_enum)]
    to: Tracker,
    /// Project, in MLflow the experiment
    #[arg(long, default_value = "spar")]
    project: String,
    /// Python that has the tracker's package
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: OsString,
    /// Print the Python program that would be run, and run nothing
    #[arg(long)]
    print: bool,
}

const ENVIRONMENT: &str = "\
The clients read their own variables: WANDB_MODE=offline, MLFLOW_TRACKING_URI, TRACKIO_DIR.

Example:
  WANDB_MODE=offline spar log replay --to wandb runs/hopper";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tracker {
    /// Weights & Biases (`pip install wandb`)
    Wandb,
    /// MLflow (`pip install mlflow-skinny`)
    Mlflow,
    /// Trackio (`pip install trackio`)
    Trackio,
}

/// Does what `command` says.
pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Replay(args) = command;
    if args.print {
        return crate::output::text(SCRIPT);
    }
    let to = args.to.to_possible_value();
    let to = to.as_ref().map_or("", |value| value.get_name());
    for run in &args.runs {
        if !run.is_dir() {
            bail!("{}: no folder of a run there", run.display());
        }
    }
    let python = || args.python.to_string_lossy();
    let mut child = Process::new(&args.python)
        // The program comes on standard input.
        .arg("-")
        .args(["--to", to, "--project", &args.project, "--"])
        .args(&args.runs)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`; name another with --python", python()))?;
    let mut stdin = child
        .stdin
        .take()
        .context("no way to give Python the program")?;
    let given = stdin.write_all(SCRIPT.as_bytes());
    drop(stdin);
    let status = child.wait()?;
    if status.success() {
        return given.context("cannot give Python the program");
    }
    Err(anyhow!(
        "`{}` ended with {status}; what it said stands above",
        python()
    ))
}
