//! From the world to a picture: a parallel projection.

use spar_env::{Shape, Solid, View};

use crate::mark::Form;

/// Where one looks from: the directions in the world that are right, up and towards the eye in
/// the picture. All three are of length one and at right angles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    right: [f64; 3],
    up: [f64; 3],
    near: [f64; 3],
}

/// How far round and how far down a slanted view looks, in radians.
const ROUND: f64 = -1.05;
const DOWN: f64 = 0.6;

/// Directions by which a round outline is drawn.
const CORNERS: usize = 24;

impl Camera {
    /// The one from which `view` is seen.
    pub fn of(view: View) -> Self {
        match view {
            View::Side => Self {
                right: [1.0, 0.0, 0.0],
                up: [0.0, 0.0, 1.0],
                near: [0.0, -1.0, 0.0],
            },
            View::Above => Self {
                right: [1.0, 0.0, 0.0],
                up: [0.0, 1.0, 0.0],
                near: [0.0, 0.0, 1.0],
            },
            View::Slant { .. } => {
                let ((sin_round, cos_round), (sin_down, cos_down)) =
                    (ROUND.sin_cos(), DOWN.sin_cos());
                Self {
                    right: [-sin_round, cos_round, 0.0],
                    up: [-sin_down * cos_round, -sin_down * sin_round, cos_down],
                    near: [cos_down * cos_round, cos_down * sin_round, sin_down],
                }
            }
        }
    }

    /// Where the point `at` of the world is, in metres to the right and down.
    pub fn point(&self, at: [f64; 3]) -> [f64; 2] {
        [dot(self.right, at), -dot(self.up, at)]
    }

    /// How near the point `at` is.
    pub(crate) fn nearness(&self, at: [f64; 3]) -> f64 {
        dot(self.near, at)
    }

    /// The outline of `solid`, in metres to the right and down; `None` of a plane.
    pub fn outline(&self, solid: &Solid) -> Option<Form> {
        let at = self.point(solid.position);
        let axis = |i: usize| {
            let r = &solid.rotation;
            self.point([r[i], r[3 + i], r[6 + i]])
        };
        let along = |half: f64| {
            let [dx, dy] = axis(2);
            [half * dx, half * dy]
        };
        match solid.shape {
            Shape::Plane => None,
            Shape::Sphere { radius } => Some(Form::Disc { at, radius }),
            Shape::Capsule { radius, half } => {
                let [dx, dy] = along(half);
                Some(Form::Line {
                    from: [at[0] - dx, at[1] - dy],
                    to: [at[0] + dx, at[1] + dy],
                    width: 2.0 * radius,
                })
            }
            Shape::Cylinder { radius, half } => {
                let end = along(half);
                Some(round(at, |n| {
                    let [x, y] = farthest(&[axis(0), axis(1)], [radius, radius], n);
                    let side = if end[0] * n[0] + end[1] * n[1] < 0.0 {
                        -1.0
                    } else {
                        1.0
                    };
                    [x + side * end[0], y + side * end[1]]
                }))
            }
            Shape::Ellipsoid { half } => Some(round(at, |n| {
                farthest(&[axis(0), axis(1), axis(2)], half, n)
            })),
            Shape::Box { half } => {
                let mut corners = Vec::with_capacity(8);
                for corner in 0..8u8 {
                    let mut point = at;
                    for (i, half) in half.iter().enumerate() {
                        let sign = if corner >> i & 1 == 0 { -1.0 } else { 1.0 };
                        let [x, y] = axis(i);
                        point = [point[0] + sign * half * x, point[1] + sign * half * y];
                    }
                    corners.push(point);
                }
                Some(Form::Polygon(hull(corners)))
            }
        }
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The point farthest in direction `n` of what the unit ball becomes with these axes, each as
/// long as its half.
fn farthest<const N: usize>(axes: &[[f64; 2]; N], half: [f64; N], n: [f64; 2]) -> [f64; 2] {
    let parts = axes.iter().zip(half).map(|(axis, half)| {
        let across = axis[0] * n[0] + axis[1] * n[1];
        (half * half * across, axis, half * across)
    });
    let length = parts.clone().map(|(_, _, x)| x * x).sum::<f64>().sqrt();
    parts.fold([0.0; 2], |sum, (weight, axis, _)| match length > 0.0 {
        true => [
            sum[0] + weight * axis[0] / length,
            sum[1] + weight * axis[1] / length,
        ],
        false => sum,
    })
}

/// The outline around `at` whose farthest point in each direction is `farthest`'s.
fn round(at: [f64; 2], farthest: impl Fn([f64; 2]) -> [f64; 2]) -> Form {
    let corner = |i: usize| {
        let angle = std::f64::consts::TAU * i as f64 / CORNERS as f64;
        let [x, y] = farthest([angle.cos(), angle.sin()]);
        [at[0] + x, at[1] + y]
    };
    Form::Polygon((0..CORNERS).map(corner).collect())
}

/// The convex hull of `points`, by Andrew's monotone chain.
fn hull(mut points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    points.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let turn = |a: [f64; 2], b: [f64; 2], c: [f64; 2]| {
        (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    };
    let chain = |points: &mut dyn Iterator<Item = [f64; 2]>| {
        let mut chain: Vec<[f64; 2]> = Vec::new();
        for point in points {
            while let [.., a, b] = chain[..]
                && turn(a, b, point) <= 1e-12
            {
                chain.pop();
            }
            chain.push(point);
        }
        chain.pop();
        chain
    };
    let mut lower = chain(&mut points.iter().copied());
    lower.extend(chain(&mut points.iter().rev().copied()));
    lower
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use spar_env::Role;

    use super::*;

    fn solid(shape: Shape) -> Solid {
        Solid {
            shape,
            role: Role::Body,
            position: [1.0, 2.0, 3.0],
            rotation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        }
    }

    #[test]
    fn directions_are_of_length_one_and_at_right_angles() {
        for view in [View::Side, View::Above, View::Slant { follow: true }] {
            let Camera { right, up, near } = Camera::of(view);
            for direction in [right, up, near] {
                assert!((dot(direction, direction) - 1.0).abs() < 1e-12, "{view:?}");
            }
            for (a, b) in [(right, up), (up, near), (near, right)] {
                assert!(dot(a, b).abs() < 1e-12, "{view:?}");
            }
        }
    }

    /// A capsule that is turned by a quarter about `y` lies along `x`.
    #[test]
    fn a_capsule_is_a_line_between_the_middles_of_its_balls() {
        let mut capsule = solid(Shape::Capsule {
            radius: 0.2,
            half: 0.5,
        });
        let side = Camera::of(View::Side);
        let upright = Form::Line {
            from: [1.0, -2.5],
            to: [1.0, -3.5],
            width: 0.4,
        };
        assert_eq!(side.outline(&capsule), Some(upright));
        capsule.rotation = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0];
        let lying = Form::Line {
            from: [0.5, -3.0],
            to: [1.5, -3.0],
            width: 0.4,
        };
        assert_eq!(side.outline(&capsule), Some(lying));
        assert_eq!(
            Camera::of(View::Above).outline(&solid(Shape::Capsule {
                radius: 0.2,
                half: 0.5
            })),
            Some(Form::Line {
                from: [1.0, -2.0],
                to: [1.0, -2.0],
                width: 0.4
            })
        );
        assert_eq!(side.outline(&solid(Shape::Plane)), None);
    }

    #[test]
    fn boxes_cylinders_and_ellipsoids_reach_as_far_as_they_do() {
        let side = Camera::of(View::Side);
        let half = [0.5, 0.25, 0.75];
        for (shape, [x, z]) in [
            (Shape::Box { half }, [0.5, 0.75]),
            (Shape::Ellipsoid { half }, [0.5, 0.75]),
            (
                Shape::Cylinder {
                    radius: 0.3,
                    half: 0.75,
                },
                [0.3, 0.75],
            ),
        ] {
            let [low, high] = side.outline(&solid(shape)).unwrap().extent();
            for (got, expected) in [(low, [1.0 - x, -3.0 - z]), (high, [1.0 + x, -3.0 + z])] {
                let off = (got[0] - expected[0]).abs() + (got[1] - expected[1]).abs();
                assert!(off < 1e-9, "{shape:?}: {got:?}, expected {expected:?}");
            }
        }
        let slant = Camera::of(View::Slant { follow: false });
        let Some(Form::Polygon(corners)) = slant.outline(&solid(Shape::Box { half })) else {
            panic!("a box has corners");
        };
        assert_eq!(corners.len(), 6, "three faces of a box are seen");
    }
}
