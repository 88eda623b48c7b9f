//! One number for a method over a whole suite, as rliable's `metrics`.

use crate::{Scores, mean, percentile};

/// Mean over tasks of the task's mean: `aggregate_mean`. With equally many runs
/// of each task it is the mean of all scores.
pub fn aggregate_mean(scores: &Scores) -> f64 {
    mean(&scores.task_means())
}

/// Median over tasks of the task's mean: `aggregate_median`. It is not the
/// median of all scores, and says nothing of half of the tasks.
pub fn aggregate_median(scores: &Scores) -> f64 {
    percentile(&scores.task_means(), 0.5)
}

/// Interquartile mean: the mean of what is left when the lowest and the
/// highest quarter (each `floor(n / 4)` values) are dropped; `aggregate_iqm`
/// where the values are all scores of a method, [`Scores::all`]. NaN of nothing.
pub fn iqm(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// By how much the values fall short of `gamma` in the mean, what lies above it
/// counted as `gamma`: `aggregate_optimality_gap`. Less is better. NaN of nothing.
pub fn optimality_gap(values: &[f64], gamma: f64) -> f64 {
    let capped: Vec<f64> = values.iter().map(|x| x.min(gamma)).collect();
    gamma - mean(&capped)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_of_uneven_tasks() {
        let scores = Scores::new(&[vec![1.0, 3.0], vec![10.0], vec![4.0, 5.0, 9.0]]).unwrap();
        assert_eq!(aggregate_mean(&scores), 6.0);
        assert_eq!(aggregate_median(&scores), 6.0);
        // Sorted 1 3 4 5 9 10; one is cut at either end.
        assert_eq!(iqm(scores.all()), 5.25);
        // Capped at 5: 1 3 5 4 5 5.
        assert!((optimality_gap(scores.all(), 5.0) - 7.0 / 6.0).abs() < 1e-12);
    }
}
