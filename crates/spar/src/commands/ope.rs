//! `spar ope`: what logged data say of a policy, without a simulator.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use spar_core::{
    DatasetIdentity, Difference, EnvId, FinishedRun, OpeRecord,
    limits::{MOST_CANDIDATES, MOST_CRITICS},
    ope::{OPE_FILE, OPE_SCHEMA, OpeSettings},
    sha256_file, write_atomic,
};
use spar_data::{Reading, Transitions};
use spar_ope::{FqeConfig, evaluate};
use spar_policy::Policy;
use spar_report::{Candidate, Choice};

use super::{ReadingArgs, counts, dataset, numbers::whole, training_data};
use crate::{failure::Usage, output};

/// Time between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Which policies to evaluate, on what.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folders of finished runs, whose policies are evaluated; each gets an `ope.json`, which
    /// `spar report` shows
    #[arg(value_name = "RUN", conflicts_with_all = ["policy", "out"], required_unless_present = "policy")]
    runs: Vec<PathBuf>,
    /// Policy: a file `spar train` wrote, its run's folder, or a plain network
    /// (safetensors)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Data to evaluate it on: a file, a Minari data set or an id of D4RL's; those it was
    /// trained on, or others of the same machine
    #[arg(long, value_name = "FILE")]
    dataset: PathBuf,
    /// Environment of the data, for horizon and reference returns [default: the policy's]
    #[arg(long)]
    env: Option<EnvId>,
    /// Steps after which an episode counts as cut in data that flag no cuts [default: the
    /// environment's horizon; without one none is cut]
    #[arg(long, value_name = "N", value_parser = counts(u32::MAX))]
    horizon: Option<u32>,
    /// Gradient updates of each estimator
    #[arg(long, value_name = "N", default_value_t = FqeConfig::default().updates, value_parser = whole::<u64>)]
    updates: u64,
    /// Networks fitted independently, whose mean is the estimate
    #[arg(long, value_name = "N", default_value = "2", value_parser = counts(MOST_CRITICS as u32))]
    estimators: u32,
    /// Discount of future rewards, from 0 to below 1
    #[arg(long, value_name = "PART", default_value_t = FqeConfig::default().discount)]
    discount: f64,
    /// Adam's learning rate
    #[arg(long, value_name = "RATE", default_value_t = FqeConfig::default().lr)]
    lr: f32,
    /// Rate at which the target network follows
    #[arg(long, value_name = "RATE", default_value_t = FqeConfig::default().tau)]
    tau: f32,
    /// Actions kept for each state of a policy that draws
    #[arg(long, value_name = "N", default_value = "1", value_parser = counts(u32::from(MOST_CANDIDATES)))]
    draws: u32,
    /// Part of the episodes that is held out, to measure errors on
    #[arg(long, value_name = "PART", default_value_t = FqeConfig::default().held_out)]
    held_out: f64,
    /// Seed of every stream
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Write the record, as JSON; nothing may be there
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one line of JSON for each policy
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  spar ope --policy runs/arm --dataset arm.hdf5
  spar ope runs/hopper-medium/*/seed-* --dataset hopper-medium-v2";

/// A policy to evaluate.
struct Asked {
    /// As the user named it.
    name: PathBuf,
    file: PathBuf,
    policy: Policy,
    /// Mean return and score in the simulator, of a finished run that was played.
    measured: Option<Measured>,
    /// Where its record goes.
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Serialize)]
struct Measured {
    mean_return: f64,
    normalized_score: Option<f64>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(serialize_with = "output::path")]
    policy: &'a Path,
    /// In the simulator; absent where nobody played the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Measured>,
    #[serde(flatten)]
    record: &'a OpeRecord,
}

/// Evaluates every policy that is asked for, and says how they compare.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        bail!("{}: is there already; choose another --out", out.display());
    }
    let asked = asked(args)?;
    let found = dataset::found(&args.dataset)?;
    let env = match args.env.or(found.env) {
        Some(env) => Some(env),
        None => asked.first().map(own_env).transpose()?.flatten(),
    };
    for one in &asked {
        check_env(one, env)?;
    }
    let reading = Reading {
        horizon: args.horizon.is_some(),
        ..args.reading.reading()
    };
    let data = training_data(&found.path, env, &reading)?;
    let horizon = match args.horizon {
        Some(horizon) => Some(horizon as usize),
        None => env.map(EnvId::horizon),
    };
    let data = Transitions::new(data, horizon.unwrap_or(usize::MAX))?;
    let config = FqeConfig {
        updates: args.updates,
        discount: args.discount,
        estimators: args.estimators as usize,
        lr: args.lr,
        tau: args.tau,
        draws: args.draws as usize,
        held_out: args.held_out,
        seed: args.seed,
        ..FqeConfig::default()
    };
    let mut records = Vec::with_capacity(asked.len());
    for (place, one) in asked.iter().enumerate() {
        let which = match asked.len() {
            1 => String::new(),
            all => format!("{} of {all}: ", place + 1),
        };
        let record = of_policy(one, &data, env, horizon, &config, &which)?;
        if args.json {
            output::json(&Printed {
                policy: &one.file,
                measured: one.measured,
                record: &record,
            })?;
        }
        records.push(record);
    }
    if args.json {
        return Ok(());
    }
    match (&*asked, &*records) {
        ([one], [record]) => output::facts(&facts(one, record)),
        _ => output::text(&table(&asked, &records)),
    }
}

fn asked(args: &Args) -> Result<Vec<Asked>> {
    let mut asked = Vec::new();
    if let Some(name) = &args.policy {
        let file = spar_policy::file_of(name)?;
        let measured = match name.is_dir() {
            true => FinishedRun::read(name)?.and_then(|run| measured(&run)),
            false => None,
        };
        asked.push(Asked {
            policy: Policy::load(&file)?,
            file,
            measured,
            name: name.clone(),
            out: args.out.clone(),
        });
    }
    for folder in &args.runs {
        let run = FinishedRun::read(folder)?;
        let run = run.ok_or_else(|| {
            anyhow!(
                "{}: holds no finished run; give a policy by itself with --policy",
                folder.display()
            )
        })?;
        let file = spar_policy::file_of(folder)?;
        asked.push(Asked {
            policy: Policy::load(&file)?,
            file,
            measured: measured(&run),
            name: folder.clone(),
            out: Some(folder.join(OPE_FILE)),
        });
    }
    Ok(asked)
}

fn measured(run: &FinishedRun) -> Option<Measured> {
    let record = &run.record;
    (!record.returns.is_empty()).then(|| Measured {
        mean_return: record.mean_return(),
        normalized_score: record.normalized_score(),
    })
}

/// The environment that the policy was trained for; `None` if it was trained without one, or
/// does not say.
fn own_env(one: &Asked) -> Result<Option<EnvId>> {
    let own = one.policy.about().and_then(|about| about.env.as_deref());
    let Some(own) = own else {
        return Ok(None);
    };
    let env = own.parse::<EnvId>();
    let env = env.map_err(|unknown| anyhow!("{}: {unknown}; or give --env", one.file.display()))?;
    Ok(Some(env))
}

/// Refuses a policy of another environment than the data's: equal widths would not tell.
fn check_env(one: &Asked, env: Option<EnvId>) -> Result<()> {
    let own = one.policy.about().and_then(|about| about.env.as_deref());
    match (own, env) {
        (Some(own), Some(env)) if own != env.name() => Err(Usage(format!(
            "{}: was trained for {own}, but the data are taken as those of {env}; give data of \
             {own}, or --env {own}",
            one.file.display()
        ))
        .into()),
        _ => Ok(()),
    }
}

/// The record of a policy: the one that is there, if it is of the same policy, data and
/// settings, or a new one, which is written.
fn of_policy(
    one: &Asked,
    data: &Transitions,
    env: Option<EnvId>,
    horizon: Option<usize>,
    config: &FqeConfig,
    which: &str,
) -> Result<OpeRecord> {
    let draws = one.policy.draws();
    let identity = &data.dataset().identity;
    let settings = config.of(horizon, draws);
    let policy_sha256 = sha256_file(&one.file)?;
    let env_name = env.map(|env| env.name().to_owned());
    let kept = match &one.out {
        Some(out) => OpeRecord::read(out)?.map(|kept| (out, kept)),
        None => None,
    };
    let mut replaced = None;
    if let Some((out, kept)) = kept {
        let otherwise = otherwise(
            &kept,
            &policy_sha256,
            env_name.as_deref(),
            identity,
            &settings,
        );
        if otherwise.is_empty() {
            output::note(&format!("{}: is there already, made alike", out.display()));
            return Ok(kept);
        }
        let otherwise = otherwise.join("; ");
        replaced = Some(format!("{}: replaced: {otherwise}", out.display()));
    }
    let mut last = Instant::now();
    let mut progress = |done: u64, all: u64| {
        if last.elapsed() >= LINE_EVERY {
            last = Instant::now();
            output::say(&format!("{which}{done} of {all} updates"));
        }
    };
    let found = evaluate(&one.policy, draws, data, config, &mut progress);
    let found = found.with_context(|| one.file.display().to_string())?;
    let mut value = found.value;
    value.normalized_estimate = env.and_then(|env| {
        let value = value.discounted_return;
        OpeRecord::normalized_estimate(identity, env, config.discount, value)
    });
    let record = OpeRecord {
        schema: OPE_SCHEMA,
        policy_sha256,
        method: one.policy.about().map(|about| about.method.clone()),
        env: env_name,
        dataset: identity.clone(),
        settings,
        value,
        training: found.training,
        held_out: found.held_out,
        support: found.support,
    };
    if let Some(out) = &one.out {
        let json = serde_json::to_string_pretty(&record).context("cannot write JSON")?;
        write_atomic(out, (json + "\n").as_bytes())?;
    }
    if let Some(replaced) = replaced {
        output::note(&replaced);
    }
    Ok(record)
}

/// In what the record `kept` was made otherwise than it would be now, in words.
fn otherwise(
    kept: &OpeRecord,
    policy_sha256: &str,
    env: Option<&str>,
    data: &DatasetIdentity,
    settings: &OpeSettings,
) -> Vec<String> {
    let mut found = Vec::new();
    if kept.policy_sha256 != policy_sha256 {
        found.push("it was of another policy".to_owned());
    }
    let differences = kept.differences(env, data, settings).into_iter();
    found.extend(differences.map(|difference| {
        let Difference { field, there, here } = difference;
        format!("{field} was {there}, is {here}")
    }));
    // The same bytes by another name, of which the record speaks.
    if found.is_empty() && kept.dataset != *data {
        let called = |data: &DatasetIdentity| format!("{} ({})", data.id, data.origin);
        let (there, here) = (called(&kept.dataset), called(data));
        found.push(format!("the data were {there}, are {here}"));
    }
    found
}

fn interval(record: &OpeRecord) -> String {
    let value = &record.value;
    match (value.low, value.high) {
        (Some(low), Some(high)) => {
            format!("{:.2} [{low:.2}, {high:.2}]", value.discounted_return)
        }
        _ => format!("{:.2}", value.discounted_return),
    }
}

fn facts(one: &Asked, record: &OpeRecord) -> Vec<(&'static str, String)> {
    let OpeRecord {
        value,
        settings,
        support,
        ..
    } = record;
    let numbers = |values: &[f64]| {
        let values = values.iter().map(|value| format!("{value:.2}"));
        values.collect::<Vec<_>>().join(", ")
    };
    let errors = |errors: &spar_core::ope::TdErrors| {
        format!(
            "mean {:+.3}, rms {:.3} over {} transitions; values {:.2} ± {:.2}",
            errors.mean, errors.rms, errors.transitions, errors.value_mean, errors.value_std
        )
    };
    let mut facts = vec![
        (
            "discounted return [95%]",
            format!(
                "{}, discount {}, {} initial states",
                interval(record),
                settings.discount,
                value.initial_states
            ),
        ),
        ("estimators", numbers(&value.estimators)),
        (
            "data's own episodes",
            output::optional(value.data_discounted_return),
        ),
    ];
    if let Some(estimate) = value.normalized_estimate {
        let text = format!("{estimate:.1} (an estimate, no measured score)");
        facts.push(("normalized", text));
    }
    if let Some(measured) = one.measured {
        let score = measured.normalized_score;
        let score = score.map_or(String::new(), |score| format!(", score {score:.1}"));
        facts.push((
            "in the simulator",
            format!("return {:.1}{score}", measured.mean_return),
        ));
    }
    facts.push(("td error, trained on", errors(&record.training)));
    if let Some(held_out) = &record.held_out {
        facts.push(("td error, held out", errors(held_out)));
    }
    facts.push((
        "policy's actions",
        format!(
            "{:.3} from the data's, whose spread is {:.3}; {:.1}% beyond their range",
            support.distance,
            support.spread,
            100.0 * support.outside
        ),
    ));
    facts
}

/// A line for each policy, and what would have been picked.
fn table(asked: &[Asked], records: &[OpeRecord]) -> String {
    let header = [
        "policy",
        "discounted return [95%]",
        "held-out rms",
        "from data",
        "in the simulator",
    ];
    let score = |one: &Asked| {
        let measured = one.measured?;
        Some(measured.normalized_score.unwrap_or(measured.mean_return))
    };
    let rows = asked.iter().zip(records).map(|(one, record)| {
        let rms = record.held_out.map(|errors| errors.rms);
        vec![
            one.name.display().to_string(),
            interval(record),
            output::optional(rms),
            format!("{:.3}", record.support.distance),
            output::optional(score(one)),
        ]
    });
    let mut text = output::table(&header, rows);
    // Scores and returns in one order would be none.
    let scored = |one: &&Asked| one.measured.is_some_and(|m| m.normalized_score.is_some());
    let played: Vec<_> = asked.iter().filter(|one| one.measured.is_some()).collect();
    let alike = played.iter().all(scored) || !played.iter().any(scored);
    let candidates: Vec<Candidate> = asked
        .iter()
        .zip(records)
        .filter_map(|(one, record)| {
            Some(Candidate {
                name: one.name.display().to_string(),
                estimate: record.value.discounted_return,
                measured: score(one)?,
            })
        })
        .collect();
    if let Some(choice) = Choice::of(&candidates).filter(|_| alike) {
        let unit = match played.iter().all(scored) {
            true => "score",
            false => "return",
        };
        text = format!("{text}\n\n{}.", choice.sentence(unit));
    }
    text
}
