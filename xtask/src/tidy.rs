//! What ARCHITECTURE.md says is absent, held by tests. Each test names the
//! files that break its rule and says how to fix them.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, process::Command};

use toml::{Table, Value};

/// A text file of the checkout.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is(&self, extension: &str) -> bool {
        self.path.ends_with(extension)
    }

    /// Whether the file is in one of these crates.
    fn in_crates(&self, names: &[&str]) -> bool {
        let name = self
            .path
            .strip_prefix("crates/")
            .and_then(|rest| rest.split('/').next());
        name.is_some_and(|name| names.contains(&name))
    }

    /// Lines that are not comments, numbered from one.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Text files git knows or would add.
pub(crate) fn sources() -> Vec<Source> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(crate::root())
        .output()
        .expect("the tidy tests ask git for the files of the checkout");
    assert!(
        output.status.success(),
        "the tidy tests need a git checkout"
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .split_terminator('\0')
        .filter_map(|path| {
            // Neither binary files nor ones deleted since they were added.
            let text = fs::read_to_string(crate::root().join(path)).ok()?;
            Some(Source {
                path: path.to_owned(),
                text,
            })
        })
        .collect()
}

pub(crate) fn rust() -> impl Iterator<Item = Source> {
    sources().into_iter().filter(|source| source.is(".rs"))
}

#[track_caller]
pub(crate) fn assert_none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// `path:line: text` of the lines of code in which `wrong` sees something.
fn lines_where(
    sources: impl IntoIterator<Item = Source>,
    wrong: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.code().filter(|(_, line)| wrong(line)) {
            found.push(format!("{}:{number}: {}", source.path, line.trim()));
        }
    }
    found
}

/// Whether `word` stands in `line` with no letter, digit or `_` on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// Manifests of the members by package name. A fuzz target is a workspace of its own, and so
/// are the programs outside.
pub(crate) fn manifests() -> BTreeMap<String, Table> {
    let apart = |path: &str| path.contains("/fuzz/") || path.starts_with("tests/outside/");
    let member = |path: &str| path.ends_with("/Cargo.toml") && !apart(path);
    sources()
        .into_iter()
        .filter(|source| member(&source.path))
        .map(|source| {
            let table: Table = source.text.parse().unwrap();
            let name = table["package"]["name"].as_str().unwrap().to_owned();
            (name, table)
        })
        .collect()
}

/// Every dependency of a package, of whatever kind: `(name, value)`.
fn dependencies(manifest: &Table) -> Vec<(String, Value)> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = targets.into_iter().flat_map(Table::values);
    let tables = tables.filter_map(Value::as_table).chain([manifest]);
    tables
        .flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// `package: dependency` wherever `wrong(package, dependency)`.
pub(crate) fn dependencies_where(wrong: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (package, manifest) in manifests() {
        for (name, _) in dependencies(&manifest) {
            if wrong(&package, &name) {
                found.push(format!("{package}: {name}"));
            }
        }
    }
    found
}

#[test]
fn files_are_short_or_say_why_not() {
    let excused = |source: &Source| {
        let marks = ["// long: ", "# long: "];
        source
            .text
            .lines()
            .any(|line| marks.iter().any(|mark| line.starts_with(mark)))
    };
    let long = sources()
        .into_iter()
        .filter(|source| source.is(".rs") || source.is(".py"))
        .filter(|source| source.text.lines().count() > 500 && !excused(source))
        .map(|source| format!("{}: {} lines", source.path, source.text.lines().count()));
    assert_none(
        long.collect(),
        "no file over 500 lines; split it, or give it a line `// long: reason`",
    );
}

#[test]
fn every_crate_says_why_it_exists() {
    let silent = rust()
        .filter(|source| {
            source.path.ends_with("src/lib.rs") || source.path.ends_with("src/main.rs")
        })
        .filter(|source| !source.text.starts_with("//!"));
    assert_none(
        silent.map(|source| source.path).collect(),
        "a crate's root starts with its documentation, `//!`",
    );
}

#[test]
fn danger_stays_in_the_kernels_the_mujoco_binding_and_the_c_interface() {
    let word = concat!("un", "safe");
    let may = ["spar-kernels", "spar-env", "spar-c"];
    let elsewhere = rust().filter(|source| !source.in_crates(&may));
    assert_none(
        lines_where(elsewhere, |line| has_word(line, word)),
        "only spar-kernels, spar-env's MuJoCo binding and the C interface spar-c may do this; \
         put a safe function there",
    );
}

#[test]
fn only_spar_env_knows_mujoco() {
    let elsewhere = rust()
        .filter(|source| source.path.starts_with("crates/") && !source.in_crates(&["spar-env"]));
    let symbol = |line: &str| {
        line.match_indices("mj_").any(|(at, _)| {
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                && line[at + 3..].starts_with(char::is_alphabetic)
        })
    };
    assert_none(
        lines_where(elsewhere, symbol),
        "only spar-env calls MuJoCo; go through its environments",
    );
    let linked = manifests().into_iter().filter(|(package, manifest)| {
        let linked = manifest.get("dependencies").and_then(Value::as_table);
        package != "spar-env" && linked.is_some_and(|names| names.contains_key("libloading"))
    });
    assert_none(
        linked.map(|(package, _)| package).collect(),
        "only spar-env opens a library at run time, and the tests that include spar-kernels' \
         stand-in for a GPU",
    );
}

#[test]
fn only_spar_kernels_knows_cuda() {
    assert_none(
        dependencies_where(|package, name| name == "cudarc" && package != "spar-kernels"),
        "only spar-kernels calls CUDA; go through its operations",
    );
    let elsewhere = rust().filter(|source| {
        source.path.starts_with("crates/")
            && !source.in_crates(&["spar-kernels", "spar"])
            && !source.path.starts_with("crates/spar-bench/src/gpu/")
    });
    let name = concat!("Cuda", "Device");
    assert_none(
        lines_where(elsewhere, |line| has_word(line, name)),
        "only the binary chooses the device, and what checks it (gpu-check); be generic over spar_kernels::cuda::Device",
    );
}

#[test]
fn only_spar_data_knows_hdf5() {
    let elsewhere = rust()
        .filter(|source| source.path.starts_with("crates/") && !source.in_crates(&["spar-data"]));
    assert_none(
        lines_where(elsewhere, |line| line.contains("hdf5::")),
        "only spar-data reads and writes HDF5; go through its Dataset",
    );
    assert_none(
        dependencies_where(|package, name| name.starts_with("hdf5") && package != "spar-data"),
        "only spar-data depends on HDF5",
    );
}

#[test]
fn only_spar_data_knows_the_net() {
    assert_none(
        dependencies_where(|package, name| name == "ureq" && package != "spar-data"),
        "only spar-data asks the net for files; go through spar_data::fetch",
    );
    let elsewhere =
        rust().filter(|source| source.path.contains("/src/") && !source.in_crates(&["spar-data"]));
    let client = [concat!("Tcp", "Stream"), concat!("Udp", "Socket")];
    assert_none(
        lines_where(elsewhere, |line| {
            client.iter().any(|name| has_word(line, name))
        }),
        "only spar-data opens connections",
    );
}

#[test]
fn xtask_and_report_stay_light() {
    let heavy = |name: &str| {
        ["candle", "hdf5", "gemm", "libloading"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    assert_none(
        dependencies_where(|package, name| {
            ["xtask", "spar-suite", "spar-report", "spar-core"].contains(&package) && heavy(name)
        }),
        "xtask, spar-suite and spar-report build in seconds: no candle, HDF5 or MuJoCo in them or \
         spar-core",
    );
}

#[test]
fn versions_are_chosen_once() {
    let mut found = Vec::new();
    for (package, manifest) in manifests() {
        for (name, value) in dependencies(&manifest) {
            if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                found.push(format!("{package}: {name}"));
            }
        }
    }
    assert_none(
        found,
        "dependencies are `workspace = true`; versions stand in the root Cargo.toml",
    );
}

#[test]
fn no_registry_host_and_no_path_of_a_machine() {
    let hosts = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("python", "hosted"),
        concat!("debian", ".org"),
        concat!("npm", "js"),
    ];
    let folders = ["work", "root", "farm", "home", "tmp"].map(|name| format!("/{name}/"));
    let path = |line: &str| {
        let inside = |c: char| c.is_alphanumeric() || "_.-}>)~*".contains(c);
        folders.iter().any(|folder| {
            line.match_indices(folder.as_str())
                .any(|(at, _)| !line[..at].ends_with(inside))
        })
    };
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| source.path != "Cargo.lock")
    {
        for (i, line) in source.text.lines().enumerate() {
            if path(line) || hosts.iter().any(|host| line.contains(host)) {
                found.push(format!("{}:{}: {}", source.path, i + 1, line.trim()));
            }
        }
    }
    assert_none(found, "no registry's host and no absolute path in the tree");
}

#[test]
fn every_random_draw_comes_from_a_named_stream() {
    let global = [
        concat!("rand::", "rng("),
        concat!("rand::", "random"),
        concat!("thread", "_rng"),
        concat!("from_", "os_rng"),
        concat!("from_", "entropy"),
        concat!("Os", "Rng"),
        concat!("Tensor::", "rand"),
        concat!("Var::", "rand"),
        concat!("rand", "_like"),
        concat!("randn", "_like"),
    ];
    assert_none(
        lines_where(rust(), |line| global.iter().any(|name| line.contains(name))),
        "randomness comes from a spar_core::Stream handed in",
    );
}

#[test]
fn rectify_asks_no_critic_for_an_action_gradient() {
    // `Trace` is spar-nn's word for the gradients of a pass. A critic only ever
    // traces its parameters, so that there is no action gradient to ask for;
    // `Both` in spar-rectify is the decoder's, whose latent comes from the encoder.
    // What SPAR is without has files of its own: there the gradient may be asked for.
    let of = |name: &'static str| {
        rust().filter(move |source| {
            source.in_crates(&[name])
                && source.path.contains("/src/")
                && !source.path.ends_with("/ablation.rs")
        })
    };
    let mut found = lines_where(of("spar-critic"), |line| {
        let climbs = line.contains(".climb");
        climbs || line.contains("Trace::Input") || line.contains("Trace::Both")
    });
    found.extend(lines_where(of("spar-rectify"), |line| {
        line.contains("Trace::Input") || line.contains("climbed")
    }));
    assert_none(
        found,
        "no gradient of any Q with respect to an action is taken outside ablation.rs",
    );
}

#[test]
fn algorithms_do_no_io() {
    let algorithms = [
        "spar-anchor",
        "spar-critic",
        "spar-rectify",
        "spar-baselines",
        "spar-theory",
        "spar-ope",
    ];
    let io = ["std::fs", "fs::", "File::", "println!", "write_atomic"];
    let algorithms =
        rust().filter(|source| source.in_crates(&algorithms) && source.path.contains("/src/"));
    assert_none(
        lines_where(algorithms, |line| io.iter().any(|name| line.contains(name))),
        "only train, data, collect and report touch files; return the values instead",
    );
}

#[test]
fn no_test_is_switched_off_and_nothing_is_a_stub() {
    let marks = [
        concat!("#[", "ignore"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
    ];
    assert_none(
        lines_where(rust(), |line| marks.iter().any(|mark| line.contains(mark))),
        "finish it or leave it out",
    );
}

#[test]
fn words_are_told_from_their_parts() {
    assert!(has_word("let x = un;", "un") && has_word("un", "un"));
    assert!(!has_word("sun under un_der", "un"));
    assert!(has_word("sun, un", "un"));
}
