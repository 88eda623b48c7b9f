//! The phase in which a method of `spar-baselines` is trained.

use std::sync::Arc;

use spar_anchor::Anchor;
use spar_baselines::{Actor, Entry, Learner, Part, Replay, Sample, Start};
use spar_core::{Stream, sha256_hex};
use spar_data::Batch;
use spar_nn::State;
use spar_rectify::{Residual, SparPolicy};

use super::{Session, log::Line};
use crate::{
    baseline_policy::LatentPolicy, control::Phase, error::TrainError, learner::batch_slices,
    plain_policy::PlainPolicy, policy_file::Contents,
};

impl Session<'_> {
    /// Trains `entry`'s method, on `anchor` where it is anchored.
    pub(super) fn baseline_phase(
        &mut self,
        entry: &Entry,
        anchor: Option<Anchor>,
        checkpoint: Option<&State>,
    ) -> Result<Contents, TrainError> {
        let (spec, config) = (self.spec, &self.spec.config);
        let settings = spec.settings()?;
        let feed = entry.feed(settings).map_err(crate::config::setting)?;
        let replay = Arc::new(Replay::new(self.data, &feed, spec.horizon())?);
        let (obs_dim, act_dim) = (self.data.obs_dim(), self.data.act_dim());
        self.normalizer = replay.normalizer().clone();
        self.reward_scale = replay.reward_scale();
        self.batch = Batch::new(feed.data.batch_size, obs_dim, act_dim);
        let start = Start {
            obs_dim,
            act_dim,
            seed: spec.seed,
            replay: Arc::clone(&replay),
            anchor,
        };
        let mut learner = entry.start(settings, start)?;
        let mut stream = Stream::new(spec.seed, &format!("{}/sampler", entry.name));
        let mut update = 0;
        let counter = spec.method.counter();
        if let Some(state) = checkpoint.filter(|c| c.get_count(counter).is_ok()) {
            learner.parts().load(state)?;
            stream = state.get_stream("sampler")?;
            update = state.get_count(counter)?;
        }
        let frozen = fingerprint(&mut *learner)?;
        let mut index = Vec::new();
        while update < config.updates {
            replay.draw(&mut stream, &mut self.batch, &mut index);
            let sample = Sample {
                batch: spar_nn::Batch::of(&batch_slices(&self.batch))?,
                index: std::mem::take(&mut index),
            };
            update += 1;
            let metrics = learner.update(update, &sample)?;
            index = sample.index;
            let finite = metrics.is_finite();
            let line = || Line {
                phase: Phase::Method,
                update,
                metrics,
            };
            if !finite {
                return Err(self.diverged(&line())?);
            }
            self.log(update, config.updates, line)?;
            if update.is_multiple_of(config.eval_every) {
                let policy = self.policy_of_baseline(&*learner)?;
                self.curve_point(update, &policy, config.eval_episodes)?;
            }
            let save = || {
                let mut state = State::default();
                learner.parts().save(&mut state)?;
                state.insert_count(counter, update);
                state.insert_stream("sampler", &stream);
                Ok(state)
            };
            self.after_update(Phase::Method, update, config.updates, save)?;
        }
        let got = fingerprint(&mut *learner)?;
        if got != frozen {
            return Err(TrainError::AnchorMoved {
                expected: frozen,
                got,
            });
        }
        self.policy_of_baseline(&*learner)
    }

    fn policy_of_baseline(&self, learner: &dyn Learner) -> Result<Contents, TrainError> {
        let (obs_mean, obs_std) = (self.normalizer.mean.clone(), self.normalizer.std.clone());
        Ok(match learner.actor()? {
            Actor::Net(net) => Contents::Plain(PlainPolicy {
                obs_mean,
                obs_std,
                net,
                affine: None,
            }),
            Actor::Residual { anchor, net, rho } => Contents::Spar(SparPolicy {
                obs_mean,
                obs_std,
                anchor,
                residual: Some(Residual::fixed(net, rho)),
            }),
            Actor::Latent(actor) => Contents::Latent(LatentPolicy {
                obs_mean,
                obs_std,
                actor,
            }),
        })
    }
}

/// SHA-256 of the frozen anchor's parameters; of nothing where there is none.
fn fingerprint(learner: &mut dyn Learner) -> Result<String, TrainError> {
    let parts = learner.parts();
    let mut bytes = Vec::new();
    for (name, part) in &parts.0 {
        if let (Part::Net(net), "anchor") = (part, name.as_str()) {
            bytes.extend(net.to_params()?.iter().flat_map(|p| p.to_le_bytes()));
        }
    }
    Ok(sha256_hex(&bytes))
}
