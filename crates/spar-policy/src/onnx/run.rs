//! Graphs that are no chain of plain layers, run by tract.

use std::fmt;

use spar_core::Stream;
use tract_onnx::{pb::ModelProto, prelude::*};

use super::model::{Ends, short};

/// Most numbers of all values of a graph together, its constants among them: of 512 MiB.
const NUMBERS: usize = 1 << 27;

/// An ONNX graph as a policy: its actions are the graph's, whatever units those have; only
/// as the base of another policy are they clipped to `[-1, 1]`.
///
/// It is run one observation at a time, so that an action depends on its observation alone.
/// Its numbers are those of tract's kernels on this machine: on another one they may differ
/// by rounding.
#[derive(Clone)]
pub struct GraphPolicy {
    bytes: Arc<[u8]>,
    plan: Arc<TypedRunnableModel>,
    shape: Vec<usize>,
    act_dim: usize,
}

impl GraphPolicy {
    /// The graph of `model`, which was read from `bytes`.
    pub(super) fn new(bytes: &[u8], model: &ModelProto, ends: &Ends) -> Result<Self, String> {
        let told = |e: TractError| format!("is an ONNX model that cannot be run: {}", short(&e));
        let fact = InferenceFact::dt_shape(f32::datum_type(), &ends.shape[..]);
        let model = tract_onnx::onnx()
            .with_ignore_output_shapes(true)
            .with_ignore_value_info(true)
            .model_for_proto_model(model)
            .and_then(|model| model.with_input_fact(0, fact))
            .and_then(|model| model.into_typed())
            .map_err(told)?;
        let mut numbers = 0usize;
        for fact in model.nodes().iter().flat_map(|node| &node.outputs) {
            let shape = fact.fact.shape.as_concrete();
            let shape = shape.ok_or("is an ONNX model with values of sizes that are not known")?;
            let volume = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
            numbers = numbers.saturating_add(volume.unwrap_or(usize::MAX));
        }
        if numbers > NUMBERS {
            return Err(format!(
                "is an ONNX model whose values have {numbers} numbers, expected at most {NUMBERS}"
            ));
        }
        let plan = model
            .into_optimized()
            .and_then(|model| model.into_runnable())
            .map_err(told)?;
        let mut policy = Self {
            bytes: bytes.into(),
            plan,
            shape: ends.shape.clone(),
            act_dim: 0,
        };
        let action = policy.run(&vec![0.0; ends.width()]).map_err(told)?;
        policy.act_dim = match action.shape() {
            &[width] | &[1, width] if width > 0 && action.datum_type() == f32::datum_type() => {
                width
            }
            shape => {
                return Err(format!(
                    "is an ONNX model whose output `{}` is {shape:?} of {:?} for one observation, \
                     expected [1, width] in single precision",
                    short(&ends.output),
                    action.datum_type()
                ));
            }
        };
        Ok(policy)
    }

    /// The model it was read from, which is its place in a policy file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }

    fn run(&self, obs: &[f32]) -> Result<Tensor, TractError> {
        let input = Tensor::from_shape(&self.shape, obs)?;
        let mut outputs = self.plan.run(tvec!(input.into()))?;
        Ok(outputs.remove(0).into_tensor())
    }
}

impl fmt::Debug for GraphPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphPolicy")
            .field("bytes", &self.bytes.len())
            .field("obs_dim", &self.width())
            .field("act_dim", &self.act_dim)
            .finish_non_exhaustive()
    }
}

impl PartialEq for GraphPolicy {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl spar_core::Policy for GraphPolicy {
    fn obs_dim(&self) -> usize {
        self.width()
    }

    fn act_dim(&self) -> usize {
        self.act_dim
    }

    fn act(&self, obs: &[f32], _streams: &mut [Stream], actions: &mut [f32]) {
        let rows = obs.chunks_exact(self.width());
        for (obs, action) in rows.zip(actions.chunks_exact_mut(self.act_dim)) {
            let run = self.run(obs);
            let found = run.as_ref().ok().and_then(|found| {
                let values = found.to_plain_array_view::<f32>().ok()?;
                Some(values.iter().copied().collect::<Vec<f32>>())
            });
            match found {
                Some(found) if found.len() == action.len() => action.copy_from_slice(&found),
                // What cannot be computed is no action, and whoever acts is told so.
                _ => action.fill(f32::NAN),
            }
        }
    }
}
