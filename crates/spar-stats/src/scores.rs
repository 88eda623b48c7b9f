//! What every statistic over a suite is computed from.

use spar_core::Stream;

use crate::StatsError;

/// One method's scores: a task after the other, in each one score per training
/// run. rliable's matrix of runs and tasks, but tasks may have unequal numbers
/// of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    values: Vec<f64>,
    /// Where in `values` each task ends.
    ends: Vec<usize>,
}

impl Scores {
    /// The scores `tasks[t][n]` of run `n` on task `t`.
    ///
    /// # Errors
    /// [`StatsError::Empty`] if there is no task or one has no run.
    pub fn new(tasks: &[Vec<f64>]) -> Result<Self, StatsError> {
        if tasks.is_empty() {
            return Err(StatsError::Empty("the input".to_owned()));
        }
        if let Some(empty) = tasks.iter().position(Vec::is_empty) {
            return Err(StatsError::Empty(format!("task {empty}")));
        }
        let end = |end: &mut usize, runs: &Vec<f64>| {
            *end += runs.len();
            Some(*end)
        };
        Ok(Self {
            values: tasks.concat(),
            ends: tasks.iter().scan(0, end).collect(),
        })
    }

    /// Every score, task after task.
    pub fn all(&self) -> &[f64] {
        &self.values
    }

    /// The scores of each task.
    pub fn tasks(&self) -> impl Iterator<Item = &[f64]> {
        self.bounds().map(|(start, end)| &self.values[start..end])
    }

    /// How many tasks there are.
    pub fn task_count(&self) -> usize {
        self.ends.len()
    }

    /// Mean score of each task.
    pub fn task_means(&self) -> Vec<f64> {
        self.tasks().map(crate::mean).collect()
    }

    fn bounds(&self) -> impl Iterator<Item = (usize, usize)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied())
    }

    /// Draws every task's runs anew from `from`, which has the same shape, with
    /// replacement and each task from its own: one index per score, in order.
    pub(crate) fn resample(&mut self, from: &Self, stream: &mut Stream) {
        for (start, end) in from.bounds() {
            let runs = &from.values[start..end];
            for slot in &mut self.values[start..end] {
                *slot = runs[stream.index(runs.len())];
            }
        }
    }
}
