//! Claim 2, the chord bound: how far a convex combination of points of a manifold
//! lies from it.
//!
//! # Hypotheses
//! The paper's appendix says that a point of the chord of `x` and `y` lies off a
//! manifold of curvature `kappa` by `O(kappa |x - y|^2)`; in the project's words,
//! `Delta*` lies off by at most `kappa/8 spread^2`. What `spread` is decides whether that
//! is true.
//!
//! **With the diameter of the candidates it is no theorem.** On a circle of radius
//! `r` the middle of a chord of length `D` is off by `r - sqrt(r^2 - D^2/4)`, which is
//! more than `D^2 / (8 r)`, though only to fourth order. And the centre of three
//! points `D` apart on a sphere is off by `D^2 / (6 r)` to leading order: 4/3 of the
//! bound, however close they are. (By Jung's theorem the factor is `2 n / (n + 1)`
//! at most, to leading order, for an n-dimensional manifold.)
//!
//! **With the weighted variance it is one.** Let `p = sum_k w_k x_k`, `m` a nearest point
//! of `M` and `d = |p - m|`, and `tau` a number with Federer's
//! `(x - m) . n <= |x - m|^2 / (2 tau)` for all points and normals: the reach, or any less.
//! With `n = (p - m) / d`,
//! `d = sum_k w_k (x_k - m) . n <= sum_k w_k |x_k - m|^2 / (2 tau) = (V + d^2) / (2 tau)`, so
//!
//! `d (2 tau - d) <= V = sum_k w_k |x_k - p|^2`.
//!
//! To leading order that is `d <= kappa/2 V`; for two points `V <= D^2/4`, which is the
//! chord bound; for any number `V <= D^2/2`.
//!
//! # Method
//! Candidate sets on the four manifolds of claim 1, spreads as there but up to the
//! reach, weights by the project's own [`spar_kernels::value::imitation`] from values
//! drawn at random, at temperatures 0.3 and 3, then normalized in double precision.
//! Only sets whose diameter is within the reach are asked. `2-literal` is the
//! bound with the diameter, for K = 2 and K = 8; `2-chord` is the inequality above, and
//! the exponent of `d` in the diameter.
//!
//! # Sizes
//! [`Sizes::sets`] sets for each manifold, K and temperature.
//!
//! # Verdict
//! `supported` if the largest ratio of left to right side is at most `1 + 1e-9`, else
//! `not supported`, with the set that breaks it. Distances from the manifold are
//! differences of numbers near one: 1e-14 of each is taken for rounding, or two
//! points that all but coincide would break any bound. The exponent: its interval within
//! `[1.8, 2.2]`.
//!
//! # Controls
//! A manifold said to be half as curved as it is must be found out.

use nalgebra::DVector;
use spar_core::Stream;
use spar_kernels::value::{Imitation, Weighting, imitation};

use crate::{
    Claim, Control, Figure, Finding, Line, Sizes, TheoryError, Verdict,
    drift::within,
    fit::{Levels, exponent},
    manifold::Manifold,
    outcome::all_of,
};

const AMBIENT: usize = 8;
const TEMPERATURES: [f32; 2] = [0.3, 3.0];
const COUNTS: [usize; 2] = [2, 8];
/// Spreads of candidates, in parts of the reach.
const SPREADS: [f64; 5] = [0.03, 0.06, 0.12, 0.24, 0.48];
/// What rounding may add to a ratio of one.
const TOLERANCE: f64 = 1e-9;
/// What rounding may add to a distance.
const ROUNDING: f64 = 1e-14;

/// Points of a manifold and the weights they are combined with.
#[derive(Clone, Debug)]
pub struct CandidateSet {
    /// `[K]` points.
    pub points: Vec<DVector<f64>>,
    /// `[K]` weights that sum to one.
    pub weights: Vec<f64>,
}

impl CandidateSet {
    /// `p = sum_k w_k x_k`.
    pub fn target(&self) -> DVector<f64> {
        let parts = self.points.iter().zip(&self.weights);
        let zero = DVector::zeros(self.points.first().map_or(0, DVector::len));
        parts.fold(zero, |sum, (x, w)| sum + x * *w)
    }

    /// The largest distance of two points.
    pub fn diameter(&self) -> f64 {
        let pairs = self.points.iter().enumerate();
        let pairs = pairs.flat_map(|(i, x)| self.points[i + 1..].iter().map(move |y| x - y));
        pairs.fold(0.0, |most, chord| most.max(chord.norm()))
    }

    /// `V = sum_k w_k |x_k - p|^2`.
    pub fn variance(&self) -> f64 {
        let p = self.target();
        let parts = self.points.iter().zip(&self.weights);
        parts.map(|(x, w)| w * (x - &p).norm_squared()).sum()
    }

    /// `d` less what may be rounding.
    fn distance(&self, manifold: &Manifold) -> f64 {
        (manifold.distance(&self.target()) - ROUNDING).max(0.0)
    }

    /// `d / (kappa/8 D^2)`: the literal bound holds if it is at most one.
    pub fn literal_ratio(&self, manifold: &Manifold, kappa: f64) -> f64 {
        self.distance(manifold) / (kappa / 8.0 * self.diameter().powi(2))
    }

    /// `d (2 tau - d) / V` with `tau = 1 / kappa`: the theorem says at most one.
    pub fn ratio(&self, manifold: &Manifold, kappa: f64) -> f64 {
        let d = self.distance(manifold);
        d * (2.0 / kappa - d) / self.variance()
    }
}

/// Candidate sets of `k` points about `spread` apart, those within the reach, weighted
/// by self-imitation of random values at `temperature`.
pub fn sets(
    manifold: &Manifold,
    k: usize,
    spread: f64,
    temperature: f32,
    count: usize,
    stream: &mut Stream,
) -> Vec<CandidateSet> {
    let draw = |_| {
        let middle = manifold.sample(stream);
        let points = (0..k).map(|_| manifold.neighbour(&middle, spread, stream).at);
        points.collect::<Vec<_>>()
    };
    let points: Vec<_> = (0..count).map(draw).collect();
    let mut q = vec![0.0; count * k];
    stream.fill_normal(1.0, &mut q);
    // Only the weights are asked for: the points need double precision here.
    let mut found = Imitation::default();
    imitation(
        &vec![0.0; q.len()],
        &q,
        k,
        Weighting::scale_free(temperature),
        &mut found,
    );
    let weights = found.weights().chunks_exact(k).map(|weights| {
        let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        weights.iter().map(|w| f64::from(*w) / sum).collect()
    });
    let sets = points.into_iter().zip(weights);
    let sets = sets.map(|(points, weights)| CandidateSet { points, weights });
    let reach = 1.0 / manifold.curvature();
    sets.filter(|set| set.diameter() <= reach).collect()
}

/// Everything drawn on one manifold with one K, by spread.
fn drawn(manifold: &Manifold, k: usize, sizes: &Sizes, seed: u64) -> Vec<(f64, Vec<CandidateSet>)> {
    let name = format!("theory/chord/{}/{k}", manifold.name);
    let mut stream = Stream::new(seed, &name);
    let each = sizes.sets.div_ceil(SPREADS.len());
    let at = |part: f64| {
        let spread = part / manifold.curvature();
        let mut all = Vec::new();
        for temperature in TEMPERATURES {
            all.extend(sets(manifold, k, spread, temperature, each, &mut stream));
        }
        (spread, all)
    };
    SPREADS.map(at).to_vec()
}

/// The largest ratio of `sets`, and whose it is.
fn largest<'a>(
    sets: impl Iterator<Item = &'a CandidateSet>,
    ratio: impl Fn(&CandidateSet) -> f64,
) -> (f64, Option<&'a CandidateSet>) {
    sets.fold((0.0, None), |(most, whose), set| match ratio(set) {
        r if r > most => (r, Some(set)),
        _ => (most, whose),
    })
}

fn bounded(ratio: f64) -> Verdict {
    if ratio <= 1.0 + TOLERANCE {
        Verdict::Supported
    } else {
        Verdict::NotSupported
    }
}

fn counterexample(name: &str, manifold: &Manifold, set: Option<&CandidateSet>) -> String {
    let Some(set) = set else {
        return "no set".to_owned();
    };
    format!(
        "{name}: K = {}, diameter {:.4}, reach {:.4}, distance {:.3e}, largest weight {:.3}",
        set.points.len(),
        set.diameter(),
        1.0 / manifold.curvature(),
        manifold.distance(&set.target()),
        set.weights.iter().copied().fold(0.0, f64::max),
    )
}

/// Puts the inequality `d (2 tau - d) <= V` and the order of `d` to the test; see the
/// module's documentation.
///
/// # Errors
/// If no set is within the reach.
pub fn chord(sizes: &Sizes, seed: u64) -> Result<Claim, TheoryError> {
    let (mut findings, mut controls, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let mut overall = 0f64;
    for manifold in &Manifold::all(AMBIENT, seed) {
        let (name, kappa) = (manifold.name, manifold.curvature());
        for k in COUNTS {
            let by_spread = drawn(manifold, k, sizes, seed);
            let all = || by_spread.iter().flat_map(|(_, sets)| sets);
            let (most, whose) = largest(all(), |set| set.ratio(manifold, kappa));
            overall = overall.max(most);
            let verdict = bounded(most);
            let mut expected = "at most 1".to_owned();
            if verdict == Verdict::NotSupported {
                expected += &format!("; broken by {}", counterexample(name, manifold, whose));
            }
            let what = format!(
                "{name}, K = {k}: largest d (2 tau - d) / V of {} sets",
                all().count()
            );
            findings.push(Finding::value(what, most, &expected).with_verdict(verdict));
            if k == COUNTS[0] {
                let (halved, _) = largest(all(), |set| set.ratio(manifold, kappa / 2.0));
                controls.push(Control::denied(
                    &format!("{name} said to be half as curved"),
                    bounded(halved),
                    &format!("ratio {halved:.3}"),
                ));
                continue;
            }
            let by_spread = by_spread.iter().filter(|(_, sets)| sets.len() > 1);
            let (at, measured) = by_spread
                .map(|(_, sets)| {
                    let diameters: f64 = sets.iter().map(CandidateSet::diameter).sum();
                    let off = sets.iter().map(|set| manifold.distance(&set.target()));
                    (diameters / sets.len() as f64, off.collect::<Vec<f64>>())
                })
                .unzip();
            let levels = Levels { at, measured };
            let what = format!("{name}, K = {k}: exponent of d in the mean diameter");
            let found = exponent(&what, &levels, seed)?;
            let verdict = within(&found, 1.8, 2.2);
            findings.push(Finding::estimate(what, &found, "2").with_verdict(verdict));
            lines.push(Line {
                name: format!("{name}, K = {k}"),
                points: levels.means(),
                slope: Some(2.0),
            });
        }
    }
    Ok(Claim {
        id: "2-chord".to_owned(),
        hypothesis: "the target lies off the manifold by d with d (2 tau - d) <= sum_k w_k \
                     |x_k - target|^2, tau the reach: to second order in the spread"
            .to_owned(),
        rule: "the largest ratio at most 1 + 1e-9 on every manifold, and every exponent's 95% \
               interval within [1.8, 2.2]"
            .to_owned(),
        findings,
        controls,
        verdict: Verdict::Inconclusive,
        sentence: format!("the largest ratio is {overall:.6}"),
        figures: vec![Figure {
            name: "chord".to_owned(),
            title: "Distance of the target from the manifold".to_owned(),
            x: "mean diameter of the candidates".to_owned(),
            y: "mean distance".to_owned(),
            lines,
        }],
    }
    .concluded())
}

/// Three points of `sphere` an angle `small` around a fourth, equally far from each other
/// and equally weighted: 4/3 of the literal bound to leading order.
pub fn triangle(sphere: &Manifold, small: f64, stream: &mut Stream) -> CandidateSet {
    let middle = sphere.sample(stream);
    let tangent = sphere.tangent(&middle);
    let corner = |i: usize| {
        // The sphere's centre is the origin.
        let angle = std::f64::consts::TAU * i as f64 / 3.0;
        let aside = DVector::from_vec(vec![angle.cos(), angle.sin()]);
        &middle.at * small.cos() + &tangent * aside * (small.sin() / sphere.curvature())
    };
    CandidateSet {
        points: (0..3).map(corner).collect(),
        weights: vec![1.0 / 3.0; 3],
    }
}

/// Puts the literal `d <= kappa/8 D^2` to the test, `D` the candidates' diameter; see
/// the module's documentation.
pub fn literal(sizes: &Sizes, seed: u64) -> Claim {
    let (mut findings, mut controls) = (Vec::new(), Vec::new());
    let mut worst = (0.0, String::new());
    for manifold in &Manifold::all(AMBIENT, seed) {
        let (name, kappa) = (manifold.name, manifold.curvature());
        for k in COUNTS {
            let by_spread = drawn(manifold, k, sizes, seed);
            let all = || by_spread.iter().flat_map(|(_, sets)| sets);
            let (most, whose) = largest(all(), |set| set.literal_ratio(manifold, kappa));
            let example = counterexample(name, manifold, whose);
            let verdict = bounded(most);
            let expected = match verdict {
                Verdict::Supported => "at most 1".to_owned(),
                _ => format!("at most 1; broken by {example}"),
            };
            let what = format!(
                "{name}, K = {k}: largest d / (kappa/8 D^2) of {} sets",
                all().count()
            );
            findings.push(Finding::value(what, most, &expected).with_verdict(verdict));
            if most > worst.0 {
                worst = (most, example);
            }
            let (halved, _) = largest(all(), |set| set.literal_ratio(manifold, kappa / 2.0));
            controls.push((bounded(halved), format!("{name}, K = {k}: {halved:.3}")));
        }
    }
    let sphere = &Manifold::all(AMBIENT, seed)[1];
    let small = triangle(
        sphere,
        0.01,
        &mut Stream::new(seed, "theory/chord/triangle"),
    );
    let ratio = small.literal_ratio(sphere, sphere.curvature());
    let what = "sphere, K = 3: d / (kappa/8 D^2) of a small equilateral triangle";
    findings.push(
        Finding::value(what, ratio, "at most 1; by formula 4/3").with_verdict(bounded(ratio)),
    );
    let halved = all_of(controls.iter().map(|(verdict, _)| *verdict));
    let numbers: Vec<String> = controls.into_iter().map(|(_, numbers)| numbers).collect();
    Claim {
        id: "2-literal".to_owned(),
        hypothesis: "the target lies off the manifold by at most kappa/8 D^2, D the diameter of \
                     the candidates"
            .to_owned(),
        rule: "the largest ratio at most 1 + 1e-9 on every manifold; diameters up to the reach"
            .to_owned(),
        findings,
        controls: vec![Control::denied(
            "manifolds said to be half as curved",
            halved,
            &numbers.join(", "),
        )],
        verdict: Verdict::Inconclusive,
        sentence: format!(
            "the largest ratio drawn is {:.3} ({}); a small equilateral triangle on a sphere has \
             {ratio:.3}",
            worst.0, worst.1
        ),
        figures: Vec::new(),
    }
    .concluded()
}
