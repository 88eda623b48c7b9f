#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};

use super::*;
use crate::clock::Timing;

fn timing(steps: f64, cpu_s: f64) -> Timing {
    Timing {
        steps,
        cpu_s,
        wall_s: 1.0,
    }
}

fn table<const N: usize>(entries: [(&str, f64); N]) -> Ratios {
    entries.map(|(name, ratio)| (name.to_owned(), ratio)).into()
}

fn check(known: &str, measured: Ratios, expect: Expect) {
    let verdict = compare("avx512", &parse(known).unwrap(), &measured);
    let word = if verdict.regressed { "fails" } else { "passes" };
    expect.assert_eq(&format!("{}\n{word}", verdict.lines.join("\n")));
}

#[test]
fn the_best_round_counts() {
    let timings = Timings::from([
        // 2, 4 and 3 GFLOP/s of the reference.
        (
            "sgemm/peak".to_owned(),
            vec![timing(2.0, 1.0), timing(2.0, 0.5), timing(3.0, 1.0)],
        ),
        (
            "mlp/ours".to_owned(),
            vec![timing(4.0, 1.0), timing(1.0, 1.0)],
        ),
    ]);
    let flops = BTreeMap::from([("sgemm".to_owned(), 1e9), ("mlp".to_owned(), 0.5e9)]);
    assert_eq!(
        ratios(&timings, &flops).unwrap(),
        table([("mlp/ours", 0.5)])
    );
}

#[test]
fn a_machines_kind_is_its_instructions_and_its_maker() {
    for (cpu, want) in [
        ("Intel(R) Xeon(R) Processor", "avx512-intel"),
        ("AMD EPYC 9R14", "avx512-amd"),
        ("unknown CPU", "avx512-other"),
    ] {
        assert_eq!(kind("avx512", cpu), want);
    }
}

#[test]
fn without_a_reference_there_is_no_ratio() {
    let error = ratios(&Timings::new(), &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "`sgemm/peak` was not measured");
}

#[test]
fn what_became_slower_fails_with_a_line_each() {
    check(
        "[avx512]\n'mlp/ours' = 0.8\n'spar/ours' = 0.6\n'fit/ours' = 0.5\n'critic/ours' = 0.4\n",
        table([
            ("mlp/ours", 0.67),
            ("spar/ours", 0.52),
            ("fit/ours", 0.6),
            ("critic/ours", 0.41),
        ]),
        expect![[r#"
            ok: critic/ours at 0.410 of sgemm, baseline 0.400 (+2%)
            faster: fit/ours at 0.600 of sgemm, baseline 0.500 (+20%); renew it with --write-baseline
            regression: mlp/ours at 0.670 of sgemm, baseline 0.800 (-16%)
            ok: spar/ours at 0.520 of sgemm, baseline 0.600 (-13%)
            fails"#]],
    );
}

#[test]
fn what_is_gone_fails_and_what_is_new_does_not() {
    check(
        "[avx512]\n'mlp/old' = 0.8\n",
        table([("mlp/ours", 0.7)]),
        expect![[r#"
            new: mlp/ours at 0.700 of sgemm has no baseline
            regression: mlp/old has a baseline and was not measured
            fails"#]],
    );
}

#[test]
fn another_instruction_set_passes_and_says_so() {
    check(
        "[avx2]\n'mlp/ours' = 0.8\n",
        table([("mlp/ours", 0.1)]),
        expect![[r#"
            no baseline for avx512 (there: avx2): nothing compared; make one with --write-baseline
            new: mlp/ours at 0.100 of sgemm has no baseline
            passes"#]],
    );
}

#[test]
fn a_new_baseline_keeps_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("baseline.toml");
    let old = parse("[avx2]\n'mlp/ours' = 0.8\n").unwrap();
    write(&file, old, "avx512", &table([("mlp/ours", 0.123_456)])).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let body = text.strip_prefix(HEADER).unwrap();
    expect![[r#"
        [avx2]
        "mlp/ours" = 0.8

        [avx512]
        "mlp/ours" = 0.123
    "#]]
    .assert_eq(body);
    assert_eq!(read(&file).unwrap()["avx512"]["mlp/ours"], 0.123);
    assert!(read(&dir.path().join("none")).unwrap().is_empty());
}

#[test]
fn a_broken_baseline_is_one_line() {
    for (text, named) in [
        ("[avx2]\n'mlp/ours' = 'fast'\n", "fast"),
        ("[avx2]\n'mlp/ours' = 0.0\n", "mlp/ours of avx2 is 0"),
        ("[avx2]\n'mlp/ours' = nan\n", "NaN"),
    ] {
        let message = parse(text).unwrap_err().to_string();
        assert!(
            message.contains(named) && !message.contains('\n'),
            "{message}"
        );
    }
}

#[test]
fn the_committed_baseline_is_of_what_is_watched() {
    let known = read(&crate::bench::root().join("xtask/bench-baseline.toml")).unwrap();
    for (kind, ratios) in known {
        let (isa, maker) = kind.split_once('-').unwrap();
        assert!(["avx512", "avx2", "other"].contains(&isa), "{kind}");
        assert!(["intel", "amd", "other"].contains(&maker), "{kind}");
        let mut watched = crate::bench::WATCHED.to_vec();
        watched.sort_unstable();
        assert!(ratios.keys().eq(watched), "{kind}: {ratios:?}");
    }
}
