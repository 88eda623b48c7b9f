//! Policy files: what is written is read back, PyTorch's layout is understood,
//! and a bad file ends in one line.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{collections::HashMap, fs, num::NonZeroUsize, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use spar_core::{EnvId, Policy, Stream};
use spar_nn::{Conservatism, Head, Mlp, MlpShape, RowMlp};
use spar_rectify::{Residual, SparPolicy};
use spar_train::policy_file::{About, read, read_best_of, write};

const ENV: EnvId = EnvId::Hopper;

fn mlp(name: &str, input: usize, output: usize, layer_norm: bool, head: Head) -> Mlp {
    let shape = MlpShape::relu(input, [9, 7], output)
        .with_layer_norm(layer_norm)
        .with_head(head);
    let mut params = vec![0.0; shape.parameters()];
    Stream::new(1, name).fill_normal(0.5, &mut params);
    Mlp::from_params(shape, params).unwrap()
}

fn net(name: &str, input: usize, output: usize) -> RowMlp {
    RowMlp::of(&mlp(name, input, output, false, Head::Tanh)).unwrap()
}

fn critic(i: usize) -> Mlp {
    mlp(&format!("critic/{i}"), 11 + 3, 1, true, Head::Linear)
}

fn policy(residual: bool) -> SparPolicy {
    let mut stream = Stream::new(1, "normalizer");
    let mut draw = |low, high| {
        let mut v = vec![0.0; 11];
        stream.fill_uniform(low, high, &mut v);
        v
    };
    SparPolicy {
        obs_mean: draw(-1.0, 1.0),
        obs_std: draw(0.5, 2.0),
        anchor: net("anchor", 11, 3),
        residual: residual.then(|| Residual {
            decoder: net("decoder", 11 + 3 + 6, 3),
            rho: 0.8,
            critics: [0, 1].map(|i| RowMlp::of(&critic(i)).unwrap()).into(),
            conservatism: Conservatism::MeanMinusStd(0.5),
            sigma_z: 1.5,
            best_of: NonZeroUsize::MIN,
        }),
    }
}

fn about(method: &str) -> About {
    About {
        method: method.into(),
        env: ENV,
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

fn actions(policy: &dyn Policy) -> Vec<f32> {
    let mut obs = vec![0.0; 20 * 11];
    Stream::new(1, "obs").fill_normal(2.0, &mut obs);
    let mut out = vec![f32::NAN; 20 * 3];
    let mut streams: Vec<_> = (0..20).map(|i| Stream::new(i, "act")).collect();
    policy.act(&obs, &mut streams, &mut out);
    out
}

fn best_of(k: usize) -> SparPolicy {
    let mut policy = policy(true);
    policy.residual.as_mut().unwrap().best_of = NonZeroUsize::new(k).unwrap();
    policy
}

#[test]
fn a_policy_read_back_acts_as_the_written_one() {
    let dir = tempfile::tempdir().unwrap();
    for (method, residual) in [("bc", false), ("spar", true)] {
        let [file, again] = ["a", "b"].map(|n| dir.path().join(n));
        write(&file, &policy(residual), &about(method)).unwrap();
        write(&again, &policy(residual), &about(method)).unwrap();
        assert_eq!(fs::read(&file).unwrap(), fs::read(&again).unwrap());
        let read = read(&file, ENV).unwrap();
        assert_eq!((read.obs_dim(), read.act_dim()), (11, 3));
        assert_eq!(actions(&*read), actions(&policy(residual)), "{method}");
    }
}

#[test]
fn the_best_of_k_is_read_back_and_only_where_there_are_critics() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.safetensors");
    let eight = NonZeroUsize::new(8).unwrap();
    write(&file, &policy(true), &about("spar")).unwrap();
    let read = read_best_of(&file, ENV, eight).unwrap();
    assert_eq!(actions(&*read), actions(&best_of(8)));
    assert_ne!(actions(&*read), actions(&policy(true)));
    write(&file, &policy(false), &about("bc")).unwrap();
    let error = read_best_of(&file, ENV, eight).err().unwrap().to_string();
    assert!(error.contains("no critics"), "{error}");
}

#[test]
fn tensors_and_metadata_are_the_documented_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy");
    write(&file, &policy(true), &about("spar")).unwrap();
    let bytes = fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("obs_mean"), [11]);
    assert_eq!(shape("anchor.layers.0.weight"), [9, 11]);
    assert_eq!(shape("anchor.layers.2.weight"), [3, 7]);
    assert_eq!(shape("residual.layers.0.weight"), [9, 20]);
    assert_eq!(shape("residual.layers.2.bias"), [3]);
    assert_eq!(shape("residual.rho"), [1]);
    assert_eq!(shape("residual.sigma_z"), [1]);
    assert_eq!(shape("critic.1.layers.0.weight"), [9, 14]);
    assert_eq!(shape("critic.1.layers.1.norm.weight"), [7]);
    assert_eq!(shape("critic.1.layers.1.norm.bias"), [7]);
    assert_eq!(tensors.len(), 2 + 6 + 6 + 3 + 2 * (6 + 4));
    // PyTorch's [out, in]: row 0 holds the weights of output 0.
    let weight = tensors.tensor("anchor.layers.0.weight").unwrap();
    let (words, _) = weight.data().as_chunks::<4>();
    let ours = &policy(true).anchor.layers[0].weight;
    assert_eq!(f32::from_le_bytes(words[1]), ours[9], "input 1 of output 0");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let text = &header.metadata().as_ref().unwrap()["spar"];
    assert_eq!(serde_json::from_str::<About>(text).unwrap(), about("spar"));
}

/// A file as parts that a test can spoil.
#[derive(Clone, Default)]
struct Parts {
    tensors: HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl Parts {
    fn of_spar(dir: &Path) -> Self {
        let file = dir.join("good");
        write(&file, &policy(true), &about("spar")).unwrap();
        let bytes = fs::read(&file).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let parts = tensors.iter().map(|(name, view)| {
            let part = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name.to_owned(), part)
        });
        Self {
            tensors: parts.collect(),
            metadata: header.metadata().clone().unwrap(),
        }
    }

    fn floats(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let part = (Dtype::F32, shape.to_vec(), bytes);
        self.tensors.insert(name.to_owned(), part);
        self
    }

    fn without(mut self, prefix: &str) -> Self {
        self.tensors.retain(|name, _| !name.starts_with(prefix));
        self
    }

    fn meta(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (dtype, shape, data))| {
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), data).unwrap(),
            )
        });
        safetensors::serialize(views, Some(self.metadata.clone())).unwrap()
    }

    fn read(&self, dir: &Path) -> Result<Box<dyn Policy>, spar_train::TrainError> {
        let file = dir.join("policy.safetensors");
        fs::write(&file, self.to_bytes()).unwrap();
        read(&file, ENV)
    }
}

#[track_caller]
fn refused(dir: &Path, parts: &Parts, expected: &str) {
    let error = parts.read(dir).err().expect("refused").to_string();
    assert!(
        error.contains("policy.safetensors") && !error.contains('\n'),
        "{error}"
    );
    assert!(error.contains(expected), "{error} lacks {expected}");
}

#[test]
fn a_spoilt_policy_is_refused_by_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let good = || Parts::of_spar(dir);
    good().read(dir).unwrap();

    for name in [
        "obs_mean",
        "obs_std",
        "anchor.layers.0.weight",
        "anchor.layers.1.bias",
        "residual.layers.0.weight",
        "residual.layers.2.bias",
        "residual.rho",
        "residual.sigma_z",
        "critic.0.layers.1.norm.weight",
        "critic.1.layers.0.weight",
    ] {
        refused(dir, &good().without(name), &format!("`{name}`"));
        let mut dtype = good();
        dtype
            .tensors
            .insert(name.into(), (Dtype::I64, vec![1], vec![0; 8]));
        refused(dir, &dtype, "I64");
        let mut spoilt = good();
        let (_, _, data) = spoilt.tensors.get_mut(name).unwrap();
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        refused(dir, &spoilt, "not finite at element 0");
    }
    // A policy without its residual is not its anchor.
    refused(dir, &good().without("residual."), "residual.");

    let wide = good().floats("anchor.layers.1.weight", &[7, 10], &[0.1; 70]);
    refused(
        dir,
        &wide,
        "`anchor.layers.1.weight` is [7, 10], expected [7, 9]",
    );
    let short = good().floats("anchor.layers.0.bias", &[8], &[0.1; 8]);
    refused(dir, &short, "`anchor.layers.0.weight`");
    let wide = good().floats("critic.0.layers.0.norm.bias", &[8], &[0.1; 8]);
    refused(
        dir,
        &wide,
        "`critic.0.layers.0.norm.bias` is [8], expected [9]",
    );
    let flat = good().floats("anchor.layers.0.weight", &[99], &[0.1; 99]);
    refused(dir, &flat, "expected rank 2");
    refused(
        dir,
        &good().floats("obs_mean", &[10], &[0.0; 10]),
        "expected 11",
    );
    refused(
        dir,
        &good().floats("obs_std", &[11], &[0.0; 11]),
        "none zero",
    );
    let narrow = good()
        .without("residual.layers")
        .floats("residual.layers.0.weight", &[3, 13], &[0.0; 39])
        .floats("residual.layers.0.bias", &[3], &[0.0; 3]);
    refused(dir, &narrow, "does not fit the anchor");
    refused(
        dir,
        &good().floats("residual.rho", &[2], &[0.5; 2]),
        "`residual.rho` is [2], expected [1]",
    );
    refused(
        dir,
        &good().floats("critic.deviations", &[1], &[-0.5]),
        "`critic.deviations` is -0.5, expected a number that is not negative",
    );
    refused(dir, &good().meta("spar", "what?"), "metadata `spar`");

    let bytes = good().to_bytes();
    for bytes in [
        &bytes[..bytes.len() - 1],
        &bytes[..20],
        b"",
        b"<html></html>",
    ] {
        let file = dir.join("policy.safetensors");
        fs::write(&file, bytes).unwrap();
        let error = read(&file, ENV).err().unwrap().to_string();
        assert!(
            error.contains("policy.safetensors: not a safetensors file"),
            "{error}"
        );
    }
    let absent = read(&dir.join("absent"), ENV).err().unwrap().to_string();
    assert!(absent.contains("absent"), "{absent}");
}

#[test]
fn a_policy_of_another_environment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.safetensors");
    write(&file, &policy(true), &about("spar")).unwrap();
    let error = read(&file, EnvId::Walker2d).err().unwrap().to_string();
    for part in [
        "11 observations to 3 actions",
        "walker2d has 17 and 6",
        "--env",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

/// A network as PyTorch would save it, and what it computes.
fn plain(activation: &str, output: &str) -> (Parts, Vec<f32>) {
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

#[test]
fn a_plain_network_from_elsewhere_acts_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    for activation in ["relu", "tanh", "leaky_relu_0.01"] {
        for output in ["identity", "tanh"] {
            let (parts, want) = plain(activation, output);
            let got = actions(&*parts.read(dir.path()).unwrap());
            for (got, want) in got.iter().zip(&want) {
                assert!(
                    (got - want).abs() < 1e-5,
                    "{activation}, {output}: {got} {want}"
                );
            }
            assert!(
                output == "tanh" || want.contains(&1.0),
                "the clip is exercised"
            );
        }
    }
    // Double precision is read, and a normalizer that changes nothing is none.
    let (mut parts, want) = plain("relu", "tanh");
    for (dtype, _, data) in parts.tensors.values_mut() {
        let (words, _) = data.as_chunks::<4>();
        let wide = words
            .iter()
            .flat_map(|w| f64::from(f32::from_le_bytes(*w)).to_le_bytes());
        (*dtype, *data) = (Dtype::F64, wide.collect());
    }
    let parts = parts
        .floats("obs_mean", &[11], &[0.0; 11])
        .floats("obs_std", &[11], &[1.0; 11]);
    let got = actions(&*parts.read(dir.path()).unwrap());
    assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-5));
}

#[test]
fn a_plain_network_that_says_too_little_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let good = || plain("relu", "tanh").0;
    let mut silent = good();
    silent.metadata.remove("activation");
    refused(
        dir,
        &silent,
        "no metadata `activation`; expected one of: relu, tanh",
    );
    refused(
        dir,
        &good().meta("output", "softmax"),
        "`output` is `softmax`",
    );
    refused(dir, &good().without("layers.0.weight"), "`layers.0.weight`");
    refused(dir, &good().without("layers.0"), "`layers.0.weight`");
    refused(
        dir,
        &good().floats("obs_mean", &[11], &[0.0; 11]),
        "`obs_std`",
    );
    let huge = good().floats("layers.1.bias", &[3], &[0.0, f32::INFINITY, 0.0]);
    refused(dir, &huge, "`layers.1.bias` is not finite at element 1");
}
