//! Runs without an environment: on logs of a machine there is nothing to play. What an
//! environment would give, the data do: widths, the bounds of actions, and episodes held
//! out of training, which the policy is compared with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spar_core::{Policy, Stream, Validation};
use spar_data::{ActionBounds, HeldOut, Transitions, held_out};

use crate::{error::TrainError, spec::RunSpec};

/// Rows that the policy acts on at once.
const ROWS: usize = 1024;

/// What decides a run without an environment, beside what decides every run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offline {
    /// Part of the episodes that is held out of training, from 0 to below 1: which ones, the
    /// run's `eval_seed` decides ([`Offline::held_out`]).
    pub held_out: f64,
    /// Steps after which an episode counts as cut in data that flag no cuts; absent, none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<usize>,
    /// The bounds by which actions are scaled to `[-1, 1]` for training, and the policy's
    /// back to the data's units.
    pub action_bounds: ActionBounds,
}

impl Offline {
    /// Part of the episodes that is held out where nobody says.
    pub const HELD_OUT: f64 = 0.1;

    /// The horizon for episodes and transitions: longer than any episode where there is none.
    pub fn horizon(&self) -> usize {
        self.horizon.unwrap_or(usize::MAX)
    }

    /// The episodes of `data` that a run with this `eval_seed` holds out: the same for every
    /// method and training seed, so that their errors can be compared.
    pub fn held_out(&self, data: &Transitions, eval_seed: u64) -> Vec<HeldOut> {
        let mut stream = Stream::new(eval_seed, "held-out");
        held_out(data.dataset(), self.horizon(), self.held_out, &mut stream)
    }

    /// What is left of `data` to train on without the episodes `held`, its actions scaled.
    ///
    /// # Errors
    /// If there is not one bound for each component of an action, or no transition is left.
    pub fn training(
        &self,
        data: &Transitions,
        held: &[HeldOut],
    ) -> Result<Transitions, TrainError> {
        let all = data.dataset();
        let bounds = self.action_bounds.components().len();
        if bounds != all.act_dim {
            return Err(TrainError::Config(format!(
                "there are {bounds} bounds of actions, expected {}, one for each component",
                all.act_dim
            )));
        }
        let mut rest = all.without(held);
        self.action_bounds.scale(&mut rest.actions);
        Ok(Transitions::new(Arc::new(rest), self.horizon())?)
    }

    /// Refuses what no run can be made of.
    ///
    /// # Errors
    /// Naming the field, its value and what would do.
    pub fn check(&self) -> Result<(), TrainError> {
        let wrong = |field: &str, got: &dyn std::fmt::Display, expected: &str| {
            let error = spar_core::limits::OutOfRange::new(field, got, expected);
            Err(TrainError::Config(error.to_string()))
        };
        if !(0.0..1.0).contains(&self.held_out) {
            return wrong("held_out", &self.held_out, "a number from 0 to below 1");
        }
        if self.horizon == Some(0) {
            return wrong("horizon", &0, "at least 1");
        }
        Ok(())
    }
}

/// The data of a run without an environment, taken apart.
pub(crate) struct Prepared {
    /// What is left to train on, with scaled actions.
    pub(crate) training: Transitions,
    /// What is not.
    pub(crate) held: Held,
}

/// The episodes held out.
pub(crate) struct Held {
    pub(crate) episodes: Vec<HeldOut>,
    /// `[rows, obs_dim]`, episode by episode.
    observations: Vec<f32>,
    /// `[rows, act_dim]`, scaled.
    actions: Vec<f32>,
    eval_seed: u64,
}

impl Prepared {
    /// Takes `data` apart as `spec` says; `None` where the policy is evaluated in an
    /// environment, and everything is trained on.
    pub(crate) fn of(spec: &RunSpec, data: &Transitions) -> Result<Option<Self>, TrainError> {
        let Some(offline) = &spec.offline else {
            return Ok(None);
        };
        let all = data.dataset();
        let episodes = offline.held_out(data, spec.eval_seed);
        let training = offline.training(data, &episodes)?;
        let (mut observations, mut actions) = (Vec::new(), Vec::new());
        for HeldOut { rows, .. } in &episodes {
            let part = |width| rows.start * width..rows.end * width;
            observations.extend_from_slice(&all.observations[part(all.obs_dim)]);
            actions.extend_from_slice(&all.actions[part(all.act_dim)]);
        }
        offline.action_bounds.scale(&mut actions);
        Ok(Some(Self {
            training,
            held: Held {
                episodes,
                observations,
                actions,
                eval_seed: spec.eval_seed,
            },
        }))
    }
}

impl Held {
    /// Mean squared difference between the actions of `policy`, in `[-1, 1]`, and the data's
    /// over rows and components: of each episode, and over all rows; `None` if no episode is
    /// held out. A stochastic policy draws for each row from a stream of its own.
    ///
    /// # Errors
    /// If the policy's action is not finite.
    pub(crate) fn errors(
        &self,
        policy: &dyn Policy,
    ) -> Result<Option<(Vec<f64>, Validation)>, TrainError> {
        let (obs_dim, act_dim) = (policy.obs_dim(), policy.act_dim());
        let rows = self.actions.len() / act_dim;
        if rows == 0 {
            return Ok(None);
        }
        let mut squares = Vec::with_capacity(rows);
        let mut acted = vec![0f32; ROWS * act_dim];
        let chunks = self.observations.chunks(ROWS * obs_dim);
        for (obs, wanted) in chunks.zip(self.actions.chunks(ROWS * act_dim)) {
            let first = squares.len();
            let mut streams: Vec<Stream> = (first..first + obs.len() / obs_dim)
                .map(|row| Stream::new(self.eval_seed, &format!("held-out/{row}/policy")))
                .collect();
            let acted = &mut acted[..wanted.len()];
            policy.act(obs, &mut streams, acted);
            for (acted, wanted) in acted.chunks(act_dim).zip(wanted.chunks(act_dim)) {
                let square = |(a, w): (&f32, &f32)| (f64::from(*a) - f64::from(*w)).powi(2);
                squares.push(acted.iter().zip(wanted).map(square).sum::<f64>());
            }
        }
        let mean = |squares: &[f64]| squares.iter().sum::<f64>() / (squares.len() * act_dim) as f64;
        let mse = mean(&squares);
        if !mse.is_finite() {
            return Err(TrainError::ActionNotFinite);
        }
        let mut first = 0;
        let each = self.episodes.iter().map(|held| {
            let own = &squares[first..first + held.rows.len()];
            first += own.len();
            mean(own)
        });
        let each = each.collect();
        let validation = Validation {
            mse,
            episodes: self.episodes.len(),
            rows,
        };
        Ok(Some((each, validation)))
    }
}
