//! A small SPAR, and what of it an update moved.
#![allow(dead_code, clippy::unwrap_used)]

use spar_anchor::{Anchor, AnchorConfig};
use spar_core::Stream;
use spar_critic::{CriticConfig, CriticForm};
use spar_nn::{Batch, MlpShape, State};
use spar_rectify::{Ablation, Base, RectifyConfig, Spar, SparMetrics};

pub(crate) const OBS: usize = 3;
pub(crate) const ACT: usize = 2;
pub(crate) const ROWS: usize = 32;
pub(crate) const HIDDEN: [usize; 2] = [16, 12];

pub(crate) fn rectify() -> RectifyConfig {
    RectifyConfig {
        hidden: HIDDEN.into(),
        lr: 1e-3,
        beta: 0.5,
        rho: 0.7,
        w_fit: 0.1,
        lambda: 1.0,
        candidates: 4,
        temperature: 0.3,
        scale: 0.3,
        sigma_z: 1.0,
        policy_freq: 1,
        warmup: 0,
        tau: 0.1,
        ablation: Ablation::None,
    }
}

pub(crate) fn anchor(seed: u64) -> Anchor {
    let anchor = AnchorConfig {
        hidden: HIDDEN.into(),
        lr: 1e-3,
        updates: 0,
        ..AnchorConfig::default()
    };
    Anchor::new(&anchor, OBS, ACT, &mut Stream::new(seed, "anchor")).unwrap()
}

pub(crate) fn spar_of(form: CriticForm, rectify: RectifyConfig, seed: u64) -> Spar {
    spar_on(anchor(seed).into(), form, rectify, seed)
}

pub(crate) fn spar_on(base: Base, form: CriticForm, rectify: RectifyConfig, seed: u64) -> Spar {
    let critic = CriticConfig {
        form,
        hidden: HIDDEN.into(),
        n_critics: 2,
        lr: 1e-3,
        discount: 0.99,
        tau: 0.05,
        expectile: 0.7,
        deviations: None,
        penalty: 1.5,
        penalty_ratio: 0.7,
    };
    Spar::new(rectify, critic, base, OBS, ACT, seed).unwrap()
}

pub(crate) fn batch(seed: u64) -> Batch {
    let mut stream = Stream::new(seed, "batch");
    let mut draw = |n: usize| {
        let mut v = vec![0.0; n];
        stream.fill_uniform(-1.0, 1.0, &mut v);
        v
    };
    let (obs, actions, rewards) = (draw(ROWS * OBS), draw(ROWS * ACT), draw(ROWS));
    let next = draw(ROWS * OBS);
    Batch::from_slices(ROWS, &obs, &actions, &rewards, &next, &[1.0; ROWS]).unwrap()
}

pub(crate) fn update(spar: &mut Spar, seed: u64) -> SparMetrics {
    let mut metrics = SparMetrics::default();
    spar.update(&batch(seed), &mut metrics).unwrap();
    metrics
}

pub(crate) fn saved(spar: &Spar) -> State {
    let mut state = State::default();
    spar.save(&mut state).unwrap();
    state
}

pub(crate) fn shape(name: &str) -> MlpShape {
    let (input, output) = match name {
        "anchor" => (OBS, ACT),
        "critic.value" => (OBS, 1),
        "rectify.encoder" => (OBS + 2 * ACT, 4 * ACT),
        "rectify.decoder" | "rectify.decoder_average" => (OBS + 3 * ACT, ACT),
        "rectify.head" | "rectify.head_average" => (OBS + ACT, ACT),
        _ => (OBS + ACT, 1),
    };
    MlpShape::relu(input, HIDDEN, output)
        .unwrap()
        .with_layer_norm(name.starts_with("critic"))
}

pub(crate) fn params(state: &State, name: &str) -> Vec<f32> {
    state.get(name, shape(name).parameters()).unwrap()
}

/// Whether every parameter tensor of a network moved, or none did.
pub(crate) fn moved(before: &State, after: &State, name: &str) -> Option<bool> {
    let (before, after) = (params(before, name), params(after, name));
    let shape = shape(name);
    let tensors = shape.layers().flat_map(|l| {
        let norm = l.norm.into_iter().flat_map(|(gain, shift)| [gain, shift]);
        [l.weight, l.bias].into_iter().chain(norm)
    });
    let moved: Vec<bool> = tensors.map(|t| before[t.clone()] != after[t]).collect();
    match moved.iter().filter(|m| **m).count() {
        0 => Some(false),
        n if n == moved.len() => Some(true),
        _ => None,
    }
}
