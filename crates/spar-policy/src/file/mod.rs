//! The file format, which the crate's documentation describes: names and ranges, reading,
//! writing.

mod names;
mod open;
mod parts;
mod reader;
mod sampled;
mod write;

use std::collections::BTreeMap;

use crate::rows::Activation;

pub(crate) use names::{Meaning, meaning, some, words};
pub use open::file_of;
pub(crate) use open::{bytes, not_safetensors};
pub(crate) use reader::{Reader, floats};

/// Hidden activations of plain networks by their names in metadata.
const HIDDEN: [(&str, Activation); 6] = [
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
    ("leaky_relu_0.01", Activation::LeakyRelu(0.01)),
    ("gelu_tanh", Activation::Gelu),
    ("mish", Activation::Mish),
    ("silu", Activation::Silu),
];

/// Hidden activations of the networks of our own policies by their numbers, from one, in
/// `<network>.activation`.
const NUMBERED: [Activation; 4] = [
    Activation::Relu,
    Activation::Gelu,
    Activation::Mish,
    Activation::Silu,
];

/// Output activations of plain networks by their names in metadata.
const OUTPUT: [(&str, Activation); 2] = [
    ("identity", Activation::Identity),
    ("tanh", Activation::Tanh),
];

/// The metadata entry of a plain network's activation.
pub(crate) const ACTIVATION_KEY: &str = "activation";

/// The metadata entry of a plain network's output.
pub(crate) const OUTPUT_KEY: &str = "output";

/// The metadata entry that tells our own policies from plain networks.
const METADATA_KEY: &str = "spar";

/// The tensor that says how critics value a candidate.
const DEVIATIONS: &str = "critic.deviations";

/// The tensor that says how many latents are drawn.
const CANDIDATES: &str = "latent.candidates";

/// What a plain network's output is multiplied by, and what is added to it.
pub(crate) const SCALE: &str = "output.scale";
pub(crate) const SHIFT: &str = "output.shift";

/// The file of the policy that is rectified.
const BASE: &str = "base";

/// The bounds of actions of a policy without an environment.
const LOW: &str = "action.low";
const HIGH: &str = "action.high";

/// The metadata of a file, whichever map the reader keeps it in.
pub(crate) fn entries<'a>(
    map: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> BTreeMap<String, String> {
    let entries = map.into_iter();
    entries.map(|(k, v)| (k.clone(), v.clone())).collect()
}

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
pub(crate) fn is_ours(metadata: &BTreeMap<String, String>) -> bool {
    metadata.contains_key(METADATA_KEY)
}

/// The transpose of row-major `[rows, cols]` as row-major `[cols, rows]`.
pub(crate) fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let columns = 0..cols;
    columns
        .flat_map(|c| (0..rows).map(move |r| values[r * cols + c]))
        .collect()
}
