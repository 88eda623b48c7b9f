//! `spar data prepare` and `generate`: official data where they are present
//! and proven, else local ones made by D4RL's recipe.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;
use spar_collect::{card::Card, recipe};
use spar_core::{DatasetIdentity, Origin, TaskId, write_atomic};
use spar_data::{Dataset, Info, META_ORIGIN, MetaValue, info, manifest};

use super::training_data;
use crate::output;

/// Which data to find.
#[derive(clap::Args)]
pub(crate) struct PrepareArgs {
    /// Task
    #[arg(long)]
    task: TaskId,
    /// Where they may come from
    #[arg(long, default_value = "auto")]
    data: Choice,
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
    path: &'a Path,
    #[serde(flatten)]
    identity: &'a DatasetIdentity,
}

/// What is known of a generated file: the JSON beside it.
#[derive(Serialize)]
struct DataCard {
    task: TaskId,
    scale_rows: usize,
    seed: u64,
    recipe: u32,
    behavior: Card,
    data: Info,
}

/// Finds or generates the data and says where they are.
pub(crate) fn prepare(args: &PrepareArgs) -> Result<()> {
    let official = match args.data {
        Choice::Local => None,
        Choice::Official => Some(official(args.task)?),
        Choice::Auto => match official(args.task) {
            Ok(found) => Some(found),
            Err(Absent::Nowhere(_)) => None,
            Err(why) => {
                eprintln!("note: {why}; local data are used instead");
                None
            }
        },
    };
    let (path, identity) = match official {
        Some(found) => found,
        None => local(args)?,
    };
    tell(&path, &identity, args.json)
}

/// Generates the data and says what they are.
pub(crate) fn generate(args: &GenerateArgs) -> Result<()> {
    let recipe = Recipe {
        task: args.task,
        rows: usize::try_from(args.rows)?,
        seed: args.seed,
        behavior: &args.behavior,
    };
    let identity = recipe.make(&args.out)?;
    tell(&args.out, &identity, args.json)
}

fn tell(path: &Path, identity: &DatasetIdentity, json: bool) -> Result<()> {
    if json {
        return output::json(&Prepared { path, identity });
    }
    output::facts(&[
        ("data set", format!("{} ({})", identity.id, identity.origin)),
        ("file", path.display().to_string()),
        ("rows", identity.rows.to_string()),
        ("sha256", identity.sha256.clone()),
    ])
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
         `cargo xtask data fetch {task}`",
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
        return Err(Absent::Nowhere(format!(
            "D4RL has no data of {task}; use --data local"
        )));
    };
    let Some(path) = manifest::find(file) else {
        let folders: Vec<_> = manifest::folders()
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        return Err(Absent::Nowhere(format!(
            "no file {}{} in {}; `cargo xtask data fetch {task}` downloads it, or use --data local",
            file.name,
            file.bytes
                .map_or_else(String::new, |bytes| format!(" of {bytes} bytes")),
            folders.join(", "),
        )));
    };
    let identity = training_data(&path, task.env)?.identity.clone();
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
fn local(args: &PrepareArgs) -> Result<(PathBuf, DatasetIdentity)> {
    let rows = usize::try_from(args.rows)?;
    let file = format!("{}.hdf5", args.task.local_id());
    let path = args.local.join(args.rows.to_string()).join(file);
    let recipe = Recipe {
        task: args.task,
        rows,
        seed: args.seed,
        behavior: &args.behavior,
    };
    if path.exists()
        && let Some(identity) = recipe.made(&path)?
    {
        return Ok((path, identity));
    }
    let identity = recipe.make(&path)?;
    Ok((path, identity))
}

/// What decides a local file.
struct Recipe<'a> {
    task: TaskId,
    rows: usize,
    seed: u64,
    behavior: &'a Path,
}

impl Recipe<'_> {
    /// What the file at `path` is, if it was made by this very recipe. A local
    /// file of another one is to be made again; anything else is left alone.
    fn made(&self, path: &Path) -> Result<Option<DatasetIdentity>> {
        let again = |why: &dyn Display| {
            eprintln!("note: {}: {why}; generating it again", path.display());
            Ok(None)
        };
        let data = match Dataset::read_training(path, self.task.env) {
            Ok(data) => data,
            Err(error) => return again(&error),
        };
        if data.identity.origin != Origin::Local {
            bail!(
                "{}: metadata `{META_ORIGIN}` is not `local`, so the file was not generated here; \
                 move it elsewhere",
                path.display()
            );
        }
        for (key, value) in recipe::metadata(self.task, self.rows, self.seed, self.behavior)? {
            let MetaValue::Text(expected) = value else {
                continue;
            };
            let got = data.metadata.get(&key).map_or("absent", String::as_str);
            if got != expected {
                return again(&format!("`{key}` is `{got}`, expected `{expected}`"));
            }
        }
        let identity = data.identity.clone();
        if !card_path(path).exists() {
            self.write_card(path, data)?;
        }
        Ok(Some(identity))
    }

    /// Generates the file and its card.
    fn make(&self, path: &Path) -> Result<DatasetIdentity> {
        let identity = recipe::generate(self.task, self.rows, self.seed, self.behavior, path)
            .with_context(|| format!("cannot generate data of {}", self.task))?;
        let data = Dataset::read_training(path, self.task.env)?;
        self.write_card(path, data)?;
        Ok(identity)
    }

    fn write_card(&self, path: &Path, data: Dataset) -> Result<()> {
        let card = DataCard {
            task: self.task,
            scale_rows: self.rows,
            seed: self.seed,
            recipe: recipe::RECIPE_VERSION,
            behavior: Card::read(self.behavior, self.task.env)?,
            data: info(&Arc::new(data), Some(self.task.env))?,
        };
        let text = serde_json::to_string_pretty(&card)?;
        Ok(write_atomic(&card_path(path), text.as_bytes())?)
    }
}

/// Where the card of a data file is.
fn card_path(path: &Path) -> PathBuf {
    path.with_extension("json")
}
