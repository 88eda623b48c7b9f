//! SPAR: local rectification of a frozen anchor's action by Latent
//! Self-Imitation. `update.rs` holds one whole update in the paper's order;
//! start
//! reading there. `device.rs` is the same update on a GPU.

mod ablation;
mod base;
mod config;
mod device;
mod loss;
mod model;
mod policy;
mod update;

pub use base::Base;
pub use config::{Ablation, RectifyConfig};
pub use device::DeviceSpar;
pub use loss::fit_loss;
pub use model::SupportModel;
pub use spar_policy::{Residual, SparPolicy};
pub use update::{Spar, SparMetrics};

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
