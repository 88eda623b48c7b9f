//! What `cargo xtask gpu-check` runs on a GPU, with the allocator of `spar`.

use std::process::ExitCode;

/// As in the `spar` binary: what is measured is what is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    spar_bench::run_gpu()
}
