//! D4RL data files as validated datasets, transitions, normalizers and seeded
//! batches, and the writer of such files.
//!
//! This is the only room that knows HDF5, and the only one that knows where
//! files are on the net ([`manifest`], [`fetch`]). What passes through it is checked
//! once, at the door: after [`Dataset::read`] every array has the declared
//! shape and every number is finite, so that no later room checks again. Which
//! data a result was made from ([`DatasetIdentity`]) is decided here too, from
//! the file's hash and never from its name.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use spar_core::{EnvId, Stream};
//! use spar_data::{Batch, Dataset, Normalizer, Sampler, Transitions};
//!
//! # fn main() -> Result<(), spar_data::DataError> {
//! let env = EnvId::Hopper;
//! let data = Arc::new(Dataset::read_for(Path::new("hopper_medium-v2.hdf5"), env)?);
//! let transitions = Transitions::new(data, env.horizon())?;
//! let normalizer = Normalizer::of(&transitions);
//! let mut sampler = Sampler::new(Stream::new(0, "sampler"));
//! let mut batch = Batch::new(256, transitions.obs_dim(), transitions.act_dim());
//! sampler.next(&transitions, &normalizer, &mut batch);
//! # Ok(())
//! # }
//! ```

mod dataset;
mod error;
pub mod fetch;
mod identity;
mod info;
pub mod manifest;
mod metadata;
mod normalizer;
mod precheck;
mod read;
mod sampler;
mod transitions;
mod writer;

pub use dataset::{Dataset, Episode, EpisodeEnd};
pub use error::DataError;
pub use info::{Info, Returns, Span, info};
pub use normalizer::Normalizer;
pub use sampler::{Batch, Sampler};
pub use spar_core::{DatasetIdentity, Origin};
pub use transitions::Transitions;
pub use writer::{META_DATASET, META_ORIGIN, MetaValue, Row, Writer, local_metadata};
