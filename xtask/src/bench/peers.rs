//! The peers' private environments: one per peer below `.spar/peers`, filled by
//! pip from requirements pinned with hashes. A stamp with the requirements'
//! hash is written last, so that a broken installation is made anew.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use spar_core::sha256_file;

use super::Peer;
use crate::setup::checked;

/// Name and script of a peer.
pub(crate) fn script(peer: Peer) -> (&'static str, &'static str) {
    match peer {
        Peer::None => ("nobody", ""),
        Peer::Torch => ("torch", "torch_peer.py"),
        Peer::Jax => ("jax", "jax_peer.py"),
    }
}

/// What to expect, since the download is large: the package index carries
/// PyTorch for Linux only with CUDA, and its libraries must be there even where
/// no GPU is.
fn size(peer: Peer) -> &'static str {
    match peer {
        Peer::None => "nothing",
        Peer::Torch => "5.4 GB on disk, CUDA libraries included",
        Peer::Jax => "0.6 GB on disk",
    }
}

/// The peer's Python, its environment installed where it was not.
///
/// # Errors
/// One line of why it cannot be had.
pub(crate) fn python(root: &Path, peer: Peer) -> Result<PathBuf> {
    let (name, _) = script(peer);
    let requirements = root.join(format!("xtask/peers/requirements-{name}.txt"));
    let wanted = sha256_file(&requirements)?;
    let all = root.join(".spar/peers");
    let place = all.join(name);
    let python = place.join("bin/python");
    let stamp = place.join("installed");
    fs::create_dir_all(&all).with_context(|| format!("cannot create {}", all.display()))?;
    let lock = all.join(".lock");
    let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
    lock.lock()?;
    if fs::read_to_string(&stamp).is_ok_and(|there| there.trim() == wanted) {
        return Ok(python);
    }
    eprintln!("installing {name} into .spar/peers ({})", size(peer));
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
        .arg(&requirements);
    checked(pip, "pip")?;
    fs::write(&stamp, wanted)?;
    Ok(python)
}
