//! The `spar` binary as a user meets it: the real program in a child process,
//! on a point mass whose runs take a second and need no MuJoCo. Only `cells` makes data and
//! runs of the suites themselves.
#![allow(clippy::unwrap_used)]

mod bad_input;
#[cfg(unix)]
mod cells;
#[cfg(unix)]
mod cluster;
mod comforts;
mod data;
mod data_mutants;
mod demo;
#[cfg(unix)]
mod doors;
mod ended;
mod fetch;
mod finetune;
mod honest_data;
mod hostile;
mod list;
mod minari;
#[path = "../../../../tests/support/mutants.rs"]
mod mutants;
mod names;
mod offline;
mod ope;
mod other_data;
mod plain_policies;
mod policies;
mod protocol;
mod refused;
#[cfg(unix)]
mod render;
mod report;
mod results;
mod robot_log;
mod suite;
mod support;
mod tables;
mod theory;
mod together;
mod train;
mod unsaid;
mod variants;
