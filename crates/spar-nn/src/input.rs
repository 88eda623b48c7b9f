//! What a network is fed: rows, or rows whose first columns several share.

use candle_core::{Result, Tensor, Var, bail};
use spar_kernels::{MlpShape, mlp::Input};

use crate::storage::values;

/// Input rows of a network.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// First columns, `[rows / K, ..]`, that K rows in turn have in common. They
    /// are data: no gradient reaches them.
    pub(crate) shared: Option<&'a Tensor>,
    /// The columns that differ from row to row, `[rows, ..]`.
    pub(crate) own: &'a Tensor,
}

impl<'a> Rows<'a> {
    /// Rows `[shared | own]`: those of a state's K candidates begin with the
    /// state. The first layer multiplies `shared` once per state.
    pub fn beside(shared: &'a Tensor, own: &'a Tensor) -> Self {
        Self {
            shared: Some(shared),
            own,
        }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> Result<usize> {
        self.own.dim(0)
    }
}

impl<'a> From<&'a Tensor> for Rows<'a> {
    fn from(own: &'a Tensor) -> Self {
        Self { shared: None, own }
    }
}

impl<'a> From<&'a Var> for Rows<'a> {
    fn from(own: &'a Var) -> Self {
        own.as_tensor().into()
    }
}

/// The part of an input that rows share, if there is one.
pub(crate) struct Shared {
    values: Option<Tensor>,
    repeat: usize,
}

impl Shared {
    /// The shared part beside `own`, and the number of rows.
    pub(crate) fn of(
        shape: &MlpShape,
        shared: Option<&Tensor>,
        own: &Tensor,
    ) -> Result<(Self, usize)> {
        let parts = match (own.dims(), shared.map(Tensor::dims)) {
            (&[rows, width], None) => Some((rows, rows, width)),
            (&[rows, own], Some(&[states, shared])) => Some((rows, states, own + shared)),
            _ => None,
        };
        let fits = |&(rows, states, width): &(usize, usize, usize)| {
            let whole = rows.checked_rem(states).map_or(rows == 0, |rest| rest == 0);
            width == shape.input() && whole
        };
        let Some((rows, states, _)) = parts.filter(fits) else {
            bail!(
                "network input must be [rows, {}], got {:?}{}",
                shape.input(),
                own.dims(),
                shared.map_or(String::new(), |s| format!(" beside {:?}", s.dims()))
            );
        };
        if shape.input_norm().is_some() && shared.is_some() {
            bail!("the input of {shape:?} is normalized as a whole, so that rows share no columns");
        }
        let values = shared.map(|s| s.detach().contiguous()).transpose()?;
        let repeat = rows.checked_div(states).unwrap_or(1);
        Ok((Self { values, repeat }, rows))
    }

    /// What the rows `index` share: each stands alone.
    pub(crate) fn of_rows(&self, index: &[usize]) -> Result<Self> {
        let gather = |shared: &Tensor| {
            let states = index.iter().map(|i| (i / self.repeat) as u32);
            shared.index_select(&Tensor::from_iter(states, shared.device())?, 0)
        };
        Ok(Self {
            values: self.values.as_ref().map(gather).transpose()?,
            repeat: 1,
        })
    }

    /// What `read` makes of the whole input.
    pub(crate) fn beside<T>(
        &self,
        own: &[f32],
        read: impl FnOnce(Input<'_>) -> Result<T>,
    ) -> Result<T> {
        match &self.values {
            None => read(own.into()),
            Some(shared) => values(shared, |s| read(Input::beside(s, self.repeat, own))),
        }
    }
}
