//! What an ensemble of critics says of candidate actions, and the regression onto
//! the candidates it prefers: everything of Latent Self-Imitation that is no
//! network.
//!
//! In a tensor library these few numbers per state cost some thirty operations,
//! each with its own output; here they are one sweep over the states, in buffers
//! that are used again.

use crate::{buffers::grow, mlp::sum, vectorize::vectorized};

/// Added to the batch's standard deviation of advantages: candidates that all
/// look the same must weigh the same, not divide zero by zero.
pub const ADVANTAGE_EPS: f32 = 1e-6;

/// How an ensemble's values of one action become one conservative value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Conservatism {
    /// The least of them.
    #[default]
    Min,
    /// Their mean less this many (biased) standard deviations, which is not
    /// negative.
    MeanMinusStd(f32),
}

/// The conservative value of each row, `[rows]`, into `out`, from an ensemble's
/// `values`, `[nets, rows]`.
///
/// # Panics
/// If there is no net or the lengths do not fit.
pub fn conservative(values: &[f32], nets: usize, by: Conservatism, out: &mut [f32]) {
    assert!(nets > 0, "an ensemble of no nets");
    assert_eq!(values.len(), nets * out.len(), "values of {nets} nets");
    if out.is_empty() {
        return;
    }
    match by {
        Conservatism::Min => least(values, out),
        Conservatism::MeanMinusStd(deviations) => mean_minus_std(values, deviations, out),
    }
}

/// The root mean square over rows of the (biased) standard deviation of an ensemble's
/// `values`, `[nets, rows]`, of one row; zero of no rows.
///
/// # Panics
/// If there is no net or the values are not whole rows.
pub fn disagreement(values: &[f32], nets: usize) -> f32 {
    assert!(nets > 0, "an ensemble of no nets");
    assert!(values.len().is_multiple_of(nets), "values of {nets} nets");
    if values.is_empty() {
        return 0.0;
    }
    let mut squares = 0.0;
    sum_variances(values, values.len() / nets, &mut squares);
    (squares * nets as f32 / values.len() as f32).sqrt()
}

/// What a candidate's value loses where an ensemble disagrees about it: `u` times what
/// the ensemble's standard deviation has above a level,
/// `u = weight + ratio sd(q) / sd(e)`, with `q` the batch's candidates' values, `e` their
/// deviations' excess, and `sd` the root mean square of what is centred in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalty {
    /// The part of `u` that is given, in values per unit of deviation.
    pub weight: f32,
    /// The penalty's spread over a state's candidates in parts of their values' own, so
    /// that it weighs as much beside them on every task and at any scale of rewards.
    pub ratio: f32,
}

impl Penalty {
    /// A given `u` alone.
    pub fn of_weight(weight: f32) -> Self {
        Self { weight, ratio: 0.0 }
    }

    /// Whether nothing is taken.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Lowers the conservative values `q`, `[states, k]`, of candidates of which the ensemble
/// says `values`, `[nets, states * k]`: with `e = max(0, sd - level)`, left in `excess`,
/// `q -= u e`. Returns `u` of [`Penalty`]; where no excess differs from its state's mean,
/// `ratio` adds nothing to it.
///
/// # Panics
/// If there is no net or no candidate, or the lengths do not fit.
pub fn penalize(
    values: &[f32],
    (nets, k): (usize, usize),
    penalty: Penalty,
    level: f32,
    q: &mut [f32],
    excess: &mut Vec<f32>,
) -> f32 {
    assert!(nets > 0, "an ensemble of no nets");
    assert_eq!(values.len(), nets * q.len(), "values of {nets} nets");
    assert!(
        k > 0 && q.len().is_multiple_of(k),
        "{} values, {k} to a state",
        q.len()
    );
    if q.is_empty() {
        return penalty.weight;
    }
    let excess = grow(excess, q.len());
    beyond(values, level, excess);
    let mut u = penalty.weight;
    if penalty.ratio > 0.0 {
        let (mut of_values, mut of_excess) = (0.0, 0.0);
        sum_squares_within(q, k, &mut of_values);
        sum_squares_within(excess, k, &mut of_excess);
        u += penalty.ratio * relative(of_values, of_excess);
    }
    lower(excess, u, q);
    u
}

/// How a state's candidates are weighted by their advantages: `w = softmax(A / (sigma
/// T))`, `sigma` the standard deviation of all the batch's candidates' advantages, but
/// no less than a floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighting {
    /// `T`, of advantages in parts of `sigma`.
    pub temperature: f32,
    /// The least `sigma`, in units of values. Candidates whose values differ by much
    /// less weigh the same, so that imitation rests instead of ranking the critic's
    /// noise; zero lets the candidates' own deviation be the scale however small it is.
    pub floor: f32,
}

impl Weighting {
    /// Weights of `temperature` on the candidates' own scale alone.
    pub fn scale_free(temperature: f32) -> Self {
        Self {
            temperature,
            floor: 0.0,
        }
    }
}

/// Results of [`imitation`], in buffers that are used again.
#[derive(Clone, Debug, Default)]
pub struct Imitation {
    centred: Vec<f32>,
    weights: Vec<f32>,
    target: Vec<f32>,
    grad: Vec<f32>,
    states: usize,
    candidates: usize,
    act_dim: usize,
}

/// What [`imitation`] measured, each the mean over states.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImitationStats {
    /// `(1/K) sum_k |Delta_k - Delta*|^2`: the loss.
    pub loss: f32,
    /// `(1/K) sum_k |Delta_k - mean_j Delta_j|^2`: how far apart candidates are.
    pub spread: f32,
    /// The largest weight: `1/K` when the critic sees no difference.
    pub weight_max: f32,
    /// `1 / sum_k w_k^2`, how many candidates are imitated: from 1 to K.
    pub effective: f32,
    /// Standard deviation of all the candidates' advantages, in units of values.
    pub deviation: f32,
}

impl Imitation {
    /// `softmax(A / (sigma T))` over a state's candidates, `[states, K]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights[..self.states * self.candidates]
    }

    /// `Delta* = sum_k w_k Delta_k`, `[states, act_dim]`.
    pub fn target(&self) -> &[f32] {
        &self.target[..self.states * self.act_dim]
    }

    /// Gradient of the loss with respect to the candidates, the target held
    /// fixed, `[states, K, act_dim]`.
    pub fn grad(&self) -> &[f32] {
        &self.grad[..self.states * self.candidates * self.act_dim]
    }
}

/// Latent-sampling weighted regression of `candidates`, `[states, K, act_dim]`,
/// by their conservative values `q`, `[states, K]`:
///
/// `A_k = q_k - mean_j q_j`; `sigma = max(sd, floor)`, `sd` the root mean square of all
/// the batch's `A_k`; `w = softmax(A / (sigma T))` over `k`;
/// `Delta* = sum_k w_k Delta_k`, which nothing is differentiated through;
/// `L = mean_states (1/K) sum_k |Delta_k - Delta*|^2`.
///
/// A floor that is measured in values as well, as a share of the deviation of the data
/// actions' own advantages, leaves the weights free of the scale of rewards.
///
/// Weights, target and gradient are left in `into`.
///
/// # Panics
/// If there is nothing to imitate or the lengths do not fit.
pub fn imitation(
    candidates: &[f32],
    q: &[f32],
    k: usize,
    weighting: Weighting,
    into: &mut Imitation,
) -> ImitationStats {
    let whole = |n: usize, of: usize| of > 0 && n > 0 && n.is_multiple_of(of);
    assert!(
        whole(q.len(), k) && whole(candidates.len(), q.len()),
        "imitation of {} numbers by {} values, {k} to a state",
        candidates.len(),
        q.len()
    );
    let (states, act_dim) = (q.len() / k, candidates.len() / q.len());
    (into.states, into.candidates, into.act_dim) = (states, k, act_dim);
    let centred = grow(&mut into.centred, q.len());
    centre(q, k, centred);
    let mut squares = 0.0;
    sum_squares(centred, &mut squares);
    let deviation = (squares / q.len() as f32).sqrt();
    let sigma = largest(deviation, weighting.floor);
    let scale = 1.0 / ((sigma + ADVANTAGE_EPS) * weighting.temperature);

    let weights = grow(&mut into.weights, q.len());
    let target = grow(&mut into.target, states * act_dim);
    let grad = grow(&mut into.grad, candidates.len());
    let mut stats = [0f64; 4];
    let states = centred
        .chunks_exact(k)
        .zip(weights.chunks_exact_mut(k))
        .zip(candidates.chunks_exact(k * act_dim))
        .zip(target.chunks_exact_mut(act_dim))
        .zip(grad.chunks_exact_mut(k * act_dim));
    for ((((centred, weights), candidates), target), grad) in states {
        let weight_max = softmax(centred, scale, weights);
        target.fill(0.0);
        for (w, candidate) in weights.iter().zip(candidates.chunks_exact(act_dim)) {
            for (t, c) in target.iter_mut().zip(candidate) {
                *t += w * c;
            }
        }
        let factor = 2.0 / q.len() as f32;
        let (mut loss, mut around_mean) = (0.0, 0.0);
        for (j, t) in target.iter().enumerate() {
            let column = || candidates.iter().skip(j).step_by(act_dim);
            let mean = column().sum::<f32>() / k as f32;
            for (c, g) in column().zip(grad.iter_mut().skip(j).step_by(act_dim)) {
                let error = c - t;
                loss += error * error;
                around_mean += (c - mean) * (c - mean);
                *g = factor * error;
            }
        }
        stats[0] += f64::from(loss);
        stats[1] += f64::from(around_mean);
        stats[2] += f64::from(weight_max);
        stats[3] += 1.0 / f64::from(weights.iter().map(|w| w * w).sum::<f32>());
    }
    let count = q.len() as f64;
    ImitationStats {
        loss: (stats[0] / count) as f32,
        spread: (stats[1] / count) as f32,
        weight_max: (stats[2] * k as f64 / count) as f32,
        effective: (stats[3] * k as f64 / count) as f32,
        deviation,
    }
}

/// The standard deviation of `values` around their mean; zero of none. Of the data
/// actions' advantages it is what [`Weighting::floor`] is a share of.
pub fn deviation(values: &[f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let share = 1.0 / values.len() as f32;
    let (mut total, mut squares) = (0.0, 0.0);
    sum_values(values, &mut total);
    sum_squares_around(values, total * share, &mut squares);
    (squares * share).sqrt()
}

/// `softmax(scale * centred)` into `weights`; returns the largest.
fn softmax(centred: &[f32], scale: f32, weights: &mut [f32]) -> f32 {
    let most = centred.iter().copied().fold(f32::NEG_INFINITY, largest);
    let mut sum = 0.0;
    for (w, a) in weights.iter_mut().zip(centred) {
        *w = ((a - most) * scale).exp();
        sum += *w;
    }
    weights.iter_mut().for_each(|w| *w /= sum);
    weights.iter().copied().fold(f32::NEG_INFINITY, largest)
}

/// The larger of two, which lets a NaN through: a diverged critic must show.
fn largest(a: f32, b: f32) -> f32 {
    if b <= a || a.is_nan() { a } else { b }
}

/// The square root of `a / b`; zero if `b` is.
fn relative(a: f32, b: f32) -> f32 {
    if b == 0.0 { 0.0 } else { (a / b).sqrt() }
}

/// The (biased) variance of what an ensemble says of one of `rows` rows.
#[inline(always)]
fn variance(values: &[f32], rows: usize, row: usize) -> f32 {
    let share = 1.0 / (values.len() / rows) as f32;
    let of_row = || values.iter().skip(row).step_by(rows);
    let mean = of_row().sum::<f32>() * share;
    of_row().map(|v| (v - mean) * (v - mean)).sum::<f32>() * share
}

/// `q` less each state's mean.
fn centre(q: &[f32], k: usize, out: &mut [f32]) {
    for (q, out) in q.chunks_exact(k).zip(out.chunks_exact_mut(k)) {
        let mean = q.iter().sum::<f32>() / k as f32;
        for (o, q) in out.iter_mut().zip(q) {
            *o = q - mean;
        }
    }
}

vectorized! {
    fn least(values: &[f32], out: &mut [f32]) {
        let (first, rest) = values.split_at(out.len());
        out.copy_from_slice(first);
        for net in rest.chunks_exact(out.len()) {
            for (least, v) in out.iter_mut().zip(net) {
                // Keeps a NaN of either.
                *least = if *least <= *v || least.is_nan() { *least } else { *v };
            }
        }
    }

    fn mean_minus_std(values: &[f32], deviations: f32, out: &mut [f32]) {
        let rows = out.len();
        let share = 1.0 / (values.len() / rows) as f32;
        for (row, out) in out.iter_mut().enumerate() {
            let mean = values.iter().skip(row).step_by(rows).sum::<f32>() * share;
            *out = mean - deviations * variance(values, rows, row).sqrt();
        }
    }

    fn sum_variances(values: &[f32], rows: usize, out: &mut f32) {
        *out = (0..rows).map(|row| variance(values, rows, row)).sum();
    }

    fn beyond(values: &[f32], level: f32, out: &mut [f32]) {
        let rows = out.len();
        for (row, out) in out.iter_mut().enumerate() {
            let above = variance(values, rows, row).sqrt() - level;
            // A NaN is not passed over.
            *out = if above <= 0.0 { 0.0 } else { above };
        }
    }

    fn lower(by: &[f32], times: f32, out: &mut [f32]) {
        for (out, by) in out.iter_mut().zip(by) {
            *out -= times * by;
        }
    }

    fn sum_squares_within(values: &[f32], k: usize, out: &mut f32) {
        *out = values
            .chunks_exact(k)
            .map(|of_state| {
                let mean = of_state.iter().sum::<f32>() / k as f32;
                of_state.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>()
            })
            .sum();
    }

    fn sum_values(values: &[f32], out: &mut f32) {
        *out = sum(values, |v| v);
    }

    fn sum_squares(values: &[f32], out: &mut f32) {
        *out = sum(values, |v| v * v);
    }

    fn sum_squares_around(values: &[f32], mean: f32, out: &mut f32) {
        *out = sum(values, |v| (v - mean) * (v - mean));
    }
}
