//! The command line of `cargo xtask bench`. `xtask` compiles this file as well, since it
//! cannot link this crate: what is wrong on the line costs no build.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, ValueEnum};

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Compare our steps with the committed baseline, without peers; fails if
    /// one has become slower
    #[arg(long)]
    pub(crate) check: bool,
    /// With --check: make what is measured the new baseline
    #[arg(long, requires = "check")]
    pub(crate) write_baseline: bool,
    /// Measure how our steps scale instead: runs side by side, batches, widths,
    /// memory
    #[arg(long, conflicts_with = "check")]
    pub(crate) scaling: bool,
    /// With --scaling: rows of the data set that memory is measured on
    #[arg(
        long,
        value_name = "N",
        default_value = "2000000",
        requires = "scaling"
    )]
    pub(crate) memory_rows: NonZeroUsize,
    /// Measure how fast and in what memory a large file is read instead, beside h5py,
    /// and converted
    #[arg(long, conflicts_with_all = ["check", "scaling", "write_docs"])]
    pub(crate) loading: bool,
    /// With --loading: rows of that file
    #[arg(
        long,
        value_name = "N",
        default_value = "1000000",
        requires = "loading"
    )]
    pub(crate) loading_rows: NonZeroUsize,
    /// Measure how long an action takes instead, in Rust, C, over a socket, under tract and
    /// ONNX Runtime
    #[arg(long, conflicts_with_all = ["check", "scaling", "loading", "write_docs"])]
    pub(crate) acting: bool,
    /// Measure the updates of other methods instead
    #[arg(long, conflicts_with_all = ["check", "scaling", "loading", "acting", "write_docs"])]
    pub(crate) methods: bool,
    /// Measure nothing; write docs/performance.md and its plot from what was
    /// measured last, with and without --scaling, and with --methods; and into
    /// docs/deploy.md what --acting measured last
    #[arg(long, conflicts_with_all = ["check", "scaling", "peers", "rounds", "seconds", "out"])]
    pub(crate) write_docs: bool,
    /// Which peers to measure, as in `torch,jax`, or `none`
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "torch,jax",
        conflicts_with_all = ["check", "scaling", "loading"]
    )]
    pub(crate) peers: Vec<Peer>,
    /// Turns of every contender
    #[arg(long, default_value = "5")]
    pub(crate) rounds: NonZeroUsize,
    /// Seconds of each turn
    #[arg(long, default_value = "1.0", value_parser = positive)]
    pub(crate) seconds: f64,
    /// Where to write everything measured, as JSON [default: bench.json, scaling.json,
    /// loading.json, acting.json or methods.json in target/bench]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Who we are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Nobody.
    None,
    /// PyTorch.
    Torch,
    /// JAX.
    Jax,
}

/// A positive number of seconds.
fn positive(text: &str) -> Result<f64, String> {
    let seconds = text.parse().map_err(|_| "expected a number".to_owned())?;
    if 0.0 < seconds && seconds < f64::INFINITY {
        return Ok(seconds);
    }
    Err("expected a positive number".to_owned())
}
