#![allow(clippy::unwrap_used)]

use expect_test::expect;

use super::*;

/// Two methods, of which PyTorch has one.
pub(crate) fn methods() -> Methods {
    let turn = |steps, cpu_s| Timing {
        steps,
        cpu_s,
        wall_s: 1.0,
    };
    // The machine is half as fast in the second of three rounds: no ratio moves.
    let turns = |steps: f64| vec![turn(steps, 1.0), turn(steps, 2.0), turn(steps, 1.0)];
    let turns: Timings = [
        ("fac/ours", turns(3.0)),
        ("fac/jax-scan", turns(2.0)),
        ("fql/ours", turns(60.0)),
        ("fql/jax-scan", turns(50.0)),
        ("fql/torch-eager", turns(30.0)),
    ]
    .map(|(name, turns)| (name.to_owned(), turns))
    .into();
    let contenders = ["fma/peak", "fql/ours", "fac/ours"].map(str::to_owned);
    let batches = [("fql", 256), ("fac", 128)].map(|(name, n)| (name.to_owned(), n));
    let flops = [("fql".to_owned(), 1e9)];
    Methods {
        measured: Measured {
            date: "2026-11-27".to_owned(),
            commit: "abcdefabcdef".to_owned(),
        },
        machine: crate::bench::report::tests::report().machine,
        versions: BTreeMap::from([("jax".to_owned(), "0.10".to_owned())]),
        methods: rows(&contenders, &batches.into(), &flops.into(), &turns).unwrap(),
        largest_loss_difference: BTreeMap::new(),
        missing: vec!["fac/torch-eager: no memory".to_owned()],
        turns,
    }
}

#[test]
fn a_method_has_rates_and_ratios_round_by_round() {
    expect![[r#"
        a CPU, avx2 fma; one core: 100.0 GFLOP/s of fused multiply-adds, 90.0 in a large sgemm, no matrix unit
        jax 0.10

        | method | batch | ours, steps/s | of peak |  JAX | of peak | PyTorch | ours is, of JAX | of PyTorch |
        |--------|-------|---------------|---------|------|---------|---------|-----------------|------------|
        | fql    |   256 |          60.0 |     60% | 50.0 |     50% |    30.0 |           1.20x |      2.00x |
        | fac    |   128 |           3.0 |       - |  2.0 |       - |       - |           1.50x |          - |

        Against JAX ours is 1.35x in the median of the methods and 1.20x at least.
        A program that multiplies as much as JAX's and does nothing but that, at the peak, would be 2.00x in the median.
        Against PyTorch ours is 2.00x in the median of the methods and 2.00x at least.

        missing: fac/torch-eager: no memory"#]]
    .assert_eq(&methods().to_string());
}

#[test]
fn a_method_of_ours_that_was_not_measured_is_an_error() {
    let contenders = ["idql/ours".to_owned()];
    let error = rows(
        &contenders,
        &BTreeMap::new(),
        &BTreeMap::new(),
        &Timings::new(),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "`idql` was not measured");
}
