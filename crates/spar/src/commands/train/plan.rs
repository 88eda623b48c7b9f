//! What the options of `spar train` say: the settings of a run, whichever suite, flags and
//! method they come from.

use std::path::Path;

use anyhow::{Result, bail};
use spar_core::{DatasetIdentity, EnvId, Origin, Signals, Suite, TaskId};
use spar_data::Reading;
use spar_train::{DeviceKind, Method, Offline, RunSpec, TrainConfig, TrainError};

use super::{super::suite_of, Args, EVAL_SEED, Single, made};
use crate::failure::Usage;

/// Episodes of the final evaluation where neither suite nor user says.
const EVAL_EPISODES: usize = 10;

/// Name of suite and preset of a run that belongs to none.
const NONE: &str = "none";

/// The folder of the run that is made first, within the one around its policy.
const BASE: &str = "anchor";

/// Refuses options that `method` has no use for: without effect, they would seem to have one.
fn refuse_of_others(method: Method, single: &Single) -> Result<()> {
    let name = method.name();
    if single.anchor_updates.is_some() && !method.anchored() {
        let why = format!(
            "--anchor-updates is of methods that stand on an anchor, and {name} has none; leave it out"
        );
        return Err(Usage(why).into());
    }
    if single.warmup.is_some() && method != Method::Spar {
        let why = format!("--warmup is spar's, and --method is {name}; leave it out");
        return Err(Usage(why).into());
    }
    Ok(())
}

/// What the options say before the data are read.
pub(in crate::commands) struct Plan {
    suite: String,
    preset: String,
    variant: Option<String>,
    task: Option<TaskId>,
    pub(super) env: Option<EnvId>,
    eval_seed: u64,
    final_episodes: usize,
    pub(in crate::commands) config: TrainConfig,
}

impl Plan {
    /// `env` is the environment that the data's name says, where it is an id of D4RL's.
    pub(super) fn new(args: &Args, env: Option<EnvId>) -> Result<Self> {
        refuse_of_others(args.method, &args.single)?;
        let plan = match (&args.suite, &args.preset, args.task) {
            (Some(suite), Some(preset), Some(task)) => {
                Self::of_suite(suite, preset, task, args.method, args.variant.as_deref())
            }
            _ => Self::single(args, env),
        }?;
        let config = plan.config.with(args.method, &args.set);
        let mut config = config.map_err(|e| Usage(format!("--set: {e}")))?;
        if let Some(file) = &args.anchor_policy {
            if args.method != Method::Spar {
                let why = "--anchor-policy is spar's anchor; give --method spar, or leave it out";
                return Err(Usage(why.to_owned()).into());
            }
            let Some(file) = file.to_str() else {
                let why = format!("--anchor-policy {}: not UTF-8", file.display());
                return Err(Usage(why).into());
            };
            (config.anchor.file, config.anchor.sha256) = (Some(file.to_owned()), None);
            config.anchor.method = None;
            config.anchor = config.anchor.with_draws();
        }
        let given = config.anchor.file.is_some() || config.anchor.method.is_some();
        if args.single.anchor_updates.is_some() && given {
            let why = "--anchor-updates is of an anchor that the run trains, and another policy \
                       stands in its place here; leave it out";
            return Err(Usage(why.to_owned()).into());
        }
        Ok(Self {
            config: match args.method {
                Method::Spar => config.pinned()?,
                _ => config,
            },
            ..plan
        })
    }

    /// Trains the method that is to be the anchor, where the settings name one, in the folder
    /// `anchor` of the run: on the same data with the same seed, by the suite's settings for
    /// it or its defaults. From then on it is the policy of a file.
    pub(super) fn make_base(&mut self, args: &Args, signals: &mut Option<Signals>) -> Result<()> {
        let anchor = &mut self.config.anchor;
        let Some(name) = anchor.method.as_ref().filter(|_| anchor.file.is_none()) else {
            return Ok(());
        };
        if args.method != Method::Spar {
            return Ok(());
        }
        if args.anchor.is_some() {
            let why =
                "--anchor gives a bc run, and `anchor.method` says what the anchor is: drop one";
            return Err(Usage(why.to_owned()).into());
        }
        let out = args.out.join(BASE);
        let mut single = args.single.clone();
        (single.anchor_updates, single.warmup) = (None, None);
        let base = Args {
            method: name.parse().map_err(|e: TrainError| Usage(e.to_string()))?,
            out: out.clone(),
            variant: None,
            set: Vec::new(),
            anchor_policy: None,
            single,
            ..args.clone()
        };
        made(&base, signals)?;
        let Some(file) = out.to_str() else {
            bail!("--out {}: not UTF-8, as `anchor.file` is", out.display());
        };
        anchor.file = Some(file.to_owned());
        anchor.sha256 = None;
        self.config = self.config.clone().pinned()?;
        Ok(())
    }

    /// A cell of a suite's table.
    pub(in crate::commands) fn of_suite(
        suite: &Path,
        preset: &str,
        task: TaskId,
        method: Method,
        variant: Option<&str>,
    ) -> Result<Self> {
        Self::of_loaded(&suite_of(suite)?, preset, task, method, variant)
    }

    /// The same of a suite that is read already.
    pub(in crate::commands) fn of_loaded(
        suite: &Suite,
        preset: &str,
        task: TaskId,
        method: Method,
        variant: Option<&str>,
    ) -> Result<Self> {
        if let Some(name) = variant {
            if !suite.variant.contains_key(name) {
                let known: Vec<_> = suite.variant.keys().map(String::as_str).collect();
                return Err(Usage(format!(
                    "suite `{}` has no variant `{name}`; expected one of: {}",
                    suite.name,
                    known.join(", ")
                ))
                .into());
            }
            if method != Method::Spar {
                return Err(Usage(format!(
                    "--variant {name} is one of spar, but --method is {}",
                    method.name()
                ))
                .into());
            }
        }
        let column = variant.unwrap_or(method.name());
        let table = suite.run_settings(preset, &task.to_string(), column)?;
        if !suite.tasks.contains(&task) {
            let known: Vec<_> = suite.tasks.iter().map(TaskId::to_string).collect();
            return Err(Usage(format!(
                "suite `{}` has no task `{task}`; expected one of: {}",
                suite.name,
                known.join(", ")
            ))
            .into());
        }
        Ok(Self {
            env: Some(task.env()),
            task: Some(task),
            eval_seed: suite.eval_seed,
            final_episodes: suite.preset(preset)?.eval_episodes,
            config: TrainConfig::for_method(table, method)?,
            suite: suite.name.clone(),
            preset: preset.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }

    fn single(args: &Args, env: Option<EnvId>) -> Result<Self> {
        let single = &args.single;
        let env = single.env.or(env);
        let unplayed = env.is_none() && single.eval_episodes.is_some();
        if let Some(option) = single.offline.first().filter(|_| env.is_some()) {
            return Err(Usage(format!(
                "{option} is of runs without an environment, and this one has {}; drop one",
                env.map_or("none", EnvId::name)
            ))
            .into());
        }
        if unplayed {
            let why = "--eval-episodes needs an environment to play them in; give --env, or leave \
                       it out";
            return Err(Usage(why.to_owned()).into());
        }
        let config = TrainConfig::defaults_of(args.method)?;
        let updates = single.updates.unwrap_or(config.updates);
        let mut config = config.lasting(args.method, updates);
        let anchor_updates = match (args.method, single.updates, single.anchor_updates) {
            (Method::Bc, Some(_), Some(_)) => {
                let why =
                    "--anchor-updates says again what --updates says for --method bc; drop one";
                return Err(Usage(why.to_owned()).into());
            }
            (Method::Bc, updates, anchor_updates) => updates.or(anchor_updates),
            (Method::Spar | Method::Baseline(_), _, anchor_updates) => anchor_updates,
        };
        config.anchor.updates = anchor_updates.unwrap_or(config.anchor.updates);
        config.rectify.warmup = single.warmup.unwrap_or(config.rectify.warmup);
        config.batch_size = single.batch_size.unwrap_or(config.batch_size);
        if let (Some(rows), Some(own)) = (single.batch_size, &mut config.method)
            && let Some(data) = own.get_mut("data").and_then(toml::Value::as_table_mut)
        {
            data.insert("batch_size".to_owned(), toml::Value::Integer(rows as i64));
        }
        config.checkpoint_every = single.checkpoint_every.unwrap_or(config.checkpoint_every);
        config.check().map_err(|e| Usage(e.to_string()))?;
        if let (Method::Baseline(entry), Some(own)) = (args.method, &config.method) {
            entry.feed(own).map_err(|e| Usage(e.to_string()))?;
        }
        Ok(Self {
            suite: NONE.to_owned(),
            preset: NONE.to_owned(),
            variant: None,
            task: None,
            env,
            eval_seed: single.eval_seed.unwrap_or(EVAL_SEED),
            final_episodes: match (env, single.eval_episodes) {
                (None, _) => 0,
                (Some(_), episodes) => episodes.map_or(EVAL_EPISODES, |n| n as usize),
            },
            config,
        })
    }

    pub(super) fn spec(
        self,
        args: &Args,
        dataset: DatasetIdentity,
        offline: Option<Offline>,
    ) -> Result<RunSpec> {
        let data_task = task_of(&dataset);
        if let (Some(task), Some(other)) = (self.task, data_task)
            && task != other
        {
            bail!(
                "{}: data set {} is of task {other}, expected data of {task}; \
                 give the task's own file or the right --task",
                args.dataset.display(),
                dataset.id
            );
        }
        if self.task.is_some() && dataset.origin == Origin::Minari {
            bail!(
                "{}: data set {} is Minari's, which have no reference scores and are no suite's; \
                 leave --suite out and give --env",
                args.dataset.display(),
                dataset.id
            );
        }
        let task = self.task.or(data_task);
        let plan = Self { task, ..self };
        let spec = plan.spec_of(
            dataset,
            args.method,
            args.seed,
            args.device,
            args.reading.reading(),
        );
        Ok(RunSpec { offline, ..spec })
    }

    /// The spec of a run on `dataset`.
    pub(in crate::commands) fn spec_of(
        self,
        dataset: DatasetIdentity,
        method: Method,
        seed: u64,
        device: DeviceKind,
        reading: Reading,
    ) -> RunSpec {
        let task = self.task;
        RunSpec {
            suite: self.suite,
            preset: self.preset,
            task: task.map_or_else(|| dataset.id.clone(), |task| task.to_string()),
            method,
            variant: self.variant,
            seed,
            env: self.env,
            offline: None,
            dataset,
            reading,
            eval_seed: self.eval_seed,
            final_episodes: self.final_episodes,
            device,
            config: self.config,
            finetune: None,
        }
    }
}

/// The task whose data a file holds; none for Minari's and a user's
/// own, whatever their names.
pub(in crate::commands) fn task_of(dataset: &DatasetIdentity) -> Option<TaskId> {
    match dataset.origin {
        Origin::Official => dataset.id.parse().ok(),
        Origin::Local => dataset.id.strip_suffix("-local")?.parse().ok(),
        Origin::Minari | Origin::User => None,
    }
}
