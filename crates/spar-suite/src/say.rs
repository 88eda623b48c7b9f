//! Lines to the terminal that never end the program by a panic: a reader that is gone is no
//! reason to leave runs without their supervisor.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

/// Writes a line, formatted as by `format!`, to stderr, where somebody may read it.
#[macro_export]
macro_rules! say {
    ($($part:tt)*) => {
        $crate::say::to_stderr(&format!($($part)*))
    };
}

/// Writes `line` to stderr.
pub fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes what was asked for, and a line end, to stdout.
///
/// # Errors
/// If it cannot be written; a reader that closed stdout has what it wanted.
pub fn to_stdout(text: &impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(io::Error::new(
            e.kind(),
            format!("cannot write to standard output: {e}"),
        )),
        Ok(()) => Ok(()),
    }
}
