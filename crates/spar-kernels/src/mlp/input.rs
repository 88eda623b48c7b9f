//! What a pass reads: rows, or rows whose first columns several share.

use std::ops::Range;

use super::{
    layers::{self, Bias},
    products::{Products, grow},
    shape::{LayerLayout, MlpShape},
};

/// Input rows `[shared | own]`: the first columns are those of a state that
/// `repeat` rows in turn have in common, its K candidates; the others a row's own.
///
/// The first layer multiplies what is shared once per state. Rows without a shared
/// part come from a slice: `[rows, input]`.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    shared: &'a [f32],
    repeat: usize,
    own: &'a [f32],
}

impl<'a> Input<'a> {
    /// Rows that begin with those of `shared`, `[rows / repeat, ..]`, `repeat` of
    /// them with each in turn, and end with those of `own`, `[rows, ..]`.
    ///
    /// # Panics
    /// If nothing is repeated.
    pub fn beside(shared: &'a [f32], repeat: usize, own: &'a [f32]) -> Self {
        assert!(repeat > 0, "each state has at least one row");
        Self {
            shared,
            repeat,
            own,
        }
    }

    /// The parts of `rows` rows of an input of `shape`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub(super) fn split(self, shape: &MlpShape, rows: usize) -> Parts<'a> {
        let Self {
            shared,
            repeat,
            own,
        } = self;
        let states = rows.div_ceil(repeat);
        let shared_width = shared.len().checked_div(states).unwrap_or(0);
        let own_width = shape.input.saturating_sub(shared_width);
        let whole = shared.is_empty() || rows.is_multiple_of(repeat);
        assert!(
            whole && shared.len() == states * shared_width && own.len() == rows * own_width,
            "{} shared and {} own numbers, {repeat} rows to a state, for {rows} input rows of {shape:?}",
            shared.len(),
            own.len(),
        );
        Parts {
            shared,
            repeat: if shared.is_empty() { 1 } else { repeat },
            own,
            shared_width,
            own_width,
        }
    }
}

impl<'a> From<&'a [f32]> for Input<'a> {
    fn from(own: &'a [f32]) -> Self {
        Self {
            shared: &[],
            repeat: 1,
            own,
        }
    }
}

impl<'a> From<&'a Vec<f32>> for Input<'a> {
    fn from(own: &'a Vec<f32>) -> Self {
        own.as_slice().into()
    }
}

/// An [`Input`] with its widths.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    /// `[rows / repeat, shared_width]`.
    pub(super) shared: &'a [f32],
    pub(super) repeat: usize,
    /// `[rows, own_width]`.
    pub(super) own: &'a [f32],
    pub(super) shared_width: usize,
    pub(super) own_width: usize,
}

impl<'a> Parts<'a> {
    /// The parts of rows `first..first + count`, of whole states.
    pub(super) fn block(self, first: usize, count: usize) -> Self {
        let (state, states) = (first / self.repeat, count / self.repeat);
        let shared = state * self.shared_width..(state + states) * self.shared_width;
        let own = first * self.own_width..(first + count) * self.own_width;
        Self {
            shared: &self.shared[shared],
            own: &self.own[own],
            ..self
        }
    }

    /// Whole states in about `rows` rows.
    pub(super) fn block_rows(self, rows: usize) -> usize {
        (rows / self.repeat).max(1) * self.repeat
    }

    /// Where the weight is that layer `i` multiplies rows with: of the first layer
    /// the rows for the own columns.
    pub(super) fn weight(self, i: usize, layer: &LayerLayout) -> Range<usize> {
        match i {
            0 => self.shared_weight(layer).end..layer.weight.end,
            _ => layer.weight.clone(),
        }
    }

    /// Where the first layer's weight for the shared columns is.
    pub(super) fn shared_weight(self, first: &LayerLayout) -> Range<usize> {
        let start = first.weight.start;
        start..start + self.shared_width * first.output
    }
}

/// What the first layer adds to its rows: the shared part of the input times its
/// weight, with the bias, where there is one.
pub(super) struct Base<'a> {
    /// `[states, output]`; empty where nothing is shared.
    values: &'a [f32],
    repeat: usize,
}

impl<'a> Base<'a> {
    /// Multiplies what rows share, once per state, into `buffer`.
    pub(super) fn new(
        products: &mut impl Products,
        shape: &MlpShape,
        params: &[f32],
        x: Parts<'_>,
        buffer: &'a mut Vec<f32>,
    ) -> Self {
        let layer = shape.layer(0);
        let states = x.shared.len().checked_div(x.shared_width).unwrap_or(0);
        let values = grow(buffer, states * layer.output);
        if x.shared_width > 0 {
            let weight = (&params[x.shared_weight(&layer)], layer.output);
            let bias = Bias::one(&params[layer.bias]);
            products.multiply_once(weight, x.shared, values, |_, rows| {
                layers::add_bias(bias, f32::NEG_INFINITY, rows);
            });
        }
        Self {
            values,
            repeat: x.repeat,
        }
    }

    /// What layer `i` adds to its rows from row `first` of the pass on.
    pub(super) fn bias<'b>(
        &'b self,
        i: usize,
        layer: &LayerLayout,
        params: &'b [f32],
        first: usize,
    ) -> Bias<'b> {
        if i == 0 && !self.values.is_empty() {
            Bias::of_states(self.values, layer.output, self.repeat, first)
        } else {
            Bias::one(&params[layer.bias.clone()])
        }
    }
}
