//! Private Python environments below `.spar`, filled by pip from requirements
//! pinned with hashes. A stamp with the requirements' hash is written last, so
//! that a broken installation is made anew.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use spar_core::sha256_file;
use spar_suite::say;

use crate::setup::checked;

/// The Python of the environment `name` in the folder `all`, installed from the
/// file `requirements` where it was not; `size` says what to expect.
///
/// # Errors
/// One line of why it cannot be had.
pub(crate) fn python(all: &Path, name: &str, requirements: &Path, size: &str) -> Result<PathBuf> {
    let wanted = sha256_file(requirements)?;
    let place = all.join(name);
    let python = place.join("bin/python");
    let stamp = place.join("installed");
    fs::create_dir_all(all).with_context(|| format!("cannot create {}", all.display()))?;
    let lock = all.join(".lock");
    let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
    lock.lock()?;
    if fs::read_to_string(&stamp).is_ok_and(|there| there.trim() == wanted) {
        return Ok(python);
    }
    say!("installing {name} into {} ({size})", all.display());
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&place);
    checked(venv, "python3 with venv")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--only-binary=:all:"])
        .args(["--require-hashes", "--requirement"])
        .arg(requirements);
    checked(pip, "pip")?;
    fs::write(&stamp, wanted)?;
    Ok(python)
}
