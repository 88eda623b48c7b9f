//! What an ensemble of networks says of some rows, without any gradient.

use std::borrow::Borrow;

use candle_core::{Device, Result, Tensor, bail};
use spar_kernels::value::{Conservatism, conservative, disagreement, penalize};

use crate::{input::Rows, mlp::Mlp};

/// What each of an ensemble of critics says of the same rows.
#[derive(Clone, Debug)]
pub struct EnsembleValues {
    /// `[nets, rows]`.
    values: Vec<f32>,
    nets: usize,
}

impl EnsembleValues {
    /// What critics `nets`, each with one output, say of the rows of `x`,
    /// `[rows, input]`, without any gradient.
    ///
    /// # Errors
    /// If there is no net, or the shapes do not fit.
    pub fn of<'a>(nets: &[impl Borrow<Mlp>], x: impl Into<Rows<'a>>) -> Result<Self> {
        let x = x.into();
        let rows = x.rows()?;
        if nets.is_empty() || nets.iter().any(|net| net.borrow().shape().output() != 1) {
            bail!("a critic is at least one network of one output");
        }
        let mut values = vec![0.0; nets.len() * rows];
        for (i, net) in nets.iter().enumerate() {
            net.borrow()
                .forward_into(x, &mut values[i * rows..(i + 1) * rows])?;
        }
        let nets = nets.len();
        Ok(Self { values, nets })
    }

    /// The same of values already computed, `[rows]` each.
    ///
    /// # Errors
    /// If there is none, or they differ in rows.
    pub fn from_each(values: &[Tensor]) -> Result<Self> {
        Ok(Self {
            values: Tensor::stack(values, 0)?.flatten_all()?.to_vec1()?,
            nets: values.len(),
        })
    }

    /// The conservative value of each row, `[rows]`.
    ///
    /// # Errors
    /// Only if candle cannot hold it.
    pub fn conservative(&self, by: Conservatism) -> Result<Tensor> {
        self.penalized(by, 0.0, 0.0)
    }

    /// [`Self::conservative`], less `penalty` times what the ensemble's standard
    /// deviation has above `level`: [`spar_kernels::value::penalize`].
    ///
    /// # Errors
    /// Only if candle cannot hold it.
    pub fn penalized(&self, by: Conservatism, penalty: f32, level: f32) -> Result<Tensor> {
        let rows = self.values.len() / self.nets;
        let mut out = vec![0.0; rows];
        conservative(&self.values, self.nets, by, &mut out);
        if penalty > 0.0 {
            penalize(&self.values, self.nets, penalty, level, &mut out);
        }
        Tensor::from_vec(out, rows, &Device::Cpu)
    }

    /// The root mean square over rows of the ensemble's standard deviation.
    pub fn disagreement(&self) -> f32 {
        disagreement(&self.values, self.nets)
    }
}

/// The conservative value `[rows]` that critics `nets`, each with one output,
/// give the rows of `x`, `[rows, input]`, without any gradient.
///
/// # Errors
/// If there is no net, or the shapes do not fit.
pub fn conservative_value<'a>(
    nets: &[impl Borrow<Mlp>],
    by: Conservatism,
    x: impl Into<Rows<'a>>,
) -> Result<Tensor> {
    EnsembleValues::of(nets, x)?.conservative(by)
}
