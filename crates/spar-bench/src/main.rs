//! The Rust side of `cargo xtask bench`.
//!
//! `spar-bench inputs FILE` writes what every contender starts from: initial
//! parameters, a cycle of batches and the noise of each update, so that
//! programs in other languages compute the same function. `spar-bench serve`
//! then answers requests on stdin, one line each: the losses of one cycle, or
//! how many steps fit into some CPU time. The peers' scripts in `xtask/peers`
//! speak the same protocol, and `xtask` asks all in turn.
//!
//! It is a crate of its own because it links candle, which `xtask` must not,
//! and because a product's command line is no place for a benchmark.

mod clock;
mod flops;
mod inputs;
mod ours;
mod peak;
mod plain;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// As in the `spar` binary: what is measured is what is shipped. candle's
/// plain composition profits from it more than we do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The Rust side of `cargo xtask bench`.
#[derive(Parser)]
enum Command {
    /// Write initial parameters, batches and noise
    Inputs {
        /// A safetensors file
        file: PathBuf,
    },
    /// Answer requests on stdin until it ends
    Serve {
        /// Stay on this core, counted among those allowed
        #[arg(long)]
        core: Option<usize>,
    },
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Inputs { file } => inputs::write(&file),
        Command::Serve { core } => serve::serve(core),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
