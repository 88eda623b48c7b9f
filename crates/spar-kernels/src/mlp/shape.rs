//! Sizes of a multi-layer perceptron and the layout of its parameters.

use std::ops::Range;

/// What follows a hidden layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`; its gradient at zero is zero, as in PyTorch.
    #[default]
    Relu,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: JAX's default GELU,
    /// PyTorch's `GELU(approximate="tanh")`.
    Gelu,
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

/// Sizes of a multi-layer perceptron and the layout of its parameters.
///
/// All parameters lie in one flat buffer: for each layer its weight, row-major
/// `[in, out]`, then its bias `[out]`, then, for hidden layers of a normalized
/// network, the normalization's gain `[out]` and shift `[out]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpShape {
    /// Width of an input row.
    pub input: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Width of an output row.
    pub output: usize,
    /// Whether hidden layers are normalized before their activation.
    pub layer_norm: bool,
    /// What follows a hidden layer.
    pub activation: Activation,
    /// What follows the last layer.
    pub head: Head,
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
    /// A network with ReLU between its layers and nothing else.
    pub fn relu(input: usize, hidden: impl Into<Vec<usize>>, output: usize) -> Self {
        Self {
            input,
            hidden: hidden.into(),
            output,
            layer_norm: false,
            activation: Activation::Relu,
            head: Head::Linear,
        }
    }

    /// The same with layer normalization of its hidden layers.
    #[must_use]
    pub fn with_layer_norm(self, layer_norm: bool) -> Self {
        Self { layer_norm, ..self }
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
        let mut offset = 0;
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
                norm: (self.layer_norm && i < self.hidden.len())
                    .then(|| (take(output), take(output))),
            };
            input = output;
            layer
        })
    }

    /// Layer `i`, the last being `hidden.len()`.
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

    pub(crate) fn widest(&self) -> usize {
        let widths = self.hidden.iter().chain([&self.input, &self.output]);
        widths.copied().max().unwrap_or(0)
    }
}
