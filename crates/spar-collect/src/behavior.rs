//! Behaviour policies as files: half-precision safetensors, small enough to be
//! committed. The rounded weights *are* the policy: returns in data cards are
//! those of the file, not of the network it was rounded from.

use std::{collections::HashMap, path::Path};

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use spar_core::{EnvId, Policy, write_atomic};
use spar_nn::{Activation, Linear, RowMlp};

use crate::{CollectError, gaussian::GaussianPolicy};

/// Writes `policy` to `path`: `layers.<i>.weight` (`[in, out]`, f16) and
/// `layers.<i>.bias`, with metadata `env`, `step` and `kind = tanh_gaussian`.
///
/// # Errors
/// If the file cannot be written.
pub fn write(
    policy: &GaussianPolicy,
    env: EnvId,
    step: usize,
    path: &Path,
) -> Result<(), CollectError> {
    let half = |values: &[f32]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|&v| f16::from_f32(v).to_le_bytes())
            .collect()
    };
    let mut tensors = Vec::new();
    for (i, layer) in policy.net().layers.iter().enumerate() {
        let shape = vec![layer.input(), layer.output()];
        tensors.push((format!("layers.{i}.weight"), shape, half(&layer.weight)));
        tensors.push((
            format!("layers.{i}.bias"),
            vec![layer.output()],
            half(&layer.bias),
        ));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F16, shape.clone(), bytes).map(|v| (name.as_str(), v))
    });
    let views = views
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| corrupt(path, &e))?;
    let metadata = HashMap::from([("about".to_owned(), format!("tanh_gaussian {env} {step}"))]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| corrupt(path, &e))?;
    Ok(write_atomic(path, &bytes)?)
}

/// Reads a behaviour policy for `env` back from `path`.
///
/// # Errors
/// If the file cannot be read, is not one [`write()`] made, or its widths are
/// not those of `env`.
pub fn read(path: &Path, env: EnvId) -> Result<GaussianPolicy, CollectError> {
    let bytes = std::fs::read(path).map_err(|e| spar_core::files::in_file(e, path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| corrupt(path, &e))?;
    let values = |name: &str| -> Result<Vec<f32>, CollectError> {
        let tensor = file.tensor(name).map_err(|e| corrupt(path, &e))?;
        if tensor.dtype() != Dtype::F16 {
            return Err(corrupt(
                path,
                &format!("`{name}` is {:?}, expected F16", tensor.dtype()),
            ));
        }
        let (pairs, _) = tensor.data().as_chunks::<2>();
        Ok(pairs
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect())
    };
    let layers = (0..file.len() / 2)
        .map(|i| {
            Ok(Linear {
                weight: values(&format!("layers.{i}.weight"))?,
                bias: values(&format!("layers.{i}.bias"))?,
                norm: None,
            })
        })
        .collect::<Result<Vec<_>, CollectError>>()?;
    let chained = layers.windows(2).all(|w| w[0].output() == w[1].input());
    let whole = layers
        .iter()
        .all(|l| l.weight.len() == l.input() * l.output());
    let policy = GaussianPolicy::new(RowMlp {
        layers,
        hidden: Activation::Relu,
        output: Activation::Identity,
        input_norm: None,
    });
    let (obs, act) = (policy.obs_dim(), policy.act_dim());
    if !chained || !whole || obs != env.obs_dim() || act != env.act_dim() {
        let why = format!(
            "expected a policy for {env} ({} -> {}), got {obs} -> {act}",
            env.obs_dim(),
            env.act_dim(),
        );
        return Err(corrupt(path, &why));
    }
    Ok(policy)
}

fn corrupt(path: &Path, why: &dyn std::fmt::Display) -> CollectError {
    CollectError::Policy {
        file: path.display().to_string(),
        why: why.to_string(),
    }
}
