//! The normalizer of a data set's observations.

use spar_core::Normalizer;

use crate::transitions::Transitions;

impl Transitions {
    /// The [`Normalizer`] of these transitions' observations (not of their next
    /// observations).
    pub fn normalizer(&self) -> Normalizer {
        Normalizer::of_rows(self.obs_dim(), (0..self.len()).map(|i| self.obs(i)))
    }
}
