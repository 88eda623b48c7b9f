//! What the operations ask of whatever runs the kernels: a GPU, or the stand-in
//! the tests run the same sources on.

use std::{ffi::c_void, fmt::Display};

use super::CudaError;
use crate::{Activation, MlpShape, NormEps, Normalization};

/// Threads of a block, but in passes of networks; `THREADS` in `common.cuh`.
pub const THREADS: usize = 256;

/// Warps of a block in a pass of networks; `WARPS` in `common.cuh`.
pub(super) const WARPS: usize = 16;

/// Threads of a block in a pass of networks; `PASS_THREADS` in `common.cuh`.
pub(super) const PASS_THREADS: usize = 32 * WARPS;

/// Most layers of a network, the last one counted; `MAX_LAYERS` in
/// `common.cuh`.
pub const MAX_LAYERS: usize = 8;

/// What the choice of a launch depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most dynamic shared memory a block may ask for, in bytes.
    pub shared_bytes: usize,
    /// Multiprocessors: a launch of fewer blocks leaves some idle.
    pub multiprocessors: usize,
}

/// The runs of a launch, its last argument, which the device adds; `Lanes` in `common.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    depth: i32,
    stride: i64,
}

impl Lanes {
    /// Of a launch for one run.
    ///
    /// # Errors
    /// If the grid's extent is beyond the kernels' integers.
    pub fn alone(launch: &Launch) -> Result<Self, CudaError> {
        Self::new(launch.grid[2], 1, 0).map(|(lanes, _)| lanes)
    }

    /// Of a launch for `runs` runs, each `depth` blocks deep, whose buffers lie `stride`
    /// floats apart; and the extent of the grid along z.
    pub(super) fn new(depth: u32, runs: usize, stride: usize) -> Result<(Self, u32), CudaError> {
        let blocks = depth as usize * runs;
        if blocks > MAX_BLOCKS_Z {
            return Err(CudaError::Shape(format!(
                "{runs} runs of {depth} blocks are {blocks}; a launch takes {MAX_BLOCKS_Z}"
            )));
        }
        let too_large = |_| CudaError::Shape(format!("{stride} numbers for each run"));
        let lanes = Self {
            depth: int("blocks of a run", depth as usize)?,
            stride: i64::try_from(stride).map_err(too_large)?,
        };
        Ok((lanes, extent(blocks)?))
    }
}

/// Most blocks of a launch along z, on every GPU.
const MAX_BLOCKS_Z: usize = 65_535;

/// Sizes of a network as the kernels take them; `Net` in `common.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Net {
    layers: i32,
    layer_norm: i32,
    gelu: i32,
    tanh_head: i32,
    scale: f32,
    width: [i32; MAX_LAYERS + 1],
}

impl Net {
    /// # Errors
    /// If the network is deeper than [`MAX_LAYERS`] or has a tanh that `head`
    /// leaves out, or a size is zero or does not fit the kernels' 32-bit
    /// arithmetic.
    pub(super) fn new(shape: &MlpShape, head: Head) -> Result<Self, CudaError> {
        let layers = shape.hidden.len() + 1;
        if layers > MAX_LAYERS {
            return Err(CudaError::Shape(format!(
                "a network of {layers} layers; the CUDA kernels take {MAX_LAYERS}"
            )));
        }
        let gelu = match shape.activation {
            Activation::Relu => 0,
            Activation::Gelu => 1,
            other => {
                return Err(CudaError::Shape(format!(
                    "a network with {other:?}; the CUDA kernels have ReLU and GELU: train it on \
                     the CPU"
                )));
            }
        };
        if shape.input_norm
            || shape.norm == Normalization::After
            || (shape.layer_norm() && shape.eps != NormEps::Torch)
        {
            return Err(CudaError::Shape(
                "a network normalized elsewhere than before its activations, or with another \
                 epsilon than 1e-5; the CUDA kernels have no such: train it on the CPU"
                    .to_owned(),
            ));
        }
        let mut width = [0; MAX_LAYERS + 1];
        let widths = [&shape.input].into_iter().chain(&shape.hidden);
        for (to, &from) in width.iter_mut().zip(widths.chain([&shape.output])) {
            *to = int("width of a layer", from)?;
            if from == 0 {
                return Err(CudaError::Shape("a layer of width zero".to_owned()));
            }
        }
        if shape.head == crate::Head::Tanh && head == Head::Linear {
            return Err(CudaError::Shape(
                "a linear head for a network that has a tanh".to_owned(),
            ));
        }
        let (tanh_head, scale) = match head {
            Head::Linear => (0, 1.0),
            Head::Tanh { scale } => (1, scale),
        };
        Ok(Self {
            layers: int("layers", layers)?,
            layer_norm: shape.layer_norm().into(),
            gelu,
            tanh_head,
            scale,
            width,
        })
    }
}

/// What follows the last layer, the shape's own head included: unlike that, a
/// tanh here has a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    /// Nothing.
    Linear,
    /// `scale * tanh(.)`: the anchor's with scale one, the decoder's with
    /// `rho`.
    Tanh {
        /// Largest output; not zero.
        scale: f32,
    },
}

/// Widths and repetitions of the parts of an input; `Input` in `common.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputParts {
    /// Columns of each part.
    pub(super) width: [i32; 3],
    /// Rows of the input each of a part's rows stands for.
    pub(super) repeat: [i32; 3],
}

/// One argument of a kernel.
#[derive(Debug)]
pub enum Arg<'a, B> {
    /// Buffer the kernel reads.
    Read(&'a B),
    /// Buffer the kernel writes.
    Write(&'a mut B),
    /// A null pointer.
    Null,
    /// Sizes of a network, by value.
    Net(Net),
    /// Parts of an input, by value.
    Input(InputParts),
    /// A count.
    Int(i32),
    /// A number.
    Float(f32),
}

/// An argument's value, at an address a launch can be pointed to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ArgValue {
    /// Address of a buffer.
    Address(u64),
    /// See [`Arg::Net`].
    Net(Net),
    /// See [`Arg::Input`].
    Input(InputParts),
    /// See [`Arg::Int`].
    Int(i32),
    /// See [`Arg::Float`].
    Float(f32),
    /// What every kernel takes last.
    Lanes(Lanes),
}

impl<B> Arg<'_, B> {
    /// The buffer, if it is one.
    pub(super) fn buffer(&self) -> Option<&B> {
        match self {
            Self::Read(buffer) => Some(buffer),
            Self::Write(buffer) => Some(buffer),
            _ => None,
        }
    }

    /// The value to hand over, buffers by their `address`.
    pub fn value(&self, address: impl Fn(&B) -> u64) -> ArgValue {
        if let Some(buffer) = self.buffer() {
            return ArgValue::Address(address(buffer));
        }
        match self {
            Self::Read(_) | Self::Write(_) | Self::Null => ArgValue::Address(0),
            Self::Net(net) => ArgValue::Net(*net),
            Self::Input(input) => ArgValue::Input(*input),
            Self::Int(value) => ArgValue::Int(*value),
            Self::Float(value) => ArgValue::Float(*value),
        }
    }
}

impl ArgValue {
    /// Where the value lies, as `cuLaunchKernel` wants it.
    pub fn pointer(&mut self) -> *mut c_void {
        match self {
            Self::Address(value) => (&raw mut *value).cast(),
            Self::Net(value) => (&raw mut *value).cast(),
            Self::Input(value) => (&raw mut *value).cast(),
            Self::Int(value) => (&raw mut *value).cast(),
            Self::Float(value) => (&raw mut *value).cast(),
            Self::Lanes(value) => (&raw mut *value).cast(),
        }
    }
}

/// One launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block, as its kernel has them.
    pub threads: usize,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: usize,
}

/// Runs kernels over buffers of `f32` it owns, one after the other.
///
/// # Safety
/// [`Kernels`](super::Kernels) checks sizes by [`Device::len`] and then lets kernels read
/// and write by them. So `len` is the number of values that a buffer has memory for, as
/// long as it lives; [`Device::alloc`] gives one of the length asked for; and a buffer that
/// is another device's is refused, or means the same here.
pub unsafe trait Device {
    /// A buffer of `f32` on the device.
    type Buffer: std::fmt::Debug;

    /// Launches as [`Device::repeat`] recorded them. It keeps the buffers they
    /// read and write, so that none of them is freed under a recording.
    type Recording: std::fmt::Debug;

    /// See [`Limits`].
    fn limits(&self) -> Limits;

    /// A buffer of `len` values, whatever they are.
    ///
    /// # Errors
    /// If the device has no memory.
    fn alloc(&self, len: usize) -> Result<Self::Buffer, CudaError>;

    /// Number of values in `buffer`.
    fn len(&self, buffer: &Self::Buffer) -> usize;

    /// Copies `values` into `buffer`, of the same length.
    ///
    /// # Errors
    /// If the lengths differ or the copy fails.
    fn write(&self, values: &[f32], buffer: &mut Self::Buffer) -> Result<(), CudaError>;

    /// Waits for every launch before it and copies `buffer` out.
    ///
    /// # Errors
    /// If the copy fails or a launch before it did.
    fn read(&self, buffer: &Self::Buffer) -> Result<Vec<f32>, CudaError>;

    /// Starts `launch`, after those before it.
    ///
    /// # Errors
    /// If the launch fails.
    ///
    /// # Safety
    /// `args` are those of the kernel in number, order and kind, but for its
    /// [`Lanes`], and its buffers as long as it reads and writes for this grid and
    /// these sizes. What a kernel writes is an [`Arg::Write`]: of recorded launches
    /// those run side by side that write nothing another uses.
    unsafe fn launch(
        &self,
        launch: Launch,
        args: &[Arg<'_, Self::Buffer>],
    ) -> Result<(), CudaError>;

    /// Starts the launches of `launches`, after those before them. The first
    /// call for a `recording` records them, and every call starts them as they
    /// were recorded: the same kernels on the same buffers with the same
    /// numbers, whatever the buffers hold by then. On a GPU that is one launch
    /// of a graph instead of one per kernel.
    ///
    /// While they are recorded none runs: `launches` may neither read nor write
    /// nor make a buffer. A device that records nothing calls `launches` every
    /// time, as here.
    ///
    /// # Errors
    /// If `launches` fails, does what cannot be recorded, or a launch fails.
    fn repeat(
        &self,
        recording: &mut Option<Self::Recording>,
        launches: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let _ = recording;
        launches()
    }

    /// A buffer that holds `values`.
    ///
    /// # Errors
    /// If the device has no memory or the copy fails.
    fn upload(&self, values: &[f32]) -> Result<Self::Buffer, CudaError> {
        let mut buffer = self.alloc(values.len())?;
        self.write(values, &mut buffer)?;
        Ok(buffer)
    }
}

/// Refuses `what` unless it is a device's `own`: another's address would mean something else.
pub(super) fn refuse_foreign(own: bool, what: impl Display) -> Result<(), CudaError> {
    if own {
        return Ok(());
    }
    Err(CudaError::Driver(format!("{what} of another device")))
}

/// Refuses `values` for a buffer of another length than `len`.
pub(super) fn refuse_length(values: &[f32], len: usize) -> Result<(), CudaError> {
    if values.len() == len {
        return Ok(());
    }
    Err(CudaError::Length {
        what: "values for a buffer",
        expected: len,
        got: values.len(),
    })
}

/// `value` as the kernels' integer.
pub(super) fn int(what: &'static str, value: usize) -> Result<i32, CudaError> {
    i32::try_from(value).map_err(|_| {
        CudaError::Shape(format!(
            "{what}: {value} is beyond the kernels' 32-bit integers"
        ))
    })
}

/// `value` as a grid's extent.
pub(super) fn extent(value: usize) -> Result<u32, CudaError> {
    Ok(int("blocks of a launch", value)?.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernels would compute as something else.
    #[test]
    fn a_network_the_kernels_do_not_know_is_refused() {
        let shape = || MlpShape::relu(3, [4], 2).expect("a shape");
        let of = |shape: MlpShape| Net::new(&shape, Head::Linear);
        assert!(of(shape().with_activation(Activation::Gelu)).is_ok());
        assert!(of(shape().with_layer_norm(true)).is_ok());
        // Without a normalization its epsilon is nothing.
        assert!(of(shape().with_norm_eps(NormEps::Flax)).is_ok());
        for (shape, why) in [
            (shape().with_activation(Activation::Mish), "Mish"),
            (shape().with_activation(Activation::Silu), "Silu"),
            (
                shape().with_normalization(Normalization::After),
                "normalized elsewhere",
            ),
            (shape().with_input_norm(true), "normalized elsewhere"),
            (
                shape().with_layer_norm(true).with_norm_eps(NormEps::Flax),
                "another epsilon",
            ),
        ] {
            let error = of(shape).expect_err("refused").to_string();
            assert!(
                error.contains(why) && error.contains("train it on the CPU"),
                "{error}"
            );
        }
    }
}
