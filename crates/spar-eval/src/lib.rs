//! Seeded rollouts of any policy, and the statistics of their returns.
//!
//! [`rollout`] plays a policy in an environment: the same policy, seed and
//! number of episodes give the same returns on any number of threads, and every
//! training seed of a table is judged on the same initial states. [`stats`]
//! turns returns into intervals.

pub mod rollouts;
pub mod stats;

pub use rollouts::{Episode, EvalError, rollout, rollout_in_step, rollout_range};
