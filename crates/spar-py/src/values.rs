//! Values between Python and the formats of settings and of statistics.

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBool, PyDict, PyList, PyTuple},
};
use serde_json::Value;

/// Whole numbers up to here have floats of their own.
const MOST_WHOLE: f64 = (1u64 << 53) as f64;

/// A hyper-parameter of a caller, as a suite's file would have it. `1e5` is the whole number
/// that it is: where a float is expected, it serves as well.
pub(crate) fn to_toml(name: &str, value: &Bound<'_, PyAny>) -> PyResult<toml::Value> {
    // NumPy's own flags are among them.
    if let Ok(flag) = value.extract::<bool>() {
        return Ok(toml::Value::Boolean(flag));
    }
    if let Ok(whole) = value.extract::<i64>() {
        return Ok(toml::Value::Integer(whole));
    }
    if let Ok(text) = value.extract::<String>() {
        return Ok(toml::Value::String(text));
    }
    if let Ok(table) = value.cast::<PyDict>() {
        let entries = table.iter().map(|(key, value)| {
            let key: String = key.extract()?;
            let value = to_toml(&format!("{name}.{key}"), &value)?;
            Ok((key, value))
        });
        return Ok(toml::Value::Table(entries.collect::<PyResult<_>>()?));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let parts = value.try_iter()?.map(|part| to_toml(name, &part?));
        return Ok(toml::Value::Array(parts.collect::<PyResult<_>>()?));
    }
    if let Ok(number) = value.extract::<f64>() {
        return Ok(match number.fract() == 0.0 && number.abs() <= MOST_WHOLE {
            true => toml::Value::Integer(number as i64),
            false => toml::Value::Float(number),
        });
    }
    Err(PyTypeError::new_err(format!(
        "setting {name}: a {}, expected a number, a flag, a text, a list or a dict of these",
        value.get_type()
    )))
}

/// A value of JSON as Python's.
pub(crate) fn from_json<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => whole.into_pyobject(py)?.into_any(),
            (None, Some(whole), _) => whole.into_pyobject(py)?.into_any(),
            (None, None, float) => float.into_pyobject(py)?.into_any(),
        },
        Value::String(text) => spar_core::printable(text).into_pyobject(py)?.into_any(),
        Value::Array(parts) => {
            let parts = parts.iter().map(|part| from_json(py, part));
            PyList::new(py, parts.collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (key, value) in fields {
                dict.set_item(key, from_json(py, value)?)?;
            }
            dict.into_any()
        }
    })
}
