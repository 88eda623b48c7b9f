//! The replay buffer of online training: the last transitions, in memory and in
//! a checkpoint.

use candle_core::{Device, Result, Tensor};
use spar_core::{EnvId, Stream};
use spar_nn::{Batch, State, StateError};

/// One transition as the buffer takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition<'a> {
    /// Observation, `[obs_dim]`.
    pub obs: &'a [f32],
    /// Action, `[act_dim]`.
    pub action: &'a [f32],
    /// Reward.
    pub reward: f32,
    /// Observation after the step, `[obs_dim]`.
    pub next_obs: &'a [f32],
    /// True if the environment ended the episode. A timeout is not terminal: its
    /// next state has a value.
    pub terminal: bool,
}

/// The newest `capacity` transitions, flat; the next replaces the oldest.
#[derive(Debug)]
pub struct Replay {
    obs: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    next_obs: Vec<f32>,
    not_terminal: Vec<f32>,
    /// Transitions ever pushed; the next one's place is this modulo the capacity.
    pushed: usize,
    capacity: usize,
    obs_dim: usize,
    act_dim: usize,
}

impl Replay {
    /// An empty buffer for `env`; memory is taken as it fills.
    pub fn new(env: EnvId, capacity: usize) -> Self {
        Self {
            obs: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
            next_obs: Vec::new(),
            not_terminal: Vec::new(),
            pushed: 0,
            capacity: capacity.max(1),
            obs_dim: env.obs_dim(),
            act_dim: env.act_dim(),
        }
    }

    /// Transitions held.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// True before the first transition.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// Adds a transition, in the place of the oldest when the buffer is full.
    pub fn push(&mut self, transition: &Transition) {
        let slot = self.pushed % self.capacity;
        put(&mut self.obs, slot, transition.obs);
        put(&mut self.actions, slot, transition.action);
        put(&mut self.rewards, slot, &[transition.reward]);
        put(&mut self.next_obs, slot, transition.next_obs);
        let not_terminal = if transition.terminal { 0.0 } else { 1.0 };
        put(&mut self.not_terminal, slot, &[not_terminal]);
        self.pushed += 1;
    }

    /// Transition `i` of those held: of a buffer that was never full, the one pushed after
    /// `i` others.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn get(&self, i: usize) -> Transition<'_> {
        let row = |width: usize| i * width..(i + 1) * width;
        Transition {
            obs: &self.obs[row(self.obs_dim)],
            action: &self.actions[row(self.act_dim)],
            reward: self.rewards[i],
            next_obs: &self.next_obs[row(self.obs_dim)],
            terminal: self.not_terminal[i] == 0.0,
        }
    }

    /// `size` transitions, drawn uniformly with replacement.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    ///
    /// # Panics
    /// If the buffer is empty.
    pub fn batch(&self, size: usize, stream: &mut Stream) -> Result<Batch> {
        let indices: Vec<usize> = (0..size).map(|_| stream.index(self.len())).collect();
        let rows = |values: &[f32], width: usize| {
            let mut out = Vec::with_capacity(size * width);
            for &i in &indices {
                out.extend_from_slice(&values[i * width..(i + 1) * width]);
            }
            Tensor::from_vec(out, (size, width), &Device::Cpu)
        };
        Ok(Batch {
            base: None,
            returns: None,
            obs: rows(&self.obs, self.obs_dim)?,
            actions: rows(&self.actions, self.act_dim)?,
            rewards: rows(&self.rewards, 1)?.squeeze(1)?,
            next_obs: rows(&self.next_obs, self.obs_dim)?,
            not_terminal: rows(&self.not_terminal, 1)?.squeeze(1)?,
        })
    }

    /// Adds the buffer to `state`.
    pub fn save(&self, state: &mut State) {
        state.insert("replay.obs", self.obs.clone());
        state.insert("replay.actions", self.actions.clone());
        state.insert("replay.rewards", self.rewards.clone());
        state.insert("replay.next_obs", self.next_obs.clone());
        state.insert("replay.not_terminal", self.not_terminal.clone());
        state.insert_count("replay.pushed", self.pushed as u64);
    }

    /// Takes the buffer from `state`.
    ///
    /// # Errors
    /// If it is absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        self.pushed = usize::try_from(state.get_count("replay.pushed")?).unwrap_or(usize::MAX);
        let rows = self.pushed.min(self.capacity);
        self.obs = state.get("replay.obs", rows * self.obs_dim)?;
        self.actions = state.get("replay.actions", rows * self.act_dim)?;
        self.rewards = state.get("replay.rewards", rows)?;
        self.next_obs = state.get("replay.next_obs", rows * self.obs_dim)?;
        self.not_terminal = state.get("replay.not_terminal", rows)?;
        Ok(())
    }
}

/// Puts row `slot` of a flat array, which is at most one row short of it.
fn put(values: &mut Vec<f32>, slot: usize, row: &[f32]) {
    let start = slot * row.len();
    if start == values.len() {
        values.extend_from_slice(row);
    } else {
        values[start..start + row.len()].copy_from_slice(row);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(capacity: usize, pushed: usize) -> Replay {
        let mut replay = Replay::new(EnvId::POINT_MASS, capacity);
        let (obs_dim, act_dim) = (EnvId::POINT_MASS.obs_dim(), EnvId::POINT_MASS.act_dim());
        for i in 0..pushed {
            let x = i as f32;
            replay.push(&Transition {
                obs: &vec![x; obs_dim],
                action: &vec![-x; act_dim],
                reward: x,
                next_obs: &vec![x + 1.0; obs_dim],
                terminal: i % 3 == 0,
            });
        }
        replay
    }

    #[test]
    fn the_oldest_transitions_make_room() {
        let replay = filled(5, 13);
        assert_eq!(replay.len(), 5);
        let mut rewards = replay.rewards.clone();
        rewards.sort_by(f32::total_cmp);
        assert_eq!(rewards, [8.0, 9.0, 10.0, 11.0, 12.0]);
        let batch = replay.batch(200, &mut Stream::new(0, "test")).unwrap();
        let rewards = batch.rewards.to_vec1::<f32>().unwrap();
        let next = batch.next_obs.to_vec2::<f32>().unwrap();
        let not_terminal = batch.not_terminal.to_vec1::<f32>().unwrap();
        for ((r, next), alive) in rewards.iter().zip(next).zip(not_terminal) {
            assert!(next.iter().all(|&n| n == r + 1.0));
            assert_eq!(alive == 0.0, (*r as usize).is_multiple_of(3));
        }
    }

    #[test]
    fn a_buffer_read_back_goes_on_alike() {
        for pushed in [0, 3, 5, 13] {
            let mut replay = filled(5, pushed);
            let mut state = State::default();
            replay.save(&mut state);
            let mut again = Replay::new(EnvId::POINT_MASS, 5);
            again.load(&state).unwrap();
            for r in [&mut replay, &mut again] {
                r.push(&Transition {
                    obs: &[0.5; 8][..EnvId::POINT_MASS.obs_dim()],
                    action: &[0.5; 8][..EnvId::POINT_MASS.act_dim()],
                    reward: 0.5,
                    next_obs: &[0.5; 8][..EnvId::POINT_MASS.obs_dim()],
                    terminal: false,
                });
            }
            assert_eq!(format!("{replay:?}"), format!("{again:?}"), "{pushed}");
        }
    }
}
