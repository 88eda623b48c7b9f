//! How a run is evaluated: points of its learning curve, and its end. The policies
//! act on the CPU whatever trained them, so that a run's returns are those its
//! policy file gives to everyone.

use spar_core::{EnvId, Finetuned, RunRecord, Validation};
use spar_eval::Episode;
use spar_policy::{About, Networks, Policy};

use super::Session;
use crate::{
    control::Phase,
    error::TrainError,
    folder::{CurvePoint, ValidationPoint},
    spec::Method,
};

/// Version of the physics of a run without.
const NO_PHYSICS: &str = "none";

/// Episodes of the final evaluation between two looks at whether to stop.
const BETWEEN_STOPS: usize = 8;

impl Session<'_> {
    pub(super) fn curve_point(
        &mut self,
        update: u64,
        policy: &Networks,
        episodes: usize,
    ) -> Result<(), TrainError> {
        let seed = self.spec.eval_seed;
        match self.spec.env {
            Some(env) => {
                let played = spar_eval::rollout(env, policy, episodes, seed, 1)?;
                self.push_point(env, update, &played);
            }
            None => drop(self.validate(update, policy)?),
        }
        self.write_last_point(false)
    }

    /// Adds to the validation curve how `policy` does on what was held out, and returns it,
    /// episode by episode and in all.
    fn validate(
        &mut self,
        update: u64,
        policy: &Networks,
    ) -> Result<Option<(Vec<f64>, Validation)>, TrainError> {
        let held = self.held.map(|held| held.errors(policy));
        let found = held.transpose()?.flatten();
        if let Some((_, Validation { mse, .. })) = &found {
            self.reported.validation.retain(|p| p.update < update);
            self.reported.validation.push(ValidationPoint {
                update,
                validation_mse: *mse,
            });
        }
        Ok(found)
    }

    fn push_point(&mut self, env: EnvId, update: u64, played: &[Episode]) {
        let mean_return = played.iter().map(|e| e.ret).sum::<f64>() / played.len() as f64;
        self.reported.curve.retain(|p| p.update < update);
        self.reported.curve.push(CurvePoint {
            update,
            episodes: played.len(),
            mean_return,
            normalized_score: self.spec.dataset.normalized_score(env, mean_return),
        });
    }

    /// Evaluates the policy that is to be fine-tuned, in the episodes of the final evaluation:
    /// the curve's first point.
    pub(super) fn score_offline(&mut self, policy: &Networks) -> Result<(), TrainError> {
        let Some(env) = self.spec.env else {
            return Ok(());
        };
        let played = self.played(env, policy, 0)?;
        self.push_point(env, 0, &played);
        self.reported.offline_returns = played.iter().map(|e| e.ret).collect();
        self.write_last_point(false)
    }

    /// Evaluates the policy of the last update and closes the folder.
    pub(super) fn finish(mut self, policy: &Networks) -> Result<RunRecord, TrainError> {
        let spec = self.spec;
        let about = About {
            method: spec.label().to_owned(),
            env: spec.env.map(|env| env.name().to_owned()),
            task: spec.task.clone(),
            dataset: spec.dataset.clone(),
            seed: spec.seed,
            updates: match &spec.finetune {
                Some(finetune) => spec.config.updates + finetune.updates(),
                None => spec.updates(),
            },
        };
        let name = "policy.safetensors";
        let bounds = spec.offline.as_ref().map(|o| o.action_bounds.clone());
        let bytes = Policy::new(policy.clone(), Some(about), bounds).to_bytes();
        let bytes = bytes.map_err(|e| e.in_file(&self.folder.file(name)))?;
        self.folder.write(name, &bytes)?;
        self.report(Phase::Eval, spec.updates())?;
        let (returns, validation) = match spec.env {
            Some(env) => (self.play(env, policy)?, None),
            None => (Vec::new(), self.compare(policy)?),
        };
        let record = RunRecord {
            suite: spec.suite.clone(),
            preset: spec.preset.clone(),
            task: spec.task.clone(),
            method: spec.label().to_owned(),
            seed: spec.seed,
            env: spec.env.map(String::from),
            dataset: spec.dataset.clone(),
            returns,
            validation,
            eval_seed: spec.eval_seed,
            updates: if spec.method == Method::Bc {
                0
            } else {
                spec.config.updates
            },
            anchor_updates: spec.anchor_updates(),
            wall_s: self.wall_s(),
            commit: self.control.commit.clone(),
            mujoco_version: match spec.env {
                Some(env) => spar_env::physics_version(env)?,
                None => NO_PHYSICS.to_owned(),
            },
            threads: 1,
            device: spec.device.name().to_owned(),
            command: self.control.command.clone(),
            finetuned: spec.finetune.as_ref().map(|finetune| Finetuned {
                steps: finetune.steps,
                updates: finetune.updates(),
                offline_returns: self.reported.offline_returns.clone(),
            }),
            integrity: None,
        };
        let record = self.folder.write_done(record, spec)?;
        for sink in &mut self.sinks {
            sink.end(&record)?;
        }
        Ok(record)
    }

    /// Plays the final evaluation in `env`, writes it and returns its returns.
    fn play(&mut self, env: EnvId, policy: &Networks) -> Result<Vec<f64>, TrainError> {
        let spec = self.spec;
        // The checkpoint of the last update is written.
        let played = self.played(env, policy, spec.updates())?;
        self.push_point(env, spec.updates(), &played);
        self.write_last_point(true)?;
        self.write_reported()?;
        self.folder.write_returns(&played)?;
        Ok(played.iter().map(|e| e.ret).collect())
    }

    /// The episodes of the final evaluation, played by the policy of `update`, after which the
    /// run stops if it is asked to.
    fn played(
        &self,
        env: EnvId,
        policy: &Networks,
        update: u64,
    ) -> Result<Vec<Episode>, TrainError> {
        let (episodes, seed) = (self.spec.final_episodes, self.spec.eval_seed);
        let mut played = Vec::with_capacity(episodes);
        while played.len() < episodes {
            if (self.control.stop)() {
                return Err(TrainError::Stopped(update));
            }
            let next = played.len()..episodes.min(played.len() + BETWEEN_STOPS);
            played.extend(spar_eval::rollout_range(env, policy, next, seed)?);
        }
        Ok(played)
    }

    /// Compares the policy with what was held out, and writes it.
    fn compare(&mut self, policy: &Networks) -> Result<Option<Validation>, TrainError> {
        let found = self.validate(self.spec.updates(), policy)?;
        self.write_last_point(true)?;
        self.write_reported()?;
        let (Some((each, validation)), Some(held)) = (found, self.held) else {
            return Ok(None);
        };
        self.folder.write_held_out(&held.episodes, &each)?;
        Ok(Some(validation))
    }
}
