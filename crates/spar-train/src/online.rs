//! Acting in an environment while training: what is collected, and minibatches of it beside
//! the offline data.

use spar_baselines::Replay;
use spar_collect::replay::{Replay as Collected, Transition};
use spar_core::{EnvId, Policy, Stream};
use spar_data::Batch;
use spar_env::Env;
use spar_nn::{State, StateError};

use crate::{error::TrainError, finetune::Finetune};

/// A checkpoint's counter of steps.
pub(crate) const STEPS: &str = "steps.online";

/// What a method is fine-tuned with.
pub(crate) struct Online {
    finetune: Finetune,
    env: Box<dyn Env>,
    id: EnvId,
    /// Every step taken, rewards as the method sees them, observations as the environment
    /// gives them.
    collected: Collected,
    /// The discounted return from each step of the finished episodes on, where the method
    /// learns from returns.
    returns: Option<Vec<f32>>,
    discount: f64,
    /// Draws initial states, the policy's actions, and minibatches of what was collected.
    resets: Stream,
    explore: [Stream; 1],
    sampler: Stream,
    /// [`Self::resets`] before the present episode.
    began: Stream,
    /// The present observation.
    obs: Vec<f32>,
    action: Vec<f32>,
    next_obs: Vec<f32>,
    /// Undiscounted return and steps of the present episode; no steps before the first.
    so_far: (f64, usize),
    /// Finished episodes, and the return of the last.
    episodes: u64,
    last_return: f64,
}

impl Online {
    /// Nothing collected yet.
    ///
    /// # Errors
    /// If the environment cannot be made.
    pub(crate) fn new(
        finetune: &Finetune,
        id: EnvId,
        replay: &Replay,
        discount: f64,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let stream = |name: &str| Stream::new(seed, &format!("finetune/{name}"));
        let capacity = usize::try_from(finetune.steps).unwrap_or(usize::MAX);
        let resets = stream("reset");
        Ok(Self {
            env: spar_env::make(id)?,
            id,
            collected: Collected::new(id, capacity),
            returns: replay.has_returns().then(Vec::new),
            discount,
            began: resets.clone(),
            resets,
            explore: [stream("explore")],
            sampler: stream("sampler"),
            obs: vec![0.0; id.obs_dim()],
            action: vec![0.0; id.act_dim()],
            next_obs: vec![0.0; id.obs_dim()],
            so_far: (0.0, 0),
            episodes: 0,
            last_return: 0.0,
            finetune: finetune.clone(),
        })
    }

    /// Deviation of the noise on actions; zero where none is added.
    pub(crate) fn noise(&self) -> f32 {
        self.finetune.noise.unwrap_or_default() as f32
    }

    /// How many updates follow step number `step`.
    pub(crate) fn updates_after(&self, step: u64) -> u64 {
        match step > self.finetune.start_steps {
            true => self.finetune.updates_per_step,
            false => 0,
        }
    }

    /// Updates before step number `step`.
    pub(crate) fn updates_before(&self, step: u64) -> u64 {
        let learning = step.saturating_sub(self.finetune.start_steps + 1);
        learning * self.finetune.updates_per_step
    }

    /// One step by `policy`. An episode that the environment ends has no future; one that the
    /// horizon cuts has: its last transition is as any other.
    ///
    /// # Errors
    /// If the environment fails or refuses the action.
    pub(crate) fn step(&mut self, policy: &dyn Policy, replay: &Replay) -> Result<(), TrainError> {
        if self.so_far.1 == 0 {
            self.reset()?;
        }
        policy.act(&self.obs, &mut self.explore, &mut self.action);
        let outcome = self.env.step(&self.action)?;
        narrow(self.env.obs(), &mut self.next_obs);
        self.collected.push(&Transition {
            obs: &self.obs,
            action: &self.action,
            reward: replay.scaled(outcome.reward as f32),
            next_obs: &self.next_obs,
            terminal: outcome.terminal,
        });
        self.obs.copy_from_slice(&self.next_obs);
        self.so_far = (self.so_far.0 + outcome.reward, self.so_far.1 + 1);
        if outcome.terminal || self.so_far.1 == self.id.horizon() {
            self.finish_episode();
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), TrainError> {
        self.began = self.resets.clone();
        self.env.reset(&mut self.resets)?;
        narrow(self.env.obs(), &mut self.obs);
        Ok(())
    }

    fn finish_episode(&mut self) {
        let (ret, length) = self.so_far;
        if let Some(returns) = &mut self.returns {
            let first = self.collected.len() - length;
            let mut own = vec![0.0; length];
            let mut to_go = 0.0;
            for (i, own) in own.iter_mut().enumerate().rev() {
                let reward = f64::from(self.collected.get(first + i).reward);
                to_go = reward + self.discount * to_go;
                *own = to_go as f32;
            }
            returns.extend(own);
        }
        self.episodes += 1;
        self.last_return = ret;
        self.so_far = (0.0, 0);
    }

    /// How many of the steps can be drawn: all, or those of finished episodes where the method
    /// learns from returns, which the present one does not have yet.
    fn drawable(&self) -> usize {
        self.returns.as_ref().map_or(self.collected.len(), Vec::len)
    }

    /// Fills `batch`: its first rows from the offline data by `offline`, whose indices are put
    /// into `index`, the others from what was collected; all from the data while there is
    /// nothing to draw.
    pub(crate) fn draw(
        &mut self,
        replay: &Replay,
        offline: &mut Stream,
        batch: &mut Batch,
        index: &mut Vec<usize>,
    ) {
        let drawable = self.drawable();
        let first = match drawable {
            0 => batch.size,
            _ => self.finetune.offline_rows(batch.size),
        };
        index.clear();
        let len = replay.transitions().len();
        index.extend((0..first).map(|_| offline.index(len)));
        replay.gather_first(index, batch);
        let (o, a) = (self.id.obs_dim(), self.id.act_dim());
        for row in first..batch.size {
            let i = self.sampler.index(drawable);
            let drawn = self.collected.get(i);
            batch.obs[row * o..(row + 1) * o].copy_from_slice(drawn.obs);
            batch.next_obs[row * o..(row + 1) * o].copy_from_slice(drawn.next_obs);
            batch.actions[row * a..(row + 1) * a].copy_from_slice(drawn.action);
            batch.rewards[row] = drawn.reward;
            batch.not_terminal[row] = if drawn.terminal { 0.0 } else { 1.0 };
            if let Some(returns) = &self.returns {
                batch.returns[row] = returns[i];
            }
        }
        let normalizer = replay.normalizer();
        normalizer.apply(&mut batch.obs[first * o..]);
        normalizer.apply(&mut batch.next_obs[first * o..]);
    }

    /// Finished episodes, and the undiscounted return of the last.
    pub(crate) fn measured(&self) -> impl Iterator<Item = (&'static str, f32)> {
        let last = ("last_return", self.last_return as f32);
        let last = (self.episodes > 0).then_some(last);
        [("episodes", self.episodes as f32)].into_iter().chain(last)
    }

    /// Adds all that collecting resumes from to `state`: of the simulation no more than how
    /// its episode began and which actions followed, which are among the steps.
    pub(crate) fn save(&self, state: &mut State) {
        self.collected.save(state);
        if let Some(returns) = &self.returns {
            state.insert("online.returns", returns.clone());
            state.insert_count("online.returned", returns.len() as u64);
        }
        let streams = [
            ("began", &self.began),
            ("resets", &self.resets),
            ("explore", &self.explore[0]),
            ("sampler", &self.sampler),
        ];
        for (name, stream) in streams {
            state.insert_stream(&format!("online.{name}"), stream);
        }
        state.insert_count("online.length", self.so_far.1 as u64);
        state.insert_count("online.episodes", self.episodes);
        state.insert_count("online.last_return", self.last_return.to_bits());
    }

    /// Takes all that from `state`, and plays the present episode up to where it was.
    ///
    /// # Errors
    /// If something is absent or of another size, or if the environment fails.
    pub(crate) fn load(&mut self, state: &State) -> Result<(), TrainError> {
        let count = |name: &str| -> Result<usize, StateError> {
            let count = state.get_count(name)?;
            Ok(usize::try_from(count).unwrap_or(usize::MAX))
        };
        self.collected.load(state)?;
        if let Some(returns) = &mut self.returns {
            *returns = state.get("online.returns", count("online.returned")?)?;
        }
        let [explore] = &mut self.explore;
        for (name, stream) in [
            ("began", &mut self.began),
            ("resets", &mut self.resets),
            ("explore", explore),
            ("sampler", &mut self.sampler),
        ] {
            *stream = state.get_stream(&format!("online.{name}"))?;
        }
        self.episodes = state.get_count("online.episodes")?;
        self.last_return = f64::from_bits(state.get_count("online.last_return")?);
        let length = count("online.length")?;
        let Some(first) = self.collected.len().checked_sub(length) else {
            return Err(StateError::Missing("replay.actions".to_owned()).into());
        };
        self.so_far = (0.0, 0);
        if length == 0 {
            return Ok(());
        }
        self.env.reset(&mut self.began.clone())?;
        for i in first..first + length {
            let outcome = self.env.step(self.collected.get(i).action)?;
            self.so_far = (self.so_far.0 + outcome.reward, self.so_far.1 + 1);
        }
        narrow(self.env.obs(), &mut self.obs);
        Ok(())
    }
}

fn narrow(values: &[f64], out: &mut [f32]) {
    for (to, value) in out.iter_mut().zip(values) {
        *to = *value as f32;
    }
}

#[cfg(test)]
#[path = "online_tests.rs"]
mod tests;
