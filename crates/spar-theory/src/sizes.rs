//! How much of everything is measured.

use serde::{Deserialize, Serialize};

/// Sample sizes of all claims; a finished claim is used again only if they, the
/// seed and whatever files it read are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Base points on each manifold, and states whose candidates are weighed
    /// together (claims 1 and 2).
    pub states: usize,
    /// Candidate sets on each manifold for the chord bound (claim 2).
    pub sets: usize,
    /// Searches per dimension and region (claim 3).
    pub searches: usize,
    /// The largest dimension searched (claim 3).
    pub dimensions: usize,
    /// Updates of SPAR on a synthetic task, two thirds of them warm-up (claims 1d,
    /// 4 and 5).
    pub updates: u64,
    /// Training seeds of a synthetic task (claims 4 and 5).
    pub seeds: u64,
    /// Rows of a data file that neighbours are searched among (claim 4).
    pub rows: usize,
    /// States in which policies are asked for an action (claims 4 and 5).
    pub queries: usize,
}

impl Sizes {
    /// The sizes the documented verdicts were measured with.
    pub fn full() -> Self {
        Self {
            states: 256,
            sets: 4000,
            searches: 300,
            dimensions: 6,
            updates: 3000,
            seeds: 5,
            rows: 20_000,
            queries: 300,
        }
    }

    /// Every path in seconds; its verdicts mean nothing.
    pub fn smoke() -> Self {
        Self {
            states: 32,
            sets: 200,
            searches: 30,
            dimensions: 3,
            updates: 300,
            seeds: 2,
            rows: 2000,
            queries: 40,
        }
    }
}
