//! What an ensemble of networks says of some rows, without any gradient.

use candle_core::{Device, Result, Tensor, bail};
use spar_kernels::value::{Conservatism, conservative};

use crate::{input::Rows, mlp::Mlp};

/// The conservative value `[rows]` that critics `nets`, each with one output,
/// give the rows of `x`, `[rows, input]`, without any gradient.
///
/// # Errors
/// If there is no net, or the shapes do not fit.
pub fn conservative_value<'a>(
    nets: &[Mlp],
    by: Conservatism,
    x: impl Into<Rows<'a>>,
) -> Result<Tensor> {
    let x = x.into();
    let rows = x.rows()?;
    if nets.is_empty() || nets.iter().any(|net| net.shape().output() != 1) {
        bail!("a critic is at least one network of one output");
    }
    let mut values = vec![0.0; nets.len() * rows];
    for (i, net) in nets.iter().enumerate() {
        net.forward_into(x, &mut values[i * rows..(i + 1) * rows])?;
    }
    let mut out = vec![0.0; rows];
    conservative(&values, nets.len(), by, &mut out);
    Tensor::from_vec(out, rows, &Device::Cpu)
}
