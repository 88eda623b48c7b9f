//! Claim 3, search-space contraction: how many observations find a good action in a
//! neighbourhood, and how many in the whole box.
//!
//! # Hypothesis
//! The paper's theorem 3.1: with `Q` L-Lipschitz, sigma-sub-Gaussian observations and
//! actions of diameter `D`, an epsilon-optimal action within `rho` of the anchor needs
//! less data than one in all of the action space, by a factor that grows like
//! `(D / rho)^d`.
//!
//! # Method
//! `Q(a) = -|a - a*|` in `[-1, 1]^d`, `d` from 1 to 6. The optimum `a*` lies inside the
//! ball of radius `rho = 0.5` around the anchor, which is the theorem's condition and
//! the method's hope. Actions are drawn uniformly from the region until one is
//! epsilon/2-optimal (epsilon = 0.5, so within 0.25 of `a*`): N actions. Each of them is then
//! observed `n = 32 sigma^2 / epsilon^2 ln(40 N)` times with Gaussian noise of sigma = 1,
//! which by Hoeffding's bound leaves every mean within epsilon/4 with probability 0.95; the
//! best mean is taken. The data needed are `N n`; the search succeeded if the action
//! taken is epsilon-optimal. (Means of n draws are drawn as what they are: normal with
//! variance `sigma^2 / n`.) By volumes, the expected N is `1 / p` with
//! `p = (0.25 / rho)^d` in the ball and `V_d 0.25^d / 2^d` in the box.
//!
//! # Sizes
//! [`Sizes::searches`] searches for each of [`Sizes::dimensions`] dimensions and region.
//!
//! # Estimator
//! Slope of `ln mean data` against `d` for each region, and of the logarithm of their
//! ratio; 95% bootstrap interval over searches.
//!
//! # Verdict
//! `supported` if the interval of the ratio's slope lies above zero and at least 95% of
//! the searches succeeded in both regions; `not supported` if the interval lies at or
//! below zero, or an interval of successes lies below 95%; else `inconclusive`.
//!
//! # Controls
//! A neighbourhood that is the whole box, and an optimum outside of the
//! neighbourhood, must not be supported. The slope must be that of the volumes to 0.15, or
//! to the width of its interval if that is wider.

use nalgebra::DVector;
use spar_core::Stream;
use spar_stats::{Bootstrap, Estimate, Interval, Scores, mean, stratified_bootstrap_all};

use crate::{
    Claim, Control, Figure, Finding, Line, Sizes, TheoryError, Verdict,
    fit::least_squares,
    manifold::{gaussian, unit},
};

const RHO: f64 = 0.5;
const EPSILON: f64 = 0.5;
const SIGMA: f64 = 1.0;
/// Share of searches that has to succeed.
const CONFIDENCE: f64 = 0.95;
/// A search is given up after this many times the draws it should take.
const PATIENCE: f64 = 40.0;

/// Where actions are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// All of `[-1, 1]^d`.
    Whole,
    /// The ball of radius 0.5 around the anchor.
    Ball,
}

/// Where the optimum lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Optimum {
    /// In the neighbourhood.
    Near,
    /// Out of reach of it.
    Far,
}

/// What one search took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Observations.
    pub data: f64,
    /// Whether the action taken is epsilon-optimal.
    pub found: bool,
}

impl Region {
    /// Probability that one draw is epsilon/2-optimal, in `d` dimensions.
    pub fn hit(self, d: usize) -> f64 {
        let near = EPSILON / 2.0;
        match self {
            Self::Ball => (near / RHO).powi(d as i32),
            Self::Whole => ball_volume(d) * (near / 2.0).powi(d as i32),
        }
    }

    fn draw(self, anchor: &DVector<f64>, stream: &mut Stream) -> DVector<f64> {
        let d = anchor.len();
        match self {
            Self::Whole => DVector::from_iterator(d, (0..d).map(|_| stream.uniform(-1.0, 1.0))),
            Self::Ball => anchor + in_ball(d, RHO, stream),
        }
    }
}

/// Observations of each of `n` actions, so that all means are right with
/// probability 0.95.
fn observations(n: f64) -> f64 {
    (32.0 * SIGMA * SIGMA / (EPSILON * EPSILON) * (40.0 * n).ln()).ceil()
}

/// Volume of the unit ball of `R^d`.
fn ball_volume(d: usize) -> f64 {
    match d {
        0 => 1.0,
        1 => 2.0,
        _ => ball_volume(d - 2) * std::f64::consts::TAU / d as f64,
    }
}

/// Uniform in the ball of `radius` around the origin of `R^d`.
fn in_ball(d: usize, radius: f64, stream: &mut Stream) -> DVector<f64> {
    let direction = unit(&gaussian(d, stream));
    direction * (radius * stream.uniform(0.0, 1.0).powf(1.0 / d as f64))
}

/// One search for the optimum near the anchor.
pub fn search(region: Region, d: usize, stream: &mut Stream) -> Search {
    searched(region, Optimum::Near, d, stream)
}

fn searched(region: Region, optimum: Optimum, d: usize, stream: &mut Stream) -> Search {
    // The whole ball, and whatever is near its points, lies in the box.
    let anchor = DVector::from_iterator(d, (0..d).map(|_| stream.uniform(-0.5, 0.5)));
    let best = match optimum {
        Optimum::Near => &anchor + in_ball(d, RHO - EPSILON / 2.0, stream),
        Optimum::Far => &anchor + unit(&gaussian(d, stream)) * (RHO + 2.0 * EPSILON),
    };
    let patience = (PATIENCE / region.hit(d)) as usize;
    let mut values = Vec::new();
    while values.len() < patience {
        let value = -(region.draw(&anchor, stream) - &best).norm();
        values.push(value);
        if value >= -EPSILON / 2.0 {
            break;
        }
    }
    let each = observations(values.len() as f64);
    let noise = SIGMA / each.sqrt();
    let means = values.iter().map(|value| value + noise * stream.normal());
    let taken = means.zip(&values).max_by(|a, b| a.0.total_cmp(&b.0));
    Search {
        data: each * values.len() as f64,
        found: taken.is_some_and(|(_, value)| *value >= -EPSILON),
    }
}

/// All searches of one region: `[dimension][search]`, dimensions from one.
fn all(name: &str, region: Region, optimum: Optimum, sizes: &Sizes, seed: u64) -> Vec<Vec<Search>> {
    let of = |d: usize| {
        let mut stream = Stream::new(seed, &format!("theory/contraction/{name}/{d}"));
        let one = |_| searched(region, optimum, d, &mut stream);
        (0..sizes.searches).map(one).collect()
    };
    (1..=sizes.dimensions).map(of).collect()
}

/// What two sets of searches say of each other.
struct Compared {
    whole: Estimate,
    near: Estimate,
    ratio: Estimate,
    success: [Estimate; 2],
    verdict: Verdict,
}

fn compare(
    whole: &[Vec<Search>],
    near: &[Vec<Search>],
    seed: u64,
) -> Result<Compared, TheoryError> {
    let data = |searches: &[Vec<Search>]| -> Vec<Vec<f64>> {
        let of = |of: &Vec<Search>| of.iter().map(|s| s.data).collect();
        searches.iter().map(of).collect()
    };
    let scores = Scores::new(&[data(whole), data(near)].concat())?;
    let plan = Bootstrap {
        seed,
        ..Bootstrap::coarse()
    };
    let dimensions = whole.len();
    let statistics = |scores: &Scores| {
        let logs: Vec<f64> = scores.task_means().iter().map(|mean| mean.ln()).collect();
        let (whole, near) = logs.split_at(dimensions);
        let slope = |of: &dyn Fn(usize) -> f64| {
            least_squares((0..dimensions).map(|i| ((i + 1) as f64, of(i))))
        };
        [
            slope(&|i| whole[i]),
            slope(&|i| near[i]),
            slope(&|i| whole[i] - near[i]),
        ]
    };
    let found = stratified_bootstrap_all(&scores, statistics, &plan)?;
    let [whole_slope, near_slope, ratio] = [0, 1, 2].map(|i| found[i]);
    let success = |searches: &[Vec<Search>]| {
        let won = |search: &Search| f64::from(u8::from(search.found));
        let won: Vec<f64> = searches.iter().flatten().map(won).collect();
        let plan = &plan;
        stratified_bootstrap_all(&Scores::new(&[won])?, |s| [mean(s.all())], plan)
            .map(|found| found[0])
    };
    let success = [success(whole)?, success(near)?];
    let reliable = success.iter().all(|s| s.value >= CONFIDENCE);
    let unreliable = success.iter().any(|s| s.interval.high < CONFIDENCE);
    let Interval { low, high } = ratio.interval;
    let verdict = if unreliable || high <= 0.0 {
        Verdict::NotSupported
    } else if low > 0.0 && reliable {
        Verdict::Supported
    } else {
        Verdict::Inconclusive
    };
    Ok(Compared {
        whole: whole_slope,
        near: near_slope,
        ratio,
        success,
        verdict,
    })
}

/// The slope volumes give for `ln` of the data ratio, up to the logarithm in the
/// observations.
fn by_volume(dimensions: usize) -> f64 {
    let data = |region: Region, d| {
        let n = 1.0 / region.hit(d);
        (n * observations(n)).ln()
    };
    let ratio = |d| data(Region::Whole, d) - data(Region::Ball, d);
    least_squares((1..=dimensions).map(|d| (d as f64, ratio(d))))
}

/// Puts claim 3 to the test; see the module's documentation.
///
/// # Errors
/// If there are no searches.
pub fn contraction(sizes: &Sizes, seed: u64) -> Result<Claim, TheoryError> {
    let whole = all("whole", Region::Whole, Optimum::Near, sizes, seed);
    let ball = all("ball", Region::Ball, Optimum::Near, sizes, seed);
    let found = compare(&whole, &ball, seed)?;
    let expected = by_volume(sizes.dimensions);
    let by_d = |searches: &[Vec<Search>]| {
        let mean_data = |of: &Vec<Search>| mean(&of.iter().map(|s| s.data).collect::<Vec<_>>());
        searches.iter().map(mean_data).collect::<Vec<f64>>()
    };
    let (of_whole, of_ball) = (by_d(&whole), by_d(&ball));
    let mut findings = vec![
        Finding::estimate(
            "slope of ln data against d, whole box",
            &found.whole,
            "exponential in d",
        ),
        Finding::estimate(
            "slope of ln data against d, ball of radius 0.5",
            &found.near,
            "about ln 2 = 0.69",
        ),
        Finding::estimate(
            "slope of ln(data in the box / data in the ball) against d",
            &found.ratio,
            &format!("above 0; by volumes {expected:.3}"),
        )
        .with_verdict(found.verdict),
        Finding::estimate(
            "share of searches that succeeded, box",
            &found.success[0],
            ">= 0.95",
        ),
        Finding::estimate(
            "share of searches that succeeded, ball",
            &found.success[1],
            ">= 0.95",
        ),
    ];
    for (i, (whole, ball)) in of_whole.iter().zip(&of_ball).enumerate() {
        let what = format!("data in the box / data in the ball, d = {}", i + 1);
        findings.push(Finding::value(what, whole / ball, ""));
    }
    let same = all("same", Region::Whole, Optimum::Near, sizes, seed);
    let same = compare(&whole, &same, seed)?;
    let far = compare(
        &whole,
        &all("far", Region::Ball, Optimum::Far, sizes, seed),
        seed,
    )?;
    let slope = |of: &Compared| {
        let Interval { low, high } = of.ratio.interval;
        format!("slope {:.3} [{low:.3}, {high:.3}]", of.ratio.value)
    };
    let off = (found.ratio.value - expected).abs();
    let allowed = (found.ratio.interval.high - found.ratio.interval.low).max(0.15);
    let controls = vec![
        Control::refused(
            "a neighbourhood that is the whole box",
            same.verdict,
            &slope(&same),
        ),
        Control::denied(
            "an optimum outside of the neighbourhood",
            far.verdict,
            &format!("{:.0}% succeeded", 100.0 * far.success[1].value),
        ),
        Control {
            what: "the slope of the volumes".to_owned(),
            expected: format!("{expected:.3} to {allowed:.3}"),
            found: format!("off by {off:.3}"),
            caught: off < allowed,
        },
    ];
    let line = |name: &str, means: &[f64]| Line {
        name: name.to_owned(),
        points: (1..).map(f64::from).zip(means.iter().copied()).collect(),
        slope: None,
    };
    Ok(Claim {
        id: "3-contraction".to_owned(),
        hypothesis: "an epsilon-optimal action near the anchor needs less data than one in the \
                     whole box, by a factor exponential in the dimension, provided there is one \
                     near the anchor"
            .to_owned(),
        rule: "the 95% interval of the slope of ln(data ratio) against d above 0, and 95% of the \
               searches successful"
            .to_owned(),
        sentence: format!("{}; volumes give {expected:.3}", slope(&found)),
        findings,
        controls,
        verdict: Verdict::Inconclusive,
        figures: vec![Figure {
            name: "contraction".to_owned(),
            title: "Observations to find an epsilon-optimal action".to_owned(),
            x: "dimension".to_owned(),
            y: "mean observations".to_owned(),
            lines: vec![
                line("whole box", &of_whole),
                line("ball of radius 0.5", &of_ball),
            ],
        }],
    }
    .concluded())
}
