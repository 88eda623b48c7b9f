//! What was asked for, to stdout.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use anyhow::{Context, Result};

/// Writes what was asked for, and a line end, to stdout.
///
/// # Errors
/// If it cannot be written; a reader that closed stdout has what it wanted.
pub(crate) fn to_stdout(text: &impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
