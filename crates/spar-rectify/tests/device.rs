//! The update on a device against the update in candle: one trajectory up to
//! rounding, one kind of checkpoint. The device is the stand-in that runs the
//! CUDA sources on the CPU.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "../../spar-kernels/tests/cuda/shim.rs"]
mod shim;

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use spar_anchor::{Anchor, AnchorConfig};
use spar_core::Stream;
use spar_critic::{CriticConfig, CriticForm};
use spar_nn::{Batch, BatchSlices, State, device::Kernels};
use spar_rectify::{Ablation, DeviceSpar, RectifyConfig, Spar, SparMetrics};

use crate::shim::Shim;

const OBS: usize = 5;
const ACT: usize = 2;
const ROWS: usize = 20;
/// Warm-up ends after the policy has learned twice.
const WARMUP: u64 = 3;
const UPDATES: u64 = 8;

fn spar(form: CriticForm, w_fit: f64) -> Spar {
    let config = RectifyConfig {
        hidden: vec![24, 17],
        lr: 1e-3,
        beta: 0.3,
        rho: 0.8,
        w_fit,
        lambda: 1.5,
        candidates: 4,
        temperature: 0.7,
        scale: 0.3,
        sigma_z: 1.2,
        policy_freq: 2,
        warmup: WARMUP,
        tau: 0.05,
        ablation: Ablation::None,
    };
    let critic = CriticConfig {
        form,
        hidden: vec![19, 24],
        n_critics: 3,
        lr: 1e-3,
        discount: 0.97,
        tau: 0.05,
        expectile: 0.8,
        // One critic of each kind.
        deviations: (form == CriticForm::Residual).then_some(0.5),
        penalty: 1.5,
        penalty_ratio: 0.7,
    };
    let anchor = AnchorConfig {
        hidden: vec![16],
        lr: 1e-3,
        updates: 0,
        ..AnchorConfig::default()
    };
    let anchor = Anchor::new(&anchor, OBS, ACT, &mut Stream::new(1, "anchor")).unwrap();
    let mut spar = Spar::new(config, critic, anchor, OBS, ACT, 4).unwrap();
    // The decoder starts near zero: candidates that hardly differ would be
    // ranked by rounding.
    let mut state = State::default();
    spar.save(&mut state).unwrap();
    let (mut decoder, at) = (arrays(&state), "rectify.decoder");
    let decoder = decoder.get_mut(at).unwrap();
    Stream::new(1, "decoder").fill_normal(0.3, decoder);
    for name in [at, "rectify.decoder_average"] {
        state.insert(name, decoder.clone());
    }
    spar.load(&state).unwrap();
    spar
}

/// The arrays of a state by name.
fn arrays(state: &State) -> BTreeMap<String, Vec<f32>> {
    let bytes = state.to_bytes().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = file.iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    floats
        .map(|(name, view)| {
            let (words, _) = view.data().as_chunks::<4>();
            let values = words.iter().map(|b| f32::from_le_bytes(*b)).collect();
            (name.to_owned(), values)
        })
        .collect()
}

struct Rows {
    obs: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    next_obs: Vec<f32>,
    not_terminal: Vec<f32>,
}

impl Rows {
    /// The batch of update `i`.
    fn of(i: u64) -> Self {
        let mut stream = Stream::new(i, "batch");
        let mut draw = |n| {
            let mut values = vec![0.0; n];
            stream.fill_normal(1.0, &mut values);
            values
        };
        let (obs, next_obs, rewards) = (draw(ROWS * OBS), draw(ROWS * OBS), draw(ROWS));
        let mut actions = draw(ROWS * ACT);
        actions.iter_mut().for_each(|a| *a = a.clamp(-1.0, 1.0));
        Self {
            not_terminal: (0..ROWS).map(|row| f32::from(row % 7 != 3)).collect(),
            obs,
            actions,
            rewards,
            next_obs,
        }
    }

    fn slices(&self) -> BatchSlices<'_> {
        BatchSlices {
            rows: ROWS,
            obs: &self.obs,
            actions: &self.actions,
            rewards: &self.rewards,
            next_obs: &self.next_obs,
            not_terminal: &self.not_terminal,
        }
    }
}

fn on_cpu(spar: &mut Spar, until: u64, metrics: &mut SparMetrics) {
    while spar.updates() < until {
        let batch = Rows::of(spar.updates());
        let batch = Batch::of(&batch.slices()).unwrap();
        spar.update(&batch, metrics).unwrap();
    }
}

fn on_device(spar: &mut DeviceSpar<'_, Shim>, until: u64) {
    while spar.updates() < until {
        spar.update(&Rows::of(spar.updates()).slices()).unwrap();
    }
}

fn saved(save: impl FnOnce(&mut State)) -> State {
    let mut state = State::default();
    save(&mut state);
    state
}

fn of_cpu(spar: &Spar) -> State {
    saved(|state| spar.save(state).unwrap())
}

fn of_device(spar: &DeviceSpar<'_, Shim>) -> State {
    saved(|state| spar.save(state).unwrap())
}

/// Both hold the same names, counts and streams, and numbers that differ by
/// rounding: by no more than `TOLERANCE` of an array's largest.
#[track_caller]
fn close(got: &State, want: &State) {
    assert_eq!(got.metadata, want.metadata, "random streams");
    let (a, b) = (arrays(got), arrays(want));
    assert!(a.keys().eq(b.keys()), "{:?} {:?}", a.keys(), b.keys());
    for (name, values) in &a {
        let want = &b[name];
        let largest = want.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
        let off = values.iter().zip(want).map(|(a, b)| (a - b).abs());
        let off = off.fold(0.0, f32::max);
        assert!(
            off <= TOLERANCE * largest,
            "{name}: off by {off:e}, the largest is {largest:e}"
        );
    }
}

const TOLERANCE: f32 = 1e-5;

#[track_caller]
fn close_metrics(got: &SparMetrics, want: &SparMetrics) {
    let of = |m: &SparMetrics| {
        let c = &m.critic;
        let critic = [c.q_loss, c.value_loss, c.target_mean];
        let policy = [m.reconstruction, m.kl, m.self_imitation];
        [critic, policy, [m.weight_max, m.spread, 0.0]].concat()
    };
    for (got_one, want_one) in of(got).into_iter().zip(of(want)) {
        let off = (got_one - want_one).abs();
        assert!(off <= 1e-5 * want_one.abs(), "{got:?}\n{want:?}");
    }
}

const FORMS: [CriticForm; 2] = [CriticForm::Expectile, CriticForm::Residual];

#[test]
fn the_device_follows_the_cpu() {
    for (form, w_fit) in [(FORMS[0], 0.2), (FORMS[1], 0.2), (FORMS[0], 0.0)] {
        let Some(shim) = Shim::small() else { return };
        let kernels = Kernels::new(shim);
        let mut cpu = spar(form, w_fit);
        let mut device = DeviceSpar::new(&kernels, &cpu, ROWS).unwrap();
        assert_eq!(of_device(&device), of_cpu(&cpu), "the start");
        let mut metrics = SparMetrics::default();
        for update in 1..=UPDATES {
            on_cpu(&mut cpu, update, &mut metrics);
            on_device(&mut device, update);
            close_metrics(&device.metrics().unwrap(), &metrics);
        }
        assert!(metrics.self_imitation > 0.0 && metrics.spread > 0.0);
        close(&of_device(&device), &of_cpu(&cpu));
    }
}

#[test]
fn every_trained_network_moves_and_nothing_else() {
    for form in FORMS {
        let Some(shim) = Shim::small() else { return };
        let kernels = Kernels::new(shim);
        let start = spar(form, 0.2);
        let mut device = DeviceSpar::new(&kernels, &start, ROWS).unwrap();
        let before = arrays(&of_device(&device));
        on_device(&mut device, UPDATES);
        for (name, values) in arrays(&of_device(&device)) {
            assert_eq!(values == before[&name], name == "anchor", "{name}");
            assert!(values.iter().all(|v| v.is_finite()), "{name}");
        }
    }
}

#[test]
fn what_is_saved_goes_on_as_if_it_had_not_been() {
    for form in FORMS {
        let Some(shim) = Shim::small() else { return };
        let kernels = Kernels::new(shim);
        let start = spar(form, 0.2);
        let begin = || DeviceSpar::new(&kernels, &start, ROWS).unwrap();
        let mut whole = begin();
        on_device(&mut whole, UPDATES);
        // Between two updates of the policy: its metrics come from the checkpoint.
        for stop in [2, 6] {
            let mut first = begin();
            on_device(&mut first, stop);
            let (state, metrics) = (of_device(&first), first.metrics().unwrap());
            let mut second = begin();
            second.load(&state).unwrap();
            second.set_metrics(metrics);
            assert_eq!(second.metrics().unwrap(), metrics);
            on_device(&mut second, stop + 1);
            on_device(&mut first, stop + 1);
            assert_eq!(second.metrics().unwrap(), first.metrics().unwrap());
            on_device(&mut second, UPDATES);
            assert_eq!(of_device(&second), of_device(&whole));
            assert_eq!(second.metrics().unwrap(), whole.metrics().unwrap());
        }
    }
}

#[test]
fn a_checkpoint_goes_on_on_the_other_device() {
    for form in FORMS {
        let Some(shim) = Shim::small() else { return };
        let kernels = Kernels::new(shim);
        let half = UPDATES / 2;
        let mut metrics = SparMetrics::default();
        let mut cpu = spar(form, 0.2);
        let mut device = DeviceSpar::new(&kernels, &cpu, ROWS).unwrap();
        on_cpu(&mut cpu, half, &mut metrics);
        on_device(&mut device, half);
        let (of_the_cpu, of_the_device) = (of_cpu(&cpu), of_device(&device));

        let mut whole = spar(form, 0.2);
        on_cpu(&mut whole, UPDATES, &mut metrics);
        let want = of_cpu(&whole);
        device.load(&of_the_cpu).unwrap();
        on_device(&mut device, UPDATES);
        close(&of_device(&device), &want);
        cpu.load(&of_the_device).unwrap();
        on_cpu(&mut cpu, UPDATES, &mut metrics);
        close(&of_cpu(&cpu), &want);
    }
}

/// The stand-in repeats recordings from names and arguments alone: if the host
/// decided anything within an update, they would come out differently.
#[test]
fn a_recorded_update_is_the_update() {
    for form in FORMS {
        let run = |records| {
            let mut shim = Shim::small()?;
            shim.records = records;
            let kernels = Kernels::new(shim);
            let mut device = DeviceSpar::new(&kernels, &spar(form, 0.2), ROWS).unwrap();
            on_device(&mut device, UPDATES);
            let metrics = device.metrics().unwrap();
            let repeats = kernels.device().repeats();
            assert_eq!(repeats, if records { UPDATES as usize } else { 0 });
            Some((of_device(&device), metrics))
        };
        let (Some(direct), Some(recorded)) = (run(false), run(true)) else {
            return;
        };
        assert_eq!(direct, recorded);
    }
}

/// The figures of `docs/cuda.md`.
#[test]
fn an_update_takes_the_launches_the_documentation_counts() {
    for (form, rests, fits, imitates) in [(FORMS[0], 12, 25, 31), (FORMS[1], 8, 21, 27)] {
        let Some(shim) = Shim::small() else { return };
        let kernels = Kernels::new(shim);
        let mut device = DeviceSpar::new(&kernels, &spar(form, 0.2), ROWS).unwrap();
        let mut launches = |until| {
            let before = kernels.device().launches();
            on_device(&mut device, until);
            kernels.device().launches() - before
        };
        // The policy learns in the first, third and fifth: WARMUP is three.
        let counted = [1, 2, 3, 4, 5].map(&mut launches);
        assert_eq!(counted, [fits, rests, fits, rests, imitates], "{form:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let start = spar(FORMS[0], 0.2);
    let mut device = DeviceSpar::new(&kernels, &start, ROWS).unwrap();
    let error = |device: &mut DeviceSpar<'_, Shim>, state: &State| {
        device.load(state).unwrap_err().to_string()
    };
    let mut state = of_cpu(&start);
    state.insert_count("critic.1.adam_step", 3);
    let text = error(&mut device, &state);
    assert!(text.contains("[0, 3, 0] steps"), "{text}");
    state.insert("critic.2.target", vec![0.0]);
    let text = error(&mut device, &state);
    assert!(text.contains("`critic.2.target` has 1"), "{text}");
    let text = error(&mut device, &State::default());
    assert!(text.contains("no `anchor`"), "{text}");
}
