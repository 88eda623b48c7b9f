//! `spar report`: tables and curves of finished runs.

use std::path::PathBuf;

use anyhow::Result;
use spar_core::{Suite, TaskId};
use spar_report::{Report, ReportRequest, render_terminal};
use spar_train::Method;

use crate::output;

/// What to report on.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Suite the runs belong to
    #[arg(long, value_name = "FILE")]
    suite: PathBuf,
    /// Preset they were made with
    #[arg(long)]
    preset: String,
    /// Folder holding <task>/<method>/seed-<n>
    #[arg(long, value_name = "DIR")]
    runs: PathBuf,
    /// Folder of the report
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only these tasks
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<TaskId>,
    /// Only these methods
    #[arg(long, value_delimiter = ',')]
    methods: Vec<Method>,
    /// These seeds instead of the preset's
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
}

/// Writes the report and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    let suite = Suite::load(&args.suite)?;
    let preset = suite.preset(&args.preset)?;
    let or = |given: &[u64], usual: &[u64]| if given.is_empty() { usual } else { given }.to_vec();
    let request = ReportRequest {
        preset: args.preset.clone(),
        runs: args.runs.clone(),
        tasks: if args.tasks.is_empty() {
            suite.tasks.clone()
        } else {
            args.tasks.clone()
        },
        methods: if args.methods.is_empty() {
            suite.methods.clone()
        } else {
            args.methods.iter().map(|m| m.name().to_owned()).collect()
        },
        seeds: or(&args.seeds, &preset.seeds),
        suite,
    };
    let report = Report::build(&request)?;
    report.write(&args.out)?;
    output::text(&render_terminal(&report))
}
