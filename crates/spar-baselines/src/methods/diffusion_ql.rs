//! Diffusion-QL (Wang, Hunt and Zhou 2022, "Diffusion Policies as an Expressive Policy
//! Class for Offline Reinforcement Learning"): a diffusion clone whose whole chain also
//! climbs a critic.

use std::num::NonZeroUsize;

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Conservatism, Mlp, normal, relu_shape};
use spar_policy::{
    SampledActor,
    sampled::{Clip, Pick, Sampler, Schedule, Worth},
};

use super::{bc_diffusion::noise_shape, td3bc::mean_abs};
use crate::{
    Critics, Trained,
    actor::Actor,
    bellman, detached,
    diffusion::{ChainNoise, Noise, at_steps, draw_steps, noise_error, sample as sample_chain},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, action_units, chain_draws, even,
        not_negative, positive, unit, updates,
    },
};

/// Hyper-parameters of Diffusion-QL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of the noise network.
    pub hidden: Vec<usize>,
    /// Widths of the hidden layers of the critics.
    pub critic_hidden: Vec<usize>,
    /// Sines and cosines of a step's number.
    pub time_dim: usize,
    /// Steps of the chain.
    pub steps: usize,
    /// Adam's learning rate of the noise network.
    pub lr: f64,
    /// Adam's learning rate of the critics.
    pub critic_lr: f64,
    /// The longest gradient, of the noise network and of both critics together; zero
    /// leaves all as they are.
    pub grad_norm: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the target critics' Polyak averaging.
    pub tau: f64,
    /// Weight of the value against cloning.
    pub eta: f64,
    /// Actions drawn in a target, of which each critic takes its best: ten is the
    /// authors' max-Q backup, one their other.
    pub backup_samples: usize,
    /// Rate of the average of the noise network that targets sample by.
    pub average_rate: f64,
    /// Updates between two of its steps.
    pub average_every: u64,
    /// Updates before its first: till then it is the network of the start.
    pub average_after: u64,
    /// Actions drawn when acting.
    pub candidates: NonZeroUsize,
    /// Temperature of the choice among them.
    pub temperature: f64,
}

impl Default for Config {
    /// The authors' `main.py` and `agents/ql_diffusion.py`.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: vec![256, 256, 256],
            critic_hidden: vec![256, 256, 256],
            time_dim: 16,
            steps: 5,
            lr: 3e-4,
            critic_lr: 3e-4,
            grad_norm: 5.0,
            discount: 0.99,
            tau: 0.005,
            eta: 1.0,
            backup_samples: 1,
            average_rate: 0.005,
            average_every: 5,
            average_after: 1000,
            candidates: const { NonZeroUsize::new(50).expect("not zero") },
            temperature: 1.0,
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden, critic_hidden], widths: [time_dim]);

    fn draws(&self) -> Option<(&'static str, usize)> {
        Some(("backup_samples", self.backup_samples))
    }

    fn check(&self) -> std::result::Result<(), SettingsError> {
        chain_draws(("candidates", self.candidates.get()), ("steps", self.steps))?;
        even("time_dim", self.time_dim)?;
        updates("average_every", self.average_every, 1)?;
        updates("average_after", self.average_after, 0)?;
        positive(&[("lr", self.lr), ("critic_lr", self.critic_lr)])?;
        action_units(&[("temperature", self.temperature)])?;
        not_negative(&[("eta", self.eta), ("grad_norm", self.grad_norm)])?;
        unit(&[
            ("discount", self.discount),
            ("tau", self.tau),
            ("average_rate", self.average_rate),
        ])
    }
}

/// Diffusion-QL while it is being trained.
#[derive(Debug)]
pub struct DiffusionQl {
    config: Config,
    act_dim: usize,
    schedule: Schedule,
    actor: Noise<Trained>,
    average: Noise<Mlp>,
    critics: Critics,
    next: Stream,
    step: Stream,
    noise: Stream,
    proposal: Stream,
    coin: Stream,
}

impl Baseline for DiffusionQl {
    const NAME: MethodName = names::DIFFUSION_QL;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = noise_shape(&config.hidden, config.time_dim);
        let actor = Noise::new(&shape, obs_dim, act_dim, (config.lr, 0.0), seed, "actor")?;
        let critic = relu_shape(obs_dim + act_dim, config.critic_hidden.clone(), 1)?
            .with_activation(shape.activation);
        let stream = |name: &str| Stream::new(seed, &format!("diffusion-ql/{name}"));
        Ok(Self {
            average: actor.copy()?,
            critics: Critics::new(&critic, 2, config.critic_lr, seed)?,
            schedule: Schedule::variance_preserving(config.steps),
            next: stream("next"),
            step: stream("step"),
            noise: stream("noise"),
            proposal: stream("proposal"),
            coin: stream("coin"),
            actor,
            act_dim,
            config,
        })
    }
}

impl DiffusionQl {
    /// `min_i max_k Q'_i(s', a_k)`, `[rows]`, of actions that the average samples.
    fn next_value(&mut self, next_s: &Tensor) -> Result<Tensor> {
        let (rows, k) = (next_s.dim(0)?, self.config.backup_samples);
        let steps = self.schedule.steps();
        let noise = ChainNoise::draw(&mut self.next, steps, rows * k, self.act_dim)?;
        let a = sample_chain(
            &self.average,
            &self.schedule,
            Clip::Start,
            next_s,
            &noise,
            false,
        )?;
        let mut least: Option<Tensor> = None;
        for target in &self.critics.targets {
            let best = detached(target, next_s, &a)?
                .reshape((rows, k))?
                .max(D::Minus1)?;
            least = Some(match least {
                None => best,
                Some(least) => least.minimum(&best)?,
            });
        }
        least.map_or_else(|| candle_core::bail!("no critics"), Ok)
    }
}

impl Learner for DiffusionQl {
    /// In this order: the critics, towards
    /// `r + discount (1 - d) min_i max_k Q'_i(s', a_k)` of samples `a_k` of the average; the
    /// noise network, down `bc_loss - eta mean Q_i(s, a) / mean |Q_j(s, a)|` of a sample
    /// `a`, through the whole chain, a coin choosing which of the critics is `i` and which
    /// `j`; the average, at times; the target critics.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let (s, a, rows) = (&batch.obs, &batch.actions, batch.rows());
        let y = bellman(
            batch,
            self.config.discount,
            &self.next_value(&batch.next_obs)?,
        )?;
        let c = &self.config;
        let clipped = c.grad_norm > 0.0;
        let critic_loss = if clipped {
            self.critics.fit_clipped(s, a, &y, c.grad_norm)?
        } else {
            self.critics.fit(s, a, &y)?
        };

        let steps = self.schedule.steps();
        let index = draw_steps(&mut self.step, steps, rows);
        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let (times, levels) = at_steps(&self.schedule, &index);
        let cloning = noise_error(&self.actor, (s, a), &times, &levels, &noise, &[])?.mean_all()?;
        let noise = ChainNoise::draw(&mut self.proposal, steps, rows, self.act_dim)?;
        let proposed = sample_chain(&self.actor, &self.schedule, Clip::Start, s, &noise, true)?;
        let mut coin = [0.0];
        self.coin.fill_uniform(-1.0, 1.0, &mut coin);
        let (climbed, other) = if coin[0] > 0.0 { (0, 1) } else { (1, 0) };
        let q = self.critics.climb(climbed, s, &proposed)?.mean_all()?;
        let size = mean_abs(&detached(&self.critics.nets[other].net, s, &proposed)?)?;
        let q_loss = (q * (-1.0 / size))?;
        let loss = (&cloning + (&q_loss * c.eta)?)?;
        let grads = loss.backward()?;
        if clipped {
            self.actor.clip(c.grad_norm)?;
        }
        self.actor.step(&grads)?;

        // The authors count from zero.
        let done = step - 1;
        if done >= c.average_after && done.is_multiple_of(c.average_every) {
            self.average.track(&self.actor, c.average_rate)?;
        }
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("bc_loss", scalar(&cloning)?)
            .with("q_loss", scalar(&q_loss)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .noise("actor", &mut self.actor)
            .noise_average("actor.average", &mut self.average)
            .critics(&mut self.critics)
            .stream("next", &mut self.next)
            .stream("step", &mut self.step)
            .stream("noise", &mut self.noise)
            .stream("proposal", &mut self.proposal)
            .stream("coin", &mut self.coin)
    }

    /// One of several samples of the network itself, drawn by the softmax of
    /// `min_i Q'_i`.
    fn actor(&self) -> Result<Actor> {
        Ok(Actor::Sampled(SampledActor {
            sampler: Sampler::Chain {
                net: self.actor.rows(self.schedule.steps())?,
                schedule: self.schedule.clone(),
                clip: Clip::Start,
            },
            candidates: self.config.candidates,
            pick: Pick::Softmax {
                worth: Worth {
                    critics: self.critics.target_rows()?,
                    by: Conservatism::Min,
                },
                temperature: self.config.temperature as f32,
            },
        }))
    }
}
