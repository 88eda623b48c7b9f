//! Whether every library crate can be published: `cargo package` takes it, and what users of
//! a registry look for is there.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use toml::Table;

/// Those that stay in the workspace.
const PRIVATE: [&str; 3] = ["spar-bench", "spar-py", "xtask"];

/// Folder and manifest of every crate under `crates`.
fn crates() -> Vec<(String, Table)> {
    let folders = fs::read_dir(crate::root().join("crates")).unwrap();
    let mut found: Vec<(String, Table)> = folders
        .map(|folder| {
            let folder = folder.unwrap().path();
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            (name, manifest.parse().unwrap())
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn published_crates_say_what_they_are() {
    let mut wrong = Vec::new();
    for (name, manifest) in crates() {
        let package = manifest["package"].as_table().unwrap();
        let private = package.get("publish").is_some();
        if private != PRIVATE.contains(&name.as_str()) {
            wrong.push(format!(
                "{name}: `publish` is not what xtask/src/packages.rs says"
            ));
        }
        if private {
            continue;
        }
        for key in ["description", "readme", "keywords", "categories"] {
            if !package.contains_key(key) {
                wrong.push(format!("{name}: no `{key}` in its manifest"));
            }
        }
        let folder = crate::root().join("crates").join(&name);
        for file in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
            if !folder.join(file).is_file() {
                wrong.push(format!("{name}: no {file}"));
            }
        }
        let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        let library = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
        let tested = library.contains("#[doc = include_str!(\"../README.md\")]");
        if !readme.contains("```rust") || !tested {
            wrong.push(format!(
                "{name}: its README has no program that the tests compile"
            ));
        }
    }
    crate::tidy::assert_none(wrong, "what a published crate lacks");
}

/// A path that leaves a crate's folder is not in its package.
#[test]
fn no_published_crate_includes_a_file_from_outside_it() {
    let mut wrong = Vec::new();
    for source in crate::tidy::rust() {
        let Some(rest) = source.path.strip_prefix("crates/") else {
            continue;
        };
        let (name, file) = rest.split_once('/').unwrap();
        // Tests of the workspace read its suites; no user of a package compiles them.
        let tests = file.ends_with("_tests.rs");
        if PRIVATE.contains(&name) || !file.starts_with("src/") || tests {
            continue;
        }
        let depth = file.matches('/').count() + 1;
        let out = "../".repeat(depth);
        let leaves = |line: &str| line.contains("include") && line.contains(&format!("\"{out}"));
        let lines = source.text.lines().enumerate();
        let lines = lines.filter(|(_, line)| leaves(line));
        wrong.extend(lines.map(|(i, line)| format!("{}:{}: {}", source.path, i + 1, line.trim())));
    }
    crate::tidy::assert_none(wrong, "a published crate includes what its package lacks");
}

/// Without building them again, which CI does in a job of its own.
#[test]
fn every_library_crate_can_be_packaged() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = crate::root().join("target");
    let mut command = Command::new(cargo);
    command
        .args([
            "package",
            "--workspace",
            "--no-verify",
            "--allow-dirty",
            "--offline",
            "--quiet",
        ])
        .current_dir(crate::root())
        .env("CARGO_TARGET_DIR", &target);
    for name in PRIVATE {
        command.args(["--exclude", name]);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    let published = crates().into_iter().map(|(name, _)| name);
    let published = published.filter(|name| !PRIVATE.contains(&name.as_str()));
    let packaged: BTreeSet<String> = fs::read_dir(target.join("package"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in published {
        let version = env!("CARGO_PKG_VERSION");
        let file = format!("{name}-{version}.crate");
        assert!(packaged.contains(&file), "{file} is not in {packaged:?}");
        let most = 2 << 20;
        let size = fs::metadata(Path::new(&target).join("package").join(&file)).unwrap();
        assert!(size.len() < most, "{file} has {} bytes", size.len());
    }
}
