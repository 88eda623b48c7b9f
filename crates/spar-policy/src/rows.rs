//! A network for acting: each row for itself, in a fixed order of summation.

use std::ops::Range;

use spar_kernels::{
    Head, MlpShape, NormEps, Normalization,
    mlp::LAYER_NORM_EPS,
    rows::{affine, layer_norm},
    scalar,
};

/// What follows a hidden or the last linear layer of a [`RowMlp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `tanh(x)`.
    Tanh,
    /// [`spar_kernels::Activation::Gelu`].
    Gelu,
    /// [`spar_kernels::Activation::Mish`].
    Mish,
    /// [`spar_kernels::Activation::Silu`].
    Silu,
    /// `x` for positive `x`, `slope * x` below.
    LeakyRelu(f32),
}

impl Activation {
    /// Applies it to every element in place.
    pub fn apply(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            // Not `f32::max`, which would turn a NaN into zero.
            Self::Relu => values
                .iter_mut()
                .for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
            Self::Tanh => values.iter_mut().for_each(|v| *v = scalar::tanh(*v)),
            Self::Gelu => values.iter_mut().for_each(|v| *v = scalar::gelu(*v)),
            Self::Mish => values.iter_mut().for_each(|v| *v = scalar::mish(*v)),
            Self::Silu => values.iter_mut().for_each(|v| *v = scalar::silu(*v)),
            Self::LeakyRelu(slope) => {
                values
                    .iter_mut()
                    .for_each(|v| *v = if *v > 0.0 { *v } else { slope * *v });
            }
        }
    }
}

/// One linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Row-major `[input, output]`.
    pub weight: Vec<f32>,
    /// `[output]`.
    pub bias: Vec<f32>,
    /// Layer normalization after it, if any.
    pub norm: Option<Norm>,
}

/// A layer normalization.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// `[output]`.
    pub gain: Vec<f32>,
    /// `[output]`.
    pub shift: Vec<f32>,
    /// Whether it follows the activation, as in Flax's networks of that kind; else it
    /// stands before.
    pub after: bool,
    /// What is added to the variance.
    pub eps: f32,
}

impl Norm {
    /// Of this gain and shift, before the activation, with PyTorch's epsilon.
    pub fn new(gain: Vec<f32>, shift: Vec<f32>) -> Self {
        Self {
            gain,
            shift,
            after: false,
            eps: LAYER_NORM_EPS,
        }
    }

    fn apply(&self, rows: &mut [f32]) {
        layer_norm(&self.gain, &self.shift, self.eps, rows);
    }
}

impl Linear {
    /// Width of the input.
    pub fn input(&self) -> usize {
        self.weight.len() / self.bias.len().max(1)
    }

    /// Width of the output.
    pub fn output(&self) -> usize {
        self.bias.len()
    }
}

/// Another number of parameters than a shape has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got} parameters, expected the {} of {shape:?}", shape.parameters())]
pub struct ParamsError {
    /// Parameters given.
    pub got: usize,
    /// The shape.
    pub shape: MlpShape,
}

/// What the layers of a [`RowMlp`] hand to each other, kept between passes.
#[derive(Clone, Debug, Default)]
pub struct RowWork {
    current: Vec<f32>,
    next: Vec<f32>,
    entering: Vec<f32>,
}

/// A plain network whose rows do not know of each other: for rollouts, data
/// collection and deployment. The same row gives the same bits whatever surrounds
/// it, on every machine.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMlp {
    /// Layers from input to output; never empty.
    pub layers: Vec<Linear>,
    /// After every layer but the last.
    pub hidden: Activation,
    /// After the last layer.
    pub output: Activation,
    /// Normalization of the input, if any.
    pub input_norm: Option<Norm>,
}

impl RowMlp {
    /// The network of flat parameters laid out as `shape` says.
    ///
    /// # Errors
    /// If the number of parameters differs.
    pub fn from_params(shape: &MlpShape, params: &[f32]) -> Result<Self, ParamsError> {
        if params.len() != shape.parameters() {
            return Err(ParamsError {
                got: params.len(),
                shape: shape.clone(),
            });
        }
        let norm = |(gain, shift): (Range<usize>, Range<usize>), after| Norm {
            gain: params[gain].to_vec(),
            shift: params[shift].to_vec(),
            after,
            eps: shape.norm_eps().value(),
        };
        let after = shape.normalization() == Normalization::After;
        let layers = shape.layers().map(|l| Linear {
            weight: params[l.weight].to_vec(),
            bias: params[l.bias].to_vec(),
            norm: l.norm.map(|ranges| norm(ranges, after)),
        });
        Ok(Self {
            layers: layers.collect(),
            hidden: match shape.activation() {
                spar_kernels::Activation::Relu => Activation::Relu,
                spar_kernels::Activation::Gelu => Activation::Gelu,
                spar_kernels::Activation::Mish => Activation::Mish,
                spar_kernels::Activation::Silu => Activation::Silu,
            },
            output: match shape.head() {
                Head::Linear => Activation::Identity,
                Head::Tanh => Activation::Tanh,
            },
            input_norm: shape.input_norm().map(|ranges| norm(ranges, false)),
        })
    }

    /// Sizes and flat parameters: the inverse of [`Self::from_params`]. `None`
    /// for a network no [`MlpShape`] describes: with another activation, normalized in
    /// a part of its hidden layers or in different ways, or too large.
    pub fn to_params(&self) -> Option<(MlpShape, Vec<f32>)> {
        let (last, hidden) = self.layers.split_last()?;
        // Whether it follows the activation, of hidden layers that are all alike.
        let after = |layer: &Linear| layer.norm.as_ref().map(|norm| norm.after);
        let normalized = hidden.first().and_then(after);
        let uniform = hidden.iter().all(|layer| after(layer) == normalized);
        if !uniform || last.norm.is_some() {
            return None;
        }
        let norms = hidden.iter().filter_map(|layer| layer.norm.as_ref());
        let mut norms = norms.chain(&self.input_norm).map(|norm| norm.eps);
        let eps = norms.next().unwrap_or(LAYER_NORM_EPS);
        let known = [NormEps::Torch, NormEps::Flax];
        let eps = known.into_iter().find(|known| known.value() == eps)?;
        if norms.any(|other| other != eps.value()) {
            return None;
        }
        let widths: Vec<usize> = hidden.iter().map(Linear::output).collect();
        let shape = MlpShape::relu(self.input_dim(), widths, last.output()).ok()?;
        let shape = shape
            .with_normalization(match normalized {
                None => Normalization::None,
                Some(false) => Normalization::Before,
                Some(true) => Normalization::After,
            })
            .with_input_norm(self.input_norm.is_some())
            .with_norm_eps(eps)
            .with_activation(match self.hidden {
                Activation::Relu => spar_kernels::Activation::Relu,
                Activation::Gelu => spar_kernels::Activation::Gelu,
                Activation::Mish => spar_kernels::Activation::Mish,
                Activation::Silu => spar_kernels::Activation::Silu,
                _ => return None,
            })
            .with_head(match self.output {
                Activation::Identity => Head::Linear,
                Activation::Tanh => Head::Tanh,
                _ => return None,
            });
        let mut params = Vec::with_capacity(shape.parameters());
        let add_norm = |norm: &Option<Norm>, params: &mut Vec<f32>| {
            if let Some(Norm { gain, shift, .. }) = norm {
                params.extend_from_slice(gain);
                params.extend_from_slice(shift);
            }
        };
        add_norm(&self.input_norm, &mut params);
        for layer in &self.layers {
            params.extend_from_slice(&layer.weight);
            params.extend_from_slice(&layer.bias);
            add_norm(&layer.norm, &mut params);
        }
        Some((shape, params))
    }

    /// Width of an input row.
    pub fn input_dim(&self) -> usize {
        self.layers.first().map_or(0, Linear::input)
    }

    /// Width of an output row.
    pub fn output_dim(&self) -> usize {
        self.layers.last().map_or(0, Linear::output)
    }

    /// The output for each row of `x`, `[rows, input_dim]`, into `out`,
    /// `[rows, output_dim]`. Allocates nothing once `work` has seen as many rows.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn rows(&self, x: &[f32], work: &mut RowWork, out: &mut [f32]) {
        let rows = out.len() / self.output_dim();
        assert_eq!(out.len(), rows * self.output_dim(), "output rows");
        assert_eq!(x.len(), rows * self.input_dim(), "input rows");
        let RowWork {
            current,
            next,
            entering,
        } = work;
        let x = match &self.input_norm {
            None => x,
            Some(norm) => {
                entering.clear();
                entering.extend_from_slice(x);
                norm.apply(entering);
                &entering[..]
            }
        };
        let last = self.layers.len() - 1;
        for (i, layer) in self.layers.iter().enumerate() {
            let input = if i == 0 { x } else { &current[..] };
            let output = if i == last {
                &mut *out
            } else {
                next.resize(rows * layer.output(), 0.0);
                &mut next[..]
            };
            affine(&layer.weight, &layer.bias, input, output);
            let activation = if i == last { self.output } else { self.hidden };
            match &layer.norm {
                Some(norm) if norm.after => {
                    activation.apply(output);
                    norm.apply(output);
                }
                Some(norm) => {
                    norm.apply(output);
                    activation.apply(output);
                }
                None => activation.apply(output),
            }
            std::mem::swap(current, next);
        }
        // Each buffer holds the same layers in every pass, and has their size from the first.
        if self.layers.len() % 2 == 1 {
            std::mem::swap(current, next);
        }
    }
}
