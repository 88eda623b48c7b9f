//! Everything that touches HDF5: opening files and refusing what libhdf5 must not see,
//! unpacking chunks, D4RL's layout read and written, conversion between it and Minari's.
//!
//! The feature `hdf5` builds this folder, or nothing of it.

mod alias;
pub(crate) mod array;
mod arrays;
mod convert;
pub(crate) mod d4rl;
pub(crate) mod groups;
pub(crate) mod joined;
mod metadata;
pub(crate) mod named_env;
mod packed;
pub(crate) mod plugins;
pub(crate) mod source;
pub(crate) mod writer;

pub use arrays::arrays;
pub(crate) use convert::source_fields;
pub use convert::{Conversion, Converted};
pub use writer::{MetaValue, Row, Writer, local_metadata};
