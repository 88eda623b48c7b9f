//! What the loop of a run asks of a trainer between two updates.

use spar_data::Batch;

use super::Trainer;
use crate::error::TrainError;

impl Trainer<'_> {
    /// Whether what every update measures is known without waiting for it.
    pub(crate) fn at_hand(&mut self) -> bool {
        self.stage.learner.get().at_hand()
    }

    /// Whether all that the last update measured is finite.
    pub(crate) fn is_finite(&mut self) -> Result<bool, TrainError> {
        self.stage.learner.get().is_finite()
    }

    /// The next update of this stage, whatever it measures; false if all are done.
    pub(crate) fn update(&mut self) -> Result<bool, TrainError> {
        self.stage.update()
    }

    /// The next update of this stage as if it were number `step`.
    pub(crate) fn update_as(&mut self, step: u64) -> Result<(), TrainError> {
        self.stage.update_as(step)
    }

    /// The batch of the last update.
    pub(crate) fn batch(&self) -> &Batch {
        &self.stage.batch
    }

    /// What rewards are multiplied by.
    pub(crate) fn reward_scale(&self) -> f32 {
        self.stage.replay.reward_scale()
    }
}
