//! `spar.Dataset`: a data file, or a caller's own arrays.

use std::{collections::BTreeMap, ffi::CString, path::PathBuf, sync::Arc};

use numpy::{Element, PyArray1, PyArray2, PyArrayMethods};
use pyo3::{exceptions::PyUserWarning, prelude::*};
use spar_core::{EnvId, printable};
use spar_data::{Beside, Dataset, Next, Reading, Steps, horizon_of, manifest};

use crate::{
    error,
    numbers::{Numbers, any_array},
    values,
};

/// Logged steps: what policies are trained on.
///
/// ``path`` is a file in any format that ``spar`` reads (D4RL's and Minari's HDF5, NumPy's
/// ``.npz``, CSV, ...), the folder of a Minari data set or a LeRobot one, a Minari id below
/// ``$MINARI_DATASETS_PATH`` (``~/.minari/datasets``), or one of D4RL's ids, as
/// ``"hopper-medium-v2"``, whose file is in D4RL's cache (``$D4RL_DATASET_DIR``,
/// ``~/.d4rl/datasets``): nothing is downloaded. Every number is checked, every file
/// is opened by another process first.
///
/// ``env`` names the environment of the data, if it is one of ``spar``'s. ``next`` says what
/// follows a row that records its successor (``"checked"``, ``"recorded"`` or
/// ``"following"``), ``observations`` which arrays are joined to observations, ``reward``
/// which column of a table holds the rewards, and ``other_env`` reads data that name another environment all the same.
/// ``horizon`` is the number of steps after which an episode counts as cut, in data without an
/// environment that flag no cuts; with it, a table needs no column that says where episodes end.
/// ``spar.train`` takes it from here.
#[pyclass(frozen, module = "spar", name = "Dataset")]
pub(crate) struct PyDataset {
    pub(crate) data: Arc<Dataset>,
    pub(crate) env: Option<EnvId>,
    pub(crate) reading: Reading,
    /// The steps after which an episode counts as cut, if the caller named them.
    pub(crate) cut_after: Option<usize>,
}

#[pymethods]
impl PyDataset {
    #[new]
    #[pyo3(signature = (path, *, env = None, next = "checked", observations = Vec::new(), reward = None, other_env = false, horizon = None))]
    #[expect(clippy::too_many_arguments, reason = "those of the function in Python")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        env: Option<&str>,
        next: &str,
        observations: Vec<String>,
        reward: Option<String>,
        other_env: bool,
        horizon: Option<usize>,
    ) -> PyResult<Self> {
        let mut env = environment(env)?;
        let mut path = path;
        if let Some((entry, file)) = manifest::named(&path).map_err(error::of_name)? {
            let own = Some(entry.task.env()).filter(|env| spar_env::simulated().contains(env));
            (path, env) = (file, env.or(own));
        }
        let reading = Reading {
            next: next.parse::<Next>().map_err(error::value)?,
            observations,
            reward,
            other_env,
            horizon: horizon.is_some(),
        };
        let cut_after = without_environment(horizon, env)?;
        let data = py.detach(|| Dataset::read_as(&path, env, &reading));
        Self::noted(py, data.map_err(error::of_data)?, env, reading, cut_after)
    }

    /// A data set of arrays, a row for each step: ``observations`` before it, ``[rows,
    /// obs_dim]``, ``actions``, ``[rows, act_dim]``, ``rewards``, and ``terminals``, whether the
    /// environment ended the episode with it.
    ///
    /// ``timeouts`` says whether the episode was cut after it: without them, episodes end at
    /// ``terminals`` and after ``horizon`` steps, if it is given. ``next_observations`` are what
    /// was observed after each step: without
    /// them that is the next row, and a cut episode's last step is no transition. ``next`` says
    /// which of both counts, as for a file.
    /// ``action_bounds`` are the smallest and largest values of each component of an action,
    /// ``[(low, high), ...]``: without them ``[-1, 1]``, or the data's own range if it is wider.
    #[staticmethod]
    #[pyo3(signature = (observations, actions, rewards, terminals, *, timeouts = None, next_observations = None, next = "checked", action_bounds = None, env = None, horizon = None, id = "arrays"))]
    #[expect(clippy::too_many_arguments, reason = "those of the function in Python")]
    fn from_arrays(
        py: Python<'_>,
        observations: &Bound<'_, PyAny>,
        actions: &Bound<'_, PyAny>,
        rewards: &Bound<'_, PyAny>,
        terminals: &Bound<'_, PyAny>,
        timeouts: Option<&Bound<'_, PyAny>>,
        next_observations: Option<&Bound<'_, PyAny>>,
        next: &str,
        action_bounds: Option<Vec<(f32, f32)>>,
        env: Option<&str>,
        horizon: Option<usize>,
        id: &str,
    ) -> PyResult<Self> {
        let (obs_dim, observations) = matrix(observations, "observations")?;
        let (act_dim, actions) = matrix(actions, "actions")?;
        let rewards = column(rewards, "rewards")?;
        let cuts = timeouts.map(|flags| self::flags(flags, "timeouts"));
        let cuts = cuts.transpose()?;
        let following = next_observations.map(|next| matrix(next, "next_observations"));
        let following = following.transpose()?;
        if let Some((width, _)) = following.as_ref().filter(|(width, _)| *width != obs_dim) {
            return Err(error::value(format!(
                "next_observations: rows of {width} numbers, expected {obs_dim} as of observations"
            )));
        }
        let env = environment(env)?;
        let beside = Beside {
            timeouts: cuts.is_some(),
            next_observations: following.map(|(_, next)| next),
            next: next.parse().map_err(error::value)?,
            action_bounds,
            env,
        };
        let reading = Reading {
            next: beside.next,
            horizon: horizon.is_some(),
            ..Reading::default()
        };
        let cut_after = without_environment(horizon, env)?;
        let steps = Steps {
            observations,
            actions,
            terminals: flags(terminals, "terminals")?,
            timeouts: cuts.unwrap_or_else(|| vec![false; rewards.len()]),
            rewards,
        };
        let data = Dataset::of_arrays(id, obs_dim, act_dim, steps, beside);
        Self::noted(py, data.map_err(error::of_data)?, env, reading, cut_after)
    }

    /// Writes a file in D4RL's layout, in which every array is as it is here; ``overwrite``
    /// says whether one that is there is replaced.
    #[pyo3(signature = (path, *, overwrite = false))]
    fn save(&self, py: Python<'_>, path: PathBuf, overwrite: bool) -> PyResult<()> {
        if !overwrite {
            error::refuse_existing(&path)?;
        }
        let written = py.detach(|| self.data.save(&path));
        written.map(drop).map_err(error::of_data)
    }

    /// ``[rows, obs_dim]``, ``float32``: what was observed before each step. A copy, as are
    /// the other arrays.
    #[getter]
    fn observations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        rows(py, &self.data.observations, self.data.obs_dim)
    }

    /// ``[rows, act_dim]``, ``float32``.
    #[getter]
    fn actions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        rows(py, &self.data.actions, self.data.act_dim)
    }

    /// ``[rows]``, ``float32``.
    #[getter]
    fn rewards<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_slice(py, &self.data.rewards)
    }

    /// Whether rewards were recorded: without them only clones of the behaviour are trained.
    #[getter]
    fn rewarded(&self) -> bool {
        self.data.rewarded
    }

    /// ``[rows]``, ``bool``: whether the environment ended the episode with the step.
    #[getter]
    fn terminals<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        PyArray1::from_slice(py, &self.data.terminals)
    }

    /// ``[rows]``, ``bool``: whether the episode was cut after the step; ``None`` in data
    /// without such flags.
    #[getter]
    fn timeouts<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<bool>>> {
        let flags = self.data.timeouts.as_ref()?;
        Some(PyArray1::from_slice(py, flags))
    }

    /// ``[rows, obs_dim]``, ``float32``: what was observed after each step, where every one
    /// is recorded; else ``None``.
    #[getter]
    fn next_observations<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, PyArray2<f32>>>> {
        let next = self.data.successors();
        next.map(|next| rows(py, &next, self.data.obs_dim))
            .transpose()
    }

    /// Smallest and largest value of each component of an action, by which a policy without
    /// an environment is scaled: declared, else ``[-1, 1]``, else the data's own range.
    #[getter]
    fn action_bounds(&self) -> Vec<(f32, f32)> {
        self.data.bounds().0.components().to_vec()
    }

    /// Undiscounted returns of the complete episodes, ``float64``.
    fn returns<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_vec(py, self.data.returns(self.cuts()))
    }

    /// First row and the row after the last one of each episode.
    fn episodes(&self) -> Vec<(usize, usize)> {
        let episodes = self.data.episodes(self.cuts());
        episodes.map(|e| (e.rows.start, e.rows.end)).collect()
    }

    /// What ``spar data stats`` says: distributions of returns, lengths, rewards, actions and
    /// observations.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = spar_data::stats(&self.data, self.cuts());
        let stats = serde_json::to_value(stats).map_err(error::value)?;
        values::from_json(py, &stats)
    }

    /// Width of an observation.
    #[getter]
    fn obs_dim(&self) -> usize {
        self.data.obs_dim
    }

    /// Width of an action.
    #[getter]
    fn act_dim(&self) -> usize {
        self.data.act_dim
    }

    /// The environment it was read as, if one was named.
    #[getter]
    fn env(&self) -> Option<&'static str> {
        self.env.map(EnvId::name)
    }

    /// The steps after which an episode counts as cut where the data flag no cuts, if they were
    /// named.
    #[getter]
    fn horizon(&self) -> Option<usize> {
        self.cut_after
    }

    /// What the data are called.
    #[getter]
    fn id(&self) -> String {
        printable(&self.data.identity.id).into_owned()
    }

    /// The SHA-256 of their file, or of the arrays.
    #[getter]
    fn sha256(&self) -> &str {
        &self.data.identity.sha256
    }

    /// Whose they are: ``official``, ``local``, ``minari`` or ``user``.
    #[getter]
    fn origin(&self) -> String {
        self.data.identity.origin.to_string()
    }

    /// What a user should know of the file, a line each.
    #[getter]
    fn notes(&self) -> Vec<String> {
        let notes = self.data.notes.iter();
        notes.map(|note| printable(note).into_owned()).collect()
    }

    /// The file's metadata, as text.
    #[getter]
    fn metadata(&self) -> BTreeMap<String, String> {
        let shown = |text: &String| printable(text).into_owned();
        let entries = self.data.metadata.iter();
        entries.map(|(k, v)| (shown(k), shown(v))).collect()
    }

    fn __len__(&self) -> usize {
        self.data.rows()
    }

    fn __repr__(&self) -> String {
        format!(
            "<spar.Dataset {}: {} rows, observations of {} numbers, actions of {}>",
            self.id(),
            self.data.rows(),
            self.data.obs_dim,
            self.data.act_dim
        )
    }
}

impl PyDataset {
    /// The steps after which episodes are cut that the data do not cut.
    fn cuts(&self) -> usize {
        self.cut_after.unwrap_or_else(|| horizon_of(self.env))
    }

    /// The data set, with a warning for each of its notes.
    fn noted(
        py: Python<'_>,
        data: Dataset,
        env: Option<EnvId>,
        reading: Reading,
        cut_after: Option<usize>,
    ) -> PyResult<Self> {
        let category = py.get_type::<PyUserWarning>();
        for note in &data.notes {
            let note = CString::new(printable(note).replace('\0', ""))?;
            PyErr::warn(py, &category, &note, 1)?;
        }
        Ok(Self {
            data: Arc::new(data),
            env,
            reading,
            cut_after,
        })
    }
}

/// A horizon for data without an environment: an environment has its own.
fn without_environment(horizon: Option<usize>, env: Option<EnvId>) -> PyResult<Option<usize>> {
    match (horizon, env) {
        (Some(0), _) => Err(error::value("horizon is 0, expected at least 1")),
        (Some(_), Some(env)) => Err(error::not_with("horizon", env)),
        _ => Ok(horizon),
    }
}

/// The environment called `name`.
pub(crate) fn environment(name: Option<&str>) -> PyResult<Option<EnvId>> {
    let found = name.map(|name| name.parse::<EnvId>().map_err(error::value));
    found.transpose()
}

/// A copy of `values` as rows of `width` numbers.
fn rows<'py, T: Element + Copy>(
    py: Python<'py>,
    values: &[T],
    width: usize,
) -> PyResult<Bound<'py, PyArray2<T>>> {
    PyArray1::from_slice(py, values).reshape([values.len() / width.max(1), width])
}

/// The width and the numbers of rows.
fn matrix(value: &Bound<'_, PyAny>, what: &str) -> PyResult<(usize, Vec<f32>)> {
    let numbers = Numbers::of(value, what)?;
    match *numbers.shape() {
        [_, width] if width > 0 => Ok((width, numbers.into_values()?)),
        ref shape => Err(error::value(format!(
            "{what}: an array of shape {shape:?}, expected [rows, numbers]"
        ))),
    }
}

/// A number for each row.
fn column(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<f32>> {
    let numbers = Numbers::of(value, what)?;
    match *numbers.shape() {
        [_] | [_, 1] => numbers.into_values(),
        ref shape => Err(error::value(format!(
            "{what}: an array of shape {shape:?}, expected [rows]"
        ))),
    }
}

/// A flag for each row: flags, or zeros and ones.
fn flags(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<bool>> {
    let array = any_array(value, what)?;
    let numbers = column(&array, what)?;
    if let Some((row, x)) = numbers
        .iter()
        .enumerate()
        .find(|(_, x)| ![0.0, 1.0].contains(*x))
    {
        return Err(error::value(format!(
            "{what}: row {row} is {x}, expected a flag: True, False, 1 or 0"
        )));
    }
    Ok(numbers.iter().map(|&x| x == 1.0).collect())
}
