//! `cargo xtask`: the project's own commands, so that a fresh clone needs
//! nothing but Rust, a C compiler and Python with pip.
//!
//! xtask provisions the native parts, calls cargo and spawns `spar`; it never
//! links candle, HDF5 or MuJoCo, so that it builds in seconds.

#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

mod behavior;
mod bench;
mod cargo;
mod commit;
mod demo;
mod dist;
#[cfg(test)]
mod documents;
mod fetch;
mod generate;
mod gpu_check;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod packages;
mod sanitize;
mod setup;
mod site;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod weight;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Error, Result};
use clap::{Parser, Subcommand};
use spar_core::printable_lines;
use spar_setup::{DOORS, MINARI, TRACKERS, WHEEL};
use spar_suite::{RunnerError, Usage, say, say::to_stderr};

use crate::{
    cargo::{Cargo, selects_no_package},
    fetch::FetchOptions,
    setup::Setup,
};

/// The project's own commands.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Fetch the native parts (MuJoCo, its models, cmake where missing) into
    /// `.spar/native`; every other command does what it needs of it by itself.
    Setup {
        /// Only what building needs: cmake, where missing
        #[arg(long)]
        build_tools: bool,
    },
    /// Build the release artefact: `target/dist/spar`, stripped, with its commit in it.
    Dist,
    /// Build `spar` and let it draw the idea: SPAR, TD3+BC and AWR on data along a
    /// curve, in seconds. Needs no MuJoCo and no data.
    Demo(demo::Options),
    /// Run every test; ARGS go to `cargo test`.
    Test {
        /// Arguments of `cargo test`, as in `-p spar-core -- --nocapture`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check formatting, clippy and the documentation.
    Lint,
    /// Look through everything the project depends on: licences, duplicates, sources; with
    /// --advisories also what is known to be unsafe or unmaintained.
    Audit {
        /// Ask RustSec's database, which is fetched from GitHub
        #[arg(long)]
        advisories: bool,
    },
    /// Run the kernels' tests under AddressSanitizer, on every instruction set
    /// this machine has.
    Sanitize,
    /// Make a suite's table: data, training runs, report. Does what is left.
    Reproduce(spar_suite::Options),
    /// Measure our training steps beside candle's, PyTorch's and JAX's; with
    /// --check, against the committed baseline; with --scaling, side by side and
    /// at other sizes; with --loading, the reading of files beside h5py.
    Bench(bench::Options),
    /// Check and measure on a GPU: every kernel and whole updates against the CPU, then
    /// times, beside JAX and PyTorch; with --pack, only make the folder that does it, for
    /// a machine without Rust. Over a stand-in where there is no GPU.
    GpuCheck(gpu_check::Options),
    /// Make the site: the documents as a book, a page for each method, the crates'
    /// documentation; every link is followed.
    Site(site::Options),
    /// Only data: a suite's, official files, or behaviour policies.
    #[command(subcommand)]
    Data(Data),
}

/// Commands about data sets.
#[derive(Subcommand)]
enum Data {
    /// Generate local data of a suite's environments at every level and verify
    /// them; does what is left.
    Generate(generate::Options),
    /// Train the behaviour policies that local data are made of; resumes an
    /// interrupted training.
    Behavior(behavior::Options),
    /// Download official D4RL files into D4RL's cache folder, each proven by its
    /// sha256; resumes where a download broke off.
    Fetch(FetchOptions),
}

fn main() -> ExitCode {
    let command = Command::parse_from(verbatim(env::args_os().collect()));
    run(command).unwrap_or_else(|error| {
        say!("error: {}", printable_lines(&format!("{error:#}")));
        // A request that makes no sense as given.
        let usage =
            error.is::<Usage>() || matches!(error.downcast_ref(), Some(RunnerError::Usage(_)));
        ExitCode::from(if usage { 2 } else { 1 })
    })
}

/// Puts what follows `test` out of clap's reach, which would else take a `--`
/// for its own.
fn verbatim(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|word| word == "test") {
        words.insert(2, "--".into());
    }
    words
}

fn run(command: Command) -> Result<ExitCode> {
    let root = root();
    let provisioned = || -> Result<Cargo> {
        Setup::here(root).run()?;
        Ok(Cargo::new(root))
    };
    match command {
        Command::Setup { build_tools } => {
            match build_tools {
                true => Setup::here(root).build_tools()?,
                false => drop(provisioned()?),
            }
            say!("native parts are in place");
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { args } => {
            let tools = test_tools(root, &args)?;
            provisioned()?.test(&args, &tools)
        }
        Command::Lint => provisioned()?.lint(),
        Command::Dist => {
            Setup::here(root).build_tools()?;
            dist::run(root)
        }
        // Nothing is built.
        Command::Audit { advisories } => {
            let deny = Setup::here(root).deny()?;
            Cargo::new(root).audit(&deny, advisories)
        }
        // Nothing the kernels are made of needs a native part.
        Command::Sanitize => sanitize::sanitize(root, &Cargo::new(root)),
        // It plays no environment: nothing but cmake may be missing.
        Command::Demo(options) => demo::demo(&options, || {
            Setup::here(root).build_tools()?;
            Ok(Cargo::new(root))
        }),
        Command::Reproduce(options) => {
            let spar = || program(provisioned).map_err(Into::into);
            Ok(spar_suite::reproduce(root, &options, spar)?)
        }
        Command::Site(options) => {
            if !options.only_pages() {
                // The crates' documentation compiles what HDF5 is built by.
                Setup::here(root).build_tools()?;
            }
            site::site(root, &options).map(|()| ExitCode::SUCCESS)
        }
        Command::Bench(options) => bench::bench(root, &options, provisioned),
        Command::GpuCheck(options) => gpu_check::gpu_check(root, &options, provisioned),
        Command::Data(Data::Generate(options)) => generate::generate(root, &options, provisioned),
        Command::Data(Data::Behavior(options)) => behavior::behavior(root, &options, provisioned),
        Command::Data(Data::Fetch(options)) => fetch::fetch(root, &options, provisioned),
    }
}

/// What the tests that `args` select need besides the native parts: NVIDIA's
/// tools, and a Python with Minari. Where one cannot be had its tests are skipped
/// with a word, except on a CI machine, which must not skip in silence.
fn test_tools(root: &Path, args: &[String]) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut tools = Vec::new();
    let mut provide = |package: &str, lost: &str, found: Result<Vec<_>>| match found {
        Ok(found) => {
            tools.extend(found);
            Ok(())
        }
        Err(error) if env::var_os("CI").is_some() => Err(error.context(package.to_owned())),
        Err(error) => {
            say!("warning: {lost}: {error:#}");
            Ok(())
        }
    };
    let selected =
        |package| selects_no_package(args) || args.iter().any(|arg| arg.contains(package));
    if selected("spar-kernels") {
        let found = Setup::here(root).cuda_tools();
        let found = found.map(|t| vec![("SPAR_NVRTC", t.nvrtc), ("SPAR_PTXAS", t.ptxas)]);
        provide("spar-kernels", "the CUDA sources are not compiled", found)?;
    }
    let program = args.iter().any(|arg| arg == "spar");
    let doors = ["spar-train", "spar-policy", "spar-data", "spar-c"];
    let pythons = [
        (
            selected("spar-data"),
            ("SPAR_MINARI_PYTHON", MINARI),
            ("spar-data", "nothing is compared with the minari package"),
        ),
        (
            program || doors.into_iter().any(selected),
            ("SPAR_DOORS_PYTHON", DOORS),
            (
                "spar-train",
                "nothing is read back by tensorboard, onnxruntime and pyarrow",
            ),
        ),
        (
            program || selects_no_package(args),
            ("SPAR_TRACKERS_PYTHON", TRACKERS),
            ("spar", "no run is sent to a tracker"),
        ),
        (
            selected("spar-py"),
            ("SPAR_WHEEL_PYTHON", WHEEL),
            ("spar-py", "the Python package is not tested"),
        ),
    ];
    for (selected, (variable, environment), (package, lost)) in pythons {
        if selected {
            let found = environment.provide(root, to_stderr).map_err(Error::from);
            let found = found.map(|python| vec![(variable, python)]);
            provide(package, lost, found)?;
        }
    }
    Ok(tools)
}

/// The `spar` program: `$SPAR_BIN`, which comes with its own set-up, or the one
/// built here.
fn program(provisioned: impl FnOnce() -> Result<Cargo>) -> Result<PathBuf> {
    match env::var_os("SPAR_BIN") {
        Some(program) => Ok(std::path::absolute(program)?),
        None => provisioned()?.build("spar"),
    }
}

/// The workspace's root.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_tests_reach_cargo_as_given() {
        for given in [
            "",
            "-p spar-core",
            "name -- --nocapture",
            "-- --nocapture",
            "--help",
        ] {
            let words = ["xtask", "test"]
                .into_iter()
                .chain(given.split_whitespace());
            let words = verbatim(words.map(OsString::from).collect());
            let Command::Test { args } = Command::try_parse_from(words).unwrap() else {
                unreachable!("`test` parses to itself");
            };
            assert_eq!(args.join(" "), given);
        }
    }
}
