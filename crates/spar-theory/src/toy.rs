//! Synthetic offline tasks in pure Rust whose best actions and supported actions are
//! known: what claims 1d, 4 and 5 are answered with where no run of a suite is at hand.
//!
//! All episodes last one step, so that a critic has nothing to bootstrap and a return is
//! a reward.

use spar_core::{Policy, Stream};
use spar_nn::Batch;

use crate::TheoryError;

/// Radius of the arc that [`Task::Arc`]'s actions lie on.
pub const RADIUS: f64 = 0.6;
/// Angle between the middle of the behaviour and each of its modes.
const MODE: f64 = 0.8;
/// How often the behaviour acts well.
const GOOD: f64 = 0.4;

/// A synthetic task with states on `[-1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One action, two modes 0.8 apart around which the behaviour acts with noise of
    /// 0.1; reward `1 - (a - best)^2`: that of `spar-rectify`'s learning test.
    Modes,
    /// Two actions, always on the circle of [`RADIUS`]: at angle `1.2 s + 0.8` four times
    /// in ten, where the reward is one, and at `1.2 s - 0.8` otherwise, with noise of
    /// 0.15 in the angle. Reward `a . best / RADIUS^2`: where it is best on the circle its
    /// gradient is normal to it, so that a value-gradient step gains by leaving.
    Arc,
}

/// Logged one-step episodes of a [`Task`].
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// Width of an action.
    pub act_dim: usize,
    /// `[rows]`, one state each.
    pub obs: Vec<f32>,
    /// `[rows, act_dim]`.
    pub actions: Vec<f32>,
    /// `[rows]`.
    pub rewards: Vec<f32>,
}

impl Task {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Modes, Self::Arc];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modes => "two modes (synthetic)",
            Self::Arc => "arc (synthetic)",
        }
    }

    /// Width of an action.
    pub const fn act_dim(self) -> usize {
        match self {
            Self::Modes => 1,
            Self::Arc => 2,
        }
    }

    /// The best supported action in state `s`.
    pub fn best(self, s: f64) -> Vec<f64> {
        match self {
            Self::Modes => vec![0.6 * (2.0 * s).sin()],
            Self::Arc => on_arc(1.2 * s + MODE),
        }
    }

    fn behaviour(self, s: f64, stream: &mut Stream) -> Vec<f64> {
        let good = stream.uniform(0.0, 1.0) < GOOD;
        match self {
            Self::Modes => {
                let best = self.best(s)[0];
                let bad = best - 0.8 * best.signum();
                let mode = if good { best } else { bad };
                vec![(mode + 0.1 * stream.normal()).clamp(-1.0, 1.0)]
            }
            Self::Arc => {
                let mode = if good { MODE } else { -MODE };
                on_arc(1.2 * s + mode + 0.15 * stream.normal())
            }
        }
    }

    /// The reward of action `a`, `[act_dim]`, in state `s`.
    pub fn reward(self, s: f64, a: &[f64]) -> f64 {
        let best = self.best(s);
        match self {
            Self::Modes => 1.0 - (a[0] - best[0]).powi(2),
            Self::Arc => (a[0] * best[0] + a[1] * best[1]) / (RADIUS * RADIUS),
        }
    }

    /// `rows` logged episodes.
    pub fn data(self, rows: usize, seed: u64) -> Data {
        let mut stream = Stream::new(seed, &format!("theory/toy/{}", self.name()));
        let mut data = Data {
            act_dim: self.act_dim(),
            obs: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
        };
        for _ in 0..rows {
            let s = stream.uniform(-1.0, 1.0);
            let a = self.behaviour(s, &mut stream);
            data.obs.push(s as f32);
            data.rewards.push(self.reward(s, &a) as f32);
            data.actions.extend(a.iter().map(|a| *a as f32));
        }
        data
    }

    /// The reward of `policy` in each of the states `obs`.
    ///
    /// # Errors
    /// If its widths are not the task's.
    pub fn rewards(self, policy: &dyn Policy, obs: &[f32]) -> Result<Vec<f64>, TheoryError> {
        let actions = act(policy, obs, 1, self.act_dim())?;
        let rows = obs.iter().zip(actions.chunks_exact(self.act_dim()));
        let reward = |(&s, a): (&f32, &[f32])| {
            let a: Vec<f64> = a.iter().map(|a| f64::from(*a)).collect();
            self.reward(f64::from(s), &a)
        };
        Ok(rows.map(reward).collect())
    }
}

impl Data {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.obs.len()
    }

    /// The same episodes with their rewards dealt out anew: what they say of actions is
    /// then nothing.
    #[must_use]
    pub fn shuffled(mut self, stream: &mut Stream) -> Self {
        for last in (1..self.rewards.len()).rev() {
            self.rewards.swap(last, stream.index(last + 1));
        }
        self
    }

    /// `rows` of them with replacement, and which.
    pub(crate) fn batch(
        &self,
        rows: usize,
        stream: &mut Stream,
    ) -> Result<(Batch, Vec<usize>), TheoryError> {
        let index: Vec<usize> = (0..rows).map(|_| stream.index(self.rows())).collect();
        let of = |values: &[f32]| index.iter().map(|&i| values[i]).collect::<Vec<f32>>();
        let (s, r) = (of(&self.obs), of(&self.rewards));
        let actions = index
            .iter()
            .flat_map(|&i| &self.actions[i * self.act_dim..(i + 1) * self.act_dim]);
        let a: Vec<f32> = actions.copied().collect();
        let batch = Batch::from_slices(rows, &s, &a, &r, &s, &vec![0.0; rows])?;
        Ok((batch, index))
    }
}

fn on_arc(angle: f64) -> Vec<f64> {
    vec![RADIUS * angle.cos(), RADIUS * angle.sin()]
}

/// What `policy` does in the states `obs`, `[rows, obs_dim]`: `[rows, act_dim]`.
///
/// # Errors
/// If its widths are others.
pub fn act(
    policy: &dyn Policy,
    obs: &[f32],
    obs_dim: usize,
    act_dim: usize,
) -> Result<Vec<f32>, TheoryError> {
    let widths = [
        ("width of a policy's observation", policy.obs_dim(), obs_dim),
        ("width of a policy's action", policy.act_dim(), act_dim),
    ];
    for (what, got, expected) in widths {
        if got != expected {
            return Err(TheoryError::Shape {
                what,
                got,
                expected,
            });
        }
    }
    let rows = obs.len() / obs_dim;
    let mut streams: Vec<Stream> = (0..rows)
        .map(|i| Stream::new(i as u64, "theory/act"))
        .collect();
    let mut actions = vec![0.0; rows * act_dim];
    policy.act(obs, &mut streams, &mut actions);
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arc_pays_one_at_its_best_and_more_beyond_it() {
        for s in [-1.0, 0.0, 0.3] {
            let best = Task::Arc.best(s);
            assert!((Task::Arc.reward(s, &best) - 1.0).abs() < 1e-12);
            let beyond: Vec<f64> = best.iter().map(|a| 1.2 * a).collect();
            assert!((Task::Arc.reward(s, &beyond) - 1.2).abs() < 1e-12);
            assert_eq!(Task::Modes.reward(s, &Task::Modes.best(s)), 1.0);
        }
    }

    #[test]
    fn data_lie_where_they_say_and_shuffling_keeps_what_there_is() {
        let data = Task::Arc.data(500, 1);
        for a in data.actions.chunks_exact(2) {
            assert!((f64::from(a[0].hypot(a[1])) - RADIUS).abs() < 1e-6);
        }
        let shuffled = data.clone().shuffled(&mut Stream::new(1, "shuffle"));
        assert_eq!(shuffled.actions, data.actions);
        assert_ne!(shuffled.rewards, data.rewards);
        let sorted = |rewards: &[f32]| {
            let mut sorted = rewards.to_vec();
            sorted.sort_by(f32::total_cmp);
            sorted
        };
        assert_eq!(sorted(&shuffled.rewards), sorted(&data.rewards));
    }
}
