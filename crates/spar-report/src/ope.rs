//! What one would have picked without the simulator: runs by the value that fitted Q
//! evaluation gives their policies, beside the scores that the simulator gave them.

use serde::{Deserialize, Serialize};
use spar_core::{
    Difference, OpeRecord, TaskId,
    ope::{OPE_FILE, OpeSettings},
};
use spar_stats::{mean, spearman};

use crate::{
    Results, names,
    read::{Finished, Run},
    results::Unit,
    table::Grid,
};

/// The runs of a task that were evaluated without the simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpeTask {
    /// The task.
    pub task: TaskId,
    /// Its runs that hold an `ope.json`, in the order of the report.
    pub runs: Vec<OpeRun>,
    /// Finished runs of the task that hold none.
    pub without: usize,
    /// What follows from them; `null` with fewer than two.
    pub choice: Option<Choice>,
    /// Why the task's runs are not compared, where they were not evaluated alike; there are
    /// no `runs` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// One run evaluated both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpeRun {
    /// Method.
    pub method: String,
    /// Training seed.
    pub seed: u64,
    /// Discounted return from the data's initial states, by fitted Q evaluation.
    pub discounted_return: f64,
    /// Lower end of its 95% interval, initial states resampled.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The normalized score in the simulator; absent where no reference returns are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalized_score: Option<f64>,
    /// The mean return there, in a report on returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_return: Option<f64>,
}

/// A policy with its value estimated, and measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What to call it.
    pub name: String,
    /// The estimate that it is picked by.
    pub estimate: f64,
    /// What the simulator gave.
    pub measured: f64,
}

/// The candidate of the highest estimate, and what it is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The one picked; of equal estimates the first.
    pub picked: String,
    /// What the simulator gave it.
    pub measured: f64,
    /// The one it would have been best to pick.
    pub best: String,
    /// What the simulator gave that one.
    pub best_measured: f64,
    /// The difference: never negative.
    pub regret: f64,
    /// Mean over all candidates: what one gets that picks blindly.
    pub mean_measured: f64,
    /// Spearman's rank correlation of estimates and measurements; `null` where one side has
    /// no order.
    pub spearman: Option<f64>,
    /// How many there were.
    pub candidates: usize,
}

impl Choice {
    /// What is picked among `candidates`; `None` if there are fewer than two.
    pub fn of(candidates: &[Candidate]) -> Option<Self> {
        let greatest = |of: fn(&Candidate) -> f64| {
            let better = |a: &'_ &Candidate, b: &'_ &Candidate| of(a).total_cmp(&of(b));
            // Of equal ones `max_by` gives the last.
            candidates.iter().rev().max_by(better)
        };
        let (picked, best) = (greatest(|c| c.estimate)?, greatest(|c| c.measured)?);
        if candidates.len() < 2 {
            return None;
        }
        let side = |of: fn(&Candidate) -> f64| candidates.iter().map(of).collect::<Vec<_>>();
        let (estimates, measured) = (side(|c| c.estimate), side(|c| c.measured));
        Some(Self {
            picked: picked.name.clone(),
            measured: picked.measured,
            best: best.name.clone(),
            best_measured: best.measured,
            regret: best.measured - picked.measured,
            mean_measured: mean(&measured),
            spearman: spearman(&estimates, &measured),
            candidates: candidates.len(),
        })
    }

    /// The choice in a sentence, measurements in `unit`, as in `score`.
    pub fn sentence(&self, unit: &str) -> String {
        let order = match self.spearman {
            Some(order) => format!("{order:+.2}"),
            None => "none, one side has no order".to_owned(),
        };
        format!(
            "without the simulator, of {} policies {} would have been picked: {unit} {:.1}, the \
             best is {} with {:.1}, regret {:.1}; blindly {:.1} in the mean; rank correlation \
             {order}",
            self.candidates,
            self.picked,
            self.measured,
            self.best,
            self.best_measured,
            self.regret,
            self.mean_measured
        )
    }
}

/// Every task of which a run was evaluated without the simulator.
pub(crate) fn tasks(runs: &[Run], unit: Unit) -> Vec<OpeTask> {
    let mut tasks: Vec<TaskId> = runs.iter().map(|run| run.task).collect();
    tasks.dedup();
    let of = |task: TaskId| {
        let own: Vec<&Run> = runs.iter().filter(|run| run.task == task).collect();
        let left_out = unlike(&own);
        let shown = own.iter().filter(|_| left_out.is_none());
        let found: Vec<OpeRun> = shown.filter_map(|run| both_ways(run, unit)).collect();
        let finished = own.iter().filter(|run| run.outcome.is_ok()).count();
        let several = own.iter().any(|run| run.seed != own[0].seed);
        let candidates: Vec<Candidate> = found
            .iter()
            .map(|run| Candidate {
                name: match several {
                    true => format!("{} seed {}", names::short(&run.method), run.seed),
                    false => names::short(&run.method),
                },
                estimate: run.discounted_return,
                measured: run.measured(),
            })
            .collect();
        OpeTask {
            task,
            without: finished - own.iter().filter(|run| record(run).is_some()).count(),
            choice: Choice::of(&candidates),
            runs: found,
            left_out,
        }
    };
    let mut found: Vec<OpeTask> = tasks.into_iter().map(of).collect();
    found.retain(|task| !task.runs.is_empty() || task.left_out.is_some());
    found
}

fn record(run: &Run) -> Option<&OpeRecord> {
    run.outcome.as_ref().ok()?.ope.as_ref()
}

fn both_ways(run: &Run, unit: Unit) -> Option<OpeRun> {
    let Finished { record, ope, .. } = run.outcome.as_ref().ok()?;
    let value = &ope.as_ref()?.value;
    Some(OpeRun {
        method: run.method.clone(),
        seed: run.seed,
        discounted_return: value.discounted_return,
        low: value.low,
        high: value.high,
        normalized_score: record.normalized_score().filter(|_| unit.is_score()),
        mean_return: (!unit.is_score()).then(|| record.mean_return()),
    })
}

impl OpeRun {
    /// What the simulator gave, in the report's unit.
    fn measured(&self) -> f64 {
        self.normalized_score
            .or(self.mean_return)
            .unwrap_or(f64::NAN)
    }
}

/// Why the values of `runs` give no order, if they do not: one number orders policies where it
/// was made alike, on the same data and in the same way.
fn unlike(runs: &[&Run]) -> Option<String> {
    let mut evaluated = runs.iter().filter_map(|run| Some((run, record(run)?)));
    let (first, there) = evaluated.next()?;
    evaluated.find_map(|(run, here)| {
        // Of a policy that draws, more than one action may be kept.
        let settings = OpeSettings {
            draws: there.settings.draws,
            ..here.settings.clone()
        };
        let differences = there.differences(here.env.as_deref(), &here.dataset, &settings);
        let Difference { field, there, here } = differences.into_iter().next()?;
        // Paths below the folder of the runs, wherever that is.
        let file = |run: &Run| format!("{}/{}/seed-{}/{OPE_FILE}", run.task, run.method, run.seed);
        Some(format!(
            "not evaluated alike without the simulator: {field} {there} in {}, {here} in {}; run \
             `spar ope` again for both, on the same data with the same options",
            file(first),
            file(run)
        ))
    })
}

/// What the numbers are.
pub(crate) fn note(results: &Results) -> String {
    format!(
        "Each run's policy by fitted Q evaluation on logged data (`spar ope`), which knows no \
         simulator, beside its {} in the simulator. The interval is over initial states and \
         holds nothing of the error of the fit: where the order is wrong, that error is why.",
        measured(results)
    )
}

fn measured(results: &Results) -> &'static str {
    match results.unit {
        Unit::NormalizedScore => "score",
        Unit::Return => "return",
    }
}

/// The runs evaluated both ways; `None` if there is none.
pub(crate) fn grid(results: &Results) -> Option<Grid> {
    let header = [
        "run".to_owned(),
        "FQE, discounted return [95%]".to_owned(),
        format!("{} in the simulator", measured(results)),
    ];
    let row = |task: &OpeTask, run: &OpeRun| {
        let method = names::short(&run.method);
        let interval = match (run.low, run.high) {
            (Some(low), Some(high)) => format!(" [{low:.1}, {high:.1}]"),
            _ => String::new(),
        };
        vec![
            format!("{} {method} seed {}", task.task, run.seed),
            format!("{:.1}{interval}", run.discounted_return),
            format!("{:.1}", run.measured()),
        ]
    };
    let tasks = results.ope.iter();
    let rows: Vec<_> = tasks
        .flat_map(|task| task.runs.iter().map(move |run| row(task, run)))
        .collect();
    (!rows.is_empty()).then(|| Grid::of(header.to_vec(), rows))
}

/// What would have been picked, task by task, and what is left out.
pub(crate) fn lines(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    let regrets: Vec<f64> = results
        .ope
        .iter()
        .filter_map(|task| Some(task.choice.as_ref()?.regret))
        .collect();
    for task in &results.ope {
        if let Some(why) = &task.left_out {
            lines.push(format!("{}: {why}", task.task));
            continue;
        }
        let sentence = match &task.choice {
            Some(choice) => choice.sentence(measured(results)),
            None => "one run was evaluated without the simulator, so nothing is picked".to_owned(),
        };
        let left = match task.without {
            0 => String::new(),
            1 => "; 1 finished run has no ope.json".to_owned(),
            n => format!("; {n} finished runs have no ope.json"),
        };
        lines.push(format!("{}: {sentence}{left}", task.task));
    }
    if regrets.len() > 1 && results.over_tasks() {
        lines.push(format!(
            "mean regret over {} tasks: {:.1}",
            regrets.len(),
            mean(&regrets)
        ));
    }
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn candidates(numbers: &[(f64, f64)]) -> Vec<Candidate> {
        let numbered = numbers.iter().enumerate();
        let one = |(i, &(estimate, measured)): (usize, &(f64, f64))| Candidate {
            name: format!("run {i}"),
            estimate,
            measured,
        };
        numbered.map(one).collect()
    }

    #[test]
    fn the_regret_is_what_the_best_has_over_the_one_picked() {
        let found = Choice::of(&candidates(&[(1.0, 50.0), (3.0, 40.0), (2.0, 90.0)])).unwrap();
        assert_eq!((&*found.picked, &*found.best), ("run 1", "run 2"));
        assert_eq!((found.regret, found.mean_measured), (50.0, 60.0));
        assert_eq!(found.spearman, Some(-0.5));
        let right = Choice::of(&candidates(&[(1.0, 5.0), (2.0, 6.0)])).unwrap();
        assert_eq!((right.regret, right.spearman), (0.0, Some(1.0)));
    }

    #[test]
    fn of_equal_estimates_the_first_is_picked_and_one_alone_is_no_choice() {
        let found = Choice::of(&candidates(&[(2.0, 1.0), (2.0, 9.0)])).unwrap();
        assert_eq!((&*found.picked, found.regret), ("run 0", 8.0));
        assert_eq!(found.spearman, None);
        assert!(found.sentence("score").contains("rank correlation none"));
        assert_eq!(Choice::of(&candidates(&[(2.0, 1.0)])), None);
        assert_eq!(Choice::of(&[]), None);
    }
}
