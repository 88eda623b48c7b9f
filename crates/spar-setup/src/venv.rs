//! Private Python environments of the workspace, for tests and benchmarks, filled by pip
//! from requirements pinned with hashes. A stamp with the requirements' hash is written
//! last, so that a broken installation is made anew.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use spar_core::sha256_file;

use crate::{SetupError, Step, checked, doing};

/// A Python of the workspace's own, and what is installed in it.
#[derive(Clone, Copy, Debug)]
pub struct PythonEnv {
    /// Its name, which its folder and its requirements bear.
    pub name: &'static str,
    /// The folder of its requirements, below the workspace's root.
    requirements: &'static str,
    /// The folder it is in, below the workspace's root.
    place: &'static str,
    /// What to expect of the download.
    size: &'static str,
}

const fn of_tests(name: &'static str, size: &'static str) -> PythonEnv {
    PythonEnv {
        name,
        requirements: "tests/scripts",
        place: ".spar/python",
        size,
    }
}

const fn of_peers(name: &'static str, size: &'static str) -> PythonEnv {
    PythonEnv {
        name,
        requirements: "xtask/peers",
        place: ".spar/peers",
        size,
    }
}

/// The `minari` package, and h5py.
pub const MINARI: PythonEnv = of_tests("minari", "170 MB on disk");

/// What reads policies, metrics and tables of ours: ONNX Runtime, tensorboard, pyarrow.
pub const DOORS: PythonEnv = of_tests("doors", "400 MB on disk");

/// Trackers of experiments.
pub const TRACKERS: PythonEnv = of_tests("trackers", "370 MB on disk");

/// What builds the Python package, and tests it.
pub const WHEEL: PythonEnv = of_tests("wheel", "400 MB on disk");

/// PyTorch. The package index carries it for Linux only with CUDA, whose libraries must be
/// there even where no GPU is.
pub const TORCH: PythonEnv = of_peers("torch", "5.4 GB on disk, CUDA libraries included");

/// JAX.
pub const JAX: PythonEnv = of_peers("jax", "0.6 GB on disk");

impl PythonEnv {
    /// The interpreter of this environment of the workspace at `root`, installed where it
    /// was not; `listener` hears of an installation.
    ///
    /// # Errors
    /// [`SetupError::Python`]: which environment, and why it cannot be had.
    pub fn provide(&self, root: &Path, listener: fn(&str)) -> Result<PathBuf, SetupError> {
        self.install(root, listener)
            .map_err(|why| SetupError::Python {
                name: self.name,
                why,
            })
    }

    fn install(&self, root: &Path, listener: fn(&str)) -> Step<PathBuf> {
        let name = self.name;
        let requirements = root
            .join(self.requirements)
            .join(format!("requirements-{name}.txt"));
        let wanted = sha256_file(&requirements).map_err(|e| e.to_string())?;
        let all = root.join(self.place);
        let place = all.join(name);
        let python = place.join("bin/python");
        let stamp = place.join("installed");
        fs::create_dir_all(&all).map_err(|e| doing("create", &all, &e))?;
        let lock = all.join(".lock");
        let held = File::create(&lock).and_then(|file| file.lock().map(|()| file));
        let _held = held.map_err(|e| doing("lock", &lock, &e))?;
        if fs::read_to_string(&stamp).is_ok_and(|there| there.trim() == wanted) {
            return Ok(python);
        }
        let size = self.size;
        listener(&format!(
            "installing {name} into {} ({size})",
            all.display()
        ));
        if place.exists() {
            fs::remove_dir_all(&place).map_err(|e| doing("remove", &place, &e))?;
        }
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&place);
        checked(venv, "python3 with venv").map_err(|e| e.to_string())?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--only-binary=:all:"])
            .args(["--require-hashes", "--requirement"])
            .arg(requirements);
        checked(pip, "pip").map_err(|e| e.to_string())?;
        fs::write(&stamp, wanted).map_err(|e| doing("write", &stamp, &e))?;
        Ok(python)
    }
}
