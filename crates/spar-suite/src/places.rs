//! The files a user names: of suites, and of data.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use spar_core::TaskId;

use crate::{Result, Usage, error::io, theory};

/// The files that `TASK=FILE` names for tasks of the selection.
pub(crate) fn given(named: &[String], tasks: &[TaskId]) -> Result<BTreeMap<TaskId, PathBuf>> {
    let mut given = BTreeMap::new();
    for pair in named {
        let Some((name, file)) = pair.split_once('=').filter(|(_, file)| !file.is_empty()) else {
            let why =
                format!("--dataset `{pair}`; expected TASK=FILE, as in hopper-medium=my.hdf5");
            return Err(Usage(why).into());
        };
        let Some(&task) = tasks.iter().find(|task| task.name() == name) else {
            let tasks: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
            let tasks = tasks.join(", ");
            let why = format!("--dataset names task `{name}`; expected one of: {tasks}");
            return Err(Usage(why).into());
        };
        if given.insert(task, absolute(Path::new(file))?).is_some() {
            return Err(Usage(format!("--dataset names two files of {name}; give one")).into());
        }
    }
    Ok(given)
}

/// The file of the suite called `name`, or `name` itself if it is a file's.
///
/// # Errors
/// [`Usage`] that names those there are.
pub fn suite_file(root: &Path, name: &str) -> Result<PathBuf> {
    let given = Path::new(name);
    if given
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        return absolute(given);
    }
    let folder = root.join("suites");
    // Not `with_extension`: a suite's name may hold a dot.
    let file = folder.join(format!("{name}.toml"));
    if file.is_file() {
        return Ok(file);
    }
    let mut known: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    known.push(theory::SUITE.to_owned());
    known.sort();
    Err(Usage(format!(
        "unknown suite `{name}`; expected one of: {}",
        known.join(", ")
    ))
    .into())
}

/// `path` from the root of the file system.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(io(format!("cannot find {}", path.display())))
}
