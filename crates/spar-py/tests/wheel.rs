//! The wheel, as a user gets it: packed by maturin, installed by pip, then its doctests, its
//! stubs, a script of checks and the notebook, by a Python of its own.
//!
//! `SPAR_WHEEL_PYTHON` names a Python that has `maturin` and what those need; `cargo xtask
//! test` provides one, and without it everything here is skipped in words. maturin packs the
//! library that cargo has built for this test: nothing is compiled again.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use tempfile::TempDir;

/// Stands for cargo where maturin asks it to build: the same libraries as the tests were built
/// with, which are there.
const CARGO: &str = r#"#!/bin/sh
unset PYO3_CONFIG_FILE PYO3_PYTHON PYO3_ENVIRONMENT_SIGNATURE PYO3_BUILD_EXTENSION_MODULE
if [ "$1" = rustc ]; then
    exec "$SPAR_TRUE_CARGO" build --release --locked --workspace --lib \
        --message-format=json-render-diagnostics
fi
exec "$SPAR_TRUE_CARGO" "$@"
"#;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An installed wheel.
struct Wheel {
    python: PathBuf,
    folder: TempDir,
}

/// The one wheel of these tests; `None`, in words, without the Python.
fn wheel() -> Option<&'static Wheel> {
    static WHEEL: OnceLock<Option<Wheel>> = OnceLock::new();
    let wheel = WHEEL.get_or_init(|| {
        let python = PathBuf::from(env::var_os("SPAR_WHEEL_PYTHON")?);
        Some(Wheel::install(python))
    });
    if wheel.is_none() {
        eprintln!("skipped: SPAR_WHEEL_PYTHON names no Python with maturin; use cargo xtask test");
    }
    wheel.as_ref()
}

impl Wheel {
    fn install(python: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("bin")).unwrap();
        let stand_in = at("bin/cargo");
        fs::write(&stand_in, CARGO).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut path = vec![at("bin")];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let mut maturin = Command::new(&python);
        maturin
            .args(["-m", "maturin", "build", "--release", "--locked"])
            .args(["--auditwheel", "skip"])
            .arg("--out")
            .arg(at("dist"))
            .current_dir(here())
            .env("CARGO", &stand_in)
            .env("SPAR_TRUE_CARGO", cargo)
            .env("PATH", env::join_paths(path).unwrap());
        said(maturin.output().unwrap());
        let mut built = fs::read_dir(at("dist")).unwrap();
        let file = built.next().unwrap().unwrap().path();
        assert!(built.next().is_none());
        let name = file.file_name().unwrap().to_str().unwrap();
        // One for every Python from 3.10 on.
        assert!(name.contains("-cp310-abi3-"), "{name}");
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--no-deps"])
            .args(["--disable-pip-version-check", "--no-index", "--target"])
            .arg(at("site"))
            .arg(&file);
        said(pip.output().unwrap());
        Self { python, folder }
    }

    /// The Python with the package, in an empty folder.
    fn python(&self, work: &TempDir, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command
            .arg(here().join("tests").join(script))
            .current_dir(work.path())
            .env_remove("RAYON_NUM_THREADS")
            .env("PYTHONPATH", self.folder.path().join("site"))
            .env("HOME", work.path());
        command
    }

    /// Runs a script of this folder, which says what failed.
    fn runs(&self, script: &str, words: &[&Path]) {
        let work = tempfile::tempdir().unwrap();
        let told = said(self.python(&work, script).args(words).output().unwrap());
        eprint!("{told}");
    }
}

fn said(output: Output) -> String {
    let (told, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{}\n{told}\n{errors}",
        output.status
    );
    told
}

/// The program `spar`, where cargo put it beside this test.
fn program() -> Option<PathBuf> {
    let test = env::current_exe().unwrap();
    let mut folders = test.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| {
        let program = folder.join("spar");
        program.is_file().then_some(program)
    });
    if found.is_none() {
        eprintln!("skipped: no program `spar` beside this test; use cargo xtask test");
    }
    found
}

#[test]
fn the_programs_of_the_documentation_say_what_they_say() {
    let Some(wheel) = wheel() else { return };
    let root = here().join("../..");
    wheel.runs(
        "doctests.py",
        &[&here().join("README.md"), &root.join("docs/python.md")],
    );
}

#[test]
fn policies_data_and_statistics_are_those_of_the_library() {
    let Some(wheel) = wheel() else { return };
    let golden = here().join("../../tests/fixtures/stats/stats.json");
    wheel.runs("check_acting.py", &[&golden]);
    wheel.runs("check_data.py", &[]);
    wheel.runs("check_training.py", &[]);
}

#[test]
fn python_and_the_program_train_and_act_with_the_same_bits() {
    let (Some(wheel), Some(program)) = (wheel(), program()) else {
        return;
    };
    wheel.runs("check_program.py", &[&program]);
}

#[test]
fn the_stubs_are_those_of_the_package() {
    let Some(wheel) = wheel() else { return };
    wheel.runs("stubs.py", &[]);
}

#[test]
fn the_notebook_goes_from_minari_data_to_a_table() {
    let Some(wheel) = wheel() else { return };
    wheel.runs(
        "notebook.py",
        &[&here().join("notebooks/minari_to_table.ipynb")],
    );
}
