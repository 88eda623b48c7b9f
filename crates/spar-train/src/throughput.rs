//! How fast this machine trains, for estimates before a long run.

use std::{sync::Arc, time::Instant};

use serde::Serialize;
use spar_anchor::{Anchor, AnchorTrainer};
use spar_baselines::{Entry, Replay, Sample, Start};
use spar_core::Stream;
use spar_data::{Batch, Normalizer, Sampler, Transitions};
use spar_nn::device::{Device, Kernels};

use crate::{
    error::TrainError,
    learner::{AnchorLearner, Backend, Cpu, OnDevice, SparLearner, batch_slices},
    offline::Prepared,
    run::check,
    spec::{Method, RunSpec},
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
    throughput_with(&Cpu, spec, data, seconds)
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
    throughput_with(&OnDevice(kernels), spec, data, seconds)
}

fn throughput_with<B: Backend>(
    backend: &B,
    spec: &RunSpec,
    data: &Transitions,
    seconds: f64,
) -> Result<Throughput, TrainError> {
    check(backend, spec)?;
    let prepared = Prepared::of(spec, data)?;
    let data = prepared.as_ref().map_or(data, |p| &p.training);
    if let Method::Baseline(entry) = spec.method {
        return throughput_of(entry, spec, data, seconds);
    }
    let config = &spec.config;
    let dims = (data.obs_dim(), data.act_dim());
    let normalizer = Normalizer::of(data);
    let mut sampler = Sampler::new(Stream::new(spec.seed, "throughput"));
    let mut batch = Batch::new(config.batch_size, dims.0, dims.1);
    // `update` is given nothing when it is to wait for all updates before.
    let mut rate = |update: &mut dyn FnMut(Option<&Batch>) -> Result<(), TrainError>| {
        let (start, mut updates) = (Instant::now(), 0u32);
        while updates == 0 || start.elapsed().as_secs_f64() < seconds / 3.0 {
            sampler.next(data, &normalizer, &mut batch);
            update(Some(&batch))?;
            updates += 1;
        }
        update(None)?;
        Ok::<f64, TrainError>(f64::from(updates) / start.elapsed().as_secs_f64())
    };
    // Any anchor will do.
    let anchor = || {
        let mut init = Stream::new(spec.seed, "throughput/init");
        Anchor::new(&config.anchor, dims.0, dims.1, &mut init)
    };
    let trainer = AnchorTrainer::new(anchor()?, &config.anchor);
    let mut trainer = backend.anchor(trainer, &config.anchor, config.batch_size)?;
    let anchor_rate = rate(&mut |batch| match batch {
        Some(batch) => trainer.update(batch),
        None => trainer.loss().map(drop),
    })?;

    let mut spar_rate = |warmup| {
        let mut part = config.clone();
        part.rectify.warmup = warmup;
        let start = part.spar(anchor()?, dims, 0)?;
        let mut spar = backend.spar(start, config.batch_size)?;
        rate(&mut |batch| match batch {
            Some(batch) => spar.update(batch),
            None => spar.metrics().map(drop),
        })
    };
    let (fit_rate, imitation_rate) = (spar_rate(u64::MAX)?, spar_rate(0)?);

    let fit = config.rectify.warmup.min(config.updates) as f64;
    let imitation = config.updates as f64 - fit;
    let time = fit / fit_rate + imitation / imitation_rate;
    Ok(Throughput {
        updates_per_s: if time > 0.0 {
            config.updates as f64 / time
        } else {
            fit_rate
        },
        anchor_updates_per_s: anchor_rate,
        total_updates: config.updates,
        anchor_updates: config.anchor.updates,
    })
}

/// Which of `total` updates to time as number `i`, from one: spread evenly over all of
/// them, however many there turn out to be time for. What a baseline does in an update
/// depends on the update's number.
fn spread(i: u64, total: u64) -> u64 {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    1 + ((i as f64 * golden).fract() * total as f64) as u64
}

/// [`Throughput`] of a baseline: of updates all over its run, and of its anchor's where
/// it has one.
fn throughput_of(
    entry: &Entry,
    spec: &RunSpec,
    data: &Transitions,
    seconds: f64,
) -> Result<Throughput, TrainError> {
    let config = &spec.config;
    let settings = spec.settings()?;
    let feed = entry.feed(settings).map_err(crate::config::setting)?;
    let replay = Arc::new(Replay::new(data, &feed, spec.horizon())?);
    let (obs_dim, act_dim) = (data.obs_dim(), data.act_dim());
    let mut stream = Stream::new(spec.seed, "throughput");
    let mut rate = |rows, update: &mut dyn FnMut(u64, &Sample) -> Result<(), TrainError>| {
        let mut batch = Batch::new(rows, obs_dim, act_dim);
        let (start, mut updates) = (Instant::now(), 0u64);
        while updates == 0 || start.elapsed().as_secs_f64() < seconds / 2.0 {
            let mut index = Vec::new();
            replay.draw(&mut stream, &mut batch, &mut index);
            let batch = spar_nn::Batch::of(&batch_slices(&batch))?;
            updates += 1;
            update(updates, &Sample { batch, index })?;
        }
        Ok::<f64, TrainError>(updates as f64 / start.elapsed().as_secs_f64())
    };
    let mut init = Stream::new(spec.seed, "throughput/init");
    let anchor = Anchor::new(&config.anchor, obs_dim, act_dim, &mut init)?;
    let mut trainer = AnchorTrainer::new(anchor, &config.anchor);
    let anchor_rate = rate(config.batch_size, &mut |_, sample| {
        Ok(trainer.update(&sample.batch).map(drop)?)
    })?;
    let start = Start {
        obs_dim,
        act_dim,
        seed: spec.seed,
        replay: Arc::clone(&replay),
        anchor: entry.anchored.then(|| trainer.freeze()),
    };
    let mut learner = entry.start(settings, start)?;
    let updates_per_s = rate(feed.data.batch_size, &mut |step, sample| {
        let step = spread(step, config.updates);
        Ok(learner.update(step, sample).map(drop)?)
    })?;
    Ok(Throughput {
        updates_per_s,
        anchor_updates_per_s: anchor_rate,
        total_updates: config.updates,
        anchor_updates: if entry.anchored {
            config.anchor.updates
        } else {
            0
        },
    })
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
