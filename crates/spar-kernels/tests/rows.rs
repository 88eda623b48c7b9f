//! The affine map of acting against its definition.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use spar_core::Stream;
use spar_kernels::rows::affine;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn affine_is_its_definition(input in 0usize..50, output in 1usize..50, seed: u64) {
        let mut stream = Stream::new(seed, "affine");
        let mut draw = |n: usize| {
            let mut v = vec![0.0f32; n];
            stream.fill_normal(1.0, &mut v);
            v
        };
        let (weight, bias, x) = (draw(input * output), draw(output), draw(input));
        let mut out = vec![f32::NAN; output];
        affine(&weight, &bias, &x, &mut out);
        for j in 0..output {
            let terms = (0..input).map(|k| f64::from(x[k]) * f64::from(weight[k * output + j]));
            let want = f64::from(bias[j]) + terms.clone().sum::<f64>();
            let size = f64::from(bias[j]).abs() + terms.map(f64::abs).sum::<f64>();
            prop_assert!((f64::from(out[j]) - want).abs() <= 1e-6 * (1.0 + size), "{j}: {} {want}", out[j]);
        }
    }
}

#[test]
#[should_panic(expected = "weight of an affine map")]
fn lengths_that_do_not_fit_are_refused() {
    affine(&[0.0; 5], &[0.0; 2], &[0.0; 2], &mut [0.0; 2]);
}
