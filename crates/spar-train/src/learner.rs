//! The updates of a run, wherever they are computed: in candle on the CPU, or by
//! the CUDA kernels on a device. A run's loop is the same over both.

use spar_anchor::{Anchor, AnchorConfig, AnchorTrainer, DeviceAnchorTrainer};
use spar_data::Batch;
use spar_nn::{
    BatchSlices, State,
    device::{Device, Kernels},
};
use spar_rectify::{DeviceSpar, Spar, SparMetrics};

use crate::{error::TrainError, spec::DeviceKind};

/// Where the updates of a run are computed.
pub(crate) trait Backend {
    /// What a run's spec calls it.
    const KIND: DeviceKind;

    /// Trains the anchor.
    type Anchor: AnchorLearner;

    /// Trains SPAR.
    type Spar: SparLearner;

    /// Goes on from `start`, on batches of `rows` transitions.
    fn anchor(
        &self,
        start: AnchorTrainer,
        config: &AnchorConfig,
        rows: usize,
    ) -> Result<Self::Anchor, TrainError>;

    /// Goes on from `start`, on batches of `rows` transitions.
    fn spar(&self, start: Spar, rows: usize) -> Result<Self::Spar, TrainError>;
}

/// An anchor while it is being trained.
pub(crate) trait AnchorLearner {
    /// Whether the loss of every update is known without waiting for it.
    const AT_HAND: bool;

    /// One update.
    fn update(&mut self, batch: &Batch) -> Result<(), TrainError>;

    /// The loss of the last update.
    fn loss(&self) -> Result<f32, TrainError>;

    /// Adds all that training goes on from to `state`.
    fn save(&self, state: &mut State) -> Result<(), TrainError>;

    /// Takes all that training goes on from from `state`.
    fn load(&mut self, state: &State) -> Result<(), TrainError>;

    /// The policy as trained so far, on the CPU.
    fn anchor(&mut self) -> Result<&Anchor, TrainError>;

    /// Ends training.
    fn freeze(self) -> Result<Anchor, TrainError>;
}

/// SPAR while it is being trained.
pub(crate) trait SparLearner {
    /// Whether the metrics of every update are known without waiting for it.
    const AT_HAND: bool;

    /// Updates done so far.
    fn updates(&self) -> u64;

    /// One update.
    fn update(&mut self, batch: &Batch) -> Result<(), TrainError>;

    /// What the last update measured.
    fn metrics(&mut self) -> Result<SparMetrics, TrainError>;

    /// Adds all that training goes on from to `state`, without the metrics.
    fn save(&self, state: &mut State) -> Result<(), TrainError>;

    /// Takes all that training goes on from from `state`, where the last update
    /// measured `metrics`.
    fn load(&mut self, state: &State, metrics: SparMetrics) -> Result<(), TrainError>;

    /// SPAR as trained so far, on the CPU.
    fn spar(&mut self) -> Result<&Spar, TrainError>;
}

/// candle on the CPU: the definition.
pub(crate) struct Cpu;

/// The kernels of a device.
pub(crate) struct OnDevice<'k, D>(pub(crate) &'k Kernels<D>);

pub(crate) struct CpuAnchor {
    trainer: AnchorTrainer,
    loss: f32,
}

pub(crate) struct CpuSpar {
    spar: Spar,
    metrics: SparMetrics,
}

/// A learner on a device, and the same on the CPU, for what is done there: the
/// start, policies and fingerprints.
pub(crate) struct Mirrored<L, C> {
    learner: L,
    cpu: C,
}

impl Backend for Cpu {
    const KIND: DeviceKind = DeviceKind::Cpu;
    type Anchor = CpuAnchor;
    type Spar = CpuSpar;

    fn anchor(
        &self,
        trainer: AnchorTrainer,
        _config: &AnchorConfig,
        _rows: usize,
    ) -> Result<CpuAnchor, TrainError> {
        Ok(CpuAnchor { trainer, loss: 0.0 })
    }

    fn spar(&self, spar: Spar, _rows: usize) -> Result<CpuSpar, TrainError> {
        let metrics = SparMetrics::default();
        Ok(CpuSpar { spar, metrics })
    }
}

impl<'k, D: Device> Backend for OnDevice<'k, D> {
    const KIND: DeviceKind = DeviceKind::Cuda;
    type Anchor = Mirrored<DeviceAnchorTrainer<'k, D>, AnchorTrainer>;
    type Spar = Mirrored<DeviceSpar<'k, D>, Spar>;

    fn anchor(
        &self,
        cpu: AnchorTrainer,
        config: &AnchorConfig,
        rows: usize,
    ) -> Result<Self::Anchor, TrainError> {
        let learner = DeviceAnchorTrainer::new(self.0, &cpu, config, rows)?;
        Ok(Mirrored { learner, cpu })
    }

    fn spar(&self, cpu: Spar, rows: usize) -> Result<Self::Spar, TrainError> {
        let learner = DeviceSpar::new(self.0, &cpu, rows)?;
        Ok(Mirrored { learner, cpu })
    }
}

impl AnchorLearner for CpuAnchor {
    const AT_HAND: bool = true;

    fn update(&mut self, batch: &Batch) -> Result<(), TrainError> {
        self.loss = self
            .trainer
            .update(&spar_nn::Batch::of(&batch_slices(batch))?)?;
        Ok(())
    }

    fn loss(&self) -> Result<f32, TrainError> {
        Ok(self.loss)
    }

    fn save(&self, state: &mut State) -> Result<(), TrainError> {
        Ok(self.trainer.save(state)?)
    }

    fn load(&mut self, state: &State) -> Result<(), TrainError> {
        Ok(self.trainer.load(state)?)
    }

    fn anchor(&mut self) -> Result<&Anchor, TrainError> {
        Ok(&self.trainer.anchor)
    }

    fn freeze(self) -> Result<Anchor, TrainError> {
        Ok(self.trainer.freeze())
    }
}

impl<D: Device> AnchorLearner for Mirrored<DeviceAnchorTrainer<'_, D>, AnchorTrainer> {
    const AT_HAND: bool = false;

    fn update(&mut self, batch: &Batch) -> Result<(), TrainError> {
        Ok(self.learner.update(&batch_slices(batch))?)
    }

    fn loss(&self) -> Result<f32, TrainError> {
        Ok(self.learner.loss()?)
    }

    fn save(&self, state: &mut State) -> Result<(), TrainError> {
        Ok(self.learner.save(state)?)
    }

    fn load(&mut self, state: &State) -> Result<(), TrainError> {
        Ok(self.learner.load(state)?)
    }

    fn anchor(&mut self) -> Result<&Anchor, TrainError> {
        let mut state = State::default();
        self.learner.save(&mut state)?;
        self.cpu.load(&state)?;
        Ok(&self.cpu.anchor)
    }

    fn freeze(mut self) -> Result<Anchor, TrainError> {
        self.anchor()?;
        Ok(self.cpu.freeze())
    }
}

impl SparLearner for CpuSpar {
    const AT_HAND: bool = true;

    fn updates(&self) -> u64 {
        self.spar.updates()
    }

    fn update(&mut self, batch: &Batch) -> Result<(), TrainError> {
        let batch = spar_nn::Batch::of(&batch_slices(batch))?;
        Ok(self.spar.update(&batch, &mut self.metrics)?)
    }

    fn metrics(&mut self) -> Result<SparMetrics, TrainError> {
        Ok(self.metrics)
    }

    fn save(&self, state: &mut State) -> Result<(), TrainError> {
        Ok(self.spar.save(state)?)
    }

    fn load(&mut self, state: &State, metrics: SparMetrics) -> Result<(), TrainError> {
        self.metrics = metrics;
        Ok(self.spar.load(state)?)
    }

    fn spar(&mut self) -> Result<&Spar, TrainError> {
        Ok(&self.spar)
    }
}

impl<D: Device> SparLearner for Mirrored<DeviceSpar<'_, D>, Spar> {
    const AT_HAND: bool = false;

    fn updates(&self) -> u64 {
        self.learner.updates()
    }

    fn update(&mut self, batch: &Batch) -> Result<(), TrainError> {
        Ok(self.learner.update(&batch_slices(batch))?)
    }

    fn metrics(&mut self) -> Result<SparMetrics, TrainError> {
        Ok(self.learner.metrics()?)
    }

    fn save(&self, state: &mut State) -> Result<(), TrainError> {
        Ok(self.learner.save(state)?)
    }

    fn load(&mut self, state: &State, metrics: SparMetrics) -> Result<(), TrainError> {
        self.learner.set_metrics(metrics);
        Ok(self.learner.load(state)?)
    }

    fn spar(&mut self) -> Result<&Spar, TrainError> {
        let mut state = State::default();
        self.learner.save(&mut state)?;
        self.cpu.load(&state)?;
        Ok(&self.cpu)
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
