//! The ground every other crate of `spar` stands on: identifiers of
//! environments, tasks and data; seeds and named random streams; the
//! [`Policy`] trait; suite files; the records a run leaves behind; and the one
//! crash-safe file writer.
//!
//! Nothing here knows candle, HDF5 or MuJoCo, so that `xtask` and
//! `spar-report` can depend on it and still build in seconds.

pub mod files;
pub mod id;
pub mod memory;
pub mod names;
pub mod policy;
pub mod printable;
pub mod record;
pub mod rng;
pub mod suite;

pub use files::{sha256_file, sha256_hex, write_atomic};
pub use id::{DatasetIdentity, EnvId, Level, Origin, TaskId};
pub use policy::Policy;
pub use printable::{printable, printable_json, printable_lines};
pub use record::RunRecord;
pub use rng::Stream;
pub use suite::{MethodTable, Preset, Suite};
