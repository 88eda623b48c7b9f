//! What an update takes: on the GPU by its own events, and until the host has the next one
//! ready; beside the least a GPU of this speed could take.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use spar_kernels::cuda::{By, Profile};
use spar_nn::device::Kernels;
use spar_rectify::{DeviceSpar, RectifyConfig};

use super::Gpu;
use crate::{
    clock,
    inputs::{CYCLE, Inputs},
    work::{self, Work},
};

/// A part of the update: what it changes, and the least it has to do.
type Part = (
    &'static str,
    fn(&mut RectifyConfig),
    fn(&Inputs) -> Result<Work>,
);

/// The policy rests, fits, or fits and imitates in every update.
const PARTS: [Part; 3] = [
    (
        "critic",
        |c| c.policy_freq = u64::MAX,
        |i| work::critic(&i.config),
    ),
    (
        "critic and fit",
        |c| (c.policy_freq, c.warmup) = (1, u64::MAX),
        |i| Ok(work::critic(&i.config)? + work::fit(&i.config)?),
    ),
    (
        "critic, fit and imitation",
        |c| (c.policy_freq, c.warmup) = (1, 0),
        |i| {
            let c = &i.config;
            Ok(work::critic(c)? + work::fit(c)? + work::imitation(c)?)
        },
    ),
];

/// The time of something, beside the least it could take.
#[derive(Debug, Serialize)]
struct Took {
    what: &'static str,
    /// Median, by the device's events, in microseconds.
    device_us: f64,
    /// Least and largest.
    range_us: [f64; 2],
    /// Repetitions.
    of: usize,
    flops: usize,
    bytes: usize,
    /// The floors: operations at the GPU's rate, bytes at its memory's.
    flops_floor_us: f64,
    bytes_floor_us: f64,
    achieved_flops_per_s: f64,
    achieved_bytes_per_s: f64,
}

/// Measures everything.
pub(super) fn measure(gpu: &Gpu, seconds: f64) -> Result<Value> {
    let inputs = gpu.inputs()?;
    let parts = PARTS
        .into_iter()
        .map(|part| graph(gpu, &inputs, part, seconds / 4.0))
        .collect::<Result<Vec<_>>>()?;
    let kernels = launches(gpu, &inputs)?;
    let launches: f64 = kernels.values().map(|kernel| kernel.launches).sum();
    Ok(json!({
        "device": gpu.describe(),
        "rows": inputs.config.rows,
        "hidden": inputs.config.rectify.hidden,
        "update": whole(gpu, &inputs, seconds)?,
        "parts": parts,
        "launches_per_update": launches,
        "kernels": kernels,
    }))
}

/// Whole updates one after the other as a run does them, by the clock on the wall: what a run
/// sees, with the host's share.
fn whole(gpu: &Gpu, inputs: &Inputs, seconds: f64) -> Result<Value> {
    let kernels = Kernels::new(gpu.device.beside()?);
    let mut spar = DeviceSpar::new(&kernels, &inputs.spar(|_| ())?, inputs.config.rows)?;
    let mut cycle = || -> Result<()> {
        for i in 0..CYCLE {
            spar.update(&inputs.batch(i)?)?;
        }
        kernels.device().synchronize().map_err(Into::into)
    };
    let timing = clock::time(seconds, CYCLE, &mut cycle)?;
    let per = |seconds: f64| 1e6 * seconds / timing.steps;
    let work = work::update(&inputs.config)?;
    Ok(json!({
        "wall_us": per(timing.wall_s),
        "host_cpu_us": per(timing.cpu_s),
        "updates_per_s": timing.steps / timing.wall_s,
        "updates": timing.steps as u64,
        "flops": work.flops,
        "bytes": work.bytes,
    }))
}

/// The graph of one kind of update.
fn graph(gpu: &Gpu, inputs: &Inputs, part: Part, seconds: f64) -> Result<Took> {
    let (what, change, work) = part;
    let kernels = Kernels::new(Profile::new(gpu.device.beside()?, By::Recording));
    let mut spar = DeviceSpar::new(&kernels, &inputs.spar(change)?, inputs.config.rows)?;
    // The policy learns in update 0 whatever its frequency.
    spar.update(&inputs.batch(0)?)?;
    clock::time(seconds, CYCLE, || {
        (0..CYCLE).try_for_each(|i| Ok(spar.update(&inputs.batch(i)?)?))
    })?;
    let mut spans: Vec<_> = kernels.device().take().iter().map(|s| s.seconds).collect();
    // What is measured warms up first.
    spans.drain(..spans.len().min(CYCLE));
    Ok(took(gpu, what, spans, work(inputs)?))
}

fn took(gpu: &Gpu, what: &'static str, mut spans: Vec<f64>, work: Work) -> Took {
    spans.sort_unstable_by(f64::total_cmp);
    let at = |i: usize| spans.get(i).copied().unwrap_or(f64::NAN);
    let median = at(spans.len() / 2);
    let rates = gpu.device.rates();
    let (flops, bytes) = (work.flops as f64, work.bytes as f64);
    Took {
        what,
        device_us: 1e6 * median,
        range_us: [at(0), at(spans.len().saturating_sub(1))].map(|s| 1e6 * s),
        of: spans.len(),
        flops: work.flops,
        bytes: work.bytes,
        flops_floor_us: 1e6 * flops / rates.flops,
        bytes_floor_us: 1e6 * bytes / rates.bytes,
        achieved_flops_per_s: flops / median,
        achieved_bytes_per_s: bytes / median,
    }
}

/// A kernel within the updates of a cycle.
#[derive(Debug, Default, Serialize)]
struct Kernel {
    /// Per update, on average.
    launches: f64,
    /// Of one launch, median; an event on either side adds to it.
    median_us: f64,
    /// Of all its launches, per update.
    us_per_update: f64,
}

/// Every kernel launched by itself over a cycle.
fn launches(gpu: &Gpu, inputs: &Inputs) -> Result<BTreeMap<&'static str, Kernel>> {
    let kernels = Kernels::new(Profile::new(gpu.device.beside()?, By::Launch));
    let mut spar = DeviceSpar::new(&kernels, &inputs.spar(|_| ())?, inputs.config.rows)?;
    let mut cycle = || (0..CYCLE).try_for_each(|i| anyhow::Ok(spar.update(&inputs.batch(i)?)?));
    cycle()?;
    kernels.device().take();
    cycle()?;
    let mut spans: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for span in kernels.device().take() {
        spans.entry(span.what).or_default().push(1e6 * span.seconds);
    }
    let per_update = |sum: f64| sum / CYCLE as f64;
    Ok(spans
        .into_iter()
        .map(|(name, mut all)| {
            all.sort_unstable_by(f64::total_cmp);
            let kernel = Kernel {
                launches: per_update(all.len() as f64),
                median_us: all[all.len() / 2],
                us_per_update: per_update(all.iter().sum()),
            };
            (name, kernel)
        })
        .collect())
}
