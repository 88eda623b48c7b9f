//! Conservative critics: what bounds SPAR's improvement.
//!
//! An ensemble of layer-normalized action-value networks with Polyak-averaged
//! target copies, in two forms behind one interface. The in-sample form never
//! queries an action outside the data; the residual form evaluates the policy
//! being trained. Neither computes a gradient with respect to an action: the one
//! function that does, [`climbed`], is there for the ablation that shows why.

mod ablation;
mod config;
mod device;
mod loss;
mod model;
mod update;

pub use ablation::climbed;
pub use config::{CriticConfig, CriticForm};
pub use device::DeviceCritic;
pub use loss::expectile_loss;
pub use model::Critic;
pub use update::{CriticMetrics, NextActions};

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
