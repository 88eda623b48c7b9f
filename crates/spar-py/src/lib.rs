//! The native half of the Python package `spar`: what takes time or reads files is here,
//! what a user of Python sees is in `python/spar`, beside it.
//!
//! It stands in a crate of its own because a module that Python loads is linked unlike any
//! program of the workspace: Python's symbols are the interpreter's, which loads it. It holds
//! no algorithm and no format: it hands NumPy's arrays to the other crates, without a copy
//! where they lie as those need them, and their errors back as Python's.
//!
//! Nothing here panics on what a caller gives; where a defect does, PyO3 makes an exception
//! of it and the interpreter lives.

mod dataset;
mod error;
mod numbers;
mod policy;
mod rehearse;
mod settings;
mod stats;
mod train;
mod values;

use pyo3::prelude::*;

/// What `spar/__init__.py` and `spar/stats.py` are made over.
#[pymodule]
mod _spar {
    #[pymodule_export]
    use crate::{
        dataset::PyDataset,
        error::Stopped,
        policy::{PyPolicy, load},
        rehearse::{rehearse, rehearse_in},
        settings::{methods, settings},
        stats::{
            aggregate, improvement, improvement_interval, interval, paired_difference, profile,
            profile_band,
        },
        train::train,
    };
}
