//! D4RL, Minari and other programs' data as validated datasets, transitions, normalizers and
//! seeded batches, the writers of both layouts, and conversion between them.
//!
//! Both layouts become one [`Dataset`] of flat rows. They differ in what they know
//! of an episode's end: D4RL's has flags, and the next row's observation for a
//! successor; Minari's keeps the last observation ([`Ends`]), so that no transition
//! is lost. [`Transitions`] says what each gives.
//!
//! Without the feature `hdf5` nothing of HDF5 is built: NumPy archives, CSV, Parquet and
//! LeRobot's folders are read, D4RL's and Minari's files refused, and nothing is written.
//!
//! This is the only crate that knows HDF5, and the only one that knows where
//! files are on the net ([`manifest`], and behind the feature `fetch` their download). What
//! passes through it is checked
//! once, at the door: after [`Dataset::read`] every array has the declared
//! shape and every number is finite, so that no later crate checks again. Which
//! data a result was made from ([`DatasetIdentity`]) is decided here too, from
//! the file's hash and layout and never from its name.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use spar_core::{EnvId, Stream};
//! use spar_data::{Batch, Dataset, Sampler, Transitions};
//!
//! # fn main() -> Result<(), spar_data::DataError> {
//! let env = EnvId::HOPPER;
//! let data = Arc::new(Dataset::read_for(Path::new("hopper_medium-v2.hdf5"), env)?);
//! let transitions = Transitions::new(data, env.horizon())?;
//! let normalizer = transitions.normalizer();
//! let mut sampler = Sampler::new(Stream::new(0, "sampler"));
//! let mut batch = Batch::new(256, transitions.obs_dim(), transitions.act_dim());
//! sampler.next(&transitions, &normalizer, &mut batch);
//! # Ok(())
//! # }
//! ```

mod bounds;
mod columns;
mod dataset;
mod elements;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg_attr(
    not(feature = "hdf5"),
    expect(dead_code, reason = "D4RL's layout alone asks for it")
)]
mod flags;
#[cfg(feature = "hdf5")]
mod h5;
mod held_out;
mod identity;
mod info;
mod lerobot;
pub mod manifest;
mod minari;
mod normalizer;
mod npy;
mod npz;
mod parquet_column;
mod parquet_file;
mod past;
#[cfg_attr(not(feature = "hdf5"), expect(dead_code, reason = "HDF5 has heaps"))]
mod precheck;
mod read;
mod reading;
mod rehearsal;
mod remarks;
mod sampler;
mod stats;
mod successors;
mod table;
mod transitions;
mod whole;

pub use bounds::BoundsSource;
pub use dataset::{Dataset, Ends, Episode, EpisodeEnd, Layout, Steps};
pub use error::DataError;
#[cfg(feature = "hdf5")]
pub use h5::{Conversion, Converted, MetaValue, Row, Writer, arrays, local_metadata};
pub use held_out::{HeldOut, held_out};
pub use identity::{META_DATASET, META_NEXT, META_ORIGIN, META_RECORDED};
pub use info::{Info, Returns, Span, horizon_of, info};
pub use minari::{minari_id, minari_root};
pub use reading::{Next, Reading};
pub use rehearsal::{rehearse, rehearse_in};
pub use sampler::{Batch, Sampler};
pub use spar_core::{ActionBounds, BoundsError, DatasetIdentity, Normalizer, Origin};
pub use stats::{Coverage, Distribution, Stats, stats};
pub use transitions::Transitions;
pub use whole::Beside;

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
