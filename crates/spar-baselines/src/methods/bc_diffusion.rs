//! The pure diffusion clone (Wang, Hunt and Zhou 2022, the model of behaviour of
//! "Diffusion Policies as an Expressive Policy Class for Offline Reinforcement Learning"):
//! Diffusion-QL without a critic.

use std::num::NonZeroUsize;

use candle_core::Result;
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{HiddenActivation, NormEps, normal};
use spar_policy::{
    SampledActor,
    sampled::{Clip, Pick, Sampler, Schedule},
};

use crate::{
    Trained,
    actor::Actor,
    diffusion::{Body, CodeKind, Noise, NoiseShape, at_steps, draw_steps, noise_error},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{DataConfig, Settings, SettingsError, accessors, chain_steps, even, positive},
};

/// Hyper-parameters of the diffusion clone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of the noise network.
    pub hidden: Vec<usize>,
    /// Sines and cosines of a step's number.
    pub time_dim: usize,
    /// Steps of the chain.
    pub steps: usize,
    /// Adam's learning rate.
    pub lr: f64,
}

impl Default for Config {
    /// The authors' `main.py` and `agents/model.py`.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: vec![256, 256, 256],
            time_dim: 16,
            steps: 5,
            lr: 3e-4,
        }
    }
}

impl Settings for Config {
    accessors!(layers: [hidden], widths: [time_dim]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        chain_steps("steps", self.steps)?;
        even("time_dim", self.time_dim)?;
        positive(&[("lr", self.lr)])
    }
}

/// Diffusion-QL's noise network: a time code of sines and cosines through a hidden layer
/// twice as wide, and plain layers, all with Mish.
pub(crate) fn noise_shape(hidden: &[usize], time_dim: usize) -> NoiseShape {
    NoiseShape {
        code: CodeKind::Sinusoid(time_dim),
        time_hidden: 2 * time_dim,
        code_dim: time_dim,
        body: Body::Plain(hidden.to_vec()),
        activation: HiddenActivation::Mish,
        eps: NormEps::Torch,
    }
}

/// The diffusion clone while it is being trained.
#[derive(Debug)]
pub struct BcDiffusion {
    act_dim: usize,
    schedule: Schedule,
    actor: Noise<Trained>,
    step: Stream,
    noise: Stream,
}

impl Baseline for BcDiffusion {
    const NAME: MethodName = names::BC_DIFFUSION;
    const REWARDED: bool = false;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = noise_shape(&config.hidden, config.time_dim);
        let rates = (config.lr, 0.0);
        Ok(Self {
            actor: Noise::new(&shape, obs_dim, act_dim, rates, seed, "actor")?,
            schedule: Schedule::variance_preserving(config.steps),
            step: Stream::new(seed, "bc-diffusion/step"),
            noise: Stream::new(seed, "bc-diffusion/noise"),
            act_dim,
        })
    }
}

impl Learner for BcDiffusion {
    /// `mean (net(sqrt(abar_t) a + sqrt(1 - abar_t) noise, t, s) - noise)^2`, `t` drawn for
    /// each row.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let rows = batch.rows();
        let index = draw_steps(&mut self.step, self.schedule.steps(), rows);
        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let (times, levels) = at_steps(&self.schedule, &index);
        let taken = (&batch.obs, &batch.actions);
        let loss = noise_error(&self.actor, taken, &times, &levels, &noise, &[])?.mean_all()?;
        self.actor.step(&loss.backward()?)?;
        Ok(Metrics::default().with("bc_loss", scalar(&loss)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .noise("actor", &mut self.actor)
            .stream("step", &mut self.step)
            .stream("noise", &mut self.noise)
    }

    /// One sample.
    fn actor(&self) -> Result<Actor> {
        Ok(Actor::Sampled(SampledActor {
            sampler: Sampler::Chain {
                net: self.actor.rows(self.schedule.steps())?,
                schedule: self.schedule.clone(),
                clip: Clip::Start,
            },
            candidates: NonZeroUsize::MIN,
            pick: Pick::First,
        }))
    }
}
