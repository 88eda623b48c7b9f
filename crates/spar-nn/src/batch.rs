//! What every algorithm is handed: a minibatch of transitions.

use candle_core::{Device, Result, Tensor};

/// A minibatch of transitions; every tensor has the same number of rows.
#[derive(Clone, Debug)]
pub struct Batch {
    /// States `s`, `[rows, obs_dim]`.
    pub obs: Tensor,
    /// Actions `a`, `[rows, act_dim]`.
    pub actions: Tensor,
    /// Rewards, `[rows]`.
    pub rewards: Tensor,
    /// Next states `s'`, `[rows, obs_dim]`; meaningless where the transition
    /// is terminal.
    pub next_obs: Tensor,
    /// `1 - terminal`, `[rows]`: zero where nothing may be bootstrapped.
    pub not_terminal: Tensor,
    /// What a frozen policy from elsewhere does in both states, where one is rectified.
    pub base: Option<BaseActions>,
    /// The discounted return of the trajectory from each transition on, `[rows]`, where a
    /// method learns from it.
    pub returns: Option<Tensor>,
}

/// The actions of a frozen policy in a minibatch's states.
#[derive(Clone, Debug)]
pub struct BaseActions {
    /// In `s`, `[rows, act_dim]`.
    pub at: Tensor,
    /// In `s'`, `[rows, act_dim]`.
    pub next: Tensor,
}

/// A minibatch as flat row-major slices: what is copied to wherever the update
/// runs.
#[derive(Clone, Copy, Debug)]
pub struct BatchSlices<'a> {
    /// Number of transitions.
    pub rows: usize,
    /// `[rows, obs_dim]`.
    pub obs: &'a [f32],
    /// `[rows, act_dim]`.
    pub actions: &'a [f32],
    /// `[rows]`.
    pub rewards: &'a [f32],
    /// `[rows, obs_dim]`.
    pub next_obs: &'a [f32],
    /// `[rows]`.
    pub not_terminal: &'a [f32],
}

impl Batch {
    /// A batch copied from `slices`.
    ///
    /// # Errors
    /// If a slice's length is not a multiple of the rows.
    pub fn of(slices: &BatchSlices<'_>) -> Result<Self> {
        let &BatchSlices {
            rows,
            obs,
            actions,
            rewards,
            next_obs,
            not_terminal,
        } = slices;
        Self::from_slices(rows, obs, actions, rewards, next_obs, not_terminal)
    }

    /// A batch of `rows` transitions copied from flat row-major slices.
    ///
    /// # Errors
    /// If a slice's length is not a multiple of `rows`.
    pub fn from_slices(
        rows: usize,
        obs: &[f32],
        actions: &[f32],
        rewards: &[f32],
        next_obs: &[f32],
        not_terminal: &[f32],
    ) -> Result<Self> {
        let matrix = |v: &[f32]| Tensor::from_slice(v, (rows, v.len() / rows.max(1)), &Device::Cpu);
        let vector = |v: &[f32]| Tensor::from_slice(v, rows, &Device::Cpu);
        Ok(Self {
            obs: matrix(obs)?,
            actions: matrix(actions)?,
            rewards: vector(rewards)?,
            next_obs: matrix(next_obs)?,
            not_terminal: vector(not_terminal)?,
            base: None,
            returns: None,
        })
    }

    /// Number of transitions.
    pub fn rows(&self) -> usize {
        self.obs.dims()[0]
    }
}
