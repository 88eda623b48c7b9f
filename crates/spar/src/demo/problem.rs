//! The problem of the demo: a ledge that curves through the square of actions.
//!
//! It is a bandit with a context, so that nothing but the choice of an action is at
//! stake: every episode is one step. Its geometry is known in closed form, which is
//! what no benchmark offers: here one can say how far an action is from the data's
//! manifold, and what it is truly worth there and elsewhere.

use std::sync::Arc;

use spar_core::Stream;
use spar_data::{DataError, Dataset, Steps, Transitions};

/// A point of the action square `[-1, 1]^2`.
pub(crate) type Point = [f64; 2];

/// Radius of the arc that logged actions lie on, around the square's middle.
pub(crate) const RADIUS: f64 = 0.7;
/// Angle of the arc at which most actions were logged, in radians; the context
/// turns everything further.
pub(crate) const USUAL: f64 = 0.0;
/// Standard deviation of logged angles, radians.
pub(crate) const ANGLE_STD: f64 = 0.4;
/// No angle was logged further than this from [`USUAL`], radians: where the
/// manifold ends.
pub(crate) const ANGLE_REACH: f64 = 2.5 * ANGLE_STD;
/// Standard deviation of logged radii: the data's noise across the manifold.
pub(crate) const RADIUS_STD: f64 = 0.01;
/// Half the width of the ledge: within this distance of the manifold an action is
/// worth what the distance to the goal says, beyond it nothing. Ten standard
/// deviations of the noise: no logged action ever fell.
pub(crate) const LEDGE: f64 = 0.1;
/// Angle of the goal, radians: in the tail of the logged angles.
pub(crate) const GOAL_ANGLE: f64 = 0.9;
/// Distance of the goal from the square's middle: off the ledge.
pub(crate) const GOAL_RADIUS: f64 = 1.0;
/// How much worth is lost per unit of distance from the goal.
pub(crate) const SLOPE: f64 = 0.5;
/// Radians by which the context `1` turns arc and goal.
pub(crate) const TURN: f64 = 0.5;

/// Logged episodes.
pub(crate) const ROWS: usize = 4000;

/// The point at `angle` (before the context's turn) and `radius` in context `s`.
pub(crate) fn point(s: f64, angle: f64, radius: f64) -> Point {
    let (sin, cos) = (angle + TURN * s).sin_cos();
    [radius * cos, radius * sin]
}

/// Where the value would be greatest if the ledge reached so far.
pub(crate) fn goal(s: f64) -> Point {
    point(s, GOAL_ANGLE, GOAL_RADIUS)
}

/// Action `a` of context `s`, turned as if the context were `0`.
pub(crate) fn turned_back(s: f64, a: Point) -> Point {
    let [x, y] = point(-s, 0.0, 1.0);
    [a[0] * x - a[1] * y, a[0] * y + a[1] * x]
}

/// Distance of action `a` from the manifold of context `s`: from the nearest point
/// of the arc, its ends included.
pub(crate) fn distance(s: f64, a: Point) -> f64 {
    let turned = turned_back(s, a);
    let angle = turned[1].atan2(turned[0]);
    let nearest = angle.clamp(USUAL - ANGLE_REACH, USUAL + ANGLE_REACH);
    between(turned, point(0.0, nearest, RADIUS))
}

/// The true worth of action `a` in context `s`: `1 - SLOPE |a - goal|` on the ledge,
/// zero off it.
pub(crate) fn value(s: f64, a: Point) -> f64 {
    if distance(s, a) <= LEDGE {
        1.0 - SLOPE * between(a, goal(s))
    } else {
        0.0
    }
}

/// Distance of two points.
pub(crate) fn between(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// What the behaviour did, without end: contexts uniform on `[-1, 1]`, angles normal
/// around [`USUAL`] within the arc, radii normal around [`RADIUS`]. Drawn from the
/// stream `demo/data` of `seed`.
pub(crate) fn draws(seed: u64) -> impl Iterator<Item = (f64, Point)> {
    let mut stream = Stream::new(seed, "demo/data");
    std::iter::repeat_with(move || {
        let s = stream.uniform(-1.0, 1.0);
        let angle = loop {
            let draw = ANGLE_STD * stream.normal();
            if draw.abs() <= ANGLE_REACH {
                break USUAL + draw;
            }
        };
        (s, point(s, angle, RADIUS + RADIUS_STD * stream.normal()))
    })
}

/// The logged data: the first [`ROWS`] of [`draws`], each an episode of one step whose
/// reward is the action's true worth.
///
/// # Errors
/// Never in practice: the arrays fit and hold transitions.
pub(crate) fn logged(seed: u64) -> Result<Transitions, DataError> {
    let (mut contexts, mut actions, mut rewards) = (Vec::new(), Vec::new(), Vec::new());
    // D4RL's layout makes no transition of a file's last row.
    for (s, a) in draws(seed).take(ROWS + 1) {
        contexts.push(s as f32);
        actions.extend(a.map(|x| x as f32));
        rewards.push(value(s, a) as f32);
    }
    let rows = rewards.len();
    let steps = Steps {
        observations: contexts,
        actions,
        rewards,
        terminals: vec![true; rows],
        timeouts: vec![false; rows],
    };
    let data = Dataset::in_memory("demo", 1, 2, steps)?;
    Transitions::new(Arc::new(data), 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_context_turns_everything_alike() {
        for s in [-1.0, -0.3, 0.0, 0.8] {
            for (angle, radius) in [(0.0, 0.7), (0.5, 0.75), (-0.9, 0.4), (2.0, 0.7)] {
                let here = distance(s, point(s, angle, radius));
                let there = distance(0.0, point(0.0, angle, radius));
                assert!((here - there).abs() < 1e-12, "{s} {angle} {radius}");
            }
        }
    }

    #[test]
    fn distances_are_those_to_an_arc_with_ends() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(distance(0.0, [RADIUS, 0.0]), 0.0);
        close(distance(0.0, [0.0, 0.0]), RADIUS);
        close(distance(0.0, point(0.0, 0.4, 0.9)), 0.2);
        let end = point(0.0, USUAL + ANGLE_REACH, RADIUS);
        let beyond = point(0.0, USUAL + ANGLE_REACH + 0.5, RADIUS);
        close(distance(0.0, beyond), between(beyond, end));
    }

    /// What makes it a trap: at the best logged action the value grows straight off
    /// the manifold, and ends before the goal is reached.
    #[test]
    fn near_the_best_logged_action_the_value_grows_off_the_manifold_and_then_ends() {
        let s = 0.4;
        let out = |by: f64| value(s, point(s, GOAL_ANGLE, RADIUS + by));
        assert!(out(0.05) > out(0.0) && out(0.0) > out(-0.05));
        assert_eq!(out(LEDGE + 0.01), 0.0);
        assert_eq!(value(s, goal(s)), 0.0);
        for aside in [-0.1, 0.1] {
            let moved = value(s, point(s, GOAL_ANGLE + aside, RADIUS));
            assert!(moved < out(0.0));
        }
    }

    #[test]
    fn no_logged_action_fell() {
        let data = logged(3).unwrap();
        assert_eq!(data.len(), ROWS);
        let far = (0..data.len()).map(|i| {
            let a = data.action(i);
            distance(f64::from(data.obs(i)[0]), [a[0].into(), a[1].into()])
        });
        let far = far.fold(0.0, f64::max);
        assert!(far < 0.6 * LEDGE, "{far}");
        assert!((0..data.len()).all(|i| data.reward(i) > 0.0 && data.terminal(i)));
    }
}
