//! The few messages of ONNX that a policy needs (`onnx.proto3`), node by node.

use spar_core::protobuf::Message;

use crate::rows::{Activation, Linear, Norm};

/// The operator set: the first that has layer normalization.
const OPERATORS: u64 = 17;

/// The version of the format that came with it.
const IR_VERSION: u64 = 8;

/// `TensorProto.DataType.FLOAT`.
const FLOAT: u64 = 1;

/// `AttributeProto.AttributeType`.
const ATTRIBUTE_FLOAT: u64 = 1;
const ATTRIBUTE_INT: u64 = 2;

/// The name of a value.
#[derive(Clone)]
pub(super) struct Node(String);

/// A graph under construction.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
}

impl Graph {
    /// The value that is given.
    pub(super) fn input(&self, name: &str) -> Node {
        Node(name.to_owned())
    }

    /// Names `value` as the result.
    pub(super) fn output(&mut self, value: &Node, name: &str) {
        let node = Message::new()
            .text(1, &value.0)
            .text(2, name)
            .text(4, "Identity");
        self.nodes.push(node);
    }

    fn op(&mut self, op: &str, inputs: &[&Node], attributes: &[Message]) -> Node {
        let output = format!("{}_{}", op.to_lowercase(), self.nodes.len());
        let mut node = Message::new();
        for input in inputs {
            node = node.text(1, &input.0);
        }
        node = node.text(2, &output).text(3, &output).text(4, op);
        for attribute in attributes {
            node = node.message(5, attribute);
        }
        self.nodes.push(node);
        Node(output)
    }

    fn constant(&mut self, shape: &[usize], values: &[f32]) -> Node {
        let name = format!("constant_{}", self.constants.len());
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut tensor = Message::new();
        for &width in shape {
            tensor = tensor.int(1, width as u64);
        }
        let tensor = tensor.int(2, FLOAT).text(8, &name).bytes(9, &bytes);
        self.constants.push(tensor);
        Node(name)
    }

    /// `x op row` for every row of `x`.
    pub(super) fn with_row(&mut self, op: &str, x: &Node, row: &[f32]) -> Node {
        let row = self.constant(&[row.len()], row);
        self.op(op, &[x, &row], &[])
    }

    /// `factor x`.
    pub(super) fn scaled(&mut self, x: &Node, factor: f32) -> Node {
        let factor = self.constant(&[], &[factor]);
        self.op("Mul", &[x, &factor], &[])
    }

    fn plus(&mut self, x: &Node, number: f32) -> Node {
        let number = self.constant(&[], &[number]);
        self.op("Add", &[x, &number], &[])
    }

    pub(super) fn sum(&mut self, x: &Node, y: &Node) -> Node {
        self.op("Add", &[x, y], &[])
    }

    fn product(&mut self, x: &Node, y: &Node) -> Node {
        self.op("Mul", &[x, y], &[])
    }

    /// `[x, y]`, row by row.
    pub(super) fn beside(&mut self, x: &Node, y: &Node) -> Node {
        let axis = Message::new().text(1, "axis").int(3, 1);
        self.op("Concat", &[x, y], &[axis.int(20, ATTRIBUTE_INT)])
    }

    pub(super) fn clip(&mut self, x: &Node, low: f32, high: f32) -> Node {
        let (low, high) = (self.constant(&[], &[low]), self.constant(&[], &[high]));
        self.op("Clip", &[x, &low, &high], &[])
    }

    pub(super) fn affine(&mut self, x: &Node, layer: &Linear) -> Node {
        let weight = self.constant(&[layer.input(), layer.output()], &layer.weight);
        let bias = self.constant(&[layer.output()], &layer.bias);
        self.op("Gemm", &[x, &weight, &bias], &[])
    }

    pub(super) fn layer_norm(&mut self, x: &Node, norm: &Norm) -> Node {
        let gain = self.constant(&[norm.gain.len()], &norm.gain);
        let shift = self.constant(&[norm.shift.len()], &norm.shift);
        let epsilon = float_attribute("epsilon", norm.eps);
        self.op("LayerNormalization", &[x, &gain, &shift], &[epsilon])
    }

    pub(super) fn activation(&mut self, x: &Node, activation: Activation) -> Node {
        match activation {
            Activation::Identity => x.clone(),
            Activation::Relu => self.op("Relu", &[x], &[]),
            Activation::Tanh => self.op("Tanh", &[x], &[]),
            Activation::LeakyRelu(slope) => {
                self.op("LeakyRelu", &[x], &[float_attribute("alpha", slope)])
            }
            Activation::Silu => {
                let gate = self.op("Sigmoid", &[x], &[]);
                self.product(x, &gate)
            }
            // Operators of their own only from sets 18 and 20 on; these are their definitions.
            Activation::Mish => {
                let soft = self.op("Softplus", &[x], &[]);
                let gate = self.op("Tanh", &[&soft], &[]);
                self.product(x, &gate)
            }
            Activation::Gelu => {
                let square = self.product(x, x);
                let cube = self.product(&square, x);
                let cube = self.scaled(&cube, 0.044_715);
                let inner = self.sum(x, &cube);
                let inner = self.scaled(&inner, (2.0 / std::f32::consts::PI).sqrt());
                let tanh = self.op("Tanh", &[&inner], &[]);
                let gate = self.plus(&tanh, 1.0);
                let half = self.scaled(x, 0.5);
                self.product(&half, &gate)
            }
        }
    }

    /// The bytes of the model, which says of itself what `said` has.
    pub(super) fn model<'a>(
        self,
        obs_dim: usize,
        act_dim: usize,
        said: impl Iterator<Item = (&'a str, String)>,
    ) -> Vec<u8> {
        let mut graph = Message::new();
        for node in &self.nodes {
            graph = graph.message(1, node);
        }
        graph = graph.text(2, "policy");
        for constant in &self.constants {
            graph = graph.message(5, constant);
        }
        graph = graph
            .message(11, &rows(super::INPUT, obs_dim))
            .message(12, &rows(super::OUTPUT, act_dim));
        let operators = Message::new().text(1, "").int(2, OPERATORS);
        let mut model = Message::new()
            .int(1, IR_VERSION)
            .text(2, "spar")
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(7, &graph)
            .message(8, &operators);
        for (key, value) in said {
            let entry = Message::new().text(1, key).text(2, &value);
            model = model.message(14, &entry);
        }
        model.into_bytes()
    }
}

fn float_attribute(name: &str, value: f32) -> Message {
    let attribute = Message::new().text(1, name).float(2, value);
    attribute.int(20, ATTRIBUTE_FLOAT)
}

/// `ValueInfoProto` of any number of rows of `width` numbers.
fn rows(name: &str, width: usize) -> Message {
    let any = Message::new().text(2, "rows");
    let width = Message::new().int(1, width as u64);
    let shape = Message::new().message(1, &any).message(1, &width);
    let tensor = Message::new().int(1, FLOAT).message(2, &shape);
    let kind = Message::new().message(1, &tensor);
    Message::new().text(1, name).message(2, &kind)
}
