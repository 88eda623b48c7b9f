//! `spar.Policy`: a policy file, acting on NumPy's arrays.

use std::{num::NonZeroUsize, path::PathBuf};

use numpy::{PyArray1, PyArray2};
use pyo3::{prelude::*, types::PyBytes};
use spar_core::{printable, write_atomic};
use spar_policy::{About, Policy};

use crate::{
    error,
    numbers::{self, Numbers},
};

/// A trained policy: observations in the units of its data in, actions in those units out.
///
/// It is read-only; threads may share it. ``spar.load`` and ``spar.train`` give one.
#[pyclass(frozen, module = "spar", name = "Policy")]
pub(crate) struct PyPolicy {
    policy: Policy,
}

impl From<Policy> for PyPolicy {
    fn from(policy: Policy) -> Self {
        Self { policy }
    }
}

/// Reads a policy file, or the one in a run's folder.
#[pyfunction]
#[pyo3(signature = (path, *, best_of = 1, seed = 0))]
pub(crate) fn load(path: PathBuf, best_of: usize, seed: u64) -> PyResult<PyPolicy> {
    let Some(best_of) = NonZeroUsize::new(best_of) else {
        return Err(error::value("best_of is 0, expected at least 1"));
    };
    let file = spar_policy::file_of(&path).map_err(error::of_policy)?;
    let policy = Policy::load(&file).and_then(|policy| policy.best_of(best_of));
    let policy = policy.map_err(|e| error::of_policy(e.in_file(&file)))?;
    Ok(policy.seeded(seed).into())
}

#[pymethods]
impl PyPolicy {
    /// The actions for one observation, ``[obs_dim]``, or for rows of them,
    /// ``[rows, obs_dim]``.
    ///
    /// An array of ``float32`` in the order of C is read where it lies; others, and lists,
    /// are converted. ``out`` is where the actions are written, and returned; without it they
    /// are a new array of ``float32``. The same observation gives the same action, bit for
    /// bit, as ``spar act`` gives it. What is not finite gets no action: ``ValueError``.
    #[pyo3(signature = (obs, out = None))]
    fn act<'py>(
        &self,
        obs: &Bound<'py, PyAny>,
        out: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, obs) = (obs.py(), Numbers::of(obs, "obs")?);
        let (width, act_dim) = (self.policy.obs_dim(), self.policy.act_dim());
        let rows = match *obs.shape() {
            [numbers] if numbers == width => None,
            [rows, numbers] if numbers == width => Some(rows),
            ref shape => {
                return Err(error::value(format!(
                    "obs: an array of shape {shape:?}, expected [{width}] or [rows, {width}]"
                )));
            }
        };
        let shape = match rows {
            None => vec![act_dim],
            Some(rows) => vec![rows, act_dim],
        };
        let out = match (out, rows) {
            (Some(out), _) => out,
            (None, None) => PyArray1::<f32>::zeros(py, act_dim, false).into_any(),
            (None, Some(rows)) => PyArray2::<f32>::zeros(py, [rows, act_dim], false).into_any(),
        };
        let mut place = numbers::place(&out, &shape)?;
        self.fill(obs.values()?, place.as_slice_mut()?)?;
        Ok(out)
    }

    /// Writes the policy file; ``overwrite`` says whether one that is there is replaced.
    #[pyo3(signature = (path, *, overwrite = false))]
    fn save(&self, path: PathBuf, overwrite: bool) -> PyResult<()> {
        self.write(&path, overwrite, &self.bytes()?)
    }

    /// Writes an ONNX model, whose input is ``obs`` and whose output ``action``.
    #[pyo3(signature = (path, *, overwrite = false))]
    fn to_onnx(&self, path: PathBuf, overwrite: bool) -> PyResult<()> {
        let bytes = self.policy.to_onnx().map_err(error::of_policy)?;
        self.write(&path, overwrite, &bytes)
    }

    /// The bytes of the policy file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.bytes()?))
    }

    /// The policy in the bytes of a policy file.
    #[staticmethod]
    fn from_bytes(data: &[u8]) -> PyResult<Self> {
        Policy::from_bytes(data)
            .map(Self::from)
            .map_err(error::of_policy)
    }

    /// Width of an observation.
    #[getter]
    fn obs_dim(&self) -> usize {
        self.policy.obs_dim()
    }

    /// Width of an action.
    #[getter]
    fn act_dim(&self) -> usize {
        self.policy.act_dim()
    }

    /// Smallest and largest value of each component of an action.
    #[getter]
    fn action_bounds(&self) -> Vec<(f32, f32)> {
        match self.policy.action_bounds() {
            Some(bounds) => bounds.components().to_vec(),
            None => vec![(-1.0, 1.0); self.policy.act_dim()],
        }
    }

    /// The method that trained it; ``None`` of another program's network.
    #[getter]
    fn method(&self) -> Option<String> {
        self.said(|about| Some(&about.method))
    }

    /// The environment it was trained for, if it was for one.
    #[getter]
    fn env(&self) -> Option<String> {
        self.said(|about| about.env.as_deref())
    }

    /// The task, or the name of its data.
    #[getter]
    fn task(&self) -> Option<String> {
        self.said(|about| Some(&about.task))
    }

    /// The training seed.
    #[getter]
    fn seed(&self) -> Option<u64> {
        self.policy.about().map(|about| about.seed)
    }

    /// Updates of the method's own networks.
    #[getter]
    fn updates(&self) -> Option<u64> {
        self.policy.about().map(|about| about.updates)
    }

    /// Whether its action is drawn, or the best of several that are.
    #[getter]
    fn draws(&self) -> bool {
        self.policy.draws()
    }

    fn __repr__(&self) -> String {
        let (method, env) = (self.method(), self.env());
        format!(
            "<spar.Policy of {}: {} numbers in, {} out{}>",
            method.as_deref().unwrap_or("another program"),
            self.obs_dim(),
            self.act_dim(),
            env.map_or_else(String::new, |env| format!(", for {env}")),
        )
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let make = slf.get_type().getattr("from_bytes")?;
        Ok((make, (slf.get().to_bytes(slf.py())?,)))
    }
}

impl PyPolicy {
    fn fill(&self, obs: &[f32], actions: &mut [f32]) -> PyResult<()> {
        let (width, act_dim) = (self.policy.obs_dim(), self.policy.act_dim());
        let rows = obs
            .chunks_exact(width)
            .zip(actions.chunks_exact_mut(act_dim));
        for (row, (obs, action)) in rows.enumerate() {
            let wrong = |what: &str, values: &[f32]| {
                let (at, x) = values.iter().enumerate().find(|(_, x)| !x.is_finite())?;
                Some(error::value(format!(
                    "{what} {row}: number {at} is {x} in single precision, expected a finite one"
                )))
            };
            if let Some(error) = wrong("observation", obs) {
                return Err(error);
            }
            self.policy.act(obs, action);
            if let Some(error) = wrong("action", action) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn bytes(&self) -> PyResult<Vec<u8>> {
        self.policy.to_bytes().map_err(error::of_policy)
    }

    fn write(&self, path: &std::path::Path, overwrite: bool, bytes: &[u8]) -> PyResult<()> {
        if !overwrite {
            error::refuse_existing(path)?;
        }
        Ok(write_atomic(path, bytes)?)
    }

    /// A text of the file, which may be any.
    fn said<'a>(&'a self, of: impl Fn(&'a About) -> Option<&'a str>) -> Option<String> {
        let text = of(self.policy.about()?)?;
        Some(printable(text).into_owned())
    }
}
