//! How fast this machine trains, for estimates before a long run.

use std::time::Instant;

use serde::Serialize;
use spar_core::limits::MOST_UPDATES;
use spar_data::Transitions;
use spar_nn::device::{Device, Kernels};

use crate::{
    config::TrainConfig,
    error::TrainError,
    learner::{Backend, Cpu, OnDevice},
    offline::Prepared,
    run::check,
    spec::{DeviceKind, Method, RunSpec},
    trainer::Trainer,
};

/// Updates per second measured on this machine, for estimates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Throughput {
    /// Updates, each phase of the run by its length: SPAR's fitting and self-imitation, or
    /// a baseline's model of the data and its policy.
    pub updates_per_s: f64,
    /// Anchor updates.
    pub anchor_updates_per_s: f64,
    /// Those updates of one run.
    pub total_updates: u64,
    /// Anchor updates of one run; none where there is no anchor.
    pub anchor_updates: u64,
}

/// Times `spec`'s updates for about `seconds` on its data, in memory only.
///
/// # Errors
/// If a tensor operation fails.
pub fn throughput(
    spec: &RunSpec,
    data: &Transitions,
    seconds: f64,
) -> Result<Throughput, TrainError> {
    throughput_with(DeviceKind::Cpu, &|| Box::new(Cpu), spec, data, seconds)
}

/// [`throughput`] of a spec whose device is CUDA, by `kernels`.
///
/// # Errors
/// If the device fails.
pub fn throughput_on<D: Device>(
    kernels: &Kernels<D>,
    spec: &RunSpec,
    data: &Transitions,
    seconds: f64,
) -> Result<Throughput, TrainError> {
    let backend = || -> Box<dyn Backend<'_> + '_> { Box::new(OnDevice(kernels)) };
    throughput_with(DeviceKind::Cuda, &backend, spec, data, seconds)
}

fn throughput_with<'k>(
    kind: DeviceKind,
    backend: &dyn Fn() -> Box<dyn Backend<'k> + 'k>,
    spec: &RunSpec,
    data: &Transitions,
    seconds: f64,
) -> Result<Throughput, TrainError> {
    check(kind, spec)?;
    let prepared = Prepared::of(spec, data)?;
    let data = prepared.as_ref().map_or(data, |p| &p.training);
    let start = |method, config| Trainer::start(backend(), method, config, data, spec.seed);
    let config = &spec.config;
    let mut cloned = config.clone();
    (
        cloned.anchor.file,
        cloned.anchor.sha256,
        cloned.anchor.draws,
    ) = (None, None, None);
    let anchor_updates_per_s = rate(start(Method::Bc, cloned)?, seconds / 3.0, |i| i)?;
    // Of a method's own updates; any anchor will do.
    let own = |change: &dyn Fn(&mut TrainConfig)| {
        let mut config = config.clone();
        config.anchor.updates = 0;
        change(&mut config);
        let mut trainer = start(spec.method, config)?;
        if spec.method.anchored() {
            trainer.next_stage()?;
        }
        Ok::<_, TrainError>(trainer)
    };
    let updates = config.updates;
    let updates_per_s = match spec.method {
        Method::Baseline(_) => {
            let trainer = own(&|_| {})?;
            rate(trainer, seconds / 2.0, |i| spread(i, updates))?
        }
        Method::Bc | Method::Spar => {
            let from = |warmup| {
                let trainer = own(&|config| config.rectify.warmup = warmup)?;
                rate(trainer, seconds / 3.0, |i| i)
            };
            let (fit_rate, imitation_rate) = (from(MOST_UPDATES)?, from(0)?);
            let fit = config.rectify.warmup.min(updates) as f64;
            let imitation = updates as f64 - fit;
            let time = fit / fit_rate + imitation / imitation_rate;
            if time > 0.0 {
                updates as f64 / time
            } else {
                fit_rate
            }
        }
    };
    Ok(Throughput {
        updates_per_s,
        anchor_updates_per_s,
        total_updates: updates,
        anchor_updates: spec.anchor_updates(),
    })
}

/// Updates per second of the stage that `trainer` is in, over about `seconds`; the `i`-th
/// timed update is made as if it were number `step(i)`.
fn rate(
    mut trainer: Trainer<'_>,
    seconds: f64,
    step: impl Fn(u64) -> u64,
) -> Result<f64, TrainError> {
    let (start, mut updates) = (Instant::now(), 0u64);
    while updates == 0 || start.elapsed().as_secs_f64() < seconds {
        updates += 1;
        trainer.update_as(step(updates))?;
    }
    // Waits for all of them.
    trainer.metrics()?;
    Ok(updates as f64 / start.elapsed().as_secs_f64())
}

/// Which of `total` updates to time as number `i`, from one: spread evenly over all of
/// them, however many there turn out to be time for. What a baseline does in an update
/// depends on the update's number.
fn spread(i: u64, total: u64) -> u64 {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    1 + ((i as f64 * golden).fract() * total as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many are timed, each phase is in them by its length.
    #[test]
    fn timed_updates_are_spread_over_the_run() {
        for timed in [10, 50, 1000] {
            let steps: Vec<u64> = (0..timed).map(|i| spread(i, 50_000)).collect();
            assert!(steps.iter().all(|step| (1..=50_000).contains(step)));
            let share = |upto| steps.iter().filter(|step| **step <= upto).count() as f64;
            for upto in [10_000, 20_000, 40_000] {
                let gap = share(upto) / timed as f64 - upto as f64 / 50_000.0;
                assert!(
                    gap.abs() <= 1.5 / timed as f64 + 0.01,
                    "{timed} {upto} {gap}"
                );
            }
            let even = steps.iter().filter(|step| step.is_multiple_of(2)).count() as f64;
            assert!((even / timed as f64 - 0.5).abs() < 0.3);
        }
    }
}
