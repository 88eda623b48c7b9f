//! The peers' private environments: one per peer below `.spar/peers`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Peer;
use crate::venv;

/// Name and script of a peer.
pub(crate) fn script(peer: Peer) -> (&'static str, &'static str) {
    match peer {
        Peer::None => ("nobody", ""),
        Peer::Torch => ("torch", "torch_peer.py"),
        Peer::Jax => ("jax", "jax_peer.py"),
    }
}

/// The peer's script of other methods.
pub(crate) fn methods_script(peer: Peer) -> &'static str {
    match peer {
        Peer::None => "",
        Peer::Torch => "methods_torch.py",
        Peer::Jax => "methods_jax.py",
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
    venv::python(&root.join(".spar/peers"), name, &requirements, size(peer))
}
