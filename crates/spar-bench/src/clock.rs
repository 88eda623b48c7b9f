//! CPU time, and staying on one core.
//!
//! Steps are timed by the process's CPU time: other programs on the machine
//! take turns on the core, and wall time would charge their turns to us. It is
//! the whole process's, so that a helper thread could not work for free.

use std::time::Instant;

use anyhow::{Context, Result};
use rustix::{
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};

/// What a timed stretch took.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Timing {
    /// Steps done.
    pub(crate) steps: f64,
    /// Seconds of CPU time of the whole process.
    pub(crate) cpu_s: f64,
    /// Seconds that passed.
    pub(crate) wall_s: f64,
}

/// CPU time of this process so far, in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Repeats `cycle`, which does `steps` steps, until `seconds` have passed.
///
/// # Errors
/// The first of `cycle`.
pub(crate) fn time(
    seconds: f64,
    steps: usize,
    mut cycle: impl FnMut() -> Result<()>,
) -> Result<Timing> {
    // Workspaces, caches and the allocator's pages settle.
    cycle()?;
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let mut done = 0;
    loop {
        cycle()?;
        done += steps;
        let wall_s = wall.elapsed().as_secs_f64();
        if wall_s >= seconds {
            let cpu_s = cpu_seconds() - cpu;
            return Ok(Timing {
                steps: done as f64,
                cpu_s,
                wall_s,
            });
        }
    }
}

/// Keeps this thread, and those it starts, on the `index`-th core it may use.
///
/// # Errors
/// If there are not so many, or the system refuses.
pub(crate) fn stay_on_core(index: usize) -> Result<()> {
    let allowed = sched_getaffinity(None).context("cannot read which cores are allowed")?;
    let core = (0..CpuSet::MAX_CPU)
        .filter(|core| allowed.is_set(*core))
        .nth(index)
        .with_context(|| format!("core {index} of {} allowed ones", allowed.count()))?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).context("cannot stay on one core")
}
