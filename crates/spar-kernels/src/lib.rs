//! The few fused operations that carry nearly all the arithmetic of training:
//! the forward and backward pass of a whole multi-layer perceptron over one
//! flat parameter buffer, conservative values and the weighted regression onto
//! candidates, the Adam step and Polyak averaging.
//!
//! They exist because a general tensor library spends most of an offline-RL
//! update outside its matrix products: it allocates every intermediate, passes
//! over memory once per elementary operation and walks parameters one tensor
//! at a time. Here a pass keeps its buffers, bias, normalization and activation
//! are done on rows of a product that are still in cache, and optimizer state is
//! one flat array.
//!
//! Every operation has a plain counterpart in [`mod@reference`] that it is
//! tested against, and finite differences check each gradient. All are
//! single-threaded and give the same bits for the same input on one machine;
//! parallelism belongs to whole runs, one per core.
//!
//! This is the only crate with numeric `unsafe` code: the vector instructions of
//! the matrix product, the lines of assembly of the CPU's matrix unit, and the launches of CUDA kernels. (And [`counting`], which
//! tests hold the rest to.) `cargo xtask sanitize` runs its tests under
//! AddressSanitizer.
//!
//! The passes of training stand behind the feature `train`: what acts by a network needs
//! [`rows`] alone.
//!
//! The module `cuda`, behind the feature of that name, holds the same operations as CUDA
//! kernels; `docs/cuda.md` says what of them has run on a GPU.

mod buffers;
pub mod counting;
#[cfg(feature = "cuda")]
pub mod cuda;
mod isa;
#[cfg(feature = "train")]
mod matmul;
pub mod mlp;
#[cfg(feature = "train")]
pub mod optim;
pub mod reference;
pub mod rows;
pub mod scalar;
#[cfg(feature = "train")]
mod tiles;
pub mod value;
mod vectorize;

pub use isa::Isa;
pub use mlp::{Activation, Head, MlpShape, NormEps, Normalization};
#[cfg(feature = "train")]
pub use mlp::{Precision, Workspace};
#[cfg(feature = "train")]
pub use tiles::{Absent, MatrixUnit, matrix_peak};

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
