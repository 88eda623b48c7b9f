//! `spar setup`: the native parts that environments need, into the user's data folder.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use spar_setup::{Setup, user_folder};

use crate::output;

/// Where native parts go.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the parts; one that is not the default is for other machines: what is there
    /// is found through SPAR_MUJOCO_LIB and SPAR_MUJOCO_MODELS [default:
    /// $XDG_DATA_HOME/spar/native, else ~/.local/share/spar/native]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Provides what is missing and says where it is.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = args.folder.clone().or_else(user_folder);
    let folder = folder
        .context("neither XDG_DATA_HOME nor HOME is set; say with --folder where parts go")?;
    let setup = Setup::at(folder).with_listener(output::say);
    setup.physics()?;
    if args.json {
        return output::json(&json!({ "folder": setup.folder() }));
    }
    output::text(&format!("native parts are in {}", setup.folder().display()))
}
