//! `spar protocol`: what a suite's numbers are made of and how, as Markdown. Nothing in
//! it is written by hand twice: it is read from the suites and from the code that uses
//! them, so that `docs/protocol.md` cannot say something else than what is run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;
use spar_collect::recipe;
use spar_core::{ColumnSettings, DatasetIdentity, Origin, Suite, TaskId};
use spar_data::{Reading, manifest};
use spar_stats::Bootstrap;
use spar_train::{DeviceKind, Method, TrainConfig};

use super::{suite_of, train::Plan};
use crate::output;

/// Which suites to describe.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Suites, by names of `./suites` or files; of one that extends another only what it adds
    #[arg(required = true, value_name = "SUITE")]
    suites: Vec<PathBuf>,
    /// Print instead what the runs of this preset are made with, one JSON object a line:
    /// task, column, and spec.json without seed and data
    #[arg(long, value_name = "PRESET")]
    settings: Option<String>,
    /// Only these tasks
    #[arg(long, value_delimiter = ',', requires = "settings")]
    tasks: Vec<TaskId>,
    /// Only these methods or variants
    #[arg(long, value_delimiter = ',', requires = "settings")]
    methods: Vec<String>,
    /// What computes the updates
    #[arg(long, default_value = "cpu", requires = "settings")]
    device: DeviceKind,
}

/// Prints the protocol.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(preset) = &args.settings {
        let lines: Result<Vec<_>> = args
            .suites
            .iter()
            .map(|file| settings_of_runs(args, file, preset))
            .collect();
        return output::text(&lines?.concat());
    }
    let mut parts = vec![HEAD.trim().to_owned()];
    for file in &args.suites {
        let suite = suite_of(file)?;
        let mut of_file = vec![format!("## Suite {}", suite.name)];
        let within = |e: anyhow::Error| e.context(file.display().to_string());
        // One whose table is of variants extends another, and says only what it adds.
        if !suite.methods.iter().any(|m| suite.variant.contains_key(m)) {
            of_file.push(of_suite(&suite).map_err(within)?);
        }
        if !suite.variant.is_empty() {
            of_file.push(of_variants(&suite).map_err(within)?);
        }
        parts.push(of_file.join("\n\n"));
    }
    parts.push(statistics());
    output::text(&parts.join("\n\n"))
}

/// What the runs of `preset` of the suite in `file` are made with, a line for each.
fn settings_of_runs(args: &Args, file: &Path, preset: &str) -> Result<String> {
    let suite = suite_of(file)?;
    suite.preset(preset)?;
    let tasks = match args.tasks.is_empty() {
        true => &suite.tasks,
        false => &args.tasks,
    };
    let columns = suite.asked_methods(&args.methods);
    let asked = Asked {
        tasks,
        columns: &columns,
        device: args.device,
        lost: Lost::Refused,
    };
    let mut lines = String::new();
    for settings in of_columns(file, &suite, preset, &asked)? {
        lines += &format!("{}\n", serde_json::to_string(&settings)?);
    }
    Ok(lines)
}

/// Of which runs settings are asked.
pub(super) struct Asked<'a> {
    pub(super) tasks: &'a [TaskId],
    pub(super) columns: &'a [String],
    pub(super) device: DeviceKind,
    pub(super) lost: Lost,
}

/// What becomes of a column around a policy of a file that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It is refused: its runs could not be made.
    Refused,
    /// It is left out: its runs are made already.
    LeftOut,
}

/// What the runs of `preset` of `suite`, which `file` holds, are made with, and what they are
/// around.
pub(super) fn of_columns(
    file: &Path,
    suite: &Suite,
    preset: &str,
    asked: &Asked<'_>,
) -> Result<Vec<ColumnSettings>> {
    let mut all = Vec::new();
    for &task in asked.tasks {
        let mut columns = asked.columns.to_vec();
        let mut at = 0;
        while let Some(column) = columns.get(at).cloned() {
            at += 1;
            let within = || {
                format!(
                    "suite file {}, {task}, {}",
                    file.display(),
                    kind(suite, &column)
                )
            };
            let found = of_column(suite, preset, task, &column, asked).with_context(within)?;
            let Some((settings, base)) = found else {
                continue;
            };
            all.push(settings);
            // What it is around is made with settings of its own.
            columns.extend(base.filter(|base| !columns.contains(base)));
        }
    }
    Ok(all)
}

/// A column as messages name it.
fn kind(suite: &Suite, column: &str) -> String {
    match suite.variant.contains_key(column) {
        true => format!("variant {column}"),
        false => format!("method {column}"),
    }
}

/// What the runs of one column are made with, and the method that they are around, if any.
fn of_column(
    suite: &Suite,
    preset: &str,
    task: TaskId,
    column: &str,
    asked: &Asked<'_>,
) -> Result<Option<(ColumnSettings, Option<String>)>> {
    let variant = suite.variant.contains_key(column).then_some(column);
    let method = match variant {
        Some(_) => Method::Spar,
        None => column.parse()?,
    };
    let mut plan = Plan::of_loaded(suite, preset, task, method, variant)?;
    let mut base = None;
    if method == Method::Spar {
        let file = plan.config.anchor.file.as_ref();
        let lost = file.is_some_and(|file| !Path::new(file).exists());
        if lost && asked.lost == Lost::LeftOut {
            return Ok(None);
        }
        plan.config = plan.config.pinned()?;
        base = plan.config.anchor.method.clone();
    }
    let nothing = DatasetIdentity {
        id: String::new(),
        origin: Origin::User,
        sha256: String::new(),
        rows: 0,
    };
    let spec = plan.spec_of(nothing, method, 0, asked.device, Reading::default());
    // Written and read: the shortest decimals, as a run's own file has them.
    let mut spec = serde_json::from_str::<Value>(&serde_json::to_string(&spec)?)?;
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("seed");
        fields.remove("dataset");
    }
    let settings = ColumnSettings {
        task,
        column: column.to_owned(),
        anchored: method.anchored(),
        spec,
    };
    Ok(Some((settings, base)))
}

const HEAD: &str = "
# Protocol

> Printed by `spar protocol suites/mujoco.toml suites/ablation.toml` from the suites and
> the code that reads them; a test holds this file to it. Do not edit it.

What SPAR's parts are and where they come from is in [fidelity.md](fidelity.md), what the
other methods are and where they differ from their sources in [baselines.md](baselines.md),
how local data are made in [data.md](data.md). Why a value is what it is stands beside it
in the suite's file.";

const SETTINGS: &str = "### Settings

A value that differs between tasks is followed by those that have another.";

fn of_suite(suite: &Suite) -> Result<String> {
    let mut parts = vec![
        data(suite)?,
        evaluation(suite),
        presets(suite)?,
        SETTINGS.to_owned(),
    ];
    let variant = |name: &String| suite.variant.contains_key(name);
    for name in suite.all_methods().iter().filter(|name| !variant(name)) {
        parts.push(method(suite, name.parse()?)?);
    }
    Ok(parts.join("\n\n"))
}

fn data(suite: &Suite) -> Result<String> {
    let mut header = ["task", "score 0", "score 100", "official file", "sha256"]
        .map(str::to_owned)
        .to_vec();
    header.extend(
        suite
            .presets
            .keys()
            .map(|name| format!("local rows, {name}")),
    );
    let row = |&task: &TaskId| -> Result<Vec<String>> {
        let (low, high) = task
            .env()
            .reference_returns()
            .with_context(|| format!("{task} has no reference returns"))?;
        let official = manifest::official(task);
        let sha256 = official.and_then(|file| file.sha256.clone());
        let mut row = vec![
            task.to_string(),
            low.to_string(),
            high.to_string(),
            official.map_or("none", |file| &file.id).to_owned(),
            sha256.map_or("none".to_owned(), |hash| hash.chars().take(12).collect()),
        ];
        let rows = suite.presets.values().map(|preset| preset.data_rows);
        row.extend(rows.map(|rows| match recipe::rows_of(task, rows) {
            Some(rows) => rows.to_string(),
            None => "–".to_owned(),
        }));
        Ok(row)
    };
    let rows: Result<Vec<_>> = suite.tasks.iter().map(row).collect();
    Ok(format!(
        "### Tasks and data\n\n{}\n\nA run takes the official file where one is present and has this hash, else local data \
         (recipe {}, `--data` decides otherwise); every table names origin, rows and sha256 of each row's data, and runs \
         on different data are refused in one row. Every method reads the transitions D4RL's `qlearning_dataset` makes: \
         without those an episode is cut after, `terminal` only where the environment ended it.",
        table(&header, &rows?),
        recipe::RECIPE_VERSION
    ))
}

fn evaluation(suite: &Suite) -> String {
    let horizons: Vec<String> = suite
        .tasks
        .iter()
        .map(|task| (task.env(), task.env().horizon()))
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .map(|(env, horizon)| format!("{env} {horizon}"))
        .collect();
    format!(
        "### Evaluation\n\nThe last checkpoint, never a chosen one, in MuJoCo with the rewards, terminations and start \
         states of gym's v2 tasks; episodes end after at most so many steps: {}. A policy acts as its method does once \
         trained ([baselines.md](baselines.md)): without noise but for BCQ, which takes the best of draws. The episodes' \
         seed is {}, the same for every method and training seed, so that the n-th episodes of all start in the same \
         state. The score of a run is 100 (R - R0) / (R100 - R0), R its mean undiscounted return and R0, R100 the returns \
         of score 0 and 100 above. All returns are kept (`results.json`). A point of a learning curve is the first few of \
         the same episodes; nothing is chosen by it.",
        horizons.join(", "),
        suite.eval_seed
    )
}

fn presets(suite: &Suite) -> Result<String> {
    let header = [
        "preset",
        "training seeds",
        "updates",
        "of the anchor before",
        "final episodes",
        "curve: every",
        "episodes",
        "",
    ]
    .map(str::to_owned);
    let first = suite.tasks.first().map(TaskId::to_string);
    let first = first.context("the suite has no task")?;
    let mut rows = Vec::new();
    for (name, preset) in &suite.presets {
        let config = TrainConfig::for_method(suite.hyper_parameters(name, &first)?, Method::Bc)?;
        let seeds: Vec<String> = preset.seeds.iter().map(u64::to_string).collect();
        rows.push(vec![
            name.clone(),
            seeds.join(", "),
            config.updates.to_string(),
            config.anchor.updates.to_string(),
            preset.eval_episodes.to_string(),
            config.eval_every.to_string(),
            config.eval_episodes.to_string(),
            preset.description.clone(),
        ]);
    }
    Ok(format!(
        "### Presets\n\nEvery method but BC has the same number of updates of its own networks. BC is the \
         anchor and has the anchor's; SPAR, and what else stands on the anchor, has them before its own.\n\n{}",
        table(&header, &rows)
    ))
}

/// A method's settings in every preset.
fn method(suite: &Suite, method: Method) -> Result<String> {
    let names: Vec<&String> = suite.presets.keys().collect();
    // By setting: for each preset the value of each task.
    let mut found: BTreeMap<String, Vec<BTreeMap<TaskId, String>>> = BTreeMap::new();
    for (place, preset) in names.iter().enumerate() {
        for &task in &suite.tasks {
            let table = suite.run_settings(preset, &task.to_string(), method.name())?;
            for (setting, value) in settings(&TrainConfig::for_method(table, method)?, method)? {
                let of = found.entry(setting).or_default();
                of.resize_with(names.len(), BTreeMap::new);
                if let Some(tasks) = of.get_mut(place) {
                    tasks.insert(task, value);
                }
            }
        }
    }
    let mut header = vec!["setting".to_owned()];
    header.extend(names.into_iter().cloned());
    let rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|(setting, values)| {
            let mut row = vec![format!("`{setting}`")];
            row.extend(values.iter().map(grouped));
            row
        })
        .collect();
    let title = spar_report::title(method.name());
    let anchored = match method {
        Method::Baseline(entry) if entry.anchored => " It stands on the frozen anchor.",
        _ => "",
    };
    Ok(format!(
        "#### {title}\n\n`--method {}`.{anchored}\n\n{}",
        method.name(),
        table(&header, &rows)
    ))
}

/// The settings only `method` has, by name.
fn settings(config: &TrainConfig, method: Method) -> Result<BTreeMap<String, String>> {
    // Written and read: the shortest number that is the same single-precision one.
    let value: Value = serde_json::from_str(&serde_json::to_string(config)?)?;
    let mut all = BTreeMap::new();
    flatten("", &value, &mut all);
    let own: &[&str] = match method {
        Method::Bc => &["anchor.", "batch_size"],
        Method::Spar => &[
            "batch_size",
            "reward_range",
            "detached_precision",
            "critic.",
            "rectify.",
        ],
        Method::Baseline(_) => &["method."],
    };
    all.retain(|name, _| own.iter().any(|prefix| name.starts_with(prefix)));
    // Amounts stand with the presets.
    all.remove("anchor.updates");
    let short = |name: String| {
        name.strip_prefix("method.")
            .map_or(name.clone(), str::to_owned)
    };
    Ok(all
        .into_iter()
        .map(|(name, value)| (short(name), value))
        .collect())
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{key}"), value, into);
            }
            return;
        }
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string().replace(',', ", "),
    };
    into.insert(path.to_owned(), text);
}

/// One value, or the commonest and after it the tasks that have others.
fn grouped(tasks: &BTreeMap<TaskId, String>) -> String {
    let mut by_value: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (task, value) in tasks {
        by_value.entry(value).or_default().push(task.to_string());
    }
    let mut groups: Vec<_> = by_value.into_iter().collect();
    groups.sort_by_key(|(_, tasks)| std::cmp::Reverse(tasks.len()));
    let mut groups = groups.into_iter();
    let Some((common, _)) = groups.next() else {
        return "–".to_owned();
    };
    groups.fold(common.clone(), |text, (value, tasks)| {
        format!("{text}; {value} on {}", tasks.join(", "))
    })
}

/// SPAR with something changed.
fn of_variants(suite: &Suite) -> Result<String> {
    let tasks: Vec<String> = suite.tasks.iter().map(TaskId::to_string).collect();
    let mut rows = Vec::new();
    for (name, variant) in &suite.variant {
        let mut changed = BTreeMap::new();
        flatten("", &serde_json::to_value(&variant.settings)?, &mut changed);
        let changed: Vec<String> = changed
            .into_iter()
            .map(|(setting, value)| format!("`{setting} = {value}`"))
            .collect();
        let run = match suite.methods.contains(name) {
            true => "table",
            false => "by name",
        };
        rows.push(vec![
            format!("`{name}`"),
            variant.about.clone(),
            changed.join(", "),
            run.to_owned(),
        ]);
    }
    let header = ["variant", "what it is", "settings", "run"].map(str::to_owned);
    Ok(format!(
        "### Variants\n\nSPAR with one thing changed, everything else as above, on {}; each against SPAR on the same tasks, \
         data, seeds and episodes. What the table does not hold is run by name (`--methods bc,spar,NAME`).\n\n{}",
        tasks.join(", "),
        table(&header, &rows)
    ))
}

fn statistics() -> String {
    let (fine, coarse) = (Bootstrap::default(), Bootstrap::coarse());
    format!(
        "## Statistics\n\n\
         As rliable defines them, held to its numbers by tests: mean, median and interquartile mean (IQM) of runs, optimality gap, \
         performance profiles, probability of improvement. Intervals are {}% percentile bootstrap, runs resampled within tasks, \
         {} resamples ({} for profiles and probabilities of improvement), seed {}. Differences between two methods are paired: \
         seeds resampled within tasks, then episodes, of which the n-th of both methods starts in the same state, within seeds; \
         the verdict is `supported` where the interval lies above zero, `not supported` where it lies at or below, else \
         `inconclusive`. Spreads beside means are standard deviations over seeds (ddof = 0). One seed has no spread, and its \
         paired interval holds the noise of episodes alone. A method with a missing run has no aggregate.",
        100.0 * fine.confidence,
        fine.resamples,
        coarse.resamples,
        fine.seed
    )
}

fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |", cells.join(" | "))
    };
    let mut lines = vec![line(header), format!("|{}", "---|".repeat(header.len()))];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}
