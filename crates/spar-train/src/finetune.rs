//! Fine-tuning online: what decides it, and the offline run that it starts from.
//!
//! A fine-tuned run is a run like any other, with a folder, a log, a curve and checkpoints
//! of its own. It begins with every number of an offline run's last checkpoint, counts steps
//! in the environment instead of updates, and learns from offline data and from what its own
//! policy collects.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spar_core::{
    EnvId, RunRecord,
    limits::{self, MOST_ROWS, MOST_SCALE, MOST_UPDATES, OutOfRange},
    sha256_hex,
};
use spar_data::Transitions;
use spar_nn::{State, StateError};

use crate::{
    config::TrainConfig,
    control::Control,
    error::TrainError,
    folder::{CHECKPOINT, spec_of},
    learner::Cpu,
    run::run_with,
    spec::{DeviceKind, Method, RunSpec},
};

/// What decides how a policy is fine-tuned online, beside what decided the offline run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finetune {
    /// SHA-256 of all that was trained offline: [`OfflineRun::sha256`].
    pub from: String,
    /// Steps in the environment.
    pub steps: u64,
    /// Steps taken before the first update.
    pub start_steps: u64,
    /// Updates after each of the others.
    pub updates_per_step: u64,
    /// Part of each batch that is drawn from the offline data, from 0 to 1; the rest is drawn
    /// from what was collected.
    pub offline_fraction: f64,
    /// Deviation of the normal noise on the collecting policy's actions; absent of a method
    /// whose policy draws its actions itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
}

impl Finetune {
    /// Part of a batch that is drawn from the offline data where nobody says: half (RLPD and
    /// Cal-QL).
    pub const OFFLINE_FRACTION: f64 = 0.5;

    /// Steps before the first update where nobody says: a whole episode of MuJoCo's.
    pub const START_STEPS: u64 = 1000;

    /// Gradient updates of the whole run.
    pub fn updates(&self) -> u64 {
        let learning = self.steps.saturating_sub(self.start_steps);
        learning.saturating_mul(self.updates_per_step)
    }

    /// Of a batch of `rows`, how many are drawn from the offline data.
    pub(crate) fn offline_rows(&self, rows: usize) -> usize {
        let part = (self.offline_fraction * rows as f64).round();
        (part as usize).min(rows)
    }

    /// Refuses what no run of `method` can be made of.
    pub(crate) fn check(&self, method: Method) -> Result<(), TrainError> {
        let sizes = || {
            limits::count("steps", self.steps, 1..=MOST_ROWS)?;
            limits::count("start_steps", self.start_steps, 0..=self.steps - 1)?;
            limits::count("updates_per_step", self.updates_per_step, 1..=MOST_UPDATES)
        };
        let wrong = |e: OutOfRange| TrainError::Config(e.to_string());
        sizes().map_err(wrong)?;
        if !(0.0..=1.0).contains(&self.offline_fraction) {
            let got = self.offline_fraction;
            let error = OutOfRange::new("offline_fraction", got, "a number from 0 to 1");
            return Err(wrong(error));
        }
        match (self.noise, noise_of(method)) {
            (None, None) => Ok(()),
            (Some(noise), Some(_)) if (0.0..=f64::from(MOST_SCALE)).contains(&noise) => Ok(()),
            (Some(noise), Some(_)) => {
                let expected = format!("a number from 0 to {MOST_SCALE}");
                Err(wrong(OutOfRange::new("noise", noise, expected)))
            }
            (Some(_), None) => Err(TrainError::Config(format!(
                "`noise` is given, but {} draws its actions itself; leave it out",
                method.name()
            ))),
            (None, Some(_)) => Err(TrainError::Config(format!(
                "`noise` is missing, by which {} explores",
                method.name()
            ))),
        }
    }
}

/// The deviation of the noise that `method` explores by where nobody says; `None` if its
/// policy draws its actions itself.
fn noise_of(method: Method) -> Option<f64> {
    match method {
        Method::Bc | Method::Spar => None,
        Method::Baseline(entry) => entry.online.and_then(|online| online.noise),
    }
}

/// Every method that can be fine-tuned, as messages list them.
fn able() -> String {
    let able = Method::all().filter(|method| match method {
        Method::Bc => false,
        Method::Spar => true,
        Method::Baseline(entry) => entry.online.is_some(),
    });
    able.map(Method::name).collect::<Vec<_>>().join(", ")
}

/// What a fine-tuned run is asked to be, where it differs from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Steps in the environment.
    pub steps: u64,
    /// [`Finetune::start_steps`].
    pub start_steps: Option<u64>,
    /// [`Finetune::updates_per_step`].
    pub updates_per_step: Option<u64>,
    /// [`Finetune::offline_fraction`].
    pub offline_fraction: Option<f64>,
    /// [`Finetune::noise`].
    pub noise: Option<f64>,
    /// Hyper-parameters that are others online, as [`TrainConfig::with`] takes them.
    pub settings: Vec<(String, toml::Value)>,
    /// Seed of what is collected and drawn; the offline run's where there is none.
    pub seed: Option<u64>,
}

/// The last checkpoint of an offline run, from which it is fine-tuned.
#[derive(Clone, Debug)]
pub struct OfflineRun {
    file: PathBuf,
    pub(crate) state: State,
    spec: RunSpec,
}

impl OfflineRun {
    /// Reads the checkpoint that `path` means: a run's folder, a file in it, or the
    /// checkpoint itself.
    ///
    /// # Errors
    /// If there is none, or if it is of a run that cannot be fine-tuned: one without an
    /// environment, of a method that cannot, that was fine-tuned, or that has not begun to
    /// train its own networks.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let file = checkpoint_of(path)?;
        let state = State::read(&file).map_err(|error| unread(error, &file, file == path))?;
        let spec = spec_of(&state, &file)?;
        let found = Self { file, state, spec };
        found.check()?;
        Ok(found)
    }

    fn unfit(&self, why: String) -> TrainError {
        TrainError::File {
            file: self.file.clone(),
            why,
        }
    }

    fn check(&self) -> Result<(), TrainError> {
        let spec = &self.spec;
        let name = spec.method.name();
        let can = match spec.method {
            Method::Bc => false,
            Method::Spar => true,
            Method::Baseline(entry) => entry.online.is_some(),
        };
        if !can {
            return Err(TrainError::NotOnline {
                method: name,
                expected: able(),
            });
        }
        if spec.finetune.is_some() {
            let why = "it is of a run that was fine-tuned; to go further, repeat that run's \
                       command with more --steps";
            return Err(self.unfit(why.to_owned()));
        }
        if spec.method == Method::Spar && spec.config.anchor.file.is_some() {
            let why = "it is of spar around the policy of a file, which acts on the data alone; \
                       fine-tune spar with an anchor of its own";
            return Err(self.unfit(why.to_owned()));
        }
        if spec.method == Method::Spar && !spec.config.rectify.ablation.is_none() {
            let why = "it is of an ablation of spar, which is not fine-tuned";
            return Err(self.unfit(why.to_owned()));
        }
        if spec.env.is_none() {
            let why = "it is of a run without an environment, so that there is nothing to act in; \
                       train it with --env";
            return Err(self.unfit(why.to_owned()));
        }
        if self.state.get_count(spec.method.counter()).is_err() {
            let why = format!("{name} has not begun: its anchor is still trained; finish that run");
            return Err(self.unfit(why));
        }
        Ok(())
    }

    /// What the offline run was.
    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }

    /// Where the policy acts.
    ///
    /// # Errors
    /// Never, once it was read.
    pub fn env(&self) -> Result<EnvId, TrainError> {
        let none = || self.unfit("it has no environment".to_owned());
        self.spec.env.ok_or_else(none)
    }

    /// Updates done offline.
    pub fn updates(&self) -> u64 {
        let done = self.state.get_count(self.spec.method.counter());
        done.unwrap_or_default()
    }

    /// SHA-256 of every array with its name, and of the updates: of what the checkpoint says
    /// beside them, as times, nothing reaches the run.
    pub fn sha256(&self) -> String {
        let mut bytes = format!("{}\n", self.updates()).into_bytes();
        for (name, values) in self.state.arrays() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        }
        sha256_hex(&bytes)
    }

    /// The run that fine-tunes it as `asked`.
    ///
    /// # Errors
    /// If a setting is unknown or out of range.
    pub fn finetuned(&self, asked: &Asked) -> Result<RunSpec, TrainError> {
        let spec = self.spec.clone();
        let method = spec.method;
        let mut config = spec.config.clone();
        config.updates = self.updates();
        if let (Method::Baseline(entry), Some(own)) = (method, &mut config.method) {
            for (key, value) in entry.online.iter().flat_map(|online| online.settings) {
                let value = i64::try_from(*value).unwrap_or(i64::MAX);
                own.insert((*key).to_owned(), toml::Value::Integer(value));
            }
        }
        let config: TrainConfig = config.with(method, &asked.settings)?;
        let finetune = Finetune {
            from: self.sha256(),
            steps: asked.steps,
            start_steps: asked.start_steps.unwrap_or(Finetune::START_STEPS),
            updates_per_step: asked.updates_per_step.unwrap_or(1),
            offline_fraction: asked.offline_fraction.unwrap_or(Finetune::OFFLINE_FRACTION),
            noise: asked.noise.or_else(|| noise_of(method)),
        };
        finetune.check(method)?;
        Ok(RunSpec {
            variant: Some(format!("{}-finetuned", spec.label())),
            seed: asked.seed.unwrap_or(spec.seed),
            device: DeviceKind::Cpu,
            config,
            finetune: Some(finetune),
            ..spec
        })
    }
}

/// Why `file` could not be read, which the user named where it is `asked` for, and which is
/// else the checkpoint of the run that was.
fn unread(error: StateError, file: &Path, asked: bool) -> TrainError {
    let StateError::Corrupt { why, .. } = error else {
        return error.into();
    };
    let why = match asked {
        true => {
            format!("is no checkpoint of a run ({why}); give the run's folder or its {CHECKPOINT}")
        }
        false => format!(
            "the run's last checkpoint cannot be read ({why}); give another run, or train this \
             one again in another folder"
        ),
    };
    TrainError::File {
        file: file.to_owned(),
        why,
    }
}

/// The checkpoint that `path` means.
fn checkpoint_of(path: &Path) -> Result<PathBuf, TrainError> {
    let none = |folder: &Path| TrainError::File {
        file: folder.to_owned(),
        why: format!(
            "there is no {CHECKPOINT} there: fine-tuning resumes critics and optimizers, which a \
             policy file has not; give a run's folder or its checkpoint"
        ),
    };
    let folder = match path.file_name() {
        _ if path.is_dir() => path,
        Some(name) if name == "policy.safetensors" => match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => return Err(none(path)),
        },
        _ => return Ok(path.to_owned()),
    };
    let file = folder.join(CHECKPOINT);
    if file.is_file() {
        return Ok(file);
    }
    Err(none(folder))
}

/// Fine-tunes `from` as `spec` says, which [`OfflineRun::finetuned`] gave, on the data `data`
/// it was trained on, in the folder `out`; all else is as of [`crate::run()`].
///
/// # Errors
/// As there; and if the environment fails.
pub fn finetune(
    spec: &RunSpec,
    from: &OfflineRun,
    data: &Transitions,
    out: &Path,
    control: Control<'_>,
) -> Result<RunRecord, TrainError> {
    let other = |what: &str| TrainError::Config(format!("the run is fine-tuned from {what}"));
    match &spec.finetune {
        None => return Err(other("nothing: it has no `finetune`")),
        Some(finetune) if finetune.from != from.sha256() => {
            return Err(other("another checkpoint than its `finetune.from`"));
        }
        Some(_) => {}
    }
    run_with(Box::new(Cpu), spec, data, out, control, Some(&from.state))
}
