//! What logged data say of a policy that nobody has played.
//!
//! A robot's policy cannot be tried before it is chosen. Fitted Q evaluation (Le et al. 2019)
//! learns the policy's own action values from transitions of others, `Q(s, a) = r + discount
//! (1 - terminal) Q(s', pi(s'))`, and values the policy by them where the data's episodes
//! begin. What makes such a number wrong is shown beside it: temporal-difference errors on
//! episodes that were not trained on, how far estimators disagree, and how far the policy's
//! actions are from those in the data, where no `Q` has seen anything.
//!
//! It is a crate apart because it needs neither an environment nor a method: any
//! [`spar_core::Policy`], any [`spar_data::Transitions`]. Files as `fqe.rs` and `update.rs`
//! are the algorithm; [`evaluate`] is all of it.

mod actions;
mod config;
mod diagnostics;
mod error;
mod evaluate;
mod fqe;
mod update;

pub use config::FqeConfig;
pub use error::OpeError;
pub use evaluate::{Evaluation, evaluate};
pub use fqe::{Fqe, Units};

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
