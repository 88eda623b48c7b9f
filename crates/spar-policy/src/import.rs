//! Policies of other programs, written anew under the names of a policy file.
//!
//! A network trained elsewhere is the same network under other names:
//! `nn.Sequential`'s numbers, which count activations too, CORL's `net.0.weight`,
//! d3rlpy's `_encoder` and `_mu`, Stable-Baselines3's `latent_pi` and `action_net`,
//! CleanRL's `fc_mean`, flax's kernels, which lie the other way round. [`from_bytes`] takes
//! what is obvious for what it is and says so, leaves out what nothing acts by and says
//! that too, and refuses the rest: a wrong guess would be a wrong score.

mod layers;
mod numbers;

use std::{collections::BTreeMap, fmt, path::Path};

use safetensors::SafeTensors;
use serde::Serialize;
use spar_core::Normalizer;

use crate::{
    error::PolicyError,
    file::{self, Meaning, entries, floats, meaning, some},
    onnx,
    plain::PlainPolicy,
    policy::{Networks, Policy},
    rows::RowMlp,
};
use layers::Stems;
use numbers::Numbers;

/// What the user says of a file that does not say it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the policy is to act: its widths are checked, and an output of twice an
    /// action's width is known for mean and spread.
    pub place: Option<Place>,
    /// Activation between layers, as in a policy file's metadata.
    pub activation: Option<String>,
    /// What follows the last layer, as in a policy file's metadata.
    pub output: Option<String>,
}

/// Where a policy is to act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, for messages.
    pub name: String,
    /// Width of an observation there.
    pub obs_dim: usize,
    /// Width of an action.
    pub act_dim: usize,
}

/// What was taken for what.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// Width of an observation.
    pub obs_dim: usize,
    /// Width of an action.
    pub act_dim: usize,
    /// Activation between layers.
    pub activation: String,
    /// What follows the last layer.
    pub output: String,
    /// Tensors that became one of a policy file.
    pub taken: Vec<Taken>,
    /// Tensors that nothing acts by.
    pub left_out: Vec<LeftOut>,
}

/// A tensor that became one of a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Its name in the other program's file.
    pub from: String,
    /// Its name in the policy file.
    pub to: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// What was done to it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
}

/// A tensor that nothing acts by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why it is not needed.
    pub why: String,
}

/// One tensor of the file, in single precision.
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// The policy of another program in the file at `path`, which need not be a policy file's
/// but is bounded as one.
///
/// # Errors
/// One line saying what of the file cannot be told, or does not fit; or if it cannot be
/// read.
pub fn load(path: &Path, options: &Options) -> Result<(Policy, Imported), PolicyError> {
    let bytes = file::bytes(path)?;
    from_bytes(&bytes, options).map_err(|e| e.in_file(path))
}

/// The policy of another program in `bytes`, a safetensors file.
///
/// # Errors
/// One line saying what of it cannot be told, or does not fit.
pub fn from_bytes(bytes: &[u8], options: &Options) -> Result<(Policy, Imported), PolicyError> {
    let wrong = PolicyError::Content;
    if onnx::is_model(bytes) {
        let why = "is an ONNX model, which needs no import: give it to --policy or --anchor-policy";
        return Err(wrong(why.to_owned()));
    }
    let (tensors, metadata) = tensors(bytes).map_err(wrong)?;
    if file::is_ours(&metadata) {
        return Err(wrong("is a policy file already".to_owned()));
    }
    let said = |option: &Option<String>, key: &str| -> Result<String, String> {
        let known = file::choices(key);
        let name = option.as_ref().or_else(|| metadata.get(key));
        let expected = known.join(", ");
        match name {
            Some(name) if known.contains(&name.as_str()) => Ok(name.clone()),
            Some(name) => Err(format!("`{key}` is `{name}`, expected one of: {expected}")),
            None => Err(format!(
                "does not say its `{key}`; give --{key}, one of: {expected}"
            )),
        }
    };
    let activation = said(&options.activation, file::ACTIVATION_KEY).map_err(wrong)?;
    let output = said(&options.output, file::OUTPUT_KEY).map_err(wrong)?;

    let mut sorted = sort(&tensors).map_err(wrong)?;
    let place = options.place.as_ref();
    let act_dim = place.map(|place| place.act_dim);
    let layers = sorted.stems.layers(&tensors, &sorted.spread, act_dim);
    let layers = layers.map_err(wrong)?;
    sorted.taken.splice(0..0, layers.taken);
    sorted.left_out.extend(layers.left_out);
    let (Some(first), Some(last)) = (layers.layers.first(), layers.layers.last()) else {
        return Err(wrong("holds no layers".to_owned()));
    };
    let (obs_dim, act_dim) = (first.input(), last.output());
    if let Some(place) = place
        && (obs_dim, act_dim) != (place.obs_dim, place.act_dim)
    {
        return Err(wrong(format!(
            "policy maps {obs_dim} observations to {act_dim} actions, {} has {} and {}",
            place.name, place.obs_dim, place.act_dim
        )));
    }
    let (hidden, last) = file::activations(&activation, &output)
        .ok_or_else(|| wrong(format!("`{activation}` and `{output}` are not known")))?;
    let normalizer = sorted.numbers.normalizer(obs_dim).map_err(wrong)?;
    let affine = sorted.numbers.affine(act_dim).map_err(wrong)?;
    let normalizer = normalizer.map(|(mean, std)| Normalizer { mean, std });
    let policy = PlainPolicy {
        normalizer: normalizer.unwrap_or_else(|| Normalizer::identity(obs_dim)),
        net: RowMlp {
            layers: layers.layers,
            hidden,
            output: last,
            input_norm: None,
        },
        affine,
    };
    let imported = Imported {
        obs_dim,
        act_dim,
        activation,
        output,
        taken: sorted.taken,
        left_out: sorted.left_out,
    };
    Ok((Policy::new(Networks::Plain(policy), None, None), imported))
}

/// All tensors of the file `bytes`, by name, and its metadata.
#[allow(clippy::type_complexity)]
fn tensors(bytes: &[u8]) -> Result<(BTreeMap<String, Tensor>, BTreeMap<String, String>), String> {
    let broken = |e| file::not_safetensors(bytes, &e);
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        // A count of batches or updates is the one whole number that may be there.
        if meaning(name) == Some(Meaning::Bookkeeping) {
            let none = Tensor {
                shape: view.shape().to_vec(),
                values: Vec::new(),
            };
            tensors.insert(name.to_owned(), none);
            continue;
        }
        let values = floats(&view).map_err(|why| format!("`{name}` {why}"))?;
        let shape = view.shape().to_vec();
        tensors.insert(name.to_owned(), Tensor { shape, values });
    }
    let metadata = header.metadata().as_ref().map(entries);
    Ok((tensors, metadata.unwrap_or_default()))
}

/// The tensors by what their names say.
struct Sorted {
    stems: Stems,
    numbers: Numbers,
    /// A name that tells that the policy is stochastic.
    spread: Option<String>,
    taken: Vec<Taken>,
    left_out: Vec<LeftOut>,
}

fn sort(tensors: &BTreeMap<String, Tensor>) -> Result<Sorted, String> {
    let mut sorted = Sorted {
        stems: Stems::default(),
        numbers: Numbers::default(),
        spread: None,
        taken: Vec::new(),
        left_out: Vec::new(),
    };
    let mut unknown = Vec::new();
    for (name, tensor) in tensors {
        let mut leave = |why: &dyn fmt::Display| {
            sorted.left_out.push(LeftOut {
                name: name.clone(),
                why: why.to_string(),
            });
        };
        if let Some(why) = layers::beside_acting(name) {
            leave(&why);
            if layers::is_spread(name) {
                sorted.spread = Some(name.clone());
            }
            continue;
        }
        if sorted.stems.insert(name, tensors) {
            continue;
        }
        match meaning(name) {
            None => unknown.push(name.as_str()),
            Some(Meaning::Bookkeeping) => leave(&"nothing acts by it"),
            Some(Meaning::Spread) => {
                leave(&"a policy file acts by the mean");
                sorted.spread = Some(name.clone());
            }
            Some(meaning) => {
                let taken = sorted.numbers.take(meaning, name, tensor)?;
                sorted.taken.push(taken);
            }
        }
    }
    if unknown.is_empty() && !sorted.stems.is_empty() {
        return Ok(sorted);
    }
    if tensors.is_empty() {
        let why = "holds no tensors; give the file of a network's `state_dict()`";
        return Err(why.to_owned());
    }
    let found: Vec<&str> = tensors.keys().map(String::as_str).collect();
    let unknown = if unknown.is_empty() { found } else { unknown };
    Err(format!(
        "cannot tell what {} are; expected weights and biases of layers in the order of their \
         numbers (`net.0.weight`, `fc1.bias`, `mu.weight`, `Dense_0.kernel`), the observations' \
         mean and std, the actions' scale and bias: rename or remove them",
        some(&unknown)
    ))
}
