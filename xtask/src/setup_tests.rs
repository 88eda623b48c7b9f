#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use super::*;

/// What a plain `cargo build` is built with: the machine's cmake, else the one that set-up
/// fetched, else the one it fetches now.
#[test]
fn a_plain_build_has_a_cmake_or_says_why_not() {
    let wrapper = crate::root().join(".cargo/cmake");
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join(".cargo/cmake");
    fs::create_dir_all(dir.path().join(".cargo")).unwrap();
    fs::copy(&wrapper, &copy).unwrap();
    // Where there is a shim of that name that stands for nothing.
    let shims = dir.path().join("shims");
    let script = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    script(&shims.join("cmake"), "exit 127");
    for tool in ["dirname", "sh", "tail", "mkdir", "cp", "chmod"] {
        script(
            &shims.join(tool),
            &format!("exec /usr/bin/env -i PATH=/usr/bin:/bin {tool} \"$@\""),
        );
    }
    let cargo = shims.join("some-cargo");
    let run = || -> Output {
        let mut command = Command::new(&copy);
        command.arg("--build").env("PATH", &shims);
        command.env("CARGO", &cargo).output().unwrap()
    };

    script(&cargo, "echo error: no network >&2; exit 1");
    let without = run();
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(!without.status.success());
    for fact in ["error: no network", "cargo xtask setup", "install cmake"] {
        assert!(said.contains(fact) && said.lines().count() == 1, "{said}");
    }

    let own = spar_setup::Setup::at(dir.path().join(".spar/native")).place_of(&CMAKE);
    let fetched = dir.path().join("fetched");
    script(&fetched, "echo own \"$@\"");
    let fetch = format!(
        "mkdir -p {} && cp {} {} && echo \"$@\" >asked",
        own.parent().unwrap().display(),
        fetched.display(),
        own.display()
    );
    script(&cargo, &fetch);
    assert_eq!(run().stdout, b"own --build\n");
    let asked = fs::read_to_string(dir.path().join("asked")).unwrap();
    assert!(
        asked.ends_with("--package xtask -- setup --build-tools\n"),
        "{asked}"
    );
    fs::remove_file(dir.path().join("asked")).unwrap();
    assert_eq!(run().stdout, b"own --build\n");
    assert!(
        !dir.path().join("asked").exists(),
        "what is there is fetched again"
    );

    script(&shims.join("cmake"), "echo machine \"$@\"");
    assert_eq!(run().stdout, b"machine --build\n");
}
