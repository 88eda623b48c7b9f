//! The data as one method sees them: chosen, scaled, standardized, relabelled.

use candle_core::Result;
use spar_core::Stream;
use spar_data::{Batch, DataError, Dataset, Normalizer, Transitions};
use spar_nn::{Device, Tensor};

use crate::{
    registry::Feed,
    settings::{Blend, Hubl, Keep, Rewards, States},
};

/// Transitions with the rewards and discounts a method learns from.
#[derive(Clone, Debug)]
pub struct Replay {
    transitions: Transitions,
    normalizer: Normalizer,
    /// `[transitions]`, prepared.
    rewards: Vec<f32>,
    /// `[transitions]`: what multiplies the discount: zero at a terminal, less than
    /// one where the data's own return stands in for a part of the future.
    bootstrap: Vec<f32>,
    /// `[transitions]`: discounted returns of the trajectories from each transition on, of
    /// the scaled rewards; where the method learns from them.
    returns: Option<Vec<f32>>,
    horizon: usize,
    reward_scale: f32,
    reward_shift: f32,
}

impl Replay {
    /// Prepares `transitions` as `feed` says; `horizon` is what cuts an episode in
    /// a file without timeouts.
    ///
    /// # Errors
    /// [`DataError::NoTransitions`] if the trajectories kept hold none.
    pub fn new(
        transitions: &Transitions,
        feed: &Feed,
        horizon: usize,
    ) -> std::result::Result<Self, DataError> {
        let set = transitions.dataset().clone();
        let transitions = match feed.data.keep {
            None => transitions.clone(),
            Some(keep) => {
                let rows = best_rows(&set, horizon, keep);
                transitions.select(|row| rows[row])?
            }
        };
        let (scale, shift) = match feed.data.rewards {
            Rewards::Raw => (1.0, 0.0),
            Rewards::Range(range) => (range_scale(&set, horizon, range), 0.0),
            Rewards::Largest(largest) => (largest_scale(&transitions, largest), 0.0),
            Rewards::Affine { scale, shift } => (scale as f32, shift as f32),
        };
        let own: Vec<f32> = set.rewards.iter().map(|r| scale * r + shift).collect();
        let rows = || (0..transitions.len()).map(|i| transitions.row(i));
        let returns = feed.returns.then(|| {
            let all = returns_to_go(&set, &own, horizon, feed.discount);
            rows().map(|row| all[row] as f32).collect()
        });
        let mut rewards: Vec<f32> = rows().map(|row| own[row]).collect();
        let mut bootstrap: Vec<f32> = rows()
            .map(|row| if set.terminals[row] { 0.0 } else { 1.0 })
            .collect();
        if let Some(hubl) = feed.data.hubl {
            let (ahead, weight) = heuristic(&set, &own, horizon, feed.discount, hubl);
            for ((reward, bootstrap), row) in rewards.iter_mut().zip(&mut bootstrap).zip(rows()) {
                let w = weight[row];
                *reward = (f64::from(*reward) + feed.discount * w * ahead[row]) as f32;
                *bootstrap *= (1.0 - w) as f32;
            }
        }
        Ok(Self {
            normalizer: match feed.data.states {
                States::Raw => Normalizer::identity(transitions.obs_dim()),
                States::Standardized => transitions.normalizer(),
            },
            returns,
            reward_scale: scale,
            reward_shift: shift,
            transitions,
            rewards,
            bootstrap,
            horizon,
        })
    }

    /// What maps observations to the states the method sees.
    pub fn normalizer(&self) -> &Normalizer {
        &self.normalizer
    }

    /// What rewards are multiplied by.
    pub fn reward_scale(&self) -> f32 {
        self.reward_scale
    }

    /// The reward that the method sees in place of `reward`, of a step that is none of the
    /// data's.
    pub fn scaled(&self, reward: f32) -> f32 {
        self.reward_scale * reward + self.reward_shift
    }

    /// Whether the method learns from the returns of trajectories.
    pub fn has_returns(&self) -> bool {
        self.returns.is_some()
    }

    /// The transitions behind it.
    pub fn transitions(&self) -> &Transitions {
        &self.transitions
    }

    /// What cuts an episode in a file without timeouts.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Reward of transition `i`, as the method sees it.
    pub fn reward(&self, i: usize) -> f32 {
        self.rewards[i]
    }

    /// What multiplies the discount after transition `i`.
    pub fn bootstrap(&self, i: usize) -> f32 {
        self.bootstrap[i]
    }

    /// Fills `batch` with `batch.size` transitions drawn uniformly with
    /// replacement, and `index` with which they are.
    ///
    /// # Panics
    /// If `batch` was made for other widths.
    pub fn draw(&self, stream: &mut Stream, batch: &mut Batch, index: &mut Vec<usize>) {
        index.clear();
        index.extend((0..batch.size).map(|_| stream.index(self.transitions.len())));
        self.gather(index, batch);
    }

    /// Fills `batch` with the transitions `index`, one a row.
    ///
    /// # Panics
    /// If `batch` was made for other widths or another number.
    pub fn gather(&self, index: &[usize], batch: &mut Batch) {
        assert_eq!(index.len(), batch.size, "rows of a batch");
        self.gather_first(index, batch);
    }

    /// Fills the first rows of `batch` with the transitions `index`, one a row.
    ///
    /// # Panics
    /// If `batch` was made for other widths or for fewer.
    pub fn gather_first(&self, index: &[usize], batch: &mut Batch) {
        let (t, o, a) = (
            &self.transitions,
            self.transitions.obs_dim(),
            self.transitions.act_dim(),
        );
        for (row, &i) in index.iter().enumerate() {
            batch.obs[row * o..(row + 1) * o].copy_from_slice(t.obs(i));
            batch.next_obs[row * o..(row + 1) * o].copy_from_slice(t.next_obs(i));
            batch.actions[row * a..(row + 1) * a].copy_from_slice(t.action(i));
            batch.rewards[row] = self.rewards[i];
            batch.not_terminal[row] = self.bootstrap[i];
        }
        self.normalizer.apply(&mut batch.obs[..index.len() * o]);
        self.normalizer
            .apply(&mut batch.next_obs[..index.len() * o]);
        if let Some(returns) = &self.returns {
            batch.returns.resize(batch.size, 0.0);
            for (to, &i) in batch.returns.iter_mut().zip(index) {
                *to = returns[i];
            }
        }
    }
}

impl Replay {
    /// Whether the file continues elsewhere after transition `i`: its trajectory was
    /// ended, cut or not recorded further.
    pub fn ends_trajectory(&self, i: usize) -> bool {
        let t = &self.transitions;
        let row = t.row(i);
        t.terminal(i)
            || i + 1 == t.len()
            || t.row(i + 1) != row + 1
            || t.dataset().end_after(row).is_some()
            || !t.next_action_follows(i)
    }

    /// The states before the transitions `index`, or those after them, as the method
    /// sees them, `[rows, obs_dim]`.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    pub fn states(&self, index: &[usize], next: bool) -> Result<Tensor> {
        let t = &self.transitions;
        let row = |&i: &usize| if next { t.next_obs(i) } else { t.obs(i) };
        let mut states: Vec<f32> = index.iter().flat_map(row).copied().collect();
        self.normalizer.apply(&mut states);
        Tensor::from_vec(states, (index.len(), t.obs_dim()), &Device::Cpu)
    }

    /// For each of the transitions `index`, `[rows]`: 1 if [`Self::next_actions`] has the
    /// action after it, 0 if the file does not know it; `None` if that is known of all. An
    /// episode's end is no such place: D4RL's loader has another episode's action there.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    pub fn next_actions_known(&self, index: &[usize]) -> Result<Option<Tensor>> {
        let known = |&i: &usize| self.transitions.next_action_follows(i);
        if index.iter().all(known) {
            return Ok(None);
        }
        let known = index.iter().map(|i| f32::from(u8::from(known(i))));
        Tensor::from_iter(known, &Device::Cpu).map(Some)
    }

    /// The data's actions after the transitions `index`, `[rows, act_dim]`, as in
    /// SARSA; meaningless where an episode ended.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    pub fn next_actions(&self, index: &[usize]) -> Result<Tensor> {
        let actions = index.iter().flat_map(|&i| self.transitions.next_action(i));
        let shape = (index.len(), self.transitions.act_dim());
        Tensor::from_iter(actions.copied(), &Device::Cpu)?.reshape(shape)
    }
}

/// `range` over the range of the returns of complete episodes; one where there is
/// no range.
fn range_scale(set: &Dataset, horizon: usize, range: f64) -> f32 {
    let returns = set.returns(horizon);
    let low = returns.iter().copied().fold(f64::INFINITY, f64::min);
    let high = returns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high > low {
        (range / (high - low)) as f32
    } else {
        1.0
    }
}

/// `largest` over the largest reward; one where none is positive.
fn largest_scale(transitions: &Transitions, largest: f64) -> f32 {
    let rewards = (0..transitions.len()).map(|i| transitions.reward(i));
    let most = rewards.fold(0.0, f32::max);
    if most > 0.0 {
        (largest / f64::from(most)) as f32
    } else {
        1.0
    }
}

/// Whether each row of the file belongs to one of the best trajectories, by the sums of all
/// their rewards: where the recording goes on past terminals, those behind them as well.
fn best_rows(set: &Dataset, horizon: usize, keep: Keep) -> Vec<bool> {
    let mut ranked: Vec<_> = set
        .episodes(horizon)
        .map(|episode| {
            let rewards = set.rewards[episode.rows.clone()].iter().rev();
            let back = |ahead: f64, r: &f32| f64::from(*r) + keep.discount * ahead;
            (rewards.fold(0.0, back), episode.rows)
        })
        .collect();
    // Stable: of equals the first in the file.
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let count = (keep.fraction * ranked.len() as f64) as usize;
    let mut kept = vec![false; set.rows()];
    for (_, rows) in ranked.into_iter().take(count.max(1)) {
        kept[rows].fill(true);
    }
    kept
}

/// For each row of the file the discounted return of `rewards` from it on to the end of its
/// trajectory: terminated, cut or not recorded further. A terminal within a trajectory, whose
/// recording goes on past it, ends what a state is worth all the same.
fn returns_to_go(set: &Dataset, rewards: &[f32], horizon: usize, discount: f64) -> Vec<f64> {
    let mut returns = vec![0.0; set.rows()];
    for episode in set.episodes(horizon) {
        let mut to_go = 0.0;
        for row in episode.rows.rev() {
            let ahead = if set.terminals[row] { 0.0 } else { to_go };
            to_go = f64::from(rewards[row]) + discount * ahead;
            returns[row] = to_go;
        }
    }
    returns
}

/// For each row of the file the discounted return after it in its trajectory, of
/// `rewards`, and the trajectory's blending factor.
fn heuristic(
    set: &Dataset,
    rewards: &[f32],
    horizon: usize,
    discount: f64,
    hubl: Hubl,
) -> (Vec<f64>, Vec<f64>) {
    let (mut ahead, mut weight) = (vec![0.0; set.rows()], vec![0.0; set.rows()]);
    let (mut trajectories, mut returns) = (Vec::new(), Vec::new());
    for episode in set.episodes(horizon) {
        let mut to_go = 0.0;
        for row in episode.rows.clone().rev() {
            ahead[row] = if set.terminals[row] { 0.0 } else { to_go };
            to_go = f64::from(rewards[row]) + discount * ahead[row];
        }
        returns.push(to_go);
        trajectories.push(episode.rows);
    }
    let count = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / count;
    let variance = returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count;
    let mut sorted = returns.clone();
    sorted.sort_by(f64::total_cmp);
    for (rows, own) in trajectories.into_iter().zip(returns) {
        let share = match hubl.blend {
            Blend::Constant => 1.0,
            // Trajectories of one return are all average.
            Blend::Sigmoid if variance == 0.0 => 0.5,
            Blend::Sigmoid => 1.0 / (1.0 + (-(own - mean) / variance.sqrt()).exp()),
            Blend::Rank => sorted.partition_point(|r| *r <= own) as f64 / count,
        };
        weight[rows].fill(hubl.alpha * share);
    }
    (ahead, weight)
}
