//! How well one number orders what another one measures.

use crate::mean;

/// Spearman's rank correlation of `x` and `y`, as `scipy.stats.spearmanr`: Pearson's of the
/// ranks, equal values sharing the mean of theirs. `None` if the lengths differ, with fewer
/// than two pairs, if a value is not a number, and where all of one side are equal.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    let numbers = x.iter().chain(y).all(|value| !value.is_nan());
    if x.len() != y.len() || !numbers {
        return None;
    }
    let (x, y) = (ranks(x), ranks(y));
    let (x_mean, y_mean) = (mean(&x), mean(&y));
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        let pairs = x.iter().zip(&y);
        pairs.map(|(x, y)| of(x - x_mean, y - y_mean)).sum()
    };
    let (xx, yy) = (sum(&|x, _| x * x), sum(&|_, y| y * y));
    (xx > 0.0 && yy > 0.0).then(|| sum(&|x, y| x * y) / (xx * yy).sqrt())
}

/// The rank of each value, from 1; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |a: f64| values.iter().filter(|&&b| b < a).count();
    let same = |a: f64| values.iter().filter(|&&b| b == a).count();
    let rank = |&a: &f64| below(a) as f64 + (same(a) as f64 + 1.0) / 2.0;
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranks `1, 2.5, 2.5, 4, 5` and `3, 1.5, 4, 1.5, 5`: covariance 2.75, variances 9.5.
    #[test]
    fn equal_values_share_their_rank_and_what_has_no_order_has_no_correlation() {
        let close = |found: Option<f64>, expected: f64| {
            assert!(
                found.is_some_and(|found| (found - expected).abs() < 1e-12),
                "{found:?}, expected {expected}"
            );
        };
        let found = spearman(&[1.0, 2.0, 2.0, 5.0, 9.0], &[3.0, 1.0, 4.0, 1.0, 5.0]);
        close(found, 2.75 / 9.5);
        let cubes = [1.0, 8.0, 27.0, 64.0];
        close(spearman(&[10.0, 20.0, 30.0, 40.0], &cubes), 1.0);
        close(spearman(&[4.0, 3.0, 2.0, 1.0], &cubes), -1.0);
        for (x, y) in [
            (&[1.0, 1.0][..], &[1.0, 2.0][..]),
            (&[1.0], &[1.0]),
            (&[], &[]),
            (&[1.0, 2.0], &[1.0]),
            (&[f64::NAN, 2.0], &[1.0, 2.0]),
        ] {
            assert_eq!(spearman(x, y), None, "{x:?} {y:?}");
        }
    }
}
