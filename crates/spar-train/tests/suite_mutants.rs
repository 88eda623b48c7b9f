//! Suites broken at random: each is refused in one line, or configures runs that can be
//! made.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../tests/support/mutants.rs"]
mod mutants;

use std::fs;

use spar_core::Suite;
use spar_train::{Method, TrainConfig};

#[track_caller]
fn one_line(error: &str, what: &str) {
    assert!(
        !error.is_empty() && !error.contains('\n'),
        "{what}: {error}"
    );
}

const SUITE: &str = include_str!("../../../suites/mujoco.toml");

/// Every run's settings of the suite `text`, if it is one.
fn settings(dir: &std::path::Path, text: &[u8]) -> Result<Vec<TrainConfig>, String> {
    let file = dir.join("suite.toml");
    fs::write(&file, text).unwrap();
    let suite = Suite::load(&file).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    for preset in suite.presets.keys() {
        for task in &suite.tasks {
            for method in Method::all() {
                let table = suite.run_settings(preset, &task.to_string(), method.name());
                let table = table.map_err(|e| e.to_string())?;
                let config = TrainConfig::for_method(table, method);
                all.push(config.map_err(|e| e.to_string())?);
            }
        }
    }
    Ok(all)
}

#[test]
fn a_broken_suite_is_refused_or_configures_runs_that_can_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let want = settings(dir, SUITE.as_bytes()).unwrap();
    let mut stream = mutants::stream("suite");
    let (mut refused, mut same, mut other) = (0, 0, 0);
    for i in 0..mutants::count(200) {
        let (text, how) = mutants::text(SUITE, &mut stream);
        let what = format!("mutant {i}: {how}");
        match settings(dir, &text) {
            Err(error) => {
                one_line(&error, &what);
                refused += 1;
            }
            Ok(got) if got == want => same += 1,
            Ok(got) => {
                // Read back from what a run's folder keeps, they are the same.
                for config in got {
                    config.check().unwrap_or_else(|e| panic!("{what}: {e}"));
                    let kept = serde_json::to_string(&config).unwrap();
                    let again: TrainConfig = serde_json::from_str(&kept).unwrap();
                    assert_eq!(again, config, "{what}");
                }
                other += 1;
            }
        }
    }
    println!("{refused} refused, {same} the same, {other} with other settings");
    assert!(refused > 0 && other > 0);
}
