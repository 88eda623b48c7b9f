//! A critic's slope in its action as a candle operation, for losses of slopes.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use spar_kernels::{
    Activation, Head, MlpShape,
    mlp::{SlopeWork, slope, slope_backward},
};

use crate::{
    input::{Rows, Shared},
    mlp::{GradSlot, Mlp, lock},
    storage::{slice, values},
};

/// Workspaces of finished slopes, kept for the next.
pub(crate) type SlopePool = Arc<Mutex<Vec<SlopeWork>>>;

impl Mlp {
    /// The network's one output, `[rows]`, and its gradient in the rows' own columns,
    /// `[rows, own]`: `Q` and `dQ/da` of a critic of rows beside states, in one pass. A loss
    /// of them leaves the parameters' gradient, that of the second a second derivative, for
    /// this network's optimizer, as [`Mlp::forward`] does; none reaches the input.
    ///
    /// # Errors
    /// If the network has more than one output, a head, a normalization or another
    /// activation than ReLU; or if `x` has another shape or element type.
    pub fn value_and_slope<'a>(&self, x: impl Into<Rows<'a>>) -> Result<(Tensor, Tensor)> {
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
        let own = own.detach().contiguous()?;
        let both = self.params().apply_op2(&own, op)?;
        let slope = both.narrow(1, 1, own.dim(1)?)?;
        Ok((both.narrow(1, 0, 1)?.squeeze(1)?, slope))
    }
}

/// Output and slope of one pass, side by side. It owns its workspace from forward to backward and hands it
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
        let mut slopes = vec![0.0; rows * own_width];
        let mut out = Vec::with_capacity(rows * (1 + own_width));
        let (params, own) = (slice(params, params_layout)?, slice(x, x_layout)?);
        self.shared.beside(own, |x| {
            let work = &mut lock(&self.work);
            slope(&self.shape, params, x, rows, work, &mut slopes);
            for (value, slope) in work.values(rows).iter().zip(slopes.chunks_exact(own_width)) {
                out.push(*value);
                out.extend_from_slice(slope);
            }
            Ok(())
        })?;
        Ok((CpuStorage::F32(out), (rows, 1 + own_width).into()))
    }

    fn bwd(
        &self,
        params: &Tensor,
        x: &Tensor,
        _out: &Tensor,
        grad_out: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let rows = x.dim(0)?;
        let of_value = grad_out.narrow(1, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
        let of_slope = grad_out.narrow(1, 1, x.dim(1)?)?;
        let of_slope = of_slope.flatten_all()?.to_vec1::<f32>()?;
        values(params, |params| {
            values(x, |own| {
                self.shared.beside(own, |x| {
                    let (shape, work) = (&self.shape, &mut lock(&self.work));
                    let mut grad = lock(&self.grad);
                    let slot = grad.receive(params.len());
                    slope_backward(shape, params, x, rows, work, &of_value, &of_slope, slot);
                    Ok(())
                })
            })
        })?;
        Ok((None, None))
    }
}
