//! NumPy's arrays as rows of single-precision numbers: borrowed where they are that, read
//! into a copy where they are others.

use numpy::{
    PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArrayMethods,
};
use pyo3::{exceptions::PyTypeError, intern, prelude::*};

use crate::error;

/// The kinds of NumPy's types that are numbers: flags, whole and floating ones.
const KINDS: &str = "biuf";

/// Numbers of a caller, in the order of C.
pub(crate) struct Numbers<'py> {
    shape: Vec<usize>,
    values: Values<'py>,
}

enum Values<'py> {
    Theirs(PyReadonlyArrayDyn<'py, f32>),
    Ours(Vec<f32>),
}

impl<'py> Numbers<'py> {
    /// The numbers of `value`, an array or what NumPy makes one of; `what` names them.
    pub(crate) fn of(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Self> {
        if let Ok(array) = value.cast::<PyArrayDyn<f32>>()
            && lies_right(array)?
        {
            let held = array
                .try_readonly()
                .map_err(|e| error::value(format!("{what}: {e}")))?;
            return Ok(Self {
                shape: array.shape().to_vec(),
                values: Values::Theirs(held),
            });
        }
        let array = any_array(value, what)?;
        let wide = array.call_method1(intern!(value.py(), "astype"), ("float64",))?;
        let wide: PyReadonlyArrayDyn<'_, f64> = wide.extract()?;
        let values = wide.as_array().iter().map(|&x| x as f32).collect();
        Ok(Self {
            shape: wide.shape().to_vec(),
            values: Values::Ours(values),
        })
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn values(&self) -> PyResult<&[f32]> {
        match &self.values {
            Values::Theirs(array) => Ok(array.as_slice()?),
            Values::Ours(values) => Ok(values),
        }
    }

    pub(crate) fn into_values(self) -> PyResult<Vec<f32>> {
        match self.values {
            Values::Theirs(array) => Ok(array.as_slice()?.to_vec()),
            Values::Ours(values) => Ok(values),
        }
    }
}

/// `value` as an array of numbers of whatever type.
pub(crate) fn any_array<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    let numpy = py.import(intern!(py, "numpy"))?;
    let array = numpy.call_method1(intern!(py, "asarray"), (value,))?;
    let dtype = array.getattr(intern!(py, "dtype"))?;
    let kind: String = dtype.getattr(intern!(py, "kind"))?.extract()?;
    if KINDS.contains(&kind) {
        return Ok(array);
    }
    Err(PyTypeError::new_err(format!(
        "{what}: an array of {dtype}, expected numbers"
    )))
}

/// Where a caller wants actions: an array of his own.
pub(crate) fn place<'py>(
    value: &Bound<'py, PyAny>,
    shape: &[usize],
) -> PyResult<PyReadwriteArrayDyn<'py, f32>> {
    let wrong = |got: String| {
        error::value(format!(
            "out: {got}, expected a writeable array of float32 in the order of C, of shape {shape:?}"
        ))
    };
    let Ok(array) = value.cast::<PyArrayDyn<f32>>() else {
        return Err(wrong(format!("a {}", value.get_type())));
    };
    if array.shape() != shape {
        return Err(wrong(format!("an array of shape {:?}", array.shape())));
    }
    if !lies_right(array)? {
        return Err(wrong("an array that is not in that order".to_owned()));
    }
    array.try_readwrite().map_err(|e| wrong(e.to_string()))
}

/// Whether the numbers of `array` can be used where they lie.
fn lies_right(array: &Bound<'_, PyArrayDyn<f32>>) -> PyResult<bool> {
    let py = array.py();
    let aligned = || {
        array
            .getattr(intern!(py, "flags"))?
            .getattr(intern!(py, "aligned"))
    };
    Ok(array.is_c_contiguous() && aligned()?.is_truthy()?)
}
