//! Updates held to an independent PyTorch program in double precision,
//! `tests/scripts/fqe_update.py`, whose docstring says how to regenerate.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use spar_nn::{Batch, BatchSlices};
use spar_ope::{Fqe, FqeConfig, Units};

const FIXTURE: &[u8] = include_bytes!("../../../tests/fixtures/pytorch/fqe.safetensors");

#[test]
fn three_updates_are_pytorch_s() {
    let file = SafeTensors::deserialize(FIXTURE).unwrap();
    let numbers = |name: &str| -> Vec<f32> {
        let (bytes, _) = file.tensor(name).unwrap().data().as_chunks::<4>();
        bytes
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect()
    };
    let config = FqeConfig {
        hidden: vec![8, 6],
        lr: 1e-2,
        tau: 0.25,
        discount: 0.9,
        ..FqeConfig::default()
    };
    let units = Units {
        center: 4.0,
        scale: 2.5,
        least: -12.0,
        greatest: 5.5,
    };
    let mut fqe = Fqe::new(&config, 3, 2, 0, units).unwrap();
    fqe.set_params(numbers("start")).unwrap();
    let rows = 16;
    let batch = Batch::of(&BatchSlices {
        rows,
        obs: &numbers("obs"),
        actions: &numbers("actions"),
        rewards: &numbers("rewards"),
        next_obs: &numbers("next_obs"),
        not_terminal: &numbers("not_terminal"),
    })
    .unwrap();
    let next = Tensor::from_vec(numbers("next_actions"), (rows, 2), &Device::Cpu).unwrap();
    for update in 1..=3 {
        let loss = fqe.update(&batch, &next).unwrap();
        close(&[loss], &numbers(&format!("{update}.loss")), 1e-5);
        let params = fqe.network().to_params().unwrap();
        close(&params, &numbers(&format!("{update}.params")), 1e-4);
        let target = fqe.target().to_params().unwrap();
        close(&target, &numbers(&format!("{update}.target")), 1e-4);
    }
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let fits = (f - e).abs() <= tolerance * (1.0 + e.abs());
        assert!(fits, "{i}: {f}, expected {e}");
    }
}
