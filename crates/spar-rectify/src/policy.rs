//! SPAR as a policy for acting.

use std::num::NonZeroUsize;

use candle_core::Result;
use spar_policy::{Normalizer, Residual, SparPolicy};

use crate::{ablation::Ablated, update::Spar};

impl Spar {
    /// The policy as trained so far, deterministic, for observations that `normalizer`
    /// normalizes: the cloned anchor and its residual.
    ///
    /// # Errors
    /// If the base is given, which whoever gave it has; or if candle cannot read the
    /// parameters.
    pub fn policy(&self, normalizer: Normalizer) -> Result<SparPolicy> {
        Ok(SparPolicy {
            normalizer,
            anchor: self.base.cloned()?.rows()?,
            residual: Some(self.residual()?),
        })
    }

    /// What rectifies the base's action, as trained so far, deterministic.
    ///
    /// The decoder is the Polyak-averaged one: in an environment that ends episodes the
    /// returns of neighbouring checkpoints differ by more than those of methods, and
    /// averaging damps that.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn residual(&self) -> Result<Residual> {
        let config = self.config();
        let head = self.ablated.as_ref().and_then(Ablated::acting_head);
        Ok(match head {
            Some(head) => Residual::fixed(head.row_mlp()?, config.rho as f32),
            None => Residual {
                decoder: self.decoder_average.row_mlp()?,
                rho: config.rho as f32,
                critics: self.critic.rows()?,
                conservatism: self.critic.config().conservatism(),
                sigma_z: config.sigma_z,
                best_of: NonZeroUsize::MIN,
            },
        })
    }
}
