//! Performance profiles: which part of a method's runs scores above what.

use crate::{Bootstrap, Estimate, Scores, StatsError, stratified_bootstrap_all};

/// The part of all runs that scores above each of `levels`, strictly: rliable's
/// `score_distributions`. Where one method's profile lies above another's
/// everywhere, it is stochastically better; where it crosses one half is the
/// median of all scores.
pub fn profile(scores: &Scores, levels: &[f64]) -> Vec<f64> {
    above(scores.all().to_vec(), levels)
}

/// The part of the tasks whose mean lies above each of `levels`, strictly:
/// rliable's `average_score_distributions`.
pub fn average_profile(scores: &Scores, levels: &[f64]) -> Vec<f64> {
    above(scores.task_means(), levels)
}

/// [`profile`] with a percentile interval at each level.
///
/// # Errors
/// If the plan yields no interval.
pub fn profile_band(
    scores: &Scores,
    levels: &[f64],
    plan: &Bootstrap,
) -> Result<Vec<Estimate>, StatsError> {
    stratified_bootstrap_all(scores, |scores| profile(scores, levels), plan)
}

fn above(mut values: Vec<f64>, levels: &[f64]) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let part = |&level: &f64| {
        let at_most = values.partition_point(|&x| x <= level);
        (values.len() - at_most) as f64 / values.len() as f64
    };
    levels.iter().map(part).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_score_at_the_level_is_not_above_it() {
        let scores = Scores::new(&[vec![0.0, 2.0], vec![2.0, 5.0]]).unwrap();
        assert_eq!(
            profile(&scores, &[-1.0, 0.0, 1.9, 2.0, 5.0]),
            [1.0, 0.75, 0.75, 0.25, 0.0]
        );
        assert_eq!(average_profile(&scores, &[0.9, 1.0, 3.5]), [1.0, 0.5, 0.0]);
    }
}
