//! A whole multi-layer perceptron as one operation.
//!
//! Hidden layers compute `f(x W + b)` or, with layer normalization,
//! `f(gain * normalize(x W + b) + shift)`, `f` ReLU or GELU; the last layer is
//! linear, or linear and tanh.
//!
//! Passes go through all layers a block of rows at a time, so that what one layer
//! leaves is still in the second-level cache when the next reads it.

#[cfg(feature = "train")]
mod backward;
#[cfg(feature = "train")]
mod input;
#[cfg(feature = "train")]
mod layers;
#[cfg(feature = "train")]
mod passes;
mod shape;
mod sums;

#[cfg(feature = "train")]
pub use backward::{GradParams, backward};
#[cfg(feature = "train")]
pub use input::Input;
#[cfg(feature = "train")]
pub use passes::{Precision, Workspace, forward, forward_only};
pub use shape::{Activation, Head, LayerLayout, MOST_PARAMETERS, MlpShape, ShapeError};
pub use sums::LAYER_NORM_EPS;
pub(crate) use sums::sum;
