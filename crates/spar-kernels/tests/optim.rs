//! Adam and Polyak averaging against PyTorch and against their definitions.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

mod common;

use common::{draw, wide};
use proptest::prelude::*;
use spar_kernels::{
    Isa,
    optim::{AdamConfig, adam, polyak},
};

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
        .zip([1.669_939_4, 0.108_516_37, 1.970_569_5, 0.904_9f32])
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

/*
The program above with torch.optim.AdamW([p], lr=3e-2, weight_decay=0.1)
*/
#[test]
fn adam_with_weight_decay_is_pytorchs_adamw() {
    let mut p = [1.0f32, -2.0, 0.5, 3.0];
    let scale = [1.0f32, 0.5, 3.0, 0.0];
    let (mut m, mut v) = ([0.0; 4], [0.0; 4]);
    let config = AdamConfig::new(3e-2).with_weight_decay(0.1);
    for i in 0..5 {
        let grad: Vec<f32> = (0..4).map(|j| 2.0 * p[j] * scale[j] + i as f32).collect();
        adam(&config, i + 1, &mut p, &grad, &mut m, &mut v);
    }
    for (got, want) in p
        .iter()
        .zip([0.837_020_7, -1.890_372_9, 0.343_233, 2.855_325_2f32])
    {
        assert!((got - want).abs() < 1e-6, "{p:?}");
    }
}

/*
torch 2.15.0, in double precision:

import torch
torch.set_default_dtype(torch.float64)
j = torch.arange(6.0)
for decay in (0.0, 0.1):
    p = torch.nn.Parameter(1 - 0.4 * j)
    kind = torch.optim.AdamW if decay else torch.optim.Adam
    opt = kind([p], lr=3e-2, weight_decay=decay)
    for i in range(1, 101):
        opt.zero_grad()
        (10 ** (j - 3) * (p ** 2 / 2 + p * torch.cos(i * (j + 1)))).sum().backward()
        opt.step()
        if i in (1, 10, 100):
            print(decay, i, [float(f"{x:.7g}") for x in p.tolist()])
    print(decay, "m", [float(f"{x:.7g}") for x in opt.state[p]["exp_avg"].tolist()])
    print(decay, "v", [float(f"{x:.7g}") for x in opt.state[p]["exp_avg_sq"].tolist()])
*/
#[test]
fn a_hundred_steps_of_adam_are_pytorchs() {
    let expected = [
        (
            0.0,
            [
                [0.970_000_2, 0.570_000_2, 0.23, -0.17, -0.57, -0.97],
                [
                    0.762_470_2,
                    0.416_685_8,
                    0.182_538_8,
                    -0.077_758_68,
                    -0.386_964_7,
                    -0.721_292_3,
                ],
                [
                    3.989_066e-4,
                    -2.943_373e-3,
                    -1.339_926e-3,
                    7.922_486e-5,
                    1.491_607e-3,
                    -0.033_610_35,
                ],
            ],
            [
                1.143_084e-5,
                -5.982_68e-5,
                -6.906_539e-4,
                -7.506_767e-3,
                -0.157_781_2,
                -19.643_07,
            ],
            [
                6.145_628e-8,
                5.108_239e-6,
                4.769_149e-4,
                0.047_996_3,
                5.190_268,
                641.199,
            ],
        ),
        (
            0.1,
            [
                [0.967_000_2, 0.568_200_2, 0.2294, -0.1694, -0.5682, -0.967],
                [
                    0.737_202,
                    0.402_636_1,
                    0.176_844_1,
                    -0.074_441_64,
                    -0.373_322,
                    -0.695_352_4,
                ],
                [
                    -1.263_4e-3,
                    -2.275_949e-3,
                    -9.863_989e-4,
                    -9.158_091e-5,
                    8.853_275e-4,
                    -0.032_108_93,
                ],
            ],
            [
                6.057_556e-6,
                -6.031_549e-5,
                -6.682_273e-4,
                -7.701_962e-3,
                -0.157_369_4,
                -19.188_68,
            ],
            [
                6.012_625e-8,
                5.078_912e-6,
                4.764_654e-4,
                0.047_987_72,
                5.164_905,
                629.495_5,
            ],
        ),
    ];
    for isa in Isa::present() {
        for (decay, at, m_end, v_end) in expected {
            let config = AdamConfig::new(3e-2).with_weight_decay(decay);
            let mut p: Vec<f32> = (0..6).map(|j| 1.0 - 0.4 * j as f32).collect();
            let (mut m, mut v) = ([0.0f32; 6], [0.0f32; 6]);
            for i in 1..=100u64 {
                let slope = |(j, &x): (usize, &f32)| {
                    let push = (i as f64 * (j as f64 + 1.0)).cos();
                    (10f64.powi(j as i32 - 3) * (f64::from(x) + push)) as f32
                };
                let grad: Vec<f32> = p.iter().enumerate().map(slope).collect();
                isa.confine(|| adam(&config, i, &mut p, &grad, &mut m, &mut v));
                let want = match i {
                    1 => at[0],
                    10 => at[1],
                    100 => at[2],
                    _ => continue,
                };
                for (got, want) in p.iter().zip(want) {
                    let off = (f64::from(*got) - want).abs();
                    assert!(
                        off < 3e-6,
                        "{isa:?}, decay {decay}, step {i}: {got}, PyTorch {want}"
                    );
                }
            }
            let moments = m.iter().zip(m_end).chain(v.iter().zip(v_end));
            for (n, (got, want)) in moments.enumerate() {
                // Of a sum that cancels, what it is a sum of.
                let size: f64 = if n < 6 { f64::sqrt(v_end[n]) } else { want };
                let off = (f64::from(*got) - want).abs();
                assert!(
                    off < 3e-6 * size,
                    "{isa:?}, decay {decay}: {got}, PyTorch {want}"
                );
            }
        }
    }
}

#[test]
fn polyak_moves_by_tau() {
    let mut target = [1.0f32, -1.0];
    polyak(0.25, &mut target, &[5.0, 3.0]);
    assert_eq!(target, [2.0, 0.0]);
}

/// One Adam step by its definition in double precision, without any
/// rearrangement: what the fused pass must stay within rounding of.
fn plain_adam(c: &AdamConfig, step: u64, p: &mut [f64], g: &[f64], m: &mut [f64], v: &mut [f64]) {
    let [lr, eps] = [c.lr, c.eps].map(f64::from);
    let (b1, b2) = (c.beta1, c.beta2);
    for i in 0..p.len() {
        p[i] *= 1.0 - lr * f64::from(c.weight_decay);
        m[i] = b1 * m[i] + (1.0 - b1) * g[i];
        v[i] = b2 * v[i] + (1.0 - b2) * g[i] * g[i];
        let m_hat = m[i] / (1.0 - b1.powf(step as f64));
        let v_hat = v[i] / (1.0 - b2.powf(step as f64));
        p[i] -= lr * m_hat / (v_hat.sqrt() + eps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn adam_is_its_definition(
        n in 0usize..70, steps in 1u64..40, seed: u64,
        lr in 1e-5f32..1e-1, beta1 in 0.0f64..0.99, beta2 in 0.5f64..0.9999, scale in -3i32..4,
        weight_decay in prop_oneof![Just(0.0f32), 0.0f32..1.0],
    ) {
        let config = AdamConfig { lr, beta1, beta2, eps: 1e-8, weight_decay };
        for isa in Isa::present() {
            let mut p = draw(seed, "params", 1.0, n);
            let (mut m, mut v) = (vec![0.0f32; n], vec![0.0f32; n]);
            let (mut p64, mut m64, mut v64) = (wide(&p), wide(&m), wide(&v));
            for step in 1..=steps {
                let grad: Vec<f32> = draw(seed, &format!("grad/{step}"), 1.0, n)
                    .iter()
                    .map(|g| g * 10f32.powi(scale))
                    .collect();
                isa.confine(|| adam(&config, step, &mut p, &grad, &mut m, &mut v));
                plain_adam(&config, step, &mut p64, &wide(&grad), &mut m64, &mut v64);
            }
            for i in 0..n {
                // A step moves a parameter by about lr whatever the gradient's scale.
                let off = (f64::from(p[i]) - p64[i]).abs();
                prop_assert!(off <= 1e-6 * steps as f64 * (1.0 + f64::from(lr)), "{i} on {isa:?}: {} {}", p[i], p64[i]);
                let off = (f64::from(v[i]) - v64[i]).abs();
                prop_assert!(off <= 1e-5 * v64[i], "{i} on {isa:?}: {} {}", v[i], v64[i]);
            }
        }
    }

    #[test]
    fn polyak_is_its_definition(n in 0usize..70, tau in 0.0f32..=1.0, seed: u64) {
        let source = draw(seed, "source", 1.0, n);
        let before = draw(seed, "target", 1.0, n);
        for isa in Isa::present() {
            let mut target = before.clone();
            isa.confine(|| polyak(tau, &mut target, &source));
            for i in 0..n {
                let [t, s, tau] = [before[i], source[i], tau].map(f64::from);
                let want = (1.0 - tau) * t + tau * s;
                let off = (f64::from(target[i]) - want).abs();
                prop_assert!(off <= 1e-6 * (1.0 + t.abs() + s.abs()), "{i} on {isa:?}: {} {want}", target[i]);
            }
        }
    }
}

/// A step without gradient on fresh moments moves nothing, and a longer buffer
/// is not a different computation: every element is its own.
#[test]
fn an_element_depends_on_itself_alone() {
    let config = AdamConfig::new(1e-2);
    let (p, g) = (draw(1, "p", 1.0, 67), draw(1, "g", 1.0, 67));
    let step = |range: std::ops::Range<usize>| {
        let mut p = p[range.clone()].to_vec();
        let (mut m, mut v) = (vec![0.0; p.len()], vec![0.0; p.len()]);
        adam(&config, 1, &mut p, &g[range], &mut m, &mut v);
        p
    };
    let whole = step(0..67);
    for (i, &moved) in whole.iter().enumerate() {
        assert_eq!(step(i..i + 1)[0], moved, "element {i}");
    }
    let mut still = p.clone();
    adam(
        &config,
        1,
        &mut still,
        &[0.0; 67],
        &mut [0.0; 67],
        &mut [0.0; 67],
    );
    assert_eq!(still, p);
}
