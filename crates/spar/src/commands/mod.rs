//! One file for each command: its options, and how it calls the library.

pub(crate) mod behavior;
pub(crate) mod data;
pub(crate) mod eval;
mod fetch;
mod prepare;
pub(crate) mod report;
pub(crate) mod train;

use std::{path::Path, sync::Arc};

use spar_core::EnvId;
use spar_data::{DataError, Dataset};
use spar_kernels::cuda::{CudaDevice, CudaError, Kernels};

/// The first GPU, with the kernels compiled for it.
fn cuda() -> anyhow::Result<Kernels<CudaDevice>> {
    let unusable = |error: CudaError| anyhow::anyhow!("{error}; use --device cpu");
    CudaDevice::new(0).map(Kernels::new).map_err(unusable)
}

/// Tells the user on stderr what a file's reader noticed.
fn tell_notes(data: &Dataset) {
    for note in &data.notes {
        eprintln!("note: {note}");
    }
}

/// Reads what training needs of a data file, with notes on stderr.
fn training_data(path: &Path, env: EnvId) -> Result<Arc<Dataset>, DataError> {
    let data = Dataset::read_training(path, env)?;
    tell_notes(&data);
    Ok(Arc::new(data))
}
