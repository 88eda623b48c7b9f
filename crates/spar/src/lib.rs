//! SPAR (support-preserving action rectification) and everything around it:
//! one dependency that brings the whole library under short names.
//!
//! ```
//! use spar::core::{EnvId, Policy, Stream};
//!
//! /// Pushes a point on a line back to its middle.
//! struct Spring;
//!
//! impl Policy for Spring {
//!     fn obs_dim(&self) -> usize {
//!         2
//!     }
//!     fn act_dim(&self) -> usize {
//!         1
//!     }
//!     fn act(&self, obs: &[f32], _streams: &mut [Stream], actions: &mut [f32]) {
//!         let (states, _) = obs.as_chunks::<2>();
//!         for ([x, v], force) in states.iter().zip(actions) {
//!             *force = (-2.0 * x - 2.0 * v).clamp(-1.0, 1.0);
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), spar::eval::EvalError> {
//! let episodes = spar::eval::rollout(EnvId::POINT_MASS, &Spring, 10, 42, 1)?;
//! assert!(episodes.iter().all(|e| !e.terminated && e.ret > 80.0));
//! # Ok(())
//! # }
//! ```

pub use spar_anchor as anchor;
pub use spar_baselines as baselines;
pub use spar_collect as collect;
pub use spar_core as core;
pub use spar_critic as critic;
pub use spar_data as data;
pub use spar_env as env;
pub use spar_eval as eval;
pub use spar_nn as nn;
pub use spar_ope as ope;
pub use spar_policy as policy;
pub use spar_rectify as rectify;
pub use spar_render as render;
pub use spar_report as report;
pub use spar_stats as stats;
pub use spar_suite as suite;
pub use spar_theory as theory;
pub use spar_train as train;

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
