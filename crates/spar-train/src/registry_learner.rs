//! The methods of `spar-baselines` behind the interface of what is trained.

use std::sync::Arc;

use spar_anchor::Anchor;
use spar_baselines::{Actor, Entry, Metrics, Part, Replay, Sample, Start};
use spar_core::sha256_hex;
use spar_data::{Batch, Normalizer};
use spar_nn::{Device, State, Tensor};
use spar_policy::{LatentPolicy, Networks, PlainPolicy, Residual, SampledPolicy, SparPolicy};

use crate::{
    error::TrainError,
    explore::Explorer,
    learner::{Learner, batch_slices},
};

/// A method of `spar-baselines`, on the CPU.
pub(crate) struct OfRegistry {
    learner: Box<dyn spar_baselines::Learner>,
    metrics: Metrics,
}

impl OfRegistry {
    /// The method before its first update.
    pub(crate) fn start(
        entry: &Entry,
        settings: &toml::Table,
        (replay, anchor): (&Arc<Replay>, Option<Anchor>),
        seed: u64,
    ) -> Result<Self, TrainError> {
        let data = replay.transitions();
        let start = Start {
            obs_dim: data.obs_dim(),
            act_dim: data.act_dim(),
            seed,
            replay: Arc::clone(replay),
            anchor,
        };
        Ok(Self {
            learner: entry.start(settings, start)?,
            metrics: Metrics::default(),
        })
    }
}

impl Learner for OfRegistry {
    fn update(
        &mut self,
        step: u64,
        batch: &Batch,
        index: &mut Vec<usize>,
    ) -> Result<(), TrainError> {
        let mut made = spar_nn::Batch::of(&batch_slices(batch))?;
        if !batch.returns.is_empty() {
            made.returns = Some(Tensor::from_slice(
                &batch.returns,
                batch.size,
                &Device::Cpu,
            )?);
        }
        let sample = Sample {
            batch: made,
            index: std::mem::take(index),
        };
        self.metrics = self.learner.update(step, &sample)?;
        *index = sample.index;
        Ok(())
    }

    fn metrics(&mut self) -> Result<Metrics, TrainError> {
        Ok(self.metrics.clone())
    }

    fn is_finite(&mut self) -> Result<bool, TrainError> {
        Ok(self.metrics.is_finite())
    }

    fn save(&mut self, state: &mut State) -> Result<(), TrainError> {
        Ok(self.learner.parts().save(state)?)
    }

    fn load(&mut self, state: &State) -> Result<(), TrainError> {
        Ok(self.learner.parts().load(state)?)
    }

    fn policy(&mut self, normalizer: &Normalizer) -> Result<Networks, TrainError> {
        let normalizer = normalizer.clone();
        Ok(match self.learner.actor()? {
            Actor::Net(net) => Networks::Plain(PlainPolicy {
                normalizer,
                net,
                affine: None,
            }),
            Actor::Residual { anchor, net, rho } => Networks::Spar(SparPolicy {
                normalizer,
                anchor,
                residual: Some(Residual::fixed(net, rho)),
            }),
            Actor::Latent(actor) => Networks::Latent(LatentPolicy { normalizer, actor }),
            Actor::Sampled(actor) => Networks::Sampled(SampledPolicy { normalizer, actor }),
        })
    }

    fn explorer(
        &mut self,
        normalizer: &Normalizer,
        noise: f32,
    ) -> Result<Option<Explorer>, TrainError> {
        let Some(how) = self.learner.exploration()? else {
            return Ok(None);
        };
        let policy = self.policy(normalizer)?;
        Ok(Some(Explorer::of(how, policy, noise, normalizer)))
    }

    fn frozen(&mut self) -> Result<Option<String>, TrainError> {
        let parts = self.learner.parts();
        let anchor = parts.0.iter().find_map(|(name, part)| match part {
            Part::Net(net) if name == "anchor" => Some(net),
            _ => None,
        });
        let Some(anchor) = anchor else {
            return Ok(None);
        };
        let params = anchor.to_params()?;
        let bytes: Vec<u8> = params.iter().flat_map(|p| p.to_le_bytes()).collect();
        Ok(Some(sha256_hex(&bytes)))
    }
}
