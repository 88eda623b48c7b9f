//! `spar finetune`: an offline run trained further in its environment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use spar_core::{
    EnvId, FinishedRun, RunRecord, Signals, files::in_file, limits::MOST_EPISODES, printable,
};
use spar_data::Transitions;
use spar_train::{Asked, OfflineRun, RunSpec, TrainError};

use super::{
    dataset,
    numbers::{positive, whole},
    progress_line::ProgressLine,
    setting::setting,
    train::{Around, ProgressFormat, patiently},
};
use crate::{
    failure::{Ended, Usage},
    output::{self, Played, Score},
    provenance,
};

/// What to fine-tune, where, for how long, and where it goes.
///
/// The run continues from every number of the offline run's last checkpoint: networks,
/// critics, optimizers, random streams. The normalizer and the scale of rewards stay those of
/// the offline data.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The offline run: its folder, a file in it, or its checkpoint
    #[arg(long, value_name = "RUN")]
    policy: PathBuf,
    /// Environment to act in [default: the one the run has]
    #[arg(long)]
    env: Option<EnvId>,
    /// Steps in the environment
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    steps: u64,
    /// Folder of the run; the same command resumes an unfinished one
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The offline data [default: the file that the offline run's command names]
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    /// Part of each batch that is drawn from the offline data, from 0 to 1 [default: 0.5]
    #[arg(long, value_name = "X")]
    offline_fraction: Option<f64>,
    /// Updates after each step [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    updates_per_step: Option<u64>,
    /// Steps before the first update [default: 1000]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    start_steps: Option<u64>,
    /// Deviation of the noise on actions, of td3bc; the others draw their actions themselves
    /// [default: 0.1]
    #[arg(long, value_name = "X")]
    noise: Option<f64>,
    /// Seed of what is collected and drawn [default: the run's]
    #[arg(long)]
    seed: Option<u64>,
    /// A hyper-parameter that is another online, as in `alpha=5` of cql; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, toml::Value)>,
    /// Steps between two points of the learning curve [default: the run's updates between
    /// two]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    eval_every: Option<u64>,
    /// Episodes of the evaluations before the first step and after the last [default: the
    /// run's]
    #[arg(long, value_name = "N", value_parser = super::counts(MOST_EPISODES))]
    eval_episodes: Option<u32>,
    /// Steps between two checkpoints [default: the run's updates between two]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    checkpoint_every: Option<u64>,
    /// Stop, resumably, after N steps
    #[arg(long, value_name = "N", value_parser = positive)]
    stop_after: Option<u64>,
    /// Print progress on stdout, one JSON object a line
    #[arg(long, value_name = "FORMAT")]
    progress: Option<ProgressFormat>,
    /// End with one line of JSON: returns and scores, before and after
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  spar finetune --policy runs/iql --steps 50000 --out runs/iql-online
  spar finetune --policy runs/cql --steps 50000 --set calibrated=true --set alpha=5 --out runs/calql
  spar report --runs runs --out report     # offline and after fine-tuning, side by side

Methods: spar, td3bc, iql and cql; cql with `calibrated=true` is Cal-QL.";

/// What `--json` ends with.
#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    after: Score,
    /// The same of the offline policy, in the same episodes.
    offline: Score,
    steps: u64,
}

/// Fine-tunes, and prints how the policy did before and after.
pub(crate) fn run(args: &Args) -> Result<()> {
    let offline = OfflineRun::read(&args.policy)?;
    let spec = spec(args, &offline)?;
    let env = offline.env()?;
    let path = match &args.dataset {
        Some(path) => dataset::found(path)?.path,
        None => recorded(&args.policy, &offline)?,
    };
    let data = super::training_data(&path, env, &spec.reading)?;
    if data.identity.sha256 != spec.dataset.sha256 {
        return Err(Usage(format!(
            "{}: its sha256 is {}, expected {}, of the data set {} that the run was trained on; \
             give that with --dataset",
            path.display(),
            data.identity.sha256,
            spec.dataset.sha256,
            printable(&spec.dataset.id)
        ))
        .into());
    }
    let transitions = Transitions::new(data, spec.horizon())?;
    spar_env::make(env)?;
    let signals = Signals::listen().context("cannot listen for signals")?;
    match train(args, &spec, &offline, &transitions, &signals) {
        Ok(record) => report(args, record),
        Err(TrainError::Stopped(update)) => {
            if let Some(asked) = signals.asked() {
                let unit = "step";
                return Err(Ended {
                    asked,
                    unit,
                    update,
                }
                .into());
            }
            output::say(&format!(
                "stopped at step {update} as asked; the same command resumes it"
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The run that is asked for.
fn spec(args: &Args, offline: &OfflineRun) -> Result<RunSpec> {
    let env = offline.env()?;
    if let Some(other) = args.env.filter(|other| *other != env) {
        return Err(Usage(format!(
            "--env {other}, but the run was trained for {env}; leave --env out, or give its own"
        ))
        .into());
    }
    let asked = Asked {
        steps: args.steps,
        start_steps: args.start_steps,
        updates_per_step: args.updates_per_step,
        offline_fraction: args.offline_fraction,
        noise: args.noise,
        settings: args.set.clone(),
        seed: args.seed,
    };
    let usage = |e: TrainError| match e {
        TrainError::Config(_) => Usage(e.to_string()).into(),
        e => anyhow::Error::from(e),
    };
    let mut spec = offline.finetuned(&asked).map_err(usage)?;
    let config = &mut spec.config;
    config.eval_every = args.eval_every.unwrap_or(config.eval_every);
    config.checkpoint_every = args.checkpoint_every.unwrap_or(config.checkpoint_every);
    config.check().map_err(usage)?;
    if let Some(episodes) = args.eval_episodes {
        spec.final_episodes = episodes as usize;
    }
    Ok(spec)
}

/// The data file that the command of the finished run in `policy` names, if it is there.
fn recorded(policy: &Path, offline: &OfflineRun) -> Result<PathBuf> {
    let missing = || {
        Usage(format!(
            "--dataset is missing: the offline run's data set {} (sha256 {}) is not where its \
             command says",
            printable(&offline.spec().dataset.id),
            offline.spec().dataset.sha256
        ))
    };
    // `policy` is the folder, a file in it, or one in its folder of checkpoints.
    let folders = policy.ancestors().take(3).chain([Path::new(".")]);
    let mut done = folders.filter(|folder| folder.join("DONE").is_file());
    let folder = done.next().ok_or_else(missing)?;
    let run = FinishedRun::read(folder)?.ok_or_else(missing)?;
    let words = provenance::words(&run.record.command);
    let mut words = words.iter();
    let named = words.find_map(|word| match word.strip_prefix("--dataset") {
        Some("") => Some(None),
        Some(rest) => rest.strip_prefix('=').map(|file| Some(file.to_owned())),
        None => None,
    });
    let named = match named.ok_or_else(missing)? {
        Some(file) => file,
        None => words.next().cloned().ok_or_else(missing)?,
    };
    let found = dataset::found(Path::new(&named)).map_err(|_| missing())?;
    match std::fs::metadata(&found.path) {
        Ok(_) => Ok(found.path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(missing().into()),
        Err(e) => Err(in_file(e, &found.path).into()),
    }
}

/// The policy file of the offline run that `policy` names by its folder, a file in it or its
/// checkpoint; `policy` itself where there is none.
fn offline_file(policy: &Path) -> PathBuf {
    let folders = policy.ancestors().take(3);
    let folders = folders.filter(|folder| folder.join("DONE").is_file());
    let mut files = folders.filter_map(|folder| spar_policy::file_of(folder).ok());
    files.next().unwrap_or_else(|| policy.to_owned())
}

fn train(
    args: &Args,
    spec: &RunSpec,
    offline: &OfflineRun,
    data: &Transitions,
    signals: &Signals,
) -> Result<RunRecord, TrainError> {
    let mut line = ProgressLine::new(args.progress.is_some());
    let around = Around {
        stop: &|| signals.asked().is_some(),
        stop_after: args.stop_after,
        anchor: None,
        command: provenance::command_line(),
        report: &mut |progress| line.show(progress),
    };
    patiently(around, &mut |control| {
        spar_train::finetune(spec, offline, data, &args.out, control)
    })
}

fn report(args: &Args, record: RunRecord) -> Result<()> {
    let (score, offline_score) = (record.normalized_score(), record.offline_score());
    let played = Played::of_run(&args.out, &record);
    let before = Played {
        policy: offline_file(&args.policy).display().to_string(),
        ..played.clone()
    };
    let Some(finetuned) = record.finetuned else {
        return Ok(());
    };
    let outcome = Outcome {
        after: Score::of(played, score, record.returns),
        offline: Score::of(before, offline_score, finetuned.offline_returns),
        steps: finetuned.steps,
    };
    if args.json {
        return output::json(&outcome);
    }
    if args.progress.is_some() {
        return Ok(());
    }
    let rows = [
        ("offline", &outcome.offline),
        ("fine-tuned", &outcome.after),
    ];
    let rows = rows.map(|(name, score)| {
        let facts = score.facts().into_iter().map(|(_, value)| value);
        [name.to_owned()].into_iter().chain(facts).collect()
    });
    let header = [
        "policy",
        "episodes",
        "return",
        "lowest, highest",
        "normalized score",
    ];
    output::text(&output::table(&header, rows))
}
