//! Training runs that survive: the loop from data to an evaluated policy, with
//! metrics, learning curve and checkpoints in one folder.
//!
//! A run is a pure function of its [`RunSpec`]: the same spec on the same
//! machine gives the same bits, whether it ran through or was killed and
//! resumed. Updates are computed in candle by [`run`()], by the CUDA kernels by
//! [`run_on`]; all else is the same. [`finetune()`] goes on from a run's checkpoint, in its
//! environment. Algorithms do no input or output; it all happens here, through the
//! one atomic writer.

mod config;
mod control;
mod device_policy;
mod error;
mod explore;
mod finetune;
mod folder;
mod fresh;
mod given;
mod learner;
mod length;
mod listed;
mod offline;
mod online;
pub mod policy_file;
mod registry_learner;
mod run;
pub mod sink;
mod spec;
mod throughput;
mod together;
mod trainer;

pub use config::{Precision, TrainConfig};
pub use control::{Control, Phase, Progress};
pub use device_policy::DevicePolicy;
pub use error::TrainError;
pub use finetune::{Asked, Finetune, OfflineRun, finetune};
pub use learner::batch_slices;
pub use offline::Offline;
pub use run::{run, run_on};
pub use spec::{DeviceKind, Method, RunSpec};
pub use throughput::{Throughput, throughput, throughput_on};
pub use together::{Reached, allocate_on};
pub use trainer::Trainer;

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
