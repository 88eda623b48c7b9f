//! The peers' programs: PyTorch's and JAX's, each in a Python environment of its own.

use spar_setup::{JAX, PythonEnv, TORCH};

use crate::options::Peer;

/// A script of a peer's, and what runs it.
pub(crate) struct Program {
    /// Whose.
    pub(crate) peer: Peer,
    /// In which Python.
    pub(crate) python: PythonEnv,
    /// A file of `xtask/peers`.
    pub(crate) script: &'static str,
}

/// The yardstick network and SPAR's whole update.
pub(crate) const UPDATES: [Program; 2] = [TORCH_UPDATES, JAX_UPDATES];

/// PyTorch's of [`UPDATES`].
const TORCH_UPDATES: Program = Program {
    peer: Peer::Torch,
    python: TORCH,
    script: "torch_peer.py",
};

/// JAX's of [`UPDATES`].
pub(crate) const JAX_UPDATES: Program = Program {
    peer: Peer::Jax,
    python: JAX,
    script: "jax_peer.py",
};

/// The updates of other methods.
pub(crate) const METHODS: [Program; 2] = [
    Program {
        script: "methods_torch.py",
        ..TORCH_UPDATES
    },
    Program {
        script: "methods_jax.py",
        ..JAX_UPDATES
    },
];
