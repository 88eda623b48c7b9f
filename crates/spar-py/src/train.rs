//! `spar.train`: any method on a data set, in memory or as a run in a folder.
//!
//! Both are the engine's own: in memory its `Trainer`, in a folder its `run`, which is what
//! `spar train` calls. The interpreter is let go of while updates are computed, and asked for
//! again where the callback is called and, a few times a second, for signals.

use std::{
    cell::{Cell, RefCell},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use pyo3::{
    prelude::*,
    types::{PyBool, PyDict},
};
use spar_core::{EnvId, limits::MOST_EPISODES};
use spar_data::{ActionBounds, Transitions};
use spar_policy::Policy;
use spar_train::{
    Control, DeviceKind, Method, Offline, Phase, Progress, RunSpec, TrainConfig, TrainError,
    Trainer,
};

use crate::{
    dataset::PyDataset,
    error::{self, Stopped},
    policy::PyPolicy,
    settings::method,
    values,
};

/// Time between two looks at signals.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// Name of suite and preset of a run that belongs to none.
const NONE: &str = "none";

/// Trains a policy; `spar/__init__.py` says what the arguments are.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "those of the function in Python")]
pub(crate) fn train(
    py: Python<'_>,
    dataset: &Bound<'_, PyDataset>,
    method: &str,
    out: Option<PathBuf>,
    seed: u64,
    updates: Option<u64>,
    settings: &Bound<'_, PyDict>,
    callback: Option<Py<PyAny>>,
    every: u64,
    held_out: Option<f64>,
    horizon: Option<usize>,
    action_bounds: Option<Vec<(f32, f32)>>,
    final_episodes: usize,
    eval_seed: u64,
) -> PyResult<PyPolicy> {
    let (data, method) = (dataset.get(), self::method(method)?);
    if every == 0 {
        return Err(error::value("every is 0, expected at least 1"));
    }
    if !(1..=MOST_EPISODES as usize).contains(&final_episodes) {
        return Err(error::value(format!(
            "final_episodes is {final_episodes}, expected 1 to {MOST_EPISODES}"
        )));
    }
    let own = OfData {
        held_out,
        horizon,
        action_bounds,
    };
    let spec = RunSpec {
        suite: NONE.to_owned(),
        preset: NONE.to_owned(),
        task: data.data.identity.id.clone(),
        method,
        variant: None,
        seed,
        env: data.env,
        offline: own.offline(data)?,
        dataset: data.data.identity.clone(),
        reading: data.reading.clone(),
        eval_seed,
        final_episodes: data.env.map_or(0, |_| final_episodes),
        device: DeviceKind::Cpu,
        config: config(method, updates, settings)?,
        finetune: None,
    };
    let transitions = Transitions::new(Arc::clone(&data.data), spec.horizon());
    let transitions = transitions.map_err(error::of_data)?;
    let command = format!(
        "spar.train({data:?}, {:?}, seed={seed}, ...)",
        method.name()
    );
    let policy = py.detach(|| {
        let watch = Watch::new(callback, every);
        match out {
            None => in_memory(&spec, &transitions, &watch),
            Some(folder) => in_folder(&spec, &transitions, folder, command, &watch),
        }
    });
    policy.map(PyPolicy::from)
}

/// The settings of a run.
fn config(
    method: Method,
    updates: Option<u64>,
    settings: &Bound<'_, PyDict>,
) -> PyResult<TrainConfig> {
    let mut changes = Vec::new();
    for (name, value) in settings {
        let name: String = name.extract()?;
        let value = values::to_toml(&name, &value)?;
        changes.push((name.replace("__", "."), value));
    }
    if let Some(updates) = updates {
        let name = match method {
            Method::Bc => "anchor.updates",
            Method::Spar | Method::Baseline(_) => "updates",
        };
        let updates = i64::try_from(updates).unwrap_or(i64::MAX);
        changes.push((name.to_owned(), updates.into()));
    }
    let config = TrainConfig::defaults_of(method).and_then(|all| {
        let updates = updates.unwrap_or(all.updates);
        all.lasting(method, updates).with(method, &changes)
    });
    let config = config.map_err(error::of_training)?;
    if config.anchor.method.is_some() && config.anchor.file.is_none() {
        return Err(error::value(
            "anchor.method: one call trains one policy; train and save that one first, and give \
             anchor={\"file\": its file}",
        ));
    }
    match method {
        Method::Spar => config.pinned().map_err(error::of_training),
        _ => Ok(config),
    }
}

/// What a caller says of data without an environment.
struct OfData {
    held_out: Option<f64>,
    horizon: Option<usize>,
    action_bounds: Option<Vec<(f32, f32)>>,
}

impl OfData {
    fn offline(self, data: &PyDataset) -> PyResult<Option<Offline>> {
        if let Some(env) = data.env {
            let given = [
                ("held_out", self.held_out.is_some()),
                ("horizon", self.horizon.is_some()),
                ("action_bounds", self.action_bounds.is_some()),
            ];
            return match given.into_iter().find(|(_, is)| *is) {
                None => Ok(None),
                Some((name, _)) => Err(error::not_with(name, env)),
            };
        }
        let bounds = match self.action_bounds {
            None => data.data.bounds().0,
            Some(pairs) => ActionBounds::try_from(pairs)
                .map_err(|e| error::value(format!("action_bounds: {e}")))?,
        };
        let offline = Offline {
            held_out: self.held_out.unwrap_or(0.0),
            horizon: self.horizon.or(data.cut_after),
            action_bounds: bounds,
        };
        offline.check().map_err(error::of_training)?;
        Ok(Some(offline))
    }
}

/// Who looks on: the callback, and whoever sends signals.
struct Watch {
    callback: Option<Py<PyAny>>,
    every: u64,
    looked: Cell<Instant>,
    /// What the callback raised, or the handler of a signal.
    raised: RefCell<Option<PyErr>>,
    /// Whether the callback returned False.
    enough: Cell<bool>,
}

impl Watch {
    fn new(callback: Option<Py<PyAny>>, every: u64) -> Self {
        Self {
            callback,
            every,
            looked: Cell::new(Instant::now()),
            raised: RefCell::new(None),
            enough: Cell::new(false),
        }
    }

    /// Whether to stop, by the callback's word or by a signal.
    fn stops(&self) -> bool {
        if self.looked.get().elapsed() >= SIGNALS_EVERY {
            self.looked.set(Instant::now());
            if let Err(raised) = Python::attach(|py| py.check_signals()) {
                self.raised.borrow_mut().get_or_insert(raised);
            }
        }
        self.enough.get() || self.raised.borrow().is_some()
    }

    /// Tells the callback.
    fn tell(&self, progress: Progress<'_>) {
        let Some(callback) = &self.callback else {
            return;
        };
        let told = Python::attach(|py| -> PyResult<bool> {
            let row = PyDict::new(py);
            row.set_item("phase", progress.phase.name())?;
            row.set_item("done", progress.done)?;
            row.set_item("total", progress.total)?;
            row.set_item("updates_per_s", progress.updates_per_s)?;
            for (name, value) in &progress.metrics.0 {
                row.set_item(name, value)?;
            }
            let answer = callback.bind(py).call1((row,))?;
            let no = answer.cast::<PyBool>().is_ok_and(|flag| !flag.is_true());
            Ok(!no)
        });
        match told {
            Ok(true) => {}
            Ok(false) => self.enough.set(true),
            Err(raised) => {
                self.raised.borrow_mut().get_or_insert(raised);
            }
        }
    }

    /// The exception that ends training, if there is one.
    fn raised(&self) -> Option<PyErr> {
        self.raised.borrow_mut().take()
    }
}

/// Trains without files. If the callback has enough, the policy is the one of that moment.
fn in_memory(spec: &RunSpec, data: &Transitions, watch: &Watch) -> PyResult<Policy> {
    let fails = error::of_training;
    let held = spec.offline.as_ref();
    let rest = held.map(|own| own.training(data, &own.held_out(data, spec.eval_seed)));
    let rest = rest.transpose().map_err(fails)?;
    let data = rest.as_ref().unwrap_or(data);
    let trainer = Trainer::new(spec.method, spec.config.clone(), data, spec.seed);
    let mut trainer = trainer.map_err(fails)?;
    let total = match spec.method {
        Method::Bc => spec.anchor_updates(),
        _ => spec.anchor_updates() + spec.config.updates,
    };
    let (mut done, mut told) = (0, (0, Instant::now()));
    while trainer.step().map_err(fails)? {
        done += 1;
        let (update, last) = (trainer.updates(), trainer.last_update());
        if update.is_multiple_of(watch.every) || update == last {
            let seconds = told.1.elapsed().as_secs_f64();
            let metrics = trainer.metrics().map_err(fails)?;
            watch.tell(Progress {
                done,
                total,
                phase: trainer.phase(),
                updates_per_s: (seconds > 0.0).then(|| (done - told.0) as f64 / seconds),
                metrics: &metrics,
            });
            told = (done, Instant::now());
        }
        if watch.stops() {
            break;
        }
    }
    if let Some(raised) = watch.raised() {
        return Err(raised);
    }
    let networks = trainer.policy().map_err(fails)?;
    let bounds = spec.offline.as_ref().map(|own| own.action_bounds.clone());
    Ok(Policy::new(networks, Some(trainer.about(spec.env)), bounds))
}

/// Trains as a run in `folder`, which the same call resumes.
fn in_folder(
    spec: &RunSpec,
    data: &Transitions,
    folder: PathBuf,
    command: String,
    watch: &Watch,
) -> PyResult<Policy> {
    if let Some(env) = spec.env {
        // Before hours of training, not after: the run is evaluated in it.
        spar_env::make(env).map_err(error::value)?;
    }
    let control = Control {
        anchor: None,
        commit: format!("spar {} of Python", env!("CARGO_PKG_VERSION")),
        command,
        stop_after: None,
        stop: &|| watch.stops(),
        every: Some(watch.every),
        report: &mut |progress| {
            if progress.phase != Phase::Eval {
                watch.tell(progress);
            }
            match &*watch.raised.borrow() {
                None => Ok(()),
                Some(_) => Err(io::ErrorKind::Interrupted.into()),
            }
        },
    };
    let done = spar_train::run(spec, data, &folder, control);
    if let Some(raised) = watch.raised() {
        return Err(raised);
    }
    match done {
        Ok(_) => {}
        Err(TrainError::Stopped(update)) => {
            return Err(Stopped::new_err(format!(
                "{}: stopped at update {update} as asked; the same call resumes it",
                folder.display()
            )));
        }
        Err(error) => return Err(error::of_training(error)),
    }
    let file = spar_policy::file_of(&folder).map_err(error::of_policy)?;
    Policy::load(&file).map_err(error::of_policy)
}

impl std::fmt::Debug for PyDataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let env = self
            .env
            .map_or("None".to_owned(), |env: EnvId| format!("{:?}", env.name()));
        write!(f, "Dataset({:?}, env={env})", self.data.identity.id)
    }
}
