//! `spar report`: tables and curves of finished runs; `spar report compare`: two
//! folders of them against each other.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use spar_core::{ColumnSettings, Suite, TaskId, write_atomic};
use spar_report::{
    Expected, OfflineReport, OfflineVersus, OnlineReport, Report, ReportError, ReportRequest,
    Versus, render_terminal,
};
use spar_train::{DeviceKind, Method, TrainError};

use super::{
    figure::Figure,
    protocol::{self, Lost},
    suite_file,
};
use crate::{failure::Usage, output};

/// What to report on.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    of: Option<RunsArgs>,
    /// Folder of the report
    #[arg(long, value_name = "DIR", requires = "runs")]
    out: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Compare two folders of runs, on the tasks, methods and seeds they share, or two methods
    Compare(CompareArgs),
    /// Draw one of a report's figures into a file: .svg or .png
    Plot(PlotArgs),
    /// Print where scores are expected by finished runs, as a suite's [[bands]], which
    /// `reproduce` and `report` flag scores outside of
    Bands(BandsArgs),
}

/// Which folders to compare.
#[derive(clap::Args)]
struct CompareArgs {
    /// The one folder of runs, or one run's own. Where each folder holds one method alone,
    /// the two methods are compared, by task or data and seed
    #[arg(value_name = "RUNS_A")]
    a: PathBuf,
    /// The other
    #[arg(value_name = "RUNS_B")]
    b: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Which figure, of which runs.
#[derive(clap::Args)]
#[command(after_help = PLOT_EXAMPLES)]
struct PlotArgs {
    #[command(flatten)]
    of: RunsArgs,
    /// The figure: a task's learning curves by its name, `overview` for all of them, or another
    /// of the report's, as `profiles` [default: the curves]
    #[arg(long, value_name = "NAME")]
    figure: Option<String>,
    /// File to write: .svg or .png
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Bands of which runs.
#[derive(clap::Args)]
#[command(after_help = BANDS_EXAMPLE)]
struct BandsArgs {
    /// Suite the runs belong to: a name of `./suites`, as in `mujoco`, or a file
    #[arg(long, value_name = "SUITE")]
    suite: PathBuf,
    /// Preset they were made with
    #[arg(long)]
    preset: String,
    /// Folder holding <task>/<method>/seed-<n>; every seed there counts
    #[arg(long, value_name = "DIR")]
    runs: PathBuf,
    /// Put them into the suite file instead, for those that it has of this preset of this
    /// command; others stay
    #[arg(long)]
    write: bool,
}

const BANDS_EXAMPLE: &str = "\
Example:
  spar report bands --suite suites/mujoco.toml --preset quick --runs docs/runs/mujoco-quick --write";

const PLOT_EXAMPLES: &str = "\
Examples:
  spar report plot --suite suites/mujoco.toml --preset quick --runs runs/mujoco-quick --out curves.png
  spar report plot --runs runs/online --out finetune.svg";

/// Which runs make the table.
#[derive(clap::Args)]
struct RunsArgs {
    /// Suite the runs belong to: a name of `./suites`, as in `mujoco`, or a file; left out, the
    /// report is of the runs that were fine-tuned, and of those without an environment, on their
    /// validation errors
    #[arg(long, value_name = "SUITE", requires = "preset")]
    suite: Option<PathBuf>,
    /// Preset they were made with
    #[arg(long, requires = "suite")]
    preset: Option<String>,
    /// Folder holding <task>/<method>/seed-<n>, or, without a suite, runs anywhere below
    #[arg(long, value_name = "DIR", requires = "out")]
    runs: PathBuf,
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
    match (&args.command, &args.of, &args.out) {
        (Some(Command::Compare(args)), ..) => compare(args),
        (Some(Command::Plot(args)), ..) => plot(args),
        (Some(Command::Bands(args)), ..) => bands(args),
        (None, Some(of), Some(out)) => report(of, out),
        (None, ..) => Err(Usage(
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
fn unlike_a_suite(runs: &Path, out: &Path) -> Result<()> {
    let online = OnlineReport::of(runs)?;
    if let Some(report) = &online {
        report.write(out)?;
        output::text(&report.render())?;
    }
    match OfflineReport::of(runs) {
        Err(ReportError::NoOffline(_)) if online.is_some() => Ok(()),
        Err(error) => Err(error.into()),
        Ok(report) => {
            report.write(out)?;
            output::text(&report.render())
        }
    }
}

/// Writes the report and prints its table.
fn report(of: &RunsArgs, out: &Path) -> Result<()> {
    let Some(report) = of_suite(of)? else {
        return unlike_a_suite(&of.runs, out);
    };
    report.write(out)?;
    output::text(&render_terminal(&report))
}

/// Prints the bands, or puts them into the suite's file between two lines of this command's.
fn bands(args: &BandsArgs) -> Result<()> {
    let file = &suite_file(&args.suite)?;
    let suite = Suite::load(file)?;
    suite.preset(&args.preset)?;
    let methods = suite.all_methods();
    let settings = settings(file, &suite, &args.preset, (&suite.tasks, &methods))?;
    let found = Expected::of(&suite, &args.preset, &args.runs, &settings)?;
    for cell in &found.without {
        output::say(&format!("no band: {cell}"));
    }
    let bands = found.to_toml(&suite);
    if !args.write {
        return output::text(&bands);
    }
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let [begin, end] = ["begin", "end"].map(|what| {
        format!(
            "# {what}: bands of {}, by `spar report bands`\n",
            args.preset
        )
    });
    let (before, after) = match text.split_once(&begin) {
        None => (text.trim_end().to_owned() + "\n\n", ""),
        Some((before, rest)) => match rest.split_once(&end) {
            Some((_, after)) => (before.to_owned(), after),
            None => bail!("{}: no line `{}`", file.display(), end.trim_end()),
        },
    };
    let text = format!("{before}{begin}{bands}{end}{after}");
    write_atomic(file, text.as_bytes())?;
    output::say(&format!(
        "wrote {} bands to {}",
        found.bands.len(),
        file.display()
    ));
    Ok(())
}

/// Draws one figure of the report that `spar report` would write.
fn plot(args: &PlotArgs) -> Result<()> {
    let format = Figure::of(&args.out)?;
    let online = || OnlineReport::of(&args.of.runs);
    let files = match of_suite(&args.of)? {
        Some(report) => report.files()?,
        None => online()?.map_or_else(|| Ok(Vec::new()), |report| report.files())?,
    };
    let figures: Vec<(&str, &str)> = files
        .iter()
        .filter_map(|(name, svg)| {
            let stem = name.strip_suffix(".svg")?;
            let base = stem.rsplit('/').next().unwrap_or(stem);
            Some((base, svg.as_str()))
        })
        .collect();
    let found = match args.figure.as_deref() {
        Some(name) => figures.iter().find(|(base, _)| *base == name),
        // The curves of all tasks, where there are several.
        None => figures
            .iter()
            .find(|(base, _)| *base == "overview")
            .or(figures.first()),
    };
    let Some((_, svg)) = found else {
        let names: Vec<&str> = figures.iter().map(|(base, _)| *base).collect();
        if names.is_empty() {
            anyhow::bail!(
                "{}: no figure can be drawn of these runs; give --suite and --preset for those \
                 of a suite",
                args.of.runs.display()
            );
        }
        return Err(Usage(format!(
            "--figure {}: expected one of {}",
            args.figure.as_deref().unwrap_or_default(),
            names.join(", ")
        ))
        .into());
    };
    format.write(&args.out, svg)
}

/// The report of runs of a suite, if one is named.
fn of_suite(args: &RunsArgs) -> Result<Option<Report>> {
    let (Some(suite), Some(name)) = (&args.suite, &args.preset) else {
        return Ok(None);
    };
    let file = &suite_file(suite)?;
    let suite = Suite::load(file)?;
    let preset = suite.preset(name)?;
    let or = |given: &[u64], usual: &[u64]| if given.is_empty() { usual } else { given }.to_vec();
    let known = |name: String| match suite.variant.contains_key(&name) {
        true => Ok(name),
        false => name.parse().map(|m: Method| m.name().to_owned()),
    };
    let methods = suite.asked_methods(&args.methods).into_iter().map(known);
    let methods: Result<Vec<String>, TrainError> = methods.collect();
    let methods = methods.map_err(|e| Usage(e.to_string()))?;
    if !args.runs.is_dir() {
        return Err(ReportError::NoFolder(args.runs.clone()).into());
    }
    let tasks = match args.tasks.is_empty() {
        true => suite.tasks.clone(),
        false => args.tasks.clone(),
    };
    let request = ReportRequest {
        preset: name.clone(),
        runs: args.runs.clone(),
        settings: settings(file, &suite, name, (&tasks, &methods))?,
        tasks,
        methods,
        seeds: or(&args.seeds, &preset.seeds),
        suite,
    };
    let report = Report::build(&request)?;
    report.check_found(&args.runs)?;
    Ok(Some(report))
}

/// What runs of `tasks` and `methods` of the suite in `file` are made with now: one that was
/// made with anything else is not the suite's. Of tasks and methods that are not the suite's
/// nothing is said.
fn settings(
    file: &Path,
    suite: &Suite,
    preset: &str,
    (tasks, methods): (&[TaskId], &[String]),
) -> Result<Vec<ColumnSettings>> {
    let mut tasks = tasks.to_vec();
    tasks.retain(|task| suite.tasks.contains(task));
    let asked = protocol::Asked {
        tasks: &tasks,
        columns: methods,
        // Reports name it, and compare runs of all.
        device: DeviceKind::Cpu,
        lost: Lost::LeftOut,
    };
    protocol::of_columns(file, suite, preset, &asked)
}
