//! The library's errors as Python's: a line each, with the exception that a caller would
//! catch it by.

use std::{fmt::Display, io, path::Path};

use pyo3::{
    PyErr, create_exception,
    exceptions::{PyFileExistsError, PyFileNotFoundError, PyOSError, PyRuntimeError, PyValueError},
};
use spar_core::{EnvId, printable_lines};
use spar_data::{DataError, manifest::ManifestError};
use spar_policy::PolicyError;
use spar_train::TrainError;

create_exception!(
    spar,
    Stopped,
    PyRuntimeError,
    "Training in a folder stopped because the callback returned False: the same call resumes it."
);

/// What a caller gave is not what is asked for.
pub(crate) fn value(why: impl Display) -> PyErr {
    PyValueError::new_err(said(why))
}

/// An argument that is of data without an environment, where the data have one.
pub(crate) fn not_with(name: &str, env: EnvId) -> PyErr {
    value(format!(
        "{name} is of data without an environment, and these have {env}; drop one"
    ))
}

/// A message without what a terminal would act on: files' own texts are in some.
fn said(why: impl Display) -> String {
    printable_lines(&why.to_string()).into_owned()
}

fn system(error: &io::Error, why: String) -> PyErr {
    match error.kind() {
        io::ErrorKind::NotFound => PyFileNotFoundError::new_err(why),
        io::ErrorKind::AlreadyExists => PyFileExistsError::new_err(why),
        _ => PyOSError::new_err(why),
    }
}

/// Why data cannot be read, used or written.
pub(crate) fn of_data(error: DataError) -> PyErr {
    let why = said(&error);
    match error {
        DataError::NotFound { .. } => PyFileNotFoundError::new_err(why),
        DataError::Exists { .. } => PyFileExistsError::new_err(why),
        DataError::Io { source, .. } => system(&source, why),
        DataError::Write { .. } => PyOSError::new_err(why),
        _ => PyValueError::new_err(why),
    }
}

/// Why the data that an id names are not here.
pub(crate) fn of_name(error: ManifestError) -> PyErr {
    let why = said(&error);
    match error {
        ManifestError::Absent { .. } => PyFileNotFoundError::new_err(why),
        _ => PyValueError::new_err(why),
    }
}

/// Why a policy cannot be read or used.
pub(crate) fn of_policy(error: PolicyError) -> PyErr {
    let why = said(&error);
    match error {
        PolicyError::Io(source) => system(&source, why),
        _ => PyValueError::new_err(why),
    }
}

/// Why nothing was trained, or not to the end.
pub(crate) fn of_training(error: TrainError) -> PyErr {
    match error {
        TrainError::Data(error) => of_data(error),
        TrainError::Policy(error) => of_policy(error),
        TrainError::Io(error) => system(&error, said(&error)),
        TrainError::Config(_)
        | TrainError::Method { .. }
        | TrainError::NoRewards(_)
        | TrainError::OtherRun { .. }
        | TrainError::Nobodys { .. }
        | TrainError::Beyond { .. }
        | TrainError::AnchorFile { .. }
        | TrainError::File { .. }
        | TrainError::Record(_) => value(error),
        other => PyRuntimeError::new_err(said(other)),
    }
}

/// Refuses to write where something is already.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), PyErr> {
    match path.symlink_metadata() {
        Ok(_) => Err(PyFileExistsError::new_err(format!(
            "{}: is there already; give another name, or overwrite=True",
            path.display()
        ))),
        Err(_) => Ok(()),
    }
}
