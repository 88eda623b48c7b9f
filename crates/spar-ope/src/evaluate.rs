//! A policy on data: from transitions to an estimate with its doubts.

use std::ops::Range;

use candle_core::{Device, Tensor};
use spar_core::{
    Normalizer, Policy, Stream,
    ope::{OpeValue, Support, TdErrors},
};
use spar_data::{EpisodeEnd, Transitions, held_out};
use spar_nn::{Batch, BatchSlices};
use spar_stats::{Bootstrap, hierarchical_mean, mean, std};

use crate::{
    actions::Actions,
    config::{FqeConfig, check},
    error::OpeError,
    fqe::{Fqe, Units},
};

/// Updates between two looks at whether the numbers are still some, and two reports.
const EVERY: u64 = 100;

/// What was found of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The estimate, without the normalized one, which needs an environment's references.
    pub value: OpeValue,
    /// Temporal-difference errors on transitions trained on.
    pub training: TdErrors,
    /// The same on episodes held out, if any is.
    pub held_out: Option<TdErrors>,
    /// How far the policy's actions are from the data's.
    pub support: Support,
}

/// Data, taken apart, and what the policy does in them.
pub(crate) struct Ground<'a> {
    pub(crate) data: &'a Transitions,
    pub(crate) policy: Actions,
    /// `[rows, act_dim]`, scaled.
    pub(crate) taken: Vec<f32>,
    pub(crate) normalizer: Normalizer,
    /// Transitions to train on.
    pub(crate) training: Vec<usize>,
    /// Transitions of the episodes held out.
    pub(crate) held: Vec<usize>,
    /// Rows of the episodes held out.
    pub(crate) held_rows: Vec<Range<usize>>,
    /// The first row of each episode.
    starts: Vec<usize>,
}

/// Evaluates `policy` on `data` by fitted Q evaluation. `draws` says whether its action is
/// drawn: then [`FqeConfig::draws`] of them are kept for each state. `progress` is told the
/// updates done, and how many there are in all.
///
/// Estimator `e` draws its network from `ope/<e>/init` and its batches from
/// `ope/<e>/sampler`, episodes are held out by `held-out`, initial states are resampled by
/// `bootstrap`, all of the settings' seed: the same call gives the same bits.
///
/// # Errors
/// If a setting is out of its range, the data have no rewards, the policy's widths are not the
/// data's, an action is not finite, the data have no transition to train on, or the fit diverges.
pub fn evaluate(
    policy: &dyn Policy,
    draws: bool,
    data: &Transitions,
    config: &FqeConfig,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Evaluation, OpeError> {
    check(config)?;
    if !data.dataset().rewarded {
        return Err(OpeError::NoRewards);
    }
    let (obs, act) = (policy.obs_dim(), policy.act_dim());
    let (data_obs, data_act) = (data.obs_dim(), data.act_dim());
    if (obs, act) != (data_obs, data_act) {
        return Err(OpeError::Width {
            obs,
            act,
            data_obs,
            data_act,
        });
    }
    let ground = Ground::of(policy, draws, data, config)?;
    let units = ground.units(config.discount)?;
    let total = config.updates * config.estimators as u64;
    let mut estimators = Vec::with_capacity(config.estimators);
    for index in 0..config.estimators {
        let before = index as u64 * config.updates;
        let mut told = |done| progress(before + done, total);
        estimators.push(ground.fit(config, index, units, &mut told)?);
    }
    Ok(Evaluation {
        value: ground.value(&estimators, config)?,
        training: ground.td_errors(&estimators, &ground.training, "training", config)?,
        held_out: match ground.held.is_empty() {
            true => None,
            false => Some(ground.td_errors(&estimators, &ground.held, "held-out", config)?),
        },
        support: ground.support(),
    })
}

impl<'a> Ground<'a> {
    fn of(
        policy: &dyn Policy,
        draws: bool,
        data: &'a Transitions,
        config: &FqeConfig,
    ) -> Result<Self, OpeError> {
        let set = data.dataset();
        let mut stream = Stream::new(config.seed, "held-out");
        let held_rows: Vec<Range<usize>> =
            held_out(set, data.horizon(), config.held_out, &mut stream)
                .into_iter()
                .map(|held| held.rows)
                .collect();
        let mut is_held = vec![false; set.rows()];
        for rows in &held_rows {
            is_held[rows.clone()].fill(true);
        }
        let (held, training): (Vec<usize>, Vec<usize>) =
            (0..data.len()).partition(|&i| is_held[data.row(i)]);
        if training.is_empty() {
            // Its error says what is missing.
            data.select(|row| !is_held[row])?;
        }
        let (bounds, _) = set.bounds();
        let mut taken = set.actions.clone();
        bounds.scale(&mut taken);
        let draws = if draws { config.draws } else { 1 };
        Ok(Self {
            policy: Actions::of(policy, data, &bounds, draws, config.seed)?,
            normalizer: Normalizer::of_rows(data.obs_dim(), training.iter().map(|&i| data.obs(i))),
            starts: set.episodes(data.horizon()).map(|e| e.rows.start).collect(),
            data,
            taken,
            training,
            held,
            held_rows,
        })
    }

    /// About where the values of the data lie: those of their own discounted rewards to
    /// come, with an episode's cut worth a mean reward in every step from there on.
    fn units(&self, discount: f64) -> Result<Units, OpeError> {
        let set = self.data.dataset();
        let reward = |row: usize| f64::from(set.rewards[row]);
        let rewards: Vec<f64> = self
            .training
            .iter()
            .map(|&i| reward(self.data.row(i)))
            .collect();
        let forever = 1.0 / (1.0 - discount);
        let least = rewards.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut values = Vec::with_capacity(rewards.len());
        for episode in set.episodes(self.data.horizon()) {
            if self.held_rows.contains(&episode.rows) {
                continue;
            }
            let mut to_come = match episode.end {
                EpisodeEnd::Terminal => 0.0,
                EpisodeEnd::Timeout | EpisodeEnd::Unfinished => mean(&rewards) * forever,
            };
            for row in episode.rows.rev() {
                // Also within an episode, where the recording goes on past terminals.
                if set.terminals[row] {
                    to_come = 0.0;
                }
                to_come = reward(row) + discount * to_come;
                values.push(to_come);
            }
        }
        let (center, spread) = (mean(&values), std(&values, 0));
        // Values that are all one are learned in the units of the rewards.
        let scale = match spread > 1e-6 * (1.0 + center.abs()) {
            true => spread,
            false => 1.0,
        };
        let units = Units {
            center: center as f32,
            scale: scale as f32,
            least: least.min(least * forever) as f32,
            greatest: greatest.max(greatest * forever) as f32,
        };
        let Units { scale, .. } = units;
        let all = [units.center, scale, units.least, units.greatest];
        match all.iter().all(|x| x.is_finite()) && (scale * scale).is_normal() {
            true => Ok(units),
            false => Err(OpeError::Rewards { least, greatest }),
        }
    }

    /// Estimator number `index`, fitted.
    fn fit(
        &self,
        config: &FqeConfig,
        index: usize,
        units: Units,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Fqe, OpeError> {
        let (obs_dim, act_dim) = (self.data.obs_dim(), self.data.act_dim());
        let mut fqe = Fqe::new(config, obs_dim, act_dim, index, units)?;
        let mut sampler = Stream::new(config.seed, &format!("ope/{index}/sampler"));
        for done in 1..=config.updates {
            let (batch, next) = self.batch(config.batch, &mut sampler)?;
            let loss = fqe.update(&batch, &next)?;
            if done % EVERY == 0 || done == config.updates {
                if !loss.is_finite() {
                    return Err(OpeError::Diverged {
                        estimator: index,
                        update: done,
                    });
                }
                progress(done);
            }
        }
        Ok(fqe)
    }

    /// Transitions drawn with replacement, and what the policy does after them.
    fn batch(&self, rows: usize, sampler: &mut Stream) -> Result<(Batch, Tensor), OpeError> {
        let (data, act_dim) = (self.data, self.data.act_dim());
        let (mut obs, mut next_obs) = (Vec::new(), Vec::new());
        let (mut actions, mut next_actions) = (Vec::new(), Vec::new());
        let (mut rewards, mut not_terminal) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let i = self.training[sampler.index(self.training.len())];
            let draw = match self.policy.draws() {
                1 => 0,
                draws => sampler.index(draws),
            };
            obs.extend_from_slice(data.obs(i));
            next_obs.extend_from_slice(data.next_obs(i));
            actions.extend_from_slice(self.taken(data.row(i)));
            next_actions.extend_from_slice(self.policy.next(draw, i));
            rewards.push(data.reward(i));
            not_terminal.push(if data.terminal(i) { 0.0 } else { 1.0 });
        }
        self.normalizer.apply(&mut obs);
        self.normalizer.apply(&mut next_obs);
        let batch = Batch::of(&BatchSlices {
            rows,
            obs: &obs,
            actions: &actions,
            rewards: &rewards,
            next_obs: &next_obs,
            not_terminal: &not_terminal,
        })?;
        let next = Tensor::from_vec(next_actions, (rows, act_dim), &Device::Cpu)?;
        Ok((batch, next))
    }

    /// The logged action of `row`, scaled.
    pub(crate) fn taken(&self, row: usize) -> &[f32] {
        let width = self.data.act_dim();
        &self.taken[row * width..][..width]
    }

    /// What the policy is worth where the data's episodes begin.
    fn value(&self, estimators: &[Fqe], config: &FqeConfig) -> Result<OpeValue, OpeError> {
        let set = self.data.dataset();
        let draws = self.policy.draws();
        let (mut obs, mut actions) = (Vec::new(), Vec::new());
        for &row in &self.starts {
            for draw in 0..draws {
                obs.extend_from_slice(set.observation(row));
                actions.extend_from_slice(self.policy.at(draw, row));
            }
        }
        self.normalizer.apply(&mut obs);
        let mut of_start = vec![0.0; self.starts.len()];
        let mut of_each = Vec::with_capacity(estimators.len());
        for (index, fqe) in estimators.iter().enumerate() {
            let values = fqe.values(&obs, &actions, self.starts.len() * draws)?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(OpeError::Diverged {
                    estimator: index,
                    update: config.updates,
                });
            }
            of_each.push(mean(&values));
            for (sum, values) in of_start.iter_mut().zip(values.chunks(draws)) {
                *sum += mean(values) / estimators.len() as f64;
            }
        }
        let plan = Bootstrap {
            seed: config.seed,
            ..Bootstrap::coarse()
        };
        let found = hierarchical_mean(&[vec![of_start]], &plan)?.overall;
        let known = self.starts.len() > 1;
        let complete = set
            .episodes(self.data.horizon())
            .filter(|episode| episode.end != EpisodeEnd::Unfinished);
        let returns: Vec<f64> = complete
            .map(|episode| {
                episode.rows.rev().fold(0.0, |to_come, row| {
                    let ahead = if set.terminals[row] { 0.0 } else { to_come };
                    f64::from(set.rewards[row]) + config.discount * ahead
                })
            })
            .collect();
        Ok(OpeValue {
            discounted_return: found.value,
            low: known.then_some(found.interval.low),
            high: known.then_some(found.interval.high),
            initial_states: self.starts.len(),
            estimators: of_each,
            normalized_estimate: None,
            data_discounted_return: (!returns.is_empty()).then(|| mean(&returns)),
        })
    }
}
