//! The fixed start, batch and noise from which `tests/scripts/spar_update.py`
//! computes two updates on its own. Shared by the example that hands them to
//! the script and the test that compares.
#![allow(dead_code, reason = "the example writes, the test compares")]

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use spar_anchor::{Anchor, AnchorConfig};
use spar_core::Stream;
use spar_critic::{CriticConfig, CriticForm};
use spar_nn::{Batch, State};
use spar_rectify::{Ablation, RectifyConfig, Spar};

pub(crate) const FORMS: [(&str, CriticForm); 2] = [
    ("expectile", CriticForm::Expectile),
    ("residual", CriticForm::Residual),
];

const SEED: u64 = 7;
const OBS: usize = 4;
const ACT: usize = 2;
const LATENT: usize = 2 * ACT;
const ROWS: usize = 16;
const CANDIDATES: usize = 4;

pub(crate) type Arrays = BTreeMap<String, Vec<f32>>;

/// Learning rates are large so that a parameter's change keeps its digits when
/// it is added to the parameter in single precision.
pub(crate) fn anchor_config() -> AnchorConfig {
    AnchorConfig {
        hidden: vec![8, 8],
        lr: 1e-2,
        updates: 1,
        ..AnchorConfig::default()
    }
}

fn critic_config(form: CriticForm) -> CriticConfig {
    CriticConfig {
        form,
        hidden: vec![8, 8],
        n_critics: 2,
        lr: 1e-2,
        discount: 0.99,
        tau: 0.05,
        expectile: 0.7,
        deviations: None,
        penalty: 1.5,
        penalty_ratio: 0.7,
    }
}

/// One update of warm-up, then self-imitation.
fn rectify_config() -> RectifyConfig {
    RectifyConfig {
        hidden: vec![8, 8],
        lr: 1e-2,
        beta: 0.5,
        rho: 0.8,
        w_fit: 0.3,
        lambda: 1.5,
        candidates: CANDIDATES,
        temperature: 0.3,
        scale: 0.3,
        sigma_z: 1.2,
        policy_freq: 1,
        warmup: 1,
        tau: 0.02,
        ablation: Ablation::None,
    }
}

/// An untrained anchor; its parameters are replaced.
pub(crate) fn anchor() -> Anchor {
    let mut init = Stream::new(SEED, "anchor/init");
    Anchor::new(&anchor_config(), OBS, ACT, &mut init).unwrap()
}

/// SPAR with every network at parameters drawn here: a fresh one would start
/// its decoder near zero, where the critic sees no difference between
/// candidates, and its target copies at their networks.
pub(crate) fn start(form: CriticForm) -> Spar {
    let mut spar = Spar::new(
        rectify_config(),
        critic_config(form),
        anchor(),
        OBS,
        ACT,
        SEED,
    )
    .unwrap();
    let mut state = State::default();
    spar.save(&mut state).unwrap();
    for (name, values) in networks(&spar) {
        state.insert(&name, draw(&format!("golden/{name}"), 0.5, values.len()));
    }
    spar.load(&state).unwrap();
    spar
}

/// The flat parameters of every network by their names in a checkpoint.
pub(crate) fn networks(spar: &Spar) -> Arrays {
    let mut state = State::default();
    spar.save(&mut state).unwrap();
    let mut arrays = read(&state.to_bytes().unwrap());
    arrays.retain(|name, _| !name.contains("adam"));
    arrays
}

pub(crate) fn batch() -> Batch {
    let a = batch_arrays();
    Batch::from_slices(
        ROWS,
        &a["batch.obs"],
        &a["batch.actions"],
        &a["batch.rewards"],
        &a["batch.next_obs"],
        &a["batch.not_terminal"],
    )
    .unwrap()
}

fn batch_arrays() -> Arrays {
    let mut uniform = vec![0.0; ROWS * ACT];
    Stream::new(SEED, "golden/actions").fill_uniform(-1.0, 1.0, &mut uniform);
    let not_terminal = (0..ROWS).map(|i| if i % 5 == 2 { 0.0 } else { 1.0 });
    [
        ("obs", draw("golden/obs", 1.0, ROWS * OBS)),
        ("actions", uniform),
        ("rewards", draw("golden/rewards", 1.0, ROWS)),
        ("next_obs", draw("golden/next_obs", 1.0, ROWS * OBS)),
        ("not_terminal", not_terminal.collect()),
    ]
    .map(|(name, values)| (format!("batch.{name}"), values))
    .into()
}

/// Everything the two updates are a function of: parameters, batch, and the
/// noise `Spar` will draw from its streams, in the order it draws it.
pub(crate) fn inputs(form: CriticForm) -> Arrays {
    let mut arrays = batch_arrays();
    for (name, values) in networks(&start(form)) {
        arrays.insert(format!("start.{name}"), values);
    }
    let mut posterior = Stream::new(SEED, "rectify/posterior");
    let mut latents = Stream::new(SEED, "rectify/latents");
    for update in [1, 2] {
        let mut noise = |stream: &mut Stream, name: &str, std: f32, rows: usize| {
            let mut values = vec![0.0; rows * LATENT];
            stream.fill_normal(std, &mut values);
            arrays.insert(format!("noise.{name}.{update}"), values);
        };
        let sigma_z = rectify_config().sigma_z;
        if form == CriticForm::Residual {
            noise(&mut latents, "next", sigma_z, ROWS);
        }
        noise(&mut posterior, "posterior", 1.0, ROWS);
        if update == 2 {
            noise(&mut latents, "candidates", sigma_z, ROWS * CANDIDATES);
        }
    }
    arrays
}

fn draw(name: &str, std: f32, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    Stream::new(SEED, name).fill_normal(std, &mut values);
    values
}

/// The `f32` arrays of a safetensors file.
pub(crate) fn read(bytes: &[u8]) -> Arrays {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let floats = file.iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    let values = floats.map(|(name, view)| {
        let (words, _) = view.data().as_chunks::<4>();
        let values = words.iter().map(|b| f32::from_le_bytes(*b)).collect();
        (name.to_owned(), values)
    });
    values.collect()
}

/// The inputs as a safetensors file whose metadata hold the hyper-parameters.
pub(crate) fn inputs_file(form: CriticForm) -> Vec<u8> {
    let config = serde_json::json!({
        "anchor": anchor_config(),
        "critic": critic_config(form),
        "rectify": rectify_config(),
    });
    let bytes: BTreeMap<String, Vec<u8>> = inputs(form)
        .into_iter()
        .map(|(name, v)| (name, v.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, data)| {
        let view = TensorView::new(Dtype::F32, vec![data.len() / 4], data).unwrap();
        (name.as_str(), view)
    });
    let metadata = [("config".to_owned(), config.to_string())].into();
    safetensors::serialize(views, Some(metadata)).unwrap()
}
