//! `spar data plot`: the returns of a file's episodes as a figure.

use std::path::PathBuf;

use anyhow::{Result, bail};
use spar_core::{EnvId, write_atomic};
use spar_data::horizon_of;
use spar_report::Histogram;

use super::{ReadingArgs, data_of, tell_notes};
use crate::failure::Usage;

/// What to draw, and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Data file in D4RL's layout, or a Minari data set: its file, folder or id
    file: PathBuf,
    /// File to write, an SVG
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
    let extension = args.out.extension().map(|e| e.to_ascii_lowercase());
    if extension.as_deref() != Some("svg".as_ref()) {
        return Err(Usage(format!(
            "--out {}: figures are SVG; expected a name that ends in .svg",
            args.out.display()
        ))
        .into());
    }
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
    Ok(write_atomic(&args.out, figure.svg()?.as_bytes())?)
}
