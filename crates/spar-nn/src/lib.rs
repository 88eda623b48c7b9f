//! Networks as candle operations over one flat parameter buffer.
//!
//! candle is the language algorithms are written in: small tensors, losses,
//! automatic differentiation. A network is a single [`candle_core::Var`] and
//! its whole pass one custom operation from `spar-kernels`, so an algorithm
//! reads as its equations while the arithmetic runs fused. [`mod@device`] holds
//! the same networks where the CUDA kernels run. Optimizer state is plain and
//! readable, so that a run can be resumed exactly; candle's own `AdamW` hides it.
//! Nothing here draws a random number except from the stream it is handed, because
//! candle's generator cannot be seeded on a CPU.

mod activate;
mod batch;
pub mod critics;
pub mod device;
mod ensemble;
mod few;
pub mod gaussian;
mod imitation;
mod input;
mod mlp;
mod optim;
mod precision;
mod slope;
mod state;
mod storage;
pub mod trained;

pub use activate::activated;
pub use batch::{BaseActions, Batch, BatchSlices};
pub use candle_core::{DType, Device, Error, Result, Tensor, Var};
pub use critics::{Aggregate, Critics, bellman};
pub use ensemble::{EnsembleValues, Penalized, conservative_value};
pub use imitation::{deviation, imitation_target, weighted_regression};
pub use input::Rows;
pub use mlp::{Mlp, MlpShape, Trace, relu_shape};
pub use optim::{Adam, AdamConfig, clip_gradients};
pub use precision::{Precision, Precisions};
pub use spar_kernels::{
    Absent, Activation as HiddenActivation, Head, MatrixUnit, NormEps, Normalization,
    value::{Conservatism, ImitationStats, Penalty, Weighting, conservative},
};
pub use spar_policy::{Activation, Linear, Norm, RowMlp, RowWork};
pub use state::{CHECKPOINT_FORMAT, State, StateError};
pub use trained::{Gradients, Momentum, Trained, Variable, scalar};

use spar_core::Stream;

/// A `[rows, cols]` tensor of draws from `N(0, std^2)`.
///
/// # Errors
/// Only if candle cannot build a tensor of that shape.
pub fn normal(stream: &mut Stream, std: f32, rows: usize, cols: usize) -> Result<Tensor> {
    let mut values = vec![0.0; rows * cols];
    stream.fill_normal(std, &mut values);
    Tensor::from_vec(values, (rows, cols), &Device::Cpu)
}

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
