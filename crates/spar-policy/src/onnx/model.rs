//! ONNX models of other programs as policies: what one takes and gives, and whether it may
//! be run at all.
//!
//! A chain of plain layers becomes a network of ours ([`chain`]), which acts by our kernels
//! and is written to policy files as such; any other graph is run as it is ([`GraphPolicy`]).
//! A model is a program of somebody else: it may hold the operators of networks alone, none
//! that makes much of little, and no constant that lies in another file.

use std::{
    collections::BTreeSet,
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tract_onnx::{
    pb::{
        GraphProto, TensorProto, ValueInfoProto, tensor_shape_proto::dimension::Value, type_proto,
    },
    prelude::Framework,
};

use super::{INPUT, OUTPUT, chain, run::GraphPolicy};
use crate::{
    error::PolicyError,
    file::some,
    policy::{Networks, Policy},
};

/// Most nodes of a graph.
const NODES: usize = 4096;
/// `TensorProto.DataType.FLOAT`.
pub(super) const FLOAT: i32 = 1;
/// Outputs that are actions, where there are others.
const ACTIONS: [&str; 3] = [OUTPUT, "actions", "output"];
/// Operators of networks: none makes a value that is much larger than what goes into it but
/// by the sizes of both, which are known before anything is computed.
const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "Cast",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "Cos",
    "Div",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "Gather",
    "Gelu",
    "Gemm",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "MatMul",
    "Max",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "Pow",
    "Reciprocal",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Selu",
    "Sigmoid",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// What a model takes and gives.
pub(super) struct Ends {
    pub(super) input: String,
    /// The observation's shape with a batch of one.
    pub(super) shape: Vec<usize>,
    pub(super) output: String,
}

/// The policy of the ONNX model `bytes`.
///
/// # Errors
/// [`PolicyError::Content`] if they are none, or one that is not run.
pub(crate) fn policy(bytes: &[u8]) -> Result<Policy, PolicyError> {
    // What it believes of a model, the library asserts.
    let read = catch_unwind(AssertUnwindSafe(|| read(bytes)));
    let read = read.unwrap_or_else(|_| Err("is an ONNX model that cannot be run".to_owned()));
    read.map_err(PolicyError::Content)
}

fn read(bytes: &[u8]) -> Result<Policy, String> {
    let mut model = tract_onnx::onnx()
        .proto_model_for_read(&mut &*bytes)
        .map_err(|e| format!("is no ONNX model: {}", short(&e)))?;
    let graph = model
        .graph
        .as_mut()
        .ok_or("is an ONNX model without a graph")?;
    check(graph)?;
    let ends = Ends::of(graph)?;
    if let Some(plain) = chain::policy(graph, &ends) {
        let policy = Policy::new(Networks::Plain(plain), None, None);
        // What has no place in a policy file could not be a base.
        let written = policy.to_bytes().and_then(|b| Policy::from_bytes(&b));
        if written.is_ok_and(|read| read == policy) {
            return Ok(policy);
        }
    }
    graph.output.retain(|output| output.name == ends.output);
    let graph = GraphPolicy::new(bytes, &model, &ends)?;
    Ok(Policy::new(Networks::Graph(graph), None, None))
}

/// The start of what an error says, on one line.
pub(super) fn short(error: &dyn Display) -> String {
    const LONGEST: usize = 200;
    let text = format!("{error:#}").replace(|c: char| c.is_control(), " ");
    text.chars().take(LONGEST).collect()
}

/// Refuses what is not run.
fn check(graph: &GraphProto) -> Result<(), String> {
    if graph.node.len() > NODES {
        return Err(format!(
            "is an ONNX model of {} operators, expected at most {NODES}",
            graph.node.len()
        ));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err("is an ONNX model with sparse constants, expected plain ones".to_owned());
    }
    graph.initializer.iter().try_for_each(constant)?;
    let constants: BTreeSet<&str> = names(&graph.initializer);
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let mut live: BTreeSet<&str> = inputs.filter(|name| !constants.contains(name)).collect();
    for node in &graph.node {
        let op = node.op_type.as_str();
        let ours = matches!(node.domain.as_str(), "" | "ai.onnx");
        if !ours || !OPERATORS.contains(&op) {
            return Err(format!(
                "is an ONNX model with the operator `{}`, which is not run; known are those of \
                 plain networks, as Gemm, Relu, Concat and LayerNormalization",
                short(&op)
            ));
        }
        let held = node.attribute.iter().filter_map(|held| held.t.as_ref());
        held.into_iter().try_for_each(constant)?;
        let given = node.input.iter().filter(|input| !input.is_empty());
        let given: Vec<&str> = given.map(String::as_str).collect();
        if given.iter().any(|input| live.contains(input)) {
            live.extend(node.output.iter().map(String::as_str));
        } else if given.len() > 1 && op != "Reshape" && op != "Unsqueeze" && op != "Squeeze" {
            return Err(format!(
                "is an ONNX model that computes `{op}` of constants alone; export it with its \
                 constants folded"
            ));
        }
    }
    Ok(())
}

/// Refuses a constant that is elsewhere, or not what its shape says.
fn constant(tensor: &TensorProto) -> Result<(), String> {
    if tensor.data_location.is_some_and(|place| place != 0) || !tensor.external_data.is_empty() {
        return Err(format!(
            "is an ONNX model whose constant `{}` is in another file; export it into one file",
            short(&tensor.name)
        ));
    }
    let count = tensor.dims.iter().try_fold(1usize, |count, &dim| {
        count.checked_mul(usize::try_from(dim).ok()?)
    });
    // Half a byte at least for each number.
    let held = tensor.raw_data.len()
        + 4 * (tensor.float_data.len() + tensor.int32_data.len())
        + 8 * (tensor.int64_data.len() + tensor.double_data.len() + tensor.uint64_data.len());
    if count.is_some_and(|count| count <= 2 * held) {
        return Ok(());
    }
    Err(format!(
        "is an ONNX model whose constant `{}` of shape {:?} has {held} bytes",
        short(&tensor.name),
        tensor.dims
    ))
}

fn names(tensors: &[TensorProto]) -> BTreeSet<&str> {
    tensors.iter().map(|tensor| tensor.name.as_str()).collect()
}

impl Ends {
    fn of(graph: &GraphProto) -> Result<Self, String> {
        let constants = names(&graph.initializer);
        let inputs = graph.input.iter();
        let inputs: Vec<&ValueInfoProto> = inputs
            .filter(|input| !constants.contains(input.name.as_str()))
            .collect();
        let [input] = inputs[..] else {
            let found: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(format!(
                "is an ONNX model of the inputs {}, expected one: `{INPUT}`, [rows, width]",
                some(&found)
            ));
        };
        let (kind, dims) = shape(input).unwrap_or((0, Vec::new()));
        let width = dims.last().copied().flatten();
        let shape = match (width, dims.len()) {
            (Some(width), 1) => vec![width],
            (Some(width), 2) => vec![1, width],
            _ => Vec::new(),
        };
        if kind != FLOAT || shape.is_empty() {
            return Err(format!(
                "is an ONNX model whose input `{}` has type {kind} and shape {dims:?}, expected \
                 single precision (1) and [rows, width] with the width given",
                short(&input.name)
            ));
        }
        let outputs: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
        let named = ACTIONS.into_iter().find(|name| outputs.contains(name));
        let output = match (&outputs[..], named) {
            ([only], _) => only,
            (_, Some(named)) => named,
            _ => {
                return Err(format!(
                    "is an ONNX model of the outputs {}, expected one, or one called `{OUTPUT}`",
                    some(&outputs)
                ));
            }
        };
        Ok(Self {
            input: input.name.clone(),
            shape,
            output: output.to_owned(),
        })
    }

    /// Width of an observation.
    pub(super) fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }
}

/// Type and sizes of a value, those that are given.
fn shape(value: &ValueInfoProto) -> Option<(i32, Vec<Option<usize>>)> {
    let type_proto::Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    let dims = tensor.shape.as_ref()?.dim.iter();
    let dims = dims.map(|dim| match dim.value {
        Some(Value::DimValue(size)) => usize::try_from(size).ok().filter(|&size| size > 0),
        _ => None,
    });
    Some((tensor.elem_type, dims.collect()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::num::NonZeroUsize;

    use spar_core::{DatasetIdentity, Normalizer, Origin, Stream};
    use spar_kernels::{Head, MlpShape};

    use super::*;
    use crate::{About, Conservatism, PlainPolicy, RectifiedPolicy, Residual, RowMlp};

    const OBS: usize = 11;
    const ACT: usize = 3;

    fn draw(name: &str, n: usize, spread: f32) -> Vec<f32> {
        let mut values = vec![0.0; n];
        Stream::new(7, name).fill_normal(spread, &mut values);
        values
    }

    fn net(name: &str, input: usize, output: usize) -> RowMlp {
        let shape = MlpShape::relu(input, [32, 24], output).unwrap();
        let shape = shape.with_head(Head::Tanh);
        RowMlp::from_params(&shape, &draw(name, shape.parameters(), 0.2)).unwrap()
    }

    fn mlp() -> Policy {
        let std = draw("std", OBS, 0.3);
        let plain = PlainPolicy {
            normalizer: Normalizer {
                mean: draw("mean", OBS, 1.0),
                std: std.iter().map(|x| 1.2 + x.abs()).collect(),
            },
            net: net("net", OBS, ACT),
            affine: None,
        };
        Policy::new(Networks::Plain(plain), None, None)
    }

    /// SPAR's policy around `base`, out of the file it is written to.
    fn around(base: Policy) -> Policy {
        let networks = Networks::Rectified(RectifiedPolicy {
            normalizer: Normalizer::identity(OBS),
            base: Box::new(base),
            residual: Residual {
                decoder: net("decoder", OBS + 2 * ACT, ACT),
                rho: 0.7,
                critics: Vec::new(),
                conservatism: Conservatism::Min,
                sigma_z: 1.0,
                best_of: NonZeroUsize::MIN,
            },
        });
        let about = About {
            method: "spar".to_owned(),
            env: Some("arm".to_owned()),
            task: "mine".to_owned(),
            dataset: DatasetIdentity {
                id: "mine".to_owned(),
                origin: Origin::User,
                sha256: "0".repeat(64),
                rows: 7,
            },
            seed: 0,
            updates: 1,
        };
        let policy = Policy::new(networks, Some(about), None);
        let read = Policy::from_bytes(&policy.to_bytes().unwrap()).unwrap();
        assert_eq!(read, policy);
        read
    }

    fn actions(policy: &Policy) -> Vec<f32> {
        let obs = draw("obs", 1000 * OBS, 2.0);
        let mut actions = vec![0.0; 1000 * ACT];
        let rows = obs.chunks(OBS).zip(actions.chunks_mut(ACT));
        rows.for_each(|(obs, action)| policy.act(obs, action));
        actions
    }

    #[track_caller]
    fn assert_near(got: &[f32], wanted: &[f32]) {
        let off = got.iter().zip(wanted).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0, f32::max);
        assert!(off <= 1e-6, "{off:e}");
        let spread = wanted.iter().fold(0.0f32, |most, a| most.max(a.abs()));
        assert!(spread > 0.5, "actions of a policy");
    }

    #[test]
    fn a_base_acts_the_same_as_file_as_onnx_and_by_tract() {
        let mlp = mlp();
        let model = mlp.to_onnx().unwrap();
        // The graph is a chain of layers, and those are the network again.
        let chain = policy(&model).unwrap();
        assert!(matches!(chain.networks(), Networks::Plain(_)));
        assert_eq!(actions(&chain), actions(&mlp));
        // The same, run as the graph it is.
        let parsed = tract_onnx::onnx()
            .proto_model_for_read(&mut &*model)
            .unwrap();
        let ends = Ends::of(parsed.graph.as_ref().unwrap()).unwrap();
        let graph = Networks::Graph(GraphPolicy::new(&model, &parsed, &ends).unwrap());
        let graph = Policy::new(graph, None, None);
        assert_near(&actions(&graph), &actions(&mlp));

        let combined = actions(&around(mlp));
        assert_eq!(actions(&around(chain)), combined);
        // Its file holds the model, which is read as a network again.
        assert_near(&actions(&around_graph(graph)), &combined);
    }

    /// [`around`] of a graph that is run, which is a chain where it is read again.
    fn around_graph(base: Policy) -> Policy {
        let read = around_bytes(&base);
        assert_eq!(read, base.to_bytes().unwrap());
        let Networks::Rectified(mut policy) = around(mlp()).networks().clone() else {
            panic!("another kind");
        };
        policy.base = Box::new(base);
        Policy::new(Networks::Rectified(policy), None, None)
    }

    fn around_bytes(base: &Policy) -> Vec<u8> {
        let Networks::Graph(graph) = base.networks() else {
            panic!("another kind");
        };
        graph.bytes().to_vec()
    }

    /// SPAR's own graph is no chain: it is run as it is, also as the base of another.
    #[test]
    fn a_graph_that_is_no_chain_is_a_base_within_the_file() {
        let spar = around(mlp());
        let model = spar.to_onnx().unwrap();
        let graph = policy(&model).unwrap();
        assert!(matches!(graph.networks(), Networks::Graph(_)));
        assert!(!graph.draws());
        assert_near(&actions(&graph), &actions(&spar));
        let outer = around(graph);
        assert_near(&actions(&outer), &actions(&around(spar)));
        let why = outer.to_onnx().unwrap_err().to_string();
        assert!(why.contains("by an ONNX graph already"), "{why}");
    }

    #[test]
    fn an_action_of_a_graph_depends_on_its_observation_alone() {
        let graph = policy(&around(mlp()).to_onnx().unwrap()).unwrap();
        let obs = draw("obs", 70 * OBS, 2.0);
        let mut together = vec![0.0; 70 * ACT];
        graph.base_actions(&obs, &mut together);
        for (obs, wanted) in obs.chunks(OBS).zip(together.chunks(ACT)) {
            let mut action = [0.0; ACT];
            graph.act(obs, &mut action);
            assert_eq!(action, wanted);
        }
    }
}
