//! The schema of `results.json`. Every other output is made of it alone.

use serde::{Deserialize, Serialize};
use spar_core::{EnvId, Origin, TaskId, printable};
use spar_stats::{Estimate, Interval};

pub use crate::unit::Unit;
use crate::{compare::ANCHOR, ope::OpeTask};

/// Version of the schema, raised when a field changes its meaning or goes.
pub const SCHEMA: u32 = 2;

/// The whole report as numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the suite.
    pub suite: String,
    /// Preset the runs were made with.
    pub preset: String,
    /// The preset's description.
    pub description: String,
    /// Commits of the programs that made the runs, sorted, joined by `, `;
    /// empty if no run is finished.
    pub commit: String,
    /// This crate and its version.
    pub generated_by: String,
    /// Tasks asked for, in the order printed.
    pub tasks: Vec<TaskId>,
    /// Methods asked for, in the order printed.
    pub methods: Vec<String>,
    /// Training seeds asked for.
    pub seeds: Vec<u64>,
    /// What the numbers of the tables are.
    #[serde(default, skip_serializing_if = "Unit::is_score")]
    pub unit: Unit,
    /// Finished runs: tasks outermost, seeds innermost.
    pub cells: Vec<Cell>,
    /// Runs asked for and not finished, in the same order.
    pub missing: Vec<Missing>,
    /// Aggregates of each method over all tasks.
    pub summary: Vec<Summary>,
    /// SPAR against its anchor; `null` unless both were asked for.
    pub comparison: Option<Comparison>,
    /// Each variant of SPAR in the report against SPAR itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Settings of SPAR that several variants in the report change alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweeps: Vec<Sweep>,
    /// The best method of each row of the table that two methods or more are
    /// complete in.
    #[serde(default)]
    pub best: Vec<Best>,
    /// Cells of the table that lie outside the suite's bands.
    #[serde(default)]
    pub flags: Vec<Flag>,
    /// Performance profiles of the complete methods; `null` without any.
    #[serde(default)]
    pub profiles: Option<Profiles>,
    /// Of every two complete methods, in the order of `methods`, how probably
    /// the first is better.
    #[serde(default)]
    pub improvements: Vec<Improvement>,
    /// What would have been picked without the simulator, of each task with runs that hold
    /// an `ope.json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ope: Vec<OpeTask>,
    /// What others published for these tasks, never comparable with runs on data
    /// that are not official.
    #[serde(default)]
    pub published: Vec<Published>,
}

/// One finished run: one task, method and training seed, its last checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Task id.
    pub task: TaskId,
    /// Method, as in `bc`.
    pub method: String,
    /// Training seed.
    pub seed: u64,
    /// Undiscounted return of every evaluation episode.
    pub returns: Vec<f64>,
    /// Mean of `returns`.
    pub mean_return: f64,
    /// D4RL's normalized score of `mean_return`, in percent; absent where no reference
    /// returns are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalized_score: Option<f64>,
    /// Id of the training data.
    pub dataset: String,
    /// `official`, `local` or `user`.
    pub dataset_origin: Origin,
    /// SHA-256 of the data file.
    pub dataset_sha256: String,
    /// Rows of the data file.
    pub dataset_rows: usize,
    /// Environment of the evaluation.
    pub env: EnvId,
    /// Version of the physics library.
    pub mujoco_version: String,
    /// Gradient updates of the method's own networks.
    pub updates: u64,
    /// Gradient updates of its behaviour-cloning anchor.
    pub anchor_updates: u64,
    /// Seed of the evaluation episodes.
    pub eval_seed: u64,
    /// Wall-clock seconds of the run.
    pub wall_s: f64,
    /// Threads the run used.
    pub threads: usize,
    /// What computed the updates: `cpu` or `cuda`, and `cpu in bf16x3` where their passes were
    /// not all in single precision.
    #[serde(default)]
    pub device: String,
    /// Commit of the program that made the run.
    pub commit: String,
    /// The command that makes the run again.
    pub command: String,
}

/// A run that was asked for and is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Task id.
    pub task: TaskId,
    /// Method.
    pub method: String,
    /// Training seed.
    pub seed: u64,
    /// How far it got.
    pub reason: Reason,
    /// Of [`Reason::OtherSettings`]: in which setting it differs, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// How far a missing run got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It has no folder.
    #[serde(rename = "not started")]
    NotStarted,
    /// It has a folder without `DONE`.
    #[serde(rename = "unfinished")]
    Unfinished,
    /// It is finished, and was made with other settings than the suite has now.
    #[serde(rename = "other settings")]
    OtherSettings,
}

/// A method over all tasks. The numbers are there only if every run is: a mean
/// over fewer tasks than the next column's would pass for a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Method.
    pub method: String,
    /// Tasks of which every seed is finished.
    pub tasks_complete: usize,
    /// Mean over seeds of the mean over tasks of the normalized score.
    pub mean: Option<f64>,
    /// Standard deviation (ddof = 0) over seeds of the mean over tasks; `null`
    /// with fewer than two seeds.
    pub std: Option<f64>,
    /// Interquartile mean of all (task, seed) scores, as rliable's.
    pub iqm: Option<f64>,
    /// Lower end of its 95% stratified bootstrap interval (runs resampled
    /// within tasks); `null` with fewer than two seeds, where it has no width.
    pub iqm_low: Option<f64>,
    /// Upper end of that interval.
    pub iqm_high: Option<f64>,
    /// rliable's aggregates, with intervals from the same resamples.
    #[serde(default)]
    pub aggregates: Option<Aggregates>,
}

/// rliable's aggregates of all (task, seed) scores of a method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aggregates {
    /// Mean over tasks of the mean over seeds.
    pub mean: Bounded,
    /// Median over tasks of the mean over seeds.
    pub median: Bounded,
    /// Mean of the middle half of all scores.
    pub iqm: Bounded,
    /// By how much scores fall short of 100 in the mean, those above it counted
    /// as 100; less is better.
    pub optimality_gap: Bounded,
}

/// A number with its 95% interval, which one seed does not give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounded {
    /// The number.
    pub value: f64,
    /// Lower end of the interval; `null` with fewer than two seeds.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Bounded {
    /// `estimate`, its interval only if it is `known`.
    pub(crate) fn new(estimate: Estimate, known: bool) -> Self {
        let Interval { low, high } = estimate.interval;
        Self {
            value: estimate.value,
            low: known.then_some(low),
            high: known.then_some(high),
        }
    }
}

/// The best method of a row, by the mean over seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The row's task; `null` for the mean over all tasks.
    pub task: Option<TaskId>,
    /// The method.
    pub method: String,
    /// Its mean.
    pub value: f64,
    /// Lower end of its 95% interval: seeds and, in them, episodes resampled.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The other methods whose mean is not below `low`.
    pub within: Vec<String>,
}

/// A cell outside the band the suite gives for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    /// Task id.
    pub task: TaskId,
    /// Method.
    pub method: String,
    /// Mean over its finished seeds.
    pub score: f64,
    /// Lower end of the band.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// All of it in words.
    pub words: String,
}

/// Which part of a method's runs scores above what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profiles {
    /// Normalized scores.
    pub levels: Vec<f64>,
    /// One for each complete method.
    pub methods: Vec<Profile>,
}

/// One method's performance profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Method.
    pub method: String,
    /// For each level the part of runs above it, from 0 to 1.
    pub above: Vec<Bounded>,
}

/// How probably a run of one method scores above a run of another on the same
/// task, in the mean over tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Improvement {
    /// The one.
    pub method: String,
    /// The other.
    pub over: String,
    /// The probability, from 0 to 1, a tie counting half.
    pub probability: Bounded,
}

/// One number of somebody else's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Method, by the name it has there.
    pub method: String,
    /// Task.
    pub task: TaskId,
    /// Version of the data.
    pub data: String,
    /// Normalized score, as printed there.
    pub score: String,
    /// Spread over seeds, as printed there; empty if it is not.
    pub std: String,
    /// Training seeds; empty if not stated.
    pub seeds: String,
    /// Which checkpoint, how many episodes.
    pub protocol: String,
    /// Where it stands.
    pub source: String,
}

/// A method against its anchor over the (task, seed) pairs that have both, in
/// points of normalized score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The method compared.
    pub method: String,
    /// What it is compared with.
    pub anchor: String,
    /// How the intervals were made.
    pub scheme: String,
    /// Coverage the intervals aim at.
    pub confidence: f64,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Seed of the bootstrap's random stream.
    pub bootstrap_seed: u64,
    /// Every task asked for, in the order printed.
    pub tasks: Vec<TaskComparison>,
    /// (task, seed) pairs compared.
    pub pairs: usize,
    /// (task, seed) pairs asked for.
    pub pairs_expected: usize,
    /// Tasks with at least one pair.
    pub tasks_compared: usize,
    /// Tasks on which the whole interval of the difference is above zero.
    pub tasks_above: usize,
    /// Tasks on which it is below zero.
    #[serde(default)]
    pub tasks_below: usize,
    /// Mean over the compared tasks of the difference.
    pub mean_difference: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
    /// What follows for the claim that the method improves on its anchor.
    pub verdict: Verdict,
    /// The verdict in words, with its numbers.
    pub sentence: String,
}

/// A variant of SPAR against SPAR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// What the variant is, in the suite's words.
    pub about: String,
    /// The variant as the method compared, SPAR as what it is compared with.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// One number of SPAR's settings at several values, everything else as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Where the number stands, as in `rectify.candidates`.
    pub setting: String,
    /// From the least value to the greatest, SPAR's own among them.
    pub points: Vec<SweepPoint>,
}

/// One value of a [`Sweep`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// The value.
    pub value: f64,
    /// The method that has it: a variant, or `spar`.
    pub method: String,
}

/// One task of a [`Comparison`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskComparison {
    /// Task id.
    pub task: TaskId,
    /// Seeds for which both runs are finished.
    pub pairs: usize,
    /// Mean over those seeds of method minus anchor; `null` without any.
    pub difference: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
}

/// What the numbers say of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The interval lies above zero and no pair is missing.
    #[serde(rename = "supported")]
    Supported,
    /// The interval lies at or below zero and no pair is missing.
    #[serde(rename = "not supported")]
    NotSupported,
    /// The interval holds zero, or pairs are missing.
    #[serde(rename = "inconclusive")]
    Inconclusive,
    /// None is given: with one seed the interval does not hold the noise of training, and
    /// a suite may say of a preset that its numbers mean nothing.
    #[serde(rename = "no verdict")]
    NotGiven,
}

impl Verdict {
    /// The verdict as written in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::NotSupported => "not supported",
            Self::Inconclusive => "inconclusive",
            Self::NotGiven => "no verdict",
        }
    }
}

impl Reason {
    /// The reason as written in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "not started",
            Self::Unfinished => "unfinished",
            Self::OtherSettings => "other settings",
        }
    }
}

impl Missing {
    /// Why it is missing, as written in tables: the reason, with the setting that differs.
    pub fn words(&self) -> String {
        let name = self.reason.name();
        match &self.difference {
            None => name.to_owned(),
            Some(difference) => format!("{name}: {}", printable(difference)),
        }
    }
}

impl Cell {
    /// Gradient updates of the networks that are the method's policy: of `bc` that is the
    /// anchor itself.
    pub fn policy_updates(&self) -> u64 {
        match self.method == ANCHOR && self.updates == 0 {
            true => self.anchor_updates,
            false => self.updates,
        }
    }
}

impl Results {
    /// Finished runs of `task` and `method`, in the order of the seeds.
    pub fn cells_of(&self, task: TaskId, method: &str) -> impl Iterator<Item = &Cell> {
        self.cells
            .iter()
            .filter(move |cell| cell.task == task && cell.method == method)
    }

    /// Whether every seed of `method` on `task` is finished.
    pub fn complete(&self, task: TaskId, method: &str) -> bool {
        self.cells_of(task, method).count() == self.seeds.len()
    }

    /// Whether numbers of its tasks have a common scale, and may be averaged.
    pub(crate) fn over_tasks(&self) -> bool {
        self.unit.is_score() || self.tasks.len() == 1
    }

    /// Whether every run of `method` is finished.
    pub fn all_complete(&self, method: &str) -> bool {
        self.tasks.iter().all(|&task| self.complete(task, method))
    }

    /// Tasks whose runs were trained on data of `origin`.
    pub fn tasks_from(&self, origin: Origin) -> usize {
        let of_origin = |cell: &Cell| cell.dataset_origin == origin;
        self.tasks
            .iter()
            .filter(|&&task| {
                self.cells
                    .iter()
                    .any(|cell| cell.task == task && of_origin(cell))
            })
            .count()
    }
}
