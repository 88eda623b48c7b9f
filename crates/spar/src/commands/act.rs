//! `spar act`: observations in, actions out, for a program beside this one.

mod frames;
#[cfg(unix)]
mod socket;

use std::{
    io::{self, BufReader},
    num::NonZeroUsize,
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use spar_policy::Policy;

use super::{counts, eval::MOST_BEST_OF};
use crate::output::Closed;
use frames::{Fault, Format};

/// The policy, and how it is talked to.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Policy: a file `spar train` wrote, its run's folder, or a plain network
    /// (safetensors)
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How observations and actions lie on stdin and stdout
    #[arg(long, value_enum, default_value = "json")]
    format: FormatArg,
    /// Listen on a Unix socket that is made here, instead of reading stdin; any number of
    /// programs may connect, each of which may ask as often as it likes
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Act by the best of K candidates, valued by the policy's critics
    #[arg(long, value_name = "K", default_value = "1", value_parser = counts(MOST_BEST_OF))]
    best_of: u32,
    /// Seed of the candidates of a policy that draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  echo '[0.1, -0.2]' | spar act --policy runs/arm
  spar act --policy runs/arm --format f32 --socket arm.sock";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// A line of JSON each: `[0.1, -0.2]`
    Json,
    /// Single-precision numbers, little-endian, one row after the other
    F32,
}

/// Answers every observation until there are no more.
pub(crate) fn run(args: &Args) -> Result<()> {
    let file = spar_policy::file_of(&args.policy)?;
    let best_of = NonZeroUsize::new(args.best_of as usize).unwrap_or(NonZeroUsize::MIN);
    let policy = Policy::load(&file)?.best_of(best_of);
    let policy = policy.map_err(|e| e.in_file(&file))?.seeded(args.seed);
    let format = match args.format {
        FormatArg::Json => Format::Json,
        FormatArg::F32 => Format::F32,
    };
    if let Some(path) = &args.socket {
        return listen(policy, format, path);
    }
    let (input, output) = (BufReader::new(io::stdin().lock()), io::stdout().lock());
    match frames::answer(&policy, format, input, output, frames::OnFault::Stop) {
        Ok(()) => Ok(()),
        Err(Fault::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(fault) => Err(fault).context("standard input"),
    }
}

#[cfg(unix)]
fn listen(policy: Policy, format: Format, path: &std::path::Path) -> Result<()> {
    socket::listen(policy, format, path)
}

#[cfg(not(unix))]
fn listen(_: Policy, _: Format, _: &std::path::Path) -> Result<()> {
    anyhow::bail!("--socket is for Unix; leave it out and write to standard input")
}
