//! What a policy does in every state of the data: a function of both, computed once.

use std::ptr;

use spar_core::{ActionBounds, Policy, Stream};
use spar_data::Transitions;

use crate::error::OpeError;

/// Rows that the policy acts on at once.
const ROWS: usize = 1024;

/// A policy's actions, scaled to `[-1, 1]` by the bounds of the data's.
pub(crate) struct Actions {
    act_dim: usize,
    /// Of each draw `[rows, act_dim]`: in the observation of each row of the data.
    at: Vec<Vec<f32>>,
    /// Of each draw `[transitions, act_dim]`: in the state after each transition.
    next: Vec<Vec<f32>>,
}

impl Actions {
    /// Those of `policy` on `data`, `draws` of them in each state. A policy that draws does
    /// so for row `r` from the stream `ope/policy/<draw>/<r>` of `seed`, and after the row
    /// from `ope/policy/<draw>/<r>/after` where the data's next row does not follow it.
    ///
    /// # Errors
    /// If an action is not finite.
    pub(crate) fn of(
        policy: &dyn Policy,
        data: &Transitions,
        bounds: &ActionBounds,
        draws: usize,
        seed: u64,
    ) -> Result<Self, OpeError> {
        let act_dim = data.act_dim();
        let mut found = Self {
            act_dim,
            at: Vec::with_capacity(draws),
            next: Vec::with_capacity(draws),
        };
        for draw in 0..draws {
            let (at, next) = of_draw(policy, data, draw, seed)?;
            for (mut actions, kept) in [(at, &mut found.at), (next, &mut found.next)] {
                bounds.scale(&mut actions);
                kept.push(actions);
            }
        }
        Ok(found)
    }

    /// Number of draws.
    pub(crate) fn draws(&self) -> usize {
        self.at.len()
    }

    /// The action of `draw` in the observation of `row`.
    pub(crate) fn at(&self, draw: usize, row: usize) -> &[f32] {
        &self.at[draw][row * self.act_dim..][..self.act_dim]
    }

    /// The action of `draw` after transition `i`.
    pub(crate) fn next(&self, draw: usize, i: usize) -> &[f32] {
        &self.next[draw][i * self.act_dim..][..self.act_dim]
    }
}

/// One draw in every row, and after every transition.
fn of_draw(
    policy: &dyn Policy,
    data: &Transitions,
    draw: usize,
    seed: u64,
) -> Result<(Vec<f32>, Vec<f32>), OpeError> {
    let set = data.dataset();
    let width = data.act_dim();
    let mut at = vec![0.0; set.rows() * width];
    let mut streams = Vec::with_capacity(ROWS);
    let chunks = set.observations.chunks(ROWS * data.obs_dim());
    for (chunk, (obs, actions)) in chunks.zip(at.chunks_mut(ROWS * width)).enumerate() {
        let first = chunk * ROWS;
        let rows = first..first + actions.len() / width;
        streams.clear();
        streams.extend(rows.map(|row| Stream::new(seed, &format!("ope/policy/{draw}/{row}"))));
        policy.act(obs, &mut streams, actions);
        check(actions, width, |row| ("in", first + row))?;
    }
    let mut next = Vec::with_capacity(data.len() * width);
    for i in 0..data.len() {
        let row = data.row(i);
        let after = data.next_obs(i);
        // Most often the next row's own observation; not where an episode was cut and the
        // file knows what came after.
        if row + 1 < set.rows() && ptr::eq(after, set.observation(row + 1)) {
            next.extend_from_slice(&at[(row + 1) * width..][..width]);
            continue;
        }
        let end = next.len();
        next.resize(end + width, 0.0);
        let name = format!("ope/policy/{draw}/{row}/after");
        policy.act(after, &mut [Stream::new(seed, &name)], &mut next[end..]);
        check(&next[end..], width, |_| ("after", row))?;
    }
    Ok((at, next))
}

fn check(
    actions: &[f32],
    width: usize,
    place: impl Fn(usize) -> (&'static str, usize),
) -> Result<(), OpeError> {
    let Some(bad) = actions.iter().position(|a| !a.is_finite()) else {
        return Ok(());
    };
    let (when, row) = place(bad / width);
    Err(OpeError::ActionNotFinite {
        when,
        row,
        component: bad % width,
        value: actions[bad],
    })
}
