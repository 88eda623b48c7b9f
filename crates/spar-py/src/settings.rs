//! What can be trained, and with which settings.

use pyo3::{prelude::*, types::PyDict};
use spar_train::{Method, TrainConfig};

use crate::{error, values};

/// The method called `name`.
pub(crate) fn method(name: &str) -> PyResult<Method> {
    name.parse().map_err(error::of_training)
}

/// The names of the methods that ``train`` takes.
#[pyfunction]
pub(crate) fn methods() -> Vec<&'static str> {
    Method::all().map(Method::name).collect()
}

/// The hyper-parameters of a method with their defaults, by the names that ``train`` takes.
#[pyfunction]
#[pyo3(signature = (method, /))]
pub(crate) fn settings<'py>(py: Python<'py>, method: &str) -> PyResult<Bound<'py, PyDict>> {
    let rows = TrainConfig::listed(self::method(method)?).map_err(error::of_training)?;
    let dict = PyDict::new(py);
    for (name, value) in rows {
        dict.set_item(name, values::from_json(py, &value)?)?;
    }
    Ok(dict)
}
