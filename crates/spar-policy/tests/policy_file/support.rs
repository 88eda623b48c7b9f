//! Policies and files that the tests share, and how a test spoils them.

use std::{collections::HashMap, fs, num::NonZeroUsize, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use spar_core::Stream;
use spar_kernels::{Head, MlpShape};
use spar_policy::{
    About, Conservatism, Networks, Normalizer, Policy, PolicyError, Residual, RowMlp, SparPolicy,
};

fn row_mlp(name: &str, input: usize, output: usize, layer_norm: bool, head: Head) -> RowMlp {
    let shape = MlpShape::relu(input, [9, 7], output)
        .unwrap()
        .with_layer_norm(layer_norm)
        .with_head(head);
    let mut params = vec![0.0; shape.parameters()];
    Stream::new(1, name).fill_normal(0.5, &mut params);
    RowMlp::from_params(&shape, &params).unwrap()
}

pub(crate) fn net(name: &str, input: usize, output: usize) -> RowMlp {
    row_mlp(name, input, output, false, Head::Tanh)
}

pub(crate) fn critic(i: usize) -> RowMlp {
    row_mlp(&format!("critic/{i}"), 11 + 3, 1, true, Head::Linear)
}

pub(crate) fn policy(residual: bool) -> SparPolicy {
    let mut stream = Stream::new(1, "normalizer");
    let mut draw = |low, high| {
        let mut v = vec![0.0; 11];
        stream.fill_uniform(low, high, &mut v);
        v
    };
    SparPolicy {
        normalizer: Normalizer {
            mean: draw(-1.0, 1.0),
            std: draw(0.5, 2.0),
        },
        anchor: net("anchor", 11, 3),
        residual: residual.then(|| Residual {
            decoder: net("decoder", 11 + 3 + 6, 3),
            rho: 0.8,
            critics: [0, 1].map(critic).into(),
            conservatism: Conservatism::MeanMinusStd(0.5),
            sigma_z: 1.5,
            best_of: NonZeroUsize::MIN,
        }),
    }
}

pub(crate) fn about(method: &str) -> About {
    About {
        method: method.into(),
        env: Some("hopper".into()),
        task: "hopper-medium".into(),
        dataset: spar_core::DatasetIdentity {
            id: "hopper-medium-local".into(),
            origin: spar_core::Origin::Local,
            sha256: "0".repeat(64),
            rows: 5,
        },
        seed: 1,
        updates: 2,
    }
}

/// The file of `policy`.
pub(crate) fn bytes_of(policy: &SparPolicy, about: &About) -> Vec<u8> {
    let networks = Networks::Spar(policy.clone());
    let policy = Policy::new(networks, Some(about.clone()), None);
    policy.to_bytes().unwrap()
}

pub(crate) fn write(path: &Path, policy: &SparPolicy, about: &About) {
    fs::write(path, bytes_of(policy, about)).unwrap();
}

pub(crate) fn actions(policy: &dyn spar_core::Policy) -> Vec<f32> {
    let mut obs = vec![0.0; 20 * 11];
    Stream::new(1, "obs").fill_normal(2.0, &mut obs);
    let mut out = vec![f32::NAN; 20 * 3];
    let mut streams: Vec<_> = (0..20).map(|i| Stream::new(i, "act")).collect();
    policy.act(&obs, &mut streams, &mut out);
    out
}

pub(crate) fn best_of(k: usize) -> SparPolicy {
    let mut policy = policy(true);
    policy.residual.as_mut().unwrap().best_of = NonZeroUsize::new(k).unwrap();
    policy
}

/// A file as parts that a test can spoil.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    pub(crate) tensors: HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    pub(crate) metadata: HashMap<String, String>,
}

/// The metadata of a file, whichever map the reader keeps it in.
fn of_header<'a>(
    map: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> HashMap<String, String> {
    let entries = map.into_iter();
    entries.map(|(k, v)| (k.clone(), v.clone())).collect()
}

impl Parts {
    pub(crate) fn of_spar() -> Self {
        let bytes = bytes_of(&policy(true), &about("spar"));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let parts = tensors.iter().map(|(name, view)| {
            let part = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name.to_owned(), part)
        });
        Self {
            tensors: parts.collect(),
            metadata: of_header(header.metadata().as_ref().unwrap()),
        }
    }

    /// The same file as it was before files had a version and a digest, so that what
    /// a test spoils is not refused by its digest.
    pub(crate) fn without_digest(mut self) -> Self {
        let text = self.metadata.get_mut("spar").unwrap();
        let mut said: serde_json::Value = serde_json::from_str(text).unwrap();
        let fields = said.as_object_mut().unwrap();
        fields.remove("digest").unwrap();
        fields.remove("format").unwrap();
        *text = said.to_string();
        self
    }

    pub(crate) fn floats(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let part = (Dtype::F32, shape.to_vec(), bytes);
        self.tensors.insert(name.to_owned(), part);
        self
    }

    pub(crate) fn without(mut self, prefix: &str) -> Self {
        self.tensors.retain(|name, _| !name.starts_with(prefix));
        self
    }

    pub(crate) fn meta(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (dtype, shape, data))| {
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), data).unwrap(),
            )
        });
        let metadata = self.metadata.clone().into_iter().collect();
        safetensors::serialize(views, Some(metadata)).unwrap()
    }

    pub(crate) fn read(&self, dir: &Path) -> Result<Policy, PolicyError> {
        let file = dir.join("policy.safetensors");
        fs::write(&file, self.to_bytes()).unwrap();
        Policy::load(&file)
    }
}

#[track_caller]
pub(crate) fn refused(dir: &Path, parts: &Parts, expected: &str) {
    let error = parts.read(dir).expect_err("refused").to_string();
    assert!(
        error.contains("policy.safetensors") && !error.contains('\n'),
        "{error}"
    );
    assert!(error.contains(expected), "{error} lacks {expected}");
}

/// A network as PyTorch would save it, and what it computes.
pub(crate) fn plain(activation: &str, output: &str) -> (Parts, Vec<f32>) {
    let mut stream = Stream::new(1, "plain");
    let mut draw = |n: usize| {
        let mut v = vec![0.0; n];
        stream.fill_normal(0.5, &mut v);
        v
    };
    let (w0, b0, w1, b1) = (draw(5 * 11), draw(5), draw(3 * 5), draw(3));
    let parts = Parts::default()
        .floats("layers.0.weight", &[5, 11], &w0)
        .floats("layers.0.bias", &[5], &b0)
        .floats("layers.1.weight", &[3, 5], &w1)
        .floats("layers.1.bias", &[3], &b1)
        .meta("activation", activation)
        .meta("output", output);
    let mut obs = vec![0.0; 20 * 11];
    Stream::new(1, "obs").fill_normal(2.0, &mut obs);
    let affine = |w: &[f32], b: &[f32], x: &[f32]| -> Vec<f32> {
        let rows = w.chunks(x.len()).zip(b);
        rows.map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b)
            .collect()
    };
    let hidden = |v: f32| match activation {
        "relu" => v.max(0.0),
        "tanh" => v.tanh(),
        _ if v > 0.0 => v,
        _ => 0.01 * v,
    };
    let last = |v: f32| if output == "tanh" { v.tanh() } else { v };
    let out = obs.chunks(11).flat_map(|x| {
        let h: Vec<f32> = affine(&w0, &b0, x).into_iter().map(hidden).collect();
        affine(&w1, &b1, &h)
            .into_iter()
            .map(|v| last(v).clamp(-1.0, 1.0))
    });
    (parts, out.collect())
}

/// A policy that chooses among draws, of the former format.
pub(crate) fn latent() -> Parts {
    let mut parts = Parts::of_spar().without_digest();
    parts.tensors.clear();
    let net = |parts: Parts, name: &str, widths: [usize; 3]| {
        let mut parts = parts;
        for i in 0..2 {
            let (input, output) = (widths[i], widths[i + 1]);
            let values = vec![0.01; input * output];
            let layer = format!("{name}layers.{i}");
            parts = parts
                .floats(&format!("{layer}.weight"), &[output, input], &values)
                .floats(&format!("{layer}.bias"), &[output], &vec![0.0; output]);
        }
        parts
    };
    let parts = net(parts, "decoder.", [17, 4, 3]);
    let parts = net(parts, "critic.0.", [14, 4, 1]);
    let parts = net(parts, "perturbation.", [14, 4, 3]);
    parts
        .floats("obs_mean", &[11], &[0.0; 11])
        .floats("obs_std", &[11], &[1.0; 11])
        .floats("latent.candidates", &[1], &[100.0])
        .floats("latent.clip", &[1], &[0.5])
        .floats("perturbation.size", &[1], &[0.05])
}

/// A policy that samples, of the former format: a residual chain of five steps, or a flow,
/// or one pass.
pub(crate) fn sampled(sampler: &str) -> Parts {
    let mut parts = Parts::of_spar().without_digest();
    parts.tensors.clear();
    let net = |parts: Parts, name: &str, widths: &[usize]| {
        let layers = widths.windows(2).enumerate();
        layers.fold(parts, |parts, (i, pair)| {
            let (input, output) = (pair[0], pair[1]);
            let layer = format!("{name}layers.{i}");
            let values = vec![0.01; input * output];
            parts
                .floats(&format!("{layer}.weight"), &[output, input], &values)
                .floats(&format!("{layer}.bias"), &[output], &vec![0.0; output])
        })
    };
    let parts = match sampler {
        "chain" => {
            let parts = net(parts, "chain.", &[11 + 3 + 2, 4]);
            let parts = net(parts, "chain.block.0.", &[4, 6, 4]);
            net(parts, "chain.exit.", &[4, 3])
                .floats("chain.exit.activation", &[1], &[3.0])
                .floats("chain.block.0.norm.weight", &[4], &[1.0; 4])
                .floats("chain.block.0.norm.bias", &[4], &[0.5; 4])
                .floats("chain.alphas", &[5], &[0.8, 0.5, 0.4, 0.2, 0.1])
                .floats("chain.codes", &[5, 2], &[0.3; 10])
                .floats("chain.clips_start", &[1], &[1.0])
        }
        "flow" => net(parts, "flow.", &[11 + 3 + 1, 4, 3]).floats("flow.steps", &[1], &[10.0]),
        _ => net(parts, "one_step.", &[11 + 3, 4, 3]),
    };
    let parts = net(parts, "critic.0.", &[14, 4, 1]);
    net(parts, "value.", &[11, 4, 1])
        .floats("obs_mean", &[11], &[0.0; 11])
        .floats("obs_std", &[11], &[1.0; 11])
        .floats("sampled.candidates", &[1], &[20.0])
        .floats("sampled.expectile", &[1], &[0.7])
}
