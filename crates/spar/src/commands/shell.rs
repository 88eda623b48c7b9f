//! `spar completions` and `spar man`: what shells and `man` know of the program, made of
//! the same description that parses its command line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

use crate::output;

/// Which shell's completions.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  spar completions bash > ~/.local/share/bash-completion/completions/spar
  spar completions zsh > ~/.zfunc/_spar
  spar completions fish > ~/.config/fish/completions/spar.fish";

/// Where the pages go.
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// Folder to write the pages to, one a command: spar.1, spar-train.1, ...
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints the completions of `program`.
pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "spar", &mut script);
    output::bytes(&script)
}

/// Writes the pages of `program`.
pub(crate) fn man(args: &ManArgs, program: Command) -> Result<()> {
    let wrong = || format!("{}: cannot write the pages", args.out.display());
    std::fs::create_dir_all(&args.out).with_context(wrong)?;
    clap_mangen::generate_to(program, &args.out).with_context(wrong)?;
    output::text(&format!("{}: try `man -l {0}/spar.1`", args.out.display()))
}
