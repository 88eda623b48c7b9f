//! Playing the episodes of a data file: many environments at a time, on several
//! threads, in bounded memory, and always the same episodes in the same order.
//!
//! Episode `i` of a stage draws from streams of its own, so neither the number
//! of threads nor the episodes beside it change it. Finished episodes leave in
//! order through a channel that holds few of them, while the next are played.

use std::{ops::Range, sync::mpsc::SyncSender};

use rayon::prelude::*;
use spar_core::{EnvId, Policy, Stream};
use spar_env::Env;

use crate::CollectError;

/// Environments one thread steps together.
const LANE: usize = 16;

/// Most episodes one thread plays before it hands them on.
const TURN: usize = 64;

/// One policy's part of a file.
pub struct Stage {
    /// Name of the policy; part of its streams' names.
    pub name: String,
    /// Who acts.
    pub policy: Box<dyn Policy>,
    /// Rows the file has when the stage is over.
    pub until: usize,
    /// What becomes of the episode that reaches `until`.
    pub tail: Tail,
}

/// What becomes of the episode that reaches the number of rows asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// It is cut there, unfinished, as in D4RL's files.
    Cut,
    /// It is finished, beyond the number asked for.
    Finish,
    /// It is left out.
    LeaveOut,
}

/// One played episode, flat: `n` steps.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Steps {
    /// Which stage played it.
    pub stage: usize,
    /// Observations, `[n + 1, obs_dim]`: the last is the one after the last step.
    pub obs: Vec<f32>,
    /// Actions, `[n, act_dim]`.
    pub actions: Vec<f32>,
    /// Rewards, `[n]`.
    pub rewards: Vec<f32>,
    /// Positions before each step, `[n, nq]`.
    pub qpos: Vec<f64>,
    /// Velocities before each step, `[n, nv]`.
    pub qvel: Vec<f64>,
    /// The environment ended the episode with the last step.
    pub terminal: bool,
}

impl Steps {
    /// Steps recorded.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// Keeps the first `n` steps; if there were more, the last of them ends nothing.
    pub(crate) fn truncate(&mut self, n: usize) {
        let len = self.len();
        if n >= len {
            return;
        }
        let width = |values: usize, rows: usize| values / rows;
        self.obs.truncate((n + 1) * width(self.obs.len(), len + 1));
        self.actions.truncate(n * width(self.actions.len(), len));
        self.qpos.truncate(n * width(self.qpos.len(), len));
        self.qvel.truncate(n * width(self.qvel.len(), len));
        self.rewards.truncate(n);
        self.terminal = false;
    }
}

/// Plays `stages` one after the other in `env` from `seed`, on the threads of
/// the current rayon pool, and sends their episodes in order. Ends early, without
/// an error, when nobody listens any more.
///
/// # Errors
/// If the environment fails.
pub fn play(
    env: EnvId,
    seed: u64,
    stages: &[Stage],
    out: &SyncSender<Steps>,
) -> Result<(), CollectError> {
    let mut lanes = (0..rayon::current_num_threads())
        .map(|_| Lane::new(env, seed))
        .collect::<Result<Vec<_>, _>>()?;
    let mut rows = 0;
    for (index, stage) in stages.iter().enumerate() {
        let (mut next, mut played) = (0, 0);
        'stage: while rows < stage.until {
            let length = usize::checked_div(played, next).unwrap_or(env.horizon());
            // As many as are likely needed, spread over all lanes.
            let left = (stage.until - rows).div_ceil(length.max(1));
            let each = left.div_ceil(lanes.len()).clamp(1, TURN);
            let turns = lanes.par_iter_mut().enumerate().map(|(i, lane)| {
                let first = next + i * each;
                lane.episodes(stage, first..first + each)
            });
            let turns = turns.collect::<Result<Vec<_>, _>>()?;
            next += each * lanes.len();
            for mut steps in turns.into_iter().flatten() {
                played += steps.len();
                let left = stage.until - rows;
                match stage.tail {
                    Tail::LeaveOut if steps.len() > left => break 'stage,
                    Tail::Cut => steps.truncate(left),
                    _ => {}
                }
                rows += steps.len();
                steps.stage = index;
                if out.send(steps).is_err() {
                    return Ok(());
                }
                if rows >= stage.until {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Environments that are stepped together.
struct Lane {
    id: EnvId,
    seed: u64,
    envs: Vec<Box<dyn Env>>,
}

/// An episode under way.
struct Running {
    index: usize,
    /// Which of the lane's environments it is played in.
    env: usize,
    steps: Steps,
}

impl Lane {
    fn new(id: EnvId, seed: u64) -> Result<Self, CollectError> {
        let envs = (0..LANE).map(|_| spar_env::make(id));
        Ok(Self {
            id,
            seed,
            envs: envs.collect::<Result<_, _>>()?,
        })
    }

    /// Plays the episodes `indices` of `stage`; an environment whose episode has
    /// ended takes the next one.
    fn episodes(
        &mut self,
        stage: &Stage,
        indices: Range<usize>,
    ) -> Result<Vec<Steps>, CollectError> {
        let (obs_dim, act_dim) = (self.id.obs_dim(), self.id.act_dim());
        let mut done: Vec<Steps> = vec![Steps::default(); indices.len()];
        let mut waiting = indices.clone();
        let (mut running, mut noise) = (Vec::new(), Vec::new());
        for env in 0..LANE {
            let Some(index) = waiting.next() else { break };
            let (episode, stream) = self.start(stage, index, env)?;
            running.push(episode);
            noise.push(stream);
        }
        let (mut obs, mut actions) = (Vec::new(), Vec::new());
        while !running.is_empty() {
            obs.clear();
            for Running { steps, .. } in &running {
                obs.extend_from_slice(&steps.obs[steps.obs.len() - obs_dim..]);
            }
            actions.resize(running.len() * act_dim, 0.0);
            stage.policy.act(&obs, &mut noise, &mut actions);
            let mut ended = Vec::new();
            for (row, (episode, action)) in running
                .iter_mut()
                .zip(actions.chunks_exact(act_dim))
                .enumerate()
            {
                let env = &mut self.envs[episode.env];
                let steps = &mut episode.steps;
                if let Some(state) = env.physics() {
                    steps.qpos.extend_from_slice(state.qpos());
                    steps.qvel.extend_from_slice(state.qvel());
                }
                let outcome = env.step(action)?;
                steps.actions.extend_from_slice(action);
                steps.rewards.push(outcome.reward as f32);
                steps.obs.extend(env.obs().iter().map(|&x| x as f32));
                steps.terminal = outcome.terminal;
                if outcome.terminal || steps.len() == self.id.horizon() {
                    ended.push(row);
                }
            }
            // From the back, so that the rows before stay where they are.
            for row in ended.into_iter().rev() {
                let Running { index, env, steps } = running.swap_remove(row);
                noise.swap_remove(row);
                done[index - indices.start] = steps;
                if let Some(index) = waiting.next() {
                    let (episode, stream) = self.start(stage, index, env)?;
                    running.push(episode);
                    noise.push(stream);
                }
            }
        }
        Ok(done)
    }

    fn start(
        &mut self,
        stage: &Stage,
        index: usize,
        env: usize,
    ) -> Result<(Running, Stream), CollectError> {
        let (id, name) = (self.id, &stage.name);
        let stream =
            |what: &str| Stream::new(self.seed, &format!("data/{id}/{name}/{index}/{what}"));
        let world = &mut self.envs[env];
        world.reset(&mut stream("reset"))?;
        let steps = Steps {
            obs: world.obs().iter().map(|&x| x as f32).collect(),
            ..Steps::default()
        };
        Ok((Running { index, env, steps }, stream("policy")))
    }
}
