//! Training runs that survive: the loop from data to a judged policy, with
//! metrics, learning curve and checkpoints in one folder.
//!
//! A run is a pure function of its [`RunSpec`]: the same spec on the same
//! machine gives the same bits, whether it ran through or was killed and
//! resumed. Algorithms do no input or output; it all happens here, through the
//! one atomic writer.

mod config;
mod error;
mod folder;
pub mod policy_file;
mod run;
mod spec;

pub use config::TrainConfig;
pub use error::TrainError;
pub use run::{Control, Phase, Progress, run, throughput};
pub use spec::{Method, RunSpec};
