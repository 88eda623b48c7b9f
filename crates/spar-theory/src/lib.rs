//! The numerical tests of the paper's claims.
//!
//! A theorem about manifolds is worth what its conditions are worth, and a table of
//! scores says nothing of either. Here each claim of the paper that this project
//! knows of is put to a test of its own, one file a claim:
//!
//! 1. [`drift`] and [`decoder`]: do value gradients leave the data manifold to
//!    first order, and does Latent Self-Imitation only to second?
//! 2. [`chord`]: is a convex combination of points of a manifold as close to it
//!    as curvature and spread say?
//! 3. [`contraction`]: does the neighbourhood of the anchor need fewer samples?
//! 4. [`support`]: are SPAR's actions no further from the data than its anchor's?
//! 5. [`improvement`]: is SPAR better than its frozen anchor?
//!
//! Each file's documentation fixes hypothesis, method, sample sizes, estimator and
//! the rule of the verdict before anything is measured. Every rule can say no, and
//! each is shown to: a claim carries negative controls ([`Control`]), inputs on which
//! its rule has to say no. A claim whose control was not caught is `inconclusive`,
//! whatever its numbers are.
//!
//! Nothing here reads or writes a file: `spar theory` does. All draws come from
//! named streams, so a claim is a function of its [`Sizes`] and seed, bit for bit.

pub mod chord;
pub mod contraction;
pub mod decoder;
pub mod drift;
pub mod fit;
pub mod improvement;
pub mod manifold;
mod outcome;
mod render;
mod sizes;
pub mod support;
pub mod toy;
mod toy_train;

pub use outcome::{Claim, Control, Figure, Finding, Line};
pub use render::{markdown, terminal};
pub use sizes::Sizes;
pub use spar_report::results::Verdict;

/// Why a claim could not be put to the test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TheoryError {
    /// Numbers no statistic can be made of.
    #[error(transparent)]
    Statistics(#[from] spar_stats::StatsError),
    /// A network could not be made or run.
    #[error("cannot train on a synthetic task: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Data of a synthetic task that are none.
    #[error(transparent)]
    Data(Box<spar_data::DataError>),
    /// The neighbour search refused a point.
    #[error("cannot search for neighbours: {0}")]
    Neighbours(#[from] kdtree::ErrorKind),
    /// Widths of data and of a policy that do not fit.
    #[error("{what}: {got}, expected {expected}")]
    Shape {
        /// What has the wrong size.
        what: &'static str,
        /// Its size.
        got: usize,
        /// The size it had to have.
        expected: usize,
    },
    /// Numbers without a logarithm.
    #[error("cannot fit a slope to {0}: a mean is not positive")]
    NotPositive(String),
}

impl From<spar_data::DataError> for TheoryError {
    fn from(error: spar_data::DataError) -> Self {
        Self::Data(Box::new(error))
    }
}

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
