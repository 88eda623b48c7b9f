//! Products on every instruction set of this machine against their definition.

use proptest::prelude::*;

use super::*;

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| draw()).collect()
}

/// `sum_p a(i, p) b(p, j)` in double precision, and the sum of magnitudes that
/// bounds its rounding.
fn definition(k: usize, a: impl Fn(usize) -> f32, b: impl Fn(usize) -> f32) -> (f64, f64) {
    let terms = (0..k).map(|p| f64::from(a(p)) * f64::from(b(p)));
    terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
}

#[track_caller]
fn close(got: f32, (want, size): (f64, f64), k: usize, what: &str) {
    let bound = 1e-30 + f64::from(f32::EPSILON) * (k as f64 + 2.0) * size;
    assert!(
        (f64::from(got) - want).abs() <= bound,
        "{what}: {got} {want}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn products_are_their_definition(
        rows in 0usize..110, k in 1usize..300, n in 1usize..80, wide in 0usize..12, seed: u64,
    ) {
        // Now and then rows too far apart to be read where they lie.
        let n = if wide == 0 { n + IN_PLACE } else { n };
        let (x, w) = (values(rows * k, seed), values(k * n, seed ^ 1));
        for isa in Isa::present() {
            let mut buffer = Vec::new();
            Weight::pack(isa, &w, n, &mut buffer);
            let mut out = vec![f32::NAN; rows * n];
            let mut seen = 0;
            Weight::packed(isa, &w, n, &buffer).multiply(&x, &mut out, |first, block| {
                assert_eq!(first * n, seen);
                seen += block.len();
            });
            prop_assert_eq!(seen, out.len(), "every row is handed on once");
            for (at, &got) in out.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let want = definition(k, |p| x[i * k + p], |p| w[p * n + j]);
                close(got, want, k, &format!("{isa:?} {i},{j}"));
            }
            // The same weight handed over as its transpose gives the same bits.
            let mut turned = vec![0.0; k * n];
            pack::transpose(isa, &w, n, k, &mut turned);
            Weight::pack_transposed(isa, &turned, k, &mut buffer);
            let mut again = vec![f32::NAN; rows * n];
            let weight = Weight::packed_transposed(isa, &turned, k, &buffer);
            weight.multiply(&x, &mut again, |_, _| {});
            prop_assert_eq!(again, out);
        }
    }

    #[test]
    fn gradients_are_their_definition(
        rows in 1usize..300, k in 1usize..70, n in 1usize..80, add: bool, seed: u64,
    ) {
        let (x, dy) = (values(rows * k, seed), values(rows * n, seed ^ 1));
        let before = values(k * n, seed ^ 2);
        for isa in Isa::present() {
            let mut out = before.clone();
            gradient(isa, &x, &dy, n, &mut out, add, &mut Scratch::default());
            for (at, &got) in out.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let (mut want, mut size) = definition(rows, |p| x[p * k + i], |p| dy[p * n + j]);
                if add {
                    want += f64::from(before[at]);
                    size += f64::from(before[at].abs());
                }
                close(got, (want, size), rows, &format!("{isa:?} {i},{j}"));
            }
        }
    }
}
