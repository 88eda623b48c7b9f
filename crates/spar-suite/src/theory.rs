//! The suite `theory`: the paper's claims put to the test, on synthetic
//! tasks and on whatever runs of the MuJoCo suite are here. It trains none of those.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    DataOptions, Result, Usage, below, error::io, places::absolute, say, session::Session,
};

/// What the suite is called: it has no file, since there is nothing to choose.
pub(crate) const SUITE: &str = "theory";

/// The suite whose runs are looked at.
const RUNS_OF: &str = "mujoco";

/// Runs `spar theory`, with the runs in `runs` if there are any, else with those of
/// the same preset.
pub(crate) fn theory(
    root: &Path,
    data: &DataOptions,
    runs: Option<&Path>,
    out: Option<&Path>,
    program: impl FnOnce() -> std::result::Result<PathBuf, Box<dyn Error + Send + Sync>>,
) -> Result<ExitCode> {
    let mut data = data.clone();
    RUNS_OF.clone_into(&mut data.suite);
    let mut session = Session::new(root, &data, &[], &[], runs, program)?;
    let out = match out {
        Some(out) => absolute(out)?,
        None => root.join(format!("runs/{SUITE}-{}", data.preset)),
    };
    let there = |name: &str| root.join(&session.out).join(name).is_dir();
    let tasks = session.selection.tasks.iter().copied();
    let tasks: Vec<_> = tasks.filter(|task| there(&task.to_string())).collect();
    if tasks.is_empty() && runs.is_some() {
        let folder = session.out.display();
        return Err(Usage(format!("{folder}: no run of a task of `{RUNS_OF}` there")).into());
    }
    let mut command = session.spar(&["theory"]);
    command.arg("--out").arg(below(root, out.clone()));
    if data.preset == "smoke" {
        command.arg("--smoke");
    }
    if tasks.is_empty() {
        say!(
            "no runs in {}: claims 4 and 5 rest on synthetic tasks",
            session.out.display()
        );
    } else {
        command.arg("--runs").arg(&session.out);
        session.selection.tasks = tasks;
        let (prepared, failures) = session.data()?;
        if session.stopped() {
            return Ok(session.interrupted());
        }
        for failure in failures {
            say!("note: {failure}");
        }
        for (task, data) in prepared {
            let path = data.path.display();
            command.arg("--data").arg(format!("{task}={path}"));
        }
    }
    let status = command
        .status()
        .map_err(io(format!("cannot start {}", session.spar.display())))?;
    say!(
        "theory.md, theory.json and figures: {}",
        below(root, out).display()
    );
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
