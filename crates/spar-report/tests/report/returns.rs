//! Reports of runs whose returns cannot be normalized.

use spar_core::Origin;
use spar_report::{Report, Versus, render_terminal};

use crate::{file, runs::Runs};

/// Mean returns of `method` as a table has them: seeds 0 and 1.
fn spread(runs: &Runs, task: &str, method: &str) -> String {
    let [a, b] = [0, 1].map(|seed| runs.record(task, method, seed).mean_return());
    format!("{:.1} ± {:.1}", (a + b) / 2.0, (a - b).abs() / 2.0)
}

#[test]
fn a_task_without_reference_returns_shows_its_returns_and_says_so() {
    let runs = Runs::without_references();
    let report = Report::build(&runs.request).unwrap();
    let table = file(&report, "table.md");
    let said = "undiscounted returns, not normalized: no D4RL reference returns are known of \
                pointmass-medium";
    for text in [
        &table,
        &render_terminal(&report),
        &file(&report, "report.html"),
    ] {
        assert!(text.contains(said), "{text}");
        for method in ["bc", "spar"] {
            let cell = spread(&runs, "pointmass-medium", method);
            let number = cell.split(' ').next().unwrap();
            assert!(text.contains(number), "{cell} in {text}");
        }
        for no in ["normalized score", "IQM", "optimality"] {
            assert!(!text.contains(no), "{no} in {text}");
        }
    }
    assert!(
        table.contains(&spread(&runs, "pointmass-medium", "spar")),
        "{table}"
    );
    assert!(
        !table.contains("## Aggregates") && !table.contains("mean of 1 task"),
        "{table}"
    );
    // SPAR is above its anchor: of one task returns have one scale.
    assert!(table.contains("mean difference +408.6 [+40"), "{table}");
    assert!(table.contains("supported"), "{table}");
    let results: serde_json::Value = serde_json::from_str(&file(&report, "results.json")).unwrap();
    assert_eq!(results["unit"], "return");
    let cell = &results["cells"][0];
    assert!(
        cell.get("normalized_score").is_none() && cell["mean_return"].is_f64(),
        "{cell}"
    );
    let csv = file(&report, "table.csv");
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let header = rows.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let first = rows.records().next().unwrap().unwrap();
    assert_eq!(&first[at("score")], "");
    assert!(first[at("mean_return")].parse::<f64>().unwrap() > 900.0);
    let curve = file(&report, "curves/pointmass-medium.svg");
    assert!(curve.contains("undiscounted return"), "{curve}");
}

#[test]
fn returns_of_several_tasks_are_shown_and_not_averaged() {
    let runs = Runs::complete();
    runs.change_row("hopper-medium", |r| {
        r.dataset.origin = Origin::Minari;
        r.dataset.id = "mujoco/hopper/medium-v0".into();
    });
    let report = Report::build(&runs.request).unwrap();
    let table = file(&report, "table.md");
    assert!(
        table.contains("no D4RL reference returns are known of some of the data"),
        "{table}"
    );
    for task in ["halfcheetah-medium", "hopper-medium", "walker2d-medium"] {
        assert!(table.contains(&spread(&runs, task, "spar")), "{table}");
        assert!(table.contains("+408.6 [+40"), "{table}");
    }
    assert!(!table.contains("mean of 3 tasks"), "{table}");
    assert!(
        table.contains(
            "SPAR is above its anchor on 3 of 3 tasks; no mean over tasks, whose returns have no \
             common scale: no verdict"
        ),
        "{table}"
    );
    assert_eq!(report.results.best.len(), 3);
}

#[test]
fn two_folders_of_returns_are_compared() {
    let (a, b) = (Runs::without_references(), Runs::without_references());
    for seed in 0..2 {
        b.change("pointmass-medium", "spar", seed, |r| {
            r.returns.iter_mut().for_each(|x| *x += 5.0);
        });
    }
    let found = Versus::of(&a.request.runs, &b.request.runs).unwrap();
    let text = found.render();
    assert!(
        text.contains("undiscounted returns, not normalized"),
        "{text}"
    );
    assert!(text.contains("+5.0 [+5.0, +5.0]"), "{text}");
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["unit"], "return");
    // Of several tasks there is no mean, and no verdict over them.
    let (a, b) = (Runs::complete(), Runs::complete());
    for runs in [&a, &b] {
        runs.change_row("hopper-medium", |r| r.dataset.origin = Origin::Minari);
    }
    let found = Versus::of(&a.request.runs, &b.request.runs).unwrap();
    assert!(found.rows.iter().all(|row| row.task.is_some()));
    let verdict = &found.verdicts[0];
    assert!(
        verdict.contains("no mean over tasks") && verdict.ends_with("no verdict"),
        "{verdict}"
    );
}
