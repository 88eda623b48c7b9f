//! `spar suite run`: a table by the program itself, with what it finds in the working directory.

use std::fs;

use crate::support::prepared;

#[test]
fn what_a_suite_does_not_have_is_refused_before_anything_is_made() {
    let folder = prepared();
    fs::create_dir(folder.path("suites")).unwrap();
    fs::copy(folder.path("suite.toml"), folder.path("suites/mine.toml")).unwrap();
    let done = folder.spar("suite run --suite yours");
    done.fails(2, &["unknown suite `yours`", "mine, theory"]);
    let done = folder.spar("suite run --suite mine --preset short --methods sparr --out runs");
    done.fails(2, &["`sparr`", "bc, spar"]);
    let done = folder.spar("suite run --suite mine --preset shrot --out runs");
    done.fails(2, &["`shrot`"]);
    assert!(!folder.exists("runs"));
}

#[test]
fn a_task_without_data_is_a_failure_of_its_own_and_says_so() {
    let folder = prepared();
    let done = folder.spar(
        "suite run --suite suite.toml --preset short --tasks pointmass-medium --out runs --data official",
    );
    assert_eq!(done.code, Some(1), "{done:?}");
    for said in [
        "D4RL has no data of pointmass-medium",
        "pointmass-medium/bc/seed-0: it has no data",
        "pointmass-medium/spar/seed-0: it has no data",
    ] {
        assert!(done.err.contains(said), "no `{said}` in {done:?}");
    }
    assert!(!folder.exists("runs/pointmass-medium"));
}
