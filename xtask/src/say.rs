//! Lines to the terminal that never end the program by a panic: a reader that is gone, or
//! a disk that is full, is no reason to leave runs without their supervisor.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use anyhow::{Context, Result};

/// Writes a line to stderr, where somebody may read it.
macro_rules! say {
    ($($part:tt)*) => {
        $crate::say::to_stderr(&format!($($part)*))
    };
}

/// Writes `line` to stderr.
pub(crate) fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

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
