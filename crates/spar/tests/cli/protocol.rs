//! `docs/protocol.md` is what the program says of the suites.

use expect_test::expect_file;

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

#[test]
fn a_suite_that_is_not_there_is_named() {
    let done = Folder::new().spar("protocol none.toml");
    assert!(done.code == Some(1) && done.out.is_empty());
    assert!(done.err.contains("none.toml"), "{}", done.err);
    assert_eq!(done.err.trim().lines().count(), 1, "{}", done.err);
}
