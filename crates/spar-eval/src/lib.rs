//! Seeded rollouts of any policy.
//!
//! [`rollout`] plays a policy in an environment: the same policy, seed and
//! number of episodes give the same returns on any number of threads, and every
//! training seed of a table is evaluated on the same initial states. `spar-stats`
//! turns returns into intervals.
//!
//! [`branch()`] goes on from a recorded state by an action of choice, so that the simulator says
//! what the action is worth; [`diagnose()`] asks it what SPAR's candidates are.

pub mod branch;
pub mod diagnose;
pub mod rollouts;

pub use branch::{Branch, Snapshot, Span, branch, visited};
pub use diagnose::{DiagnoseConfig, DiagnoseError, Diagnosis, diagnose};
pub use rollouts::{Episode, EvalError, rollout, rollout_in_step, rollout_range, watch};

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
