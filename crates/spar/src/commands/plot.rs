//! `spar data plot`: the returns of a file's episodes as a figure.

use std::path::PathBuf;

use anyhow::{Result, bail};
use spar_core::EnvId;
use spar_data::horizon_of;
use spar_report::Histogram;

use super::{ReadingArgs, data_of, figure::Figure, tell_notes};

/// What to draw, and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Data file in D4RL's layout, or a Minari data set: its file, folder or id
    file: PathBuf,
    /// File to write: .svg or .png
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Environment, for its horizon
    #[arg(long)]
    env: Option<EnvId>,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// Draws a histogram of the complete episodes' returns.
pub(crate) fn run(args: &Args) -> Result<()> {
    let format = Figure::of(&args.out)?;
    let data = data_of(&args.file, args.env, &args.reading)?;
    tell_notes(&data);
    let returns = data.returns(horizon_of(args.env));
    if returns.is_empty() {
        bail!(
            "{}: no episode is complete, so there are no returns to draw; give a file whose \
             episodes end",
            args.file.display()
        );
    }
    let identity = &data.identity;
    let figure = Histogram {
        title: &format!("{} ({})", identity.id, identity.origin),
        note: &format!(
            "{} complete episodes, {} rows",
            returns.len(),
            identity.rows
        ),
        axis: "undiscounted episode return",
        values: &returns,
    };
    format.write(&args.out, &figure.svg()?)
}
