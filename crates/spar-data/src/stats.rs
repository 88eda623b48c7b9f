//! How the numbers in a data file are distributed.

use serde::{Deserialize, Serialize};
use spar_core::{Origin, units::is_outside};

use crate::{
    dataset::{Dataset, EpisodeEnd},
    info::{Span, spans},
};

/// How near to a bound an action counts as at it. Squashed policies come near and
/// never reach it.
const AT_BOUND: f32 = 1e-3;

/// Distributions over one data file, as `spar data stats` prints them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Data set id.
    pub id: String,
    /// Official, local, of Minari or the user's.
    pub origin: Origin,
    /// Rows in the file.
    pub rows: usize,
    /// Episodes, unfinished ones included.
    pub episodes: usize,
    /// Undiscounted returns of the complete episodes; `None` without any.
    pub returns: Option<Distribution>,
    /// Rows of the complete episodes; `None` without any.
    pub lengths: Option<Distribution>,
    /// Smallest and largest reward of a row.
    pub rewards: Span,
    /// Each action dimension, against the range `[-1, 1]` of every environment here.
    pub actions: Vec<Coverage>,
    /// Smallest and largest value of each observation dimension.
    pub observations: Vec<Span>,
}

/// Where some numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many there are.
    pub count: usize,
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    /// Smallest.
    pub min: f64,
    /// A quarter of the numbers lie below; between two of them in proportion, as
    /// numpy's default has it.
    pub lower_quartile: f64,
    /// Half of them lie below.
    pub median: f64,
    /// Three quarters of them lie below.
    pub upper_quartile: f64,
    /// Largest.
    pub max: f64,
}

/// How an action dimension uses its range `[-1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Share of the range between the smallest and the largest, 0 to 1.
    pub share_of_range: f64,
    /// Share of the rows within `1e-3` of a bound, 0 to 1.
    pub share_at_bounds: f64,
    /// Share of the rows beyond a bound, 0 to 1: not what a policy can do.
    pub share_outside: f64,
}

/// Distributions over `data`, whose episodes end after `horizon` steps where they flag no cuts
/// ([`horizon_of`](crate::horizon_of) an environment).
pub fn stats(data: &Dataset, horizon: usize) -> Stats {
    let episodes: Vec<_> = data.episodes(horizon).collect();
    let complete = episodes.iter().filter(|e| e.end != EpisodeEnd::Unfinished);
    let lengths = complete.map(|e| e.rows.len() as f64).collect();
    Stats {
        id: data.identity.id.clone(),
        origin: data.identity.origin,
        rows: data.rows(),
        episodes: episodes.len(),
        returns: Distribution::of(data.returns(horizon)),
        lengths: Distribution::of(lengths),
        rewards: spans(&data.rewards, 1)[0],
        actions: coverage(data),
        observations: spans(&data.observations, data.obs_dim),
    }
}

impl Distribution {
    /// Of `values`, all finite; `None` without any.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64;
        let quantile = |share: f64| {
            let place = share * (count - 1) as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            values[below] + (values[above] - values[below]) * place.fract()
        };
        Some(Self {
            count,
            mean,
            std: square.sqrt(),
            min,
            lower_quartile: quantile(0.25),
            median: quantile(0.5),
            upper_quartile: quantile(0.75),
            max,
        })
    }
}

fn coverage(data: &Dataset) -> Vec<Coverage> {
    let mut counts = vec![[0usize; 2]; data.act_dim];
    for action in data.actions.chunks_exact(data.act_dim) {
        for ([at_bounds, outside], &x) in counts.iter_mut().zip(action) {
            let beyond = is_outside(x, (-1.0, 1.0));
            *outside += usize::from(beyond);
            *at_bounds += usize::from(!beyond && x.abs() >= 1.0 - AT_BOUND);
        }
    }
    let of = |(span, [at_bounds, outside]): (Span, [usize; 2])| {
        let share = |count: usize| count as f64 / data.rows() as f64;
        let inside = |x: f32| f64::from(x.clamp(-1.0, 1.0));
        Coverage {
            min: span.min,
            max: span.max,
            share_of_range: (inside(span.max) - inside(span.min)) / 2.0,
            share_at_bounds: share(at_bounds),
            share_outside: share(outside),
        }
    };
    spans(&data.actions, data.act_dim)
        .into_iter()
        .zip(counts)
        .map(of)
        .collect()
}
