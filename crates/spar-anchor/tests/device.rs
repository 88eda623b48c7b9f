//! Cloning on a device against cloning in candle. The device is the stand-in that
//! runs the CUDA sources on the CPU.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "../../spar-kernels/tests/cuda/shim.rs"]
mod shim;

use spar_anchor::{Anchor, AnchorConfig, AnchorTrainer, DeviceAnchorTrainer};
use spar_core::Stream;
use spar_nn::{Batch, BatchSlices, State, device::Kernels};

use crate::shim::Shim;

const ROWS: usize = 20;
const UPDATES: u64 = 10;

fn config() -> AnchorConfig {
    AnchorConfig {
        hidden: vec![24, 17],
        lr: 3e-3,
        updates: 0,
        ..AnchorConfig::default()
    }
}

fn trainer() -> AnchorTrainer {
    let anchor = Anchor::new(&config(), 3, 2, &mut Stream::new(1, "init")).unwrap();
    AnchorTrainer::new(anchor, &config())
}

/// Batch `i`, handed to `f`.
fn with_batch<T>(i: u64, f: impl FnOnce(&BatchSlices<'_>) -> T) -> T {
    let mut stream = Stream::new(i, "batch");
    let (mut obs, mut actions) = (vec![0.0; ROWS * 3], vec![0.0; ROWS * 2]);
    stream.fill_normal(1.0, &mut obs);
    stream.fill_uniform(-1.0, 1.0, &mut actions);
    f(&BatchSlices {
        rows: ROWS,
        obs: &obs,
        actions: &actions,
        rewards: &[0.0; ROWS],
        next_obs: &obs,
        not_terminal: &[1.0; ROWS],
    })
}

fn of_cpu(trainer: &AnchorTrainer) -> State {
    let mut state = State::default();
    trainer.save(&mut state).unwrap();
    state
}

fn of_device(trainer: &DeviceAnchorTrainer<'_, Shim>) -> State {
    let mut state = State::default();
    trainer.save(&mut state).unwrap();
    state
}

#[test]
fn the_device_follows_the_cpu_and_either_goes_on_from_the_other() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let (mut cpu, mut follower) = (trainer(), trainer());
    let begin = |at: &AnchorTrainer| DeviceAnchorTrainer::new(&kernels, at, &config(), ROWS);
    let mut device = begin(&cpu).unwrap();
    assert_eq!(of_device(&device), of_cpu(&cpu), "the start");
    for i in 0..UPDATES {
        let before = kernels.device().launches();
        with_batch(i, |batch| device.update(batch)).unwrap();
        assert_eq!(kernels.device().launches() - before, 5);
        let want = with_batch(i, |batch| cpu.update(&Batch::of(batch).unwrap())).unwrap();
        let got = device.loss().unwrap();
        assert!((got - want).abs() <= 1e-5 * want, "{got} {want}");
    }
    close(&of_device(&device), &of_cpu(&cpu));

    follower.load(&of_device(&device)).unwrap();
    device.load(&of_cpu(&cpu)).unwrap();
    for i in UPDATES..2 * UPDATES {
        with_batch(i, |batch| {
            device.update(batch).unwrap();
            let batch = Batch::of(batch).unwrap();
            cpu.update(&batch).unwrap();
            follower.update(&batch).unwrap();
        });
    }
    close(&of_device(&device), &of_cpu(&cpu));
    close(&of_cpu(&follower), &of_cpu(&cpu));
}

#[test]
fn what_is_saved_goes_on_as_if_it_had_not_been() {
    let Some(shim) = Shim::small() else { return };
    let kernels = Kernels::new(shim);
    let begin = || DeviceAnchorTrainer::new(&kernels, &trainer(), &config(), ROWS).unwrap();
    let (mut whole, mut first, mut second) = (begin(), begin(), begin());
    let train = |device: &mut DeviceAnchorTrainer<'_, Shim>, from, until| {
        (from..until).for_each(|i| with_batch(i, |batch| device.update(batch)).unwrap());
    };
    train(&mut whole, 0, UPDATES);
    train(&mut first, 0, 4);
    second.load(&of_device(&first)).unwrap();
    train(&mut second, 4, UPDATES);
    assert_eq!(of_device(&second), of_device(&whole));
    assert_ne!(of_device(&second), of_device(&begin()));
}

/// The same, up to rounding.
#[track_caller]
fn close(got: &State, want: &State) {
    let shape = trainer().anchor.net().shape().clone();
    for name in ["anchor", "anchor.adam_m", "anchor.adam_v"] {
        let of = |state: &State| state.get(name, shape.parameters()).unwrap();
        let (got, want) = (of(got), of(want));
        let largest = want.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= 1e-5 * largest, "{name}: {got} {want}");
        }
    }
    let steps = |state: &State| state.get_count("anchor.adam_step").unwrap();
    assert_eq!(steps(got), steps(want));
}
