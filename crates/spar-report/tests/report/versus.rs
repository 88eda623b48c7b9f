//! Two folders of runs against each other.

use expect_test::expect;
use spar_report::{Outcome, Versus};

use crate::{check, runs::Runs};

fn compared(a: &Runs, b: &Runs) -> String {
    let text = Versus::of(&a.request.runs, &b.request.runs).map(|found| found.render());
    let text = text.unwrap_or_else(|e| e.to_string());
    text.replace(&a.request.runs.display().to_string(), "RUNS_A")
        .replace(&b.request.runs.display().to_string(), "RUNS_B")
}

/// SPAR better by some, on one task worse.
fn changed() -> Runs {
    let runs = Runs::complete();
    for task in runs.request.tasks.clone() {
        for seed in 0..2 {
            let gain = match task.to_string().as_str() {
                "walker2d-medium" => -90.0,
                _ => 250.0,
            };
            runs.change(&task.to_string(), "spar", seed, |r| {
                for (e, x) in r.returns.iter_mut().enumerate() {
                    *x += gain + 15.0 * (e as f64 - 1.5) + 20.0 * seed as f64;
                }
            });
        }
    }
    runs
}

#[test]
fn two_folders_are_compared_pair_by_pair() {
    let (a, b) = (Runs::complete(), changed());
    check(
        &compared(&a, &b),
        expect![[r#"
            A: RUNS_A
            B: RUNS_B
            ┌─────────────────────────┬──────┬──────┬───────────────────┬───────────────────┬─────────┐
            │                         ┆    A ┆    B ┆       B − A [95%] ┆      P(B above A) ┆   seeds │
            ╞═════════════════════════╪══════╪══════╪═══════════════════╪═══════════════════╪═════════╡
            │ halfcheetah-medium BC   ┆ 10.7 ┆ 10.7 ┆ +0.0 [+0.0, +0.0] ┆ 0.50 [0.00, 1.00] ┆       2 │
            │ hopper-medium BC        ┆ 35.8 ┆ 35.8 ┆ +0.0 [+0.0, +0.0] ┆ 0.50 [0.00, 1.00] ┆       2 │
            │ walker2d-medium BC      ┆ 27.2 ┆ 27.2 ┆ +0.0 [+0.0, +0.0] ┆ 0.50 [0.00, 1.00] ┆       2 │
            │ mean BC                 ┆ 24.6 ┆ 24.6 ┆ +0.0 [+0.0, +0.0] ┆ 0.50 [0.25, 0.75] ┆ 6 pairs │
            │ halfcheetah-medium SPAR ┆ 14.0 ┆ 16.1 ┆ +2.1 [+2.0, +2.2] ┆ 1.00 [1.00, 1.00] ┆       2 │
            │ hopper-medium SPAR      ┆ 48.4 ┆ 56.4 ┆ +8.0 [+7.5, +8.5] ┆ 1.00 [1.00, 1.00] ┆       2 │
            │ walker2d-medium SPAR    ┆ 36.1 ┆ 34.3 ┆ -1.7 [-2.1, -1.4] ┆ 0.00 [0.00, 0.00] ┆       2 │
            │ mean SPAR               ┆ 32.8 ┆ 35.6 ┆ +2.8 [+2.5, +3.0] ┆ 0.67 [0.67, 0.67] ┆ 6 pairs │
            └─────────────────────────┴──────┴──────┴───────────────────┴───────────────────┴─────────┘
            BC: B is above A on 0 of 3 tasks, undecided on 3; mean difference +0.0 [+0.0, +0.0] (95% paired interval, hierarchical bootstrap): they cannot be told apart.
            SPAR: B is above A on 2 of 3 tasks, below it on 1; mean difference +2.8 [+2.5, +3.0] (95% paired interval, hierarchical bootstrap): B is better.
        "#]],
    );
    let found = Versus::of(&a.request.runs, &b.request.runs).unwrap();
    let outcome = |method: &str| {
        let mean = found
            .rows
            .iter()
            .find(|row| row.task.is_none() && row.method == method);
        mean.unwrap().outcome
    };
    assert_eq!(outcome("bc"), Outcome::Undecided);
    assert_eq!(outcome("spar"), Outcome::BetterB);
    let back = Versus::of(&b.request.runs, &a.request.runs).unwrap();
    for (row, back) in found.rows.iter().zip(&back.rows) {
        assert!((row.difference.value + back.difference.value).abs() < 1e-9);
        assert!((row.improvement.value + back.improvement.value - 1.0).abs() < 1e-9);
    }
}

#[test]
fn what_is_not_compared_or_not_alike_is_said() {
    let (a, b) = (Runs::complete(), changed());
    a.remove("hopper-medium", "bc", 0);
    b.remove("hopper-medium", "spar", 1);
    std::fs::create_dir_all(b.folder("hopper-medium", "spar", 1)).unwrap();
    std::fs::create_dir_all(b.request.runs.join("report/curves")).unwrap();
    for seed in 0..2 {
        b.change("walker2d-medium", "spar", seed, |r| {
            r.device = "cuda".into()
        });
    }
    b.change_row("halfcheetah-medium", |r| r.commit = "0000000".into());
    check(
        &compared(&a, &b),
        expect![[r#"
            A: RUNS_A
            B: RUNS_B
            ┌─────────────────────────┬──────┬──────┬───────────────────┬───────────────────┬─────────┐
            │                         ┆    A ┆    B ┆       B − A [95%] ┆      P(B above A) ┆   seeds │
            ╞═════════════════════════╪══════╪══════╪═══════════════════╪═══════════════════╪═════════╡
            │ halfcheetah-medium BC   ┆ 10.7 ┆ 10.7 ┆ +0.0 [+0.0, +0.0] ┆ 0.50 [0.00, 1.00] ┆       2 │
            │ hopper-medium BC        ┆ 36.6 ┆ 36.6 ┆ +0.0 [+0.0, +0.0] ┆              0.50 ┆       1 │
            │ walker2d-medium BC      ┆ 27.2 ┆ 27.2 ┆ +0.0 [+0.0, +0.0] ┆ 0.50 [0.00, 1.00] ┆       2 │
            │ mean BC                 ┆ 24.8 ┆ 24.8 ┆ +0.0 [+0.0, +0.0] ┆              0.50 ┆ 5 pairs │
            │ halfcheetah-medium SPAR ┆ 14.0 ┆ 16.1 ┆ +2.1 [+2.0, +2.2] ┆ 1.00 [1.00, 1.00] ┆       2 │
            │ hopper-medium SPAR      ┆ 47.4 ┆ 55.1 ┆ +7.7 [+7.2, +8.1] ┆              1.00 ┆       1 │
            │ walker2d-medium SPAR    ┆ 36.1 ┆ 34.3 ┆ -1.7 [-2.1, -1.4] ┆ 0.00 [0.00, 0.00] ┆       2 │
            │ mean SPAR               ┆ 32.5 ┆ 35.1 ┆ +2.7 [+2.5, +2.9] ┆              0.67 ┆ 5 pairs │
            └─────────────────────────┴──────┴──────┴───────────────────┴───────────────────┴─────────┘
            note: left out, unfinished in B: hopper-medium SPAR seed 1
            note: left out, only in B: hopper-medium BC seed 0
            note: different devices, equal only up to rounding: A cpu, B cuda in walker2d-medium SPAR
            note: different commits: A 891e40c, B 0000000 in halfcheetah-medium BC, halfcheetah-medium SPAR
            BC: B is above A on 0 of 3 tasks, undecided on 3; mean difference +0.0 [+0.0, +0.0] (95% paired interval, hierarchical bootstrap): no verdict (one seed somewhere: the interval holds the noise of evaluation episodes, not of training).
            SPAR: B is above A on 2 of 3 tasks, below it on 1; mean difference +2.7 [+2.5, +2.9] (95% paired interval, hierarchical bootstrap): no verdict (one seed somewhere: the interval holds the noise of evaluation episodes, not of training).
        "#]],
    );
}

/// A short run beside a long one is a question people have: it is answered, and the lengths are
/// said. The seeds of one side are averaged, and may not differ.
#[test]
fn different_lengths_are_compared_and_told() {
    let (a, b) = (Runs::complete(), changed());
    b.change_row("hopper-medium", |r| r.updates *= 2);
    let text = compared(&a, &b);
    let note = "note: different lengths of training: A 20000 updates after 5000, B 40000 updates \
                after 5000 in hopper-medium SPAR";
    assert!(text.contains(note), "{text}");
    assert!(text.contains("+8.0 [+7.5, +8.5]"), "{text}");
    b.change("hopper-medium", "spar", 1, |r| r.updates *= 2);
    let text = compared(&a, &b);
    assert!(text.contains("refusing to average seeds"), "{text}");
}

#[test]
fn unlike_runs_are_refused() {
    let refused = |edit: &dyn Fn(&mut spar_core::RunRecord)| {
        let (a, b) = (Runs::complete(), changed());
        b.change_row("hopper-medium", edit);
        let error = compared(&a, &b);
        assert!(!error.contains('\n'), "{error}");
        error
    };
    check(
        &refused(&|r| r.dataset.sha256 = "0".repeat(64)),
        expect![
            "task hopper-medium: refusing to mix data sets: `hopper-medium-local` (local, sha256 8ad492fd7dea066b1cd443e927e8db46e238e7c79fd78db5e1f49ea4f21ac495) in RUNS_A/hopper-medium/bc/seed-0/DONE and `hopper-medium-local` (local, sha256 0000000000000000000000000000000000000000000000000000000000000000) in RUNS_B/hopper-medium/bc/seed-0/DONE; make the runs of a row again with one"
        ],
    );
    check(
        &refused(&|r| r.eval_seed = 9),
        expect![
            "task hopper-medium: refusing to mix evaluations: 4 episodes of seed 1000 in RUNS_A/hopper-medium/bc/seed-0/DONE and 4 episodes of seed 9 in RUNS_B/hopper-medium/bc/seed-0/DONE; make the runs of a row again with one"
        ],
    );
    check(
        &refused(&|r| r.mujoco_version = "4.0.0".into()),
        expect![
            "task hopper-medium: refusing to mix MuJoCo versions: 3.17.0 in RUNS_A/hopper-medium/bc/seed-0/DONE and 4.0.0 in RUNS_B/hopper-medium/bc/seed-0/DONE; make the runs of a row again with one"
        ],
    );
    check(
        &refused(&|r| r.task = "hopper-expert".into()),
        expect![
            "RUNS_B/hopper-medium/bc/seed-0/DONE: task is `hopper-expert`, expected `hopper-medium`; the run belongs elsewhere: move or delete its folder"
        ],
    );
    check(
        &compared(&Runs::complete(), &Runs::empty()),
        expect![
            "RUNS_B: no run there; expected folders <task>/<method>/seed-<n>, as `spar suite run` makes them, or one finished run"
        ],
    );
    // Two methods in each folder, none of them in both with one seed.
    let (a, b) = (Runs::complete(), Runs::complete());
    for task in ["halfcheetah-medium", "hopper-medium", "walker2d-medium"] {
        for method in ["bc", "spar"] {
            a.remove(task, method, 0);
            b.remove(task, method, 1);
        }
    }
    check(
        &compared(&a, &b),
        expect![
            "RUNS_A and RUNS_B share no finished run of one task, method and seed; nothing to compare: runs of two methods are paired where each folder holds one method alone, on the same task or data and with the same seed"
        ],
    );
}

/// What [`Versus`] makes of two folders below `runs`.
fn of(runs: &Runs, a: &str, b: &str) -> Versus {
    let below = |folder: &str| runs.request.runs.join(folder);
    Versus::of(&below(a), &below(b)).unwrap()
}

#[track_caller]
fn says(found: &Versus, facts: &[&str]) {
    let text = found.render();
    for fact in facts {
        assert!(text.contains(fact), "no `{fact}` in {text}");
    }
}

#[test]
fn two_methods_are_compared_where_each_folder_holds_one() {
    let runs = Runs::complete();
    let found = of(&runs, "hopper-medium/bc", "hopper-medium/spar");
    says(
        &found,
        &[
            "hopper-medium BC, SPAR",
            "note: different methods: A BC, B SPAR in every row",
            "BC, SPAR: B is above A on 1 of 1 tasks",
            "B is better",
        ],
    );
    let row = &found.rows[0];
    assert_eq!(
        (&*row.method, row.method_b.as_deref()),
        ("bc", Some("spar"))
    );
    assert_eq!(row.seeds, 2);
    let mean = |method: &str| {
        let scores = [0, 1].map(|seed| runs.record("hopper-medium", method, seed));
        let scores = scores.map(|run| run.normalized_score().unwrap());
        (scores[0] + scores[1]) / 2.0
    };
    assert!((row.a - mean("bc")).abs() < 1e-9 && (row.b - mean("spar")).abs() < 1e-9);

    // By tasks, in the folders of suites, too; what has no counterpart is said.
    let (a, b) = (Runs::complete(), Runs::complete());
    for task in ["halfcheetah-medium", "hopper-medium", "walker2d-medium"] {
        for seed in 0..2 {
            a.remove(task, "spar", seed);
            b.remove(task, "bc", seed);
        }
    }
    b.remove("hopper-medium", "spar", 1);
    let found = Versus::of(&a.request.runs, &b.request.runs).unwrap();
    assert_eq!(found.rows.len(), 4, "three tasks and their mean");
    says(
        &found,
        &[
            "mean BC, SPAR",
            "left out, only in A: hopper-medium BC seed 1",
            "no verdict",
        ],
    );
    // Of one method nothing new is said.
    let found = of(&runs, "hopper-medium/bc", "hopper-medium/bc");
    assert_eq!((&found.rows[0].method_b, found.notes.len()), (&None, 0));
}

#[test]
fn two_runs_are_compared_whatever_their_methods_and_seeds() {
    let runs = Runs::complete();
    let found = of(
        &runs,
        "hopper-medium/bc/seed-0",
        "hopper-medium/spar/seed-1",
    );
    says(
        &found,
        &[
            "note: different methods: A BC, B SPAR in every row",
            "note: different training seeds: A 0, B 1 in every row",
            "no verdict (one seed somewhere",
        ],
    );
    let found = of(&runs, "hopper-medium/bc/seed-0", "hopper-medium/bc/seed-1");
    says(&found, &["hopper-medium BC ", "different training seeds"]);
    // Not on two tasks, nor on two data sets of one.
    let below = |folder: &str| runs.request.runs.join(folder);
    let refused = |a: &str, b: &str| Versus::of(&below(a), &below(b)).unwrap_err().to_string();
    let told = refused("hopper-medium/bc/seed-0", "walker2d-medium/spar/seed-0");
    assert!(told.contains("share no finished run"), "{told}");
    runs.change("hopper-medium", "spar", 0, |r| {
        r.dataset.sha256 = "0".repeat(64)
    });
    let told = refused("hopper-medium/bc/seed-0", "hopper-medium/spar/seed-0");
    assert!(told.contains("refusing to mix data sets"), "{told}");
}

/// Logs of a user's own, played in an environment, in folders of any name.
#[test]
fn runs_of_data_that_are_no_tasks_are_compared_by_their_data() {
    let runs = Runs::complete();
    for (method, seed, sha256) in [("bc", 0, "aa"), ("spar", 0, "aa"), ("bc", 1, "bb")] {
        runs.change("hopper-medium", method, seed, |r| {
            r.task = "log".to_owned();
            r.dataset.id = "log".to_owned();
            r.dataset.sha256 = sha256.repeat(32);
        });
    }
    let at = |name: &str| runs.request.runs.join(name);
    let copy = |from: &str, to: &str| {
        std::fs::create_dir_all(at(to).parent().unwrap()).unwrap();
        std::fs::rename(at("hopper-medium").join(from), at(to)).unwrap();
    };
    copy("bc/seed-0", "mine/clone");
    copy("bc/seed-1", "mine/other log");
    copy("spar/seed-0", "better");
    let found = of(&runs, "mine/clone", "better");
    says(&found, &["log BC, SPAR", "different methods: A BC, B SPAR"]);
    // Another file of the same name is other data.
    let found = of(&runs, "mine", "better");
    says(
        &found,
        &[
            "log (aaaaaaaa) BC, SPAR",
            "left out, only in A: log (bbbbbbbb) BC seed 1",
        ],
    );
    assert_eq!(found.rows[0].task.as_deref(), Some("log (aaaaaaaa)"));
    // One run twice is two that could be meant.
    std::fs::create_dir_all(at("mine/again")).unwrap();
    for file in ["DONE", "spec.json", "eval.csv"] {
        std::fs::copy(at("mine/clone").join(file), at("mine/again").join(file)).unwrap();
    }
    let told = Versus::of(&at("mine"), &at("better"))
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("two runs of seed 0 on the same data"),
        "{told}"
    );
}
