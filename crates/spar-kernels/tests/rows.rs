//! What acting is made of against its definition, on every instruction set.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use spar_core::Stream;
use spar_kernels::{
    Isa,
    rows::{affine, layer_norm},
};

fn draw(seed: u64, name: &str, n: usize) -> Vec<f32> {
    let mut values = vec![0.0f32; n];
    Stream::new(seed, name).fill_normal(1.0, &mut values);
    values
}

/// The order of summation that [`affine`] promises, one number at a time.
fn one_by_one(weight: &[f32], bias: &[f32], x: &[f32]) -> Vec<f32> {
    let row = |j: usize| {
        let terms = x
            .iter()
            .enumerate()
            .map(|(k, x)| x * weight[k * bias.len() + j]);
        terms.fold(bias[j], |sum, term| sum + term)
    };
    (0..bias.len()).map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn affine_is_its_definition(input in 0usize..50, output in 1usize..70, rows in 1usize..12, seed: u64) {
        let (weight, bias) = (draw(seed, "weight", input * output), draw(seed, "bias", output));
        let x = draw(seed, "x", rows * input);
        for isa in Isa::present() {
            let mut out = vec![f32::NAN; rows * output];
            isa.confine(|| affine(&weight, &bias, &x, &mut out));
            for (i, out) in out.chunks(output).enumerate() {
                let x = &x[i * input..(i + 1) * input];
                prop_assert_eq!(out, one_by_one(&weight, &bias, x), "row {} on {:?}", i, isa);
                for j in 0..output {
                    let terms = (0..input).map(|k| f64::from(x[k]) * f64::from(weight[k * output + j]));
                    let want = f64::from(bias[j]) + terms.clone().sum::<f64>();
                    let size = f64::from(bias[j]).abs() + terms.map(f64::abs).sum::<f64>();
                    prop_assert!((f64::from(out[j]) - want).abs() <= 1e-6 * (1.0 + size), "{j}: {} {want}", out[j]);
                }
            }
        }
    }

    #[test]
    fn layer_norm_is_its_definition(width in 2usize..300, rows in 0usize..6, flax: bool, seed: u64) {
        let eps = if flax { 1e-6 } else { 1e-5 };
        let (gain, shift) = (draw(seed, "gain", width), draw(seed, "shift", width));
        let before = draw(seed, "rows", rows * width);
        let mut bits: Option<Vec<f32>> = None;
        for isa in Isa::present() {
            let mut after = before.clone();
            isa.confine(|| layer_norm(&gain, &shift, eps, &mut after));
            for (before, after) in before.chunks(width).zip(after.chunks(width)) {
                let n = width as f64;
                let wide = before.iter().map(|v| f64::from(*v));
                let mean = wide.clone().sum::<f64>() / n;
                let variance = wide.clone().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                for (j, v) in wide.enumerate() {
                    let want = f64::from(gain[j]) * (v - mean) / (variance + f64::from(eps)).sqrt() + f64::from(shift[j]);
                    let off = (f64::from(after[j]) - want).abs();
                    prop_assert!(off <= 1e-4 * (1.0 + want.abs()), "{j} on {isa:?}: {} {want}", after[j]);
                }
            }
            prop_assert_eq!(bits.get_or_insert_with(|| after.clone()), &after, "{:?}", isa);
        }
    }
}

#[test]
#[should_panic(expected = "weight of an affine map from 2 to 2")]
fn lengths_that_do_not_fit_are_refused() {
    affine(&[0.0; 5], &[0.0; 2], &[0.0; 2], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "output rows of an affine map 2 wide")]
fn rows_that_are_not_whole_are_refused() {
    affine(&[0.0; 4], &[0.0; 2], &[0.0; 2], &mut [0.0; 3]);
}
