//! Files are opened by another process first, as [`spar_data::rehearse_in`] has it: a Python
//! that loads this module alone.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use pyo3::prelude::*;

/// What that Python runs: the path of this module, the keys of observations, the file.
const PROGRAM: &str = "\
import importlib.util, sys
spec = importlib.util.spec_from_file_location('spar._spar', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
fault = module.rehearse(sys.argv[-1], sys.argv[2:-1])
if fault is not None:
    sys.stdout.buffer.write(fault.encode())
    sys.exit(1)
";

/// The Python, and the file of this module.
static PYTHON: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();

/// From now on, has the Python ``executable`` open every data file first by ``module``, the
/// file of this module.
#[pyfunction]
pub(crate) fn rehearse_in(executable: PathBuf, module: PathBuf) {
    PYTHON.get_or_init(|| (executable, module));
    spar_data::rehearse_in(|file, observations| {
        let (python, module) = PYTHON.get().ok_or(std::io::ErrorKind::NotFound)?;
        let mut command = Command::new(python);
        // Nothing of the folder that it is called in, of the user's or of a site is loaded.
        command.args(["-I", "-S", "-c", PROGRAM]).arg(module);
        command.args(observations).arg(shielded(file));
        Ok(command)
    });
}

/// A path that no program takes for an option.
fn shielded(file: &Path) -> OsString {
    match file.is_absolute() {
        true => file.into(),
        false => Path::new(".").join(file).into(),
    }
}

/// What that Python does: ``None``, or why the file is refused.
#[pyfunction]
pub(crate) fn rehearse(path: PathBuf, observations: Vec<String>) -> Option<String> {
    let done = spar_data::rehearse(&path, &observations);
    done.err().map(|error| error.to_string())
}
