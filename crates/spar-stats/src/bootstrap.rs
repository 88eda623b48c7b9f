//! rliable's stratified bootstrap.

use serde::{Deserialize, Serialize};
use spar_core::Stream;

use crate::{Estimate, Interval, Scores, StatsError, percentile_of_sorted};

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
    /// rliable's settings for what is a whole curve or a pair of methods: 2 000
    /// resamples, 95%; seed 0.
    pub fn coarse() -> Self {
        Self {
            resamples: 2_000,
            ..Self::default()
        }
    }

    pub(crate) fn stream(&self) -> Result<Stream, StatsError> {
        if self.resamples == 0 || !(self.confidence > 0.0 && self.confidence < 1.0) {
            return Err(StatsError::Plan {
                resamples: self.resamples,
                confidence: self.confidence.to_string(),
            });
        }
        Ok(Stream::new(self.seed, "bootstrap"))
    }

    pub(crate) fn interval(&self, mut statistics: Vec<f64>) -> Interval {
        statistics.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        Interval {
            low: percentile_of_sorted(&statistics, tail),
            high: percentile_of_sorted(&statistics, 1.0 - tail),
        }
    }
}

/// `statistic` of the scores with its percentile interval: every resample draws
/// each task's runs anew, with replacement and to their own number.
///
/// Only runs are resampled. With one run per task every resample is the scores
/// themselves and the interval has no width; with few it is too narrow.
///
/// # Errors
/// If the plan yields no interval.
pub fn stratified_bootstrap(
    scores: &Scores,
    statistic: impl Fn(&Scores) -> f64,
    plan: &Bootstrap,
) -> Result<Estimate, StatsError> {
    let all = stratified_bootstrap_all(scores, |scores| [statistic(scores)], plan)?;
    all.first()
        .copied()
        .ok_or_else(|| StatsError::Empty("the input".to_owned()))
}

/// Several statistics on the same resamples, as [`stratified_bootstrap`] does
/// one. `statistics` gives equally many numbers each time it is asked.
///
/// # Errors
/// If the plan yields no interval.
pub fn stratified_bootstrap_all<S: AsRef<[f64]>>(
    scores: &Scores,
    statistics: impl Fn(&Scores) -> S,
    plan: &Bootstrap,
) -> Result<Vec<Estimate>, StatsError> {
    let mut resample = scores.clone();
    let draw = |stream: &mut Stream| {
        resample.resample(scores, stream);
        statistics(&resample)
    };
    estimates(statistics(scores), draw, plan)
}

/// `values` with the intervals of what `draw` gives for each resample.
pub(crate) fn estimates<S: AsRef<[f64]>>(
    values: S,
    mut draw: impl FnMut(&mut Stream) -> S,
    plan: &Bootstrap,
) -> Result<Vec<Estimate>, StatsError> {
    let mut stream = plan.stream()?;
    let values = values.as_ref();
    let mut drawn = vec![Vec::with_capacity(plan.resamples); values.len()];
    for _ in 0..plan.resamples {
        for (found, value) in drawn.iter_mut().zip(draw(&mut stream).as_ref()) {
            found.push(*value);
        }
    }
    let estimate = |(&value, drawn)| Estimate {
        value,
        interval: plan.interval(drawn),
    };
    Ok(values.iter().zip(drawn).map(estimate).collect())
}
