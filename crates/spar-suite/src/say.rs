//! Lines to the terminal that never end the program by a panic: a reader that is gone is no
//! reason to leave runs without their supervisor.

use std::io::{self, Write};

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
