//! AWR (Peng et al. 2019, "Advantage-Weighted Regression") on a fixed buffer: in
//! turns, a value regressed on the TD(lambda) returns of the stored trajectories, and a
//! policy cloned with weights that grow with what a return has over the value. The
//! authors go through shuffled transitions; here each batch is drawn anew.

use std::sync::Arc;

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Device, Mlp, Trace, relu_shape};

use crate::{
    Momentum,
    actor::Actor,
    gaussian::log_density,
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    replay::Replay,
    scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, not_negative, positive, unit, updates,
    },
};

/// Added to the deviation of advantages.
const ADVANTAGE_EPS: f64 = 1e-5;

/// How much smaller than usual the policy's last layer starts.
const INITIAL_OUTPUT_SCALE: f32 = 0.01;

/// Rows valued at a time.
const CHUNK: usize = 4096;

/// Hyper-parameters of AWR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of both networks.
    pub hidden: Vec<usize>,
    /// Learning rate of the actor.
    pub actor_lr: f64,
    /// Learning rate of the value.
    pub critic_lr: f64,
    /// Momentum of both.
    pub momentum: f64,
    /// Updates of the value in one turn.
    pub critic_steps: u64,
    /// Updates of the actor in one turn.
    pub actor_steps: u64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Lambda of the returns.
    pub td_lambda: f64,
    /// What standardized advantages are divided by in a weight's exponent.
    pub temperature: f64,
    /// The largest weight.
    pub weight_max: f64,
    /// Standard deviation of the policy, fixed.
    pub action_std: f64,
    /// Weight of the penalty on means beyond the largest action.
    pub bound_weight: f64,
}

impl Default for Config {
    /// The authors' `awr_configs.py` for HalfCheetah, which `d4rl_evaluations` uses
    /// too; rates of other tasks stand in `suites/mujoco.toml`.
    fn default() -> Self {
        Self {
            data: DataConfig::default(),
            hidden: vec![128, 64],
            actor_lr: 5e-5,
            critic_lr: 1e-2,
            momentum: 0.9,
            critic_steps: 200,
            actor_steps: 1000,
            discount: 0.99,
            td_lambda: 0.95,
            temperature: 1.0,
            weight_max: 20.0,
            action_std: 0.4,
            bound_weight: 10.0,
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        updates("critic_steps", self.critic_steps, 1)?;
        updates("actor_steps", self.actor_steps, 1)?;
        positive(&[
            ("actor_lr", self.actor_lr),
            ("critic_lr", self.critic_lr),
            ("temperature", self.temperature),
            ("weight_max", self.weight_max),
            ("action_std", self.action_std),
        ])?;
        unit(&[
            ("discount", self.discount),
            ("td_lambda", self.td_lambda),
            ("momentum", self.momentum),
        ])?;
        not_negative(&[("bound_weight", self.bound_weight)])
    }
}

/// AWR while it is being trained.
#[derive(Debug)]
pub struct Awr {
    config: Config,
    replay: Arc<Replay>,
    actor: Momentum,
    /// Its output times `1 / (1 - discount)` is the value.
    value: Momentum,
    /// `[transitions]`: the returns of this turn.
    returns: Vec<f32>,
    /// `[transitions]`: the weights of this turn.
    weights: Vec<f32>,
}

impl Baseline for Awr {
    const NAME: MethodName = names::AWR;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let net = |output, name: &str| {
            let shape = relu_shape(start.obs_dim, config.hidden.clone(), output)?;
            Mlp::new(shape, &mut Stream::new(start.seed, &format!("{name}/init")))
        };
        let actor = net(start.act_dim, "actor")?;
        actor.scale_output_layer(INITIAL_OUTPUT_SCALE)?;
        let transitions = start.replay.transitions().len();
        Ok(Self {
            actor: Momentum::new(actor, config.actor_lr, config.momentum),
            value: Momentum::new(net(1, "value")?, config.critic_lr, config.momentum),
            returns: vec![0.0; transitions],
            weights: vec![0.0; transitions],
            replay: start.replay,
            config,
        })
    }
}

impl Awr {
    fn value_scale(&self) -> f64 {
        1.0 / (1.0 - self.config.discount)
    }

    /// The value of every transition's state, and of what follows the last of each
    /// trajectory: zero where the environment ended it. `[transitions]` each; the
    /// latter is zero elsewhere.
    fn values(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        let replay = &self.replay;
        let scale = self.value_scale();
        let of = |index: &[usize], next: bool| -> Result<Vec<f64>> {
            let mut values = Vec::with_capacity(index.len());
            for part in index.chunks(CHUNK) {
                let states = replay.states(part, next)?;
                let part: Vec<f32> = self
                    .value
                    .net
                    .forward_detached(&states)?
                    .flatten_all()?
                    .to_vec1()?;
                values.extend(part.iter().map(|v| scale * f64::from(*v)));
            }
            Ok(values)
        };
        let n = replay.transitions().len();
        let all: Vec<usize> = (0..n).collect();
        let cut: Vec<usize> = (0..n)
            .filter(|&i| replay.ends_trajectory(i) && replay.bootstrap(i) > 0.0)
            .collect();
        let mut after = vec![0.0; n];
        for (&i, value) in cut.iter().zip(of(&cut, true)?) {
            after[i] = value;
        }
        Ok((of(&all, false)?, after))
    }

    /// `G_t = r + discount ((1 - lambda) V(s') + lambda G_{t+1})` along trajectories,
    /// their last with the value alone.
    fn td_returns(&self, (values, after): &(Vec<f64>, Vec<f64>)) -> Vec<f64> {
        let c = &self.config;
        let mut returns = vec![0.0; values.len()];
        for i in (0..values.len()).rev() {
            let ahead = if self.replay.ends_trajectory(i) {
                after[i]
            } else {
                (1.0 - c.td_lambda) * values[i + 1] + c.td_lambda * returns[i + 1]
            };
            returns[i] = f64::from(self.replay.reward(i)) + c.discount * ahead;
        }
        returns
    }

    fn fit_value(&mut self, sample: &Sample) -> Result<Metrics> {
        let scale = self.value_scale();
        let target = gather(&self.returns, &sample.index)?;
        let value = self
            .value
            .net
            .forward(&sample.batch.obs, Trace::Params)?
            .squeeze(1)?;
        let error = (value - (target / scale)?)?;
        let loss = (error.sqr()?.mean_all()? * 0.5)?;
        Ok(Metrics::default().with("value_loss", self.value.descend(&loss)?))
    }

    /// `exp(A / T)`, at most `weight_max`, of the standardized advantages `A`.
    fn weigh(&mut self) -> Result<()> {
        let c = &self.config;
        let values = self.values()?;
        let returns = self.td_returns(&values);
        let advantages: Vec<f64> = returns.iter().zip(&values.0).map(|(g, v)| g - v).collect();
        let n = advantages.len() as f64;
        let mean = advantages.iter().sum::<f64>() / n;
        let variance = advantages.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / n;
        let scale = 1.0 / ((variance.sqrt() + ADVANTAGE_EPS) * c.temperature);
        let weight = |a: &f64| ((a - mean) * scale).exp().min(c.weight_max) as f32;
        self.weights = advantages.iter().map(weight).collect();
        Ok(())
    }

    fn fit_actor(&mut self, sample: &Sample) -> Result<Metrics> {
        let c = &self.config;
        let batch = &sample.batch;
        let weights = gather(&self.weights, &sample.index)?;
        let mean = self.actor.net.forward(&batch.obs, Trace::Params)?;
        let log_std = Tensor::full(c.action_std.ln() as f32, mean.dim(1)?, &Device::Cpu)?;
        let cloning = (&weights * log_density(&batch.actions, &mean, &log_std)?)?.mean_all()?;
        // What of a mean is beyond the largest action, on either side.
        let beyond = (mean.abs()? - 1.0)?.relu()?;
        let beyond = (beyond.sqr()?.sum(D::Minus1)?.mean_all()? * (0.5 * c.bound_weight))?;
        let loss = (beyond - cloning)?;
        Ok(Metrics::default()
            .with("actor_loss", self.actor.descend(&loss)?)
            .with("weight_mean", scalar(&weights.mean_all()?)?))
    }
}

impl Learner for Awr {
    /// In each turn first `critic_steps` of the value on the returns it gave before
    /// them, then `actor_steps` of the policy with the weights it gives after them.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let c = &self.config;
        let at = (step - 1) % (c.critic_steps + c.actor_steps);
        if at < c.critic_steps {
            if at == 0 {
                let returns = self.td_returns(&self.values()?);
                self.returns = returns.iter().map(|g| *g as f32).collect();
            }
            return self.fit_value(sample);
        }
        if at == c.critic_steps {
            self.weigh()?;
        }
        self.fit_actor(sample)
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .momentum("actor", &mut self.actor)
            .momentum("value", &mut self.value)
            .values("returns", &mut self.returns)
            .values("weights", &mut self.weights)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::net(&self.actor.net)
    }
}

/// `values` at `index`, `[rows]`.
fn gather(values: &[f32], index: &[usize]) -> Result<Tensor> {
    let rows = index.iter().map(|&i| values[i]);
    Tensor::from_iter(rows, &Device::Cpu)
}
