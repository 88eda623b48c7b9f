//! Networks: forward and backward.

use super::{
    Actions, Arg, CudaError, Device, Head, Kernels, Launch, Net, Rows, THREADS,
    device::{PASS_THREADS, WARPS, extent, int},
    rows::distinct_rows,
};
use crate::{Activation, MlpShape};

/// Sides of the pieces of a weight gradient; `TILE` in `mlp_backward.cu`.
const TILE: usize = 64;

/// Rows of them staged at a time; `DEPTH` in `mlp_backward.cu`.
const DEPTH: usize = 32;

/// Parts of sums that a block adds up, a row; `PARTS` in `network.cuh`.
const PARTS: usize = 32 * WARPS + 16;

/// Fewest rows worth a split of their own: a split costs a pass over the
/// parameters.
const SPLIT_ROWS: usize = 64;

/// An ensemble of networks of one shape.
#[derive(Debug)]
pub struct Network<'a, B> {
    /// Sizes, and the layout of one net's parameters.
    pub shape: &'a MlpShape,
    /// What follows the last layer.
    pub head: Head,
    /// Members.
    pub nets: usize,
    /// Their parameters, as [`pack`] lays them out.
    pub params: &'a B,
}

/// Floats from one net of an ensemble to the next; `next_net` in `common.cuh`.
fn next_net(shape: &MlpShape) -> usize {
    shape.parameters().next_multiple_of(4)
}

/// Floats from one row to the next of a tile of `width` columns; `pitch_of` in `network.cuh`.
pub(super) fn pitch(width: usize) -> usize {
    width.next_multiple_of(32) + 16
}

/// Length of the flat parameters of `nets` nets on a device.
pub fn packed_len(shape: &MlpShape, nets: usize) -> usize {
    nets * next_net(shape)
}

/// The flat parameters of nets one after the other, `[nets, parameters]`, as they lie on a
/// device: with up to three zeros after each net, so that each begins at a multiple of
/// four, and so does whatever follows them.
pub fn pack(shape: &MlpShape, flat: &[f32]) -> Vec<f32> {
    let nets = flat.chunks(shape.parameters()).collect::<Vec<_>>();
    let mut packed = vec![0.0; packed_len(shape, nets.len())];
    for (to, net) in packed.chunks_mut(next_net(shape)).zip(nets) {
        to[..net.len()].copy_from_slice(net);
    }
    packed
}

/// What [`pack`] had packed: the parameters of each net.
pub fn unpack<'a>(shape: &MlpShape, packed: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
    let parameters = shape.parameters();
    packed
        .chunks(next_net(shape))
        .map(move |net| &net[..parameters.min(net.len())])
}

/// What a forward pass keeps for [`Kernels::backward`], in buffers that are
/// used again.
#[derive(Debug)]
pub struct Saved<B> {
    shape: MlpShape,
    nets: usize,
    rows: usize,
    activation: B,
    /// Values from before the activations: normalized ones or, without
    /// normalization, what GELU was applied to. Of a ReLU nothing.
    before: Option<B>,
    inverse_std: Option<B>,
}

/// Buffers of a backward pass, used again.
#[derive(Debug)]
pub struct GradientWork<B> {
    delta: B,
    masked: Option<B>,
}

/// Gradient of the parameters of all nets over a pass's rows, which are split so
/// that enough blocks run; what uses it adds the parts.
#[derive(Debug)]
pub struct Gradient<B> {
    /// `[parts, packed parameters]`.
    pub(super) values: B,
    pub(super) parts: usize,
    split_rows: usize,
}

impl<B> Gradient<B> {
    /// The gradient whose `parts` parts something else has put in `values`, one after
    /// the other: for [`Kernels::adam`] only.
    pub fn of(values: B, parts: usize) -> Self {
        Self {
            values,
            parts,
            split_rows: 0,
        }
    }
}

impl<D: Device> Kernels<D> {
    /// Buffers for what a forward pass of `nets` nets over `rows` rows keeps.
    ///
    /// # Errors
    /// If the device has no memory.
    pub fn saved(
        &self,
        shape: &MlpShape,
        nets: usize,
        rows: usize,
    ) -> Result<Saved<D::Buffer>, CudaError> {
        // One value at least: an empty buffer has no address, which the kernels
        // would read as nothing to keep.
        let alloc = |len: usize| self.device.alloc(len.max(1));
        let hidden = nets * rows * shape.hidden.iter().sum::<usize>();
        let keeps_before = shape.layer_norm() || shape.activation == Activation::Gelu;
        let inverse_std = || alloc(nets * rows * shape.hidden.len());
        Ok(Saved {
            shape: shape.clone(),
            nets,
            rows,
            activation: alloc(hidden)?,
            before: keeps_before.then(|| alloc(hidden)).transpose()?,
            inverse_std: shape.layer_norm().then(inverse_std).transpose()?,
        })
    }

    /// Buffers of a backward pass of `nets` nets over `rows` rows.
    ///
    /// # Errors
    /// If the device has no memory.
    pub fn gradient_work(
        &self,
        shape: &MlpShape,
        nets: usize,
        rows: usize,
    ) -> Result<GradientWork<D::Buffer>, CudaError> {
        let hidden = nets * rows * shape.hidden.iter().sum::<usize>();
        let masked = || self.device.alloc(hidden.max(1));
        Ok(GradientWork {
            delta: self.device.alloc(hidden + nets * rows * shape.output)?,
            masked: shape.layer_norm().then(masked).transpose()?,
        })
    }

    /// Buffer for the gradient of `nets` nets over `rows` rows.
    ///
    /// # Errors
    /// If the device has no memory.
    pub fn gradient(
        &self,
        shape: &MlpShape,
        nets: usize,
        rows: usize,
    ) -> Result<Gradient<D::Buffer>, CudaError> {
        // Enough blocks for two per multiprocessor, of whole stages of rows.
        let wanted = 2 * self.device.limits().multiprocessors;
        let parts = wanted.div_ceil((tiles(shape) * nets).max(1));
        let parts = parts.min(rows.div_ceil(SPLIT_ROWS)).max(1);
        let split_rows = rows.div_ceil(parts).next_multiple_of(DEPTH);
        let parts = rows.div_ceil(split_rows);
        Ok(Gradient {
            values: self.device.alloc(parts * packed_len(shape, nets))?,
            parts,
            split_rows,
        })
    }

    /// The sum of a gradient's parts, laid out as the parameters, as [`Kernels::adam`]
    /// adds them. Waits for the device.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_gradient(&self, gradient: &Gradient<D::Buffer>) -> Result<Vec<f32>, CudaError> {
        let values = self.device.read(&gradient.values)?;
        let mut sum = vec![0.0; values.len() / gradient.parts];
        for part in values.chunks_exact(sum.len().max(1)) {
            for (sum, value) in sum.iter_mut().zip(part) {
                *sum += value;
            }
        }
        Ok(sum)
    }

    /// Outputs of every net for the same input into `out`,
    /// `[nets, rows, output]`, keeping what [`Kernels::backward`] needs in
    /// `saved` if it is given. One launch.
    ///
    /// # Errors
    /// If a buffer does not fit the shapes, a layer is too wide for the
    /// device's shared memory, or the launch fails.
    pub fn forward(
        &self,
        network: &Network<'_, D::Buffer>,
        input: &Rows<'_, D::Buffer>,
        saved: Option<&mut Saved<D::Buffer>>,
        out: &mut D::Buffer,
        actions: Option<Actions<'_, D::Buffer>>,
    ) -> Result<(), CudaError> {
        let &Network { shape, nets, .. } = network;
        let rows = input.rows;
        let net = self.net(network, rows)?;
        let [spec, x0, x1, x2] = self.input(shape, input)?;
        self.check("outputs of a network", out, nets * rows * shape.output)?;
        let widest = widest(shape);
        let tile = self.tile(pitch(shape.input) + 2 * pitch(widest))?;
        let mut args = vec![Arg::Net(net), Arg::Read(network.params), spec, x0, x1, x2];
        args.extend([
            Arg::Int(int("rows", rows)?),
            Arg::Int(int("width", widest)?),
            Arg::Write(out),
        ]);
        match saved {
            None => args.extend([Arg::Null, Arg::Null, Arg::Null]),
            Some(saved) => {
                saved.check(network, rows)?;
                args.push(Arg::Write(&mut saved.activation));
                args.push(saved.before.as_mut().map_or(Arg::Null, Arg::Write));
                args.push(saved.inverse_std.as_mut().map_or(Arg::Null, Arg::Write));
            }
        }
        match actions {
            None => args.extend([Arg::Null, Arg::Int(1), Arg::Null]),
            Some(Actions {
                base,
                repeat,
                actions,
            }) => {
                if nets != 1 {
                    return Err(CudaError::Shape(format!("actions of {nets} nets")));
                }
                let distinct = distinct_rows(rows, repeat)?;
                self.check("base actions", base, distinct * shape.output)?;
                self.check("actions", actions, rows * shape.output)?;
                args.extend([
                    Arg::Read(base),
                    Arg::Int(int("repetitions", repeat)?),
                    Arg::Write(actions),
                ]);
            }
        }
        let launch = Launch {
            kernel: tile.pick("mlp_forward_16", "mlp_forward_8"),
            grid: [extent(rows.div_ceil(tile.rows))?, extent(nets)?, 1],
            threads: PASS_THREADS,
            shared_bytes: tile.shared_bytes,
        };
        // SAFETY: the arguments are `mlp_forward`'s, and every buffer has been
        // checked against the shapes.
        unsafe { self.device.launch(launch, &args) }
    }

    /// Gradients of a scalar loss, given `grad_out = d loss / d out`,
    /// `[nets, rows, output]`, for the forward pass of the same network and
    /// input that `saved` holds and that gave `out` (read under a tanh head
    /// only).
    ///
    /// `grad_params` and `grad_x` (`[nets, rows, input]`), both overwritten, are
    /// computed only where asked for. One launch for the input's gradient alone, else
    /// two.
    ///
    /// # Errors
    /// If a buffer does not fit the shapes, a layer is too wide for the
    /// device's shared memory, or a launch fails.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        network: &Network<'_, D::Buffer>,
        input: &Rows<'_, D::Buffer>,
        saved: &Saved<D::Buffer>,
        out: &D::Buffer,
        grad_out: &D::Buffer,
        work: &mut GradientWork<D::Buffer>,
        grad_params: Option<&mut Gradient<D::Buffer>>,
        grad_x: Option<&mut D::Buffer>,
    ) -> Result<(), CudaError> {
        let &Network { shape, nets, .. } = network;
        let rows = input.rows;
        let net = self.net(network, rows)?;
        let [spec, x0, x1, x2] = self.input(shape, input)?;
        saved.check(network, rows)?;
        let outputs = nets * rows * shape.output;
        let hidden = nets * rows * shape.hidden.iter().sum::<usize>();
        let parameters = packed_len(shape, nets);
        self.check("outputs of a network", out, outputs)?;
        self.check("gradient of the outputs", grad_out, outputs)?;
        self.check("work of a backward pass", &work.delta, hidden + outputs)?;
        if let Some(masked) = &work.masked {
            self.check("work of a backward pass", masked, hidden.max(1))?;
        }
        if work.masked.is_some() != shape.layer_norm() {
            return Err(CudaError::Shape(
                "work of a backward pass of another kind of network".to_owned(),
            ));
        }
        if let Some(grad) = &grad_params {
            let all = grad.parts * parameters;
            self.check("gradient of the parameters", &grad.values, all)?;
            int("parameters in all parts", all)?;
            if grad.parts * grad.split_rows < rows {
                return Err(CudaError::Shape(format!(
                    "a gradient over fewer than {rows} rows"
                )));
            }
        }
        if let Some(grad) = &grad_x {
            self.check("gradient of the input", grad, nets * rows * shape.input)?;
        }
        let wanted = grad_params.is_some();
        let int_rows = Arg::Int(int("rows", rows)?);
        let widest = widest(shape).max(shape.input);
        let tile = self.tile(2 * pitch(widest))?;
        let launch = Launch {
            kernel: tile.pick("mlp_backward_rows_16", "mlp_backward_rows_8"),
            grid: [extent(rows.div_ceil(tile.rows))?, extent(nets)?, 1],
            threads: PASS_THREADS,
            shared_bytes: tile.shared_bytes,
        };
        let keep = |buffer| {
            if wanted {
                Arg::Write(buffer)
            } else {
                Arg::Null
            }
        };
        let args = [
            Arg::Net(net),
            Arg::Read(network.params),
            int_rows,
            Arg::Int(int("width", widest)?),
            Arg::Read(&saved.activation),
            saved.before.as_ref().map_or(Arg::Null, Arg::Read),
            saved.inverse_std.as_ref().map_or(Arg::Null, Arg::Read),
            Arg::Read(out),
            Arg::Read(grad_out),
            keep(&mut work.delta),
            work.masked.as_mut().map_or(Arg::Null, keep),
            grad_x.map_or(Arg::Null, Arg::Write),
        ];
        // SAFETY: the arguments are `mlp_backward_rows`'s, and every buffer has
        // been checked against the shapes; a norm comes with `masked`.
        unsafe { self.device.launch(launch, &args)? };
        let Some(grad) = grad_params else {
            return Ok(());
        };

        let launch = Launch {
            kernel: "mlp_backward_weights",
            grid: [extent(tiles(shape))?, extent(nets)?, extent(grad.parts)?],
            threads: THREADS,
            shared_bytes: 0,
        };
        let mut args = vec![Arg::Net(net), spec, x0, x1, x2];
        args.extend([
            Arg::Int(int("rows", rows)?),
            Arg::Int(int("rows", grad.split_rows)?),
            Arg::Read(&saved.activation),
            saved.before.as_ref().map_or(Arg::Null, Arg::Read),
            Arg::Read(&work.delta),
            work.masked.as_ref().map_or(Arg::Null, Arg::Read),
            Arg::Write(&mut grad.values),
        ]);
        // SAFETY: the arguments are `mlp_backward_weights`'s, checked above.
        unsafe { self.device.launch(launch, &args) }
    }

    /// The argument that describes a network, for a pass over `rows` rows.
    pub(super) fn net(
        &self,
        network: &Network<'_, D::Buffer>,
        rows: usize,
    ) -> Result<Net, CudaError> {
        let &Network { shape, nets, .. } = network;
        let parameters = packed_len(shape, nets);
        self.check("parameters of a network", network.params, parameters)?;
        // Every index of the kernels is below one of these.
        let widths = shape.input + shape.hidden.iter().sum::<usize>() + shape.output;
        int("parameters of a network", parameters)?;
        int("values of a pass", nets * rows * widths)?;
        Net::new(shape, network.head)
    }

    /// Sixteen rows a block if shared memory holds them, eight otherwise, for which the
    /// matrix units work half in vain. A block needs `per_row` floats of shared memory
    /// a row, and [`PARTS`] more.
    pub(super) fn tile(&self, per_row: usize) -> Result<Tile, CudaError> {
        let small = self.small_tile(per_row)?;
        let large = Tile {
            rows: 2 * small.rows,
            shared_bytes: 2 * small.shared_bytes,
        };
        Ok(if large.shared_bytes <= self.device.limits().shared_bytes {
            large
        } else {
            small
        })
    }

    /// Eight rows, as [`Kernels::tile`].
    pub(super) fn small_tile(&self, per_row: usize) -> Result<Tile, CudaError> {
        let available = self.device.limits().shared_bytes;
        let rows = 8;
        let small = Tile {
            rows,
            shared_bytes: (per_row + PARTS) * rows * size_of::<f32>(),
        };
        if small.shared_bytes > available {
            return Err(CudaError::Shape(format!(
                "layers this wide need {} bytes of shared memory a block; the device has \
                 {available}",
                small.shared_bytes
            )));
        }
        Ok(small)
    }
}

/// Rows a block takes, and the shared memory they need.
pub(super) struct Tile {
    pub(super) rows: usize,
    pub(super) shared_bytes: usize,
}

impl Tile {
    pub(super) fn pick(&self, large: &'static str, small: &'static str) -> &'static str {
        if self.rows == 16 { large } else { small }
    }
}

impl<B> Saved<B> {
    fn check(&self, network: &Network<'_, B>, rows: usize) -> Result<(), CudaError> {
        if &self.shape == network.shape && self.nets == network.nets && self.rows == rows {
            return Ok(());
        }
        Err(CudaError::Shape(format!(
            "what is kept of a pass is of {} nets {:?} over {} rows, not of {} nets {:?} over {rows}",
            self.nets, self.shape, self.rows, network.nets, network.shape
        )))
    }
}

/// Width of the widest layer's output.
pub(super) fn widest(shape: &MlpShape) -> usize {
    let hidden = shape.hidden.iter().copied().max();
    hidden.unwrap_or(0).max(shape.output)
}

/// Pieces of all weight gradients of one net.
fn tiles(shape: &MlpShape) -> usize {
    let pieces = |n: usize| n.div_ceil(TILE);
    let layers = shape.layers();
    layers.map(|l| pieces(l.input) * pieces(l.output)).sum()
}
