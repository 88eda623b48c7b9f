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

/// A point mass has no reference returns, so that there is no table; the runs are made.
#[test]
fn a_task_of_the_suites_own_is_trained_on_the_file_named_for_it() {
    let folder = prepared();
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    let suite = suite.replace("\"pointmass-medium\", ", "\"rail-logs\", ")
        + "[define.rail-logs]\nenv = \"pointmass\"\n";
    fs::write(folder.path("own.toml"), suite).unwrap();
    let run = "suite run --suite own.toml --preset short --tasks rail-logs --methods bc --out runs";
    let done = folder.spar(&format!("{run} --dataset rail-logs=data.hdf5"));
    assert!(done.err.contains("1 runs: 0 are done, 1 to do"), "{done:?}");
    assert!(folder.exists("runs/rail-logs/bc/seed-0/DONE"), "{done:?}");
    let done = folder.spar(&format!("{run} --dataset rail-logs=data.hdf5"));
    assert!(done.err.contains("1 runs: 1 are done, 0 to do"), "{done:?}");

    for (given, fact) in [
        ("data.hdf5", "expected TASK=FILE"),
        ("logs=data.hdf5", "expected one of: rail-logs"),
        (
            "rail-logs=a --dataset rail-logs=b",
            "two files of rail-logs",
        ),
    ] {
        folder
            .spar(&format!("{run} --dataset {given}"))
            .fails(2, &[fact]);
    }
}

#[test]
fn all_is_one_table_after_another_of_d4rls() {
    let folder = prepared();
    let done = folder.spar("suite run --suite all --preset short");
    done.fails(2, &["none of the suites mujoco, ant, maze2d"]);
    fs::create_dir(folder.path("suites")).unwrap();
    let suite = String::from_utf8(folder.read("suite.toml")).unwrap();
    for name in ["ant", "kitchen"] {
        let own = suite.replacen("name = \"", &format!("name = \"{name}-"), 1);
        fs::write(folder.path(&format!("suites/{name}.toml")), own).unwrap();
    }
    let done = folder.spar("suite run --suite all --preset short --tasks hopper-medium");
    done.fails(2, &["leave out --tasks"]);
    // The first one's failures do not keep the second from being made.
    let done = folder.spar("suite run --suite all --preset short --data official");
    assert_eq!(done.code, Some(1), "{done:?}");
    let said = |what: &str| done.err.matches(what).count() + done.out.matches(what).count();
    assert_eq!(
        (said("suite ant"), said("suite kitchen")),
        (1, 1),
        "{done:?}"
    );
    assert!(
        said("D4RL has no data of pointmass-medium") >= 2,
        "{done:?}"
    );
}
