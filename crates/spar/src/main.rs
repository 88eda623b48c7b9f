//! The `spar` binary: data to stdout, everything else to stderr, one line for
//! what went wrong. Exit codes: 0 done, 1 failed, 2 not understood.

mod commands;
mod data_card;
mod demo;
mod failure;
mod output;
mod provenance;

use std::process::{Command as Process, ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use spar_core::process::ENVIRONMENT;

/// A training step allocates and frees tensors of a few hundred kilobytes,
/// which the system's allocator maps and unmaps each time: at half the speed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Offline reinforcement learning by support-preserving action rectification.
#[derive(Parser)]
#[command(name = "spar", version, after_help = MORE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const MORE: &str = "\
--list-methods, --list-envs and --list-tasks print what there is (`spar list --help`).

Example:
  spar train --dataset hopper-medium-v2 --method spar --out runs/hopper";

#[derive(Subcommand)]
enum Command {
    /// Train a policy on a data file and evaluate its last checkpoint
    Train(Box<commands::train::Args>),
    /// Several runs of `train` in one process, which share every launch on one GPU
    #[command(hide = true)]
    TrainTogether(commands::train::TogetherArgs),
    /// Train an offline run further, in its environment
    Finetune(Box<commands::finetune::Args>),
    /// Evaluate a policy file in its environment
    Eval(commands::eval::Args),
    /// Draw episodes of a policy: SVG, GIF, MP4
    Render(commands::render::Args),
    /// Evaluate policies on logged data, without a simulator
    Ope(commands::ope::Args),
    /// Ask the simulator why a policy of SPAR is not better
    Diagnose(commands::diagnose::Args),
    /// Act by a policy: observations in, actions out, over stdin or a Unix socket
    Act(commands::act::Args),
    /// Write a policy as an ONNX model
    Export(commands::export::Args),
    /// Send the logs of runs to a tracker
    #[command(subcommand)]
    Log(commands::log::Command),
    /// Bring in policies of other programs
    #[command(subcommand)]
    Policy(commands::policy::Command),
    /// Fetch the native parts that environments need: MuJoCo and its models
    Setup(commands::setup::Args),
    /// List methods, environments, tasks and settings
    List(commands::list::Args),
    /// Look at, check, convert, find or generate data
    #[command(subcommand)]
    Data(commands::data::Command),
    /// Train behaviour policies, of which local data are made
    #[command(subcommand)]
    Behavior(commands::behavior::Command),
    /// See the idea: three methods on data along a curve, trained and drawn in seconds
    Demo(commands::demo::Args),
    /// Make tables and curves of finished runs
    Report(commands::report::Args),
    /// Make the tables of suites: many runs, side by side
    #[command(subcommand)]
    Suite(commands::suite::Command),
    /// Print what the numbers of suites are made of, and how
    Protocol(commands::protocol::Args),
    /// Put the paper's claims to the test
    Theory(commands::theory::Args),
    /// Print what a shell completes command lines by
    Completions(commands::shell::CompletionsArgs),
    /// Write the manual pages
    Man(commands::shell::ManArgs),
}

fn main() -> ExitCode {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    let missing = ENVIRONMENT.into_iter().filter(|(name, _)| unset(name));
    let missing: Vec<_> = missing.collect();
    let done = match missing.is_empty() {
        true => run(),
        false => start_again(missing),
    };
    done.unwrap_or_else(|error| failure::print(&error))
}

fn run() -> anyhow::Result<ExitCode> {
    spar_core::signals::survive_file_size_limit()?;
    spar_data::rehearse_in(|file, observations| {
        let mut command = Process::new(std::env::current_exe()?);
        command.args(["data", "rehearse"]);
        for name in observations {
            command.arg(format!("--observations={name}"));
        }
        command.arg("--").arg(file);
        Ok(command)
    });
    if let Some(list) = commands::list::asked(std::env::args_os().skip(1)) {
        return commands::list::run(&list).map(|()| ExitCode::SUCCESS);
    }
    // clap's would ask git for the commit whenever anything is parsed.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "--version")
    {
        let version = format!("spar {}", provenance::version());
        return output::text(&version).map(|()| ExitCode::SUCCESS);
    }
    define_tasks(std::env::args_os().skip(1));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Ok(failure::print_unparsed(&error)),
    };
    match cli.command {
        Command::Train(args) => commands::train::run(&args),
        Command::TrainTogether(args) => commands::train::run_together(&args),
        Command::Finetune(args) => commands::finetune::run(&args),
        Command::Eval(args) => commands::eval::run(&args),
        Command::Render(args) => commands::render::run(&args),
        Command::Ope(args) => commands::ope::run(&args),
        Command::Diagnose(args) => commands::diagnose::run(&args),
        Command::Act(args) => commands::act::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Log(command) => commands::log::run(&command),
        Command::Policy(command) => commands::policy::run(&command),
        Command::Data(command) => commands::data::run(&command),
        Command::Setup(args) => commands::setup::run(&args),
        Command::List(args) => commands::list::run(&args),
        Command::Behavior(command) => commands::behavior::run(&command),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Suite(command) => return commands::suite::run(&command),
        Command::Protocol(args) => commands::protocol::run(&args),
        Command::Theory(args) => commands::theory::run(&args),
        Command::Completions(args) => commands::shell::completions(&args, Cli::command()),
        Command::Man(args) => commands::shell::man(&args, Cli::command()),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Makes the tasks known that suites among `words` define, so that the command line may
/// name them. What is wrong with such a file, the command that reads it says.
pub(crate) fn define_tasks(words: impl Iterator<Item = std::ffi::OsString>) {
    let mut after_option = false;
    for word in words {
        let word = word.to_string_lossy();
        let file = word.split_once('=').map_or(&*word, |(_, file)| file);
        let suite = after_option || word.starts_with("--suite=");
        if (suite || file.ends_with(".toml"))
            && let Ok(file) = commands::suite_file(file.as_ref())
        {
            let _ = spar_core::Suite::load(&file);
        }
        after_option = word == "--suite";
    }
}

/// Starts this program again with what is `missing` of its environment ([`ENVIRONMENT`]), in the
/// same process where the system can.
fn start_again(missing: Vec<(&str, &str)>) -> anyhow::Result<ExitCode> {
    use anyhow::Context;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Process::new(program);
    command.args(std::env::args_os().skip(1)).envs(missing);
    again(&mut command).context("cannot start this program again")
}

#[cfg(unix)]
fn again(command: &mut Process) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.arg0("spar").exec())
}

#[cfg(not(unix))]
fn again(command: &mut Process) -> std::io::Result<ExitCode> {
    let code = command.status()?.code();
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
