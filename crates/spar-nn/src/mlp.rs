//! A multi-layer perceptron whose pass is one custom operation.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, Var, bail};
pub use spar_kernels::MlpShape;
use spar_kernels::{
    Precision, Workspace,
    mlp::{self, GradParams, Input},
    optim,
};

use crate::{
    few::Few,
    input::{Rows, Shared},
    precision::Precisions,
    slope::SlopePool,
    state::{State, StateError},
    storage::{slice, slice_mut, values},
};
use spar_core::Stream;
use spar_policy::RowMlp;

/// [`MlpShape::relu`] with candle's error, as the networks made of it have.
///
/// # Errors
/// If a width is zero, or the network is too large.
pub fn relu_shape(input: usize, hidden: impl Into<Vec<usize>>, output: usize) -> Result<MlpShape> {
    MlpShape::relu(input, hidden, output).map_err(candle_core::Error::wrap)
}

/// Which gradients a pass is followed by. Work for the others is never done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Of the parameters only: fitting a network to data.
    Params,
    /// Of the input only: what a frozen network says of what was fed to it.
    Input,
    /// The same where a loss is likely to be of few rows: the pass keeps nothing, and what the
    /// gradient needs is computed again for the rows that have one.
    InputOfFew,
    /// Of both: a network inside a chain of trained networks.
    Both,
}

/// A multi-layer perceptron: all parameters in one flat [`Var`] laid out as
/// [`MlpShape`] says.
#[derive(Debug)]
pub struct Mlp {
    shape: Arc<MlpShape>,
    params: Var,
    grad: GradSlot,
    /// Workspaces of finished passes, kept for the next of this network and of those that
    /// share them.
    pool: Pool,
    slopes: SlopePool,
}

type Pool = Arc<Mutex<Vec<Workspace>>>;

/// Where a network's gradient waits for its optimizer. candle's own store would
/// have a buffer zeroed, one filled and a third made of their sum for every
/// backward pass.
pub(crate) type GradSlot = Arc<Mutex<Gradient>>;

/// The gradient of the flat parameters.
#[derive(Debug, Default)]
pub(crate) struct Gradient {
    values: Vec<f32>,
    /// Whether `values` hold a gradient that no step was taken along.
    pending: bool,
}

impl Gradient {
    /// Where the gradient of a pass goes: onto that of passes since the last step.
    pub(crate) fn receive(&mut self, len: usize) -> GradParams<'_> {
        self.values.resize(len, 0.0);
        if std::mem::replace(&mut self.pending, true) {
            GradParams::onto(&mut self.values)
        } else {
            GradParams::over(&mut self.values)
        }
    }

    /// The gradient that no step was taken along.
    pub(crate) fn pending(&mut self) -> Option<&mut [f32]> {
        self.pending.then_some(&mut self.values)
    }

    /// The gradient, once.
    pub(crate) fn take(&mut self) -> Option<&[f32]> {
        std::mem::take(&mut self.pending).then_some(&self.values)
    }
}

impl Mlp {
    /// A network with PyTorch's default initialization of linear layers:
    /// weights and biases uniform on `(-1/sqrt(in), 1/sqrt(in))`; gains one,
    /// shifts zero.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn new(shape: MlpShape, stream: &mut Stream) -> Result<Self> {
        let mut params = vec![0.0; shape.parameters()];
        if let Some((gain, _)) = shape.input_norm() {
            params[gain].fill(1.0);
        }
        for layer in shape.layers() {
            let bound = 1.0 / (layer.input as f32).sqrt();
            stream.fill_uniform(-bound, bound, &mut params[layer.weight]);
            stream.fill_uniform(-bound, bound, &mut params[layer.bias]);
            if let Some((gain, _)) = layer.norm {
                params[gain].fill(1.0);
            }
        }
        Self::from_params(shape, params)
    }

    /// A network with flax's fan-average initialization: weights uniform on
    /// `(-sqrt(6/(in+out)), sqrt(6/(in+out)))`, biases zero; gains one, shifts zero.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters.
    pub fn glorot(shape: MlpShape, stream: &mut Stream) -> Result<Self> {
        let mut params = vec![0.0; shape.parameters()];
        for layer in shape.layers() {
            let bound = (6.0 / (layer.input + layer.output) as f32).sqrt();
            stream.fill_uniform(-bound, bound, &mut params[layer.weight]);
            if let Some((gain, _)) = layer.norm {
                params[gain].fill(1.0);
            }
        }
        Self::from_params(shape, params)
    }

    /// A network with the given flat parameters.
    ///
    /// # Errors
    /// If their number is not that of `shape`.
    pub fn from_params(shape: MlpShape, params: Vec<f32>) -> Result<Self> {
        if params.len() != shape.parameters() {
            bail!(
                "{shape:?} has {} parameters, got {}",
                shape.parameters(),
                params.len()
            );
        }
        Ok(Self {
            params: Var::from_vec(params, shape.parameters(), &Device::Cpu)?,
            shape: Arc::new(shape),
            grad: GradSlot::default(),
            pool: Pool::default(),
            slopes: SlopePool::default(),
        })
    }

    /// A copy for acting, whose rows do not know of each other.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn row_mlp(&self) -> Result<RowMlp> {
        let params = self.to_params()?;
        RowMlp::from_params(self.shape(), &params).map_err(candle_core::Error::wrap)
    }

    /// A network of the same parameters with its own buffer: a target copy.
    ///
    /// # Errors
    /// Only if candle cannot copy the parameters.
    pub fn duplicate(&self) -> Result<Self> {
        let mut copy = Self::from_params((*self.shape).clone(), self.to_params()?)?;
        copy.share_workspaces(self);
        Ok(copy)
    }

    /// Lets this network's passes take the workspaces of `other`'s, so that those of an
    /// ensemble, one after the other, write into memory that is still in cache. Nothing
    /// changes if the two differ in shape: a workspace would be resized again and again.
    pub fn share_workspaces(&mut self, other: &Self) {
        if self.shape == other.shape {
            self.shape = Arc::clone(&other.shape);
            self.pool = Arc::clone(&other.pool);
            self.slopes = Arc::clone(&other.slopes);
        }
    }

    /// Multiplies weight and bias of the last layer by `factor`, so that a
    /// network can start near the zero function.
    ///
    /// # Errors
    /// Only if candle cannot replace the parameters.
    pub fn scale_output_layer(&self, factor: f32) -> Result<()> {
        let mut params = self.to_params()?;
        if let Some(last) = self.shape.layers().last() {
            for p in &mut params[last.weight.start..last.bias.end] {
                *p *= factor;
            }
        }
        self.set_params(params)
    }

    /// Sizes and parameter layout.
    pub fn shape(&self) -> &MlpShape {
        &self.shape
    }

    /// The flat parameters as a variable.
    pub fn params(&self) -> &Var {
        &self.params
    }

    /// Takes the gradient that backward passes have left here since the last
    /// step: theirs together, in the parameters' layout. An optimizer of this
    /// network takes it by itself.
    pub fn take_gradient(&self) -> Option<Vec<f32>> {
        lock(&self.grad).take().map(<[f32]>::to_vec)
    }

    /// Where the gradient waits.
    pub(crate) fn grad_slot(&self) -> GradSlot {
        Arc::clone(&self.grad)
    }

    /// Where workspaces of slopes wait for the next.
    pub(crate) fn slopes(&self) -> &SlopePool {
        &self.slopes
    }

    /// A copy of the flat parameters.
    ///
    /// # Errors
    /// Only if candle cannot read them.
    pub fn to_params(&self) -> Result<Vec<f32>> {
        self.params.to_vec1()
    }

    /// Replaces the flat parameters.
    ///
    /// # Errors
    /// If their number differs.
    pub fn set_params(&self, params: Vec<f32>) -> Result<()> {
        let n = params.len();
        self.params.set(&Tensor::from_vec(params, n, &Device::Cpu)?)
    }

    /// Output `[rows, output]` for `x`, `[rows, input]`, with gradients as
    /// `trace` says: that of the input goes the way of candle's, that of the
    /// parameters is left for this network's optimizer ([`Self::take_gradient`]).
    ///
    /// # Errors
    /// If `x` has another shape or element type.
    pub fn forward<'a>(&self, x: impl Into<Rows<'a>>, trace: Trace) -> Result<Tensor> {
        let Rows { shared, own } = x.into();
        let (shared, _) = Shared::of(&self.shape, shared, own)?;
        let op = MlpOp {
            shape: self.shape.clone(),
            work: Mutex::new(self.take_workspace()),
            pool: self.pool.clone(),
            grad: self.grad_slot(),
            shared,
            trace,
            precision: Precisions::now().learning,
        };
        let x = own.contiguous()?;
        match trace {
            Trace::Input | Trace::InputOfFew => self.params.as_detached_tensor().apply_op2(&x, op),
            Trace::Params => self.params.apply_op2(&x.detach(), op),
            Trace::Both => self.params.apply_op2(&x, op),
        }
    }

    /// Output `[rows, output]` without any gradient: targets, candidates, the
    /// frozen anchor. Cheaper than a pass whose gradient is ignored.
    ///
    /// # Errors
    /// If `x` has another shape or element type.
    pub fn forward_detached<'a>(&self, x: impl Into<Rows<'a>>) -> Result<Tensor> {
        let x = x.into();
        let rows = x.rows()?;
        let mut out = vec![0.0; rows * self.shape.output()];
        self.forward_into(x, &mut out)?;
        Tensor::from_vec(out, (rows, self.shape.output()), &Device::Cpu)
    }

    /// [`Self::forward_detached`] into `out`, `[rows, output]`.
    pub(crate) fn forward_into(&self, x: Rows<'_>, out: &mut [f32]) -> Result<()> {
        let (shared, rows) = Shared::of(&self.shape, x.shared, x.own)?;
        let mut work = self.take_workspace();
        let (shape, precision) = (&self.shape, Precisions::now().detached);
        values(&x.own.contiguous()?, |own| {
            shared.beside(own, |x| {
                values(&self.params, |params| {
                    mlp::forward_only(precision, shape, params, x, rows, &mut work, out);
                    Ok(())
                })
            })
        })?;
        lock(&self.pool).push(work);
        Ok(())
    }

    /// Polyak averaging: moves this network by `tau` towards `source`.
    ///
    /// # Errors
    /// If the networks differ in size.
    pub fn track(&self, source: &Self, tau: f32) -> Result<()> {
        let op = PolyakOp { tau };
        self.params.inplace_op2(source.params.as_tensor(), &op)
    }

    /// Adds the parameters to `state` under `name`.
    ///
    /// # Errors
    /// Only if candle cannot read them.
    pub fn save(&self, name: &str, state: &mut State) -> Result<()> {
        state.insert(name, self.to_params()?);
        Ok(())
    }

    /// Takes the parameters from `state`.
    ///
    /// # Errors
    /// If they are absent or of another number.
    pub fn load(&self, name: &str, state: &State) -> std::result::Result<(), StateError> {
        Ok(self.set_params(state.get(name, self.shape.parameters())?)?)
    }

    fn take_workspace(&self) -> Workspace {
        lock(&self.pool).pop().unwrap_or_default()
    }
}

/// A panic elsewhere cannot leave a workspace half-valid: every pass
/// overwrites what it reads.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The traced pass. It owns its workspace from forward to backward and hands
/// it back when the graph is dropped.
struct MlpOp {
    shape: Arc<MlpShape>,
    work: Mutex<Workspace>,
    pool: Pool,
    grad: GradSlot,
    shared: Shared,
    trace: Trace,
    precision: Precision,
}

impl Drop for MlpOp {
    fn drop(&mut self) {
        lock(&self.pool).push(std::mem::take(&mut *lock(&self.work)));
    }
}

impl CustomOp2 for MlpOp {
    fn name(&self) -> &'static str {
        "mlp"
    }

    fn cpu_fwd(
        &self,
        params: &CpuStorage,
        params_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = x_layout.shape().dims2()?.0;
        let mut out = vec![0.0; rows * self.shape.output()];
        let (params, own) = (slice(params, params_layout)?, slice(x, x_layout)?);
        self.shared.beside(own, |x| {
            let (shape, work) = (&self.shape, &mut lock(&self.work));
            let pass = match self.trace {
                Trace::InputOfFew => mlp::forward_only,
                _ => mlp::forward,
            };
            pass(self.precision, shape, params, x, rows, work, &mut out);
            Ok(())
        })?;
        Ok((CpuStorage::F32(out), (rows, self.shape.output()).into()))
    }

    fn bwd(
        &self,
        params: &Tensor,
        x: &Tensor,
        _out: &Tensor,
        grad_out: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_out = grad_out.contiguous()?;
        let mut grad_x = (self.trace != Trace::Params).then(|| vec![0.0; x.elem_count()]);
        let rows = x.dim(0)?;
        values(params, |params| {
            values(x, |own| {
                values(&grad_out, |grad_out| {
                    if let (Trace::Input | Trace::InputOfFew, Some(grad_x)) =
                        (self.trace, &mut grad_x)
                        && let Some(few) = Few::of(grad_out, self.shape.output())
                    {
                        let mut work = lock(&self.pool).pop().unwrap_or_default();
                        let pass = (&*self.shape, params, own, &self.shared);
                        few.input_gradient(pass, self.precision, &mut work, grad_x)?;
                        lock(&self.pool).push(work);
                        return Ok(());
                    }
                    self.shared.beside(own, |x| {
                        self.gradients(params, x, rows, grad_out, grad_x.as_deref_mut());
                        Ok(())
                    })
                })
            })
        })?;
        let grad_x = grad_x.map(|v| Tensor::from_vec(v, x.shape(), &Device::Cpu));
        Ok((None, grad_x.transpose()?))
    }
}

impl MlpOp {
    /// Leaves the gradient of the parameters in its slot and that of the input in
    /// `grad_x`, as far as they are asked for.
    fn gradients(
        &self,
        params: &[f32],
        x: Input<'_>,
        rows: usize,
        grad_out: &[f32],
        grad_x: Option<&mut [f32]>,
    ) {
        let shape = &self.shape;
        let work = &mut lock(&self.work);
        if self.trace == Trace::InputOfFew {
            let out = &mut vec![0.0; grad_out.len()];
            mlp::forward(self.precision, shape, params, x, rows, work, out);
        }
        let mut grad = lock(&self.grad);
        let learns = matches!(self.trace, Trace::Params | Trace::Both);
        let grad = learns.then(|| grad.receive(params.len()));
        mlp::backward(shape, params, x, rows, work, grad_out, grad, grad_x);
    }
}

struct PolyakOp {
    tau: f32,
}

impl candle_core::InplaceOp2 for PolyakOp {
    fn name(&self) -> &'static str {
        "polyak"
    }

    fn cpu_fwd(
        &self,
        target: &mut CpuStorage,
        target_layout: &Layout,
        source: &CpuStorage,
        source_layout: &Layout,
    ) -> Result<()> {
        let source = slice(source, source_layout)?;
        let target = slice_mut(target, target_layout)?;
        if target.len() != source.len() {
            bail!(
                "averaging {} parameters into {}",
                source.len(),
                target.len()
            );
        }
        optim::polyak(self.tau, target, source);
        Ok(())
    }
}
