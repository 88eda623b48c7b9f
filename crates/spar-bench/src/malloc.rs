//! candle's plain composition with the system's allocator.

use std::process::ExitCode;

fn main() -> ExitCode {
    spar_bench::run(&spar_bench::NAMES_MALLOC)
}
