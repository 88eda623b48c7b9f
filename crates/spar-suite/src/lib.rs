//! From a suite file to its table: which runs a suite asks for, which of them are done, what the
//! others will cost, and all of them side by side, one `spar` process each.
//!
//! It exists because a table is hundreds of runs. A run alone survives being killed; here the
//! whole does: the same command does only what is left, under a lock, and a signal lets every
//! run write its checkpoint first. [`reproduce()`] is `spar suite run` and `cargo xtask
//! reproduce`; [`execute`], [`plan`] and [`progress`] serve whatever else has many processes
//! to run.
//!
//! No tensor library, no HDF5, no simulator: what computes is the `spar` that is spawned.

pub mod cluster;
mod error;
pub mod execute;
mod places;
pub mod plan;
pub mod progress;
pub mod say;
mod session;
mod theory;
mod together;
mod training;

pub use cluster::{EngineOptions, JobOptions, NOT_YET, job};
pub use error::{Result, RunnerError, Usage};
pub use places::suite_file;
pub use session::{DataOptions, Options, reproduce};

/// `path` relative to `root` if it lies below it: commands that a run records then hold in
/// every clone.
pub fn below(root: &std::path::Path, path: std::path::PathBuf) -> std::path::PathBuf {
    path.strip_prefix(root)
        .map(std::path::Path::to_owned)
        .unwrap_or(path)
}

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
