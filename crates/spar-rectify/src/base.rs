//! What the residual is around.

use candle_core::{Result, Tensor, bail};
use spar_anchor::Anchor;
use spar_nn::{BaseActions, Batch};

/// The frozen policy that is rectified.
#[derive(Debug)]
pub enum Base {
    /// One cloned from the data: a network.
    Cloned(Anchor),
    /// One from elsewhere: what it does comes with every batch ([`Batch::base`]), computed
    /// once for all of the data.
    Given,
}

impl From<Anchor> for Base {
    fn from(anchor: Anchor) -> Self {
        Self::Cloned(anchor)
    }
}

impl Base {
    /// The anchor that was cloned.
    ///
    /// # Errors
    /// If the base is given: whoever gave it has it.
    pub fn cloned(&self) -> Result<&Anchor> {
        match self {
            Self::Cloned(anchor) => Ok(anchor),
            Self::Given => bail!("the policy that is rectified is given, not cloned"),
        }
    }

    /// Its actions `b` in the batch's states, `[rows, act_dim]`, without any gradient.
    ///
    /// # Errors
    /// If the shapes do not fit, or a given base's actions did not come with the batch.
    pub fn act(&self, batch: &Batch) -> Result<Tensor> {
        match self {
            Self::Cloned(anchor) => anchor.act(&batch.obs),
            Self::Given => Ok(given(batch)?.at.clone()),
        }
    }

    /// [`Self::act`] in the batch's next states.
    ///
    /// # Errors
    /// As there.
    pub fn act_next(&self, batch: &Batch) -> Result<Tensor> {
        match self {
            Self::Cloned(anchor) => anchor.act(&batch.next_obs),
            Self::Given => Ok(given(batch)?.next.clone()),
        }
    }
}

fn given(batch: &Batch) -> Result<&BaseActions> {
    match &batch.base {
        Some(base) => Ok(base),
        None => bail!("a batch without the actions of the policy that is rectified"),
    }
}
