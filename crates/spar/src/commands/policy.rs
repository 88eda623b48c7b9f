//! `spar policy`: policy files of other programs.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;
use spar_core::{EnvId, write_atomic};
use spar_policy::import::{self, Imported, Options, Place};

use crate::output;

/// What to do with policy files.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Write another program's network (nn.Sequential, CORL, d3rlpy,
    /// Stable-Baselines3, CleanRL, flax) as a policy file, and say what was taken for
    /// what
    Import(ImportArgs),
}

/// What to import, and what its file does not say.
#[derive(clap::Args)]
pub(crate) struct ImportArgs {
    /// Safetensors file with the policy's `state_dict()`
    file: PathBuf,
    /// Policy file to write; nothing may be there
    #[arg(long, value_name = "POLICY")]
    out: PathBuf,
    /// Environment to act in: its widths are checked, and an output of twice an
    /// action's width is known for mean and spread
    #[arg(long)]
    env: Option<EnvId>,
    /// Activation between layers: relu, tanh, leaky_relu_0.01, gelu_tanh, mish or silu
    /// [default: what the file's metadata say]
    #[arg(long, value_name = "NAME")]
    activation: Option<String>,
    /// What follows the last layer: identity or tanh [default: what the file's metadata
    /// say]
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What `import --json` prints.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(serialize_with = "output::path")]
    file: &'a Path,
    #[serde(serialize_with = "output::path")]
    policy: &'a Path,
    env: Option<&'static str>,
    #[serde(flatten)]
    imported: &'a Imported,
}

/// Does what `command` says.
pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Import(args) = command;
    if args.out.exists() {
        let out = args.out.display();
        bail!("{out}: is there already; choose another --out");
    }
    let place = args.env.map(|env| Place {
        name: env.name().to_owned(),
        obs_dim: env.obs_dim(),
        act_dim: env.act_dim(),
    });
    let options = Options {
        place,
        activation: args.activation.clone(),
        output: args.output.clone(),
    };
    let (policy, imported) = import::load(&args.file, &options)?;
    let bytes = policy.to_bytes().map_err(|e| e.in_file(&args.out))?;
    write_atomic(&args.out, &bytes)?;
    if args.json {
        let env = args.env.map(|env| env.name());
        return output::json(&Written {
            file: &args.file,
            policy: &args.out,
            env,
            imported: &imported,
        });
    }
    let taken = imported.taken.iter().map(|taken| {
        let how = taken.how.clone().unwrap_or_default();
        vec![
            taken.from.clone(),
            taken.to.clone(),
            format!("{:?}", taken.shape),
            how,
        ]
    });
    let left_out = imported.left_out.iter().map(|left| {
        vec![
            left.name.clone(),
            "left out".to_owned(),
            String::new(),
            left.why.clone(),
        ]
    });
    let header = ["tensor", "taken for", "shape", ""];
    output::text(&output::table(&header, taken.chain(left_out)))?;
    output::text(&format!(
        "{}: {} observations to {} actions, {} between layers, {} at the end",
        args.out.display(),
        imported.obs_dim,
        imported.act_dim,
        imported.activation,
        imported.output,
    ))
}
