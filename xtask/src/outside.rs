//! The programs in `tests/outside`, which use single crates from outside the workspace.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Once,
};

use toml::{Table, Value};

fn folder() -> PathBuf {
    crate::root().join("tests/outside")
}

/// cargo in that folder, offline, from the workspace's own lock file: what is not in it
/// cannot be had.
fn cargo(words: &[&str]) -> Command {
    let lock = folder().join("Cargo.lock");
    static LOCKED: Once = Once::new();
    LOCKED.call_once(|| {
        fs::copy(crate::root().join("Cargo.lock"), lock).unwrap();
    });
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(words)
        .arg("--offline")
        .current_dir(folder())
        .env("CARGO_TARGET_DIR", crate::root().join("target/outside"))
        .env("RAYON_NUM_THREADS", "1");
    command
}

/// Builds a program of `tests/outside` with `features`, in a target folder of its own, and
/// runs it.
fn run(name: &str, features: &[&str], words: &[&Path]) -> Output {
    let features = features.join(",");
    let mut command = cargo(&[
        "run",
        "--quiet",
        "--release",
        "--bin",
        name,
        "--no-default-features",
        "--features",
        &features,
    ]);
    command.arg("--").args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Name and version of every package a lock file has from a registry.
fn locked(file: &Path) -> BTreeSet<(String, String)> {
    let lock: Table = toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    let of_registry = packages.filter(|package| package.get("source").is_some());
    let text = |package: &Value, key: &str| package[key].as_str().unwrap().to_owned();
    of_registry
        .map(|package| (text(package, "name"), text(package, "version")))
        .collect()
}

/// Where `SPAR_TEST_OUTSIDE` is set, as in CI's workflow: it builds candle and HDF5 once more,
/// which takes minutes.
#[test]
fn spar_is_trained_in_an_environment_from_outside_and_acts() {
    if env::var_os("SPAR_TEST_OUTSIDE").is_none() {
        eprintln!("skipped: SPAR_TEST_OUTSIDE is not set");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("cart.safetensors");
    let trained = said(&run("train", &["train"], &[&policy]));
    let returns: Vec<f64> = trained
        .split([' ', ',', '\n'])
        .filter_map(|word| word.parse().ok())
        .collect();
    let [anchor, spar] = returns[..] else {
        panic!("{trained}");
    };
    assert!(spar > anchor, "{trained}");
    let action = said(&run("act", &[], &[&policy, "0.5".as_ref(), "0.1".as_ref()]));
    let force: f64 = action.trim_matches(['[', ']', '\n']).parse().unwrap();
    assert!((-1.0..0.0).contains(&force), "{action}");
}

#[test]
fn the_programs_outside_are_built_with_the_workspaces_dependencies() {
    // Not `metadata`, which wants the sources of other platforms' packages too.
    let resolved = cargo(&["tree", "--edges=normal"]).output().unwrap();
    said(&resolved);
    let ours = locked(&crate::root().join("Cargo.lock"));
    let theirs = locked(&folder().join("Cargo.lock"));
    let other: Vec<_> = theirs.difference(&ours).collect();
    assert!(other.is_empty() && !theirs.is_empty(), "{other:?}");
}

/// As above, only where it is asked for: Parquet's library takes a minute.
#[test]
fn data_are_read_without_hdf5() {
    if env::var_os("SPAR_TEST_OUTSIDE").is_none() {
        eprintln!("skipped: SPAR_TEST_OUTSIDE is not set");
        return;
    }
    let tree = cargo(&[
        "tree",
        "--edges=normal",
        "--no-default-features",
        "--features=read",
    ]);
    let tree = said(&{ tree }.output().unwrap());
    assert!(tree.contains("parquet") && !tree.contains("hdf5"), "{tree}");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("log.csv");
    let rows = "obs_0,obs_1,action_0,reward,terminal\n\
                0.1,0.2,0.5,1.0,0\n0.3,0.4,-0.5,0.0,1\n";
    fs::write(&table, rows).unwrap();
    assert_eq!(
        said(&run("read", &["read"], &[&table])).trim(),
        "2 rows, 2 wide"
    );
    let hdf5 = folder.path().join("log.hdf5");
    let mut bytes = b"\x89HDF\r\n\x1a\n".to_vec();
    bytes.resize(4096, 0);
    fs::write(&hdf5, bytes).unwrap();
    let output = run("read", &["read"], &[&hdf5]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    assert!(
        errors.contains("which this program was built without"),
        "{errors}"
    );
}

/// With spar-policy alone: it builds in seconds.
#[test]
fn a_policy_is_acted_by_with_spar_policy_alone() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing.safetensors");
    let output = run("act", &[], &[&nothing]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && errors.contains("nothing.safetensors"),
        "{errors}"
    );
}
