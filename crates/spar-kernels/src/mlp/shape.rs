//! Sizes of a multi-layer perceptron and the layout of its parameters.

use std::ops::Range;

use super::sums::LAYER_NORM_EPS;

/// What follows a hidden layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`; its gradient at zero is zero, as in PyTorch.
    #[default]
    Relu,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: JAX's default GELU,
    /// PyTorch's `GELU(approximate="tanh")`.
    Gelu,
    /// `x tanh(log(1 + exp(x)))` (Misra 2019).
    Mish,
    /// `x / (1 + exp(-x))`, also called swish.
    Silu,
}

/// Whether hidden layers are normalized, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalization {
    /// They are not.
    #[default]
    None,
    /// Before the activation.
    Before,
    /// After it.
    After,
}

/// What is added to the variance of a layer normalization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormEps {
    /// PyTorch's default, `1e-5`.
    #[default]
    Torch,
    /// Flax's default, `1e-6`.
    Flax,
}

impl NormEps {
    /// The number.
    pub fn value(self) -> f32 {
        match self {
            Self::Torch => LAYER_NORM_EPS,
            Self::Flax => 1e-6,
        }
    }
}

/// What follows the last layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// Nothing.
    #[default]
    Linear,
    /// `tanh(x)`: actions.
    Tanh,
}

/// Most parameters of one network: a gibibyte in single precision. Those of offline
/// RL's networks are some hundred thousand.
pub const MOST_PARAMETERS: usize = 1 << 28;

/// Widths no network can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A layer has nothing in it.
    #[error("network of widths {0:?}: expected at least 1 everywhere")]
    Empty(Vec<usize>),
    /// There are more parameters than [`MOST_PARAMETERS`].
    #[error("network of widths {0:?}: expected at most {MOST_PARAMETERS} parameters")]
    Large(Vec<usize>),
}

/// Sizes of a multi-layer perceptron and the layout of its parameters. It cannot be made
/// wrong: no layer is empty, and its parameters can be counted and held.
///
/// All parameters lie in one flat buffer: first, where the input is normalized, that
/// normalization's gain `[input]` and shift `[input]`; then for each layer its weight, row-major
/// `[in, out]`, then its bias `[out]`, then, for hidden layers of a normalized
/// network, the normalization's gain `[out]` and shift `[out]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpShape {
    pub(crate) input: usize,
    pub(crate) hidden: Vec<usize>,
    pub(crate) output: usize,
    pub(crate) input_norm: bool,
    pub(crate) norm: Normalization,
    pub(crate) eps: NormEps,
    pub(crate) activation: Activation,
    pub(crate) head: Head,
}

/// Where one layer's parameters lie in the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerLayout {
    /// Width of the layer's input.
    pub input: usize,
    /// Width of the layer's output.
    pub output: usize,
    /// Row-major `[input, output]` weight.
    pub weight: Range<usize>,
    /// `[output]` bias.
    pub bias: Range<usize>,
    /// `[output]` gain and shift of the layer normalization, if there is one.
    pub norm: Option<(Range<usize>, Range<usize>)>,
}

impl MlpShape {
    /// A network with ReLU between its layers and nothing else, from rows of `input`
    /// values to rows of `output`.
    ///
    /// # Errors
    /// If a width is zero, or there would be more than [`MOST_PARAMETERS`].
    pub fn relu(
        input: usize,
        hidden: impl Into<Vec<usize>>,
        output: usize,
    ) -> Result<Self, ShapeError> {
        let hidden = hidden.into();
        let all = [&[input], &*hidden, &[output]].concat();
        if all.contains(&0) {
            return Err(ShapeError::Empty(all));
        }
        let count = all.windows(2).try_fold(0usize, |count, pair| {
            // Weight, bias, and a normalization's gain and shift.
            let own = pair[0].checked_add(3)?.checked_mul(pair[1])?;
            count.checked_add(own)
        });
        // And those of the input's.
        let count = count.and_then(|count| count.checked_add(input.checked_mul(2)?));
        if count.is_none_or(|count| count > MOST_PARAMETERS) {
            return Err(ShapeError::Large(all));
        }
        Ok(Self {
            input,
            hidden,
            output,
            input_norm: false,
            norm: Normalization::None,
            eps: NormEps::Torch,
            activation: Activation::Relu,
            head: Head::Linear,
        })
    }

    /// Width of an input row.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Widths of the hidden layers.
    pub fn hidden(&self) -> &[usize] {
        &self.hidden
    }

    /// Width of an output row.
    pub fn output(&self) -> usize {
        self.output
    }

    /// Whether hidden layers are normalized, and where.
    pub fn normalization(&self) -> Normalization {
        self.norm
    }

    /// Whether hidden layers are normalized, wherever.
    pub fn layer_norm(&self) -> bool {
        self.norm != Normalization::None
    }

    /// Where in the flat buffer gain and shift of the input's normalization lie, `[input]`
    /// each, if it is normalized.
    pub fn input_norm(&self) -> Option<(Range<usize>, Range<usize>)> {
        let width = self.input;
        self.input_norm.then_some((0..width, width..2 * width))
    }

    /// What is added to the variance of every normalization.
    pub fn norm_eps(&self) -> NormEps {
        self.eps
    }

    /// What follows a hidden layer.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// What follows the last layer.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The same with layer normalization of its hidden layers before their activation.
    #[must_use]
    pub fn with_layer_norm(self, layer_norm: bool) -> Self {
        self.with_normalization(match layer_norm {
            false => Normalization::None,
            true => Normalization::Before,
        })
    }

    /// The same with its hidden layers normalized there.
    #[must_use]
    pub fn with_normalization(self, norm: Normalization) -> Self {
        Self { norm, ..self }
    }

    /// The same with a layer normalization of its input rows. The rows of such a network
    /// may not share columns: what is shared would be normalized with what is not.
    #[must_use]
    pub fn with_input_norm(self, input_norm: bool) -> Self {
        Self { input_norm, ..self }
    }

    /// The same with another number added to the variance of every normalization.
    #[must_use]
    pub fn with_norm_eps(self, eps: NormEps) -> Self {
        Self { eps, ..self }
    }

    /// The same with another head.
    #[must_use]
    pub fn with_head(self, head: Head) -> Self {
        Self { head, ..self }
    }

    /// The same with another activation.
    #[must_use]
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// The layers from input to output.
    pub fn layers(&self) -> impl Iterator<Item = LayerLayout> + use<'_> {
        let mut offset = self.input_norm().map_or(0, |(_, shift)| shift.end);
        let mut input = self.input;
        let widths = self.hidden.iter().chain([&self.output]);
        widths.enumerate().map(move |(i, &output)| {
            let mut take = |n: usize| {
                offset += n;
                offset - n..offset
            };
            let layer = LayerLayout {
                input,
                output,
                weight: take(input * output),
                bias: take(output),
                norm: (self.layer_norm() && i < self.hidden.len())
                    .then(|| (take(output), take(output))),
            };
            input = output;
            layer
        })
    }

    /// Layer `i`, the last being `hidden.len()`.
    #[cfg(feature = "train")]
    pub(crate) fn layer(&self, i: usize) -> LayerLayout {
        assert!(i <= self.hidden.len(), "layer {i} of {self:?}");
        let mut layers = self.layers();
        #[allow(clippy::expect_used)]
        layers.nth(i).expect("there are as many as that")
    }

    /// Number of parameters: the length of the flat buffer.
    pub fn parameters(&self) -> usize {
        self.layers().last().map_or(0, |l| l.bias.end)
    }

    /// Multiply-adds of one forward pass over one row.
    pub fn multiply_adds(&self) -> usize {
        self.layers().map(|l| l.input * l.output).sum()
    }

    /// Whether gradients need the activations' slopes kept: of a ReLU alone the layer's
    /// output says enough.
    #[cfg(feature = "train")]
    pub(crate) fn keeps_slopes(&self) -> bool {
        self.activation != Activation::Relu || self.norm == Normalization::After
    }

    #[cfg(feature = "train")]
    pub(crate) fn widest(&self) -> usize {
        let widths = self.hidden.iter().chain([&self.input, &self.output]);
        widths.copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_cannot_be_made_wrong() {
        for (input, hidden, output) in [
            (0, vec![4], 1),
            (3, vec![0], 1),
            (3, vec![4, 0, 4], 1),
            (3, vec![], 0),
        ] {
            let error = MlpShape::relu(input, hidden, output).unwrap_err();
            assert!(matches!(error, ShapeError::Empty(_)), "{error}");
        }
        for (input, hidden, output) in [
            (1 << 14, vec![1 << 14], 1),
            (usize::MAX, vec![], 1),
            (usize::MAX, vec![usize::MAX], usize::MAX),
            (1, vec![usize::MAX / 2, 3], 1),
        ] {
            let error = MlpShape::relu(input, hidden, output).unwrap_err();
            assert!(matches!(error, ShapeError::Large(_)), "{error}");
        }
        // What is made can be held, a normalization included.
        let shape = MlpShape::relu(1000, [16_000, 15_000], 1).unwrap();
        let shape = shape.with_layer_norm(true).with_input_norm(true);
        assert!(shape.parameters() <= MOST_PARAMETERS);
        assert_eq!(MlpShape::relu(3, Vec::new(), 2).unwrap().parameters(), 8);
    }
}
