//! Runs that were fine-tuned online: how the offline policy did and how it did afterwards, in
//! the same evaluation episodes. They stand apart from tables of offline runs, since what
//! they learned from is not the data alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;
use spar_core::{EnvId, RunRecord, TaskId, printable};
use spar_stats::{Bootstrap, Estimate, Pair, mean, paired_difference};

use crate::{
    ReportError, WriteError, curves,
    find::{self, Tuned},
    markdown::{markdown, terminal},
    names, render, seeds,
    table::Grid,
};

/// What every table of fine-tuned runs is followed by.
const MEANING: &str = "Offline is the policy before its first step in the environment, then the \
     one after its last; the difference is paired by evaluation episode, with a 95% bootstrap \
     interval, which of one seed holds the noise of episodes and not that of training";

/// The finished fine-tuned runs below a folder, as one table.
#[derive(Clone, Debug, Serialize)]
pub struct OnlineReport {
    /// One for each task, data set and method.
    pub rows: Vec<OnlineRow>,
    #[serde(skip)]
    curves: Vec<CurvePoint>,
    #[serde(skip)]
    drawn: Vec<(TaskId, String)>,
}

/// The seeds of one method on one data set, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnlineRow {
    /// The task, or what the data are called.
    pub task: String,
    /// Where the policy acted.
    pub env: String,
    /// The method, as its offline run's.
    pub method: String,
    /// SHA-256 of the data file.
    pub dataset_sha256: String,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Steps in the environment.
    pub steps: u64,
    /// Gradient updates in them.
    pub updates: u64,
    /// What the three numbers are: `normalized_score`, or `return` without reference scores.
    pub unit: &'static str,
    /// Of the offline policies, mean over seeds.
    pub offline: f64,
    /// Of those after the last step.
    pub finetuned: f64,
    /// The latter minus the former.
    pub difference: Estimate,
}

/// One point of a run's curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct CurvePoint {
    task: String,
    method: String,
    seed: u64,
    step: u64,
    mean_return: f64,
    normalized_score: Option<f64>,
}

/// A run's returns in the unit of its row.
fn scores(record: &RunRecord, env: Option<EnvId>, returns: &[f64]) -> Vec<f64> {
    let score = |ret: f64| env.and_then(|env| record.dataset.normalized_score(env, ret));
    returns
        .iter()
        .map(|&ret| score(ret).unwrap_or(ret))
        .collect()
}

/// The offline method's name.
fn method(record: &RunRecord) -> String {
    let name = record.method.strip_suffix(names::FINETUNED);
    printable(name.unwrap_or(&record.method)).into_owned()
}

impl OnlineReport {
    /// Reads every finished fine-tuned run below `runs`; `None` if there is none.
    ///
    /// # Errors
    /// If a file is unreadable or corrupt, or if the seeds of a row were made with different
    /// settings or number of steps.
    pub fn of(runs: &Path) -> Result<Option<Self>, ReportError> {
        let found = find::below(runs)?.tuned;
        if found.is_empty() {
            return Ok(None);
        }
        let mut groups: BTreeMap<(&str, &str, &str), Vec<&Tuned>> = BTreeMap::new();
        for run in &found {
            let record = &run.record;
            let key = (&*record.task, &*record.dataset.sha256, &*record.method);
            groups.entry(key).or_default().push(run);
        }
        let rows = groups.values_mut().map(|group| row(group));
        let rows: Vec<OnlineRow> = rows.collect::<Result<_, _>>()?;
        let points = found.iter().flat_map(|run| {
            let (task, sha256) = (&run.record.task, &run.record.dataset.sha256);
            let called = called(&rows, &printable(task), &printable(sha256));
            run.curve.iter().map(move |point| CurvePoint {
                task: called.clone(),
                method: method(&run.record),
                seed: run.record.seed,
                step: point.step,
                mean_return: point.mean_return,
                normalized_score: point.normalized_score,
            })
        });
        Ok(Some(Self {
            curves: points.collect(),
            drawn: drawn(&found)?,
            rows,
        }))
    }

    fn grid(&self) -> Grid {
        let header = [
            "",
            "offline",
            "fine-tuned",
            "difference [95%]",
            "steps",
            "seeds",
        ];
        let row = |row: &OnlineRow| {
            let (d, i) = (row.difference.value, row.difference.interval);
            let task = called(&self.rows, &row.task, &row.dataset_sha256);
            let name = format!("{task} {}", names::short(&row.method));
            let unit = match row.unit {
                RETURN => " (return)",
                _ => "",
            };
            vec![
                name + unit,
                format!("{:.1}", row.offline),
                format!("{:.1}", row.finetuned),
                format!("{d:+.1} [{:+.1}, {:+.1}]", i.low, i.high),
                row.steps.to_string(),
                row.seeds.len().to_string(),
            ]
        };
        Grid::of(
            header.map(str::to_owned).to_vec(),
            self.rows.iter().map(row).collect(),
        )
    }

    /// The table for a terminal.
    pub fn render(&self) -> String {
        let table = terminal(&self.grid(), |text, _| printable(text).into_owned());
        format!("{table}\n{MEANING}.\n")
    }

    /// The output files: name and content.
    ///
    /// # Errors
    /// If one cannot be rendered.
    pub fn files(&self) -> Result<Vec<(String, String)>, ReportError> {
        let json = serde_json::to_string_pretty(self).map_err(|e| render("JSON", e))?;
        let table = markdown(&self.grid());
        let mut text = format!("# Fine-tuned online\n\n{table}\n\n{MEANING}.\n");
        for (task, _) in &self.drawn {
            text += &format!("\n![{task}: score over steps](finetune-{task}.svg)\n");
        }
        let mut files = vec![
            ("finetune.md".to_owned(), text),
            ("finetune.json".to_owned(), json + "\n"),
            ("finetune.csv".to_owned(), seeds::csv(&self.curves)?),
        ];
        let drawn = self.drawn.iter();
        files.extend(drawn.map(|(task, svg)| (format!("finetune-{task}.svg"), svg.clone())));
        Ok(files)
    }

    /// Writes every output below `folder`, each atomically.
    ///
    /// # Errors
    /// If one cannot be rendered or written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
        seeds::write(self.files()?, folder)
    }
}

const RETURN: &str = "return";

/// What the task of a row among `rows` is called: it may be there on two files of data.
fn called(rows: &[OnlineRow], task: &str, sha256: &str) -> String {
    let files = rows.iter().filter(|row| row.task == task);
    let files: BTreeSet<&str> = files.map(|row| row.dataset_sha256.as_str()).collect();
    names::data(task, sha256, files.len() > 1)
}

/// The runs of one method on one data set.
fn row(group: &mut [&Tuned]) -> Result<OnlineRow, ReportError> {
    group.sort_by_key(|run| run.record.seed);
    let first = group[0];
    seeds::refuse_unlike(group)?;
    let record = &first.record;
    let env = record.known_env();
    let known = record.normalized_score().is_some();
    let env = env.filter(|_| known);
    let episodes: Vec<(Vec<f64>, Vec<f64>)> = group
        .iter()
        .map(|run| {
            let record = &run.record;
            let before = scores(record, env, &run.finetuned.offline_returns);
            (before, scores(record, env, &record.returns))
        })
        .collect();
    let pairs = episodes.iter().map(|(before, after)| Pair {
        method: after,
        anchor: before,
    });
    let found = paired_difference(&[pairs.collect()], &Bootstrap::default())?;
    let means = |run: &(Vec<f64>, Vec<f64>)| (mean(&run.0), mean(&run.1));
    let (offline, finetuned): (Vec<f64>, Vec<f64>) = episodes.iter().map(means).unzip();
    Ok(OnlineRow {
        task: printable(&record.task).into_owned(),
        env: printable(record.env.as_deref().unwrap_or_default()).into_owned(),
        method: method(record),
        dataset_sha256: printable(&record.dataset.sha256).into_owned(),
        seeds: group.iter().map(|run| run.record.seed).collect(),
        steps: first.finetuned.steps,
        updates: first.finetuned.updates,
        unit: if known { "normalized_score" } else { RETURN },
        offline: mean(&offline),
        finetuned: mean(&finetuned),
        difference: found.overall,
    })
}

/// One figure a task of D4RL's: each method's score over steps, and as a level the offline
/// score that it began with.
fn drawn(found: &[Tuned]) -> Result<Vec<(TaskId, String)>, ReportError> {
    let mut tasks: BTreeMap<String, Vec<(String, Vec<curves::Steps<'_>>)>> = BTreeMap::new();
    for run in found {
        let scored = run.curve.iter().all(|p| p.normalized_score.is_some());
        if run.record.task.parse::<TaskId>().is_err() || !scored {
            continue;
        }
        let methods = tasks.entry(run.record.task.clone()).or_default();
        let name = method(&run.record);
        match methods.iter_mut().find(|(known, _)| *known == name) {
            Some((_, runs)) => runs.push(&run.curve),
            None => methods.push((name, vec![&run.curve])),
        }
    }
    let mut figures = Vec::new();
    for (task, methods) in &tasks {
        let Ok(task) = task.parse::<TaskId>() else {
            continue;
        };
        let official = found.iter().all(|run| {
            run.record.task != task.to_string()
                || run.record.dataset.origin == spar_core::Origin::Official
        });
        figures.push((task, curves::of_steps(task, methods, official)?));
    }
    Ok(figures)
}
