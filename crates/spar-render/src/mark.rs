//! What a picture consists of.

/// One thing in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Its outline, in points: `x` to the right, `y` down.
    pub form: Form,
    /// Its colour.
    pub paint: Paint,
}

/// An outline.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// A line with round ends.
    Line {
        /// Where it begins.
        from: [f64; 2],
        /// Where it ends.
        to: [f64; 2],
        /// How thick it is.
        width: f64,
    },
    /// A disc.
    Disc {
        /// Its middle.
        at: [f64; 2],
        /// Its radius.
        radius: f64,
    },
    /// A convex polygon.
    Polygon(Vec<[f64; 2]>),
}

/// What a mark is, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Lines on the floor.
    Floor,
    /// What stands in the world.
    World,
    /// Where to get to.
    Goal,
    /// The first part of what moves.
    Trunk,
    /// The first half of the other parts.
    Limb,
    /// The second half: told from the first by colour-blind readers too.
    OtherLimb,
}

/// What is behind everything.
pub(crate) const BACKGROUND: [u8; 3] = [0xff, 0xff, 0xff];

impl Paint {
    /// Every paint there is.
    pub(crate) const ALL: [Self; 6] = [
        Self::Floor,
        Self::World,
        Self::Goal,
        Self::Trunk,
        Self::Limb,
        Self::OtherLimb,
    ];

    /// Red, green and blue.
    pub(crate) fn color(self) -> [u8; 3] {
        match self {
            Self::Floor => [0xc8, 0xcc, 0xd0],
            Self::World => [0xdd, 0xdf, 0xe2],
            Self::Goal => [0x8f, 0xcb, 0xa8],
            Self::Trunk => [0x3c, 0x44, 0x4d],
            Self::Limb => [0xd5, 0x8a, 0x2f],
            Self::OtherLimb => [0x2f, 0x76, 0xb5],
        }
    }

    /// The same as `#rrggbb`.
    pub(crate) fn hex(self) -> String {
        let [r, g, b] = self.color();
        format!("#{r:02x}{g:02x}{b:02x}")
    }
}

impl Form {
    /// The same, moved.
    pub(crate) fn moved(&self, by: [f64; 2]) -> Self {
        let moved = |at: &[f64; 2]| [at[0] + by[0], at[1] + by[1]];
        match self {
            Self::Line { from, to, width } => Self::Line {
                from: moved(from),
                to: moved(to),
                width: *width,
            },
            Self::Disc { at, radius } => Self::Disc {
                at: moved(at),
                radius: *radius,
            },
            Self::Polygon(corners) => Self::Polygon(corners.iter().map(moved).collect()),
        }
    }

    /// The least and the greatest `x` and `y`.
    pub(crate) fn extent(&self) -> [[f64; 2]; 2] {
        let around = |at: &[f64; 2], r: f64| [[at[0] - r, at[1] - r], [at[0] + r, at[1] + r]];
        match self {
            Self::Line { from, to, width } => {
                union(around(from, width / 2.0), around(to, width / 2.0))
            }
            Self::Disc { at, radius } => around(at, *radius),
            Self::Polygon(corners) => corners
                .iter()
                .fold(NOTHING, |all, corner| union(all, around(corner, 0.0))),
        }
    }
}

/// The extent of nothing.
pub(crate) const NOTHING: [[f64; 2]; 2] = [[f64::INFINITY; 2], [f64::NEG_INFINITY; 2]];

/// The extent of two things.
pub(crate) fn union(a: [[f64; 2]; 2], b: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    let both = |i: usize, j: usize, pick: fn(f64, f64) -> f64| pick(a[i][j], b[i][j]);
    [
        [both(0, 0, f64::min), both(0, 1, f64::min)],
        [both(1, 0, f64::max), both(1, 1, f64::max)],
    ]
}
