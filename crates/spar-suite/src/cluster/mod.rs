//! The runs of a suite on a cluster: a plan with one line for each run, and Slurm's job arrays
//! over it.
//!
//! A supervisor here would have to live as long as the table takes, on a login node. Instead
//! the plan is a file and each run is made by `spar suite job`, which needs nothing but its
//! line: whatever ends a job, the same command resumes it. Job arrays are Slurm's own
//! answer to many alike jobs, and its dependencies are ours: a run starts when its anchor is
//! done.

mod arrays;
mod job;
pub mod plan_file;
mod script;
mod slurm;

use std::{collections::BTreeMap, fs, num::NonZeroUsize, path::Path};

use clap::{Args, ValueEnum};
use spar_core::{TaskId, write_atomic};

use crate::{
    Result, RunnerError, Usage, below,
    error::io,
    plan, say,
    say::to_stdout,
    session::{Prepared, Session},
    training::in_words,
};
use arrays::{Array, Pending};
use plan_file::Planned;
use script::{Scripts, Text};

pub use job::{JobOptions, NOT_YET, job};

/// Where the runs are made.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Clusters")]
pub struct EngineOptions {
    /// What starts the runs: this process, side by side; Slurm, as job arrays; or `print` to
    /// write the plan and the scripts and submit nothing
    #[arg(long, value_enum, default_value = "local")]
    engine: Engine,
    /// Jobs of one array, the runs of one method, at a time
    #[arg(long, value_name = "N")]
    max_parallel: Option<NonZeroUsize>,
    /// A further option of sbatch, as in `--sbatch-arg=--partition=long`; may be repeated
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch_arg: Vec<String>,
}

/// What starts the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// This process, side by side on this machine.
    Local,
    /// Slurm, as job arrays; this process ends when they are submitted.
    Slurm,
    /// Nothing: the plan and the scripts are written and printed.
    Print,
}

/// Options of sbatch that the plan itself decides.
const OURS: [(&str, Option<&str>); 5] = [
    ("--array", Some("-a")),
    ("--dependency", Some("-d")),
    ("--parsable", None),
    ("--wrap", None),
    ("--chdir", Some("-D")),
];

impl EngineOptions {
    /// Refuses options of clusters without one, and those that would undo the plan.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |why: String| Err(Usage(why).into());
        if self.engine == Engine::Local {
            let given = [
                ("--max-parallel", self.max_parallel.is_some()),
                ("--sbatch-arg", !self.sbatch_arg.is_empty()),
            ];
            if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
                return refused(format!(
                    "{option} is for clusters; give --engine slurm or print, or --jobs for \
                     processes here"
                ));
            }
        }
        for given in &self.sbatch_arg {
            if !given.starts_with('-') || given.contains(['\n', '\r']) {
                return refused(format!(
                    "--sbatch-arg `{}`; expected one option with its value, as in \
                     --sbatch-arg=--partition=long",
                    given.escape_debug()
                ));
            }
            let name = given.split('=').next().unwrap_or_default();
            let ours = |(long, short): &&(&str, Option<&str>)| {
                name == *long
                    || short.is_some_and(|s| given.starts_with(s) && !given.starts_with("--"))
            };
            if let Some((option, _)) = OURS.iter().find(ours) {
                return refused(format!(
                    "--sbatch-arg `{given}`: the plan decides {option}; leave it out"
                ));
            }
        }
        Ok(())
    }

    /// These, if they name a cluster.
    pub(crate) fn cluster(&self) -> Option<&Self> {
        (self.engine != Engine::Local).then_some(self)
    }
}

/// The cluster that jobs are for.
pub(crate) struct Cluster<'a> {
    options: &'a EngineOptions,
    /// Jobs of one array.
    array_size: usize,
}

impl<'a> Cluster<'a> {
    /// The one whose commands are here; only a plan to be printed can do without.
    pub(crate) fn here(options: &'a EngineOptions) -> Result<Self> {
        let array_size = match (slurm::array_size(), options.engine) {
            (Ok(size), _) => size,
            (Err(_), Engine::Print) => slurm::USUAL_ARRAY,
            (Err(error), _) => return Err(error),
        };
        Ok(Self {
            options,
            array_size,
        })
    }
}

impl Session<'_> {
    /// Writes the plan of the runs and the scripts of those that are left, and submits or
    /// prints them; returns the runs that have no place in it, in words.
    pub(crate) fn hand_over(
        &mut self,
        cluster: &Cluster<'_>,
        data: &BTreeMap<TaskId, Prepared>,
    ) -> Result<Vec<String>> {
        let left = self.left(data)?;
        let planned = self.planned(data)?;
        let costs = self.costs(&left);
        if self.stopped() {
            return Ok(left.failures);
        }
        let lines: BTreeMap<_, _> = planned
            .iter()
            .map(|line| (line.out.as_os_str(), line))
            .collect();
        let mut pending = BTreeMap::new();
        for ((run, _), cost) in left.runs.iter().zip(&costs.each) {
            let Some(line) = lines.get(self.folder(run).as_os_str()) else {
                continue;
            };
            let seconds = costs.rates.as_ref().map(|_| *cost);
            let _new = pending.insert(line.index, Pending { line, seconds });
        }
        let cells = self.selection.tasks.len() * self.selection.seeds.len();
        let arrays = arrays::of(&pending, cells, cluster.array_size);
        let text = plan_file::text(&planned)?;
        let name = plan_file::name(&text);
        let folder = self.root.join(&self.out).join(&name);
        let engine = cluster.options.engine;
        if engine == Engine::Slurm {
            slurm::refuse_twice(&name)?;
        }
        write(&folder.join(plan_file::FILE), &text)?;
        let report = self.report_command();
        let scripts = Scripts {
            plan: &name,
            folder: &folder,
            root: self.root,
            spar: &self.spar,
            device: &self.selection.device,
            options: cluster.options,
        };
        let texts = scripts.texts(&arrays, &report)?;
        for Text { file, text } in &texts {
            write(&folder.join(file), text)?;
        }
        let shown = |file: &str| below(self.root, folder.join(file)).display().to_string();
        say!("plan: {} ({} runs)", shown(plan_file::FILE), planned.len());
        if let Some(rates) = &costs.rates {
            say!(
                "estimate: {} of one core ({rates})",
                in_words(costs.each.iter().sum())
            );
        }
        match engine {
            Engine::Print => print(&folder, &texts)?,
            _ => self.submit(&scripts, &arrays)?,
        }
        Ok(left.failures)
    }

    /// Submits the arrays and the report, all or none.
    fn submit(&self, scripts: &Scripts<'_>, arrays: &[Array]) -> Result<()> {
        let mut submitted = slurm::Submitted::default();
        for array in arrays {
            let id = submitted.array(scripts, array)?;
            say!(
                "job {id}: {} runs of {}{}",
                array.ids.len(),
                array.column,
                match array.minutes() {
                    Some(minutes) =>
                        format!(", {minutes} minutes each at most before it is queued again"),
                    None => String::new(),
                }
            );
        }
        let id = submitted.report(scripts)?;
        submitted.keep();
        say!(
            "job {id}: the report, when all have ended: {}",
            self.out.join("report").display()
        );
        say!("squeue --me shows them; the same command later submits what is left");
        Ok(())
    }

    /// A line for every run of the selection that has data, done or not, so that a run has
    /// the same number whenever the plan is made.
    fn planned(&self, data: &BTreeMap<TaskId, Prepared>) -> Result<Vec<Planned>> {
        let mut runs = plan::runs(&self.selection);
        let with_anchors = self.selection.methods.iter().any(|method| method == "bc");
        let mut columns: Vec<&String> = self.selection.methods.iter().collect();
        // A run's number is its anchor's and a multiple of the cells.
        columns.sort_by_key(|column| *column != "bc");
        let rank = |column: &str| columns.iter().position(|c| *c == column);
        runs.sort_by_key(|run| rank(&run.method));
        let cells = self.selection.tasks.len() * self.selection.seeds.len();
        let mut planned = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            let Some(data) = data.get(&run.task) else {
                continue;
            };
            let Some(identity) = run.identity(&self.selection, &data.sha256) else {
                let why = format!("it says nothing of {}", run.name());
                return Err(RunnerError::Child {
                    command: "protocol --settings",
                    said: why,
                });
            };
            let variant = self.selection.variants.contains(&run.method);
            planned.push(Planned {
                index,
                suite: self.suite_file.clone(),
                preset: self.selection.preset.clone(),
                task: run.task.to_string(),
                method: match variant {
                    true => "spar".to_owned(),
                    false => run.method.clone(),
                },
                variant: variant.then(|| run.method.clone()),
                seed: run.seed,
                device: self.selection.device.clone(),
                dataset: data.path.clone(),
                sha256: data.sha256.clone(),
                out: self.folder(run),
                anchor: (with_anchors && run.anchored).then_some(index % cells),
                identity: identity.sha256(),
            });
        }
        Ok(planned)
    }
}

/// Writes `text` to `path`, unless it is there already: jobs that wait read the plan.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    write_atomic(path, text.as_bytes()).map_err(io(format!("cannot write {}", path.display())))
}

/// Prints the scripts, each after its path.
fn print(folder: &Path, texts: &[Text]) -> Result<()> {
    let shown = |Text { file, text }: &Text| format!("# {}\n{text}", folder.join(file).display());
    let all: Vec<_> = texts.iter().map(shown).collect();
    to_stdout(&all.join("\n")).map_err(io("cannot write to standard output"))
}
