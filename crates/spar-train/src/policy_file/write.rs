//! Writing policy files.

use std::{collections::HashMap, path::Path};

use safetensors::{Dtype, tensor::TensorView};
use spar_baselines::Latent;
use spar_core::write_atomic;
use spar_data::ActionBounds;
use spar_nn::{Conservatism, RowMlp};
use spar_rectify::SparPolicy;

use super::{
    ACTIVATION_KEY, About, CANDIDATES, Contents, DEVIATIONS, HIDDEN, HIGH, LOW, METADATA_KEY,
    OUTPUT, OUTPUT_KEY, SCALE, SHIFT,
    open::{DIGEST_KEY, Entry, FORMAT, FORMAT_KEY, Part},
    transpose,
};
use crate::{baseline_policy::LatentPolicy, error::TrainError, plain_policy::PlainPolicy};

/// Writes `policy` to `path`, atomically.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, policy: &SparPolicy, about: &About) -> Result<(), TrainError> {
    Ok(write_atomic(path, &spar(policy).bytes(path, about, &[])?)?)
}

fn spar(policy: &SparPolicy) -> Tensors {
    let mut tensors = Tensors::of(&policy.obs_mean, &policy.obs_std);
    tensors.net("anchor.", &policy.anchor);
    if let Some(residual) = &policy.residual {
        tensors.net("residual.", &residual.decoder);
        for (i, critic) in residual.critics.iter().enumerate() {
            tensors.net(&format!("critic.{i}."), critic);
        }
        tensors.scalar("residual.rho", residual.rho);
        tensors.scalar("residual.sigma_z", residual.sigma_z);
        if let Conservatism::MeanMinusStd(deviations) = residual.conservatism {
            tensors.scalar(DEVIATIONS, deviations);
        }
    }
    tensors
}

/// The bytes of a file at `path` of whatever policy a run has trained, whose actions are
/// scaled to `bounds`.
pub(crate) fn bytes_of(
    path: &Path,
    policy: &Contents,
    about: &About,
    bounds: Option<&ActionBounds>,
) -> Result<Vec<u8>, TrainError> {
    let mut more = Vec::new();
    let mut tensors = match policy {
        Contents::Spar(policy) => spar(policy),
        Contents::Plain(policy) => {
            more = activations_of(path, policy)?;
            Tensors::plain(policy)
        }
        Contents::Latent(policy) => latent(policy),
    };
    if let Some(bounds) = bounds {
        let (low, high): (Vec<f32>, Vec<f32>) = bounds.components().iter().copied().unzip();
        tensors.row(LOW, &low);
        tensors.row(HIGH, &high);
    }
    tensors.bytes(path, about, &more)
}

/// Writes the network of another program to `path`, with the names of its activation and
/// output.
pub(crate) fn write_plain(
    path: &Path,
    policy: &PlainPolicy,
    [activation, output]: [&str; 2],
) -> Result<(), TrainError> {
    let metadata = [(ACTIVATION_KEY, activation), (OUTPUT_KEY, output)];
    let metadata = metadata.map(|(key, name)| (key.to_owned(), name.to_owned()));
    let bytes = Tensors::plain(policy)
        .raw()
        .file(path, HashMap::from(metadata))?;
    Ok(write_atomic(path, &bytes)?)
}

/// The names of a plain network's activation and output, by their keys.
fn activations_of(
    path: &Path,
    policy: &PlainPolicy,
) -> Result<Vec<(&'static str, &'static str)>, TrainError> {
    let hidden = HIDDEN.iter().find(|(_, a)| *a == policy.net.hidden);
    let output = OUTPUT.iter().find(|(_, a)| *a == policy.net.output);
    let (Some((hidden, _)), Some((output, _))) = (hidden, output) else {
        return Err(TrainError::File {
            file: path.to_owned(),
            why: format!(
                "a network with {:?} between layers and {:?} at its end has no place in a policy \
                 file",
                policy.net.hidden, policy.net.output
            ),
        });
    };
    Ok(vec![(ACTIVATION_KEY, hidden), (OUTPUT_KEY, output)])
}

fn latent(policy: &LatentPolicy) -> Tensors {
    let mut tensors = Tensors::of(&policy.obs_mean, &policy.obs_std);
    tensors.net("decoder.", &policy.actor.decoder);
    match &policy.actor.latent {
        Latent::Actor { net, bound } => {
            tensors.net("latent.", net);
            tensors.scalar("latent.bound", *bound);
        }
        Latent::Best {
            critic,
            candidates,
            clip,
        } => {
            tensors.net("critic.0.", critic);
            tensors.scalar(CANDIDATES, candidates.get() as f32);
            tensors.scalar("latent.clip", *clip);
        }
    }
    if let Some((net, size)) = &policy.actor.perturbation {
        tensors.net("perturbation.", net);
        tensors.scalar("perturbation.size", *size);
    }
    tensors
}

/// Tensors on their way into a file: name, shape, values.
struct Tensors(Vec<(String, Vec<usize>, Vec<f32>)>);

impl Tensors {
    fn of(obs_mean: &[f32], obs_std: &[f32]) -> Self {
        let mut tensors = Self(Vec::new());
        tensors.row("obs_mean", obs_mean);
        tensors.row("obs_std", obs_std);
        tensors
    }

    fn row(&mut self, name: &str, values: &[f32]) {
        let shape = vec![values.len()];
        self.0.push((name.to_owned(), shape, values.to_vec()));
    }

    fn plain(policy: &PlainPolicy) -> Self {
        let mut tensors = Self::of(&policy.obs_mean, &policy.obs_std);
        tensors.net("", &policy.net);
        if let Some((scale, shift)) = &policy.affine {
            tensors.row(SCALE, scale);
            tensors.row(SHIFT, shift);
        }
        tensors
    }

    fn scalar(&mut self, name: &str, value: f32) {
        self.0.push((name.to_owned(), vec![1], vec![value]));
    }

    fn net(&mut self, prefix: &str, net: &RowMlp) {
        for (i, layer) in net.layers.iter().enumerate() {
            let (input, output) = (layer.input(), layer.output());
            let weight = transpose(&layer.weight, input, output);
            let name = |part: &str| format!("{prefix}layers.{i}.{part}");
            self.0.push((name("weight"), vec![output, input], weight));
            self.0
                .push((name("bias"), vec![output], layer.bias.clone()));
            if let Some(norm) = &layer.norm {
                for (part, values) in [("norm.weight", &norm.gain), ("norm.bias", &norm.shift)] {
                    self.0.push((name(part), vec![output], values.clone()));
                }
            }
        }
    }

    fn raw(self) -> Bytes {
        let bytes = self.0.into_iter().map(|(name, shape, v)| {
            let bytes = v.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, shape, bytes)
        });
        Bytes(bytes.collect())
    }

    fn bytes(
        self,
        path: &Path,
        about: &About,
        more: &[(&str, &str)],
    ) -> Result<Vec<u8>, TrainError> {
        let entry = Entry {
            format: FORMAT,
            about: about.clone(),
            plain: [ACTIVATION_KEY, OUTPUT_KEY].map(|key| {
                let found = more.iter().find(|(k, _)| *k == key);
                found.map(|(_, name)| (*name).to_owned())
            }),
        };
        let bytes = self.raw();
        let parts = bytes.0.iter().map(|(name, shape, data)| Part {
            name,
            dtype: Dtype::F32,
            shape,
            data,
        });
        let digest = entry.digest(parts.collect());
        let mut said = serde_json::to_value(about).map_err(|e| TrainError::File {
            file: path.to_owned(),
            why: e.to_string(),
        })?;
        said[FORMAT_KEY] = FORMAT.into();
        said[DIGEST_KEY] = digest.into();
        for &(key, value) in more {
            said[key] = value.into();
        }
        // One entry: safetensors keeps several in a hash map's order.
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), said.to_string())]);
        bytes.file(path, metadata)
    }
}

/// The same as they lie in a file.
struct Bytes(Vec<(String, Vec<usize>, Vec<u8>)>);

impl Bytes {
    fn file(&self, path: &Path, metadata: HashMap<String, String>) -> Result<Vec<u8>, TrainError> {
        let wrong = |e: safetensors::SafeTensorError| TrainError::File {
            file: path.to_owned(),
            why: e.to_string(),
        };
        let views = self.0.iter().map(|(name, shape, data)| {
            TensorView::new(Dtype::F32, shape.clone(), data).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        safetensors::serialize(views, Some(metadata)).map_err(wrong)
    }
}
