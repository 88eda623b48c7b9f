//! `spar report`: tables and curves of finished runs; `spar report compare`: two
//! folders of them against each other.

use std::path::PathBuf;

use anyhow::Result;
use spar_core::{Suite, TaskId};
use spar_report::{
    OfflineReport, OfflineVersus, OnlineReport, Report, ReportError, ReportRequest, Versus,
    render_terminal,
};
use spar_train::{Method, TrainError};

use crate::{failure::Usage, output};

/// What to report on.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    table: Option<TableArgs>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Compare two folders of runs, on the tasks, methods and seeds they share
    Compare(CompareArgs),
}

/// Which folders to compare.
#[derive(clap::Args)]
struct CompareArgs {
    /// The one folder holding <task>/<method>/seed-<n>, or one run's own
    #[arg(value_name = "RUNS_A")]
    a: PathBuf,
    /// The other
    #[arg(value_name = "RUNS_B")]
    b: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Which runs make the table.
#[derive(clap::Args)]
struct TableArgs {
    /// Suite the runs belong to; left out, the report is of the runs that were fine-tuned, and
    /// of those without an environment, on their validation errors
    #[arg(long, value_name = "FILE", requires = "preset")]
    suite: Option<PathBuf>,
    /// Preset they were made with
    #[arg(long, requires = "suite")]
    preset: Option<String>,
    /// Folder holding <task>/<method>/seed-<n>, or, without a suite, runs anywhere below
    #[arg(long, value_name = "DIR")]
    runs: PathBuf,
    /// Folder of the report
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only these tasks
    #[arg(long, value_delimiter = ',', requires = "suite")]
    tasks: Vec<TaskId>,
    /// These methods or variants instead of the table's, or `all` the suite has settings for
    #[arg(long, value_delimiter = ',', requires = "suite")]
    methods: Vec<String>,
    /// These seeds instead of the preset's
    #[arg(long, value_delimiter = ',', requires = "suite")]
    seeds: Vec<u64>,
}

/// Does what was asked for.
pub(crate) fn run(args: &Args) -> Result<()> {
    match (&args.command, &args.table) {
        (Some(Command::Compare(args)), _) => compare(args),
        (None, Some(args)) => report(args),
        (None, None) => Err(Usage(
            "nothing to report on; expected --runs and --out, with --suite and --preset for runs of one, or `compare RUNS_A RUNS_B`"
                .to_owned(),
        )
        .into()),
    }
}

fn compare(args: &CompareArgs) -> Result<()> {
    if let Some(found) = OfflineVersus::of(&args.a, &args.b)? {
        if args.json {
            return output::json(&found);
        }
        return output::text(&found.render());
    }
    let found = Versus::of(&args.a, &args.b)?;
    if args.json {
        return output::json(&found);
    }
    output::text(&found.render())
}

/// The same of runs of no suite: those that were fine-tuned, and those without an environment.
fn unlike_a_suite(args: &TableArgs) -> Result<()> {
    let online = OnlineReport::of(&args.runs)?;
    if let Some(report) = &online {
        report.write(&args.out)?;
        output::text(&report.render())?;
    }
    match OfflineReport::of(&args.runs) {
        Err(ReportError::NoOffline(_)) if online.is_some() => Ok(()),
        Err(error) => Err(error.into()),
        Ok(report) => {
            report.write(&args.out)?;
            output::text(&report.render())
        }
    }
}

/// Writes the report and prints its table.
fn report(args: &TableArgs) -> Result<()> {
    let (Some(suite), Some(name)) = (&args.suite, &args.preset) else {
        return unlike_a_suite(args);
    };
    let suite = Suite::load(suite)?;
    let preset = suite.preset(name)?;
    let or = |given: &[u64], usual: &[u64]| if given.is_empty() { usual } else { given }.to_vec();
    let of_suite = |name: String| match suite.variant.contains_key(&name) {
        true => Ok(name),
        false => name.parse().map(|m: Method| m.name().to_owned()),
    };
    let methods = suite.asked_methods(&args.methods).into_iter().map(of_suite);
    let methods: Result<_, TrainError> = methods.collect();
    let methods = methods.map_err(|e| Usage(e.to_string()))?;
    let request = ReportRequest {
        preset: name.clone(),
        runs: args.runs.clone(),
        tasks: if args.tasks.is_empty() {
            suite.tasks.clone()
        } else {
            args.tasks.clone()
        },
        methods,
        seeds: or(&args.seeds, &preset.seeds),
        suite,
    };
    let report = Report::build(&request)?;
    report.write(&args.out)?;
    output::text(&render_terminal(&report))
}
