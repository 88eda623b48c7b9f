#![allow(clippy::unwrap_used)]

use expect_test::expect;

use super::*;

fn losses<const N: usize>(values: [(&str, &[f64]); N]) -> Losses {
    values.map(|(k, v)| (k.to_owned(), v.to_vec())).into()
}

#[test]
fn losses_that_agree_give_the_largest_difference() {
    let ours = losses([("kl", &[1.0, 2.0]), ("q", &[-4.0])]);
    let theirs = losses([("kl", &[1.0, 2.0002]), ("q", &[-4.0]), ("more", &[7.0])]);
    let off = largest_difference("spar/jax", &ours, &theirs, 3e-4).unwrap();
    assert!((off - 1e-4).abs() < 1e-9, "{off}");
}

#[test]
fn losses_that_differ_name_the_contender_and_the_step() {
    let ours = losses([("kl", &[1.0, 2.0])]);
    let said = |theirs| {
        let error = largest_difference("spar/jax", &ours, &theirs, 3e-4).unwrap_err();
        error.to_string()
    };
    expect!["spar/jax computes something else: kl number 2 is 2.5, ours 2 (2.5e-1 of it apart, allowed 3.0e-4)"]
        .assert_eq(&said(losses([("kl", &[1.0, 2.5])])));
    expect!["spar/jax gives 1 values of kl, ours 2"].assert_eq(&said(losses([("kl", &[1.0])])));
    expect!["spar/jax gives 0 values of kl, ours 2"].assert_eq(&said(losses([])));
    assert!(said(losses([("kl", &[1.0, f64::NAN])])).contains("NaN"));
}

#[test]
fn the_median_is_the_middle() {
    assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(median([]), 0.0);
}

/// A comparison with one of everything.
pub(crate) fn report() -> Report {
    let turn = |steps, cpu_s| Timing {
        steps,
        cpu_s,
        wall_s: 1.0,
    };
    // The machine is half as fast in the second of three rounds: no ratio moves.
    let turns = |steps: f64| vec![turn(steps, 1.0), turn(steps, 2.0), turn(steps, 1.0)];
    let timings: Timings = [
        ("fma/peak", turns(100.0)),
        ("sgemm/peak", turns(90.0)),
        ("mlp/ours", turns(800.0)),
        ("mlp/jax-scan", turns(640.0)),
        ("spar/ours", turns(60.0)),
        ("spar/candle", turns(20.0)),
        ("critic/ours", turns(160.0)),
        ("fit/ours", turns(80.0)),
        ("imitation/ours", turns(40.0)),
    ]
    .map(|(name, turns)| (name.to_owned(), turns))
    .into();
    let gigaflop = [
        ("fma", 1.0),
        ("sgemm", 1.0),
        ("mlp", 0.1),
        ("spar", 1.2),
        ("critic", 0.5),
        ("fit", 0.8),
        ("imitation", 2.0),
    ];
    let hello = Hello {
        flops: gigaflop.map(|(name, n)| (name.to_owned(), n * 1e9)).into(),
        isa: "avx2".to_owned(),
        features: vec!["avx2".to_owned(), "fma".to_owned()],
        ..Hello::default()
    };
    let all_cores = vec![AllCores {
        workload: "mlp".to_owned(),
        arrangement: "ours, 2 processes".to_owned(),
        steps_per_s: 1599.96,
        ours_is: 1.0,
    }];
    let missing = vec!["torch: pip: no network".to_owned()];
    let versions = BTreeMap::from([("jax".to_owned(), "0.10".to_owned())]);
    let agreement = BTreeMap::new();
    let measured = Measured {
        date: "2026-11-24".to_owned(),
        commit: "0123456789ab".to_owned(),
    };
    let mut report = Report::new(
        measured, &hello, &timings, agreement, all_cores, missing, versions,
    )
    .unwrap();
    report.machine.cpu = "a CPU".to_owned();
    report
}

#[test]
fn a_report_has_rates_fractions_and_ratios_round_by_round() {
    expect![[r#"
        a CPU, avx2 fma; one core: 100.0 GFLOP/s of fused multiply-adds, 90.0 in a large sgemm, no matrix unit
        jax 0.10

        | one core | contender | steps/s | GFLOP/s | of peak | ours is |
        |----------|-----------|---------|---------|---------|---------|
        | mlp      | ours      |   800.0 |    80.0 |     80% |   1.00x |
        | mlp      | jax-scan  |   640.0 |    64.0 |     64% |   1.25x |
        | spar     | ours      |    60.0 |    72.0 |     72% |   1.00x |
        | spar     | candle    |    20.0 |    24.0 |     24% |   3.00x |

        | part of our update |    ms | GFLOP/s | of peak |
        |--------------------|-------|---------|---------|
        | critic step        |  6.25 |    80.0 |     80% |
        | fit                |  6.25 |    48.0 |     48% |
        | self-imitation     | 12.50 |    96.0 |     96% |

        | all cores | arrangement       | steps/s | ours is |
        |-----------|-------------------|---------|---------|
        | mlp       | ours, 2 processes |  1600.0 |   1.00x |

        missing: torch: pip: no network"#]]
    .assert_eq(&report().to_string());
}

#[test]
fn a_report_without_our_steps_is_none() {
    let hello = Hello {
        flops: [("fma".to_owned(), 1.0)].into(),
        ..Hello::default()
    };
    let report = Report::new(
        Measured::default(),
        &hello,
        &Timings::new(),
        BTreeMap::new(),
        vec![],
        vec![],
        BTreeMap::new(),
    );
    assert_eq!(
        report.unwrap_err().to_string(),
        "`fma/peak` was not measured"
    );
}
