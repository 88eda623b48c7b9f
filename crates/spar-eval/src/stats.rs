//! Statistics of scores: what a table prints beside a mean, and how far a
//! difference between two methods can be trusted.
//!
//! It lives beside the rollouts, not in `spar-report`, because the conventions
//! (which spread, which quantile, what is resampled) belong to the evaluation
//! protocol: whoever judges a policy has to use the same ones. The definitions
//! are those of numpy and of rliable (Agarwal et al., NeurIPS 2021), against
//! which the golden numbers in `tests/fixtures/stats` were made.

use serde::{Deserialize, Serialize};
use spar_core::Stream;

/// Scores that no statistic can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// A stratum, a run or the whole input holds nothing.
    #[error("no scores in {0}; expected at least one")]
    Empty(String),
    /// The two sides of a pair were not judged on the same episodes.
    #[error(
        "task {task}, pair {pair}: {method} episodes against the anchor's {anchor}; expected equal numbers from one evaluation seed"
    )]
    Unpaired {
        /// Position of the task in the input.
        task: usize,
        /// Position of the pair within the task.
        pair: usize,
        /// Episodes of the method.
        method: usize,
        /// Episodes of the anchor.
        anchor: usize,
    },
    /// A plan that yields no interval.
    #[error(
        "bootstrap of {resamples} resamples at confidence {confidence}; expected at least one and a confidence in (0, 1)"
    )]
    Plan {
        /// Resamples asked for.
        resamples: usize,
        /// Confidence asked for, as text (it may be NaN).
        confidence: String,
    },
}

/// Arithmetic mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation with `ddof` taken off the number of values, as
/// `numpy.std(values, ddof)`: 0 divides by n, 1 by n - 1. NaN of `ddof` values
/// or fewer.
///
/// Tables over seeds use `ddof = 0`, as CORL's do; multiply by
/// `sqrt(n / (n - 1))` to compare with a source that uses 1.
pub fn std(values: &[f64], ddof: usize) -> f64 {
    if values.len() <= ddof {
        return f64::NAN;
    }
    let center = mean(values);
    let squares: f64 = values.iter().map(|x| (x - center).powi(2)).sum();
    (squares / (values.len() - ddof) as f64).sqrt()
}

/// The `q`-quantile, `q` in `[0, 1]`, by numpy's default rule: linear between
/// the order statistics around position `q (n - 1)`. NaN of nothing; `q`
/// outside its range counts as its nearest end.
pub fn percentile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    percentile_of_sorted(&sorted, q)
}

fn percentile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// Interquartile mean: the mean of what is left when the lowest and the
/// highest quarter (each `floor(n / 4)` values) are dropped; rliable's
/// `aggregate_iqm` over all (task, seed) cells. NaN of nothing.
pub fn iqm(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// An interval of a statistic's plausible values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A value with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The statistic of the data themselves.
    pub value: f64,
    /// Its percentile bootstrap interval.
    pub interval: Interval,
}

/// How a bootstrap is done; written beside every interval it yields.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Seed of the stream `"bootstrap"` all indices come from.
    pub seed: u64,
    /// Number of resamples.
    pub resamples: usize,
    /// Coverage aimed at, as in 0.95.
    pub confidence: f64,
}

impl Default for Bootstrap {
    /// rliable's settings: 50 000 resamples, 95%; seed 0.
    fn default() -> Self {
        Self {
            seed: 0,
            resamples: 50_000,
            confidence: 0.95,
        }
    }
}

impl Bootstrap {
    fn stream(&self) -> Result<Stream, StatsError> {
        if self.resamples == 0 || !(self.confidence > 0.0 && self.confidence < 1.0) {
            return Err(StatsError::Plan {
                resamples: self.resamples,
                confidence: self.confidence.to_string(),
            });
        }
        Ok(Stream::new(self.seed, "bootstrap"))
    }

    fn interval(&self, mut statistics: Vec<f64>) -> Interval {
        statistics.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        Interval {
            low: percentile_of_sorted(&statistics, tail),
            high: percentile_of_sorted(&statistics, 1.0 - tail),
        }
    }
}

/// rliable's stratified bootstrap with a percentile interval: every resample
/// draws each stratum (a task's runs, one score per seed) anew, with
/// replacement and to its own size, and `statistic` sees all of them in one
/// slice, stratum after stratum.
///
/// Only runs are resampled. With one run per stratum every resample is the
/// data themselves and the interval has no width; with few it is too narrow.
///
/// # Errors
/// If there is no stratum, one is empty, or the plan yields no interval.
pub fn stratified_bootstrap(
    strata: &[Vec<f64>],
    statistic: impl Fn(&[f64]) -> f64,
    plan: &Bootstrap,
) -> Result<Estimate, StatsError> {
    if strata.is_empty() {
        return Err(StatsError::Empty("the input".to_owned()));
    }
    if let Some(empty) = strata.iter().position(Vec::is_empty) {
        return Err(StatsError::Empty(format!("stratum {empty}")));
    }
    let mut stream = plan.stream()?;
    let mut resample = strata.concat();
    let value = statistic(&resample);
    let mut statistics = Vec::with_capacity(plan.resamples);
    for _ in 0..plan.resamples {
        let mut slots = resample.iter_mut();
        for runs in strata {
            for slot in slots.by_ref().take(runs.len()) {
                *slot = runs[stream.index(runs.len())];
            }
        }
        statistics.push(statistic(&resample));
    }
    Ok(Estimate {
        value,
        interval: plan.interval(statistics),
    })
}

/// The scores of two policies trained with one seed on one task, judged on the
/// same evaluation episodes: `method[e]` and `anchor[e]` began in one state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<'a> {
    /// One score per episode.
    pub method: &'a [f64],
    /// One score per episode, in the same order.
    pub anchor: &'a [f64],
}

/// What [`paired_difference`] finds.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedDifference {
    /// Mean over tasks of the tasks' differences.
    pub overall: Estimate,
    /// Difference on each task, in the order of the input.
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
) -> Result<PairedDifference, StatsError> {
    let differences = tasks
        .iter()
        .enumerate()
        .map(|(task, pairs)| episode_differences(task, pairs))
        .collect::<Result<Vec<_>, _>>()?;
    if differences.is_empty() {
        return Err(StatsError::Empty("the input".to_owned()));
    }
    let mut stream = plan.stream()?;
    let mut by_task = vec![Vec::with_capacity(plan.resamples); tasks.len()];
    let mut overall = Vec::with_capacity(plan.resamples);
    for _ in 0..plan.resamples {
        let mut sum = 0.0;
        for (runs, found) in differences.iter().zip(&mut by_task) {
            let mut task_sum = 0.0;
            for _ in 0..runs.len() {
                let run = &runs[stream.index(runs.len())];
                let drawn: f64 = (0..run.len()).map(|_| run[stream.index(run.len())]).sum();
                task_sum += drawn / run.len() as f64;
            }
            let difference = task_sum / runs.len() as f64;
            found.push(difference);
            sum += difference;
        }
        overall.push(sum / tasks.len() as f64);
    }
    let values: Vec<f64> = differences
        .iter()
        .map(|runs| mean(&runs.iter().map(|run| mean(run)).collect::<Vec<_>>()))
        .collect();
    Ok(PairedDifference {
        overall: Estimate {
            value: mean(&values),
            interval: plan.interval(overall),
        },
        tasks: values
            .iter()
            .zip(by_task)
            .map(|(&value, statistics)| Estimate {
                value,
                interval: plan.interval(statistics),
            })
            .collect(),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // Golden numbers from numpy, scipy and rliable: spar-report/tests/stats_golden.rs.

    #[test]
    fn moments_and_quantiles_of_small_samples() {
        // numpy.std([2, 4, 9]), numpy.std([2, 4, 9], ddof=1), numpy.quantile([9, 2, 4], .9)
        let values = [9.0, 2.0, 4.0];
        assert_eq!(mean(&values), 5.0);
        assert!((std(&values, 0) - 2.943_920_288_775_949).abs() < 1e-12);
        assert!((std(&values, 1) - 3.605_551_275_463_989).abs() < 1e-12);
        assert!((percentile(&values, 0.9) - 8.0).abs() < 1e-12);
        assert_eq!(percentile(&values, 0.5), 4.0);
        assert_eq!(
            (percentile(&values, -1.0), percentile(&values, 2.0)),
            (2.0, 9.0)
        );
        assert_eq!(iqm(&[100.0, 1.0, 2.0, -50.0]), 1.5);
        assert_eq!(iqm(&[1.0, 2.0, 6.0]), 3.0);
    }

    #[test]
    fn what_has_no_value_is_nan() {
        assert!(mean(&[]).is_nan() && iqm(&[]).is_nan() && percentile(&[], 0.5).is_nan());
        assert!(std(&[], 0).is_nan() && std(&[1.0], 1).is_nan());
    }

    #[test]
    fn one_seed_still_shows_the_noise_of_its_episodes() {
        let method = [10.0, 30.0, 20.0, 40.0];
        let anchor = [5.0, 5.0, 5.0, 5.0];
        let tasks = [vec![Pair {
            method: &method,
            anchor: &anchor,
        }]];
        let found = paired_difference(&tasks, &Bootstrap::default()).unwrap();
        assert_eq!(found.overall.value, 20.0);
        assert_eq!(found.overall, found.tasks[0]);
        assert!(found.overall.interval.low < 15.0 && found.overall.interval.high > 25.0);
    }

    #[test]
    fn a_constant_difference_has_no_width_however_noisy_the_methods() {
        let anchor: Vec<f64> = (0..10).map(|e| f64::from(e * e)).collect();
        let method: Vec<f64> = anchor.iter().map(|x| x + 7.0).collect();
        let pair = Pair {
            method: &method,
            anchor: &anchor,
        };
        let found =
            paired_difference(&[vec![pair; 3], vec![pair; 2]], &Bootstrap::default()).unwrap();
        let Estimate { value, interval } = found.overall;
        assert_eq!((value, interval.low, interval.high), (7.0, 7.0, 7.0));
    }

    #[test]
    fn an_interval_is_its_seed() {
        let strata = [vec![1.0, 5.0, 7.0], vec![2.0, 9.0, 4.0]];
        let plan = |seed| Bootstrap {
            seed,
            resamples: 101,
            confidence: 0.9,
        };
        let run = |seed| stratified_bootstrap(&strata, mean, &plan(seed)).unwrap();
        assert_eq!(run(4), run(4));
        assert_ne!(run(4), run(5));
    }

    #[test]
    fn what_cannot_be_judged_is_an_error_that_says_why() {
        let plan = Bootstrap::default();
        let pair = Pair {
            method: &[1.0, 2.0],
            anchor: &[1.0],
        };
        let said =
            |tasks: &[Vec<Pair<'_>>]| paired_difference(tasks, &plan).unwrap_err().to_string();
        assert_eq!(
            said(&[vec![pair]]),
            "task 0, pair 0: 2 episodes against the anchor's 1; expected equal numbers from one evaluation seed"
        );
        assert_eq!(said(&[]), "no scores in the input; expected at least one");
        assert_eq!(
            said(&[vec![]]),
            "no scores in task 0; expected at least one"
        );
        let none = Pair {
            method: &[],
            anchor: &[],
        };
        assert_eq!(
            said(&[vec![none]]),
            "no scores in task 0, pair 0; expected at least one"
        );
        assert!(stratified_bootstrap(&[], mean, &plan).is_err());
        assert!(stratified_bootstrap(&[vec![]], mean, &plan).is_err());
        for plan in [
            Bootstrap {
                resamples: 0,
                ..plan
            },
            Bootstrap {
                confidence: 1.0,
                ..plan
            },
        ] {
            let error = stratified_bootstrap(&[vec![1.0]], mean, &plan).unwrap_err();
            assert!(error.to_string().starts_with("bootstrap of "), "{error}");
        }
    }
}
