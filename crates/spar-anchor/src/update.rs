//! Behaviour cloning. `device.rs` is the same update on a GPU.

use candle_core::Result;
use spar_nn::{Adam, AdamConfig, Batch, State, StateError};

use crate::{config::AnchorConfig, model::Anchor};

/// An anchor while it is being trained.
#[derive(Debug)]
pub struct AnchorTrainer {
    /// The policy.
    pub anchor: Anchor,
    optim: Adam,
}

impl AnchorTrainer {
    /// Starts training `anchor`.
    pub fn new(anchor: Anchor, config: &AnchorConfig) -> Self {
        let optim = Adam::new(anchor.net(), AdamConfig::new(config.lr));
        Self { anchor, optim }
    }

    /// One update on `mean_{B,A} |pi_base(s) - a|^2` (the mean over batch and
    /// action dimensions, as PyTorch's `mse_loss`); returns the loss.
    ///
    /// # Errors
    /// If the batch's shapes do not fit.
    pub fn update(&mut self, batch: &Batch) -> Result<f32> {
        let loss = (self.anchor.trained_act(&batch.obs)? - &batch.actions)?
            .sqr()?
            .mean_all()?;
        self.optim.step(&loss.backward()?)?;
        loss.to_scalar()
    }

    /// Adds network and optimizer to `state`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, state: &mut State) -> Result<()> {
        self.optim.save("anchor", state);
        self.anchor.net().save("anchor", state)
    }

    /// Takes network and optimizer from `state`.
    ///
    /// # Errors
    /// If they are absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        self.optim.load("anchor", state)?;
        self.anchor.net().load("anchor", state)
    }

    /// Ends training: the frozen policy, in no optimizer any more.
    pub fn freeze(self) -> Anchor {
        self.anchor
    }
}
