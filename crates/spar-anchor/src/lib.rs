//! The anchor: a behaviour-cloning policy, trained first and then frozen.
//!
//! SPAR improves a policy locally around this one, so the anchor decides where
//! the search happens. It is deterministic, `pi_base(s) = tanh(net(s))`, and
//! also the `bc` row of every table: the method SPAR has to beat.

mod config;
mod device;
mod model;
mod update;

pub use config::{AnchorConfig, DRAWS, MOST_DRAWS};
pub use device::{DeviceAnchorTrainer, anchor_net};
pub use model::Anchor;
pub use update::AnchorTrainer;

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
