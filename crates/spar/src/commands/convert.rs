//! `spar data convert`: from D4RL's layout to Minari's, or back, and from other programs'.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use spar_core::{DatasetIdentity, EnvId};
use spar_data::{Conversion, Converted, Layout, minari_id};

use super::ReadingArgs;
use crate::{failure::Usage, output};

/// What to convert, and into what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Data file in D4RL's layout, or a Minari data set: its file, folder or id; or NumPy's
    /// .npz, .csv, Parquet, LeRobot's folder, or HDF5 of robomimic or d3rlpy
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// File (D4RL) or folder (Minari) to write; nothing may be there
    #[arg(value_name = "DST")]
    destination: PathBuf,
    /// Layout to write [default: Minari of a file in D4RL's layout, else D4RL]
    #[arg(long, value_name = "LAYOUT")]
    to: Option<To>,
    /// Environment: its widths are checked, its action bounds declared, and its
    /// horizon cuts a file without timeouts
    #[arg(long)]
    env: Option<EnvId>,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Id of the Minari data set [default: DST below Minari's folder, or its name]
    #[arg(long)]
    id: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum To {
    D4rl,
    Minari,
}

/// What was written.
#[derive(Serialize)]
struct Written {
    #[serde(serialize_with = "output::path")]
    file: PathBuf,
    #[serde(flatten)]
    identity: DatasetIdentity,
    /// Steps whose next observation nobody recorded.
    left_out: usize,
    /// Terminated episodes whose last observation is not recorded.
    repeated: usize,
}

/// Converts, and prints what the data are now.
pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Conversion::open(&args.source, args.env, args.reading.reading())?;
    let to = args.to.unwrap_or(match source.layout() {
        Some(Layout::D4rl) => To::Minari,
        Some(Layout::Minari) | None => To::D4rl,
    });
    let destination = &args.destination;
    let made = match to {
        To::D4rl if args.id.is_some() => {
            let why = "--id names a Minari data set, but a D4RL file is to be written; drop it";
            return Err(Usage(why.to_owned()).into());
        }
        To::D4rl => source.to_d4rl(destination)?,
        To::Minari => {
            let id = match &args.id {
                Some(id) => id.clone(),
                None => minari_id(destination)?,
            };
            source.to_minari(destination, &id)?
        }
    };
    let Converted {
        identity,
        left_out,
        repeated,
        notes,
    } = made;
    for note in notes {
        output::note(&note);
    }
    if left_out > 0 {
        output::note(&format!(
            "left out the last step of {left_out} cut episodes: the file does not record \
             what was observed after it"
        ));
    }
    if repeated > 0 {
        output::note(&format!(
            "{repeated} terminated episodes end with their last observation repeated: the \
             file does not record the one after"
        ));
    }
    if args.json {
        return output::json(&Written {
            file: destination.clone(),
            identity,
            left_out,
            repeated,
        });
    }
    output::facts(&[
        ("data set", format!("{} ({})", identity.id, identity.origin)),
        ("written to", destination.display().to_string()),
        ("rows", identity.rows.to_string()),
        ("sha256", identity.sha256),
    ])
}
