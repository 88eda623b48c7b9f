//! The ground every other crate of `spar` stands on: identifiers of
//! environments, tasks and data; seeds and named random streams; the
//! [`Policy`] trait and the units it acts in; suite files; the records a run
//! leaves behind; and the one crash-safe file writer.
//!
//! Nothing here knows candle, HDF5 or MuJoCo, so that `xtask` and
//! `spar-report` can depend on it and still build in seconds. What reads and writes
//! files stands behind the feature `runs`, so that `spar-policy`, which acts by a policy
//! somewhere else, compiles none of it.

#[cfg(feature = "runs")]
pub mod clips;
#[cfg(feature = "runs")]
mod column;
mod d4rl;
pub mod env;
#[cfg(feature = "runs")]
pub mod files;
#[cfg(feature = "runs")]
pub mod folder_lock;
mod hash;
pub mod id;
#[cfg(feature = "runs")]
pub mod identity;
pub mod limits;
mod located;
pub mod memory;
pub mod names;
#[cfg(feature = "runs")]
pub mod ope;
#[cfg(feature = "runs")]
pub mod partial;
pub mod policy;
pub mod printable;
pub mod process;
pub mod protobuf;
#[cfg(feature = "runs")]
pub mod record;
mod registry;
pub mod rng;
#[cfg(feature = "runs")]
pub mod signals;
#[cfg(feature = "runs")]
pub mod suite;
pub mod task;
pub mod units;

#[cfg(feature = "runs")]
pub use clips::ClipsRecord;
#[cfg(feature = "runs")]
pub use column::ColumnSettings;
pub use env::{EnvId, EnvSpec};
#[cfg(feature = "runs")]
pub use files::{replace_file, sha256_file, write_atomic};
#[cfg(feature = "runs")]
pub use folder_lock::FolderLock;
pub use hash::sha256_hex;
pub use id::{DatasetIdentity, NotRegistered, Origin, UnknownName};
#[cfg(feature = "runs")]
pub use identity::{Difference, RunIdentity, RunStamp, Scope};
pub use located::in_file;
#[cfg(feature = "runs")]
pub use ope::OpeRecord;
pub use policy::Policy;
pub use printable::{printable, printable_json, printable_lines, shell_word};
#[cfg(feature = "runs")]
pub use record::{Finetuned, FinishedRun, RecordError, RunRecord, Validation};
pub use rng::Stream;
#[cfg(feature = "runs")]
pub use signals::Signals;
#[cfg(feature = "runs")]
pub use suite::{MethodTable, Preset, Suite};
pub use task::{Level, TaskId, TaskSpec};
pub use units::{ActionBounds, BoundsError, Normalizer};

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
