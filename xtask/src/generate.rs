//! `cargo xtask data generate`: local data of a suite's environments at every
//! level, each file proven by stepping a sample of it in the physics again. It
//! spawns `spar`, a file per core; whatever is killed, the same command makes
//! only the files that are not there yet.

use std::{
    num::NonZeroUsize,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;
use spar_core::{DatasetIdentity, Level, Signals, Suite, TaskId};

use spar_suite::{
    Usage,
    execute::{self, Job, Outcome},
    plan::Schedule,
    progress::Screen,
    say, suite_file,
};

use crate::{cargo::Cargo, program};

/// Rows of D4RL's `medium` files: `--scale full`.
const FULL_ROWS: usize = 1_000_000;

/// Where local data are kept, by scale.
const LOCAL: &str = "datasets/local";

/// Which data to generate.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Tasks, as in `hopper-medium` [default: every level of the suite's environments]
    #[arg(value_name = "TASK")]
    tasks: Vec<TaskId>,
    /// Suite, as in `mujoco`, or the path of a suite file
    #[arg(long, default_value = "mujoco")]
    suite: String,
    /// Rows of `medium`, the others by D4RL's proportions: `full` for D4RL's million,
    /// or those of a preset of the suite, as in `quick`
    #[arg(long, default_value = "quick")]
    scale: String,
    /// Files at a time [default: one per core]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Rows of each file, evenly spaced, whose step is compared with the physics
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    verify: usize,
}

/// What `spar data prepare --json` says of a file.
#[derive(Deserialize)]
struct Prepared {
    #[serde(flatten)]
    identity: DatasetIdentity,
    effort: Option<Effort>,
}

#[derive(Deserialize)]
struct Effort {
    seconds: f64,
    rows_per_second: f64,
    peak_bytes: Option<u64>,
}

/// What `spar data verify --json` says of a file.
#[derive(Deserialize)]
struct Verified {
    checked: usize,
    mean_return: Option<f64>,
    max_abs_obs: f64,
    max_abs_reward: f64,
}

/// Generates the data and prints what they are.
pub(crate) fn generate(
    root: &Path,
    options: &Options,
    provisioned: impl FnOnce() -> Result<Cargo>,
) -> Result<ExitCode> {
    let suite = Suite::load(&suite_file(root, &options.suite)?)?;
    let rows = rows_of_scale(&suite, &options.scale)?;
    let tasks = if options.tasks.is_empty() {
        every_level(&suite)
    } else {
        options.tasks.clone()
    };
    let spar = program(provisioned)?;
    let slots = options
        .jobs
        .or_else(|| thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get);
    let signals = Signals::listen().context("cannot listen for signals")?;
    let stop = || signals.asked().is_some();
    let started = Instant::now();
    let outcomes = run(root, &spar, &tasks, rows, options.verify, slots, &stop);
    if let Some(asked) = signals.asked() {
        say!("{}: the same command makes what is missing", asked.name);
        return Ok(ExitCode::from(asked.exit_code()));
    }
    let (mut table, mut failures) = (header(), Vec::new());
    let mut all = 0;
    for (task, [made, proven]) in tasks.iter().zip(outcomes) {
        let said = read::<Prepared>("made", made)
            .and_then(|prepared| Ok((prepared, read::<Verified>("verified", proven)?)));
        match said {
            Ok((prepared, verified)) => {
                all += prepared.identity.rows;
                table.add_row(cells(*task, &prepared, &verified));
            }
            Err(why) => failures.push(format!("{task}: {why}")),
        }
    }
    spar_suite::say::to_stdout(&table.trim_fmt())?;
    say!(
        "{all} rows in {LOCAL}/{rows}, {} at a time, {:.0} s",
        slots,
        started.elapsed().as_secs_f64()
    );
    for failure in &failures {
        say!("failed: {failure}");
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Rows of `medium` at the scale `name`.
fn rows_of_scale(suite: &Suite, name: &str) -> Result<usize, Usage> {
    if name == "full" {
        return Ok(FULL_ROWS);
    }
    let preset = suite.presets.get(name).ok_or_else(|| {
        let known: Vec<_> = suite.presets.keys().map(String::as_str).collect();
        Usage(format!(
            "unknown scale `{name}`; expected full, or a preset of suite {}: {}",
            suite.name,
            known.join(", ")
        ))
    })?;
    Ok(preset.data_rows)
}

/// Every level of the environments of `suite`; of those without levels its own tasks.
fn every_level(suite: &Suite) -> Vec<TaskId> {
    let mut tasks: Vec<TaskId> = suite
        .tasks
        .iter()
        .flat_map(|task| {
            let levels = Level::ALL.into_iter();
            let levels = levels.filter_map(|level| TaskId::of(task.env(), level));
            levels.chain([*task])
        })
        .collect();
    tasks.sort_unstable_by_key(|task| (task.env(), *task));
    tasks.dedup();
    tasks
}

/// What generating `task` costs, in rows; nothing depends on it but the order.
fn cost(task: TaskId) -> f64 {
    match task.level() {
        Some(Level::MediumExpert) => 2.0,
        Some(Level::MediumReplay) => 0.3,
        _ => 1.0,
    }
}

/// Makes and verifies each task's file; the outcomes of both, by task.
fn run(
    root: &Path,
    spar: &Path,
    tasks: &[TaskId],
    rows: usize,
    verify: usize,
    slots: usize,
    stop: &dyn Fn() -> bool,
) -> Vec<[Outcome; 2]> {
    // One thread inside: files go side by side.
    let command = |words: &[&str]| {
        let mut command = Command::new(spar);
        command.current_dir(root).args(["data"]).args(words);
        command.arg("--json").env("RAYON_NUM_THREADS", "1");
        command
    };
    let command = &command;
    let (mut jobs, mut costs, mut waits_for) = (Vec::new(), Vec::new(), Vec::new());
    for &task in tasks {
        let (name, rows) = (task.to_string(), rows.to_string());
        let file = format!("{LOCAL}/{rows}/{}.hdf5", task.local_id());
        let env = task.env().to_string();
        waits_for.extend([None, Some(jobs.len())]);
        costs.extend([cost(task), 0.1 * cost(task)]);
        jobs.push(Job {
            name: format!("data of {name}"),
            command: Box::new(move || {
                command(&[
                    "prepare", "--task", &name, "--data", "local", "--local", LOCAL, "--rows",
                    &rows,
                ])
            }),
            log: None,
        });
        jobs.push(Job {
            name: format!("check of {task}"),
            command: Box::new(move || {
                let sample = verify.to_string();
                command(&["verify", &file, "--env", &env, "--sample", &sample])
            }),
            log: None,
        });
    }
    let names = jobs.iter().map(|job| job.name.clone()).collect();
    let mut screen = Screen::new(names, &costs, false, &waits_for, slots, true);
    let schedule = Schedule::new(&costs, &waits_for);
    let outcomes = execute::run(&jobs, schedule, slots, stop, &mut screen);
    drop(screen);
    let (pairs, _) = outcomes.as_chunks::<2>();
    pairs.to_vec()
}

/// What a job that `did` something said in JSON.
fn read<T: for<'a> Deserialize<'a>>(did: &str, outcome: Outcome) -> Result<T> {
    match outcome {
        Outcome::Finished(line) => {
            serde_json::from_str(&line).with_context(|| format!("`spar` said `{line}`"))
        }
        Outcome::Failed(why) => Err(anyhow::anyhow!("not {did}: {why}")),
        Outcome::Stopped => Err(anyhow::anyhow!("not {did}: stopped")),
    }
}

fn header() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "file",
        "rows",
        "mean return",
        "score",
        "rows/s",
        "seconds",
        "peak MB",
        "checked",
        "off by",
        "sha256",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(task: TaskId, prepared: &Prepared, verified: &Verified) -> Vec<String> {
    let identity = &prepared.identity;
    let number = |x: Option<f64>, digits: usize| x.map(|x| format!("{x:.digits$}"));
    let effort = prepared.effort.as_ref();
    let megabytes = |e: &Effort| e.peak_bytes.map(|bytes| bytes as f64 / 1e6);
    let score = verified
        .mean_return
        .and_then(|ret| task.env().normalized_score(ret));
    // Of a file that was there already nothing was measured.
    let known = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    vec![
        identity.id.clone(),
        identity.rows.to_string(),
        known(number(verified.mean_return, 1)),
        known(number(score, 1)),
        known(number(effort.map(|e| e.rows_per_second), 0)),
        known(number(effort.map(|e| e.seconds), 1)),
        known(number(effort.and_then(megabytes), 0)),
        verified.checked.to_string(),
        format!("{:.0e}", verified.max_abs_obs.max(verified.max_abs_reward)),
        identity.sha256.chars().take(12).collect(),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mujoco() -> Suite {
        Suite::load(&suite_file(crate::root(), "mujoco").unwrap()).unwrap()
    }

    #[test]
    fn a_scale_is_a_preset_s_or_d4rl_s() {
        let rows = |name| rows_of_scale(&mujoco(), name).unwrap();
        assert_eq!((rows("full"), rows("paper")), (1_000_000, 1_000_000));
        assert_eq!(rows("quick"), mujoco().preset("quick").unwrap().data_rows);
        let Usage(why) = rows_of_scale(&mujoco(), "huge").unwrap_err();
        assert!(why.contains("`huge`") && why.contains("full") && why.contains("smoke"));
    }

    #[test]
    fn every_level_of_every_environment_is_made_once() {
        let tasks = every_level(&mujoco());
        assert_eq!(tasks.len(), 18);
        let mut names: Vec<_> = tasks.iter().map(TaskId::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 18);
    }
}
