//! One file for each command: its options, and how it calls the library.

pub(crate) mod act;
pub(crate) mod behavior;
mod convert;
pub(crate) mod data;
mod dataset;
pub(crate) mod demo;
pub(crate) mod diagnose;
pub(crate) mod eval;
pub(crate) mod export;
mod fetch;
mod figure;
pub(crate) mod finetune;
mod head;
pub(crate) mod list;
pub(crate) mod log;
mod numbers;
mod offline;
pub(crate) mod ope;
mod plot;
pub(crate) mod policy;
mod prepare;
mod progress_line;
pub(crate) mod protocol;
pub(crate) mod render;
pub(crate) mod report;
mod setting;
pub(crate) mod setup;
pub(crate) mod shell;
mod stats;
pub(crate) mod suite;
pub(crate) mod theory;
pub(crate) mod train;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use numbers::counts;
use spar_core::{EnvId, Suite};
use spar_data::{DataError, Dataset, Next, Reading};
use spar_kernels::cuda::{CudaDevice, CudaError, Kernels};

use crate::output;

/// The first GPU, with the kernels compiled for it.
fn cuda() -> anyhow::Result<Kernels<CudaDevice>> {
    let unusable = |error: CudaError| anyhow::anyhow!("{error}; use --device cpu");
    CudaDevice::new(0).map(Kernels::new).map_err(unusable)
}

/// The file of the suite that `--suite` names: of the folder `suites` here by its name, or by
/// its path.
pub(crate) fn suite_file(named: &Path) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("cannot find the working directory")?;
    let file = spar_suite::suite_file(&here, named)?;
    // As it was named, where it lies below: in messages and in what is run by it.
    let below = file.strip_prefix(&here).map(Path::to_owned);
    Ok(below.unwrap_or(file))
}

/// The suite that `--suite` names.
fn suite_of(named: &Path) -> anyhow::Result<Suite> {
    Ok(Suite::load(&suite_file(named)?)?)
}

/// Where the options of [`ReadingArgs`] stand in a command's help.
const HEADING: &str = "How the data are read";

/// How a data file is read where it leaves that open.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReadingArgs {
    /// What follows a row that records its successor: that one for every row, or the next
    /// row, whatever is recorded [default: the next row, and the recorded successor where
    /// they differ and no timeout is flagged: a row with one is no transition, as in D4RL's
    /// loader, unless the file says otherwise]
    #[arg(long, value_name = "WHICH", help_heading = HEADING)]
    next: Option<NextArg>,
    /// Arrays whose columns are joined to observations, of the group `observations` or of
    /// the file, as in `position,velocity`, or columns of a table
    #[arg(long, value_name = "KEYS", value_delimiter = ',', help_heading = HEADING)]
    observations: Vec<String>,
    /// Column of a table (CSV, Parquet, LeRobot) that holds the rewards [default: `reward`,
    /// `rewards` or `next.reward`]
    #[arg(long, value_name = "COLUMN", help_heading = HEADING)]
    reward: Option<String>,
    /// Read data that name another environment as those of --env all the same
    #[arg(long, help_heading = HEADING)]
    other_env: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum NextArg {
    Recorded,
    Following,
}

impl ReadingArgs {
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            next: match self.next {
                None => Next::Checked,
                Some(NextArg::Recorded) => Next::Recorded,
                Some(NextArg::Following) => Next::Following,
            },
            observations: self.observations.clone(),
            reward: self.reward.clone(),
            other_env: self.other_env,
            horizon: false,
        }
    }
}

/// Reads every part of a file, as `env`'s if one is named.
fn data_of(path: &Path, env: Option<EnvId>, how: &ReadingArgs) -> Result<Dataset, DataError> {
    Dataset::read_as(path, env, &how.reading())
}

/// Says on stderr what a file's reader noticed.
fn tell_notes(data: &Dataset) {
    for note in &data.notes {
        output::note(note);
    }
}

/// Reads what training needs of a data file, with notes on stderr.
fn training_data(
    path: &Path,
    env: impl Into<Option<EnvId>>,
    reading: &Reading,
) -> Result<Arc<Dataset>, DataError> {
    let data = Dataset::read_training_as(path, env.into(), reading)?;
    tell_notes(&data);
    Ok(Arc::new(data))
}
