//! Run folders in; tables, curves and verdicts out.
//!
//! A report is a pure function of the folders of finished runs: it never
//! trains, evaluates or guesses, it holds no clock, and the same folders give
//! the same bytes. What is not there is printed as missing, what cannot stand
//! in one row (two data sets, two physics versions, two protocols) is refused.
//!
//! It reads `<runs>/<task>/<method>/seed-<n>/{DONE, eval.csv}`, where `DONE` is
//! a [`spar_core::RunRecord`] in JSON, and `ope.json` and `clips/` beside them, if `spar ope` and
//! `spar render` wrote them. It writes `table.md`, `table.csv`,
//! `table.tex`, `results.json`, `report.html`, `published.md`,
//! `curves/*.svg` and `plots/*.svg`.
//!
//! ```no_run
//! use spar_core::Suite;
//! use spar_report::{Report, ReportRequest, render_terminal};
//!
//! let suite = Suite::load("suites/mujoco.toml".as_ref())?;
//! let report = Report::build(&ReportRequest {
//!     preset: "quick".to_owned(),
//!     runs: "runs/mujoco".into(),
//!     tasks: suite.tasks.clone(),
//!     methods: suite.methods.clone(),
//!     seeds: suite.preset("quick")?.seeds.clone(),
//!     settings: Vec::new(),
//!     suite,
//! })?;
//! report.write("reports/mujoco".as_ref())?;
//! print!("{}", render_terminal(&report));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{io, path::Path, path::PathBuf};

use spar_core::{ColumnSettings, Suite, TaskId, suite::SuiteError};

mod aggregate;
mod alike;
mod bands;
mod chart;
mod compare;
mod csv_table;
mod curves;
mod differences;
mod figures;
mod films;
mod find;
mod histogram;
mod html;
mod latex;
mod legend;
mod loglog;
mod made;
mod markdown;
mod names;
mod offline;
mod online;
mod ope;
#[cfg(feature = "png")]
mod png;
mod published;
mod read;
pub mod results;
mod seeds;
mod sides;
mod sweeps;
mod table;
mod totals;
mod unit;
mod versus;

pub use bands::{Expected, LEAST_SEEDS};
pub use histogram::{Histogram, bars};
pub use loglog::{LogLine, LogLog};
pub use markdown::{fit, render_terminal};
pub use names::short as title;
pub use offline::{OfflineReport, OfflineRow, OfflineSummary, OfflineVersus};
pub use online::{OnlineReport, OnlineRow};
pub use ope::{Candidate, Choice, OpeRun, OpeTask};
#[cfg(feature = "png")]
pub use png::png;
use results::Reason;
pub use results::Results;
pub use versus::{Outcome, Row, Versus};

/// What to report on.
#[derive(Clone, Debug)]
pub struct ReportRequest {
    /// The suite the runs belong to.
    pub suite: Suite,
    /// The preset they were made with; runs of another one are refused.
    pub preset: String,
    /// Folder holding `<task>/<method>/seed-<n>`.
    pub runs: PathBuf,
    /// Rows, in the order printed.
    pub tasks: Vec<TaskId>,
    /// Columns, in the order printed.
    pub methods: Vec<String>,
    /// Training seeds every cell should have.
    pub seeds: Vec<u64>,
    /// What the runs of a task and method are made with now: a run of other settings is
    /// printed as missing. Of columns that are not here nothing is known, and every run counts.
    pub settings: Vec<ColumnSettings>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The suite has no such preset.
    #[error(transparent)]
    Preset(#[from] SuiteError),
    /// The request names nothing of one kind.
    #[error("nothing to report: no {0} given; name at least one")]
    Empty(&'static str),
    /// The request names something twice.
    #[error("{what} `{name}` is given twice; name each {what} once")]
    Duplicate {
        /// `task`, `method` or `seed`.
        what: &'static str,
        /// What is named twice.
        name: String,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {0}")]
    Read(#[source] io::Error),
    /// A file of a run is not what it has to be.
    #[error(
        "{}: not a valid {what}: {why}; copy the file from where the run was made, or move the \
         run's folder away and run it again", file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A run says it is another one than its folder and the request say.
    #[error(
        "{}: {field} is `{got}`, expected `{expected}`; the run belongs elsewhere: move or delete its folder", file.display()
    )]
    Misplaced {
        /// The run's `DONE`.
        file: PathBuf,
        /// The field that differs.
        field: &'static str,
        /// What the run says.
        got: String,
        /// What it had to say.
        expected: String,
    },
    /// Two runs that may not stand in one row.
    #[error(
        "task {task}: refusing to mix {what}: {first} in {} and {second} in {}; make the runs of a row again with one", first_file.display(), second_file.display()
    )]
    Mixed {
        /// The row.
        task: Box<str>,
        /// What differs.
        what: &'static str,
        /// The first run's.
        first: Box<str>,
        /// The first run's `DONE`.
        first_file: PathBuf,
        /// The other run's.
        second: Box<str>,
        /// The other run's `DONE`.
        second_file: PathBuf,
    },
    /// The record of a run is not believed.
    #[error(transparent)]
    Record(#[from] spar_core::RecordError),
    /// Two training seeds of one method were trained with different settings.
    #[error(
        "task {task}: refusing to average seeds of {method} that differ in `{}`: {} in {} and {} in {}; make them again with one", difference.field, difference.there, first_file.display(), difference.here, second_file.display()
    )]
    Settings {
        /// The row.
        task: Box<str>,
        /// The method.
        method: String,
        /// The first setting that differs: `there` in the first run, `here` in the other.
        difference: Box<spar_core::Difference>,
        /// The first run's `DONE`.
        first_file: PathBuf,
        /// The other run's `DONE`.
        second_file: PathBuf,
    },
    /// A single run of data that are no task's.
    #[error(
        "{}: the run is of `{task}`, which is no known task; give runs of a suite's tasks", file.display()
    )]
    NoTask {
        /// The run's `DONE`.
        file: PathBuf,
        /// What it was trained on.
        task: String,
    },
    /// Two seeds with one run's returns.
    #[error(
        "task {task}: {method} has the same returns with seeds {} and {}, in {} and {}; one is a copy: delete it and run it again",
        seeds.0, seeds.1, first_file.display(), second_file.display()
    )]
    Copied {
        /// The row.
        task: Box<str>,
        /// The method.
        method: String,
        /// The seeds.
        seeds: (u64, u64),
        /// The first run's `DONE`.
        first_file: PathBuf,
        /// The other run's `DONE`.
        second_file: PathBuf,
    },
    /// A folder holds no run.
    #[error("{}: no run there; expected folders <task>/<method>/seed-<n>, as `spar suite run` makes them, or one finished run", .0.display())]
    NoRuns(PathBuf),
    /// There is no such folder of runs.
    #[error("{}: there is no such folder; expected one that holds <task>/<method>/seed-<n>, as `spar suite run` makes it", .0.display())]
    NoFolder(PathBuf),
    /// Of the runs asked for there is none.
    #[error("{}: {why}; expected the folder that `spar suite run` made, and --tasks, --methods and --seeds of runs in it", runs.display())]
    NoneFinished {
        /// The folder.
        runs: PathBuf,
        /// What there is instead.
        why: String,
    },
    /// A folder holds no run without an environment.
    #[error(
        "{}: no finished run without an environment there, and none that was fine-tuned; for runs \
         of a suite give --suite and --preset too", .0.display()
    )]
    NoOffline(PathBuf),
    /// Scores cannot be compared with validation errors.
    #[error(
        "the runs in {} have no environment and those in {} have one: validation errors cannot be \
         compared with scores; evaluate both alike", without.display(), with.display()
    )]
    OneOffline {
        /// The folder whose runs have none.
        without: PathBuf,
        /// The other.
        with: PathBuf,
    },
    /// Two runs on one data set hold out other episodes, or scale actions otherwise.
    #[error(
        "refusing to mix runs that hold out other episodes or scale actions otherwise: {first} in \
         {} and {second} in {}; make them again with the same options",
        first_file.display(), second_file.display()
    )]
    HeldOut {
        /// What the first run holds out.
        first: String,
        /// The first run's `DONE`.
        first_file: PathBuf,
        /// What the other does.
        second: String,
        /// The other run's `DONE`.
        second_file: PathBuf,
    },
    /// Two training seeds without an environment were trained with different settings.
    #[error(
        "refusing to average seeds of {method} that differ in `{}`: {} in {} and {} in {}; make \
         them again with one", difference.field, difference.there, first_file.display(),
        difference.here, second_file.display()
    )]
    OfflineSettings {
        /// The method.
        method: String,
        /// The first setting that differs: `there` in the first run, `here` in the other.
        difference: Box<spar_core::Difference>,
        /// The first run's `DONE`.
        first_file: PathBuf,
        /// The other run's `DONE`.
        second_file: PathBuf,
    },
    /// One seed is there twice.
    #[error(
        "{method} has two runs of seed {seed} on the same data, in {} and {}; leave one out",
        first_file.display(), second_file.display()
    )]
    SeedTwice {
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
        /// The first run's `DONE`.
        first_file: PathBuf,
        /// The other run's `DONE`.
        second_file: PathBuf,
    },
    /// Two folders of runs have nothing in common.
    #[error(
        "{} and {} share no finished run of one task, method and seed; nothing to compare: runs \
         of two methods are paired where each folder holds one method alone, on the same task or \
         data and with the same seed", a.display(), b.display()
    )]
    NothingShared {
        /// The one.
        a: PathBuf,
        /// The other.
        b: PathBuf,
    },
    /// The statistics of the comparison cannot be had.
    #[error("cannot compare the methods: {0}")]
    Statistics(#[from] spar_stats::StatsError),
    /// An output could not be rendered.
    #[error("cannot render {what}: {why}")]
    Render {
        /// The output file.
        what: String,
        /// Why.
        why: String,
    },
}

/// A finished report: the numbers and the curves, not yet on disk.
#[derive(Clone, Debug)]
pub struct Report {
    /// Everything `results.json` holds; every table is made of it alone.
    pub results: Results,
    curves: Vec<curves::TaskCurves>,
    films: Vec<films::RunFilms>,
}

impl Report {
    /// Reads the runs and computes every number of the report.
    ///
    /// # Errors
    /// If the request contradicts itself, a file is unreadable or corrupt, or
    /// runs contradict their folders or each other. Missing runs are no error.
    pub fn build(request: &ReportRequest) -> Result<Self, ReportError> {
        let runs = read::read(request)?;
        let results = compare::results(request, &runs)?;
        Ok(Self {
            curves: curves::collect(request, &runs, results.unit),
            results,
            films: films::collect(&runs),
        })
    }

    /// Refuses a report without a single number, which would replace one that has some.
    ///
    /// # Errors
    /// If no run of the request in the folder `runs` is finished with the suite's settings.
    pub fn check_found(&self, runs: &Path) -> Result<(), ReportError> {
        let missing = &self.results.missing;
        if !self.results.cells.is_empty() {
            return Ok(());
        }
        let all = missing.len();
        let begun = missing.iter().find(|m| m.reason != Reason::NotStarted);
        let why = match begun {
            None => format!("none of the {all} runs asked for is there"),
            Some(run) => format!(
                "none of the {all} runs asked for counts: {} {} seed {} ({})",
                run.task,
                title(&run.method),
                run.seed,
                run.words()
            ),
        };
        let runs = runs.to_owned();
        Err(ReportError::NoneFinished { runs, why })
    }

    /// The output files: path below the report's folder, and content.
    ///
    /// # Errors
    /// If an output cannot be rendered.
    pub fn files(&self) -> Result<Vec<(String, String)>, ReportError> {
        let json = serde_json::to_string_pretty(&self.results).map_err(|e| render("JSON", e))?;
        let mut files = vec![
            ("table.md".to_owned(), markdown::render(&self.results)),
            ("table.csv".to_owned(), csv_table::render(&self.results)?),
            ("table.tex".to_owned(), latex::render(&self.results)),
            ("results.json".to_owned(), json + "\n"),
            (
                "report.html".to_owned(),
                html::render(&self.results, &self.curves, &self.films)?,
            ),
        ];
        if !self.results.published.is_empty() {
            let text = markdown::published(&self.results);
            files.push(("published.md".to_owned(), text));
        }
        files.extend(curves::render(&self.curves)?);
        files.extend(figures::render(&self.results)?);
        Ok(files)
    }

    /// Writes every output below `folder`, each atomically, and returns their
    /// paths. Same inputs, same bytes.
    ///
    /// # Errors
    /// If an output cannot be rendered or written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
        seeds::write(self.files()?, folder)
    }
}

/// Why a report is not on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// An output could not be rendered.
    #[error(transparent)]
    Render(#[from] ReportError),
    /// An output could not be written.
    #[error("cannot write {0}")]
    Write(#[from] io::Error),
}

/// The colour of `method` in every figure that compares `methods`, as `#rrggbb`: told
/// apart by colour-blind readers, and the same for SPAR and its anchor everywhere.
/// Methods are named as in a suite file.
pub fn method_color(methods: &[String], method: &str) -> String {
    let plotters::style::RGBColor(red, green, blue) = chart::Look::of(methods, method).color;
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn render(what: &str, why: impl std::fmt::Display) -> ReportError {
    ReportError::Render {
        what: what.to_owned(),
        why: why.to_string(),
    }
}

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
