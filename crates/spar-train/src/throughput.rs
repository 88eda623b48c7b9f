//! How fast this machine trains, for estimates before a long run.

use std::time::Instant;

use serde::Serialize;
use spar_anchor::{Anchor, AnchorTrainer};
use spar_core::Stream;
use spar_data::{Batch, Normalizer, Sampler, Transitions};
use spar_nn::device::{Device, Kernels};

use crate::{
    error::TrainError,
    learner::{AnchorLearner, Backend, Cpu, OnDevice, SparLearner},
    run::check,
    spec::RunSpec,
};

/// Updates per second measured on this machine, for estimates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Throughput {
    /// SPAR updates, averaged over fitting and self-imitation in the run's
    /// proportion.
    pub updates_per_s: f64,
    /// Anchor updates.
    pub anchor_updates_per_s: f64,
    /// SPAR updates of one run.
    pub total_updates: u64,
    /// Anchor updates of one run.
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
