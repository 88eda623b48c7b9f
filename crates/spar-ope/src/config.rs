//! Settings of an evaluation.

use spar_core::{
    limits::{
        MOST_BATCH, MOST_CANDIDATES, MOST_CRITICS, MOST_LAYERS, MOST_UPDATES, MOST_WIDTH,
        OutOfRange, count,
    },
    ope::OpeSettings,
};

/// Settings of [`crate::evaluate`].
#[derive(Clone, Debug, PartialEq)]
pub struct FqeConfig {
    /// Gradient updates of each estimator.
    pub updates: u64,
    /// Transitions of an update.
    pub batch: usize,
    /// Widths of the hidden layers, each with layer normalization.
    pub hidden: Vec<usize>,
    /// Adam's learning rate.
    pub lr: f32,
    /// Rate at which the target network follows. Values travel back along an episode by its
    /// pace: after `n` updates a level of value that differs from the data's is reached up to
    /// about `exp(-n tau (1 - discount))`.
    pub tau: f32,
    /// Discount of future rewards, from 0 to below 1.
    pub discount: f64,
    /// Networks fitted independently.
    pub estimators: usize,
    /// Actions kept for each state of a policy that draws.
    pub draws: usize,
    /// Part of the episodes that is held out.
    pub held_out: f64,
    /// Seed of every stream.
    pub seed: u64,
}

impl Default for FqeConfig {
    /// This project's; the networks are those of its critics.
    fn default() -> Self {
        Self {
            updates: 20_000,
            batch: 256,
            hidden: vec![256, 256],
            lr: 3e-4,
            tau: 0.02,
            discount: 0.99,
            estimators: 2,
            draws: 1,
            held_out: 0.1,
            seed: 0,
        }
    }
}

impl FqeConfig {
    /// Refuses what no evaluation can be made of.
    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        count("updates", self.updates, 1..=MOST_UPDATES)?;
        count("batch", self.batch as u64, 1..=MOST_BATCH)?;
        count("estimators", self.estimators as u64, 1..=MOST_CRITICS)?;
        count("draws", self.draws as u64, 1..=u64::from(MOST_CANDIDATES))?;
        count("hidden", self.hidden.len() as u64, 1..=MOST_LAYERS as u64)?;
        for &width in &self.hidden {
            count("hidden", width as u64, 1..=MOST_WIDTH)?;
        }
        let within = |field: &str, value: f64, fits: bool, expected: &str| match fits {
            true => Ok(()),
            false => Err(OutOfRange::new(field, value, expected)),
        };
        let (lr, tau) = (f64::from(self.lr), f64::from(self.tau));
        within("lr", lr, lr > 0.0 && lr <= 1.0, "above 0, at most 1")?;
        within("tau", tau, tau > 0.0 && tau <= 1.0, "above 0, at most 1")?;
        let part = |x: f64| (0.0..1.0).contains(&x);
        let discount = self.discount;
        within("discount", discount, part(discount), "from 0 to below 1")?;
        let held_out = self.held_out;
        within("held_out", held_out, part(held_out), "from 0 to below 1")
    }

    /// The same as they are written down, of data cut after `horizon` steps and a policy of
    /// which `draws` actions are kept.
    pub fn settings(&self, horizon: Option<usize>, draws: bool) -> OpeSettings {
        OpeSettings {
            updates: self.updates,
            batch: self.batch,
            hidden: self.hidden.clone(),
            lr: self.lr,
            tau: self.tau,
            discount: self.discount,
            estimators: self.estimators,
            draws: if draws { self.draws } else { 1 },
            held_out: self.held_out,
            horizon,
            seed: self.seed,
        }
    }
}
