//! A whole multi-layer perceptron as one operation.
//!
//! Hidden layers compute `f(x W + b)` or, with layer normalization before or after the
//! activation, `f(gain * normalize(x W + b) + shift)` or
//! `gain * normalize(f(x W + b)) + shift`, `f` ReLU, GELU, Mish or SiLU; the last layer
//! is linear, or linear and tanh. Input rows may be normalized first: residual networks
//! are made of such blocks.
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
#[cfg(feature = "train")]
mod products;
mod shape;
#[cfg(feature = "train")]
mod slope;
mod sums;

#[cfg(feature = "train")]
pub use backward::{GradParams, backward};
#[cfg(feature = "train")]
pub use input::Input;
#[cfg(feature = "train")]
pub use layers::{activate, activate_backward};
#[cfg(feature = "train")]
pub use passes::{Precision, Workspace, forward, forward_only};
pub use shape::{
    Activation, Head, LayerLayout, MOST_PARAMETERS, MlpShape, NormEps, Normalization, ShapeError,
};
#[cfg(feature = "train")]
pub use slope::{SlopeWork, slope, slope_backward};
pub use sums::LAYER_NORM_EPS;
pub(crate) use sums::sum;
