//! A policy as an ONNX graph, for a machine whose programs run such graphs.
//!
//! The graph is everything between an observation and an action in the units of the data:
//! normalizer, networks, clipping, bounds. Its sums may be taken in another order than
//! [`Policy::act`] takes them, so its actions are equal up to rounding, not to the bit. A
//! policy that draws has no such graph: what it draws is not part of one.
//!
//! With the feature `onnx` such a graph, also of another program, is read as a policy.

#[cfg(feature = "onnx")]
mod chain;
mod graph;
#[cfg(feature = "onnx")]
mod model;
#[cfg(feature = "onnx")]
mod run;

use std::num::NonZeroUsize;

use spar_core::{ActionBounds, Normalizer};

use crate::{
    anchored::{Residual, SparPolicy},
    error::PolicyError,
    latent::{Latent, LatentPolicy},
    plain::PlainPolicy,
    policy::{Networks, Policy},
    rows::RowMlp,
};
use graph::{Graph, Node};
#[cfg(feature = "onnx")]
pub use run::GraphPolicy;

/// The name of the input, `[rows, obs_dim]` in single precision.
pub const INPUT: &str = "obs";

/// The name of the output, `[rows, act_dim]` in single precision.
pub const OUTPUT: &str = "action";

/// Whether `bytes` begin as an ONNX model does: with the version of its format, where a
/// safetensors file has the length of its header and then an object.
pub(crate) fn is_model(bytes: &[u8]) -> bool {
    bytes.first() == Some(&8) && bytes.get(8).is_some_and(|&byte| byte != b'{')
}

/// The policy of the ONNX model `bytes`.
///
/// # Errors
/// [`PolicyError::Content`] if they are none, or one that is not run.
#[cfg(feature = "onnx")]
pub(crate) fn policy_of(bytes: &[u8]) -> Result<Policy, PolicyError> {
    model::policy(bytes)
}

#[cfg(not(feature = "onnx"))]
pub(crate) fn policy_of(_: &[u8]) -> Result<Policy, PolicyError> {
    Err(PolicyError::Content(
        "is an ONNX model, which is read with the feature `onnx` of spar-policy alone".to_owned(),
    ))
}

impl Policy {
    /// The policy as the bytes of an ONNX model (operator set 17, IR version 8): input
    /// [`INPUT`], output [`OUTPUT`], any number of rows. What a policy file says of itself
    /// is in the model's metadata.
    ///
    /// # Errors
    /// [`PolicyError::Content`], with the method's name, if the policy is not one
    /// deterministic graph: if its action, or what it is chosen among, is drawn; or if it
    /// stands on a graph of another program.
    pub fn to_onnx(&self) -> Result<Vec<u8>, PolicyError> {
        let mut graph = Graph::default();
        let obs = graph.input(INPUT);
        let action = self.acted(&mut graph, &obs)?;
        let action = match self.action_bounds() {
            Some(bounds) if !bounds.are_usual() => unscale(bounds, &mut graph, &action),
            _ => action,
        };
        graph.output(&action, OUTPUT);
        let said = self
            .about()
            .and_then(|about| serde_json::to_value(about).ok());
        let said = said.as_ref().and_then(serde_json::Value::as_object);
        let said = said.into_iter().flatten().map(|(key, value)| {
            let text = value.as_str().map(str::to_owned);
            (key.as_str(), text.unwrap_or_else(|| value.to_string()))
        });
        Ok(graph.model(self.obs_dim(), self.act_dim(), said))
    }

    /// The action in `[-1, 1]` for the observation `obs`.
    fn acted(&self, graph: &mut Graph, obs: &Node) -> Result<Node, PolicyError> {
        let action = match self.networks() {
            Networks::Spar(policy) => self.spar(policy, graph, obs)?,
            Networks::Plain(policy) => plain(policy, graph, obs),
            Networks::Latent(policy) => self.latent(policy, graph, obs)?,
            Networks::Sampled(policy) => return Err(self.draws_from(policy.actor.candidates)),
            #[cfg(feature = "onnx")]
            Networks::Graph(_) => {
                return Err(PolicyError::Content(
                    "acts by an ONNX graph already, which is not written anew; act with it by \
                     `spar act`"
                        .to_owned(),
                ));
            }
            Networks::Rectified(policy) => {
                let base = policy.base.acted(graph, obs)?;
                let s = normalized(&policy.normalizer, graph, obs);
                self.rectified(&policy.residual, graph, &s, &base)?
            }
        };
        Ok(graph.clip(&action, -1.0, 1.0))
    }

    fn spar(
        &self,
        policy: &SparPolicy,
        graph: &mut Graph,
        obs: &Node,
    ) -> Result<Node, PolicyError> {
        let s = normalized(&policy.normalizer, graph, obs);
        let base = network(&policy.anchor, graph, &s);
        match &policy.residual {
            None => Ok(base),
            Some(residual) => self.rectified(residual, graph, &s, &base),
        }
    }

    /// `base` and what `residual` adds to it in the normalized state `s`.
    fn rectified(
        &self,
        residual: &Residual,
        graph: &mut Graph,
        s: &Node,
        base: &Node,
    ) -> Result<Node, PolicyError> {
        if residual.best_of > NonZeroUsize::MIN {
            return Err(self.draws_from(residual.best_of));
        }
        let state = graph.beside(s, base);
        // The latent is zero: its weights add nothing.
        let decoder = first_inputs(&residual.decoder, self.obs_dim() + self.act_dim());
        let change = network(&decoder, graph, &state);
        let change = graph.scaled(&change, residual.rho);
        Ok(graph.sum(base, &change))
    }

    fn latent(
        &self,
        policy: &LatentPolicy,
        graph: &mut Graph,
        obs: &Node,
    ) -> Result<Node, PolicyError> {
        let actor = &policy.actor;
        let (net, bound) = match &actor.latent {
            Latent::Actor { net, bound } => (net, *bound),
            Latent::Best { candidates, .. } => return Err(self.draws_from(*candidates)),
        };
        let s = normalized(&policy.normalizer, graph, obs);
        let z = network(net, graph, &s);
        let z = graph.scaled(&z, bound);
        let state = graph.beside(&s, &z);
        let action = network(&actor.decoder, graph, &state);
        let action = match &actor.affine {
            None => action,
            Some(affine) => of_units(affine, graph, &action),
        };
        let Some((net, size)) = &actor.perturbation else {
            return Ok(action);
        };
        let state = graph.beside(&s, &action);
        let change = network(net, graph, &state);
        let change = graph.scaled(&change, *size);
        Ok(graph.sum(&action, &change))
    }

    /// That this policy has no graph.
    fn draws_from(&self, candidates: NonZeroUsize) -> PolicyError {
        let method = self.about().map_or("the policy", |about| &about.method);
        PolicyError::Content(format!(
            "{method} acts by {}, which is no deterministic graph; act with it by `spar act`, or \
             export a policy of a method that draws nothing",
            match candidates.get() {
                1 => "an action that is drawn".to_owned(),
                n => format!("one of {n} actions that are drawn"),
            }
        ))
    }
}

/// `scale x + shift`, component by component.
fn of_units((scale, shift): &(Vec<f32>, Vec<f32>), graph: &mut Graph, x: &Node) -> Node {
    let scaled = graph.with_row("Mul", x, scale);
    graph.with_row("Add", &scaled, shift)
}

fn plain(policy: &PlainPolicy, graph: &mut Graph, obs: &Node) -> Node {
    let s = normalized(&policy.normalizer, graph, obs);
    let action = network(&policy.net, graph, &s);
    match &policy.affine {
        None => action,
        Some(affine) => of_units(affine, graph, &action),
    }
}

fn normalized(normalizer: &Normalizer, graph: &mut Graph, obs: &Node) -> Node {
    let centred = graph.with_row("Sub", obs, &normalizer.mean);
    graph.with_row("Div", &centred, &normalizer.std)
}

/// Scales from `[-1, 1]` to `bounds`, as [`ActionBounds::unscale`] does.
fn unscale(bounds: &ActionBounds, graph: &mut Graph, action: &Node) -> Node {
    let row = |of: fn(f32, f32) -> f32| -> Vec<f32> {
        let components = bounds.components().iter();
        components.map(|&(low, high)| of(low, high)).collect()
    };
    let scaled = graph.with_row("Mul", action, &row(|low, high| high / 2.0 - low / 2.0));
    let moved = graph.with_row("Add", &scaled, &row(|low, high| high / 2.0 + low / 2.0));
    let moved = graph.with_row("Max", &moved, &row(|low, _| low));
    graph.with_row("Min", &moved, &row(|_, high| high))
}

fn network(net: &RowMlp, graph: &mut Graph, input: &Node) -> Node {
    let last = net.layers.len() - 1;
    let input = match &net.input_norm {
        None => input.clone(),
        Some(norm) => graph.layer_norm(input, norm),
    };
    let layers = net.layers.iter().enumerate();
    layers.fold(input, |x, (i, layer)| {
        let x = graph.affine(&x, layer);
        let activation = if i == last { net.output } else { net.hidden };
        match &layer.norm {
            None => graph.activation(&x, activation),
            Some(norm) if norm.after => {
                let x = graph.activation(&x, activation);
                graph.layer_norm(&x, norm)
            }
            Some(norm) => {
                let x = graph.layer_norm(&x, norm);
                graph.activation(&x, activation)
            }
        }
    })
}

/// `net` of its first inputs, the others being zero.
fn first_inputs(net: &RowMlp, inputs: usize) -> RowMlp {
    let mut net = net.clone();
    if let Some(layer) = net.layers.first_mut() {
        layer.weight.truncate(inputs * layer.output());
    }
    net
}
