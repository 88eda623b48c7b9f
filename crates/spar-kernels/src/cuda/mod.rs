//! The operations as CUDA kernels; `docs/cuda.md` says what of them has run on a GPU.
//!
//! The sources under this crate's folder `cuda` are compiled at run time for
//! the GPU that is there, so that one binary runs on machines with and without
//! one and says plainly which it found. [`Kernels`] has one safe function per
//! operation; it chooses the launch and checks every length, over whatever
//! [`Device`] runs the kernels: a GPU ([`CudaDevice`]), and in the tests a
//! stand-in that executes the very same sources on the CPU and is compared with
//! the plain references. The sources are also compiled to PTX for sm_80 and sm_90
//! and assembled there, without a spill.
//!
//! # Launches
//! A small network is bound by launches rather than by arithmetic, so that one
//! launch does as much as fits between two points at which all blocks must have
//! finished:
//!
//! | operation | launches |
//! |---|---|
//! | [`Kernels::forward`], all nets of an ensemble, gathering its input and clipping its actions | 1 |
//! | [`Kernels::backward`], all nets | 2 |
//! | [`Kernels::conservative`] | 1 |
//! | [`Kernels::imitation`]: values to target, weights and gradient | 2, and 1 for the log |
//! | [`Kernels::temporal_difference`] and each of the other losses, with its gradient | 1 |
//! | [`Kernels::adam`] with the sum of a gradient's parts, weight decay and Polyak averaging, all nets | 1 |
//! | [`Kernels::policy`] | 1 |
//!
//! A whole SPAR update, expectile critic and policy, takes 31 launches; `docs/cuda.md`
//! lists them. [`Device::repeat`] records such a sequence once and starts it as one
//! graph: all that changes from update to update lies in buffers. [`CudaDevice::lanes`] has
//! several runs share what they repeat, one launch for all.

mod device;
mod driver;
mod graph;
mod lanes;
mod losses;
mod meeting;
mod network;
mod optim;
mod policy;
mod profile;
mod recorder;
mod rows;
mod slabs;
mod source;
mod value;

pub use device::{
    Arg, ArgValue, Device, Head, InputParts, Lanes, Launch, Limits, MAX_LAYERS, Net, THREADS,
};
pub use driver::{CudaBuffer, CudaDevice, CudaRecording, Rates};
pub use lanes::{CudaLane, LaneBuffer, LaneRecording, Tally};
pub use losses::{Bootstrap, Loss, Posterior};
pub use network::{Gradient, GradientWork, Network, Saved, pack, packed_len, unpack};
pub use optim::AdamStep;
pub use policy::Policy;
pub use profile::{By, Profile, Span};
pub use rows::{Actions, Part, Rows};
pub use value::{DataActions, Imitation, Ranking, RankingStats};

/// The operations over one device.
#[derive(Debug)]
pub struct Kernels<D> {
    device: D,
}

impl<D: Device> Kernels<D> {
    /// The operations over `device`.
    pub fn new(device: D) -> Self {
        Self { device }
    }

    /// What runs them, and owns the buffers.
    pub fn device(&self) -> &D {
        &self.device
    }

    fn check(
        &self,
        what: &'static str,
        buffer: &D::Buffer,
        expected: usize,
    ) -> Result<(), CudaError> {
        let got = self.device.len(buffer);
        if got == expected {
            Ok(())
        } else {
            Err(CudaError::Length {
                what,
                expected,
                got,
            })
        }
    }
}

/// What can go wrong with the CUDA kernels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no driver library.
    #[error("no CUDA driver on this machine")]
    NoDriver,
    /// There is no NVRTC library to compile the kernels with.
    #[error("no CUDA run-time compiler (NVRTC) on this machine")]
    NoCompiler,
    /// The GPU is older than the kernels are compiled for.
    #[error("this GPU is of compute capability {0}.{1}; the kernels need 8.0")]
    OldDevice(i32, i32),
    /// A source does not compile.
    #[error("{file} does not compile:\n{log}")]
    Compile {
        /// The source file.
        file: &'static str,
        /// What the compiler says.
        log: String,
    },
    /// A kernel could not be started.
    #[error("the kernel {kernel} did not start: {reason}")]
    Launch {
        /// The kernel.
        kernel: &'static str,
        /// What the driver says.
        reason: String,
    },
    /// Another call of the driver failed, or a launch before it did.
    #[error("the CUDA driver: {0}")]
    Driver(String),
    /// Runs that share launches do not fit together, or what they share failed.
    #[error("runs that share launches: {0}")]
    Lanes(String),
    /// A buffer is not as long as the shapes say.
    #[error("{what}: {got} values where {expected} are expected")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Values the shapes ask for.
        expected: usize,
        /// Values it has.
        got: usize,
    },
    /// Sizes the kernels cannot take.
    #[error("{0}")]
    Shape(String),
}
