//! What a report says of its own numbers: how far they reach, and what they must
//! not be held against.

use expect_test::expect;
use spar_core::Origin;
use spar_report::{
    Report, render_terminal,
    results::{Sweep, SweepPoint, Verdict},
};

use crate::{check, file, runs::Runs};

#[test]
fn the_warning_is_loud_exactly_where_data_are_not_official() {
    let runs = Runs::complete();
    for task in ["halfcheetah-medium", "walker2d-medium", "hopper-medium"] {
        let report = Report::build(&runs.request).unwrap();
        let text = file(&report, "table.md");
        assert!(text.contains("NOT the official D4RL files"), "{text}");
        let curves = file(&report, "curves/overview.svg");
        assert!(curves.contains("NOT the official"), "{curves}");
        runs.change_row(task, |r| r.dataset.origin = Origin::Official);
    }
    let report = Report::build(&runs.request).unwrap();
    for (name, text) in report.files().unwrap() {
        assert!(!text.contains("NOT "), "{name}");
    }
    runs.change_row("hopper-medium", |r| r.dataset.origin = Origin::User);
    let text = file(&Report::build(&runs.request).unwrap(), "table.tex");
    assert!(
        text.contains("User-supplied data (1 of 3 rows); NOT known"),
        "{text}"
    );
}

#[test]
fn published_numbers_stand_apart_with_their_sources() {
    let runs = Runs::complete();
    let report = Report::build(&runs.request).unwrap();
    check(
        &file(&report, "published.md"),
        expect![[r##"
        # Published numbers

        > **NOT comparable with this report's own numbers: those come from data that are not the official D4RL files, these from the official ones.**

        | method       | source | halfcheetah-medium | hopper-medium | walker2d-medium | seeds |
        |--------------|--------|--------------------|---------------|-----------------|-------|
        | BC           |    [1] |       42.40 ± 0.19 |  53.51 ± 1.76 |   63.23 ± 16.24 |     4 |
        | 10% BC       |    [1] |       42.46 ± 0.70 |  55.48 ± 7.30 |    67.34 ± 5.17 |     4 |
        | TD3+BC       |    [1] |       48.10 ± 0.18 |  60.37 ± 3.49 |    82.71 ± 4.78 |     4 |
        | AWAC         |    [1] |       50.02 ± 0.27 |  63.02 ± 4.56 |   68.52 ± 27.19 |     4 |
        | CQL          |    [1] |       47.04 ± 0.22 |  59.08 ± 3.77 |    80.75 ± 3.28 |     4 |
        | IQL          |    [1] |       48.31 ± 0.22 |  67.53 ± 3.78 |    80.91 ± 3.17 |     4 |
        | ReBRAC       |    [1] |       64.04 ± 0.68 | 102.29 ± 0.17 |    85.82 ± 0.77 |     4 |
        | SAC-N        |    [1] |       68.20 ± 1.28 |  40.82 ± 9.91 |    87.47 ± 0.66 |     4 |
        | EDAC         |    [1] |       67.70 ± 1.04 | 101.70 ± 0.28 |    93.36 ± 1.38 |     4 |
        | DT           |    [1] |       42.20 ± 0.26 |  65.10 ± 1.61 |    67.63 ± 2.54 |     4 |
        | BC           |    [2] |       43.60 ± 0.14 |  69.04 ± 2.90 |    80.64 ± 0.91 |     4 |
        | 10% BC       |    [2] |       43.90 ± 0.13 |  73.84 ± 0.37 |    82.05 ± 0.93 |     4 |
        | TD3+BC       |    [2] |       48.93 ± 0.11 |  70.44 ± 1.18 |    86.91 ± 0.28 |     4 |
        | AWAC         |    [2] |       50.81 ± 0.15 |  95.42 ± 3.67 |    85.86 ± 3.76 |     4 |
        | CQL          |    [2] |       47.62 ± 0.03 |  70.80 ± 1.98 |    84.77 ± 0.20 |     4 |
        | IQL          |    [2] |       48.84 ± 0.07 |  80.46 ± 3.09 |    87.58 ± 0.48 |     4 |
        | ReBRAC       |    [2] |       65.62 ± 0.46 | 103.19 ± 0.16 |    87.79 ± 0.19 |     4 |
        | SAC-N        |    [2] |       72.21 ± 0.31 | 101.79 ± 0.20 |    90.17 ± 0.54 |     4 |
        | EDAC         |    [2] |       69.72 ± 0.92 | 103.26 ± 0.14 |    95.78 ± 1.07 |     4 |
        | DT           |    [2] |       42.73 ± 0.10 |  69.42 ± 3.64 |    74.70 ± 0.56 |     4 |
        | TD3+BC       |    [3] |         54.7 ± 0.9 |    60.9 ± 7.6 |      77.7 ± 2.9 |    10 |
        | IQL          |    [3] |         50.0 ± 0.2 |    65.2 ± 4.2 |      80.7 ± 3.4 |    10 |
        | SAC-RND      |    [3] |         66.4 ± 1.4 |   91.1 ± 10.1 |      92.7 ± 1.2 |    10 |
        | ReBRAC       |    [3] |         65.6 ± 1.0 |   102.0 ± 1.0 |      82.5 ± 3.6 |    10 |
        | CQL          |    [4] |         46.9 ± 0.4 |    61.9 ± 6.4 |      79.5 ± 3.2 |     – |
        | BC           |    [5] |               42.6 |          52.9 |            75.3 |     – |
        | 10% BC       |    [5] |               42.5 |          56.9 |            75.0 |     – |
        | DT           |    [5] |               42.6 |          67.6 |            74.0 |     – |
        | AWAC         |    [5] |               43.5 |          57.0 |            72.4 |     – |
        | Onestep RL   |    [5] |               48.4 |          59.6 |            81.8 |     – |
        | TD3+BC       |    [5] |               48.3 |          59.3 |            83.7 |     – |
        | CQL          |    [5] |               44.0 |          58.5 |            72.5 |     – |
        | IQL          |    [5] |               47.4 |          66.3 |            78.3 |     – |
        | XQL          |    [5] |               48.3 |          74.2 |            84.2 |     – |
        | AWAC         |    [6] |       41.56 ± 0.79 |  51.45 ± 5.40 |   68.12 ± 12.08 |     5 |
        | IQL          |    [6] |       46.23 ± 0.23 |  56.78 ± 3.50 |    77.16 ± 5.74 |     5 |
        | TD3+BC       |    [6] |       48.12 ± 0.42 |  46.51 ± 4.57 |    72.73 ± 4.66 |     5 |
        | CQL          |    [6] |       48.65 ± 0.49 |  77.56 ± 7.12 |    80.16 ± 4.19 |     5 |
        | XQL          |    [6] |       47.16 ± 0.16 |  62.35 ± 5.42 |    83.45 ± 0.42 |     5 |
        | DT           |    [6] |       42.63 ± 0.53 |  60.85 ± 6.78 |    71.04 ± 5.64 |     5 |
        | EDP          |    [7] |         50.8 ± 0.0 |    72.6 ± 0.2 |      86.5 ± 0.2 |     – |
        | IDQL         |    [7] |         51.5 ± 0.1 |    70.1 ± 2.0 |      88.1 ± 0.4 |     – |
        | Diffusion-QL |    [7] |         51.1 ± 0.5 |    90.5 ± 4.6 |      87.0 ± 0.9 |     – |
        | FQL          |    [7] |         60.1 ± 0.1 |    74.5 ± 0.2 |      72.7 ± 0.8 |     – |
        | OFQL         |    [7] |         63.8 ± 0.1 |   103.6 ± 0.1 |      87.4 ± 0.1 |     3 |
        | SRPO         |    [8] |               60.4 |          95.5 |            84.4 |     – |
        | DTQL         |    [8] |               57.9 |          99.6 |            89.4 |     – |

        - [1] CORL README (corl-team/CORL @eeeeef2; arXiv 2210.07105), "Last Scores": D4RL v2; last checkpoint, 10 episodes
        - [2] CORL README (corl-team/CORL @eeeeef2; arXiv 2210.07105), "Best Scores": D4RL v2; best checkpoint over training, 10 episodes
        - [3] ReBRAC paper (arXiv 2305.09836), Table 2: D4RL v2; last checkpoint, ten seeds unseen in tuning; the version suffix is that of its run names
        - [4] An et al. 2021 (arXiv 2110.01548) as quoted in ReBRAC (arXiv 2305.09836), Table 2: D4RL v2; as quoted; checkpoint and seeds not stated there
        - [5] IQL paper, Table 1, as reprinted in XQL (arXiv 2301.02328), Table 1: D4RL v2; as reprinted, without a spread
        - [6] JAX-CORL README (nissymori/JAX-CORL @d747dd8): D4RL v2; 5 episodes; checkpoint not stated
        - [7] One-Step Flow Q-Learning paper, Table 1, read from a copy: D4RL v2; OFQL over 3 seeds; the others as quoted there, protocols mixed
        - [8] DOSER paper, Table 1, read from a copy: D4RL v2; as quoted there from the original papers, protocols mixed
    "##]],
    );
    for name in ["table.md", "table.csv", "table.tex"] {
        assert!(!file(&report, name).contains("CORL"), "{name}");
    }
    for task in ["halfcheetah-medium", "walker2d-medium", "hopper-medium"] {
        runs.change_row(task, |r| r.dataset.origin = Origin::Official);
    }
    let report = Report::build(&runs.request).unwrap();
    let text = file(&report, "published.md");
    assert!(
        text.contains("Protocols differ") && !text.contains("NOT"),
        "{text}"
    );
}

#[test]
fn verdicts_follow_the_interval() {
    let verdict = |gain: f64| {
        let runs = Runs::complete();
        for task in runs.request.tasks.clone() {
            let task = task.to_string();
            for seed in 0..2 {
                let anchor = runs.record(&task, "bc", seed).returns;
                let shifted = anchor.iter().enumerate();
                let wobble =
                    |(e, r): (usize, &f64)| r + gain + if e % 2 == 0 { 90.0 } else { -90.0 };
                let returns = shifted.map(wobble).collect();
                runs.change(&task, "spar", seed, |r| r.returns = returns);
            }
        }
        let found = Report::build(&runs.request)
            .unwrap()
            .results
            .comparison
            .unwrap();
        found.sentence
    };
    check(
        &verdict(500.0),
        expect![
            "SPAR is above its anchor on 3 of 3 tasks; mean difference +10.1 [+9.3, +10.9] (95% paired interval, hierarchical bootstrap): supported"
        ],
    );
    check(
        &verdict(-500.0),
        expect![
            "SPAR is above its anchor on 0 of 3 tasks, below it on 3; mean difference -10.1 [-10.9, -9.3] (95% paired interval, hierarchical bootstrap): not supported"
        ],
    );
    check(
        &verdict(5.0),
        expect![
            "SPAR is above its anchor on 0 of 3 tasks, undecided on 3; mean difference +0.1 [-0.7, +0.9] (95% paired interval, hierarchical bootstrap): inconclusive"
        ],
    );
}

#[test]
fn one_seed_or_a_preset_without_verdict_gives_none() {
    let page = |runs: &Runs| {
        let report = Report::build(&runs.request).unwrap();
        let verdict = report.results.comparison.as_ref().unwrap().verdict;
        let html = file(&report, "report.html");
        assert!(!html.contains("class=\"verdict supported\""), "{html}");
        assert!(html.contains("class=\"verdict no-verdict\""), "{html}");
        (verdict, file(&report, "table.md"))
    };
    let mut runs = Runs::complete();
    let quick = runs.request.suite.presets.get_mut("quick").unwrap();
    quick.verdict = false;
    let (verdict, text) = page(&runs);
    assert_eq!(verdict, Verdict::NotGiven);
    assert!(
        text.contains("no verdict (preset quick gives none)"),
        "{text}"
    );
    let mut runs = Runs::complete();
    runs.request.seeds = vec![0];
    let (verdict, text) = page(&runs);
    assert_eq!(verdict, Verdict::NotGiven);
    assert!(text.contains("no verdict (one seed: "), "{text}");
}

#[test]
fn bc_has_the_updates_of_the_anchor_it_is() {
    let runs = Runs::complete();
    runs.change_row("hopper-medium", |r| {
        if r.method == "bc" {
            (r.updates, r.anchor_updates) = (0, 5000);
        }
    });
    let report = Report::build(&runs.request).unwrap();
    let text = file(&report, "table.md");
    assert!(
        text.contains("updates: BC 5000; SPAR 20000 (after 5000"),
        "{text}"
    );
    let table = file(&report, "table.csv");
    let line = table
        .lines()
        .find(|line| line.starts_with("hopper-medium,bc"));
    assert!(line.unwrap().contains(",5000,"), "{line:?}");
}

#[test]
fn one_seed_claims_no_spread() {
    let mut runs = Runs::complete();
    runs.request.seeds = vec![1];
    let report = Report::build(&runs.request).unwrap();
    check(
        &render_terminal(&report),
        expect![[r#"
            mujoco quick: last checkpoint, one seed (no spread over seeds can be given), D4RL normalized score
            Local data generated by D4RL's recipe; NOT the official D4RL files; not comparable with published numbers.
            ┌────────────────────┬─────────────┬────────┬──────────────────────┐
            │ task               ┆ BC (anchor) ┆   SPAR ┆      SPAR − BC [95%] │
            ╞════════════════════╪═════════════╪════════╪══════════════════════╡
            │ halfcheetah-medium ┆        10.8 ┆ * 14.2 ┆    +3.4 [+3.4, +3.4] │
            │ hopper-medium      ┆        36.6 ┆ * 49.4 ┆ +12.8 [+12.8, +12.8] │
            │ walker2d-medium    ┆        27.7 ┆ * 36.8 ┆    +9.1 [+9.1, +9.1] │
            │ mean of 3 tasks    ┆        25.0 ┆ * 33.5 ┆    +8.4 [+8.4, +8.4] │
            │ total              ┆        75.1 ┆  100.4 ┆                      │
            │ IQM of runs [95%]  ┆        25.0 ┆   33.5 ┆                      │
            └────────────────────┴─────────────┴────────┴──────────────────────┘
            *: the highest mean of its row, and every mean not below the lower end of that one's 95% interval (hierarchical bootstrap over seeds, then episodes)
            SPAR is above its anchor on 3 of 3 tasks; mean difference +8.4 [+8.4, +8.4] (95% paired interval, hierarchical bootstrap): no verdict (one seed: the interval holds the noise of evaluation episodes, not of training).
        "#]],
    );
}

#[test]
fn each_variant_stands_against_spar_with_what_follows() {
    let runs = Runs::with_variants(300.0);
    let report = Report::build(&runs.request).unwrap();
    let text = file(&report, "table.md");
    let (_, section) = text.split_once("## Variants against SPAR\n\n").unwrap();
    let (section, _) = section.split_once("\n\n## Aggregates").unwrap();
    check(
        section,
        expect![[r#"
            SPAR with one thing changed, minus SPAR: points of normalized score, with 95% paired intervals (seeds within tasks, then paired episodes within seeds).

            | minus SPAR | halfcheetah-medium |                 hopper-medium |   walker2d-medium |                    mean [95%] |
            |------------|--------------------|-------------------------------|-------------------|-------------------------------|
            | no-fit     |  -2.5 [-2.5, -2.4] |             -9.4 [-9.6, -9.2] | -6.7 [-6.8, -6.5] |             -6.2 [-6.3, -6.1] |
            | k-2        |  +0.0 [-0.2, +0.2] | +0.0 [-1.5, +1.5] (1/2 seeds) | -0.0 [-0.5, +0.5] | -0.0 [-0.5, +0.5] (5/6 pairs) |

            - no-fit: -6.2 [-6.3, -6.1] against SPAR over 3 tasks: SPAR is better (what \`no-fit\` is)
            - k-2: -0.0 [-0.5, +0.5] against SPAR over 3 tasks: they cannot be told apart (1 of 6 pairs missing) (what \`k-2\` is)"#]],
    );
    let page = file(&report, "report.html");
    for difference in &report.results.differences {
        assert!(page.contains(&difference.comparison.sentence));
    }
    let csv = file(&report, "table.csv");
    assert_eq!(csv.matches("no-fit-minus-spar").count(), 4, "{csv}");
    assert!(
        csv.contains("mean,no-fit-minus-spar,complete,6,6,-6.186"),
        "{csv}"
    );
    let tex = file(&report, "table.tex");
    assert_eq!(tex.matches("\\begin{table}").count(), 2);
    assert!(tex.contains("no-fit & -2.5 {[}-2.5, -2.4{]} &"), "{tex}");
    // Without variants nothing is said of them.
    let text = file(
        &Report::build(&Runs::complete().request).unwrap(),
        "table.md",
    );
    assert!(!text.contains("Variants"));
}

#[test]
fn variants_that_change_one_number_alone_are_drawn_as_a_sweep() {
    let runs = Runs::with_variants(300.0);
    let report = Report::build(&runs.request).unwrap();
    // SPAR's own `w_fit` differs between the tasks: there is no point for it.
    let point = |value, method: &str| SweepPoint {
        value,
        method: method.to_owned(),
    };
    let candidates = Sweep {
        setting: "rectify.candidates".to_owned(),
        points: vec![point(2.0, "k-2"), point(8.0, "spar")],
    };
    assert_eq!(report.results.sweeps, [candidates]);
    let figure = file(&report, "plots/sweeps.svg");
    assert!(figure.contains("rectify.candidates") && figure.contains("NOT the official"));
    let page = file(&report, "report.html");
    assert!(page.contains("aria-label=\"sweep of rectify.candidates\""));
    // A variant nobody has run is no point, and one point is no curve.
    for task in ["halfcheetah-medium", "hopper-medium", "walker2d-medium"] {
        runs.remove(task, "k-2", 0);
        if task != "hopper-medium" {
            runs.remove(task, "k-2", 1);
        }
    }
    let files = Report::build(&runs.request).unwrap().files().unwrap();
    assert!(files.iter().all(|(name, _)| name != "plots/sweeps.svg"));
}

/// Rows in another precision are as comparable as rows from another device, and say so.
#[test]
fn another_precision_than_f32_stands_beside_the_device() {
    let runs = Runs::complete();
    let facts = |runs: &Runs| file(&Report::build(&runs.request).unwrap(), "table.md");
    assert!(facts(&runs).contains("- device: cpu\n"));
    let table = serde_json::json!({
        "updates": 20_000, "precision": "bf16x3", "detached_precision": "bf16",
        "anchor": { "updates": 5000, "lr": 0.0003 },
        "critic": { "tau": 0.005, "deviations": null }, "rectify": { "beta": 0.1 },
    });
    for task in runs.request.tasks.clone() {
        for seed in 0..2 {
            runs.set(&task.to_string(), "spar", seed, "/config", table.clone());
        }
    }
    let text = facts(&runs);
    assert!(text.contains("cpu (6 runs)"), "{text}");
    assert!(
        text.contains("cpu in bf16x3, without gradients bf16 (6 runs)"),
        "{text}"
    );
}
