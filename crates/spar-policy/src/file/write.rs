//! Writing policy files.

use std::collections::BTreeMap;

use safetensors::{Dtype, tensor::TensorView};
use spar_core::Normalizer;
use spar_kernels::{mlp::LAYER_NORM_EPS, value::Conservatism};

use super::{
    ACTIVATION_KEY, BASE, CANDIDATES, DEVIATIONS, HIDDEN, HIGH, LOW, METADATA_KEY, NUMBERED,
    OUTPUT, OUTPUT_KEY, SCALE, SHIFT,
    open::{DIGEST_KEY, Entry, FORMAT, FORMAT_KEY, Part},
    sampled, transpose,
};
use crate::{
    about::About,
    anchored::{Residual, SparPolicy},
    error::PolicyError,
    latent::{Latent, LatentPolicy},
    plain::PlainPolicy,
    policy::{Networks, Policy},
    rows::{Norm, RowMlp},
};

impl Policy {
    /// The policy as the bytes of a file that [`Policy::from_bytes`] reads as the same
    /// policy. They are the same for the same policy.
    ///
    /// # Errors
    /// If it has no place in a file: a network with activations the format has no names
    /// for, or anything but a plain network without an [`About`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, PolicyError> {
        let (mut plain, mut base) = (None, None);
        let mut tensors = match self.networks() {
            Networks::Spar(policy) => spar(policy),
            Networks::Plain(policy) => {
                plain = Some(activations_of(policy)?);
                Tensors::plain(policy)
            }
            Networks::Latent(policy) => latent(policy),
            Networks::Sampled(policy) => sampled::tensors(policy),
            Networks::Rectified(policy) => {
                base = Some(policy.base.to_bytes()?);
                let mut tensors = Tensors::of(&policy.normalizer);
                tensors.residual(&policy.residual);
                tensors
            }
            // The model is the file.
            #[cfg(feature = "onnx")]
            Networks::Graph(policy) if self.about().is_none() && self.action_bounds().is_none() => {
                return Ok(policy.bytes().to_vec());
            }
            #[cfg(feature = "onnx")]
            Networks::Graph(_) => {
                return Err(PolicyError::Content(
                    "an ONNX graph has no place in a policy file but as another policy's base"
                        .to_owned(),
                ));
            }
        };
        if let Some(bounds) = self.action_bounds() {
            let (low, high): (Vec<f32>, Vec<f32>) = bounds.components().iter().copied().unzip();
            tensors.row(LOW, &low);
            tensors.row(HIGH, &high);
        }
        if let Some(what) = &tensors.without_place {
            return Err(PolicyError::Content(format!(
                "{what} has no place in a policy file"
            )));
        }
        match (self.about(), plain) {
            (Some(about), plain) => tensors.ours(about, plain, base),
            // What other programs' files hold.
            (None, Some(plain)) if self.action_bounds().is_none() => {
                in_order(&tensors.raw().file(plain)?)
            }
            (None, _) => Err(PolicyError::Content(
                "nothing is said of it, as only of a plain network without bounds of actions; \
                 give an `About`"
                    .to_owned(),
            )),
        }
    }
}

/// Metadata entries: keys and values.
type Entries<'a> = [(&'a str, &'a str); 2];

fn spar(policy: &SparPolicy) -> Tensors {
    let mut tensors = Tensors::of(&policy.normalizer);
    tensors.net("anchor.", &policy.anchor);
    if let Some(residual) = &policy.residual {
        tensors.residual(residual);
    }
    tensors
}

/// A safetensors file with the entries of its header in the order of their names, where
/// safetensors keeps several of the metadata in a hash map's.
fn in_order(file: &[u8]) -> Result<Vec<u8>, PolicyError> {
    let wrong = |why: String| PolicyError::Content(why);
    let (length, rest) = file.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let length = u64::from_le_bytes(*length) as usize;
    let (header, values) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|e| wrong(e.to_string()))?;
    let mut header = serde_json::to_string(&header).map_err(|e| wrong(e.to_string()))?;
    // Values begin at a multiple of eight bytes, as safetensors pads it.
    header.extend(std::iter::repeat_n(' ', header.len().wrapping_neg() % 8));
    let length = (header.len() as u64).to_le_bytes();
    Ok([&length, header.as_bytes(), values].concat())
}

/// The names of a plain network's activation and output, by their keys.
fn activations_of(policy: &PlainPolicy) -> Result<Entries<'static>, PolicyError> {
    let hidden = HIDDEN.iter().find(|(_, a)| *a == policy.net.hidden);
    let output = OUTPUT.iter().find(|(_, a)| *a == policy.net.output);
    let (Some((hidden, _)), Some((output, _))) = (hidden, output) else {
        return Err(PolicyError::Content(format!(
            "a network with {:?} between layers and {:?} at its end has no place in a policy \
             file",
            policy.net.hidden, policy.net.output
        )));
    };
    Ok([(ACTIVATION_KEY, *hidden), (OUTPUT_KEY, *output)])
}

fn latent(policy: &LatentPolicy) -> Tensors {
    let mut tensors = Tensors::of(&policy.normalizer);
    tensors.net("decoder.", &policy.actor.decoder);
    if let Some((scale, shift)) = &policy.actor.affine {
        tensors.row(SCALE, scale);
        tensors.row(SHIFT, shift);
    }
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

/// Tensors on their way into a file.
#[derive(Default)]
pub(super) struct Tensors {
    /// Name, shape, values.
    pub(super) all: Vec<(String, Vec<usize>, Vec<f32>)>,
    /// What the format has no names for, if there was anything.
    pub(super) without_place: Option<String>,
}

impl Tensors {
    pub(super) fn of(normalizer: &Normalizer) -> Self {
        let mut tensors = Self::default();
        tensors.row("obs_mean", &normalizer.mean);
        tensors.row("obs_std", &normalizer.std);
        tensors
    }

    pub(super) fn row(&mut self, name: &str, values: &[f32]) {
        let shape = vec![values.len()];
        self.all.push((name.to_owned(), shape, values.to_vec()));
    }

    fn plain(policy: &PlainPolicy) -> Self {
        let mut tensors = Self::of(&policy.normalizer);
        tensors.net("", &policy.net);
        if let Some((scale, shift)) = &policy.affine {
            tensors.row(SCALE, scale);
            tensors.row(SHIFT, shift);
        }
        tensors
    }

    pub(super) fn scalar(&mut self, name: &str, value: f32) {
        self.all.push((name.to_owned(), vec![1], vec![value]));
    }

    fn norm(&mut self, name: &str, norm: &Norm) {
        self.row(&format!("{name}.weight"), &norm.gain);
        self.row(&format!("{name}.bias"), &norm.shift);
        if norm.after {
            self.scalar(&format!("{name}.after"), 1.0);
        }
        if norm.eps != LAYER_NORM_EPS {
            self.scalar(&format!("{name}.eps"), norm.eps);
        }
    }

    /// The network `net`, which is of layers with ReLU unless its file says otherwise.
    pub(super) fn net(&mut self, prefix: &str, net: &RowMlp) {
        let number = NUMBERED.iter().position(|known| *known == net.hidden);
        match number {
            // A plain network's is in the metadata.
            _ if prefix.is_empty() => {}
            Some(0) => {}
            Some(number) => self.scalar(&format!("{prefix}activation"), number as f32 + 1.0),
            None => self.without_place = Some(format!("{:?} between layers", net.hidden)),
        }
        match &net.input_norm {
            None => {}
            Some(_) if prefix.is_empty() => {
                self.without_place = Some("a normalized input of a plain network".to_owned());
            }
            Some(norm) => self.norm(&format!("{prefix}norm"), norm),
        }
        for (i, layer) in net.layers.iter().enumerate() {
            let (input, output) = (layer.input(), layer.output());
            let weight = transpose(&layer.weight, input, output);
            let name = |part: &str| format!("{prefix}layers.{i}.{part}");
            self.all.push((name("weight"), vec![output, input], weight));
            self.row(&name("bias"), &layer.bias);
            if let Some(norm) = &layer.norm {
                self.norm(&name("norm"), norm);
            }
        }
    }

    fn residual(&mut self, residual: &Residual) {
        self.net("residual.", &residual.decoder);
        for (i, critic) in residual.critics.iter().enumerate() {
            self.net(&format!("critic.{i}."), critic);
        }
        self.scalar("residual.rho", residual.rho);
        self.scalar("residual.sigma_z", residual.sigma_z);
        if let Conservatism::MeanMinusStd(deviations) = residual.conservatism {
            self.scalar(DEVIATIONS, deviations);
        }
    }

    fn raw(self) -> Bytes {
        let bytes = self.all.into_iter().map(|(name, shape, v)| {
            let bytes = v.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, Dtype::F32, shape, bytes)
        });
        Bytes(bytes.collect())
    }

    /// The bytes of a file of ours, which may hold that of its `base`.
    fn ours(
        self,
        about: &About,
        plain: Option<Entries<'_>>,
        base: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, PolicyError> {
        let entry = Entry {
            format: FORMAT,
            about: about.clone(),
            plain: plain.map_or_else(Default::default, |entries| {
                entries.map(|(_, name)| Some(name.to_owned()))
            }),
        };
        let mut bytes = self.raw();
        if let Some(base) = base {
            let shape = vec![base.len()];
            bytes.0.push((BASE.to_owned(), Dtype::U8, shape, base));
        }
        let parts = bytes.0.iter().map(|(name, dtype, shape, data)| Part {
            name,
            dtype: *dtype,
            shape,
            data,
        });
        let digest = entry.digest(parts.collect());
        let said = serde_json::to_value(about);
        let mut said = said.map_err(|e| PolicyError::Content(e.to_string()))?;
        said[FORMAT_KEY] = FORMAT.into();
        said[DIGEST_KEY] = digest.into();
        for (key, value) in plain.into_iter().flatten() {
            said[key] = value.into();
        }
        // One entry: safetensors keeps several in a hash map's order.
        bytes.file([(METADATA_KEY, said.to_string().as_str())])
    }
}

/// The same as they lie in a file.
struct Bytes(Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

impl Bytes {
    fn file<const N: usize>(&self, metadata: [(&str, &str); N]) -> Result<Vec<u8>, PolicyError> {
        let wrong = |e: safetensors::SafeTensorError| PolicyError::Content(e.to_string());
        let views = self.0.iter().map(|(name, dtype, shape, data)| {
            TensorView::new(*dtype, shape.clone(), data).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        safetensors::serialize(views, Some(metadata.into_iter().collect())).map_err(wrong)
    }
}
