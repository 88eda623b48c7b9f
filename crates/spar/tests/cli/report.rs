//! `spar report` on runs the program made itself.

use crate::support::{prepared, suite_run};

#[test]
fn runs_that_are_not_there_are_missing_from_the_table() {
    let folder = prepared();
    let suite = include_str!("../../../../suites/mujoco.toml");
    std::fs::write(folder.path("mujoco.toml"), suite).unwrap();
    let line = "report --suite mujoco.toml --preset smoke --runs runs --out report \
         --tasks hopper-medium,walker2d-medium --methods bc,spar --seeds 0,1";
    let table = folder.spar(line).ok();
    assert!(
        table.contains("hopper-medium") && table.contains("missing"),
        "{table}"
    );
    assert!(!table.contains("halfcheetah"), "{table}");
    let files = folder.files("report");
    for name in ["table.md", "table.csv", "table.tex", "results.json"] {
        assert!(files.contains(&format!("report/{name}")), "{files:?}");
    }
    let results: serde_json::Value =
        serde_json::from_slice(&folder.read("report/results.json")).unwrap();
    assert_eq!(results["missing"].as_array().unwrap().len(), 8);
    assert_eq!(results["cells"].as_array().unwrap().len(), 0);
}

#[test]
fn what_cannot_be_reported_is_refused() {
    let folder = prepared();
    let runs = "runs/pointmass-medium/bc/seed-3";
    folder.spar(&suite_run("short", "bc", runs, "")).ok();
    let report = |words: &str| {
        folder.spar(&format!(
            "report --suite suite.toml --runs runs --out report {words}"
        ))
    };
    report("--preset short --seeds 3").fails(1, &["pointmass", "no D4RL reference scores"]);
    report("--preset huge").fails(2, &["no preset `huge`", "long, short"]);
    report("--preset short --methods bc,sac").fails(2, &["unknown method `sac`"]);
    report("--preset short --tasks hopper").fails(2, &["unknown task `hopper`"]);
    assert!(!folder.exists("report"));
}
