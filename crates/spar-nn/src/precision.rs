//! How exactly networks multiply, for the length of an update.
//!
//! Precision belongs to a run, not to a network: whoever takes an update says it once, for
//! all networks of whatever method, and outside of updates (acting, evaluation, what is
//! written to files) everything is in single precision.

use std::cell::Cell;

pub use spar_kernels::Precision;

/// Precision of the passes of an update, of those that learn and of those without gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Precisions {
    /// Of passes with a gradient, and of that gradient. Slopes of critics
    /// ([`crate::Mlp::value_and_slope`]) stay in single precision.
    pub learning: Precision,
    /// Of passes without: targets, candidates, a frozen anchor.
    pub detached: Precision,
}

thread_local! {
    static NOW: Cell<Precisions> = const {
        Cell::new(Precisions {
            learning: Precision::F32,
            detached: Precision::F32,
        })
    };
}

impl Precisions {
    /// Those of passes begun now on this thread.
    pub fn now() -> Self {
        NOW.get()
    }

    /// Runs `f` with the passes it begins on this thread in these precisions.
    pub fn during<R>(self, f: impl FnOnce() -> R) -> R {
        /// Puts back what was there, also when `f` panics.
        struct Restore(Precisions);
        impl Drop for Restore {
            fn drop(&mut self) {
                NOW.set(self.0);
            }
        }
        let _restore = Restore(NOW.replace(self));
        f()
    }
}
