//! One published cell of each suite that has bands, made again from nothing: the data that this
//! machine makes are the published ones to the bit, and the policy trained on them scores within
//! the suite's band.
//!
//! The cell is the anchor's, which trains for seconds. Data of adroit need third-party policies:
//! where `SPAR_UPSTREAM_DIR` does not name a folder with them, that suite is skipped in words.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use spar_core::{Origin, RunRecord, Suite, TaskId};
use spar_report::Results;

use crate::support::{Done, Folder, ROOT};

/// Makes data, anchor and report of `task`, seed 0, in a folder of its own. `upstream`: whether
/// the published data are made with the third-party policies.
fn reproduces(suite: &str, task: &str, upstream: bool) {
    let task: TaskId = task.parse().unwrap();
    let folder = Folder::new();
    fs::create_dir(folder.path("datasets")).unwrap();
    let behavior = Path::new(ROOT).join("datasets/behavior");
    symlink(behavior, folder.path("datasets/behavior")).unwrap();
    let file = format!("{ROOT}/suites/{suite}.toml");
    let mut command = folder.command(&format!(
        "suite run --suite {file} --preset quick --tasks {task} --methods bc --seeds 0 \
         --data local --jobs 1"
    ));
    if !upstream {
        command.env_remove("SPAR_UPSTREAM_DIR");
    }
    Done::of(&mut command).ok();

    let results = folder.read(&format!("runs/{suite}-quick/report/results.json"));
    let results: Results = serde_json::from_slice(&results).unwrap();
    let [cell] = &results.cells[..] else {
        panic!("{task}: {} cells", results.cells.len());
    };
    let published = format!("{ROOT}/docs/runs/{suite}-quick/{task}/bc/seed-0/DONE");
    let published = fs::read_to_string(published).unwrap();
    let published: RunRecord = serde_json::from_str(&published).unwrap();
    assert_eq!(
        cell.dataset_sha256, published.dataset.sha256,
        "{task}: other data"
    );
    assert_eq!(cell.returns.len(), published.returns.len(), "{task}");

    let bands = Suite::load(file.as_ref()).unwrap();
    let band = bands.band("quick", Origin::Local, "bc", task);
    assert!(band.is_some(), "{task} has no band to lie in");
    let flags: Vec<&str> = results.flags.iter().map(|f| f.words.as_str()).collect();
    assert_eq!(flags, [""; 0]);
}

#[test]
fn a_cell_of_mujoco_is_what_was_published() {
    reproduces("mujoco", "hopper-medium-replay", false);
}

#[test]
fn a_cell_of_maze2d_is_what_was_published() {
    reproduces("maze2d", "maze2d-umaze", false);
}

/// Of this project's own ant.
#[test]
fn a_cell_of_antmaze_is_what_was_published() {
    reproduces("antmaze", "antmaze-umaze", false);
}

#[test]
fn a_cell_of_adroit_is_what_was_published() {
    let folder = env::var_os("SPAR_UPSTREAM_DIR").map(PathBuf::from);
    if folder.is_none_or(|folder| !folder.join("hand_dapg/policies").is_dir()) {
        eprintln!("skipped: SPAR_UPSTREAM_DIR names no folder with hand_dapg/policies");
        return;
    }
    reproduces("adroit", "hammer-expert", true);
}
