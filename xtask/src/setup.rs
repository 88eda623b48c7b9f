//! Native parts of the workspace, in its git-ignored `.spar/native`: what environments need,
//! cmake for the static HDF5 build where the machine has none, and for the tests NVIDIA's
//! compiler and assembler, which need no GPU.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Result;
pub(crate) use spar_setup::checked;
use spar_setup::{CMAKE, DENY, NVRTC, PTXAS};

/// Where the tests find NVIDIA's tools.
pub(crate) struct CudaTools {
    /// Folder of the run-time compiler's libraries.
    pub(crate) nvrtc: PathBuf,
    /// The assembler.
    pub(crate) ptxas: PathBuf,
}

/// Set-up of the workspace.
pub(crate) struct Setup {
    parts: spar_setup::Setup,
    has_cmake: bool,
}

impl Setup {
    /// Set-up of the workspace at `root` on this machine.
    pub(crate) fn here(root: &Path) -> Self {
        // The one that .cargo/config.toml names finds what is there or was provided.
        let own = root.join(".cargo/cmake");
        let named = env::var_os("CMAKE").is_some_and(|cmake| Path::new(&cmake) != own);
        let parts = spar_setup::Setup::at(root.join(".spar/native"));
        Self {
            parts: parts.with_listener(spar_suite::say::to_stderr),
            has_cmake: named || runs("cmake"),
        }
    }

    /// Provides what is missing.
    ///
    /// # Errors
    /// One line naming the part, why it could not be had, and where to put it
    /// by hand.
    pub(crate) fn run(&self) -> Result<()> {
        self.parts.physics()?;
        self.build_tools()
    }

    /// Provides only what compiling needs: enough for commands that play no
    /// environment.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn build_tools(&self) -> Result<()> {
        if !self.has_cmake {
            self.parts.provide(&CMAKE)?;
        }
        Ok(())
    }

    /// Provides what only the tests of the CUDA sources need.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn cuda_tools(&self) -> Result<CudaTools> {
        self.parts.provide(&NVRTC)?;
        self.parts.provide(&PTXAS)?;
        let mut nvrtc = self.parts.place_of(&NVRTC);
        nvrtc.pop();
        Ok(CudaTools {
            nvrtc,
            ptxas: self.parts.place_of(&PTXAS),
        })
    }

    /// Provides the program that looks through the dependencies.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn deny(&self) -> Result<PathBuf> {
        self.parts.provide(&DENY)?;
        Ok(self.parts.place_of(&DENY))
    }
}

/// Whether `program --version` works: a shim on PATH may stand for nothing.
fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
#[path = "setup_tests.rs"]
mod tests;
