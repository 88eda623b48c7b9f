//! Rollouts of a policy, many environments at a time.
//!
//! A policy is far cheaper on a batch than on single observations, so episodes
//! are played in lanes of up to `LANE` environments stepped together, and
//! lanes run side by side. Neither changes a result: every episode owns its
//! environment state and its two random streams, and a [`Policy`] acts on each
//! row by itself.

use rayon::prelude::*;
use spar_core::{EnvId, Policy, Stream};
use spar_env::{Env, EnvError, MakeEnv};

/// Most environments that are stepped together.
const LANE: usize = 16;

/// Most environments that are stepped together for a policy that costs as much on one
/// observation as on many: each has a simulation of its own.
const IN_STEP: usize = 1024;

/// One finished episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Undiscounted return: the sum of the rewards.
    pub ret: f64,
    /// Steps taken, at most [`EnvId::horizon`].
    pub length: usize,
    /// True if the environment ended it, false if the horizon did.
    pub terminated: bool,
}

/// Why a rollout could not be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// Making an environment failed.
    #[error(transparent)]
    Make(#[from] EnvError),
    /// An environment failed within an episode.
    #[error("episode {episode}, step {step}: {source}")]
    Env {
        /// Index of the episode.
        episode: usize,
        /// Steps the episode had behind it.
        step: usize,
        /// What the environment said.
        source: EnvError,
    },
    /// The policy is for another environment.
    #[error(
        "{env}: policy's {what} width: expected {expected}, got {got}; it was trained for another environment"
    )]
    Width {
        /// The environment.
        env: EnvId,
        /// `observation` or `action`.
        what: &'static str,
        /// The environment's width.
        expected: usize,
        /// The policy's.
        got: usize,
    },
    /// The policy or the environment gave a NaN or an infinity.
    #[error(
        "{env}: episode {episode}, step {step}: {what}[{index}]: expected a finite number, got {value}"
    )]
    NotFinite {
        /// The environment.
        env: EnvId,
        /// Index of the episode.
        episode: usize,
        /// Steps the episode had behind it.
        step: usize,
        /// `observation` or `action`.
        what: &'static str,
        /// Which component.
        index: usize,
        /// Its value, as the policy sees or gave it.
        value: f32,
    },
    /// The environment cannot be put into a state that it was in.
    #[error("{env}: cannot be put back into a state: {why}")]
    NotSettable {
        /// The environment.
        env: EnvId,
        /// Why.
        why: &'static str,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why.
        source: rayon::ThreadPoolBuildError,
    },
}

/// Plays `episodes` episodes of `policy` in environments that `env` makes, on `threads`
/// threads (zero counts as one), and returns them in order.
///
/// Episode `i` draws its initial state from `Stream::new(seed, "eval/{i}/reset")`
/// and the policy's noise from `Stream::new(seed, "eval/{i}/policy")`; it does
/// not depend on `threads`, nor on how many other episodes there are. The
/// policy sees observations rounded to `f32`.
///
/// # Errors
/// If the policy's widths are not the environment's, if the environment cannot
/// be made or stepped, or if an observation or action is not finite. Where
/// several episodes fail, the one reported may be any of them.
pub fn rollout(
    env: impl MakeEnv,
    policy: &dyn Policy,
    episodes: usize,
    seed: u64,
    threads: usize,
) -> Result<Vec<Episode>, EvalError> {
    let env: &dyn MakeEnv = &env;
    check_widths(env.id(), policy)?;
    let width = episodes.div_ceil(threads.max(1)).clamp(1, LANE);
    let starts: Vec<usize> = (0..episodes).step_by(width).collect();
    let play = |&first: &usize| {
        play_lane(
            env,
            policy,
            first..episodes.min(first + width),
            seed,
            &mut |_| (),
        )
    };
    Ok(each(threads, &starts, play)?.concat())
}

/// What `job` makes of each of `items`, in order, on `threads` threads; zero counts as one.
pub(crate) fn each<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    job: impl Fn(&T) -> Result<R, EvalError> + Sync + Send,
) -> Result<Vec<R>, EvalError> {
    if threads <= 1 {
        return items.iter().map(job).collect();
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| EvalError::Threads { threads, source })?
        .install(|| items.par_iter().map(job).collect())
}

/// The same episodes, a thousand stepped together on one thread: for a policy that
/// costs as much on one observation as on many.
///
/// # Errors
/// As [`rollout`].
pub fn rollout_in_step(
    env: impl MakeEnv,
    policy: &dyn Policy,
    episodes: usize,
    seed: u64,
) -> Result<Vec<Episode>, EvalError> {
    rollout_range(env, policy, 0..episodes, seed)
}

/// Those of the same episodes whose indices are in `episodes`, all stepped together on
/// one thread: a part of [`rollout`].
///
/// # Errors
/// As [`rollout`].
pub fn rollout_range(
    env: impl MakeEnv,
    policy: &dyn Policy,
    episodes: std::ops::Range<usize>,
    seed: u64,
) -> Result<Vec<Episode>, EvalError> {
    let env: &dyn MakeEnv = &env;
    check_widths(env.id(), policy)?;
    let lanes = episodes.clone().step_by(IN_STEP);
    let lanes = lanes.map(|first| {
        let indices = first..episodes.end.min(first + IN_STEP);
        play_lane(env, policy, indices, seed, &mut |_| ())
    });
    Ok(lanes.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Episode `episode` of [`rollout`], whose environment `see` is shown where it starts and after
/// each step.
///
/// # Errors
/// As [`rollout`].
pub fn watch(
    env: impl MakeEnv,
    policy: &dyn Policy,
    episode: usize,
    seed: u64,
    see: &mut dyn FnMut(&dyn Env),
) -> Result<Episode, EvalError> {
    let env: &dyn MakeEnv = &env;
    check_widths(env.id(), policy)?;
    let played = play_lane(env, policy, episode..episode + 1, seed, see)?;
    // A lane of one episode has one.
    let none = Episode {
        ret: 0.0,
        length: 0,
        terminated: false,
    };
    Ok(played.first().copied().unwrap_or(none))
}

pub(crate) fn check_widths(env: EnvId, policy: &dyn Policy) -> Result<(), EvalError> {
    for (what, expected, got) in [
        ("observation", env.obs_dim(), policy.obs_dim()),
        ("action", env.act_dim(), policy.act_dim()),
    ] {
        if expected != got {
            return Err(EvalError::Width {
                env,
                what,
                expected,
                got,
            });
        }
    }
    Ok(())
}

/// An episode under way.
struct Running {
    index: usize,
    env: Box<dyn Env>,
    so_far: Episode,
}

impl Running {
    fn check_finite(&self, what: &'static str, values: &[f32]) -> Result<(), EvalError> {
        match values.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(index) => Err(EvalError::NotFinite {
                env: self.env.id(),
                episode: self.index,
                step: self.so_far.length,
                what,
                index,
                value: values[index],
            }),
        }
    }

    fn failed(&self, source: EnvError) -> EvalError {
        EvalError::Env {
            episode: self.index,
            step: self.so_far.length,
            source,
        }
    }
}

/// Plays the episodes of one lane together; the batch shrinks as they end.
fn play_lane(
    maker: &dyn MakeEnv,
    policy: &dyn Policy,
    indices: std::ops::Range<usize>,
    seed: u64,
    see: &mut dyn FnMut(&dyn Env),
) -> Result<Vec<Episode>, EvalError> {
    let mut done: Vec<Option<Episode>> = vec![None; indices.len()];
    let mut running = Vec::with_capacity(indices.len());
    let mut noise = Vec::with_capacity(indices.len());
    for index in indices.clone() {
        let mut episode = Running {
            index,
            env: maker.make()?,
            so_far: Episode {
                ret: 0.0,
                length: 0,
                terminated: false,
            },
        };
        let mut reset = Stream::new(seed, &format!("eval/{index}/reset"));
        let outcome = episode.env.reset(&mut reset);
        outcome.map_err(|e| episode.failed(e))?;
        see(&*episode.env);
        running.push(episode);
        noise.push(Stream::new(seed, &format!("eval/{index}/policy")));
    }

    let id = maker.id();
    let (obs_dim, act_dim) = (id.obs_dim(), id.act_dim());
    let mut obs = vec![0f32; running.len() * obs_dim];
    let mut actions = vec![0f32; running.len() * act_dim];
    while !running.is_empty() {
        obs.truncate(running.len() * obs_dim);
        actions.truncate(running.len() * act_dim);
        for (row, episode) in obs.chunks_exact_mut(obs_dim).zip(&running) {
            for (out, &x) in row.iter_mut().zip(episode.env.obs()) {
                *out = x as f32;
            }
            episode.check_finite("observation", row)?;
        }
        policy.act(&obs, &mut noise, &mut actions);
        for (action, episode) in actions.chunks_exact(act_dim).zip(&mut running) {
            episode.check_finite("action", action)?;
            let outcome = episode.env.step(action);
            let step = outcome.map_err(|e| episode.failed(e))?;
            episode.so_far.ret += step.reward;
            episode.so_far.length += 1;
            episode.so_far.terminated = step.terminal;
            see(&*episode.env);
        }
        let mut row = 0;
        while let Some(Running { index, so_far, .. }) = running.get(row) {
            if so_far.terminated || so_far.length == id.horizon() {
                done[index - indices.start] = Some(*so_far);
                running.swap_remove(row);
                noise.swap_remove(row);
            } else {
                row += 1;
            }
        }
    }
    Ok(done.into_iter().flatten().collect())
}
