//! Slopes on logarithmic axes, with their intervals.

use spar_stats::{Bootstrap, Estimate, Scores, mean, stratified_bootstrap_all};

use crate::TheoryError;

/// Measurements at several levels of one quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// The quantity, positive, at least two different numbers.
    pub at: Vec<f64>,
    /// `measured[level][replicate]`.
    pub measured: Vec<Vec<f64>>,
}

impl Levels {
    /// Mean of each level.
    pub fn means(&self) -> Vec<(f64, f64)> {
        let means = self.measured.iter().map(|level| mean(level));
        self.at.iter().copied().zip(means).collect()
    }
}

/// Slope of the least-squares line through `(x, y)`; NaN of fewer than two
/// different `x`.
pub fn least_squares(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let n = points.clone().count() as f64;
    let (sx, sy) = points
        .clone()
        .fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
    let (mx, my) = (sx / n, sy / n);
    let (xy, xx) = points.fold((0.0, 0.0), |(xy, xx), (x, y)| {
        (xy + (x - mx) * (y - my), xx + (x - mx) * (x - mx))
    });
    xy / xx
}

/// The exponent `p` of `y ~ x^p`: slope of `log mean(y)` against `log x`, its 95%
/// interval by a percentile bootstrap of 2000 resamples of the replicates within
/// levels (`spar_stats::stratified_bootstrap_all`).
///
/// # Errors
/// If a level is empty or its mean not positive; `what` names it then.
pub fn exponent(what: &str, levels: &Levels, seed: u64) -> Result<Estimate, TheoryError> {
    if levels.means().iter().any(|&(x, y)| !(x > 0.0 && y > 0.0)) {
        return Err(TheoryError::NotPositive(what.to_owned()));
    }
    slope(levels, |x, mean| (x.ln(), mean.ln()), seed)
}

/// Slope of what `axes` makes of a level's quantity and mean, with an interval as in
/// [`exponent`].
///
/// # Errors
/// If a level is empty.
pub fn slope(
    levels: &Levels,
    axes: impl Fn(f64, f64) -> (f64, f64),
    seed: u64,
) -> Result<Estimate, TheoryError> {
    let scores = Scores::new(&levels.measured)?;
    let plan = Bootstrap {
        seed,
        ..Bootstrap::coarse()
    };
    let statistic = |scores: &Scores| {
        let means = scores.task_means();
        let points = levels.at.iter().zip(&means).map(|(&x, &y)| axes(x, y));
        [least_squares(points)]
    };
    let found = stratified_bootstrap_all(&scores, statistic, &plan)?;
    let none = || spar_stats::StatsError::Empty("a slope".to_owned());
    Ok(found.first().copied().ok_or_else(none)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use spar_core::Stream;

    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        let points = [(1.0, 1.0), (2.0, 3.0), (4.0, 7.0)];
        assert!((least_squares(points.into_iter()) - 2.0).abs() < 1e-12);
        // numpy.polyfit([0, 1, 2], [0, 0, 3], 1)[0]
        let bent = [(0.0, 0.0), (1.0, 0.0), (2.0, 3.0)];
        assert!((least_squares(bent.into_iter()) - 1.5).abs() < 1e-12);
        assert!(least_squares([(1.0, 2.0)].into_iter()).is_nan());
    }

    #[test]
    fn an_exponent_is_found_through_noise_and_its_interval_holds_it() {
        let mut stream = Stream::new(1, "noise");
        let at = vec![0.1, 0.2, 0.4, 0.8];
        let mut level = |x: &f64| {
            let noise = |_| 3.0 * x.powf(1.7) * (0.3 * stream.normal()).exp();
            (0..200).map(noise).collect::<Vec<f64>>()
        };
        let measured = at.iter().map(&mut level).collect();
        let levels = Levels { at, measured };
        let found = exponent("noise", &levels, 0).unwrap();
        assert!((found.value - 1.7).abs() < 0.05, "{found:?}");
        assert!(found.interval.low < 1.7 && 1.7 < found.interval.high);
        assert_eq!(found, exponent("noise", &levels, 0).unwrap());
    }

    #[test]
    fn what_has_no_logarithm_is_an_error() {
        let levels = Levels {
            at: vec![1.0, 2.0],
            measured: vec![vec![1.0], vec![0.0]],
        };
        let error = exponent("nothing", &levels, 0).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot fit a slope to nothing: a mean is not positive"
        );
    }
}
