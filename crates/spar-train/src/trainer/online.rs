//! The stage that fine-tunes: steps in an environment, each followed by updates.

use spar_core::Stream;
use spar_nn::State;

use super::{Stage, Trainer};
use crate::{
    config::setting,
    control::Phase,
    error::TrainError,
    online::{Online, STEPS},
    spec::{Method, RunSpec},
};

impl Stage<'_> {
    /// The next step in the environment, and the updates that follow it.
    pub(super) fn step_online(&mut self) -> Result<(), TrainError> {
        let Some(online) = &mut self.online else {
            return Ok(());
        };
        let (learner, step) = (self.learner.get(), self.update + 1);
        let explorer = learner.explorer(self.replay.normalizer(), online.noise())?;
        let Some(policy) = explorer else {
            let why = "what is trained has no policy that collects";
            return Err(TrainError::Config(why.to_owned()));
        };
        online.step(&policy, &self.replay)?;
        let before = online.updates_before(step);
        for update in 1..=online.updates_after(step) {
            let (batch, index) = (&mut self.batch, &mut self.index);
            online.draw(&self.replay, &mut self.sampler, batch, index);
            self.precisions
                .during(|| learner.update(before + update, batch, index))?;
        }
        self.update = step;
        Ok(())
    }
}

impl Trainer<'_> {
    /// Fine-tunes from here on as `spec` says, from the state `from` of an offline run, or
    /// resumes from the `checkpoint` of such a run.
    ///
    /// # Errors
    /// If an entry is absent or of another size, or if the environment fails.
    pub(crate) fn go_online(
        &mut self,
        spec: &RunSpec,
        from: Option<&State>,
        checkpoint: Option<&State>,
    ) -> Result<(), TrainError> {
        let (Some(finetune), Some(env)) = (&spec.finetune, spec.env) else {
            let why = "fine-tuning needs an environment and says how: `env` and `finetune`";
            return Err(TrainError::Config(why.to_owned()));
        };
        if let Some(state) = checkpoint.or(from) {
            self.load(state)?;
        }
        let discount = match (self.method, &self.config.method) {
            (Method::Baseline(entry), Some(own)) => entry.feed(own).map_err(setting)?.discount,
            _ => self.config.critic.discount,
        };
        let stage = &mut self.stage;
        let mut online = Online::new(finetune, env, &stage.replay, discount, self.seed)?;
        (stage.phase, stage.update, stage.last) = (Phase::Online, 0, finetune.steps);
        match checkpoint {
            Some(state) => {
                online.load(state)?;
                stage.update = state.get_count(STEPS)?;
            }
            None => stage.sampler = Stream::new(self.seed, "finetune/data"),
        }
        stage.online = Some(online);
        Ok(())
    }

    /// Adds how far it is, online and offline, and what it resumes collecting from.
    pub(super) fn save_online(&self, state: &mut State) {
        if let Some(online) = &self.stage.online {
            state.insert_count(self.counter(), self.config.updates);
            state.insert_count(STEPS, self.stage.update);
            online.save(state);
        }
    }
}
