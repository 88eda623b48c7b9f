//! The units a policy acts in: how observations are normalized, and how actions are scaled.
//!
//! Every method acts in `[-1, 1]` on normalized observations. Data of a simulator are
//! recorded so but for the normalization, those of a machine rarely: actions are scaled by
//! their bounds on the way into training, and a policy's are scaled back on the way out.
//! Training and acting have to do it alike, so it stands below both.

use serde::{Deserialize, Serialize};

/// Added to the standard deviation, so that a constant dimension stays finite
/// (TD3+BC, `utils.py`: `std = state.std(0) + 1e-3`).
const STD_OFFSET: f64 = 1e-3;

/// Maps observations to zero mean and about unit variance, dimension by
/// dimension: `(obs - mean) / std`, as TD3+BC does it. Part of every saved policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    /// `[obs_dim]`.
    pub mean: Vec<f32>,
    /// `[obs_dim]`, what is divided by: the population standard deviation
    /// plus `1e-3`.
    pub std: Vec<f32>,
}

impl Normalizer {
    /// Mean and standard deviation over `rows`, `[dim]` each, summed in `f64` in two
    /// passes.
    pub fn of_rows<'a>(dim: usize, rows: impl Iterator<Item = &'a [f32]> + Clone) -> Self {
        Self::of_rows_offset(dim, rows, STD_OFFSET)
    }

    /// [`Self::of_rows`] with `offset` added to the standard deviation instead of `1e-3`.
    pub fn of_rows_offset<'a>(
        dim: usize,
        rows: impl Iterator<Item = &'a [f32]> + Clone,
        offset: f64,
    ) -> Self {
        let mut mean = vec![0f64; dim];
        let mut count = 0u64;
        for row in rows.clone() {
            count += 1;
            for (sum, &x) in mean.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
        let count = count as f64;
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut square = vec![0f64; dim];
        for row in rows {
            for ((sum, &x), m) in square.iter_mut().zip(row).zip(&mean) {
                *sum += (f64::from(x) - m).powi(2);
            }
        }
        Self {
            mean: mean.iter().map(|&m| m as f32).collect(),
            std: square
                .iter()
                .map(|s| ((s / count).sqrt() + offset) as f32)
                .collect(),
        }
    }

    /// The normalizer that changes nothing.
    pub fn identity(obs_dim: usize) -> Self {
        Self {
            mean: vec![0.0; obs_dim],
            std: vec![1.0; obs_dim],
        }
    }

    /// Normalizes `obs`, row-major `[n, obs_dim]`, in place.
    ///
    /// # Panics
    /// If `obs` is not a whole number of rows.
    pub fn apply(&self, obs: &mut [f32]) {
        assert_eq!(
            obs.len() % self.mean.len(),
            0,
            "observations are not whole rows"
        );
        for row in obs.chunks_exact_mut(self.mean.len()) {
            for ((x, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *x = (*x - mean) / std;
            }
        }
    }
}

/// Smallest and largest value of each action component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f32, f32)>", into = "Vec<(f32, f32)>")]
pub struct ActionBounds(Vec<(f32, f32)>);

/// Bounds that are none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "bounds of action {component} are [{low}, {high}], expected two finite numbers, the second not \
     below the first"
)]
pub struct BoundsError {
    /// Which component.
    pub component: usize,
    /// Its lower bound.
    pub low: f32,
    /// Its upper bound.
    pub high: f32,
}

impl TryFrom<Vec<(f32, f32)>> for ActionBounds {
    type Error = BoundsError;
    fn try_from(bounds: Vec<(f32, f32)>) -> Result<Self, BoundsError> {
        let wrong =
            |&(low, high): &(f32, f32)| !(low.is_finite() && high.is_finite() && low <= high);
        match bounds.iter().position(wrong) {
            None => Ok(Self(bounds)),
            Some(component) => {
                let (low, high) = bounds[component];
                Err(BoundsError {
                    component,
                    low,
                    high,
                })
            }
        }
    }
}

impl From<ActionBounds> for Vec<(f32, f32)> {
    fn from(bounds: ActionBounds) -> Self {
        bounds.0
    }
}

impl ActionBounds {
    /// `[-1, 1]` for each of `act_dim` components.
    pub fn usual(act_dim: usize) -> Self {
        Self(vec![USUAL; act_dim])
    }

    /// Bounds of each component, `[act_dim]`.
    pub fn components(&self) -> &[(f32, f32)] {
        &self.0
    }

    /// Whether every component lies in `[-1, 1]` by definition, so that nothing is scaled.
    pub fn are_usual(&self) -> bool {
        self.0.iter().all(|&bounds| bounds == USUAL)
    }

    /// Scales `actions`, row-major `[n, act_dim]`, from these bounds to `[-1, 1]`. What
    /// lies outside stays outside; a component whose bounds are one number becomes 0.
    pub fn scale(&self, actions: &mut [f32]) {
        if self.are_usual() {
            return;
        }
        self.each(actions, |x, bounds, half, middle| {
            if half == 0.0 {
                return 0.0;
            }
            let scaled = (x - middle) / half;
            // Rounding alone must not leave the bounds.
            if is_outside(x, bounds) {
                scaled
            } else {
                scaled.clamp(-1.0, 1.0)
            }
        });
    }

    /// Scales `actions`, row-major `[n, act_dim]`, from `[-1, 1]` to these bounds, which
    /// they do not leave.
    pub fn unscale(&self, actions: &mut [f32]) {
        if self.are_usual() {
            return;
        }
        self.each(actions, |a, (low, high), half, middle| {
            (a * half + middle).clamp(low, high)
        });
    }

    fn each(&self, actions: &mut [f32], scaled: impl Fn(f32, (f32, f32), f32, f32) -> f32) {
        for action in actions.chunks_exact_mut(self.0.len()) {
            for (x, &bounds) in action.iter_mut().zip(&self.0) {
                let (low, high) = bounds;
                // Halved first: their difference may be beyond what a float holds.
                *x = scaled(*x, bounds, high / 2.0 - low / 2.0, high / 2.0 + low / 2.0);
            }
        }
    }
}

/// The bounds of every environment here.
pub const USUAL: (f32, f32) = (-1.0, 1.0);

/// How far beyond a bound an action counts as outside: more than what rounding to 32 bits
/// adds.
const BEYOND: f32 = 1e-6;

/// Whether `x` lies outside `low` and `high` by more than rounding.
pub fn is_outside(x: f32, (low, high): (f32, f32)) -> bool {
    let slack = |bound: f32| BEYOND * bound.abs().max(1.0);
    x < low - slack(low) || x > high + slack(high)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wrong_bounds_are_refused() {
        for wrong in [(1.0, 0.0), (f32::NAN, 0.0), (0.0, f32::INFINITY)] {
            let error = ActionBounds::try_from(vec![(0.0, 1.0), wrong]).unwrap_err();
            assert_eq!(error.component, 1);
        }
        assert!(serde_json::from_str::<ActionBounds>("[[1.0, 0.0]]").is_err());
        let text = serde_json::to_string(&ActionBounds(vec![(-0.1, 0.3)])).unwrap();
        assert_eq!(text, "[[-0.1,0.3]]");
    }
}
