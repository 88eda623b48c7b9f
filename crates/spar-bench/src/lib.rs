//! The Rust side of `cargo xtask bench`.
//!
//! `spar-bench inputs FILE` writes what every contender starts from: initial
//! parameters, a cycle of batches and the noise of each update, so that
//! programs in other languages compute the same function. `spar-bench dataset FILE`
//! writes data to measure the memory of a run on, `spar-bench walk FILE` to measure how
//! fast `spar-bench load FILE` reads them; `spar-bench act POLICY` says how long an action takes.
//! `spar-bench serve`
//! then answers requests on stdin, one line each: the losses of one cycle, or
//! how many steps fit into some time. The peers' scripts in `xtask/peers` speak
//! the same protocol, and `xtask` asks all in turn.
//!
//! It is a crate of its own because it links candle, which `xtask` must not,
//! and because a product's command line is no place for a benchmark. It is a
//! library because an allocator belongs to a whole program: `spar-bench` has
//! the one that `spar` has, `spar-bench-malloc` the system's, which is what
//! candle meets in a program that does not choose one. `spar-gpu` is what `cargo xtask
//! gpu-check` runs on a GPU.

mod acting;
mod clock;
mod dataset;
mod gpu;
mod inputs;
mod loading;
mod methods;
mod ours;
mod peak;
mod plain;
mod serve;
mod work;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

pub use gpu::run as run_gpu;
pub use ours::{NAMES, NAMES_MALLOC};

/// The Rust side of `cargo xtask bench`.
#[derive(Parser)]
enum Command {
    /// Write initial parameters, batches and noise
    Inputs {
        /// A safetensors file
        file: PathBuf,
    },
    /// Write a data set of random numbers in D4RL's layout, at Walker2d's
    /// widths, and print what training will hold of it, as JSON
    Dataset {
        /// An HDF5 file
        file: PathBuf,
        /// Rows, one for each step
        #[arg(long)]
        rows: usize,
    },
    /// Write random walks in D4RL's layout, at HalfCheetah's widths
    Walk {
        /// An HDF5 file
        file: PathBuf,
        /// Rows, one for each step
        #[arg(long)]
        rows: usize,
    },
    /// Read a file as training does, and print what it took, as JSON
    Load {
        /// An HDF5 file at HalfCheetah's widths
        file: PathBuf,
        /// Stay on this core, counted among those allowed
        #[arg(long)]
        core: Option<usize>,
    },
    /// Act by a policy file, and print how long an action takes, as JSON
    Act(acting::Args),
    /// Write initial parameters, batches and noise of every other method
    MethodInputs {
        /// A folder for a safetensors file each
        folder: PathBuf,
    },
    /// Answer requests on stdin until it ends
    Serve {
        /// Offer updates of other methods instead
        #[arg(long)]
        methods: bool,
        /// Stay on this core, counted among those allowed
        #[arg(long)]
        core: Option<usize>,
    },
}

/// Runs the program that offers `contenders`.
pub fn run(contenders: &[&'static str]) -> ExitCode {
    let done = match Command::parse() {
        Command::Inputs { file } => inputs::write(&file),
        Command::Dataset { file, rows } => dataset::write(&file, rows),
        Command::Walk { file, rows } => loading::walk(&file, rows),
        Command::Load { file, core } => loading::load(&file, core),
        Command::Act(args) => acting::act(&args),
        Command::MethodInputs { folder } => methods::write(&folder),
        Command::Serve { methods, core } => {
            let offered = if methods {
                &methods::NAMES[..]
            } else {
                contenders
            };
            serve::serve(core, offered)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
