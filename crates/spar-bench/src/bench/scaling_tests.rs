#![allow(clippy::unwrap_used)]

use expect_test::expect;

use super::{super::memory::Peak, *};

/// What is told where a step takes four times its floor at the smallest size and
/// just its floor at the largest.
pub(crate) fn scaling() -> Scaling {
    let turn = |steps| Timing {
        steps,
        cpu_s: 1.0,
        wall_s: 1.0,
    };
    let mut turns = Timings::from([
        ("fma/peak".to_owned(), vec![turn(100.0); 3]),
        ("sgemm/peak".to_owned(), vec![turn(90.0); 3]),
        ("stream/peak".to_owned(), vec![turn(10.0); 3]),
    ]);
    let gigabyte = Work {
        flops: 1_000_000_000,
        bytes: 1_000_000_000,
    };
    let mut work = BTreeMap::from([("stream".to_owned(), gigabyte)]);
    for (workload, scale) in [("mlp", 1.0), ("spar", 10.0)] {
        for (rows, width) in sizes() {
            let size = (rows * width) as f64;
            let flops = scale * 1e3 * size;
            let one = Work {
                flops: flops as usize,
                bytes: (flops / 100.0) as usize,
            };
            work.insert(name(workload, "", rows, width), one);
            let rate = 100e9 / flops;
            let slow = 1.0 + 3.0 * (64 * 256) as f64 / size;
            // The machine is half as fast in one of three rounds.
            let rates = [rate / slow, rate / slow / 2.0, rate / slow];
            turns.insert(name(workload, "/ours", rows, width), rates.map(turn).into());
        }
    }
    let hello = Hello {
        flops: [("fma".to_owned(), 1e9), ("sgemm".to_owned(), 1e9)].into(),
        isa: "avx2".to_owned(),
        features: vec!["avx2".to_owned(), "fma".to_owned()],
        ..Hello::default()
    };
    // All are slower in the second round.
    let rates = BTreeMap::from([
        (1, vec![100.0, 50.0, 100.0]),
        (2, vec![180.0, 90.0, 181.0]),
        (4, vec![320.0, 160.0, 320.0]),
    ]);
    let peak = |rows: usize, peak_bytes| Peak {
        rows,
        data_bytes: 100 * rows as u64,
        peak_bytes,
    };
    let memory = Memory {
        batch: 256,
        runs: [peak(10_000, 60_000_000), peak(2_000_000, 278_900_000)],
    };
    let measured = Measured {
        date: "2026-11-24".to_owned(),
        commit: "0123456789ab".to_owned(),
    };
    let missing = vec!["nothing else".to_owned()];
    let memory = Some(memory);
    let mut scaling =
        Scaling::new(measured, &hello, turns, &work, &rates, memory, missing).unwrap();
    scaling.machine.cpu = "a CPU".to_owned();
    scaling.machine.cores = 4;
    scaling
}

#[test]
fn scaling_is_printed_with_its_floors() {
    expect![[r#"
        a CPU, avx2 fma; one core: 100.0 GFLOP/s of fused multiply-adds, 90.0 in a large sgemm, no matrix unit; memory 10.0 GB/s

        | runs | updates/s in all | efficiency |
        |------|------------------|------------|
        |    1 |            100.0 |       100% |
        |    2 |            180.0 |        90% |
        |    4 |            320.0 |        80% |

        | one core | batch | steps/s | GFLOP/s | of peak |     ms | floor: arithmetic, ms | floor: memory, ms |
        |----------|-------|---------|---------|---------|--------|-----------------------|-------------------|
        | mlp      |    64 |  1525.9 |    25.0 |     25% |  0.655 |                 0.164 |             0.016 |
        | mlp      |   128 |  1220.7 |    40.0 |     40% |  0.819 |                 0.328 |             0.033 |
        | mlp      |   256 |   871.9 |    57.1 |     57% |  1.147 |                 0.655 |             0.066 |
        | mlp      |   512 |   554.9 |    72.7 |     73% |  1.802 |                 1.311 |             0.131 |
        | mlp      |  1024 |   321.2 |    84.2 |     84% |  3.113 |                 2.621 |             0.262 |
        | spar     |    64 |   152.6 |    25.0 |     25% |  6.554 |                 1.638 |             0.164 |
        | spar     |   128 |   122.1 |    40.0 |     40% |  8.192 |                 3.277 |             0.328 |
        | spar     |   256 |    87.2 |    57.1 |     57% | 11.469 |                 6.554 |             0.655 |
        | spar     |   512 |    55.5 |    72.7 |     73% | 18.022 |                13.107 |             1.311 |
        | spar     |  1024 |    32.1 |    84.2 |     84% | 31.130 |                26.214 |             2.621 |

        | one core | width | steps/s | GFLOP/s | of peak |     ms | floor: arithmetic, ms | floor: memory, ms |
        |----------|-------|---------|---------|---------|--------|-----------------------|-------------------|
        | mlp      |    64 |  1525.9 |    25.0 |     25% |  0.655 |                 0.164 |             0.016 |
        | mlp      |   128 |  1220.7 |    40.0 |     40% |  0.819 |                 0.328 |             0.033 |
        | mlp      |   256 |   871.9 |    57.1 |     57% |  1.147 |                 0.655 |             0.066 |
        | mlp      |   512 |   554.9 |    72.7 |     73% |  1.802 |                 1.311 |             0.131 |
        | mlp      |  1024 |   321.2 |    84.2 |     84% |  3.113 |                 2.621 |             0.262 |
        | spar     |    64 |   152.6 |    25.0 |     25% |  6.554 |                 1.638 |             0.164 |
        | spar     |   128 |   122.1 |    40.0 |     40% |  8.192 |                 3.277 |             0.328 |
        | spar     |   256 |    87.2 |    57.1 |     57% | 11.469 |                 6.554 |             0.655 |
        | spar     |   512 |    55.5 |    72.7 |     73% | 18.022 |                13.107 |             1.311 |
        | spar     |  1024 |    32.1 |    84.2 |     84% | 31.130 |                26.214 |             2.621 |

        |    rows | data, MB | peak of the process, MB |
        |---------|----------|-------------------------|
        |   10000 |      1.0 |                    60.0 |
        | 2000000 |    200.0 |                   278.9 |

        1.10 bytes for each byte of data

        missing: nothing else"#]].assert_eq(&scaling().to_string());
}

#[test]
fn efficiency_is_against_as_many_times_one() {
    let rates = BTreeMap::from([(1, vec![10.0, 20.0]), (3, vec![24.0, 48.0])]);
    let rows = side_by_side(&rates).unwrap();
    assert_eq!(rows[0].efficiency, 1.0);
    assert_eq!((rows[1].runs, rows[1].steps_per_s), (3, 36.0));
    assert!((rows[1].efficiency - 0.8).abs() < 1e-12);
    assert!(side_by_side(&BTreeMap::from([(2, vec![1.0])])).is_err());
}

#[test]
fn runs_are_doubled_up_to_all_cores() {
    assert_eq!(counts(1), [1]);
    assert_eq!(counts(2), [1, 2]);
    assert_eq!(counts(6), [1, 2, 4, 6]);
    assert_eq!(counts(8), [1, 2, 4, 8]);
}

#[test]
fn a_floor_is_work_at_the_ceiling() {
    let work = Work {
        flops: 2_000_000_000,
        bytes: 100_000_000,
    };
    let ceiling = Ceiling {
        fma_gflops: 100.0,
        memory_gb_s: 10.0,
    };
    let turn = Timing {
        steps: 50.0,
        cpu_s: 2.0,
        wall_s: 9.0,
    };
    let point = point(("mlp", 64, 256), work, &[turn], ceiling).unwrap();
    assert_eq!((point.steps_per_s, point.gflops), (25.0, 50.0));
    assert_eq!((point.of_fma_peak, point.ms), (0.5, 40.0));
    assert_eq!((point.arithmetic_ms, point.memory_ms), (20.0, 10.0));
    let nothing = super::point(("mlp", 64, 256), work, &[], ceiling).unwrap_err();
    expect!["mlp of 64 rows, 256 wide, was not measured"].assert_eq(&nothing.to_string());
}

#[test]
fn every_size_is_swept_once() {
    let mut all: Vec<_> = sizes().collect();
    assert_eq!(all.len(), 9);
    all.dedup();
    assert_eq!(all.len(), 9);
    let scaling = scaling();
    for workload in WORKLOADS {
        let rows = scaling.batches(workload).into_iter().map(|p| p.rows);
        assert_eq!(rows.collect::<Vec<_>>(), SIZES);
        let widths = scaling.widths(workload).into_iter().map(|p| p.width);
        assert_eq!(widths.collect::<Vec<_>>(), SIZES);
    }
}
