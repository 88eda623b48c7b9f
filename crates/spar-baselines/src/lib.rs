//! The methods SPAR is compared with, each in one file over the same parts, so
//! that a difference in a table is one of algorithms and not of engines.
//!
//! A method is a type that implements [`Learner`] and [`Baseline`]: it makes its
//! networks, takes one update on a minibatch, lists what it resumes from and says
//! what it acts by. Everything else a run has (data, specs, logs, curves,
//! checkpoints, exact resume, policy files) comes with `spar-train`. No method does
//! input or output, and none draws a random number except from its own named
//! streams. Whether each is the method it claims to be is what `tests/parity.rs`
//! holds against independent PyTorch programs.
//!
//! # Adding a method
//!
//! One file in `methods/`, a line for its module and one in [`METHODS`] in `methods/mod.rs`
//! beside it, and its name in `spar_core::names`, where reports and suites read it. Behaviour
//! cloning in full:
//!
//! ```
//! use candle_core::Result;
//! use serde::{Deserialize, Serialize};
//! use spar_baselines::{
//!     Actor, Baseline, DataConfig, Learner, MethodName, Metrics, Parts, Sample, Settings,
//!     SettingsError, Start, Trained,
//! };
//! use spar_nn::{Head, Trace, relu_shape};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Config {
//!     /// How the data reach it.
//!     data: DataConfig,
//!     /// Widths of the hidden layers.
//!     hidden: Vec<usize>,
//!     /// Adam's learning rate.
//!     lr: f64,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { data: DataConfig::default(), hidden: vec![256, 256], lr: 3e-4 }
//!     }
//! }
//!
//! impl Settings for Config {
//!     fn data(&self) -> &DataConfig {
//!         &self.data
//!     }
//!     fn data_mut(&mut self) -> &mut DataConfig {
//!         &mut self.data
//!     }
//!     fn discount(&self) -> Option<f64> {
//!         None
//!     }
//!     fn hidden(&self) -> Vec<(&'static str, &[usize])> {
//!         vec![("hidden", &*self.hidden)]
//!     }
//!     fn check(&self) -> std::result::Result<(), SettingsError> {
//!         Ok(())
//!     }
//! }
//!
//! struct Cloning {
//!     actor: Trained,
//! }
//!
//! impl Baseline for Cloning {
//!     // In the workspace `names::CLONING`.
//!     const NAME: MethodName = ("cloning", "Cloning");
//!     type Config = Config;
//!     fn new(config: Config, start: Start) -> Result<Self> {
//!         let shape = relu_shape(start.obs_dim, config.hidden, start.act_dim)?;
//!         let shape = shape.with_head(Head::Tanh);
//!         Ok(Self { actor: Trained::new(shape, config.lr, start.seed, "actor")? })
//!     }
//! }
//!
//! impl Learner for Cloning {
//!     fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
//!         let actions = self.actor.net.forward(&sample.batch.obs, Trace::Params)?;
//!         let loss = (actions - &sample.batch.actions)?.sqr()?.mean_all()?;
//!         Ok(Metrics::default().with("loss", self.actor.descend(&loss)?))
//!     }
//!     fn parts(&mut self) -> Parts<'_> {
//!         Parts::default().trained("actor", &mut self.actor)
//!     }
//!     fn actor(&self) -> Result<Actor> {
//!         Actor::net(&self.actor.net)
//!     }
//! }
//! ```
//!
//! and in `METHODS` `Entry::of::<cloning::Cloning>(),`. From then on
//! `spar train --method cloning` trains it, `[method.cloning]` in a suite file sets
//! its hyper-parameters, and `spar eval` plays its policy file. Give it a PyTorch
//! program in `tests/scripts/baselines/`; the parity test demands one.

mod actor;
pub mod diffusion;
pub mod flow;
mod learner;
pub mod methods;
mod registry;
mod replay;
mod settings;
pub mod vae;

pub use actor::Actor;
pub use learner::{
    Baseline, Exploration, Learner, MethodName, Metrics, Online, Part, Parts, Sample, Start,
};
pub use methods::METHODS;
pub use registry::{Entry, Feed, StartError, find};
pub use replay::Replay;
pub use settings::{Blend, DataConfig, Hubl, Keep, Rewards, Settings, SettingsError, States};
pub use spar_nn::{
    Aggregate, Critics, Gradients, Momentum, Trained, Variable, bellman, gaussian, scalar,
};

use spar_nn::{
    critics::{detached, mean, repeat_rows},
    trained::cosine,
};

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
