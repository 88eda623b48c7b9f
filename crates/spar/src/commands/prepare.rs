//! `spar data prepare` and `generate`: official data where they are present
//! and proven, else local ones made by D4RL's recipe.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;
use spar_collect::{CollectError, recipe};
use spar_core::{DatasetIdentity, Origin, TaskId, files::in_file, memory, sha256_file};
use spar_data::{Dataset, META_ORIGIN, MetaValue, Reading, manifest};

use super::{suite_of, training_data};
use crate::{data_card::DataCard, output};

/// Which data to find.
#[derive(clap::Args)]
pub(crate) struct PrepareArgs {
    /// Task
    #[arg(long)]
    task: TaskId,
    /// Suite that defines the task, where it is none of D4RL's: a name of `./suites`, or a file
    #[arg(long, value_name = "SUITE")]
    suite: Option<PathBuf>,
    /// Where they may come from
    #[arg(long, default_value = "auto")]
    data: Choice,
    /// These data, whatever they are: their labels stay theirs
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    dataset: Option<PathBuf>,
    /// Scale of local data: rows of `medium`; the other levels follow from it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..))]
    rows: u32,
    /// Seed of local data
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Behaviour policies of local data
    #[arg(long, value_name = "DIR", default_value = "datasets/behavior")]
    behavior: PathBuf,
    /// Folder of local data
    #[arg(long, value_name = "DIR", default_value = "datasets/local")]
    local: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What to generate.
#[derive(clap::Args)]
pub(crate) struct GenerateArgs {
    /// Task
    #[arg(long)]
    task: TaskId,
    /// Scale: rows of `medium`; the other levels follow from it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..))]
    rows: u32,
    /// Seed of the episodes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Behaviour policies
    #[arg(long, value_name = "DIR", default_value = "datasets/behavior")]
    behavior: PathBuf,
    /// File to write; its data card goes beside it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Where data may come from.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Choice {
    /// Official where present and proven, else local
    Auto,
    /// Official D4RL files only
    Official,
    /// Locally generated files only
    Local,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Prepared<'a> {
    #[serde(serialize_with = "output::path")]
    file: &'a Path,
    #[serde(flatten)]
    identity: &'a DatasetIdentity,
    /// Absent where the file was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<Effort>,
}

/// What generating a file took.
#[derive(Clone, Copy, Serialize)]
struct Effort {
    seconds: f64,
    rows_per_second: f64,
    /// Largest resident set of the process, where the system tells.
    peak_bytes: Option<u64>,
}

/// Finds or generates the data and says where they are.
pub(crate) fn prepare(args: &PrepareArgs) -> Result<()> {
    // It was read before the command line was (`main`); here it has to be right.
    args.suite.as_deref().map(suite_of).transpose()?;
    let task = args.task;
    if let Some(path) = &args.dataset {
        let data = training_data(path, task.env(), &Reading::default())?;
        return print(path, &data.identity, None, args.json);
    }
    // What is said where there are no local data either.
    let mut nowhere = None;
    let official = match args.data {
        Choice::Local => None,
        Choice::Official => Some(official(task).map_err(|why| match why {
            Absent::Nowhere(why) if recipe::rows_of(task, 10).is_some() => {
                Absent::Nowhere(format!("{why}; or use --data local"))
            }
            other => other,
        })?),
        Choice::Auto => match official(task) {
            Ok(found) => Some(found),
            Err(Absent::Nowhere(why)) if recipe::rows_of(task, 10).is_none() => {
                bail!("{why}; there is no recipe for it");
            }
            Err(Absent::Nowhere(why)) => {
                nowhere = Some(why);
                None
            }
            Err(why) => {
                output::note(&format!("{why}; local data are used instead"));
                None
            }
        },
    };
    let (path, identity, effort) = match official {
        Some((path, identity)) => (path, identity, None),
        None => local(task, args).map_err(|error| match nowhere {
            Some(why) if lacks_upstream(&error) => error.context(why),
            _ => error,
        })?,
    };
    print(&path, &identity, effort, args.json)
}

/// Whether third-party data are missing, without which there is no recipe.
fn lacks_upstream(error: &anyhow::Error) -> bool {
    let missing = error.downcast_ref::<CollectError>();
    matches!(missing, Some(CollectError::Upstream { .. }))
}

/// Generates the data and says what they are.
pub(crate) fn generate(args: &GenerateArgs) -> Result<()> {
    let recipe = Recipe {
        task: args.task,
        rows: usize::try_from(args.rows)?,
        seed: args.seed,
        behavior: &args.behavior,
    };
    let (identity, effort) = recipe.make(&args.out)?;
    print(&args.out, &identity, Some(effort), args.json)
}

fn print(
    path: &Path,
    identity: &DatasetIdentity,
    effort: Option<Effort>,
    json: bool,
) -> Result<()> {
    if json {
        return output::json(&Prepared {
            file: path,
            identity,
            effort,
        });
    }
    let mut facts = vec![
        ("data set", format!("{} ({})", identity.id, identity.origin)),
        ("file", path.display().to_string()),
        ("rows", identity.rows.to_string()),
        ("sha256", identity.sha256.clone()),
    ];
    if let Some(effort) = effort {
        facts.push((
            "generated",
            format!(
                "in {:.1} s, {:.0} rows/s",
                effort.seconds, effort.rows_per_second
            ),
        ));
        if let Some(bytes) = effort.peak_bytes {
            facts.push(("peak memory", format!("{} MB", bytes / 1_000_000)));
        }
    }
    output::facts(&facts)
}

/// Why there are no official data.
#[derive(Debug, thiserror::Error)]
enum Absent {
    /// There is no such file here.
    #[error("{0}")]
    Nowhere(String),
    /// The file is not the official one.
    #[error(
        "{}: sha256 is {got}, expected {expected} of the official {id}; move it away and run \
         `spar data fetch {task}`",
        path.display()
    )]
    Unproven {
        path: PathBuf,
        got: String,
        expected: &'static str,
        id: &'static str,
        task: TaskId,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] spar_data::DataError),
}

/// The official file of `task` if it is here and its hash proves it.
fn official(task: TaskId) -> Result<(PathBuf, DatasetIdentity), Absent> {
    let Some(file) = manifest::official(task) else {
        return Err(Absent::Nowhere(format!("D4RL has no data of {task}")));
    };
    let Some(path) = manifest::find(file) else {
        let folders: Vec<_> = manifest::folders()
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        return Err(Absent::Nowhere(format!(
            "no file {}{} in {}: `spar data fetch {task}` downloads it",
            file.name,
            file.bytes
                .map_or_else(String::new, |bytes| format!(" of {bytes} bytes")),
            folders.join(", "),
        )));
    };
    let identity = training_data(&path, task.env(), &Reading::default())?
        .identity
        .clone();
    if file.sha256.as_ref() != Some(&identity.sha256) {
        return Err(Absent::Unproven {
            path,
            got: identity.sha256,
            expected: file.sha256.as_deref().unwrap_or("one nobody knows"),
            id: &file.id,
            task,
        });
    }
    Ok((path, identity))
}

/// The local file of the task, generated unless a right one is there.
fn local(task: TaskId, args: &PrepareArgs) -> Result<(PathBuf, DatasetIdentity, Option<Effort>)> {
    let rows = usize::try_from(args.rows)?;
    let file = format!("{}.hdf5", task.local_id());
    let path = args.local.join(args.rows.to_string()).join(file);
    let recipe = Recipe {
        task,
        rows,
        seed: args.seed,
        behavior: &args.behavior,
    };
    if path.exists()
        && let Some(identity) = recipe.made(&path)?
    {
        return Ok((path, identity, None));
    }
    let (identity, effort) = recipe.make(&path)?;
    Ok((path, identity, Some(effort)))
}

/// What decides a local file.
struct Recipe<'a> {
    task: TaskId,
    rows: usize,
    seed: u64,
    behavior: &'a Path,
}

impl Recipe<'_> {
    /// What a file made by this recipe says of itself.
    fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let metadata = recipe::metadata(self.task, self.rows, self.seed, self.behavior)
            .with_context(|| self.doing())?;
        let texts = metadata.into_iter().filter_map(|(key, value)| match value {
            MetaValue::Text(text) => Some((key, text)),
            _ => None,
        });
        Ok(texts.collect())
    }

    fn doing(&self) -> String {
        format!("cannot generate data of {}", self.task)
    }

    /// What the file at `path` is, if it was made by this very recipe: its data
    /// card says so and has its hash. A local file of another recipe is to be made
    /// again; anything else is left alone.
    fn made(&self, path: &Path) -> Result<Option<DatasetIdentity>> {
        let expected = self.metadata()?;
        if let Some(card) = DataCard::read(path)
            && card.metadata == expected
            && card.sha256 == sha256_file(path)?
        {
            return Ok(Some(DatasetIdentity {
                id: card.id,
                origin: card.origin,
                sha256: card.sha256,
                rows: card.rows,
            }));
        }
        let again = |why: &dyn Display| {
            output::note(&format!("{}: {why}; generating it again", path.display()));
            Ok(None)
        };
        let data = match Dataset::read_training(path, self.task.env()) {
            Ok(data) => data,
            Err(error) => return again(&error),
        };
        let local = data.metadata.get(META_ORIGIN).map(String::as_str) == Some("local");
        if local && data.identity.origin == Origin::User {
            bail!(
                "{}: {}; move it elsewhere, or remove it to have it generated again",
                path.display(),
                data.notes.join("; ")
            );
        }
        if data.identity.origin != Origin::Local {
            bail!(
                "{}: metadata `{META_ORIGIN}` is not `local`, so the file was not generated here; \
                 move it elsewhere",
                path.display()
            );
        }
        for (key, expected) in expected {
            let got = data.metadata.get(&key).map_or("absent", String::as_str);
            if got != expected {
                return again(&format!("`{key}` is `{got}`, expected `{expected}`"));
            }
        }
        again(&format!(
            "its card {} is missing or another file's",
            DataCard::path(path).display()
        ))
    }

    /// Generates the file and its card.
    fn make(&self, path: &Path) -> Result<(DatasetIdentity, Effort)> {
        let &Self {
            task,
            rows,
            seed,
            behavior,
        } = self;
        let started = Instant::now();
        // An old card must not stand beside a new file.
        match fs::remove_file(DataCard::path(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(in_file(error, &DataCard::path(path)).into());
            }
            _ => {}
        }
        let made =
            recipe::generate(task, rows, seed, behavior, path, 0).with_context(|| self.doing())?;
        let command = format!(
            "spar data generate --task {task} --rows {rows} --seed {seed} --behavior {} --out {}",
            behavior.display(),
            path.display()
        );
        DataCard::new(task, &made, path, self.metadata()?, command)?.write(path)?;
        let seconds = started.elapsed().as_secs_f64();
        let effort = Effort {
            seconds,
            rows_per_second: made.identity.rows as f64 / seconds,
            peak_bytes: memory::peak_bytes(),
        };
        Ok((made.identity, effort))
    }
}
