//! A critic's slope in its action as a candle operation, for losses of slopes.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use spar_kernels::{
    Activation, Head, MlpShape,
    mlp::{SlopeWork, slope, slope_backward},
};

use crate::{
    input::{Rows, Shared},
    mlp::{GradSlot, Mlp, lock, slice, values},
};

/// Workspaces of finished slopes, kept for the next.
pub(crate) type SlopePool = Arc<Mutex<Vec<SlopeWork>>>;

impl Mlp {
    /// The gradient of the network's one output in the rows' own columns,
    /// `[rows, own]`: `dQ/da` of a critic of rows beside states. A loss of it leaves the
    /// parameters' gradient, a second derivative, for this network's optimizer, as
    /// [`Mlp::forward`] does; none reaches the input.
    ///
    /// # Errors
    /// If the network has more than one output, a head, a normalization or another
    /// activation than ReLU; or if `x` has another shape or element type.
    pub fn slope<'a>(&self, x: impl Into<Rows<'a>>) -> Result<Tensor> {
        let shape = self.shape();
        let normalized = shape.layer_norm() || shape.input_norm().is_some();
        let plain = shape.activation() == Activation::Relu && !normalized;
        if shape.output() != 1 || shape.head() != Head::Linear || !plain {
            bail!("the slope of {shape:?}; expected one linear output and plain ReLU layers");
        }
        let Rows { shared, own } = x.into();
        let (shared, _) = Shared::of(shape, shared, own)?;
        let op = SlopeOp {
            work: Mutex::new(lock(self.slopes()).pop().unwrap_or_default()),
            pool: Arc::clone(self.slopes()),
            shape: shape.clone(),
            grad: self.grad_slot(),
            shared,
        };
        self.params().apply_op2(&own.detach().contiguous()?, op)
    }
}

/// The slope of one pass. It owns its workspace from forward to backward and hands it
/// back when the graph is dropped.
struct SlopeOp {
    shape: MlpShape,
    work: Mutex<SlopeWork>,
    pool: SlopePool,
    grad: GradSlot,
    shared: Shared,
}

impl Drop for SlopeOp {
    fn drop(&mut self) {
        lock(&self.pool).push(std::mem::take(&mut *lock(&self.work)));
    }
}

impl CustomOp2 for SlopeOp {
    fn name(&self) -> &'static str {
        "slope"
    }

    fn cpu_fwd(
        &self,
        params: &CpuStorage,
        params_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, own_width) = x_layout.shape().dims2()?;
        let mut out = vec![0.0; rows * own_width];
        let (params, own) = (slice(params, params_layout)?, slice(x, x_layout)?);
        self.shared.beside(own, |x| {
            let work = &mut lock(&self.work);
            slope(&self.shape, params, x, rows, work, &mut out);
            Ok(())
        })?;
        Ok((CpuStorage::F32(out), (rows, own_width).into()))
    }

    fn bwd(
        &self,
        params: &Tensor,
        x: &Tensor,
        _out: &Tensor,
        grad_out: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_out = grad_out.contiguous()?;
        let rows = x.dim(0)?;
        values(params, |params| {
            values(x, |own| {
                values(&grad_out, |grad_out| {
                    self.shared.beside(own, |x| {
                        let work = &mut lock(&self.work);
                        let mut grad = lock(&self.grad);
                        let grad = grad.receive(params.len());
                        slope_backward(&self.shape, params, x, rows, work, grad_out, grad);
                        Ok(())
                    })
                })
            })
        })?;
        Ok((None, None))
    }
}
