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
//! | `<layer>.norm.weight`, `.norm.bias` | `[out]` | gain and shift of a LayerNorm (eps 1e-5) between that layer and its activation, where present |
//!
//! and acts by `clip(b + d, -1, 1)`. Its metadata entry `spar` is a JSON object:
//! [`About`].
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
//! `layers.<i>.bias`, optional `.norm.*`, `obs_mean` and `obs_std`, and metadata
//! `activation` (`relu`, `tanh`, `leaky_relu_0.01`) and `output` (`identity`,
//! `tanh`); its actions are clipped to `[-1, 1]`.

mod write;

use std::{collections::HashMap, num::NonZeroUsize, path::Path};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use spar_baselines::{Latent, LatentActor};
use spar_core::{DatasetIdentity, EnvId, Policy, files::in_file};
use spar_nn::{Activation, Conservatism, Linear, Norm, RowMlp};
use spar_rectify::{Residual, SparPolicy};

use crate::{
    baseline_policy::LatentPolicy, error::TrainError, plain_policy::PlainPolicy, spec::Method,
};

pub(crate) use write::bytes_of;
pub use write::write;

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
const ACTIVATION_KEY: &str = "activation";

/// The metadata entry of a plain network's output.
const OUTPUT_KEY: &str = "output";

/// The metadata entry that tells our own policies from plain networks.
const METADATA_KEY: &str = "spar";

/// The tensor that says how critics judge a candidate.
const DEVIATIONS: &str = "critic.deviations";

/// What a policy file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The method's name, as in `bc`.
    pub method: String,
    /// The environment it was trained for.
    pub env: EnvId,
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
/// widths are those of `env`.
///
/// # Errors
/// One line saying what is missing or wrong in the file.
pub fn read(path: &Path, env: EnvId) -> Result<Box<dyn Policy>, TrainError> {
    read_best_of(path, env, NonZeroUsize::MIN)
}

/// [`read`], acting by the best of `best_of` latents
/// ([`Residual::best_of`]); one is the deterministic policy.
///
/// # Errors
/// As [`read`]; and if there is more than one to choose from and nothing in the
/// file to choose by.
pub fn read_best_of(
    path: &Path,
    env: EnvId,
    best_of: NonZeroUsize,
) -> Result<Box<dyn Policy>, TrainError> {
    let mut contents = contents(path, env)?;
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
    Ok(match contents {
        Contents::Spar(policy) => Box::new(policy),
        Contents::Plain(policy) => Box::new(policy),
        Contents::Latent(policy) => Box::new(policy),
    })
}

/// What the policy file at `path` says of itself; `None` in a plain network.
///
/// # Errors
/// If the file cannot be read or is no policy file.
pub fn about(path: &Path) -> Result<Option<About>, TrainError> {
    let bytes = std::fs::read(path).map_err(|e| in_file(e, path))?;
    let reader = Reader::new(path, &bytes)?;
    let Some(text) = reader.metadata.get(METADATA_KEY) else {
        return Ok(None);
    };
    let about = serde_json::from_str(text);
    about
        .map(Some)
        .map_err(|e| reader.wrong(format!("metadata `{METADATA_KEY}`: {e}")))
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

/// The policy at `path`, checked as by [`read`].
pub(crate) fn contents(path: &Path, env: EnvId) -> Result<Contents, TrainError> {
    let bytes = std::fs::read(path).map_err(|e| in_file(e, path))?;
    let reader = Reader::new(path, &bytes)?;
    let ours = reader.metadata.contains_key(METADATA_KEY);
    let contents = if ours && reader.has("decoder.layers.0.weight") {
        Contents::Latent(reader.latent()?)
    } else if ours && !reader.metadata.contains_key(ACTIVATION_KEY) {
        Contents::Spar(reader.spar()?)
    } else {
        Contents::Plain(reader.plain()?)
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
    Ok(contents)
}

struct Reader<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, TrainError> {
        let wrong = |e: safetensors::SafeTensorError| TrainError::File {
            file: path.to_owned(),
            why: format!("not a safetensors file: {e}"),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
        let mut metadata = header.metadata().clone().unwrap_or_default();
        // A plain network of ours says inside that entry what others say beside it.
        let about = metadata.get(METADATA_KEY).map(String::as_str);
        let about: Option<serde_json::Value> = about.and_then(|t| serde_json::from_str(t).ok());
        for key in [ACTIVATION_KEY, OUTPUT_KEY] {
            if let Some(text) = about.as_ref().and_then(|about| about[key].as_str()) {
                metadata.insert(key.to_owned(), text.to_owned());
            }
        }
        Ok(Self {
            path,
            file: SafeTensors::deserialize(bytes).map_err(wrong)?,
            metadata,
        })
    }

    fn wrong(&self, why: String) -> TrainError {
        TrainError::File {
            file: self.path.to_owned(),
            why,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_ok()
    }

    /// The finite `f32` values of tensor `name` of rank `rank`, and its shape.
    fn tensor(&self, name: &str, rank: usize) -> Result<(Vec<usize>, Vec<f32>), TrainError> {
        let missing = |_| self.wrong(format!("no tensor `{name}`; see the policy file format"));
        let view = self.file.tensor(name).map_err(missing)?;
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => {
                let (words, _) = view.data().as_chunks::<4>();
                words.iter().map(|b| f32::from_le_bytes(*b)).collect()
            }
            Dtype::F64 => {
                let (words, _) = view.data().as_chunks::<8>();
                words
                    .iter()
                    .map(|b| f64::from_le_bytes(*b) as f32)
                    .collect()
            }
            other => {
                return Err(self.wrong(format!("`{name}` is {other:?}, expected F32 or F64")));
            }
        };
        let shape = view.shape().to_vec();
        if shape.len() != rank {
            return Err(self.wrong(format!(
                "`{name}` has shape {shape:?}, expected rank {rank}"
            )));
        }
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(self.wrong(format!("`{name}` is not finite at element {i}")));
        }
        Ok((shape, values))
    }

    fn net(
        &self,
        prefix: &str,
        hidden: Activation,
        output: Activation,
    ) -> Result<RowMlp, TrainError> {
        let mut layers: Vec<Linear> = Vec::new();
        while self
            .file
            .tensor(&format!("{prefix}layers.{}.weight", layers.len()))
            .is_ok()
            || layers.is_empty()
        {
            let name = format!("{prefix}layers.{}.weight", layers.len());
            let (shape, weight) = self.tensor(&name, 2)?;
            let (_, bias) = self.tensor(&format!("{prefix}layers.{}.bias", layers.len()), 1)?;
            let (output, input) = (shape[0], shape[1]);
            let before = layers.last().map_or(input, Linear::output);
            if bias.len() != output || input != before || input == 0 || output == 0 {
                return Err(self.wrong(format!(
                    "`{name}` is [{output}, {input}], expected [{}, {before}]: weights are [out, in]",
                    bias.len()
                )));
            }
            layers.push(Linear {
                weight: transpose(&weight, output, input),
                bias,
                norm: self.norm(&format!("{prefix}layers.{}.norm", layers.len()), output)?,
            });
        }
        Ok(RowMlp {
            layers,
            hidden,
            output,
        })
    }

    /// The layer normalization called `name`, if there is one.
    fn norm(&self, name: &str, width: usize) -> Result<Option<Norm>, TrainError> {
        let names = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        if names.iter().all(|name| self.file.tensor(name).is_err()) {
            return Ok(None);
        }
        let [gain, shift] = names.map(|name| {
            let (shape, values) = self.tensor(&name, 1)?;
            if shape[0] != width {
                return Err(self.wrong(format!("`{name}` is {shape:?}, expected [{width}]")));
            }
            Ok(values)
        });
        Ok(Some(Norm {
            gain: gain?,
            shift: shift?,
        }))
    }

    /// The one value of tensor `name`.
    fn scalar(&self, name: &str) -> Result<f32, TrainError> {
        match self.tensor(name, 1)? {
            (_, values) if values.len() == 1 => Ok(values[0]),
            (shape, _) => Err(self.wrong(format!("`{name}` is {shape:?}, expected [1]"))),
        }
    }

    fn conservatism(&self) -> Result<Conservatism, TrainError> {
        if self.file.tensor(DEVIATIONS).is_err() {
            return Ok(Conservatism::Min);
        }
        let deviations = self.scalar(DEVIATIONS)?;
        if deviations < 0.0 {
            return Err(self.wrong(format!(
                "`{DEVIATIONS}` is {deviations}, expected a number that is not negative"
            )));
        }
        Ok(Conservatism::MeanMinusStd(deviations))
    }

    /// `Q_1..Q_N`, none where the file has none.
    fn critics(&self, input: usize) -> Result<Vec<RowMlp>, TrainError> {
        let mut critics: Vec<RowMlp> = Vec::new();
        loop {
            let prefix = format!("critic.{}.", critics.len());
            if !self.file.names().iter().any(|n| n.starts_with(&prefix)) {
                return Ok(critics);
            }
            let critic = self.net(&prefix, Activation::Relu, Activation::Identity)?;
            if (critic.input_dim(), critic.output_dim()) != (input, 1) {
                return Err(self.wrong(format!(
                    "`{prefix}` maps {} values to {}, expected {input} to 1",
                    critic.input_dim(),
                    critic.output_dim()
                )));
            }
            critics.push(critic);
        }
    }

    /// `obs_mean` and `obs_std`, `[obs_dim]` each.
    fn normalizer(&self, obs_dim: usize) -> Result<(Vec<f32>, Vec<f32>), TrainError> {
        let (_, mean) = self.tensor("obs_mean", 1)?;
        let (_, std) = self.tensor("obs_std", 1)?;
        if mean.len() != obs_dim || std.len() != obs_dim || std.contains(&0.0) {
            return Err(self.wrong(format!(
                "`obs_mean` and `obs_std` have {} and {} elements, expected {obs_dim}, none zero in `obs_std`",
                mean.len(),
                std.len()
            )));
        }
        Ok((mean, std))
    }

    fn spar(&self) -> Result<SparPolicy, TrainError> {
        let anchor = self.net("anchor.", Activation::Relu, Activation::Tanh)?;
        let (obs_mean, obs_std) = self.normalizer(anchor.input_dim())?;
        let about = self.metadata.get(METADATA_KEY).map_or("", String::as_str);
        let about: About = serde_json::from_str(about)
            .map_err(|e| self.wrong(format!("metadata `{METADATA_KEY}` is not a policy's: {e}")))?;
        // A file that lost its residual must not pass for its anchor.
        let rectified = about.method == Method::Spar.name()
            || self.file.names().iter().any(|n| n.starts_with("residual."));
        let residual = if rectified {
            let decoder = self.net("residual.", Activation::Relu, Activation::Tanh)?;
            let least = anchor.input_dim() + anchor.output_dim();
            if decoder.input_dim() < least || decoder.output_dim() != anchor.output_dim() {
                return Err(self.wrong("the residual does not fit the anchor".to_owned()));
            }
            Some(Residual {
                decoder,
                rho: self.scalar("residual.rho")?,
                critics: self.critics(least)?,
                conservatism: self.conservatism()?,
                sigma_z: self.scalar("residual.sigma_z")?,
                best_of: NonZeroUsize::MIN,
            })
        } else {
            None
        };
        Ok(SparPolicy {
            obs_mean,
            obs_std,
            anchor,
            residual,
        })
    }

    /// A policy in a decoder's latent space.
    fn latent(&self) -> Result<LatentPolicy, TrainError> {
        let net = |prefix, output| self.net(prefix, Activation::Relu, output);
        let decoder = net("decoder.", Activation::Tanh)?;
        let latent = if self.has("latent.layers.0.weight") {
            Latent::Actor {
                net: net("latent.", Activation::Tanh)?,
                bound: self.scalar("latent.bound")?,
            }
        } else {
            let candidates = self.scalar("latent.candidates")?;
            Latent::Best {
                critic: net("critic.0.", Activation::Identity)?,
                candidates: NonZeroUsize::new(candidates as usize).ok_or_else(|| {
                    self.wrong(format!(
                        "`latent.candidates` is {candidates}, expected at least 1"
                    ))
                })?,
                clip: self.scalar("latent.clip")?,
            }
        };
        let perturbation = if self.has("perturbation.layers.0.weight") {
            let net = net("perturbation.", Activation::Tanh)?;
            Some((net, self.scalar("perturbation.size")?))
        } else {
            None
        };
        let actor = LatentActor {
            decoder,
            latent,
            perturbation,
        };
        let Some(obs_dim) = actor.widths() else {
            return Err(self.wrong("its networks do not fit each other".to_owned()));
        };
        let (obs_mean, obs_std) = self.normalizer(obs_dim)?;
        Ok(LatentPolicy {
            obs_mean,
            obs_std,
            actor,
        })
    }

    fn plain(&self) -> Result<PlainPolicy, TrainError> {
        let named = |key: &str, known: &[(&str, Activation)]| {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let Some(value) = self.metadata.get(key) else {
                let names = names.join(", ");
                return Err(self.wrong(format!("no metadata `{key}`; expected one of: {names}")));
            };
            let found = known
                .iter()
                .find(|(name, _)| name == value)
                .map(|(_, a)| *a);
            found.ok_or_else(|| {
                let names = names.join(", ");
                self.wrong(format!(
                    "metadata `{key}` is `{value}`, expected one of: {names}"
                ))
            })
        };
        let hidden = named(ACTIVATION_KEY, &HIDDEN)?;
        let output = named(OUTPUT_KEY, &OUTPUT)?;
        let net = self.net("", hidden, output)?;
        let (obs_mean, obs_std) = if self.has("obs_mean") || self.has("obs_std") {
            self.normalizer(net.input_dim())?
        } else {
            (vec![0.0; net.input_dim()], vec![1.0; net.input_dim()])
        };
        Ok(PlainPolicy {
            obs_mean,
            obs_std,
            net,
        })
    }
}

/// The transpose of row-major `[rows, cols]` as row-major `[cols, rows]`.
pub(crate) fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let columns = 0..cols;
    columns
        .flat_map(|c| (0..rows).map(move |r| values[r * cols + c]))
        .collect()
}
