//! IDQL (Hansen-Estruch et al. 2023, "IDQL: Implicit Q-Learning as an Actor-Critic Method
//! with Diffusion Policies"): a diffusion clone beside IQL's values, which choose among its
//! samples when it acts.

use std::num::NonZeroUsize;

use candle_core::Result;
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_critic::expectile_loss;
use spar_nn::{Conservatism, HiddenActivation, Mlp, NormEps, Trace, normal, relu_shape};
use spar_policy::{
    SampledActor,
    sampled::{Clip, Pick, Sampler, Schedule, Worth},
};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman, cosine,
    diffusion::{Body, CodeKind, Noise, NoiseShape, at_steps, draw_steps, noise_error},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{
        DataConfig, Rewards, Settings, SettingsError, accessors, block_count, chain_draws, even,
        not_negative, positive, rate, unit, updates,
    },
};

/// The largest action of the data (`d4rl_datasets.py`).
const MOST_ACTION: f32 = 1.0 - 1e-5;

/// Hyper-parameters of IDQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Width of what the noise network's blocks hand on.
    pub width: usize,
    /// How many blocks it has.
    pub blocks: usize,
    /// Probability that a number is left out before a block.
    pub dropout: f64,
    /// Cosines and sines of a step's number at trained frequencies.
    pub time_dim: usize,
    /// Widths of the two layers that read them.
    pub time_hidden: usize,
    /// Between the layers of the noise network.
    pub activation: Activation,
    /// Steps of the chain.
    pub steps: usize,
    /// Adam's learning rate of the noise network, at the start.
    pub lr: f64,
    /// Updates in which that falls to zero by a cosine; it stays there.
    pub decay_updates: u64,
    /// Its decoupled weight decay.
    pub weight_decay: f64,
    /// Rate of its average, which acts.
    pub average_rate: f64,
    /// Widths of the hidden layers of value and critics.
    pub hidden: Vec<usize>,
    /// Whether the value's state is normalized.
    pub value_norm: bool,
    /// Adam's learning rate of value and critics.
    pub critic_lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Expectile of the value.
    pub expectile: f64,
    /// Actions drawn when acting.
    pub candidates: NonZeroUsize,
}

/// Activations its two versions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Of the present code.
    Silu,
    /// Of the paper's.
    Mish,
}

impl Default for Config {
    /// The authors' present code, `agents/ddpm_iql_simple`. The paper's had 64 `time_dim`,
    /// 128 `time_hidden`, `mish`, no `value_norm` and no `weight_decay`.
    fn default() -> Self {
        Self {
            data: DataConfig {
                batch_size: 512,
                rewards: Rewards::Range(1000.0),
                ..DataConfig::raw()
            },
            width: 256,
            blocks: 3,
            dropout: 0.1,
            time_dim: 128,
            time_hidden: 256,
            activation: Activation::Silu,
            steps: 5,
            lr: 3e-4,
            decay_updates: 3_000_000,
            weight_decay: 1e-4,
            average_rate: 0.001,
            hidden: vec![256, 256],
            value_norm: true,
            critic_lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            expectile: 0.7,
            candidates: const { NonZeroUsize::new(64).expect("not zero") },
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden], widths: [width, time_dim, time_hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        chain_draws(("candidates", self.candidates.get()), ("steps", self.steps))?;
        block_count("blocks", self.blocks)?;
        even("time_dim", self.time_dim)?;
        updates("decay_updates", self.decay_updates, 1)?;
        rate("dropout", self.dropout)?;
        positive(&[("lr", self.lr), ("critic_lr", self.critic_lr)])?;
        not_negative(&[("weight_decay", self.weight_decay)])?;
        unit(&[
            ("discount", self.discount),
            ("tau", self.tau),
            ("expectile", self.expectile),
            ("average_rate", self.average_rate),
        ])
    }
}

/// IDQL while it is being trained.
#[derive(Debug)]
pub struct Idql {
    config: Config,
    act_dim: usize,
    schedule: Schedule,
    actor: Noise<Trained>,
    average: Noise<Mlp>,
    value: Trained,
    critics: Critics,
    step: Stream,
    noise: Stream,
    dropout: Stream,
}

impl Baseline for Idql {
    const NAME: MethodName = names::IDQL;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = NoiseShape {
            code: CodeKind::Learned(config.time_dim / 2),
            time_hidden: config.time_hidden,
            code_dim: config.time_hidden,
            body: Body::Residual {
                width: config.width,
                blocks: config.blocks,
            },
            activation: match config.activation {
                Activation::Silu => HiddenActivation::Silu,
                Activation::Mish => HiddenActivation::Mish,
            },
            eps: NormEps::Flax,
        };
        let rates = (config.lr, config.weight_decay);
        let actor = Noise::new(&shape, obs_dim, act_dim, rates, seed, "actor")?;
        let shape = |input| relu_shape(input, config.hidden.clone(), 1);
        let value = shape(obs_dim)?
            .with_input_norm(config.value_norm)
            .with_norm_eps(NormEps::Flax);
        let stream = |name: &str| Stream::new(seed, &format!("idql/{name}"));
        Ok(Self {
            average: actor.copy()?,
            value: Trained::new(value, config.critic_lr, seed, "value")?,
            critics: Critics::new(&shape(obs_dim + act_dim)?, 2, config.critic_lr, seed)?,
            schedule: Schedule::variance_preserving(config.steps),
            step: stream("step"),
            noise: stream("noise"),
            dropout: stream("dropout"),
            actor,
            act_dim,
            config,
        })
    }
}

impl Learner for Idql {
    /// In this order: the noise network, down the squared error of the noise, summed over
    /// dimensions, and its average; the value, towards an expectile of
    /// `min_i Q'_i(s, a)`; the critics, towards `r + discount (1 - d) V(s')`; the targets.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let (c, batch) = (&self.config, &sample.batch);
        let (s, rows) = (&batch.obs, batch.rows());
        let a = &batch.actions.clamp(-MOST_ACTION, MOST_ACTION)?;

        let index = draw_steps(&mut self.step, self.schedule.steps(), rows);
        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let masks = self.actor.dropout(&mut self.dropout, c.dropout, rows)?;
        let (times, levels) = at_steps(&self.schedule, &index);
        let error = noise_error(&self.actor, (s, a), &times, &levels, &noise, &masks)?;
        let bc_loss = error.sum(1)?.mean_all()?;
        self.actor.set_lr(cosine(c.lr, step, c.decay_updates));
        self.actor.step(&bc_loss.backward()?)?;
        self.average.track(&self.actor, c.average_rate)?;

        let q = self.critics.target_min(s, a)?;
        let u = (q - self.value.net.forward(s, Trace::Params)?.squeeze(1)?)?;
        let value_loss = self.value.descend(&expectile_loss(&u, c.expectile)?)?;

        let next = self
            .value
            .net
            .forward_detached(&batch.next_obs)?
            .squeeze(1)?;
        let y = bellman(batch, c.discount, &next)?;
        // Of both critics the mean, where others take the sum.
        let critic_loss = self.critics.fit_weighted(s, a, &y, 0.5)?;
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("bc_loss", scalar(&bc_loss)?)
            .with("value_loss", value_loss)
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .noise("actor", &mut self.actor)
            .noise_average("actor.average", &mut self.average)
            .trained("value", &mut self.value)
            .critics(&mut self.critics)
            .stream("step", &mut self.step)
            .stream("noise", &mut self.noise)
            .stream("dropout", &mut self.dropout)
    }

    /// Of several samples of the average, that of the greatest `min_i Q'_i`.
    fn actor(&self) -> Result<Actor> {
        Ok(Actor::Sampled(SampledActor {
            sampler: Sampler::Chain {
                net: self.average.rows(self.schedule.steps())?,
                schedule: self.schedule.clone(),
                clip: Clip::Sample,
            },
            candidates: self.config.candidates,
            pick: Pick::Greatest(Worth {
                critics: self.critics.target_rows()?,
                by: Conservatism::Min,
            }),
        }))
    }
}
