//! What an ensemble of networks says of some rows, without any gradient.

use std::borrow::Borrow;

use candle_core::{Device, Result, Tensor, bail};
use spar_kernels::value::{Conservatism, Penalty, conservative, disagreement, penalize};

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
        let values = self.least(by);
        let rows = values.len();
        Tensor::from_vec(values, rows, &Device::Cpu)
    }

    /// [`Self::conservative`] of candidates, `k` in turn to a state, less the penalty of
    /// their ensemble's standard deviation above `level`:
    /// [`spar_kernels::value::penalize`].
    ///
    /// # Errors
    /// If the rows are not whole states, or candle cannot hold the values.
    pub fn penalized(
        &self,
        by: Conservatism,
        k: usize,
        penalty: Penalty,
        level: f32,
    ) -> Result<Penalized> {
        let rows = self.values.len() / self.nets;
        if k == 0 || !rows.is_multiple_of(k) {
            bail!("{rows} candidates, {k} to a state");
        }
        let mut out = self.least(by);
        let mut weight = 0.0;
        if !penalty.is_none() {
            let (sizes, excess) = ((self.nets, k), &mut Vec::new());
            weight = penalize(&self.values, sizes, penalty, level, &mut out, excess);
        }
        let values = Tensor::from_vec(out, rows, &Device::Cpu)?;
        Ok(Penalized { values, weight })
    }

    fn least(&self, by: Conservatism) -> Vec<f32> {
        let mut out = vec![0.0; self.values.len() / self.nets];
        conservative(&self.values, self.nets, by, &mut out);
        out
    }

    /// The root mean square over rows of the ensemble's standard deviation.
    pub fn disagreement(&self) -> f32 {
        disagreement(&self.values, self.nets)
    }
}

/// What an ensemble says of candidates, less what it loses by disagreeing about them.
#[derive(Clone, Debug)]
pub struct Penalized {
    /// `[states * k]`.
    pub values: Tensor,
    /// What a unit of disagreement beyond the level took from a value.
    pub weight: f32,
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
