//! Trained policies as files: one safetensors file each.
//!
//! A policy of ours holds, with weights `[out, in]` as PyTorch stores them:
//!
//! | tensor | shape | meaning |
//! |---|---|---|
//! | `obs_mean`, `obs_std` | `[obs_dim]` | `s = (obs - obs_mean) / obs_std` |
//! | `anchor.layers.<i>.weight`, `.bias` | `[out, in]`, `[out]` | `b = tanh(net(s))`, ReLU between layers |
//! | `residual.layers.<i>.weight`, `.bias` | `[out, in]`, `[out]` | `d = rho tanh(net([s, b, z]))`, `z = 0` (no `z` for `rpl`), ReLU between layers; absent for `bc` |
//! | `residual.rho`, `residual.sigma_z` | `[1]` | largest residual; spread of drawn latents |
//! | `critic.<n>.layers.<i>.weight`, `.bias` | `[out, in]`, `[out]` | `Q_n(s, a) = net([s, a])`, ReLU between layers; what best-of-K acting chooses by |
//! | `critic.deviations` | `[1]` | a candidate's value is the critics' mean less this many standard deviations; absent, their least |
//! | `action.low`, `action.high` | `[act_dim]` | actions in `[-1, 1]` are scaled to these bounds, the units of the data: of every policy trained without an environment |
//! | `<layer>.norm.weight`, `.norm.bias` | `[out]` | gain and shift of a LayerNorm (eps 1e-5) between that layer and its activation, where present |
//!
//! and acts by `clip(b + d, -1, 1)`. Its metadata entry `spar` is a JSON object:
//! [`About`], with `format`, the version of all this (files without it are of version
//! 1, newer ones are refused), and `digest`, a SHA-256 over the rest of the object and
//! all tensors, which is verified whenever the file is read.
//!
//! A method that acts by one network writes a plain one: `layers.<i>.weight`,
//! `layers.<i>.bias`, `obs_mean`, `obs_std`, with `activation` and `output` inside
//! `spar`. One that acts in a latent space (`plas`, `bcq`) writes
//!
//! | tensor | shape | meaning |
//! |---|---|---|
//! | `decoder.layers.<i>.*` | | `a = tanh(net([s, z]))`, ReLU between layers |
//! | `latent.layers.<i>.*`, `latent.bound` | , `[1]` | `z = bound tanh(net(s))` |
//! | `latent.candidates`, `latent.clip`, `critic.0.*` | `[1]`, `[1]` | or so many `z ~ N(0, 1)`, clipped, of which the critic chooses |
//! | `perturbation.layers.<i>.*`, `perturbation.size` | , `[1]` | `a + size tanh(net([s, a]))`, where present |
//!
//! and clips. A plain network from elsewhere is read too: `layers.<i>.weight`,
//! `layers.<i>.bias`, optional `.norm.*`, `obs_mean` and `obs_std`, `output.scale` and
//! `output.shift` (`[act_dim]`, what outputs are multiplied by and what is added then),
//! and metadata `activation` (`relu`, `tanh`, `leaky_relu_0.01`) and `output`
//! (`identity`, `tanh`); its actions are clipped to `[-1, 1]`.
//!
//! Values are F32, F64, F16 or BF16, computed with in single precision. These are all
//! names there are: a file with any other is refused, since the policy would act without
//! what it holds. Every number has a range, checked before anything of its size is made.

mod names;
mod open;
mod parts;
mod reader;
mod scaled;
mod write;

use std::{collections::HashMap, num::NonZeroUsize, path::Path};

use serde::{Deserialize, Serialize};
use spar_core::{DatasetIdentity, EnvId, Policy};
use spar_data::ActionBounds;
use spar_nn::Activation;
use spar_rectify::SparPolicy;

use crate::{baseline_policy::LatentPolicy, error::TrainError, plain_policy::PlainPolicy};
use reader::Reader;
use scaled::Scaled;

pub(crate) use names::{Meaning, meaning, some, words};
pub use open::file_of;
pub(crate) use open::{bytes, not_safetensors};
pub(crate) use reader::floats;
pub use write::write;
pub(crate) use write::{bytes_of, write_plain};

/// Hidden activations of plain networks by their names in metadata.
const HIDDEN: [(&str, Activation); 3] = [
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
    ("leaky_relu_0.01", Activation::LeakyRelu(0.01)),
];

/// Output activations of plain networks by their names in metadata.
const OUTPUT: [(&str, Activation); 2] = [
    ("identity", Activation::Identity),
    ("tanh", Activation::Tanh),
];

/// The metadata entry that tells a plain network.
pub(crate) const ACTIVATION_KEY: &str = "activation";

/// The metadata entry of a plain network's output.
pub(crate) const OUTPUT_KEY: &str = "output";

/// The metadata entry that tells our own policies from plain networks.
const METADATA_KEY: &str = "spar";

/// The tensor that says how critics judge a candidate.
const DEVIATIONS: &str = "critic.deviations";

/// The tensor that says how many latents are drawn.
const CANDIDATES: &str = "latent.candidates";

/// What a plain network's output is multiplied by, and what is added to it.
pub(crate) const SCALE: &str = "output.scale";
pub(crate) const SHIFT: &str = "output.shift";

/// The bounds of actions of a policy without an environment.
const LOW: &str = "action.low";
const HIGH: &str = "action.high";

/// The names that the metadata `key` of a plain network may have.
pub(crate) fn choices(key: &str) -> Vec<&'static str> {
    let known: &[_] = if key == OUTPUT_KEY { &OUTPUT } else { &HIDDEN };
    known.iter().map(|(name, _)| *name).collect()
}

/// Activation and output of these names.
pub(crate) fn activations(hidden: &str, output: &str) -> Option<(Activation, Activation)> {
    let find = |known: &[(&str, Activation)], name: &str| {
        let found = known.iter().find(|(known, _)| *known == name);
        found.map(|(_, activation)| *activation)
    };
    Some((find(&HIDDEN, hidden)?, find(&OUTPUT, output)?))
}

/// Whether a file with such metadata is one of ours.
pub(crate) fn is_ours(metadata: &HashMap<String, String>) -> bool {
    metadata.contains_key(METADATA_KEY)
}

/// What a policy file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The method's name, as in `bc`.
    pub method: String,
    /// The environment it was trained for; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<EnvId>,
    /// Task id or file name.
    pub task: String,
    /// The data it was trained on.
    pub dataset: DatasetIdentity,
    /// Training seed.
    pub seed: u64,
    /// Updates of the method's own networks.
    pub updates: u64,
}

/// Reads the policy at `path`, ours or a plain network, and checks that its
/// widths are those of `env`, if one is named, and its actions within that one's bounds.
/// A policy trained without an environment acts in the units of its data.
///
/// # Errors
/// One line saying what is missing or wrong in the file.
pub fn read(path: &Path, env: impl Into<Option<EnvId>>) -> Result<Box<dyn Policy>, TrainError> {
    read_best_of(path, env, NonZeroUsize::MIN)
}

/// [`read`], acting by the best of `best_of` latents
/// (`Residual::best_of`); one is the deterministic policy.
///
/// # Errors
/// As [`read`]; and if there is more than one to choose from and nothing in the
/// file to choose by.
pub fn read_best_of(
    path: &Path,
    env: impl Into<Option<EnvId>>,
    best_of: NonZeroUsize,
) -> Result<Box<dyn Policy>, TrainError> {
    let (mut contents, bounds) = contents(path, env.into())?;
    if best_of.get() > 1 {
        match &mut contents {
            Contents::Spar(SparPolicy {
                residual: Some(residual),
                ..
            }) if !residual.critics.is_empty() => residual.best_of = best_of,
            _ => {
                return Err(TrainError::File {
                    file: path.to_owned(),
                    why: "holds no critics to choose the best of several candidates by; \
                          give a policy of method spar, or leave --best-of out"
                        .to_owned(),
                });
            }
        }
    }
    let policy: Box<dyn Policy> = match contents {
        Contents::Spar(policy) => Box::new(policy),
        Contents::Plain(policy) => Box::new(policy),
        Contents::Latent(policy) => Box::new(policy),
    };
    Ok(match bounds {
        Some(bounds) => Box::new(Scaled { policy, bounds }),
        None => policy,
    })
}

/// What the policy file at `path` says of itself; `None` in a plain network.
///
/// # Errors
/// If the file cannot be read or is no policy file.
pub fn about(path: &Path) -> Result<Option<About>, TrainError> {
    let bytes = open::bytes(path)?;
    Ok(Reader::new(path, &bytes)?.about)
}

/// What a file holds.
pub(crate) enum Contents {
    Spar(SparPolicy),
    Plain(PlainPolicy),
    Latent(LatentPolicy),
}

impl Contents {
    pub(crate) fn policy(&self) -> &dyn Policy {
        match self {
            Self::Spar(policy) => policy,
            Self::Plain(policy) => policy,
            Self::Latent(policy) => policy,
        }
    }
}

/// The policy at `path`, checked as by [`read`], and the bounds its actions are scaled to,
/// where they are not `[-1, 1]`.
pub(crate) fn contents(
    path: &Path,
    env: Option<EnvId>,
) -> Result<(Contents, Option<ActionBounds>), TrainError> {
    let bytes = open::bytes(path)?;
    let reader = Reader::new(path, &bytes)?;
    let (contents, bounds) = reader.contents()?;
    let bounds = bounds.filter(|bounds| !bounds.are_usual());
    let Some(env) = env else {
        return Ok((contents, bounds));
    };
    let policy = contents.policy();
    let (obs, act) = (policy.obs_dim(), policy.act_dim());
    if (obs, act) != (env.obs_dim(), env.act_dim()) {
        return Err(reader.wrong(format!(
            "policy maps {obs} observations to {act} actions, {env} has {} and {}; \
             give the --env it was trained for",
            env.obs_dim(),
            env.act_dim()
        )));
    }
    let beyond = |(low, high): &&(f32, f32)| *low < -1.0 || *high > 1.0;
    let components = bounds.iter().flat_map(ActionBounds::components);
    if let Some((low, high)) = components.into_iter().find(beyond) {
        return Err(reader.wrong(format!(
            "its actions lie in [{low}, {high}], those of {env} in [-1, 1]; it was trained on \
             data in other units: give the environment those are of"
        )));
    }
    Ok((contents, bounds))
}

/// The transpose of row-major `[rows, cols]` as row-major `[cols, rows]`.
pub(crate) fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let columns = 0..cols;
    columns
        .flat_map(|c| (0..rows).map(move |r| values[r * cols + c]))
        .collect()
}
