//! SRPO (Chen et al. 2023, "Score Regularized Policy Optimization through Diffusion
//! Behavior"): a deterministic policy that climbs a critic, held to the data by the score
//! of a diffusion model of behaviour, which is never sampled.

use candle_core::{Result, Tensor, Var, bail};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_critic::expectile_loss;
use spar_nn::{Head, HiddenActivation, Mlp, NormEps, Rows, Trace, normal, relu_shape};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman, cosine,
    diffusion::{Body, CodeKind, Noise, NoiseShape, Times, noise_error, noised},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{
        DataConfig, Rewards, Settings, SettingsError, accessors, block_count, even, not_negative,
        positive, rate, unit, updates,
    },
};

/// Times at which behaviour is fitted, and at which the policy is held to it.
const FITTED: [f32; 2] = [1e-3, 1.0];
const HELD: [f32; 2] = [0.02, 0.98];

/// Hyper-parameters of SRPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Width of what the behaviour network's blocks hand on.
    pub width: usize,
    /// How many blocks it has.
    pub blocks: usize,
    /// Probability that a number is left out before a block.
    pub dropout: f64,
    /// Sines and cosines of the time at fixed frequencies.
    pub time_dim: usize,
    /// Widths of the two layers that read them.
    pub time_hidden: usize,
    /// Adam's learning rate of the behaviour network.
    pub behaviour_lr: f64,
    /// Its decoupled weight decay.
    pub weight_decay: f64,
    /// Updates in which it learns; then it is frozen.
    pub behaviour_updates: u64,
    /// Updates in which value and critics learn, beside it; then they are frozen. The
    /// policy learns once both are.
    pub critic_updates: u64,
    /// Widths of the hidden layers of value and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of value and critics.
    pub critic_lr: f64,
    /// Widths of the hidden layers of the policy.
    pub policy_hidden: Vec<usize>,
    /// Adam's learning rate of the policy, at its start.
    pub lr: f64,
    /// Updates of the policy in which that falls to zero by a cosine; it stays there.
    pub decay_updates: u64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Expectile of the value.
    pub expectile: f64,
    /// Weight of the critics' gradient against the score.
    pub beta: f64,
    /// Whether the noise is taken off what the behaviour network says of it: the same in
    /// the mean, with less variance.
    pub subtract_noise: bool,
    /// Whether the critics' gradient is scaled to a root mean square of one, row by row
    /// (mazes).
    pub normalize_gradient: bool,
}

impl Default for Config {
    /// The authors' `utils.py`, `model.py` and `train_*.py` for MuJoCo.
    fn default() -> Self {
        Self {
            data: DataConfig {
                rewards: Rewards::Range(1000.0),
                ..DataConfig::raw()
            },
            width: 256,
            blocks: 3,
            dropout: 0.1,
            time_dim: 64,
            time_hidden: 128,
            behaviour_lr: 3e-4,
            weight_decay: 1e-2,
            behaviour_updates: 2_000_000,
            critic_updates: 1_500_000,
            hidden: vec![256, 256],
            critic_lr: 3e-4,
            policy_hidden: vec![256, 256],
            lr: 3e-4,
            decay_updates: 1_000_000,
            discount: 0.99,
            tau: 0.005,
            expectile: 0.7,
            beta: 0.05,
            subtract_noise: false,
            normalize_gradient: false,
        }
    }
}

impl Settings for Config {
    const STAGES: &'static [&'static str] = &["behaviour_updates", "critic_updates"];
    // Two million of the behaviour, then one of the policy.
    const SOURCE_UPDATES: u64 = 3_000_000;

    accessors!(discount, layers: [hidden, policy_hidden], widths: [width, time_dim, time_hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        block_count("blocks", self.blocks)?;
        even("time_dim", self.time_dim)?;
        rate("dropout", self.dropout)?;
        updates("behaviour_updates", self.behaviour_updates, 1)?;
        updates("critic_updates", self.critic_updates, 1)?;
        updates("decay_updates", self.decay_updates, 1)?;
        positive(&[
            ("behaviour_lr", self.behaviour_lr),
            ("critic_lr", self.critic_lr),
            ("lr", self.lr),
        ])?;
        not_negative(&[("weight_decay", self.weight_decay), ("beta", self.beta)])?;
        unit(&[
            ("discount", self.discount),
            ("tau", self.tau),
            ("expectile", self.expectile),
        ])
    }
}

/// SRPO while it is being trained.
#[derive(Debug)]
pub struct Srpo {
    config: Config,
    act_dim: usize,
    behaviour: Noise<Trained>,
    value: Trained,
    critics: Critics,
    actor: Trained,
    time: Stream,
    noise: Stream,
    dropout: Stream,
}

impl Baseline for Srpo {
    const NAME: MethodName = names::SRPO;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = NoiseShape {
            code: CodeKind::Fixed(config.time_dim / 2),
            time_hidden: config.time_hidden,
            code_dim: config.time_hidden,
            body: Body::Residual {
                width: config.width,
                blocks: config.blocks,
            },
            activation: HiddenActivation::Mish,
            eps: NormEps::Torch,
        };
        let rates = (config.behaviour_lr, config.weight_decay);
        let behaviour = Noise::new(&shape, obs_dim, act_dim, rates, seed, "behaviour")?;
        let shape = |input| relu_shape(input, config.hidden.clone(), 1);
        let actor = relu_shape(obs_dim, config.policy_hidden.clone(), act_dim)?;
        let actor = actor.with_head(Head::Tanh);
        let stream = |name: &str| Stream::new(seed, &format!("srpo/{name}"));
        Ok(Self {
            value: Trained::new(shape(obs_dim)?, config.critic_lr, seed, "value")?,
            critics: Critics::new(&shape(obs_dim + act_dim)?, 2, config.critic_lr, seed)?,
            actor: Trained::new(actor, config.lr, seed, "actor")?,
            time: stream("time"),
            noise: stream("noise"),
            dropout: stream("dropout"),
            behaviour,
            act_dim,
            config,
        })
    }
}

/// How much of an action and how much noise there is at time `t` of the variance-preserving
/// equation with `beta` from 0.1 to 20:
/// `log alpha = -t^2 (20 - 0.1) / 4 - 0.1 t / 2`, `sigma = sqrt(1 - alpha^2)`.
fn level(t: f32) -> [f32; 2] {
    let t = f64::from(t);
    let alpha = (-0.25 * t * t * (20.0 - 0.1) - 0.5 * t * 0.1).exp();
    [alpha as f32, (1.0 - alpha * alpha).sqrt() as f32]
}

impl Srpo {
    /// Times of `rows` rows between `ends`, uniform, and their levels of noise.
    fn times(&mut self, [low, high]: [f32; 2], rows: usize) -> (Vec<f32>, Vec<[f32; 2]>) {
        let mut times = vec![0.0; rows];
        self.time.fill_uniform(-1.0, 1.0, &mut times);
        for t in &mut times {
            *t = low + 0.5 * (high - low) * (*t + 1.0);
        }
        let levels = times.iter().map(|&t| level(t)).collect();
        (times, levels)
    }

    /// One step of the behaviour network; its loss.
    fn fit_behaviour(&mut self, s: &Tensor, a: &Tensor) -> Result<f32> {
        let rows = s.dim(0)?;
        let (times, levels) = self.times(FITTED, rows);
        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let rate = self.config.dropout;
        let masks = self.behaviour.dropout(&mut self.dropout, rate, rows)?;
        let error = noise_error(&self.behaviour, (s, a), &times, &levels, &noise, &masks)?;
        let loss = error.sum(1)?.mean_all()?;
        self.behaviour.step(&loss.backward()?)?;
        scalar(&loss)
    }

    /// One step of value and critics; what they measured.
    fn fit_critics(&mut self, sample: &Sample, metrics: Metrics) -> Result<Metrics> {
        let (c, batch) = (&self.config, &sample.batch);
        let (s, a) = (&batch.obs, &batch.actions);
        // Before the value's step.
        let next = self
            .value
            .net
            .forward_detached(&batch.next_obs)?
            .squeeze(1)?;
        let y = bellman(batch, c.discount, &next)?;
        let q = self.critics.target_min(s, a)?;
        let u = (q - self.value.net.forward(s, Trace::Params)?.squeeze(1)?)?;
        let value_loss = self.value.descend(&expectile_loss(&u, c.expectile)?)?;
        let critic_loss = self.critics.fit_weighted(s, a, &y, 0.5)?;
        self.critics.track(c.tau)?;
        Ok(metrics
            .with("value_loss", value_loss)
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss))
    }

    /// The gradient of `(Q'_1 + Q'_2) / 2` in `a`, `[rows, act_dim]`.
    fn slope(&self, s: &Tensor, a: &Tensor) -> Result<Tensor> {
        let at = Var::from_tensor(a)?;
        let value = |net: &Mlp| net.forward(Rows::beside(s, &at), Trace::Input)?.sum_all();
        let mut sum = Tensor::new(0f32, a.device())?;
        for target in &self.critics.targets {
            sum = (sum + value(target)?)?;
        }
        let grads = (sum / self.critics.targets.len() as f64)?.backward()?;
        let Some(slope) = grads.get(&at) else {
            bail!("no gradient reached the policy's actions");
        };
        let slope = slope.detach();
        if !self.config.normalize_gradient {
            return Ok(slope);
        }
        let size = slope.sqr()?.mean_keepdim(1)?.sqrt()?;
        slope.broadcast_div(&(size + 1e-12)?)
    }

    /// One step of the policy, whose gradient in its action is
    /// `(sigma_t^2 noise(alpha_t a + sigma_t z, t, s) - beta slope) / rows`.
    fn improve(&mut self, s: &Tensor, done: u64) -> Result<f32> {
        let rows = s.dim(0)?;
        let (times, levels) = self.times(HELD, rows);
        let noise = normal(&mut self.noise, 1.0, rows, self.act_dim)?;
        let proposed = self.actor.net.forward(s, Trace::Params)?;
        let a = proposed.detach();
        let x = noised(&a, &levels, &noise)?;
        let mut said = self
            .behaviour
            .forward_detached(s, &x, Times::Each(&times))?;
        if self.config.subtract_noise {
            said = (said - &noise)?;
        }
        let weights: Vec<f32> = levels.iter().map(|[_, sigma]| sigma * sigma).collect();
        let weights = Tensor::from_vec(weights, (rows, 1), a.device())?;
        let held = said.broadcast_mul(&weights)?;
        let pulled = (self.slope(s, &a)? * self.config.beta)?;
        let loss = ((held - pulled)?.mul(&proposed)?.sum_all()? / rows as f64)?;
        let lr = cosine(self.config.lr, done, self.config.decay_updates);
        self.actor.set_lr(lr);
        self.actor.descend(&loss)
    }
}

impl Learner for Srpo {
    /// The behaviour network and, beside it, value and critics, of which neither knows of
    /// the other, each as long as it is to learn; then the policy. The policy's loss means
    /// nothing but its gradient.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let (behaviour, critics) = (self.config.behaviour_updates, self.config.critic_updates);
        let mut metrics = Metrics::default();
        if step <= behaviour {
            let loss = self.fit_behaviour(&batch.obs, &batch.actions)?;
            metrics = metrics.with("bc_loss", loss);
        }
        if step <= critics {
            metrics = self.fit_critics(sample, metrics)?;
        }
        let frozen = behaviour.max(critics);
        if step > frozen {
            metrics = metrics.with("actor_loss", self.improve(&batch.obs, step - frozen)?);
        }
        Ok(metrics)
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .noise("behaviour", &mut self.behaviour)
            .trained("value", &mut self.value)
            .critics(&mut self.critics)
            .trained("actor", &mut self.actor)
            .stream("time", &mut self.time)
            .stream("noise", &mut self.noise)
            .stream("dropout", &mut self.dropout)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::net(&self.actor.net)
    }
}

#[cfg(test)]
mod tests {
    use super::level;

    /// Computed apart from this code, from the formula.
    #[test]
    fn levels_are_those_of_the_equation() {
        for (t, alpha, sigma) in [
            (0.001, 0.999_945, 0.010_485),
            (0.02, 0.997_014, 0.077_215),
            (0.5, 0.281_183, 0.959_654),
            (0.98, 0.008_011, 0.999_968),
            (1.0, 0.006_572, 0.999_978),
        ] {
            let [a, s] = level(t);
            assert!(
                (a - alpha).abs() < 2e-6 && (s - sigma).abs() < 2e-6,
                "{t}: {a}, {s}"
            );
        }
    }
}
