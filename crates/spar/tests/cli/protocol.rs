//! `docs/protocol.md` is what the program says of the suites.

use std::{fs, path::Path};

use expect_test::expect_file;
use spar_core::Suite;

use crate::support::Folder;

/// `UPDATE_EXPECT=1 cargo xtask test protocol` writes the file anew.
#[test]
fn the_protocol_in_the_docs_is_the_suites() {
    let suites = concat!(env!("CARGO_MANIFEST_DIR"), "/../../suites");
    let line = format!("protocol {suites}/mujoco.toml {suites}/ablation.toml");
    let done = Folder::new().spar(&line);
    assert_eq!(done.code, Some(0), "{}", done.err);
    expect_file!["../../../../docs/protocol.md"].assert_eq(&done.out);
}

/// One variant in the suite had hidden its methods, presets and data.
#[test]
fn a_suite_with_methods_and_a_variant_is_described_by_both() {
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/../../suites/mujoco.toml");
    let out = Folder::new().spar(&format!("protocol {suite}")).ok();
    for part in [
        "### Presets",
        "| standard |",
        "`--method spar`",
        "`--method iql`",
        "### Variants",
        "`hubl-spar`",
    ] {
        assert!(out.contains(part), "no {part}");
    }
}

/// Each method a suite has settings for, on each of its tasks, in each of its presets.
#[test]
fn every_suite_of_the_project_has_settings_that_can_be_used() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../suites"));
    let mut tasks = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let suite = Suite::load(&file).unwrap_or_else(|e| panic!("{e}"));
        tasks += suite.tasks.len();
        for preset in suite.presets.keys() {
            let line = format!(
                "protocol --settings {preset} --methods all -- {}",
                file.display()
            );
            let done = Folder::new().spar(&line);
            assert_eq!(done.code, Some(0), "{line}: {}", done.err);
            let expected = suite.tasks.len() * suite.all_methods().len();
            assert_eq!(done.out.lines().count(), expected, "{line}");
        }
    }
    // Of D4RL's tables: 9, 6, 6, 6, 12 and 3; and the ablations' three.
    assert!(tasks >= 45, "{tasks}");
}

#[test]
fn a_suite_that_is_not_there_is_named() {
    let done = Folder::new().spar("protocol none.toml");
    assert!(done.code == Some(1) && done.out.is_empty());
    assert!(done.err.contains("none.toml"), "{}", done.err);
    assert_eq!(done.err.trim().lines().count(), 1, "{}", done.err);
}
