//! What is trained, behind one interface: the anchor, SPAR or a baseline, computed in candle
//! on the CPU or by the kernels of a device. Whatever trains asks for nothing else.

use std::io;

use spar_anchor::{Anchor, AnchorConfig, AnchorTrainer, DeviceAnchorTrainer};
use spar_baselines::Metrics;
use spar_data::{Batch, Normalizer};
use spar_nn::{
    BatchSlices, State, StateError,
    device::{Device, Kernels},
};
use spar_policy::{Networks, RectifiedPolicy, SparPolicy};
use spar_rectify::{Ablation, Base, DeviceSpar, Spar, SparMetrics};

use crate::{error::TrainError, explore::Explorer, given::Given, spec::DeviceKind};

/// The checkpoint's entry that holds what SPAR's last update measured.
const METRICS: &str = "metrics";

/// SPAR around a policy of a file, in messages.
pub(crate) const AROUND: &str = "spar with `anchor.file`";

/// Something that learns from one minibatch at a time.
pub(crate) trait Learner {
    /// Whether what every update measures is known without waiting for it.
    fn at_hand(&self) -> bool {
        true
    }

    /// Update number `step`, from one, on `batch`, whose rows are the transitions `index` of
    /// the replay.
    fn update(
        &mut self,
        step: u64,
        batch: &Batch,
        index: &mut Vec<usize>,
    ) -> Result<(), TrainError>;

    /// What the last update measured.
    fn metrics(&mut self) -> Result<Metrics, TrainError>;

    /// Whether all of it is finite.
    fn is_finite(&mut self) -> Result<bool, TrainError> {
        Ok(self.metrics()?.is_finite())
    }

    /// Adds all that training resumes from to `state`.
    fn save(&mut self, state: &mut State) -> Result<(), TrainError>;

    /// Takes all that training resumes from, out of `state`.
    fn load(&mut self, state: &State) -> Result<(), TrainError>;

    /// The policy as trained so far, which sees states that `normalizer` makes.
    fn policy(&mut self, normalizer: &Normalizer) -> Result<Networks, TrainError>;

    /// The policy as it acts where it collects, adding noise of this deviation if it does not
    /// draw its actions itself; `None` of what is not fine-tuned online.
    fn explorer(
        &mut self,
        _normalizer: &Normalizer,
        _noise: f32,
    ) -> Result<Option<Explorer>, TrainError> {
        Ok(None)
    }

    /// The policy it is around, where that is no anchor of its own.
    fn given(&self) -> Option<&Given> {
        None
    }

    /// SHA-256 of the parameters that training must not move: those of a frozen anchor.
    /// `None` where there are none.
    fn frozen(&mut self) -> Result<Option<String>, TrainError> {
        Ok(None)
    }
}

/// The anchor while it is being trained.
pub(crate) trait AnchorLearner: Learner {
    /// The anchor as trained so far.
    fn trained(&mut self) -> Result<Anchor, TrainError>;
}

/// Where updates are computed.
pub(crate) trait Backend<'k> {
    /// What a run's spec calls it.
    fn kind(&self) -> DeviceKind;

    /// Continues from `start`, on batches of `rows` transitions.
    fn anchor(
        &self,
        start: AnchorTrainer,
        config: &AnchorConfig,
        rows: usize,
    ) -> Result<Box<dyn AnchorLearner + 'k>, TrainError>;

    /// Continues from `start`, on batches of `rows` transitions.
    fn spar(&self, start: Spar, rows: usize) -> Result<Box<dyn Learner + 'k>, TrainError>;

    /// Continues from `start`, around the policy that is given.
    fn spar_around(&self, start: Spar, given: Given) -> Result<Box<dyn Learner + 'k>, TrainError>;
}

/// candle on the CPU: the definition.
pub(crate) struct Cpu;

/// The kernels of a device.
pub(crate) struct OnDevice<'k, D>(pub(crate) &'k Kernels<D>);

struct CpuAnchor {
    trainer: AnchorTrainer,
    loss: f32,
}

struct CpuSpar {
    spar: Spar,
    metrics: SparMetrics,
    /// The policy it is around, where that is no anchor of its own.
    given: Option<Given>,
}

/// A learner on a device, and the same on the CPU, for what is done there: the
/// start, policies and fingerprints.
struct Mirrored<L, C> {
    learner: L,
    cpu: C,
}

impl<'k> Backend<'k> for Cpu {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }

    fn anchor(
        &self,
        trainer: AnchorTrainer,
        _config: &AnchorConfig,
        _rows: usize,
    ) -> Result<Box<dyn AnchorLearner + 'k>, TrainError> {
        Ok(Box::new(CpuAnchor { trainer, loss: 0.0 }))
    }

    fn spar(&self, spar: Spar, _rows: usize) -> Result<Box<dyn Learner + 'k>, TrainError> {
        Ok(Box::new(CpuSpar {
            spar,
            metrics: SparMetrics::default(),
            given: None,
        }))
    }

    fn spar_around(&self, spar: Spar, given: Given) -> Result<Box<dyn Learner + 'k>, TrainError> {
        Ok(Box::new(CpuSpar {
            spar,
            metrics: SparMetrics::default(),
            given: Some(given),
        }))
    }
}

impl<'k, D: Device> Backend<'k> for OnDevice<'k, D> {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Cuda
    }

    fn anchor(
        &self,
        cpu: AnchorTrainer,
        config: &AnchorConfig,
        rows: usize,
    ) -> Result<Box<dyn AnchorLearner + 'k>, TrainError> {
        let learner = DeviceAnchorTrainer::new(self.0, &cpu, config, rows)?;
        Ok(Box::new(Mirrored { learner, cpu }))
    }

    fn spar(&self, cpu: Spar, rows: usize) -> Result<Box<dyn Learner + 'k>, TrainError> {
        let learner = DeviceSpar::new(self.0, &cpu, rows)?;
        Ok(Box::new(Mirrored { learner, cpu }))
    }

    fn spar_around(
        &self,
        _start: Spar,
        _given: Given,
    ) -> Result<Box<dyn Learner + 'k>, TrainError> {
        Err(TrainError::CpuOnly(AROUND))
    }
}

fn cloning(loss: f32) -> Metrics {
    Metrics::default().with("loss", loss)
}

fn policy_of_anchor(anchor: &Anchor, normalizer: &Normalizer) -> Result<Networks, TrainError> {
    Ok(Networks::Spar(SparPolicy {
        normalizer: normalizer.clone(),
        anchor: anchor.rows()?,
        residual: None,
    }))
}

impl Learner for CpuAnchor {
    fn update(
        &mut self,
        _step: u64,
        batch: &Batch,
        _index: &mut Vec<usize>,
    ) -> Result<(), TrainError> {
        let batch = spar_nn::Batch::of(&batch_slices(batch))?;
        self.loss = self.trainer.update(&batch)?;
        Ok(())
    }

    fn metrics(&mut self) -> Result<Metrics, TrainError> {
        Ok(cloning(self.loss))
    }

    fn is_finite(&mut self) -> Result<bool, TrainError> {
        Ok(self.loss.is_finite())
    }

    fn save(&mut self, state: &mut State) -> Result<(), TrainError> {
        Ok(self.trainer.save(state)?)
    }

    fn load(&mut self, state: &State) -> Result<(), TrainError> {
        Ok(self.trainer.load(state)?)
    }

    fn policy(&mut self, normalizer: &Normalizer) -> Result<Networks, TrainError> {
        policy_of_anchor(&self.trainer.anchor, normalizer)
    }
}

impl AnchorLearner for CpuAnchor {
    fn trained(&mut self) -> Result<Anchor, TrainError> {
        Ok(self.trainer.anchor.duplicate()?)
    }
}

impl<D: Device> Mirrored<DeviceAnchorTrainer<'_, D>, AnchorTrainer> {
    fn read_back(&mut self) -> Result<(), TrainError> {
        let mut state = State::default();
        self.learner.save(&mut state)?;
        Ok(self.cpu.load(&state)?)
    }
}

impl<D: Device> Learner for Mirrored<DeviceAnchorTrainer<'_, D>, AnchorTrainer> {
    fn at_hand(&self) -> bool {
        false
    }

    fn update(
        &mut self,
        _step: u64,
        batch: &Batch,
        _index: &mut Vec<usize>,
    ) -> Result<(), TrainError> {
        Ok(self.learner.update(&batch_slices(batch))?)
    }

    fn metrics(&mut self) -> Result<Metrics, TrainError> {
        Ok(cloning(self.learner.loss()?))
    }

    fn save(&mut self, state: &mut State) -> Result<(), TrainError> {
        Ok(self.learner.save(state)?)
    }

    fn load(&mut self, state: &State) -> Result<(), TrainError> {
        Ok(self.learner.load(state)?)
    }

    fn policy(&mut self, normalizer: &Normalizer) -> Result<Networks, TrainError> {
        self.read_back()?;
        policy_of_anchor(&self.cpu.anchor, normalizer)
    }
}

impl<D: Device> AnchorLearner for Mirrored<DeviceAnchorTrainer<'_, D>, AnchorTrainer> {
    fn trained(&mut self) -> Result<Anchor, TrainError> {
        self.read_back()?;
        Ok(self.cpu.anchor.duplicate()?)
    }
}

fn policy_of_spar(spar: &Spar, normalizer: &Normalizer) -> Result<Networks, TrainError> {
    Ok(Networks::Spar(spar.policy(normalizer.clone())?))
}

/// That of the anchor, unless an ablation trains it too.
fn frozen_of_spar(spar: &Spar) -> Result<Option<String>, TrainError> {
    match (&spar.base, spar.config().ablation) {
        (Base::Given, _) | (_, Ablation::TunedAnchor) => Ok(None),
        (Base::Cloned(anchor), _) => Ok(Some(anchor.fingerprint()?)),
    }
}

fn keep_metrics(metrics: &SparMetrics, state: &mut State) -> Result<(), TrainError> {
    let text = serde_json::to_string(metrics).map_err(io::Error::from)?;
    state.metadata.insert(METRICS.to_owned(), text);
    Ok(())
}

fn kept_metrics(state: &State) -> Result<SparMetrics, StateError> {
    let text = state.metadata.get(METRICS);
    let metrics = text.and_then(|text| serde_json::from_str(text).ok());
    metrics.ok_or_else(|| StateError::Missing(METRICS.to_owned()))
}

impl Learner for CpuSpar {
    fn update(
        &mut self,
        _step: u64,
        batch: &Batch,
        index: &mut Vec<usize>,
    ) -> Result<(), TrainError> {
        let mut batch = spar_nn::Batch::of(&batch_slices(batch))?;
        let given = self.given.as_ref();
        batch.base = given.map(|given| given.gather(index)).transpose()?;
        Ok(self.spar.update(&batch, &mut self.metrics)?)
    }

    fn metrics(&mut self) -> Result<Metrics, TrainError> {
        Ok(Metrics(self.metrics.named().to_vec()))
    }

    fn is_finite(&mut self) -> Result<bool, TrainError> {
        Ok(self.metrics.is_finite())
    }

    fn save(&mut self, state: &mut State) -> Result<(), TrainError> {
        self.spar.save(state)?;
        keep_metrics(&self.metrics, state)
    }

    fn load(&mut self, state: &State) -> Result<(), TrainError> {
        self.metrics = kept_metrics(state)?;
        Ok(self.spar.load(state)?)
    }

    fn policy(&mut self, normalizer: &Normalizer) -> Result<Networks, TrainError> {
        match &self.given {
            None => policy_of_spar(&self.spar, normalizer),
            Some(given) => Ok(Networks::Rectified(RectifiedPolicy {
                normalizer: normalizer.clone(),
                base: Box::new(given.policy().clone()),
                residual: self.spar.residual()?,
            })),
        }
    }

    fn explorer(
        &mut self,
        normalizer: &Normalizer,
        _noise: f32,
    ) -> Result<Option<Explorer>, TrainError> {
        let policy = self.spar.policy(normalizer.clone())?;
        Ok(Some(Explorer::Latent(policy)))
    }

    fn given(&self) -> Option<&Given> {
        self.given.as_ref()
    }

    fn frozen(&mut self) -> Result<Option<String>, TrainError> {
        frozen_of_spar(&self.spar)
    }
}

impl<D: Device> Mirrored<DeviceSpar<'_, D>, Spar> {
    fn read_back(&mut self) -> Result<&Spar, TrainError> {
        let mut state = State::default();
        self.learner.save(&mut state)?;
        self.cpu.load(&state)?;
        Ok(&self.cpu)
    }
}

impl<D: Device> Learner for Mirrored<DeviceSpar<'_, D>, Spar> {
    fn at_hand(&self) -> bool {
        false
    }

    fn update(
        &mut self,
        _step: u64,
        batch: &Batch,
        _index: &mut Vec<usize>,
    ) -> Result<(), TrainError> {
        Ok(self.learner.update(&batch_slices(batch))?)
    }

    fn metrics(&mut self) -> Result<Metrics, TrainError> {
        Ok(Metrics(self.learner.metrics()?.named().to_vec()))
    }

    fn save(&mut self, state: &mut State) -> Result<(), TrainError> {
        self.learner.save(state)?;
        keep_metrics(&self.learner.metrics()?, state)
    }

    fn load(&mut self, state: &State) -> Result<(), TrainError> {
        self.learner.set_metrics(kept_metrics(state)?);
        Ok(self.learner.load(state)?)
    }

    fn policy(&mut self, normalizer: &Normalizer) -> Result<Networks, TrainError> {
        policy_of_spar(self.read_back()?, normalizer)
    }

    fn frozen(&mut self) -> Result<Option<String>, TrainError> {
        frozen_of_spar(self.read_back()?)
    }
}

/// What the sampler drew as an update takes it: the same numbers, borrowed.
pub fn batch_slices(batch: &Batch) -> BatchSlices<'_> {
    BatchSlices {
        rows: batch.size,
        obs: &batch.obs,
        actions: &batch.actions,
        rewards: &batch.rewards,
        next_obs: &batch.next_obs,
        not_terminal: &batch.not_terminal,
    }
}
