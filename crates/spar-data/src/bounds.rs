//! Bounds of a data set's actions, and where they come from.

use spar_core::{
    ActionBounds,
    units::{USUAL, is_outside},
};

use crate::dataset::Dataset;

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

impl Dataset {
    /// The bounds that these actions are scaled by, and where they come from: those
    /// the data declare, else `[-1, 1]` if no action lies outside, else the data's own
    /// range of each component.
    pub fn bounds(&self) -> (ActionBounds, BoundsSource) {
        if let Some(declared) = &self.action_bounds
            && let Ok(bounds) = ActionBounds::try_from(declared.clone())
        {
            return (bounds, BoundsSource::Declared);
        }
        let usual = ActionBounds::usual(self.act_dim);
        if self.actions.iter().all(|&x| !is_outside(x, USUAL)) {
            return (usual, BoundsSource::Usual);
        }
        let mut range = vec![(f32::INFINITY, f32::NEG_INFINITY); self.act_dim];
        for action in self.actions.chunks_exact(self.act_dim) {
            for ((low, high), &x) in range.iter_mut().zip(action) {
                (*low, *high) = (low.min(x), high.max(x));
            }
        }
        // Actions that are not finite have no range; no reader lets them through.
        match ActionBounds::try_from(range) {
            Ok(range) => (range, BoundsSource::Range),
            Err(_) => (usual, BoundsSource::Usual),
        }
    }
}

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
        let (bounds, source) = data(&original).bounds();
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
        assert_eq!(data.bounds().1, BoundsSource::Usual);
        assert!(data.bounds().0.are_usual());
        data.action_bounds = Some(vec![(-2.0, 2.0), (0.0, 1.0)]);
        let (bounds, source) = data.bounds();
        assert_eq!(source, BoundsSource::Declared);
        let mut actions = data.actions.clone();
        bounds.scale(&mut actions);
        assert_eq!(actions, [0.25, -0.5]);
        // Unbounded ones are no bounds.
        data.action_bounds = Some(vec![(-2.0, f32::INFINITY), (0.0, 1.0)]);
        assert_eq!(data.bounds().1, BoundsSource::Usual);
    }
}
