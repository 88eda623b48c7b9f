//! Policy files: what is written is read back, PyTorch's layout is understood,
//! and a bad file ends in one line.
#![allow(clippy::unwrap_used, missing_docs)]

mod closed;
#[path = "../../../../tests/support/mutants.rs"]
mod mutants;
mod mutated;
mod ours;
mod plain;
mod support;
