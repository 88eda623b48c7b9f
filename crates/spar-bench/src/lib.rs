//! `cargo xtask bench`, once everything is built.
//!
//! `spar-bench bench` measures what it is asked for, prints and writes it, and makes the
//! pages of it. It asks workers in turn: `spar-bench serve` on one core each, and the peers'
//! scripts in `xtask/peers`, which speak the same protocol. A worker answers requests on stdin,
//! one line each: the losses of one cycle, or how many steps fit into some time. All start
//! from one file of initial parameters, batches and noise, so that programs in other languages
//! compute the same function. `spar-bench load FILE` and `spar-bench act POLICY` are processes
//! of their own, whose memory and time are theirs alone.
//!
//! It is a crate of its own because it links candle, which `xtask` must not,
//! and because a product's command line is no place for a benchmark. It is a
//! library because an allocator belongs to a whole program: `spar-bench` has
//! the one that `spar` has, `spar-bench-malloc` the system's, which is what
//! candle meets in a program that does not choose one. `spar-gpu` is what `cargo xtask
//! gpu-check` runs on a GPU.

mod acting;
mod bench;
mod clock;
mod dataset;
mod gpu;
mod inputs;
mod loading;
mod methods;
mod options;
mod ours;
mod peak;
mod plain;
mod serve;
mod work;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

pub use gpu::run as run_gpu;
pub use ours::{NAMES, NAMES_MALLOC};

/// What `cargo xtask bench` runs.
#[derive(Parser)]
enum Command {
    /// Measure, print and write
    Bench(Box<bench::Args>),
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

/// The exit code of what has none of its own.
fn succeeded((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// Runs the program that offers `contenders`.
pub fn run(contenders: &[&'static str]) -> ExitCode {
    let done = match Command::parse() {
        Command::Bench(args) => bench::bench(&args),
        Command::Load { file, core } => loading::load(&file, core).map(succeeded),
        Command::Act(args) => acting::act(&args).map(succeeded),
        Command::Serve { methods, core } => {
            let offered = if methods {
                &methods::NAMES[..]
            } else {
                contenders
            };
            serve::serve(core, offered).map(succeeded)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
