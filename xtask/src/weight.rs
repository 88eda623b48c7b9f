//! What the crates that others depend on bring with them.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, env, process::Command};

/// Most crates that acting by a policy may need, itself among them.
const MOST_CRATES: usize = 30;

/// Names of the crates that `package` and its default features need on this machine,
/// itself among them, without what only builds or tests it.
fn needed(package: &str) -> BTreeSet<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = ["tree", "--frozen", "--edges", "normal", "--prefix", "none"];
    let output = Command::new(cargo)
        .args(tree)
        .args(["--package", package])
        .current_dir(crate::root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {said}");
    let text = String::from_utf8(output.stdout).unwrap();
    // Two versions of a crate are two crates.
    let crates = text.lines().map(|line| {
        let mut words = line.split(' ');
        format!("{} {}", words.next().unwrap(), words.next().unwrap())
    });
    crates.collect()
}

/// Those of `crates` that are, or belong to, what only training and evaluation need.
fn heavy(crates: &BTreeSet<String>) -> Vec<&String> {
    let heavy = ["hdf5", "candle", "cudarc", "mujoco", "libloading", "ureq"];
    let is_heavy = |name: &&String| heavy.iter().any(|heavy| name.contains(heavy));
    crates.iter().filter(is_heavy).collect()
}

#[test]
fn acting_by_a_policy_needs_few_crates_and_nothing_of_training() {
    let crates = needed("spar-policy");
    assert!(crates.contains("spar-policy v0.1.0"), "{crates:?}");
    assert!(
        crates.len() <= MOST_CRATES,
        "spar-policy needs {} crates, expected at most {MOST_CRATES}: {crates:?}; \
         put what needs more behind a feature, or above spar-policy",
        crates.len()
    );
    assert!(heavy(&crates).is_empty(), "{:?}", heavy(&crates));
    // What it would look like.
    let training = needed("spar-train");
    assert!(training.len() > MOST_CRATES && heavy(&training).len() > 3);
}

#[test]
fn statistics_need_no_environment() {
    let crates = needed("spar-stats");
    let ours: Vec<_> = crates
        .iter()
        .filter(|name| name.starts_with("spar-"))
        .collect();
    assert_eq!(ours, ["spar-core v0.1.0", "spar-stats v0.1.0"]);
    assert!(heavy(&crates).is_empty(), "{:?}", heavy(&crates));
}
