//! Data of adroit's cloned tasks by D4RL's recipe: half of them a clone of the demonstrations,
//! the other half the demonstrations again and again.
//!
//! `scripts/generation/hand_dapg_combined.py` of github.com/Farama-Foundation/D4RL at 89141a6
//! (studied, not copied): of `N` rows the clone's come first, up to the first end of an episode
//! at row `N / 2` or later, counted from 0; then the demonstrations, in order and from the
//! first again, until there are `N` rows, the last of them cut there. Where no episode ends in
//! the second half, as in a file of a few rows, all rows are the clone's.
//!
//! The clone is this project's anchor ([`spar_anchor`]): two hidden layers of 256 fitted to the
//! rows of the local human data, acting without noise. D4RL's scripts do not say how its clone
//! was trained, nor whether it acted with noise.

use std::{collections::BTreeMap, path::Path};

use spar_anchor::{Anchor, AnchorConfig, AnchorTrainer};
use spar_core::{EnvId, Normalizer, Policy, Stream, TaskId};
use spar_data::MetaValue;
use spar_nn::{Batch, RowMlp, RowWork};

use crate::{
    CollectError, adroit,
    demonstrations::{self, Demonstration, proof},
    facts::{Behavior, End, EpisodeFacts},
    recipe::{self, Generated},
    roll::{Stage, Tail},
};

/// Who acts first, in the file's card, and part of the names of its streams.
const CLONE: &str = "clone of DAPG's demonstrations";

/// Rows of a gradient update.
const BATCH: usize = 256;

/// A policy cloned from data: deterministic, of normalized observations.
#[derive(Clone, Debug, PartialEq)]
pub struct Cloned {
    net: RowMlp,
    normalizer: Normalizer,
}

impl Cloned {
    /// Fits `actions`, `[n, act_dim]`, at `obs`, `[n, obs_dim]`, of `env`. Weights and batches
    /// are drawn from streams of `seed`; the same data and seed give the same policy on the
    /// same machine.
    ///
    /// # Errors
    /// If there are no rows, or a width is not the environment's.
    pub fn train(
        env: EnvId,
        obs: &[f32],
        actions: &[f32],
        config: &AnchorConfig,
        seed: u64,
    ) -> Result<Self, CollectError> {
        let (obs_dim, act_dim) = (env.obs_dim(), env.act_dim());
        let rows = obs.len() / obs_dim;
        if rows == 0 || obs.len() != rows * obs_dim || actions.len() != rows * act_dim {
            return Err(CollectError::Demonstrations {
                file: env.to_string(),
                why: format!(
                    "{} numbers of observations and {} of actions are no rows of {obs_dim} and \
                     {act_dim}",
                    obs.len(),
                    actions.len()
                ),
            });
        }
        let normalizer = Normalizer::of_rows(obs_dim, obs.chunks_exact(obs_dim));
        let mut normalized = obs.to_vec();
        normalizer.apply(&mut normalized);
        let stream = |what: &str| Stream::new(seed, &format!("data/{env}/{CLONE}/{what}"));
        let anchor = Anchor::new(config, obs_dim, act_dim, &mut stream("init"))?;
        let mut trainer = AnchorTrainer::new(anchor, config);
        let mut batches = stream("batches");
        let (mut states, mut acted) = (Vec::new(), Vec::new());
        // Cloning reads neither.
        let (none, ahead) = ([0.0; BATCH], vec![0.0; BATCH * obs_dim]);
        for _ in 0..config.updates {
            states.clear();
            acted.clear();
            for _ in 0..BATCH {
                let row = batches.index(rows);
                states.extend_from_slice(&normalized[row * obs_dim..][..obs_dim]);
                acted.extend_from_slice(&actions[row * act_dim..][..act_dim]);
            }
            let batch = Batch::from_slices(BATCH, &states, &acted, &none, &ahead, &none)?;
            trainer.update(&batch)?;
        }
        Ok(Self {
            net: trainer.freeze().rows()?,
            normalizer,
        })
    }
}

impl Policy for Cloned {
    fn obs_dim(&self) -> usize {
        self.net.input_dim()
    }

    fn act_dim(&self) -> usize {
        self.net.output_dim()
    }

    fn act(&self, obs: &[f32], _streams: &mut [Stream], actions: &mut [f32]) {
        let mut obs = obs.to_vec();
        self.normalizer.apply(&mut obs);
        self.net.rows(&obs, &mut RowWork::default(), actions);
    }
}

/// Whether the data of `task` are half a clone's.
pub(crate) fn is_cloned(task: TaskId) -> bool {
    let env = task.env();
    adroit::is_simulated(env) && task.name().strip_prefix(env.name()) == Some("-cloned")
}

/// Rows of the local file of `task` at scale `rows`; `None` if there is no recipe for it.
pub(crate) fn rows_of(task: TaskId, rows: usize) -> Option<usize> {
    is_cloned(task).then(|| adroit::scaled(task.env(), rows))
}

/// The metadata of a local file; see [`crate::recipe::metadata`].
pub(crate) fn metadata(
    task: TaskId,
    rows: usize,
    seed: u64,
    config: &AnchorConfig,
) -> Result<BTreeMap<String, MetaValue>, CollectError> {
    let mut metadata = recipe::made_from(task, rows, seed)?;
    let mut text = |key: &str, value: String| {
        metadata.insert(key.to_owned(), MetaValue::Text(value));
    };
    text("algorithm", "behaviour cloning".to_owned());
    text(
        "spar_policies",
        format!(
            "{CLONE}: layers of {:?}, {} updates of {BATCH} rows at rate {}; then {}",
            config.hidden,
            config.updates,
            config.lr,
            demonstrations::BEHAVIOR
        ),
    );
    if let Some((key, value)) = proof(task.env()) {
        text(key, value.to_owned());
    }
    Ok(metadata)
}

/// [`recipe::generate`] of the cloned `task` with another training of the clone than the
/// recipe's, which is [`AnchorConfig`]'s default; the file says which it was.
///
/// # Errors
/// As [`recipe::generate`], and if `task` is no cloned one.
pub fn generate(
    task: TaskId,
    rows: usize,
    seed: u64,
    config: &AnchorConfig,
    out: &Path,
    threads: usize,
) -> Result<Generated, CollectError> {
    let env = task.env();
    let total = rows_of(task, rows).ok_or(CollectError::NoRecipe(task))?;
    let demos = demonstrations::play(env, &Demonstration::of(env)?, 1)?;
    let (mut obs, mut actions) = (Vec::new(), Vec::new());
    for steps in &demos {
        obs.extend_from_slice(&steps.obs[..steps.len() * env.obs_dim()]);
        actions.extend_from_slice(&steps.actions);
    }
    let clone = Cloned::train(env, &obs, &actions, config, seed)?;
    let stages = [Stage {
        name: CLONE.to_owned(),
        policy: Box::new(clone),
        // The row that may be the last is the first of the second half.
        until: total / 2 + 1,
        tail: Tail::Finish,
    }];
    let mut writer = recipe::writer(env, out, &metadata(task, rows, seed, config)?)?;
    let mut episodes = Vec::new();
    recipe::rolled(env, seed, &stages, threads, |mut steps| {
        steps.truncate(total - writer.rows());
        episodes.push(EpisodeFacts::of(&steps, env.horizon()));
        let cut = steps.len() == env.horizon() && !steps.terminal;
        recipe::write(&mut writer, env, &steps, cut, &[])
    })?;
    for steps in demos.iter().cycle() {
        let left = total - writer.rows();
        if left == 0 {
            break;
        }
        let whole = steps.len() <= left;
        let mut part = steps.clone();
        part.truncate(left);
        recipe::write(&mut writer, env, &part, whole, &[])?;
        let mut known = demonstrations::facts(env, &part);
        if !whole {
            known.end = End::Unfinished;
        }
        episodes.push(known);
    }
    let identity = writer.finish()?;
    let behavior = [CLONE, demonstrations::BEHAVIOR].into_iter().enumerate();
    Ok(Generated {
        identity,
        behavior: behavior
            .map(|(stage, who)| Behavior::of(who, stage, &episodes))
            .collect(),
        episodes,
        policies: None,
    })
}
