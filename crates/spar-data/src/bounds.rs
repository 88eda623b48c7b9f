//! Bounds of actions in the data's own units. Every method acts in `[-1, 1]`: data of a
//! simulator are recorded so, those of a machine rarely. Actions are scaled by their
//! bounds on the way into training, and a policy's are scaled back on the way out.

use serde::{Deserialize, Serialize};

use crate::{dataset::Dataset, remarks::is_outside};

/// Smallest and largest value of each action component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f32, f32)>", into = "Vec<(f32, f32)>")]
pub struct ActionBounds(Vec<(f32, f32)>);

/// Where bounds come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundsSource {
    /// The data declare them.
    Declared,
    /// No action lies outside `[-1, 1]`.
    Usual,
    /// The smallest and largest action of the data, where they declare none and leave
    /// `[-1, 1]`.
    Range,
}

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
    /// The bounds that actions of `data` are scaled by, and where they come from: those
    /// the data declare, else `[-1, 1]` if no action lies outside, else the data's own
    /// range of each component.
    pub fn of(data: &Dataset) -> (Self, BoundsSource) {
        if let Some(declared) = &data.action_bounds
            && let Ok(bounds) = Self::try_from(declared.clone())
        {
            return (bounds, BoundsSource::Declared);
        }
        let usual = vec![USUAL; data.act_dim];
        if data.actions.iter().all(|&x| !is_outside(x, USUAL)) {
            return (Self(usual), BoundsSource::Usual);
        }
        let mut range = vec![(f32::INFINITY, f32::NEG_INFINITY); data.act_dim];
        for action in data.actions.chunks_exact(data.act_dim) {
            for ((low, high), &x) in range.iter_mut().zip(action) {
                (*low, *high) = (low.min(x), high.max(x));
            }
        }
        (Self(range), BoundsSource::Range)
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
const USUAL: (f32, f32) = (-1.0, 1.0);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dataset::Steps;

    fn data(actions: &[f32]) -> Dataset {
        let rows = actions.len() / 2;
        let steps = Steps {
            observations: vec![0.0; rows],
            actions: actions.to_vec(),
            rewards: vec![0.0; rows],
            terminals: vec![false; rows],
            timeouts: vec![false; rows],
        };
        Dataset::in_memory("arm", 1, 2, steps).unwrap()
    }

    #[test]
    fn actions_are_scaled_by_the_data_s_bounds_and_back() {
        let original = [-40.0, 3.0, 0.0, 3.0, 40.0, 3.0, 39.9, 3.0];
        let (bounds, source) = ActionBounds::of(&data(&original));
        assert_eq!(source, BoundsSource::Range);
        assert_eq!(bounds.components(), [(-40.0, 40.0), (3.0, 3.0)]);
        let mut actions = original;
        bounds.scale(&mut actions);
        assert_eq!(actions[..6], [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        bounds.unscale(&mut actions);
        for (got, want) in actions.iter().zip(original) {
            assert!((got - want).abs() < 1e-5, "{got}, expected {want}");
        }
        let mut beyond = [7.0, -7.0];
        bounds.unscale(&mut beyond);
        assert_eq!(beyond, [40.0, 3.0]);
    }

    #[test]
    fn declared_bounds_come_before_what_was_seen() {
        let mut data = data(&[0.5, 0.25]);
        assert_eq!(ActionBounds::of(&data).1, BoundsSource::Usual);
        assert!(ActionBounds::of(&data).0.are_usual());
        data.action_bounds = Some(vec![(-2.0, 2.0), (0.0, 1.0)]);
        let (bounds, source) = ActionBounds::of(&data);
        assert_eq!(source, BoundsSource::Declared);
        let mut actions = data.actions.clone();
        bounds.scale(&mut actions);
        assert_eq!(actions, [0.25, -0.5]);
        // Unbounded ones are no bounds.
        data.action_bounds = Some(vec![(-2.0, f32::INFINITY), (0.0, 1.0)]);
        assert_eq!(ActionBounds::of(&data).1, BoundsSource::Usual);
    }

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
