//! `spar export`: a policy in the format of another program.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use spar_core::write_atomic;
use spar_policy::{Policy, onnx};

use crate::output;

/// What to export, and where to.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Policy: a file `spar train` wrote, its run's folder, or a plain network
    /// (safetensors)
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// ONNX model to write: observations in, actions out, normalizer and bounds inside;
    /// nothing may be there
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(serde::Serialize)]
struct Written<'a> {
    policy: &'a Path,
    file: &'a str,
    bytes: usize,
    input: &'a str,
    obs_dim: usize,
    output: &'a str,
    act_dim: usize,
}

/// Writes the model and says what it takes and gives.
pub(crate) fn run(args: &Args) -> Result<()> {
    let file = spar_policy::file_of(&args.policy)?;
    if args.onnx.exists() {
        let out = args.onnx.display();
        bail!("{out}: is there already; choose another --onnx");
    }
    let policy = Policy::load(&file)?;
    let bytes = policy.to_onnx().map_err(|e| e.in_file(&file))?;
    write_atomic(&args.onnx, &bytes)?;
    let written = Written {
        policy: &file,
        file: &args.onnx.to_string_lossy(),
        bytes: bytes.len(),
        input: onnx::INPUT,
        obs_dim: policy.obs_dim(),
        output: onnx::OUTPUT,
        act_dim: policy.act_dim(),
    };
    if args.json {
        return output::json(&written);
    }
    output::text(&format!(
        "{}: {} [rows, {}] to {} [rows, {}], ONNX operator set 17",
        written.file, written.input, written.obs_dim, written.output, written.act_dim
    ))
}
