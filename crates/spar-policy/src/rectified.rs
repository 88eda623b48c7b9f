//! SPAR around a policy that was not trained with it: a file's, of whatever kind.

use std::cell::RefCell;

use spar_core::{Normalizer, Policy as _, Stream};

use crate::{anchored::Residual, policy::Policy};

/// `clip(b + Delta(s, b, 0))` with `b` the action of another policy, which is frozen; or
/// the best of K latents ([`Residual::best_of`]).
///
/// The base sees the observation by its own normalizer, the residual by that of the data
/// it was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct RectifiedPolicy {
    /// Of observations, for the residual and its critics.
    pub normalizer: Normalizer,
    /// The policy that is rectified. Its actions have the same bounds as this one's.
    pub base: Box<Policy>,
    /// What rectifies its action.
    pub residual: Residual,
}

/// Rows whose base actions are asked for together.
const BLOCK: usize = 32;

/// The name of the stream of an observation that a base draws from; its further draws have
/// their number behind it.
const DRAWS: &str = "base";

thread_local! {
    /// One stream a row, of this thread, so that acting allocates nothing; one list for
    /// each base that acts within another.
    static STREAMS: RefCell<Vec<Vec<Stream>>> = const { RefCell::new(Vec::new()) };
}

impl Policy {
    /// The actions in `[-1, 1]`, `[rows, act_dim]`, that the policy is a base by, for
    /// observations `obs`, `[rows, obs_dim]`, in their own units.
    ///
    /// They are a function of the observation, so that data, training and deployment mean
    /// the same action: a policy that [draws](Policy::draws), or samples, does so from the
    /// stream `base` of the observation ([`Stream::of_values`]).
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn base_actions(&self, obs: &[f32], actions: &mut [f32]) {
        self.base_actions_from(DRAWS, obs, actions);
    }

    /// Draw `draw` of [`Self::base_actions`], which is draw zero: of a policy that
    /// [draws](Self::draws) one independent of the others, of any other the same.
    ///
    /// # Panics
    /// As there.
    pub fn base_draw(&self, draw: usize, obs: &[f32], actions: &mut [f32]) {
        match draw {
            0 => self.base_actions(obs, actions),
            _ => self.base_actions_from(&format!("{DRAWS}/{draw}"), obs, actions),
        }
    }

    /// [`Self::base_actions`] with the observations' streams of this `name`.
    fn base_actions_from(&self, name: &str, obs: &[f32], actions: &mut [f32]) {
        let (obs_dim, act_dim) = (self.obs_dim(), self.act_dim());
        let rows = obs.len() / obs_dim;
        assert_eq!(obs.len(), rows * obs_dim, "observations of a base");
        assert_eq!(actions.len(), rows * act_dim, "actions of a base");
        // Another base may stand below this one: nothing is borrowed while it acts.
        let mut streams = STREAMS.with_borrow_mut(|free| free.pop().unwrap_or_default());
        let blocks = obs.chunks(BLOCK * obs_dim);
        for (obs, actions) in blocks.zip(actions.chunks_mut(BLOCK * act_dim)) {
            streams.clear();
            let rows = obs.chunks_exact(obs_dim);
            streams.extend(rows.map(|obs| Stream::of_values(obs, name)));
            self.networks().act(obs, &mut streams, actions);
            // Those of a graph of another program may lie elsewhere.
            actions.iter_mut().for_each(|a| *a = a.clamp(-1.0, 1.0));
        }
        STREAMS.with_borrow_mut(|free| free.push(streams));
    }
}

impl spar_core::Policy for RectifiedPolicy {
    fn obs_dim(&self) -> usize {
        self.base.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.base.act_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        self.base.base_actions(obs, actions);
        self.residual
            .rectify(&self.normalizer, obs, streams, actions);
    }
}
