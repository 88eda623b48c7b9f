//! Adam and Polyak averaging against PyTorch.
#![allow(clippy::unwrap_used, missing_docs)]

use spar_kernels::optim::{AdamConfig, adam, polyak};

/*
import torch
p = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0]))
opt = torch.optim.Adam([p], lr=3e-2)
for i in range(5):
    opt.zero_grad(); (p ** 2 * torch.tensor([1.0, 0.5, 3.0, 0.0]) + i * p).sum().backward(); opt.step()
print(p.detach().tolist(), opt.state[p]["exp_avg"].tolist(), opt.state[p]["exp_avg_sq"].tolist())
*/
#[test]
fn adam_is_pytorchs() {
    let mut p = [1.0f32, -2.0, 0.5, 3.0];
    let scale = [1.0f32, 0.5, 3.0, 0.0];
    let (mut m, mut v) = ([0.0; 4], [0.0; 4]);
    for i in 0..5 {
        let grad: Vec<f32> = (0..4).map(|j| 2.0 * p[j] * scale[j] + i as f32).collect();
        adam(&AdamConfig::new(3e-2), i + 1, &mut p, &grad, &mut m, &mut v);
    }
    for (got, want) in p
        .iter()
        .zip([0.851_058_66, -1.918_798_7, 0.349_805_83, 2.899_628_6f32])
    {
        assert!((got - want).abs() < 1e-6, "{p:?}");
    }
    for (got, want) in m
        .iter()
        .zip([1.669_939_4, 0.108_516_37, 1.970_569_5, 0.904_900_01f32])
    {
        assert!((got - want).abs() < 1e-5, "{m:?}");
    }
    for (got, want) in v
        .iter()
        .zip([0.084_047_325, 0.010_442_473, 0.114_221_93, 0.029_980_008f32])
    {
        assert!((got - want).abs() < 1e-6, "{v:?}");
    }
}

#[test]
fn polyak_moves_by_tau() {
    let mut target = [1.0f32, -1.0];
    polyak(0.25, &mut target, &[5.0, 3.0]);
    assert_eq!(target, [2.0, 0.0]);
}
