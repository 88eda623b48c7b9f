//! The suite of all suites: one table after another of D4RL's.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{DataOptions, Ended, Options, table};
use crate::{Result, RunnerError, Usage, say};

/// Its name.
pub(super) const SUITE: &str = "all";

/// The suites of D4RL's tables, in the order they are made.
const TABLES: [&str; 6] = ["mujoco", "ant", "maze2d", "antmaze", "adroit", "kitchen"];

/// Every table of D4RL's that `root` has a suite for, whatever became of those before it.
pub(super) fn tables(
    root: &Path,
    options: &Options,
    program: impl FnOnce() -> std::result::Result<PathBuf, Box<dyn Error + Send + Sync>>,
) -> Result<ExitCode> {
    if !options.data.tasks.is_empty() || options.out.is_some() || options.runs.is_some() {
        let why = "`all` is many suites: leave out --tasks, --out and --runs, or name one suite";
        return Err(Usage(why.to_owned()).into());
    }
    let here = |name: &&str| root.join(format!("suites/{name}.toml")).is_file();
    let suites: Vec<&str> = TABLES.into_iter().filter(here).collect();
    if suites.is_empty() {
        let why = format!("there is none of the suites {} here", TABLES.join(", "));
        return Err(Usage(why).into());
    }
    let spar = program().map_err(RunnerError::Program)?;
    let mut failures = false;
    for name in suites {
        say!("suite {name}");
        let options = Options {
            data: DataOptions {
                suite: name.to_owned(),
                ..options.data.clone()
            },
            methods: options.methods.clone(),
            seeds: options.seeds.clone(),
            engine: options.engine.clone(),
            out: None,
            runs: None,
            ..*options
        };
        match table(root, &options, || Ok(spar.clone()))? {
            Ended::Whole => {}
            Ended::Failures => failures = true,
            Ended::Stopped(code) => return Ok(code),
        }
    }
    Ok(match failures {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
