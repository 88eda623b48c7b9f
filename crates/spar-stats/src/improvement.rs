//! How probably one method beats another.

use spar_core::Stream;

use crate::{Bootstrap, Estimate, Scores, StatsError, bootstrap::estimates, mean};

/// Mean over tasks of the probability that a run of `x` scores above a run of
/// `y`, a tie counting half (Mann and Whitney's U by the number of pairs):
/// rliable's `probability_of_improvement`. It says nothing of by how much.
///
/// # Errors
/// [`StatsError::Tasks`] if the methods have different numbers of tasks.
pub fn probability_of_improvement(x: &Scores, y: &Scores) -> Result<f64, StatsError> {
    same_tasks(x, y)?;
    Ok(improvement(x, y))
}

/// [`probability_of_improvement`] with its percentile interval. In each resample
/// the runs of `x` are drawn first, then, independently, those of `y`.
///
/// # Errors
/// If the methods have different numbers of tasks or the plan yields no interval.
pub fn improvement_interval(
    x: &Scores,
    y: &Scores,
    plan: &Bootstrap,
) -> Result<Estimate, StatsError> {
    same_tasks(x, y)?;
    let (mut one, mut other) = (x.clone(), y.clone());
    let draw = |stream: &mut Stream| {
        one.resample(x, stream);
        other.resample(y, stream);
        [improvement(&one, &other)]
    };
    let found = estimates([improvement(x, y)], draw, plan)?;
    found
        .first()
        .copied()
        .ok_or_else(|| StatsError::Empty("the input".to_owned()))
}

fn same_tasks(x: &Scores, y: &Scores) -> Result<(), StatsError> {
    let (x, y) = (x.task_count(), y.task_count());
    if x == y {
        Ok(())
    } else {
        Err(StatsError::Tasks { x, y })
    }
}

fn improvement(x: &Scores, y: &Scores) -> f64 {
    let task = |(x, y): (&[f64], &[f64])| {
        let mut halves = 0u32;
        for a in x {
            for b in y {
                halves += 2 * u32::from(a > b) + u32::from(a == b);
            }
        }
        f64::from(halves) / (2 * x.len() * y.len()) as f64
    };
    mean(&x.tasks().zip(y.tasks()).map(task).collect::<Vec<_>>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wins_count_one_and_ties_a_half() {
        let x = Scores::new(&[vec![1.0, 2.0, 3.0], vec![0.0]]).unwrap();
        let y = Scores::new(&[vec![2.0, 0.5], vec![9.0]]).unwrap();
        // Task 0: 1>0.5, 2=2, 2>0.5, 3>2, 3>0.5 of six pairs; task 1: none.
        let p = probability_of_improvement(&x, &y).unwrap();
        assert!((p - 4.5 / 6.0 / 2.0).abs() < 1e-12);
        let back = probability_of_improvement(&y, &x).unwrap();
        assert!((p + back - 1.0).abs() < 1e-12);
        let fewer = Scores::new(&[vec![1.0]]).unwrap();
        let error = improvement_interval(&x, &fewer, &Bootstrap::coarse()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 tasks against 1; expected both methods' scores on the same tasks"
        );
    }
}
