//! Runs that were evaluated without the simulator too: what would have been picked.

use std::fs;

use serde_json::{Value, json};
use spar_report::{Report, render_terminal};

use crate::{file, runs::Runs};

/// What `spar ope` would leave of a policy that it values so.
fn record(value: f64, edit: impl FnOnce(&mut Value)) -> String {
    let errors = json!({
        "transitions": 9, "mean": 0.1, "rms": 1.5, "value_mean": 2.0, "value_std": 0.5,
    });
    let mut record = json!({
        "schema": 1,
        "policy_sha256": "f00d",
        "method": "spar",
        "env": "hopper",
        "dataset": { "id": "mine", "origin": "user", "sha256": "da7a", "rows": 10 },
        "settings": {
            "updates": 100, "batch": 8, "hidden": [8], "lr": 0.001, "tau": 0.05,
            "discount": 0.99, "estimators": 2, "draws": 1, "held_out": 0.1, "horizon": 1000,
            "seed": 0,
        },
        "value": {
            "discounted_return": value, "low": value - 1.0, "high": value + 1.0,
            "initial_states": 7, "estimators": [value - 0.5, value + 0.5],
            "normalized_estimate": 50.0, "data_discounted_return": 3.0,
        },
        "training": errors, "held_out": errors,
        "support": { "rows": 9, "distance": 0.2, "spread": 0.5, "outside": 0.0 },
    });
    edit(&mut record);
    record.to_string()
}

fn put(runs: &Runs, task: &str, method: &str, seed: u64, text: &str) {
    fs::write(runs.folder(task, method, seed).join("ope.json"), text).unwrap();
}

/// SPAR's runs are better by 400, and by 30 with the second seed.
fn evaluated() -> Runs {
    let runs = Runs::complete();
    for (method, seed, value) in [("bc", 0, 30.0), ("bc", 1, 80.0), ("spar", 0, 70.0)] {
        put(&runs, "hopper-medium", method, seed, &record(value, |_| ()));
    }
    put(&runs, "walker2d-medium", "spar", 1, &record(5.0, |_| ()));
    runs
}

#[test]
fn the_run_of_the_greatest_estimate_is_picked_and_its_regret_said() {
    let report = Report::build(&evaluated().request).unwrap();
    let results: Value = serde_json::from_str(&file(&report, "results.json")).unwrap();
    let tasks = results["ope"].as_array().unwrap();
    assert_eq!(tasks.len(), 2);
    let hopper = &tasks[0];
    let choice = &hopper["choice"];
    assert_eq!(choice["picked"], "BC seed 1");
    assert_eq!(
        (&choice["best"], &choice["spearman"]),
        (&json!("SPAR seed 0"), &json!(0.5))
    );
    let scores: Vec<f64> = hopper["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["normalized_score"].as_f64().unwrap())
        .collect();
    let regret = choice["regret"].as_f64().unwrap();
    assert!(
        (regret - (scores[2] - scores[1])).abs() < 1e-9 && regret > 5.0,
        "{choice}"
    );
    assert_eq!(
        (&hopper["without"], &tasks[1]["choice"]),
        (&json!(1), &Value::Null)
    );

    let said = format!(
        "hopper-medium: without the simulator, of 3 policies BC seed 1 would have been picked: \
         score {:.1}, the best is SPAR seed 0 with {:.1}, regret {regret:.1}",
        scores[1], scores[2]
    );
    let alone = "walker2d-medium: one run was evaluated without the simulator";
    let page = file(&report, "report.html");
    assert!(page.contains("<h2>Without the simulator</h2>") && page.contains("href=\"#ope\""));
    for text in [file(&report, "table.md"), page, render_terminal(&report)] {
        assert!(text.contains(&said), "{said}\nnot in\n{text}");
        assert!(text.contains("1 finished run has no ope.json") && text.contains(alone));
    }
}

#[test]
fn a_report_without_such_records_says_nothing_of_them() {
    let report = Report::build(&Runs::complete().request).unwrap();
    for (name, text) in report.files().unwrap() {
        assert!(
            !text.contains("ope.json") && !text.contains("Without the"),
            "{name}"
        );
    }
}

fn said(runs: &Runs) -> String {
    let error = Report::build(&runs.request).unwrap_err().to_string();
    error.replace(&runs.request.runs.display().to_string(), "RUNS")
}

#[test]
fn estimates_made_otherwise_are_left_out_and_named() {
    let runs = evaluated();
    let alike = Report::build(&runs.request).unwrap();
    let other = record(60.0, |r| r["settings"]["discount"] = json!(0.9));
    put(&runs, "hopper-medium", "spar", 1, &other);
    let report = Report::build(&runs.request).unwrap();
    let line = "hopper-medium: not evaluated alike without the simulator: discount 0.99 in \
                hopper-medium/bc/seed-0/ope.json, 0.9 in hopper-medium/spar/seed-1/ope.json; run \
                `spar ope` again for both";
    let texts = |report: &Report| {
        let page = file(report, "report.html");
        let table = file(report, "table.md").replace("\\`", "`");
        [table, page, render_terminal(report)]
    };
    for text in texts(&report) {
        assert!(text.contains(line), "{line}\nnot in\n{text}");
        assert!(!text.contains("would have been picked"), "{text}");
        // The other task's section stays.
        assert!(
            text.contains("walker2d-medium: one run was evaluated"),
            "{text}"
        );
    }
    // Nothing else of the report is another.
    assert_eq!(report.results.cells, alike.results.cells);
    assert_eq!(report.results.summary, alike.results.summary);
    let results: Value = serde_json::from_str(&file(&report, "results.json")).unwrap();
    let hopper = &results["ope"][0];
    assert!(
        hopper["left_out"]
            .as_str()
            .unwrap()
            .contains("discount 0.99")
    );
    assert_eq!(
        (&hopper["runs"], &hopper["choice"]),
        (&json!([]), &Value::Null)
    );

    // The same where it is the only task.
    std::fs::remove_file(runs.folder("walker2d-medium", "spar", 1).join("ope.json")).unwrap();
    let alone = Report::build(&runs.request).unwrap();
    for text in texts(&alone) {
        assert!(text.contains(line), "{line}\nnot in\n{text}");
    }
    // More actions of a policy that draws are no other way; other data are.
    let draws = record(60.0, |r| r["settings"]["draws"] = json!(4));
    put(&runs, "hopper-medium", "spar", 1, &draws);
    let found = Report::build(&runs.request).unwrap().results.ope;
    assert_eq!((&found[0].left_out, found[0].runs.len()), (&None, 4));
    let data = record(60.0, |r| r["dataset"]["sha256"] = json!("other"));
    put(&runs, "hopper-medium", "spar", 1, &data);
    let found = Report::build(&runs.request).unwrap().results.ope;
    let left_out = found[0].left_out.as_deref().unwrap_or_default();
    assert!(left_out.contains("the data's sha256 da7a in"), "{left_out}");
}

#[test]
fn estimates_that_are_none_or_of_another_policy_are_refused() {
    let runs = evaluated();
    for (text, expected) in [
        (
            "{",
            "RUNS/hopper-medium/spar/seed-1/ope.json: not a valid record of `spar ope`: EOF",
        ),
        (
            &*record(1.0, |r| r["schema"] = json!(2)),
            "RUNS/hopper-medium/spar/seed-1/ope.json: not a valid record of `spar ope`: schema 2, \
             expected 1",
        ),
    ] {
        put(&runs, "hopper-medium", "spar", 1, text);
        let error = said(&runs);
        assert!(error.starts_with(expected), "{error}");
    }
    let runs = evaluated();
    let folder = runs.folder("hopper-medium", "bc", 0);
    let run = spar_core::FinishedRun::read(&folder).unwrap().unwrap();
    runs.change("hopper-medium", "bc", 0, |r| {
        let files = [("policy.safetensors".to_owned(), "0ther".to_owned())];
        *r = r
            .clone()
            .sealed(run.identity.stamp(), files.into())
            .unwrap();
    });
    let error = said(&runs);
    assert!(
        error.contains("ope.json: policy's sha256 is `f00d`, expected `0ther`"),
        "{error}"
    );
}
