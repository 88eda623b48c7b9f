//! Statistics of scores: what a table prints beside a mean, and how far a
//! difference between two methods can be trusted.
//!
//! They are a crate of their own because their conventions (which spread, which
//! quantile, what is resampled) belong to the evaluation protocol: whoever compares
//! policies has to use the same ones, and needs no simulator for that. The definitions
//! are those of numpy and of rliable (Agarwal et al., NeurIPS 2021), against which the
//! golden numbers in `tests/fixtures/stats` were made; the hierarchical bootstrap
//! ([`paired_difference`]) is ours.
//!
//! ```
//! use spar_stats::{Bootstrap, Scores, aggregate_mean, stratified_bootstrap};
//!
//! // Two tasks, three training runs each.
//! let scores = Scores::new(&[vec![66.0, 68.5, 64.0], vec![98.0, 91.5, 102.0]])?;
//! let found = stratified_bootstrap(&scores, aggregate_mean, &Bootstrap::coarse())?;
//! assert!(found.interval.low <= found.value && found.value <= found.interval.high);
//! # Ok::<(), spar_stats::StatsError>(())
//! ```

use serde::{Deserialize, Serialize};

// The programs of the README are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod aggregate;
mod bootstrap;
mod improvement;
mod paired;
mod parallel;
mod profile;
mod rank;
mod scores;

pub use aggregate::{aggregate_mean, aggregate_median, iqm, optimality_gap};
pub use bootstrap::{Bootstrap, stratified_bootstrap, stratified_bootstrap_all};
pub use improvement::{improvement_interval, probability_of_improvement};
pub use paired::{Pair, TaskEstimates, hierarchical_mean, paired_difference};
pub use parallel::in_parallel;
pub use profile::{average_profile, profile, profile_band};
pub use rank::spearman;
pub use scores::Scores;

/// Scores that no statistic can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// A task, a run or the whole input holds nothing.
    #[error("no scores in {0}; expected at least one")]
    Empty(String),
    /// The two sides of a pair were not evaluated on the same episodes.
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
    /// Two methods that were not evaluated on the same tasks.
    #[error("{x} tasks against {y}; expected both methods' scores on the same tasks")]
    Tasks {
        /// Tasks of the one.
        x: usize,
        /// Tasks of the other.
        y: usize,
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // Golden numbers from numpy, scipy and rliable: tests/stats_golden.rs.

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
    fn a_mean_over_runs_is_the_difference_to_nothing() {
        let runs = [vec![1.0, 4.0, 2.0], vec![7.0, 3.0, 3.5]];
        let nothing = [0.0; 3];
        let pairs = runs.iter().map(|run| Pair {
            method: run,
            anchor: &nothing,
        });
        let plan = Bootstrap::coarse();
        assert_eq!(
            hierarchical_mean(&[runs.to_vec()], &plan),
            paired_difference(&[pairs.collect()], &plan)
        );
    }

    #[test]
    fn cores_change_neither_results_nor_their_order() {
        let scores = Scores::new(&[vec![1.0, 5.0, 7.0], vec![2.0, 9.0, 4.0]]).unwrap();
        let plans: Vec<Bootstrap> = (0..9)
            .map(|seed| Bootstrap {
                seed,
                ..Bootstrap::coarse()
            })
            .collect();
        let job = |plan: &Bootstrap| stratified_bootstrap(&scores, aggregate_median, plan).unwrap();
        let alone: Vec<Estimate> = plans.iter().map(job).collect();
        assert_eq!(in_parallel(&plans, job), alone);
    }

    #[test]
    fn an_interval_is_its_seed() {
        let scores = Scores::new(&[vec![1.0, 5.0, 7.0], vec![2.0, 9.0, 4.0]]).unwrap();
        let plan = |seed| Bootstrap {
            seed,
            resamples: 101,
            confidence: 0.9,
        };
        let run = |seed| stratified_bootstrap(&scores, aggregate_mean, &plan(seed)).unwrap();
        assert_eq!(run(4), run(4));
        assert_ne!(run(4), run(5));
    }

    #[test]
    fn what_has_no_verdict_is_an_error_that_says_why() {
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
        let empty = Scores::new(&[vec![1.0], vec![]]).unwrap_err().to_string();
        assert_eq!(empty, "no scores in task 1; expected at least one");
        assert!(Scores::new(&[]).is_err());
        assert!(hierarchical_mean(&[vec![vec![1.0], vec![]]], &plan).is_err());
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
            let one = Scores::new(&[vec![1.0]]).unwrap();
            let error = stratified_bootstrap(&one, aggregate_mean, &plan).unwrap_err();
            assert!(error.to_string().starts_with("bootstrap of "), "{error}");
        }
    }
}
