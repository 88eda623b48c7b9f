//! The whole machine: as many of our runs side by side as it has cores, against
//! JAX in its best arrangement. Here time is what passes, since a run that
//! waits for memory or for a core does no work.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Bench, core_count, peers::JAX_UPDATES, report::median, worker::Worker};
use crate::clock::Timing;

/// Turns of each arrangement.
const ROUNDS: usize = 3;

/// What the whole machine does in one arrangement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AllCores {
    /// What is computed.
    pub(crate) workload: String,
    /// By whom and how.
    pub(crate) arrangement: String,
    /// Steps per second of all processes together, median over the rounds.
    pub(crate) steps_per_s: f64,
    /// How many times faster ours is, median over the rounds.
    pub(crate) ours_is: f64,
}

/// Measures every arrangement, in turn; nothing on a single core.
///
/// # Errors
/// If a worker fails.
pub(crate) fn measure(bench: &Bench<'_>, inputs: &Path, with_jax: bool) -> Result<Vec<AllCores>> {
    let n = core_count();
    if n == 1 {
        return Ok(Vec::new());
    }
    let mut sides = vec![Side {
        arrangement: format!("ours, {n} processes"),
        contender: "ours",
        workers: (0..n).map(|core| bench.ours(core)).collect::<Result<_>>()?,
    }];
    if with_jax {
        let jax = |core| bench.peer(&JAX_UPDATES, inputs, core);
        sides.push(Side {
            arrangement: format!("jax-scan, {n} processes"),
            contender: "jax-scan",
            workers: (0..n).map(|core| jax(Some(core))).collect::<Result<_>>()?,
        });
        sides.push(Side {
            arrangement: format!("jax-scan, {n} threads"),
            contender: "jax-scan",
            workers: vec![jax(None)?],
        });
    }
    let mut measured = Vec::new();
    for workload in ["mlp", "spar"] {
        let mut rates = vec![Vec::new(); sides.len()];
        for side in &mut sides {
            // Compiles, where that is needed.
            side.steps_per_s(workload, bench.options.seconds.min(0.1))?;
        }
        for _ in 0..ROUNDS {
            for (side, rates) in sides.iter_mut().zip(&mut rates) {
                rates.push(side.steps_per_s(workload, bench.options.seconds)?);
            }
        }
        for (side, theirs) in sides.iter().zip(&rates) {
            let ratios = rates[0]
                .iter()
                .zip(theirs)
                .map(|(ours, theirs)| ours / theirs);
            measured.push(AllCores {
                workload: workload.to_owned(),
                arrangement: side.arrangement.clone(),
                steps_per_s: median(theirs.iter().copied()),
                ours_is: median(ratios),
            });
        }
    }
    Ok(measured)
}

/// Workers that run at the same time.
struct Side {
    arrangement: String,
    contender: &'static str,
    workers: Vec<Worker>,
}

impl Side {
    /// Steps per second of all together.
    fn steps_per_s(&mut self, workload: &str, seconds: f64) -> Result<f64> {
        let name = format!("{workload}/{}", self.contender);
        together(&mut self.workers, &name, seconds)
    }
}

/// Steps of `name` per second of all `workers` together, at the same time.
///
/// # Errors
/// If one fails.
pub(crate) fn together(workers: &mut [Worker], name: &str, seconds: f64) -> Result<f64> {
    for worker in &mut *workers {
        worker.ask(&format!("time {name} {seconds}"))?;
    }
    let mut total = 0.0;
    for worker in workers {
        let timing: Timing = worker.answer()?;
        total += timing.steps / timing.wall_s;
    }
    Ok(total)
}
