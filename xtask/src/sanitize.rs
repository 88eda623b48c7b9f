//! `cargo xtask sanitize`: the tests of `spar-kernels`, the one crate with
//! numeric `unsafe` code, under AddressSanitizer.
//!
//! Miri would be the usual check, but it needs a nightly compiler and knows few
//! of the vector instructions. This one runs the real instructions, of every
//! set this machine has (the tests confine themselves to each in turn), and finds
//! reads and writes outside an allocation and after its end. What the standard
//! library asserts of its callers' pointers (alignment, overlap, the bounds of
//! unchecked accesses) is compiled in, too. What neither sees is a read of another
//! part of the same allocation: for that the kernels assert the lengths they
//! rely on.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use spar_suite::say;

use crate::cargo::Cargo;

/// The crate that is tested.
const CRATE: &str = "spar-kernels";

/// Test files that are left out: they run fibers, on stacks the sanitizer does
/// not know, or NVIDIA's compiler, which is not ours to check.
const LEFT_OUT: &str = "cuda";

/// Builds the tests with the sanitizer, apart from everything else, and runs them.
///
/// # Errors
/// If cargo or rustc cannot be run.
pub(crate) fn sanitize(root: &Path, cargo: &Cargo) -> Result<ExitCode> {
    let mut args = vec!["--package", CRATE, "--lib"];
    let tests = tests(&root.join("crates").join(CRATE).join("tests"))?;
    for test in &tests {
        args.extend(["--test", test]);
    }
    say!("sanitize: cargo test {}", args.join(" "));
    cargo.test_sanitized(&host(root)?, &args)
}

/// Names of the integration tests in `folder` but those left out, in order.
fn tests(folder: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.filter(|name| !name.starts_with(LEFT_OUT));
        if let (Some(name), Some("rs")) = (name, path.extension().and_then(|e| e.to_str())) {
            names.push(name.to_owned());
        }
    }
    ensure!(!names.is_empty(), "{} has no tests", folder.display());
    names.sort();
    Ok(names)
}

/// The machine's target, which cargo must be told: without, it would build its
/// own plug-ins with the sanitizer as well.
fn host(root: &Path) -> Result<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(root).output();
    let output = output.context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod unit {
    use super::*;

    #[test]
    fn every_test_of_the_kernels_but_the_cuda_ones_is_run() {
        let names = tests(&crate::root().join("crates/spar-kernels/tests")).unwrap();
        for name in ["allocations", "mlp", "optim", "rows"] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
        assert!(!names.iter().any(|name| name.starts_with("cuda")));
        let empty = tempfile::tempdir().unwrap();
        assert!(tests(empty.path()).is_err());
    }
}
