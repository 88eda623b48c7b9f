//! Runs side by side on one device: what of them must be known before they share it.

use std::path::Path;

use serde::Serialize;
use spar_data::Transitions;
use spar_nn::{
    State,
    device::{Device, Kernels},
};

use crate::{
    error::TrainError,
    folder::{CHECKPOINT, unresumable},
    learner::OnDevice,
    offline::Prepared,
    run::check,
    spec::{DeviceKind, RunSpec},
    trainer::{ANCHOR_UPDATES, Trainer},
};

/// How far the last checkpoint of a run's folder is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Updates of the anchor.
    pub anchor: u64,
    /// Updates of the method's own networks; absent while the anchor is trained.
    pub own: Option<u64>,
}

impl Reached {
    /// What the folder `out` of the run `spec` has; nothing where there is no checkpoint.
    ///
    /// # Errors
    /// If there is one that cannot be read.
    pub fn read(spec: &RunSpec, out: &Path) -> Result<Self, TrainError> {
        let file = out.join(CHECKPOINT);
        if !file.exists() {
            return Ok(Self::default());
        }
        let state = State::read(&file).map_err(unresumable)?;
        let count = |name| state.get_count(name).ok();
        Ok(Self {
            anchor: count(ANCHOR_UPDATES).unwrap_or_default(),
            own: count(spec.method.counter()),
        })
    }
}

/// Makes every buffer that the run `spec` on `data` will have, of both its stages, for a
/// device that counts them.
///
/// # Errors
/// If the run could not start: as [`crate::run_on`].
pub fn allocate_on<D: Device>(
    kernels: &Kernels<D>,
    spec: &RunSpec,
    data: &Transitions,
) -> Result<(), TrainError> {
    check(DeviceKind::Cuda, spec)?;
    let prepared = Prepared::of(spec, data)?;
    let data = prepared.as_ref().map_or(data, |p| &p.training);
    let backend = Box::new(OnDevice(kernels));
    let config = spec.config.clone();
    let mut trainer = Trainer::start(backend, spec.method, config, data, spec.seed)?;
    while trainer.next_stage()? {}
    Ok(())
}
