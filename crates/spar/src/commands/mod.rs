//! One file for each command: its options, and how it calls the library.

pub(crate) mod behavior;
mod convert;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod eval;
mod fetch;
mod head;
mod plot;
pub(crate) mod policy;
mod prepare;
pub(crate) mod protocol;
pub(crate) mod report;
mod stats;
pub(crate) mod theory;
pub(crate) mod train;

use std::{path::Path, sync::Arc};

use spar_core::EnvId;
use spar_data::{DataError, Dataset};
use spar_kernels::cuda::{CudaDevice, CudaError, Kernels};

/// Parses a count from one to `most`, whose range is in the message otherwise.
fn counts(most: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(most))
}

/// The first GPU, with the kernels compiled for it.
fn cuda() -> anyhow::Result<Kernels<CudaDevice>> {
    let unusable = |error: CudaError| anyhow::anyhow!("{error}; use --device cpu");
    CudaDevice::new(0).map(Kernels::new).map_err(unusable)
}

/// Reads every part of a file, as `env`'s if one is named.
fn data_of(path: &Path, env: Option<EnvId>) -> Result<Dataset, DataError> {
    match env {
        Some(env) => Dataset::read_for(path, env),
        None => Dataset::read(path),
    }
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
