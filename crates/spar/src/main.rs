//! The `spar` binary.
fn main() {}
