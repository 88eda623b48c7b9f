//! How fast this machine trains, for estimates before a long run.

use std::time::Instant;

use serde::Serialize;
use spar_anchor::{Anchor, AnchorTrainer};
use spar_core::Stream;
use spar_data::{Batch, Normalizer, Sampler, Transitions};
use spar_rectify::SparMetrics;

use crate::{error::TrainError, spec::RunSpec};

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
    let config = &spec.config;
    let (obs_dim, act_dim) = (data.obs_dim(), data.act_dim());
    let normalizer = Normalizer::of(data);
    let mut sampler = Sampler::new(Stream::new(spec.seed, "throughput"));
    let mut flat = Batch::new(config.batch_size, obs_dim, act_dim);
    let mut next = || -> Result<spar_nn::Batch, TrainError> {
        sampler.next(data, &normalizer, &mut flat);
        let f = &flat;
        let (s, n) = (&f.obs, &f.next_obs);
        Ok(spar_nn::Batch::from_slices(
            f.size,
            s,
            &f.actions,
            &f.rewards,
            n,
            &f.not_terminal,
        )?)
    };
    let mut rate = |step: &mut dyn FnMut(&spar_nn::Batch) -> Result<(), TrainError>| {
        let (start, mut updates) = (Instant::now(), 0u32);
        while updates == 0 || start.elapsed().as_secs_f64() < seconds / 3.0 {
            step(&next()?)?;
            updates += 1;
        }
        Ok::<f64, TrainError>(f64::from(updates) / start.elapsed().as_secs_f64())
    };
    let mut init = Stream::new(spec.seed, "throughput/init");
    let anchor = Anchor::new(&config.anchor, obs_dim, act_dim, &mut init)?;
    let mut trainer = AnchorTrainer::new(anchor, &config.anchor);
    let anchor_rate = rate(&mut |batch| Ok(trainer.update(batch).map(drop)?))?;
    let anchor = trainer.freeze();

    let mut metrics = SparMetrics::default();
    let mut part = config.clone();
    part.rectify.warmup = u64::MAX;
    let mut fitting = part.spar(anchor, (obs_dim, act_dim), 0)?;
    let fit_rate = rate(&mut |batch| Ok(fitting.update(batch, &mut metrics)?))?;
    part.rectify.warmup = 0;
    let mut imitating = part.spar(fitting.anchor, (obs_dim, act_dim), 0)?;
    let imitation_rate = rate(&mut |batch| Ok(imitating.update(batch, &mut metrics)?))?;

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
