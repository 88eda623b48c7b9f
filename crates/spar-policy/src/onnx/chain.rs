//! Chains of plain layers as networks of ours: what PyTorch, Stable-Baselines3, CleanRL and
//! d3rlpy export of a deterministic actor, and this program of its own.
//!
//! `(obs - mean) / std`, layers of Gemm or MatMul and Add with one activation between them,
//! tanh or nothing at the end, then `scale x + shift` and a clip to `[-1, 1]`, each where
//! present and in this order; its actions lie in `[-1, 1]`, as those of our networks do. What
//! is anything else is no chain.

use std::collections::BTreeMap;

use spar_core::Normalizer;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::model::{Ends, FLOAT};
use crate::{
    file::transpose,
    plain::PlainPolicy,
    rows::{Activation, Linear, RowMlp},
};

/// A constant of single precision.
struct Constant {
    dims: Vec<usize>,
    values: Vec<f32>,
}

/// What of a chain was passed.
#[derive(Default)]
struct Chain {
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    /// Each with what follows it.
    layers: Vec<(Linear, Option<Activation>)>,
    /// Whether the last layer has its bias.
    biased: bool,
    scale: Option<Vec<f32>>,
    shift: Option<Vec<f32>>,
    clipped: bool,
}

/// The policy that `graph` is, if it is a chain.
pub(super) fn policy(graph: &GraphProto, ends: &Ends) -> Option<PlainPolicy> {
    let mut constants = BTreeMap::new();
    let held = graph
        .initializer
        .iter()
        .map(|tensor| (&tensor.name, tensor));
    let made = graph.node.iter().filter_map(|node| {
        let value = node.attribute.iter().find(|held| held.name == "value")?;
        Some((node.output.first()?, value.t.as_ref()?))
    });
    for (name, tensor) in held.chain(made) {
        if let Some(constant) = Constant::of(tensor) {
            constants.insert(name.as_str(), constant);
        }
    }
    let mut chain = Chain::default();
    let mut value = ends.input.as_str();
    for _ in 0..=graph.node.len() {
        if value == ends.output {
            return chain.policy(ends.width());
        }
        let mut users = graph
            .node
            .iter()
            .filter(|n| n.input.iter().any(|i| i == value));
        let (Some(node), None) = (users.next(), users.next()) else {
            return None;
        };
        chain.pass(node, value, &constants)?;
        value = node.output.first()?;
    }
    None
}

impl Constant {
    fn of(tensor: &TensorProto) -> Option<Self> {
        let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok());
        let dims: Vec<usize> = dims.collect::<Option<_>>()?;
        let values = match tensor.raw_data.is_empty() {
            true => tensor.float_data.clone(),
            false => {
                let (words, rest) = tensor.raw_data.as_chunks::<4>();
                if !rest.is_empty() {
                    return None;
                }
                words.iter().map(|word| f32::from_le_bytes(*word)).collect()
            }
        };
        let fits = dims.iter().product::<usize>() == values.len();
        let sound = tensor.data_type == FLOAT && values.iter().all(|x| x.is_finite());
        (fits && sound).then_some(Self { dims, values })
    }

    /// One number for each of `width`, where it is a row or the same for all.
    fn row(&self, width: usize) -> Option<Vec<f32>> {
        match self.values[..] {
            [only] => Some(vec![only; width]),
            _ => (self.values.len() == width && self.dims.last() == Some(&width))
                .then(|| self.values.clone()),
        }
    }

    /// Its value, if it is one.
    fn scalar(&self) -> Option<f32> {
        match self.values[..] {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl Chain {
    /// Takes one node, which is given `value`; `None` where it does not belong there.
    fn pass(
        &mut self,
        node: &NodeProto,
        value: &str,
        constants: &BTreeMap<&str, Constant>,
    ) -> Option<()> {
        let first = node.input.first().is_some_and(|input| input == value);
        let constant = |at: usize| constants.get(node.input.get(at)?.as_str());
        let other = || constant(usize::from(first));
        let attribute = |name: &str| node.attribute.iter().find(|held| held.name == name);
        let ended = self.scale.is_some() || self.shift.is_some() || self.clipped;
        let begun = !self.layers.is_empty();
        let width = self.layers.last().map(|(layer, _)| layer.output());
        let activation = match node.op_type.as_str() {
            "Identity" => return Some(()),
            "Flatten" => {
                let axis = attribute("axis").map_or(1, |held| held.i);
                return (axis == 1).then_some(());
            }
            "Sub" if first && !begun && self.mean.is_none() && self.std.is_none() => {
                self.mean = Some(other()?.values.clone());
                return Some(());
            }
            "Div" if first && !begun && self.std.is_none() => {
                self.std = Some(other()?.values.clone());
                return Some(());
            }
            "Gemm" | "MatMul" if first && !ended => {
                return self.layer(node, constant(1)?, constant(2));
            }
            "Add" if begun && !ended && !self.biased && self.layers.last()?.1.is_none() => {
                let bias = other()?.row(width?)?;
                self.layers.last_mut()?.0.bias = bias;
                self.biased = true;
                return Some(());
            }
            "Mul" if begun && !ended => {
                self.scale = Some(other()?.row(width?)?);
                return Some(());
            }
            "Add" if begun && self.shift.is_none() && !self.clipped => {
                self.shift = Some(other()?.row(width?)?);
                return Some(());
            }
            "Clip" if begun && !self.clipped => {
                let bound = |name: &str, at: usize| match attribute(name) {
                    Some(held) => Some(held.f),
                    None => constant(at)?.scalar(),
                };
                self.clipped = bound("min", 1)? == -1.0 && bound("max", 2)? == 1.0;
                return self.clipped.then_some(());
            }
            "Relu" => Activation::Relu,
            "Tanh" => Activation::Tanh,
            "Mish" => Activation::Mish,
            "LeakyRelu" => {
                let slope = attribute("alpha").map_or(0.01, |held| held.f);
                Activation::LeakyRelu(slope)
            }
            "Gelu" => {
                let way = attribute("approximate")?;
                (way.s == b"tanh").then_some(Activation::Gelu)?
            }
            _ => return None,
        };
        let last = self
            .layers
            .last_mut()
            .filter(|(_, after)| after.is_none() && !ended)?;
        last.1 = Some(activation);
        Some(())
    }

    fn layer(
        &mut self,
        node: &NodeProto,
        weight: &Constant,
        bias: Option<&Constant>,
    ) -> Option<()> {
        // Without an activation before it, it is no layer of its own.
        if self.layers.last().is_some_and(|(_, after)| after.is_none()) {
            return None;
        }
        let &[rows, columns] = &weight.dims[..] else {
            return None;
        };
        let number = |name: &str| node.attribute.iter().find(|held| held.name == name);
        let gemm = node.op_type == "Gemm";
        let flag = |name: &str| number(name).is_some_and(|held| held.i != 0);
        let one = |name: &str| number(name).is_none_or(|held| held.f == 1.0);
        if gemm && (flag("transA") || !one("alpha") || !one("beta")) {
            return None;
        }
        let turned = gemm && flag("transB");
        let output = if turned { rows } else { columns };
        let bias_there = gemm && node.input.get(2).is_some_and(|name| !name.is_empty());
        let bias = match bias_there {
            true => bias?.row(output)?,
            false => vec![0.0; output],
        };
        self.biased = gemm;
        let weight = match turned {
            true => transpose(&weight.values, rows, columns),
            false => weight.values.clone(),
        };
        let layer = Linear {
            weight,
            bias,
            norm: None,
        };
        self.layers.push((layer, None));
        Some(())
    }

    fn policy(self, obs_dim: usize) -> Option<PlainPolicy> {
        let row = |values: Option<Vec<f32>>, usual: f32| match values {
            None => Some(vec![usual; obs_dim]),
            Some(values) if values.len() == obs_dim => Some(values),
            Some(values) => (values.len() == 1).then(|| vec![values[0]; obs_dim]),
        };
        let normalizer = Normalizer {
            mean: row(self.mean, 0.0)?,
            std: row(self.std, 1.0)?,
        };
        let ((last, after), hidden) = self.layers.split_last()?;
        let activation = match hidden.first() {
            None => Activation::Relu,
            Some((_, after)) => (*after)?,
        };
        if hidden.iter().any(|(_, after)| *after != Some(activation)) {
            return None;
        }
        let output = match after {
            None => Activation::Identity,
            Some(Activation::Tanh) => Activation::Tanh,
            Some(_) => return None,
        };
        let act_dim = last.output();
        let affine = match (self.scale, self.shift) {
            (None, None) => None,
            (scale, shift) => Some((
                scale.unwrap_or_else(|| vec![1.0; act_dim]),
                shift.unwrap_or_else(|| vec![0.0; act_dim]),
            )),
        };
        // A network of ours clips its actions.
        let within = |(scale, shift): &(Vec<f32>, Vec<f32>)| {
            let mut parts = scale.iter().zip(shift);
            parts.all(|(scale, shift)| scale.abs() + shift.abs() <= 1.0)
        };
        let bounded = output == Activation::Tanh && affine.as_ref().is_none_or(within);
        if !self.clipped && !bounded {
            return None;
        }
        let layers: Vec<Linear> = self.layers.into_iter().map(|(layer, _)| layer).collect();
        let mut width = obs_dim;
        for layer in &layers {
            if layer.output() == 0 || layer.weight.len() != width * layer.output() {
                return None;
            }
            width = layer.output();
        }
        Some(PlainPolicy {
            normalizer,
            net: RowMlp {
                layers,
                hidden: activation,
                output,
                input_norm: None,
            },
            affine,
        })
    }
}
