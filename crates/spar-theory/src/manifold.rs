//! Manifolds whose geometry is known: points, tangents, nearest points, curvature.
//!
//! Each is embedded in its own few dimensions, scaled and turned at random into a
//! larger space, where most directions are normal to it, as most directions of an
//! action space are to the actions in a data set.

use nalgebra::{DMatrix, DVector};
use spar_core::Stream;

/// A manifold in `R^ambient`.
#[derive(Clone, Debug)]
pub struct Manifold {
    /// What it is called in tables.
    pub name: &'static str,
    surface: Surface,
    /// `[ambient, local]`, orthonormal columns.
    frame: DMatrix<f64>,
}

/// A point of a manifold.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// In the manifold's own coordinates.
    param: Vec<f64>,
    /// In `R^ambient`.
    pub at: DVector<f64>,
}

#[derive(Clone, Debug)]
enum Surface {
    /// Radius; the parameter is an angle.
    Circle(f64),
    /// Radius; the parameter is a unit vector of `R^3`.
    Sphere(f64),
    /// Radius of the middle line and of the tube; two angles.
    Torus(f64, f64),
    /// `(u, f(u))` of `u` in the plane.
    Graph(Vec<Wave>),
}

/// `amplitude sin(frequency . u + phase)`, added to one component of a graph.
#[derive(Clone, Debug)]
struct Wave {
    component: usize,
    amplitude: f64,
    frequency: [f64; 2],
    phase: f64,
}

/// Dimensions of a graph's plane and of its values.
const PLANE: usize = 2;
const VALUES: usize = 2;

impl Manifold {
    /// The circle of radius 0.7, the sphere of radius 0.7, the torus of radii 0.8
    /// and 0.3, and a graph of random waves over the plane, each turned at random
    /// into `R^ambient`, at least 4 wide.
    pub fn all(ambient: usize, seed: u64) -> Vec<Self> {
        let mut stream = Stream::new(seed, "theory/manifold");
        let wave = |component| Wave {
            component,
            amplitude: stream.uniform(0.05, 0.15),
            frequency: [stream.uniform(-2.0, 2.0), stream.uniform(-2.0, 2.0)],
            phase: stream.uniform(0.0, std::f64::consts::TAU),
        };
        let waves = (0..3 * VALUES).map(|i| i % VALUES).map(wave).collect();
        [
            ("circle", Surface::Circle(0.7)),
            ("sphere", Surface::Sphere(0.7)),
            ("torus", Surface::Torus(0.8, 0.3)),
            ("graph", Surface::Graph(waves)),
        ]
        .into_iter()
        .map(|(name, surface)| {
            let mut stream = Stream::new(seed, &format!("theory/manifold/{name}"));
            let frame = orthonormal(ambient, surface.local(), &mut stream);
            Self {
                name,
                surface,
                frame,
            }
        })
        .collect()
    }

    /// Its own dimension.
    pub fn dim(&self) -> usize {
        match self.surface {
            Surface::Circle(_) => 1,
            _ => 2,
        }
    }

    /// Width of a point.
    pub fn ambient(&self) -> usize {
        self.frame.nrows()
    }

    /// A bound `kappa` of its normal curvature, `|II(v, v)| <= kappa |v|^2`: exact but
    /// for the graph, where it is `sup |D^2 f|` bounded wave by wave.
    ///
    /// The reach of each is at least `1 / kappa`: for circle, sphere and torus
    /// (whose hole is wider than its tube) it is known, and a graph obeys
    /// `(x - m) . n <= kappa/2 |x - m|^2` for all its points `x`, `m` and unit
    /// normals `n` at `m`, which is Federer's criterion (1959, theorem 4.18).
    pub fn curvature(&self) -> f64 {
        match &self.surface {
            Surface::Circle(r) | Surface::Sphere(r) => 1.0 / r,
            Surface::Torus(major, minor) => (1.0 / minor).max(1.0 / (major - minor)),
            Surface::Graph(waves) => {
                let mut bound = [0.0; VALUES];
                for wave in waves {
                    let [x, y] = wave.frequency;
                    bound[wave.component] += wave.amplitude * (x * x + y * y);
                }
                bound.iter().map(|b| b * b).sum::<f64>().sqrt()
            }
        }
    }

    /// A point drawn at random, not uniformly.
    pub fn sample(&self, stream: &mut Stream) -> Point {
        let tau = std::f64::consts::TAU;
        self.point(match &self.surface {
            Surface::Circle(_) => vec![stream.uniform(0.0, tau)],
            Surface::Sphere(_) => unit(&gaussian(3, stream)).data.into(),
            Surface::Torus(..) => vec![stream.uniform(0.0, tau), stream.uniform(0.0, tau)],
            Surface::Graph(_) => vec![stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0)],
        })
    }

    /// A point drawn about as far as `spread` from `near`, at most a few times that.
    pub fn neighbour(&self, near: &Point, spread: f64, stream: &mut Stream) -> Point {
        let mut step = || spread * stream.normal().clamp(-2.0, 2.0);
        let p = &near.param;
        self.point(match &self.surface {
            Surface::Circle(r) => vec![p[0] + step() / r],
            Surface::Sphere(r) => {
                let at = DVector::from_column_slice(p);
                let aside = DVector::from_iterator(3, (0..3).map(|_| step() / r));
                let aside = &aside - &at * at.dot(&aside);
                let angle = aside.norm().max(f64::MIN_POSITIVE);
                (&at * angle.cos() + aside * (angle.sin() / angle))
                    .data
                    .into()
            }
            Surface::Torus(major, minor) => {
                let around = major + minor * p[1].cos();
                vec![p[0] + step() / around, p[1] + step() / minor]
            }
            Surface::Graph(_) => vec![p[0] + step(), p[1] + step()],
        })
    }

    fn point(&self, param: Vec<f64>) -> Point {
        let at = &self.frame * self.surface.embed(&param);
        Point { param, at }
    }

    /// An orthonormal basis of the tangent space at `point`, `[ambient, dim]`.
    pub fn tangent(&self, point: &Point) -> DMatrix<f64> {
        let jacobian = &self.frame * self.surface.jacobian(&point.param);
        jacobian.qr().q()
    }

    /// A unit tangent and a unit normal vector at `point`, drawn at random.
    pub fn directions(&self, point: &Point, stream: &mut Stream) -> (DVector<f64>, DVector<f64>) {
        let basis = self.tangent(point);
        let tangent = &basis * gaussian(self.dim(), stream);
        let any = gaussian(self.ambient(), stream);
        let normal = &any - &basis * (basis.transpose() * &any);
        (unit(&tangent), unit(&normal))
    }

    /// The nearest point of the manifold to `y`, which must not be as far from it as
    /// its reach; of the graph, the critical point that Newton's method finds from
    /// the foot of `y`.
    pub fn nearest(&self, y: &DVector<f64>) -> Point {
        self.point(self.surface.nearest(&(self.frame.transpose() * y)))
    }

    /// Distance of `y` from the manifold, with [`Self::nearest`]'s condition.
    pub fn distance(&self, y: &DVector<f64>) -> f64 {
        (y - self.nearest(y).at).norm()
    }
}

impl Surface {
    fn local(&self) -> usize {
        match self {
            Self::Circle(_) => 2,
            Self::Sphere(_) | Self::Torus(..) => 3,
            Self::Graph(_) => PLANE + VALUES,
        }
    }

    fn embed(&self, p: &[f64]) -> DVector<f64> {
        DVector::from_vec(match self {
            Self::Circle(r) => vec![r * p[0].cos(), r * p[0].sin()],
            Self::Sphere(r) => p.iter().map(|x| r * x).collect(),
            Self::Torus(major, minor) => {
                let around = major + minor * p[1].cos();
                vec![around * p[0].cos(), around * p[0].sin(), minor * p[1].sin()]
            }
            Self::Graph(waves) => {
                let mut at = vec![p[0], p[1], 0.0, 0.0];
                for wave in waves {
                    at[PLANE + wave.component] += wave.amplitude * wave.angle(p).sin();
                }
                at
            }
        })
    }

    /// `[local, dim]`: columns that span the tangent space.
    fn jacobian(&self, p: &[f64]) -> DMatrix<f64> {
        match self {
            Self::Circle(_) => DMatrix::from_column_slice(2, 1, &[-p[0].sin(), p[0].cos()]),
            Self::Sphere(_) => {
                // The two axes that lie least along the normal.
                let at = DVector::from_column_slice(p);
                let along = at.iamax();
                let mut jacobian = DMatrix::zeros(3, 2);
                for (column, axis) in (0..3).filter(|&axis| axis != along).enumerate() {
                    let mut e = DVector::zeros(3);
                    e[axis] = 1.0;
                    jacobian.set_column(column, &(&e - &at * at.dot(&e)));
                }
                jacobian
            }
            Self::Torus(major, minor) => {
                let (around, sin, cos) = (major + minor * p[1].cos(), p[0].sin(), p[0].cos());
                let (up, out) = (minor * p[1].cos(), -minor * p[1].sin());
                DMatrix::from_column_slice(
                    3,
                    2,
                    &[-around * sin, around * cos, 0.0, out * cos, out * sin, up],
                )
            }
            Self::Graph(waves) => {
                let mut jacobian = DMatrix::zeros(PLANE + VALUES, PLANE);
                jacobian[(0, 0)] = 1.0;
                jacobian[(1, 1)] = 1.0;
                for wave in waves {
                    let slope = wave.amplitude * wave.angle(p).cos();
                    for (j, frequency) in wave.frequency.iter().enumerate() {
                        jacobian[(PLANE + wave.component, j)] += slope * frequency;
                    }
                }
                jacobian
            }
        }
    }

    fn nearest(&self, y: &DVector<f64>) -> Vec<f64> {
        match self {
            Self::Circle(_) => vec![y[1].atan2(y[0])],
            Self::Sphere(_) => unit(y).data.into(),
            Self::Torus(major, _) => {
                let out = y[0].hypot(y[1]) - major;
                vec![y[1].atan2(y[0]), y[2].atan2(out)]
            }
            Self::Graph(waves) => self.newton(waves, y),
        }
    }

    /// A zero of the gradient of `|x(u) - y|^2 / 2`.
    fn newton(&self, waves: &[Wave], y: &DVector<f64>) -> Vec<f64> {
        let mut u = vec![y[0], y[1]];
        for _ in 0..50 {
            let error = self.embed(&u) - y;
            let jacobian = self.jacobian(&u);
            let gradient = jacobian.transpose() * &error;
            let mut hessian = jacobian.transpose() * jacobian;
            for wave in waves {
                let bend = -wave.amplitude * wave.angle(&u).sin() * error[PLANE + wave.component];
                for i in 0..PLANE {
                    for j in 0..PLANE {
                        hessian[(i, j)] += bend * wave.frequency[i] * wave.frequency[j];
                    }
                }
            }
            let Some(step) = hessian.lu().solve(&gradient) else {
                break;
            };
            u.iter_mut().zip(step.iter()).for_each(|(u, s)| *u -= s);
            if step.norm() < 1e-14 {
                break;
            }
        }
        u
    }
}

impl Wave {
    fn angle(&self, u: &[f64]) -> f64 {
        self.frequency[0] * u[0] + self.frequency[1] * u[1] + self.phase
    }
}

/// `n` standard normal draws.
pub(crate) fn gaussian(n: usize, stream: &mut Stream) -> DVector<f64> {
    DVector::from_iterator(n, (0..n).map(|_| stream.normal()))
}

/// `v` at length one.
pub(crate) fn unit(v: &DVector<f64>) -> DVector<f64> {
    v / v.norm()
}

/// A random `[rows, columns]` matrix of orthonormal columns.
fn orthonormal(rows: usize, columns: usize, stream: &mut Stream) -> DMatrix<f64> {
    let draws = (0..rows * columns).map(|_| stream.normal());
    DMatrix::from_iterator(rows, columns, draws).qr().q()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(mut check: impl FnMut(&Manifold, &Point, &mut Stream)) {
        for manifold in Manifold::all(7, 3) {
            let mut stream = Stream::new(5, manifold.name);
            for _ in 0..50 {
                let point = manifold.sample(&mut stream);
                check(&manifold, &point, &mut stream);
            }
        }
    }

    #[test]
    fn tangents_are_those_of_finite_differences() {
        each(|manifold, point, stream| {
            let basis = manifold.tangent(point);
            let gram = basis.transpose() * &basis;
            let identity = DMatrix::identity(manifold.dim(), manifold.dim());
            assert!((gram - identity).norm() < 1e-12);
            let near = manifold.neighbour(point, 1e-6, stream);
            let step = &near.at - &point.at;
            let normal = &step - &basis * (basis.transpose() * &step);
            assert!(normal.norm() < 1e-5 * step.norm(), "{}", manifold.name);
            let (tangent, normal) = manifold.directions(point, stream);
            assert!((basis.transpose() * &normal).norm() < 1e-12);
            assert!((&tangent - &basis * (basis.transpose() * &tangent)).norm() < 1e-12);
        });
    }

    #[test]
    fn a_point_moved_along_a_normal_comes_back_from_just_so_far() {
        each(|manifold, point, stream| {
            let (_, normal) = manifold.directions(point, stream);
            let off = 0.3 / manifold.curvature();
            let moved = &point.at + normal * off;
            assert!(
                (manifold.distance(&moved) - off).abs() < 1e-10,
                "{}",
                manifold.name
            );
            assert!((manifold.nearest(&moved).at - &point.at).norm() < 1e-9);
            assert!(manifold.distance(&point.at) < 1e-12);
        });
    }

    /// The normal part of a short chord is half the curvature times its square.
    #[test]
    fn no_chord_bends_more_than_the_curvature_says() {
        let mut greatest = std::collections::BTreeMap::new();
        each(|manifold, point, stream| {
            let basis = manifold.tangent(point);
            let near = manifold.neighbour(point, 1e-3, stream);
            let step = &near.at - &point.at;
            let normal = (&step - &basis * (basis.transpose() * &step)).norm();
            let bend = 2.0 * normal / step.norm_squared() / manifold.curvature();
            assert!(bend < 1.0 + 1e-3, "{}: {bend}", manifold.name);
            let most = greatest.entry(manifold.name).or_insert(0.0);
            *most = f64::max(*most, bend);
        });
        // Exact where the bound is; the torus bends most around its tube.
        for name in ["circle", "sphere", "torus"] {
            assert!(greatest[name] > 0.9, "{name}: {}", greatest[name]);
        }
    }
}
