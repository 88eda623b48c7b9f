//! What an environment looks like: solids in the world, for whoever draws it.
//!
//! Drawing is not this crate's business, but where things are is: only here is MuJoCo known.

/// An environment as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// From where it is best seen.
    pub view: View,
    /// Simulated seconds of one step.
    pub step_seconds: f64,
    /// What there is to see, in the model's order.
    pub solids: Vec<Solid>,
}

/// From where a scene is best seen. `z` is up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    /// What moves in the plane of `x` and `z` is seen from the side, and followed.
    Side,
    /// What moves in the plane of `x` and `y` is seen from above, all of it.
    Above,
    /// What moves in space is seen from above at a slant, and followed if it walks.
    Slant {
        /// Whether the first thing that moves is followed.
        follow: bool,
    },
}

/// A solid in the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Solid {
    /// Its shape.
    pub shape: Shape,
    /// What it is in the scene.
    pub role: Role,
    /// Its middle, in metres.
    pub position: [f64; 3],
    /// Its rotation, row by row: the third column is the direction of a capsule's or a
    /// cylinder's axis, and the normal of a plane.
    pub rotation: [f64; 9],
}

/// The shape of a solid, around its middle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A plane without bounds.
    Plane,
    /// A ball.
    Sphere {
        /// In metres.
        radius: f64,
    },
    /// Two half balls around a cylinder.
    Capsule {
        /// Of the balls.
        radius: f64,
        /// Half the distance of their middles.
        half: f64,
    },
    /// An upright cylinder.
    Cylinder {
        /// Of its circle.
        radius: f64,
        /// Half its height.
        half: f64,
    },
    /// An ellipsoid.
    Ellipsoid {
        /// Its half axes.
        half: [f64; 3],
    },
    /// A box; a mesh is the box around it.
    Box {
        /// Half its sides.
        half: [f64; 3],
    },
}

/// What a solid is in its scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It belongs to the world: floor, walls.
    World,
    /// It moves.
    Body,
    /// It is no solid of the simulation: where to get to.
    Goal,
}

impl Solid {
    /// A disc on the floor at `x`, `y` that says where to get to.
    pub(crate) fn goal(x: f64, y: f64, radius: f64) -> Self {
        Self {
            shape: Shape::Cylinder { radius, half: 0.0 },
            role: Role::Goal,
            position: [x, y, 0.0],
            rotation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        }
    }
}
