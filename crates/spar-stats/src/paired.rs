//! The paired difference of two methods, by a hierarchical bootstrap.

use spar_core::Stream;

use crate::{Bootstrap, Estimate, StatsError, bootstrap::estimates, mean};

/// The scores of two policies trained with one seed on one task, evaluated on the
/// same episodes: `method[e]` and `anchor[e]` began in one state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<'a> {
    /// One score per episode.
    pub method: &'a [f64],
    /// One score per episode, in the same order.
    pub anchor: &'a [f64],
}

/// A number for each task, and their mean.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEstimates {
    /// Mean over tasks.
    pub overall: Estimate,
    /// Each task's, in the order of the input.
    pub tasks: Vec<Estimate>,
}

/// Method minus anchor over the same (task, seed) pairs: the mean over tasks
/// of the mean over seeds of the mean over episodes of the difference, with a
/// percentile interval from a hierarchical bootstrap. `tasks[t]` holds one
/// [`Pair`] per training seed.
///
/// # What is resampled
/// Resampling seeds alone, as rliable does, degenerates at the one to three
/// seeds an offline-RL table often has: with one seed every resample is the
/// data. So each resample draws, within each task (tasks are strata, they stay
/// as they are),
/// 1. as many seeds as there are, with replacement, both methods' runs of a
///    seed together, because SPAR grows out of the anchor of its own seed; then
/// 2. in every seed drawn, as many episodes as there are, with replacement and
///    afresh each time a seed is drawn, both methods' scores of an episode
///    together, because they share its first state.
///
/// The interval answers "these tasks, other seeds, other episodes". It does not
/// speak for other tasks.
///
/// # What it cannot do
/// With one seed it holds the noise of the evaluation episodes and nothing of
/// the noise of training: say so where it is printed. With two or three seeds
/// it still covers less than it claims: resampling n seeds with replacement
/// understates the variance between seeds by the factor (n - 1) / n.
///
/// # Errors
/// If there is no task, a task has no pair, a pair has no episode or unequal
/// numbers of them, or the plan yields no interval.
pub fn paired_difference(
    tasks: &[Vec<Pair<'_>>],
    plan: &Bootstrap,
) -> Result<TaskEstimates, StatsError> {
    let differences = tasks
        .iter()
        .enumerate()
        .map(|(task, pairs)| episode_differences(task, pairs))
        .collect::<Result<Vec<_>, _>>()?;
    resampled(&differences, plan)
}

/// The mean over tasks of the mean over runs of the mean over episodes of one
/// method's scores, `tasks[t][n][e]`, by the bootstrap of [`paired_difference`].
///
/// # Errors
/// If there is no task, a task has no run, a run has no episode, or the plan
/// yields no interval.
pub fn hierarchical_mean(
    tasks: &[Vec<Vec<f64>>],
    plan: &Bootstrap,
) -> Result<TaskEstimates, StatsError> {
    for (task, runs) in tasks.iter().enumerate() {
        if runs.is_empty() {
            return Err(StatsError::Empty(format!("task {task}")));
        }
        if let Some(run) = runs.iter().position(Vec::is_empty) {
            return Err(StatsError::Empty(format!("task {task}, run {run}")));
        }
    }
    resampled(tasks, plan)
}

/// `tasks[t][n][e]`, none of them empty but the whole.
fn resampled(tasks: &[Vec<Vec<f64>>], plan: &Bootstrap) -> Result<TaskEstimates, StatsError> {
    if tasks.is_empty() {
        return Err(StatsError::Empty("the input".to_owned()));
    }
    let with_mean = |mut by_task: Vec<f64>| {
        by_task.push(mean(&by_task));
        by_task
    };
    let value = |runs: &Vec<Vec<f64>>| mean(&runs.iter().map(|run| mean(run)).collect::<Vec<_>>());
    let draw = |stream: &mut Stream| {
        let drawn = |runs: &Vec<Vec<f64>>| {
            let mut sum = 0.0;
            for _ in 0..runs.len() {
                let run = &runs[stream.index(runs.len())];
                let episodes: f64 = (0..run.len()).map(|_| run[stream.index(run.len())]).sum();
                sum += episodes / run.len() as f64;
            }
            sum / runs.len() as f64
        };
        with_mean(tasks.iter().map(drawn).collect())
    };
    let mut found = estimates(with_mean(tasks.iter().map(value).collect()), draw, plan)?;
    let overall = found.pop();
    let overall = overall.ok_or_else(|| StatsError::Empty("the input".to_owned()))?;
    Ok(TaskEstimates {
        overall,
        tasks: found,
    })
}

fn episode_differences(task: usize, pairs: &[Pair<'_>]) -> Result<Vec<Vec<f64>>, StatsError> {
    if pairs.is_empty() {
        return Err(StatsError::Empty(format!("task {task}")));
    }
    pairs
        .iter()
        .enumerate()
        .map(|(pair, Pair { method, anchor })| {
            if method.len() != anchor.len() {
                return Err(StatsError::Unpaired {
                    task,
                    pair,
                    method: method.len(),
                    anchor: anchor.len(),
                });
            }
            if method.is_empty() {
                return Err(StatsError::Empty(format!("task {task}, pair {pair}")));
            }
            Ok(method.iter().zip(*anchor).map(|(a, b)| a - b).collect())
        })
        .collect()
}
