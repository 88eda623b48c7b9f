//! The ground every other crate of `spar` stands on: identifiers of
//! environments, tasks and data; seeds and named random streams; the
//! [`Policy`] trait; suite files; the records a run leaves behind; and the one
//! crash-safe file writer.
//!
//! Nothing here knows candle, HDF5 or MuJoCo, so that `xtask` and
//! `spar-report` can depend on it and still build in seconds.

mod d4rl;
pub mod env;
pub mod files;
pub mod folder_lock;
pub mod id;
pub mod identity;
pub mod limits;
pub mod memory;
pub mod names;
pub mod partial;
pub mod policy;
pub mod printable;
pub mod record;
pub mod rng;
pub mod signals;
pub mod suite;
pub mod task;

pub use env::{EnvId, EnvSpec};
pub use files::{replace_file, sha256_file, sha256_hex, write_atomic};
pub use folder_lock::FolderLock;
pub use id::{DatasetIdentity, NotRegistered, Origin, UnknownName};
pub use identity::{Difference, RunIdentity, RunStamp, Scope};
pub use policy::Policy;
pub use printable::{printable, printable_json, printable_lines};
pub use record::{FinishedRun, RecordError, RunRecord, Validation};
pub use rng::Stream;
pub use signals::Signals;
pub use suite::{MethodTable, Preset, Suite};
pub use task::{Level, TaskId, TaskSpec};
