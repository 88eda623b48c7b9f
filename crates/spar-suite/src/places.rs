//! The files a user names: of suites, and of data.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use spar_core::TaskId;

use crate::{Result, Usage, error::io};

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

/// The file of the suite that `named` means: `suites/NAME.toml` in `root` by its name, or a
/// file by its path.
///
/// # Errors
/// [`Usage`] that says where names are looked for, and which there are.
pub fn suite_file(root: &Path, named: impl AsRef<Path>) -> Result<PathBuf> {
    suite_file_or(root, named.as_ref(), &[])
}

/// The same where the names `own` mean something, too, that has no file.
pub(crate) fn suite_file_or(root: &Path, named: &Path, own: &[&str]) -> Result<PathBuf> {
    if named
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        return absolute(named);
    }
    let folder = root.join("suites");
    // Not `with_extension`: a suite's name may hold a dot.
    let mut file = folder.join(named).into_os_string();
    file.push(".toml");
    let file = PathBuf::from(file);
    if file.is_file() {
        return Ok(file);
    }
    if named.is_file() {
        return absolute(named);
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
    known.extend(own.iter().map(|name| (*name).to_owned()));
    known.sort();
    let expected = match known.is_empty() {
        true => "the path of a suite file".to_owned(),
        false => format!("one of: {}, or the path of a suite file", known.join(", ")),
    };
    let here = env::current_dir().is_ok_and(|here| here == root);
    let looked = match here {
        true => "./suites".to_owned(),
        false => folder.display().to_string(),
    };
    let there = match folder.is_dir() {
        true => "",
        false => ", and there is no such folder",
    };
    Err(Usage(format!(
        "unknown suite `{}`; expected {expected}; names are looked for in {looked}{there}",
        named.display()
    ))
    .into())
}

/// `path` from the root of the file system.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(io(format!("cannot find {}", path.display())))
}
