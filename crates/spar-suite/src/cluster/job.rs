//! `spar suite job`: one run of a plan, wherever it is started.

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use spar_core::Suite;

use super::{
    plan_file::{self, Planned},
    slurm,
};
use crate::{
    Result, RunnerError, Usage,
    execute::{self, Outcome, Watch},
    plan::{self, Run, Schedule, Selection},
    say,
    session::{Prepared, Session},
};

/// Which run to make.
#[derive(Args, Debug)]
pub struct JobOptions {
    /// Plan, as `spar suite run --engine slurm` or `print` writes it
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Number of the run in it [default: $SLURM_ARRAY_TASK_ID]
    #[arg(long, value_name = "N")]
    index: Option<usize>,
}

/// Number of a job in its array.
const ARRAY_TASK: &str = "SLURM_ARRAY_TASK_ID";

/// The array a process is a job of.
const ARRAY: &str = "SLURM_ARRAY_JOB_ID";

/// The job a process is, where it is in no array.
const JOB: &str = "SLURM_JOB_ID";

/// How often that job was started again.
const RESTARTS: &str = "SLURM_RESTART_COUNT";

/// Restarts after which a run that has used up its time is given up: it makes no progress
/// that lasts.
const MOST_RESTARTS: u32 = 20;

/// What a job ends with whose anchor is not done: sysexits' EX_TEMPFAIL, try again later.
pub const NOT_YET: u8 = 75;

/// Makes one run of a plan in `root`, the folder that the plan was made in, and returns the
/// exit code: 0 if the run is done, now or before. A run that was begun is resumed from its
/// checkpoint.
///
/// In a job of Slurm's that is told by SIGHUP that its time is nearly up, the run writes its
/// checkpoint and the job is queued again.
///
/// # Errors
/// If the plan or its run cannot be used, or is no longer what the suite says;
/// [`RunnerError::Waits`] if the run's anchor is not done.
pub fn job(
    root: &Path,
    options: &JobOptions,
    program: impl FnOnce() -> std::result::Result<PathBuf, Box<dyn Error + Send + Sync>>,
) -> Result<ExitCode> {
    let index = match options.index {
        Some(index) => index,
        None => of_array()?,
    };
    let (planned, anchor) = plan_file::find(&options.plan, index)?;
    let spar = program().map_err(RunnerError::Program)?;
    let (mut session, run) = session(root, &options.plan, &planned, anchor.is_some(), spar)?;
    session.settle()?;
    let data = Prepared {
        path: planned.dataset.clone(),
        sha256: planned.sha256.clone(),
    };
    let identity = run.identity(&session.selection, &data.sha256);
    if identity.is_none_or(|identity| identity.sha256() != planned.identity) {
        return Err(RunnerError::Plan {
            file: options.plan.clone(),
            why: format!(
                "run {index}, {}: {} or this program's defaults say other settings than when the \
                 plan was made; make a new plan by `spar suite run`",
                run.name(),
                planned.suite.display()
            ),
        });
    }
    match session.record(&run, Some(&data)) {
        Some(Ok(())) => {
            say!("{}: it is done already", run.name());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Err(why)) => say!("warning: {why}"),
        None => {}
    }
    if let (Some(line), Some(anchor)) = (&anchor, run.anchor())
        && !session.is_done(&anchor, &data)
    {
        return Err(RunnerError::Waits {
            run: run.name(),
            anchor: anchor.name(),
            index: line.index,
            plan: options.plan.clone(),
        });
    }
    train(&session, &run, &data)
}

fn train(session: &Session<'_>, run: &Run, data: &Prepared) -> Result<ExitCode> {
    let name = run.name();
    say!("{name}: started");
    let jobs = [session.job(run, data)];
    let stopped = || session.stopped();
    let outcomes = execute::run(
        &jobs,
        Schedule::new(&[1.0], &[None]),
        1,
        &stopped,
        &mut Unseen,
    );
    match outcomes.into_iter().next() {
        Some(Outcome::Finished(_)) => {
            say!("{name}: done");
            return Ok(ExitCode::SUCCESS);
        }
        Some(Outcome::Failed(why)) if !session.stopped() => {
            say!("error: {}", session.failure(&jobs[0], &why));
            return Ok(ExitCode::FAILURE);
        }
        _ => {}
    }
    let Some(asked) = session.asked() else {
        return Ok(ExitCode::FAILURE);
    };
    say!("{name}: {}: it has written its checkpoint", asked.name);
    if asked.name == "SIGHUP"
        && let Some(job) = this_job()
    {
        let restarts = env::var(RESTARTS).ok().and_then(|n| n.parse::<u32>().ok());
        if restarts.unwrap_or(0) < MOST_RESTARTS {
            say!("{name}: its time is nearly up; queued again to resume");
            slurm::requeue(&job)?;
        } else {
            say!("{name}: its time was up {MOST_RESTARTS} times; submit it with a longer --time");
        }
    }
    Ok(ExitCode::from(asked.exit_code()))
}

/// The job that this process is, as Slurm's commands take it. The id of an array's last job
/// is the array's own: by that, every job of it would be queued again.
fn this_job() -> Option<String> {
    let array = env::var(ARRAY).ok().zip(env::var(ARRAY_TASK).ok());
    let in_array = array.map(|(array, task)| format!("{array}_{task}"));
    in_array.or_else(|| env::var(JOB).ok())
}

/// The number that Slurm gave this process in its array.
fn of_array() -> Result<usize> {
    let Some(text) = env::var_os(ARRAY_TASK) else {
        let why = format!("no --index, and ${ARRAY_TASK} is not set: which run of the plan?");
        return Err(Usage(why).into());
    };
    let text = text.to_string_lossy();
    text.parse().map_err(|_| {
        let why = format!(
            "${ARRAY_TASK} is `{}`, expected a number",
            text.escape_debug()
        );
        Usage(why).into()
    })
}

/// A session of the planned run alone, beside its anchor if it waits for one.
fn session<'r>(
    root: &'r Path,
    plan: &Path,
    planned: &Planned,
    anchored: bool,
    spar: PathBuf,
) -> Result<(Session<'r>, Run)> {
    let suite = Suite::load(&root.join(&planned.suite))?;
    let column = planned.column().to_owned();
    let mut methods = vec![column.clone()];
    if anchored {
        methods.push("bc".to_owned());
    }
    let tasks = [planned.task.clone()];
    let seeds = [planned.seed];
    let mut selection = Selection::new(&suite, &planned.preset, &tasks, &methods, &seeds)?;
    selection.device.clone_from(&planned.device);
    let run = plan::runs(&selection)
        .into_iter()
        .find(|run| run.method == column);
    // Below the folder of the runs lies `task/method/seed-n`.
    let out = planned.out.ancestors().nth(3).map(Path::to_owned);
    let (Some(run), Some(out)) = (run, out) else {
        return Err(misplaced(plan, planned));
    };
    if out.join(run.name()) != planned.out {
        return Err(misplaced(plan, planned));
    }
    let session = Session::of_run(root, selection, planned.suite.clone(), out, spar)?;
    Ok((session, run))
}

fn misplaced(plan: &Path, planned: &Planned) -> RunnerError {
    RunnerError::Plan {
        file: plan.to_owned(),
        why: format!(
            "run {}: its folder is {}, expected one that ends in {}/{}/seed-{}",
            planned.index,
            planned.out.display(),
            planned.task,
            planned.column(),
            planned.seed
        ),
    }
}

/// A run's own log has everything it says.
struct Unseen;

impl Watch for Unseen {
    fn started(&mut self, _: usize) {}
    fn said(&mut self, _: usize, _: &str) {}
    fn logged(&mut self, _: usize, _: &str) {}
    fn ended(&mut self, _: usize, _: &Outcome) {}
    fn tick(&mut self) {}
}
