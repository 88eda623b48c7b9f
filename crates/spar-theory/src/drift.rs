//! Claim 1, normal drift: a step along a value gradient leaves the manifold to first
//! order, Latent Self-Imitation's target only to second.
//!
//! # Hypothesis
//! Let an action `x` lie on the manifold `M` of supported actions, and let the
//! value have the gradient `g = t + nu n` there, `t` a unit tangent and `n` a unit
//! normal. Then the distance from `M` after one update is
//! (a) `eta nu + O(eta^2)` for the value-gradient step `x + eta g`;
//! (b) of the same order for TD3+BC's combined step;
//! (c) `O(kappa h^2)`, whatever `nu` is, for the target `Delta* = sum_k w_k Delta_k` of
//! K candidates on `M` that lie `h` apart (the paper's theorem 4.1).
//!
//! # Method
//! On circle, sphere, torus and a random graph in `R^8` ([`Manifold`]), with their exact
//! nearest points. (b) is `x - eta (2 (x - a) / A - lambda g)`, the gradient of
//! `mean (pi - a)^2 - lambda Q` in an action of A components, `lambda = alpha / mean |Q|`
//! with the authors' `alpha = 2.5` and values of mean size one, and `a` a data action
//! near `x`. (c) has K = 8 candidates drawn around `x`, valued by `g . (x_k - x)`,
//! and weighted by this project's own [`spar_kernels::value::imitation`] at its
//! temperature 0.3, all states in one call as in training. Its single precision is
//! part of what is measured. An update of SPAR moves every candidate by a
//! learning rate times `Delta* - Delta_k`: so (c) bounds where updates lead; each
//! lies along a chord.
//!
//! # Sizes
//! [`Sizes::states`] base points on each manifold. `eta` and `h` are 4 and 5 levels
//! between 0.3% and 10%, and 2% and 32%, of the reach `1 / kappa`; `nu` is 1, or four
//! levels from 0.1 to 3 at `eta` 0.3% of the reach (`h` at 8%).
//!
//! # Estimator
//! [`crate::fit::exponent`] of the mean distance: least squares on logarithms, with a
//! 95% bootstrap interval over base points.
//!
//! # Verdict
//! Of each exponent: `supported` if its interval lies within the bounds below,
//! `not supported` if it lies outside of them altogether, else `inconclusive`:
//! (a) and (b) in the step and in `nu`: `[0.9, 1.1]`; (c) in the spread:
//! `[1.8, 2.2]`, in `nu`: `[-0.2, 0.2]`. The claim is the worst of them.
//!
//! # Controls
//! Candidates that themselves lie off `M` by as much as they are apart (an updater
//! built to drift) must fail (c); a gradient without normal component must fail (a);
//! and on a circle the drift must be the analytic `sqrt((r + eta nu)^2 + eta^2) - r`.

use nalgebra::DVector;
use spar_core::Stream;
use spar_kernels::value::{Imitation, Weighting, imitation};
use spar_stats::Estimate;

use crate::{
    Claim, Control, Figure, Finding, Line, Sizes, TheoryError, Verdict,
    fit::{Levels, exponent},
    manifold::{Manifold, Point},
};

/// Width of an action.
const AMBIENT: usize = 8;
/// K and T of `suites/mujoco.toml`.
const CANDIDATES: usize = 8;
const TEMPERATURE: f32 = 0.3;
/// TD3+BC's weight of the value.
const ALPHA: f64 = 2.5;
/// How far a data action lies from the policy's, in parts of the reach.
const DATA_SPREAD: f64 = 0.1;
/// Levels of a gradient step and of the candidates' spread, in parts of the reach.
const STEPS: [f64; 4] = [0.003, 0.01, 0.03, 0.1];
const SPREADS: [f64; 5] = [0.02, 0.04, 0.08, 0.16, 0.32];
const NORMALS: [f64; 4] = [0.1, 0.3, 1.0, 3.0];

/// One way of changing an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updater {
    /// (a): a step along the value's gradient.
    ValueGradient,
    /// (b): TD3+BC's combined step.
    Td3Bc,
    /// (c): to the self-imitation target.
    Imitation,
    /// A control: to the target of candidates that lie off the manifold.
    Drifting,
}

/// An action on a manifold and the directions of its value's gradient.
#[derive(Clone, Debug)]
pub struct Base {
    /// The action.
    pub point: Point,
    /// Unit tangent part of the gradient.
    pub tangent: DVector<f64>,
    /// Unit normal part, before it is multiplied by `nu`.
    pub normal: DVector<f64>,
}

impl Base {
    /// `n` of them, at random.
    pub fn draw(manifold: &Manifold, n: usize, stream: &mut Stream) -> Vec<Self> {
        let base = |_| {
            let point = manifold.sample(stream);
            let (tangent, normal) = manifold.directions(&point, stream);
            Self {
                point,
                tangent,
                normal,
            }
        };
        (0..n).map(base).collect()
    }
}

/// Distance from the manifold of each base after one update; `step` is the step
/// size or the candidates' spread, `nu` the normal component of the gradient, whose
/// tangent component is one. The same `seed` gives the same draws at every level.
pub fn distances(
    manifold: &Manifold,
    bases: &[Base],
    updater: Updater,
    step: f64,
    nu: f64,
    seed: u64,
) -> Vec<f64> {
    let mut stream = Stream::new(seed, &format!("theory/drift/{}", manifold.name));
    let gradient = |base: &Base| &base.tangent + &base.normal * nu;
    match updater {
        Updater::ValueGradient => bases
            .iter()
            .map(|base| manifold.distance(&(&base.point.at + gradient(base) * step)))
            .collect(),
        Updater::Td3Bc => bases
            .iter()
            .map(|base| {
                let spread = DATA_SPREAD / manifold.curvature();
                let data = manifold.neighbour(&base.point, spread, &mut stream);
                let cloning = (&base.point.at - data.at) * (2.0 / manifold.ambient() as f64);
                let moved = &base.point.at - (cloning - gradient(base) * ALPHA) * step;
                manifold.distance(&moved)
            })
            .collect(),
        Updater::Imitation | Updater::Drifting => {
            let off = if updater == Updater::Drifting {
                step
            } else {
                0.0
            };
            let (mut candidates, mut q) = (Vec::new(), Vec::new());
            for base in bases {
                for _ in 0..CANDIDATES {
                    let near = manifold.neighbour(&base.point, step, &mut stream);
                    let residual = near.at + &base.normal * off - &base.point.at;
                    q.push(gradient(base).dot(&residual) as f32);
                    candidates.extend(residual.iter().map(|x| *x as f32));
                }
            }
            let mut found = Imitation::default();
            imitation(
                &candidates,
                &q,
                CANDIDATES,
                Weighting::scale_free(TEMPERATURE),
                &mut found,
            );
            let targets = found.target().chunks_exact(manifold.ambient());
            let distance = |(base, target): (&Base, &[f32])| {
                let target = target.iter().map(|x| f64::from(*x));
                let moved = DVector::from_iterator(manifold.ambient(), target);
                manifold.distance(&(&base.point.at + moved))
            };
            bases.iter().zip(targets).map(distance).collect()
        }
    }
}

/// What an interval says of the claim that a number lies within `[low, high]`.
pub fn within(found: &Estimate, low: f64, high: f64) -> Verdict {
    let interval = found.interval;
    if low <= interval.low && interval.high <= high {
        Verdict::Supported
    } else if interval.high < low || interval.low > high {
        Verdict::NotSupported
    } else {
        Verdict::Inconclusive
    }
}

struct Measured<'a> {
    manifold: &'a Manifold,
    bases: &'a [Base],
    seed: u64,
}

impl Measured<'_> {
    /// Levels of the step, in parts of the reach.
    fn steps(&self, updater: Updater, nu: f64) -> Levels {
        let reach = 1.0 / self.manifold.curvature();
        let parts: &[f64] = match updater {
            Updater::ValueGradient | Updater::Td3Bc => &STEPS,
            Updater::Imitation | Updater::Drifting => &SPREADS,
        };
        let at: Vec<f64> = parts.iter().map(|part| part * reach).collect();
        let measured = at.iter().map(|&step| self.at(updater, step, nu)).collect();
        Levels { at, measured }
    }

    fn normals(&self, updater: Updater) -> Levels {
        let part = match updater {
            Updater::ValueGradient | Updater::Td3Bc => STEPS[0],
            Updater::Imitation | Updater::Drifting => SPREADS[2],
        };
        let step = part / self.manifold.curvature();
        Levels {
            at: NORMALS.to_vec(),
            measured: NORMALS.map(|nu| self.at(updater, step, nu)).to_vec(),
        }
    }

    fn at(&self, updater: Updater, step: f64, nu: f64) -> Vec<f64> {
        distances(self.manifold, self.bases, updater, step, nu, self.seed)
    }
}

/// Puts claim 1 to the test; see the module's documentation.
///
/// # Errors
/// If a mean distance is zero, so that no exponent can be fitted.
pub fn drift(sizes: &Sizes, seed: u64) -> Result<Claim, TheoryError> {
    let (mut findings, mut lines, mut controls) = (Vec::new(), Vec::new(), Vec::new());
    let mut of_imitation = Vec::new();
    for manifold in &Manifold::all(AMBIENT, seed) {
        let name = manifold.name;
        let mut stream = Stream::new(seed, &format!("theory/drift/{name}/bases"));
        let bases = Base::draw(manifold, sizes.states, &mut stream);
        let measured = Measured {
            manifold,
            bases: &bases,
            seed,
        };
        for (updater, words, step, first, normal) in [
            (
                Updater::ValueGradient,
                "(a) value gradient",
                "step size",
                1.0,
                1.0,
            ),
            (Updater::Td3Bc, "(b) TD3+BC", "step size", 1.0, 1.0),
            (
                Updater::Imitation,
                "(c) self-imitation",
                "candidates' spread",
                2.0,
                0.0,
            ),
        ] {
            let slack = |order: f64| if order == 1.0 { 0.1 } else { 0.2 };
            let levels = measured.steps(updater, 1.0);
            let mut verdict_of = |quantity: &str, levels: &Levels, order: f64| {
                let what = format!("{words}, {name}: exponent in the {quantity}");
                let found = exponent(&what, levels, seed)?;
                let verdict = within(&found, order - slack(order), order + slack(order));
                let expected = format!("{order:.0}");
                findings.push(Finding::estimate(what, &found, &expected).with_verdict(verdict));
                Ok::<_, TheoryError>(found)
            };
            let found = verdict_of(step, &levels, first)?;
            verdict_of("normal component", &measured.normals(updater), normal)?;
            if updater == Updater::Imitation {
                of_imitation.push(found.value);
            }
            if updater == Updater::Imitation || name == "torus" {
                lines.push(Line {
                    name: format!("{words}, {name}"),
                    points: levels.means(),
                    slope: Some(first),
                });
            }
        }
        controls.extend(controls_on(&measured)?);
    }
    controls.push(analytic(sizes, seed));
    let least = of_imitation.iter().copied().fold(f64::INFINITY, f64::min);
    let most = of_imitation.iter().copied().fold(0.0, f64::max);
    Ok(Claim {
        id: "1-drift".to_owned(),
        hypothesis: "a value-gradient step leaves the manifold to first order in the step and in \
                     the gradient's normal component, the self-imitation target to second order \
                     in the candidates' spread"
            .to_owned(),
        rule: "every exponent's 95% interval within [0.9, 1.1] for (a) and (b), [1.8, 2.2] in \
               the spread and [-0.2, 0.2] in the normal component for (c)"
            .to_owned(),
        sentence: format!(
            "self-imitation's exponent in the spread lies between {least:.2} and {most:.2} on \
             four manifolds, the gradients' in the step near 1"
        ),
        findings,
        controls,
        verdict: Verdict::Inconclusive,
        figures: vec![Figure {
            name: "drift".to_owned(),
            title: "Distance from the manifold after one update".to_owned(),
            x: "step size, or candidates' spread".to_owned(),
            y: "mean distance".to_owned(),
            lines,
        }],
    }
    .concluded())
}

/// The rules on an updater that drifts, and on a gradient that does not.
fn controls_on(measured: &Measured<'_>) -> Result<[Control; 2], TheoryError> {
    let name = measured.manifold.name;
    let of = |updater, nu, what: &str, order: f64, slack: f64| {
        let found = exponent(what, &measured.steps(updater, nu), measured.seed)?;
        let verdict = within(&found, order - slack, order + slack);
        let numbers = format!("exponent {:.3}", found.value);
        Ok::<_, TheoryError>(Control::denied(what, verdict, &numbers))
    };
    let drifting = format!("(c) on {name} with candidates off the manifold");
    let tangent = format!("(a) on {name} with a gradient without normal component");
    Ok([
        of(Updater::Drifting, 1.0, &drifting, 2.0, 0.2)?,
        of(Updater::ValueGradient, 0.0, &tangent, 1.0, 0.1)?,
    ])
}

/// The drift on a circle of known radius along its outward normal, by formula.
fn analytic(sizes: &Sizes, seed: u64) -> Control {
    let circle = &Manifold::all(AMBIENT, seed)[0];
    let mut stream = Stream::new(seed, "theory/drift/analytic");
    let mut bases = Base::draw(circle, sizes.states, &mut stream);
    for base in &mut bases {
        // A circle around the origin: its outward normal is its own direction.
        base.normal = base.point.at.normalize();
    }
    let (r, nu) = (1.0 / circle.curvature(), 0.7);
    let mut worst = 0f64;
    for step in STEPS {
        let exact = ((r + step * nu).powi(2) + step * step).sqrt() - r;
        for found in distances(circle, &bases, Updater::ValueGradient, step, nu, seed) {
            worst = worst.max((found / exact - 1.0).abs());
        }
    }
    Control {
        what: "the drift of a known normal gradient on a circle".to_owned(),
        expected: "sqrt((r + eta nu)^2 + eta^2) - r to 1e-9 of it".to_owned(),
        found: format!("off by {worst:.1e} of it at most"),
        caught: worst < 1e-9,
    }
}
