//! How long one action takes, by each way from a policy file to an action that Rust has: the
//! crate `spar-policy`, the graph of the same policy under tract, and a round trip to `spar act`.
//!
//! What is asked for is the latency of a control loop: one observation, one action, the next.
//! The fastest of many short rounds is taken: whatever else the machine does only adds to it.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_policy::Policy;
use tract_onnx::prelude::*;

/// Observations that are acted on in turn.
const OBSERVATIONS: usize = 64;
/// Rounds, of which the fastest counts.
const ROUNDS: usize = 200;
/// Seconds of a round at least, but for one action that takes longer.
const ROUND_S: f64 = 2e-3;

/// What is measured besides `spar-policy` itself.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A policy file
    policy: PathBuf,
    /// Its graph
    #[arg(long)]
    onnx: Option<PathBuf>,
    /// Where `spar act --format f32` listens with it
    #[arg(long)]
    socket: Option<PathBuf>,
}

/// Microseconds an action.
#[derive(Deserialize, Serialize)]
pub(crate) struct Latency {
    /// By `spar-policy`.
    pub(crate) rust: f64,
    /// By its graph, where it has one.
    pub(crate) tract: Option<f64>,
    /// By `spar act` at a socket.
    pub(crate) socket: Option<f64>,
}

/// Measures, and prints a line of JSON.
pub(crate) fn act(args: &Args) -> Result<()> {
    let policy = Policy::load(&args.policy)?;
    let (obs_dim, act_dim) = (policy.obs_dim(), policy.act_dim());
    let mut obs = vec![0.0; OBSERVATIONS * obs_dim];
    Stream::new(3, "obs").fill_normal(1.0, &mut obs);
    let obs: Vec<&[f32]> = obs.chunks_exact(obs_dim).collect();
    let mut action = vec![0.0; act_dim];
    let rust = fastest(&obs, |obs| {
        policy.act(obs, &mut action);
        Ok(())
    })?;
    let latency = Latency {
        rust,
        tract: args.onnx.as_deref().map(|f| tract(f, &obs)).transpose()?,
        socket: match &args.socket {
            Some(place) => Some(socket(place, &obs, act_dim)?),
            None => None,
        },
    };
    println!("{}", serde_json::to_string(&latency)?);
    Ok(())
}

/// Microseconds of one call of `act` in the fastest round.
fn fastest(obs: &[&[f32]], mut act: impl FnMut(&[f32]) -> Result<()>) -> Result<f64> {
    let mut round = |calls: usize| -> Result<f64> {
        let begun = Instant::now();
        for obs in obs.iter().cycle().take(calls) {
            act(obs)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    round(OBSERVATIONS)?;
    let calls = (ROUND_S / (round(OBSERVATIONS)? / OBSERVATIONS as f64)).max(1.0) as usize;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        best = best.min(round(calls)? / calls as f64);
    }
    Ok(1e6 * best)
}

fn tract(model: &Path, obs: &[&[f32]]) -> Result<f64> {
    let width = obs.first().map_or(0, |obs| obs.len());
    let fact = InferenceFact::dt_shape(f32::datum_type(), [1, width]);
    let plan = tract_onnx::onnx()
        .model_for_path(model)
        .and_then(|model| model.with_input_fact(0, fact))
        .and_then(|model| model.into_optimized())
        .and_then(|model| model.into_runnable());
    let plan = plan.map_err(|e| anyhow::anyhow!("{}: {e:#}", model.display()))?;
    fastest(obs, |obs| {
        let run = Tensor::from_shape(&[1, width], obs).and_then(|x| plan.run(tvec!(x.into())));
        let action = run.map_err(|e| anyhow::anyhow!("{e:#}"))?;
        ensure!(action.len() == 1, "a graph of one output");
        Ok(())
    })
}

fn socket(place: &Path, obs: &[&[f32]], act_dim: usize) -> Result<f64> {
    let stream = UnixStream::connect(place);
    let mut stream = stream.with_context(|| format!("cannot connect to {}", place.display()))?;
    let (mut sent, mut got) = (Vec::new(), vec![0; 4 * act_dim]);
    fastest(obs, |obs| {
        sent.clear();
        sent.extend(obs.iter().flat_map(|x| x.to_le_bytes()));
        stream.write_all(&sent)?;
        Ok(stream.read_exact(&mut got)?)
    })
}
