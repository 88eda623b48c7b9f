//! CQL (Kumar et al. 2020, "Conservative Q-Learning for Offline Reinforcement
//! Learning"): soft actor-critic whose critics are pushed down at actions that are not
//! the data's. The variant for MuJoCo: a fixed weight, no Lagrange multiplier, no
//! entropy in targets.
//!
//! With `calibrated` it is Cal-QL (Nakamoto et al. 2023, "Cal-QL: Calibrated Offline RL
//! Pre-Training for Efficient Online Fine-Tuning"): at the policy's actions the critics are
//! not pushed below the return that the data's own trajectory had from there on.

use candle_core::{D, Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Batch, Device, Rows, Trace, normal, relu_shape};

use crate::{
    Critics, Trained, Variable,
    actor::Actor,
    bellman,
    gaussian::{Bound, halves, tanh_density, tanh_draw},
    learner::{
        Baseline, Exploration, Learner, MethodName, Metrics, Online, Parts, Sample, Start, names,
    },
    repeat_rows, scalar,
    settings::{DataConfig, Settings, SettingsError, accessors, positive, unit, updates},
};

/// Bounds of the policy's log standard deviation, and what is added to it (CORL; it
/// trains the latter, which the last layer's bias does as well).
const LOG_STD: (Bound, f64) = (Bound::Clamp(-20.0, 2.0), -1.0);

/// The data's actions are given densities as if they were no larger.
const LIMIT: f32 = 1.0 - 1e-6;

/// Hyper-parameters of CQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of actor and temperature.
    pub actor_lr: f64,
    /// Adam's learning rate of the critics.
    pub critic_lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Weight of the conservative term.
    pub alpha: f64,
    /// Actions of each kind that the critics are pushed down at.
    pub actions: usize,
    /// Updates in which the actor clones the data, at first.
    pub bc_updates: u64,
    /// Whether the critics are pushed down at the policy's actions no further than to the
    /// return of the data's trajectory: Cal-QL. Absent in records, it is not.
    #[serde(skip_serializing_if = "is_not")]
    pub calibrated: bool,
}

fn is_not(set: &bool) -> bool {
    !set
}

impl Default for Config {
    /// CORL's `cql.py` with its weight and rates for MuJoCo; the authors' 40k updates
    /// of cloning.
    fn default() -> Self {
        Self {
            data: DataConfig::default(),
            hidden: vec![256, 256, 256],
            actor_lr: 3e-5,
            critic_lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            alpha: 10.0,
            actions: 10,
            bc_updates: 40_000,
            calibrated: false,
        }
    }
}

impl Settings for Config {
    const UNWRITTEN: &'static [(&'static str, &'static str)] = &[("calibrated", "false")];

    accessors!(discount, layers: [hidden]);

    fn draws(&self) -> Option<(&'static str, usize)> {
        Some(("actions", self.actions))
    }

    fn returns(&self) -> bool {
        self.calibrated
    }

    fn check(&self) -> std::result::Result<(), SettingsError> {
        updates("bc_updates", self.bc_updates, 0)?;
        positive(&[
            ("actor_lr", self.actor_lr),
            ("critic_lr", self.critic_lr),
            ("alpha", self.alpha),
        ])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])
    }
}

/// CQL while it is being trained.
#[derive(Debug)]
pub struct Cql {
    config: Config,
    act_dim: usize,
    actor: Trained,
    log_temperature: Variable,
    critics: Critics,
    own: Stream,
    next: Stream,
    random: Stream,
    pushed_own: Stream,
    pushed_next: Stream,
}

impl Baseline for Cql {
    const NAME: MethodName = names::CQL;
    // The critics are trained: there is nothing to clone first.
    const ONLINE: Option<Online> = Some(Online {
        noise: None,
        settings: &[("bc_updates", 0)],
    });
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let stream = |name| Stream::new(seed, &format!("cql/{name}"));
        Ok(Self {
            actor: Trained::new(shape(obs_dim, 2 * act_dim)?, config.actor_lr, seed, "actor")?,
            log_temperature: Variable::new(vec![0.0], config.actor_lr)?,
            critics: Critics::new(&shape(obs_dim + act_dim, 1)?, 2, config.critic_lr, seed)?,
            own: stream("own"),
            next: stream("next"),
            random: stream("random"),
            pushed_own: stream("pushed-own"),
            pushed_next: stream("pushed-next"),
            act_dim,
            config,
        })
    }
}

/// Actions that critics are pushed down at, `[rows * K, act_dim]`, K in turn for each
/// state, and the log-densities they were drawn with, `[rows, K]`.
struct Pushed {
    actions: Tensor,
    log_density: Tensor,
}

impl Cql {
    /// `k` draws of the policy in each state of `s`, without any gradient.
    fn draws(&self, s: &Tensor, k: usize, noise: &Tensor) -> Result<(Tensor, Tensor)> {
        let head = self.actor.net.forward_detached(s)?;
        let (mean, log_std) = halves(&repeat_rows(&head, k)?, LOG_STD.0, LOG_STD.1)?;
        tanh_draw(&mean, &log_std, noise)
    }

    /// Actions of the whole box, of the policy in the next state and of the policy.
    fn pushed(&mut self, s: &Tensor, next_s: &Tensor) -> Result<Pushed> {
        let (k, act_dim) = (self.config.actions, self.act_dim);
        let rows = s.dim(0)?;
        let mut uniform = vec![0.0; rows * k * act_dim];
        self.random.fill_uniform(-1.0, 1.0, &mut uniform);
        let uniform = Tensor::from_vec(uniform, (rows * k, act_dim), &Device::Cpu)?;
        let everywhere = Tensor::full(-(act_dim as f32) * 2f32.ln(), rows * k, &Device::Cpu)?;
        let noise = normal(&mut self.pushed_next, 1.0, rows * k, act_dim)?;
        let next = self.draws(next_s, k, &noise)?;
        let noise = normal(&mut self.pushed_own, 1.0, rows * k, act_dim)?;
        let own = self.draws(s, k, &noise)?;
        let kinds = [(uniform, everywhere), next, own];
        let by_state = |x: &Tensor| x.reshape((rows, k, ()));
        let actions = kinds.iter().map(|(a, _)| by_state(a));
        let densities = kinds.iter().map(|(_, d)| by_state(d)?.squeeze(2));
        let actions = Tensor::cat(&actions.collect::<Result<Vec<_>>>()?, 1)?;
        Ok(Pushed {
            actions: actions.reshape((rows * 3 * k, act_dim))?,
            log_density: Tensor::cat(&densities.collect::<Result<Vec<_>>>()?, 1)?,
        })
    }

    /// What the critics' values of pushed actions count at least, `[rows, 3 K]`: nothing at
    /// those of the box, the return of the data's trajectory at the policy's.
    fn floor(&self, batch: &Batch) -> Result<Option<Tensor>> {
        if !self.config.calibrated {
            return Ok(None);
        }
        let Some(returns) = &batch.returns else {
            bail!("a batch without the returns of its trajectories");
        };
        let (rows, k) = (batch.rows(), self.config.actions);
        let everywhere = Tensor::full(f32::NEG_INFINITY, (rows, k), &Device::Cpu)?;
        let policys = returns.reshape((rows, 1))?.expand((rows, 2 * k))?;
        Tensor::cat(&[everywhere, policys], 1).map(Some)
    }

    /// One step of actor and temperature: `mean(t log pi(a~|s) - min_i Q_i(s, a~))`,
    /// at first `- log pi(a|s)` in place of the value.
    fn improve(&mut self, step: u64, s: &Tensor, a: &Tensor) -> Result<(f32, f32)> {
        let noise = normal(&mut self.own, 1.0, s.dim(0)?, self.act_dim)?;
        let head = self.actor.net.forward(s, Trace::Params)?;
        let (mean, log_std) = halves(&head, LOG_STD.0, LOG_STD.1)?;
        let (proposed, log_pi) = tanh_draw(&mean, &log_std, &noise)?;
        let log_temperature = self.log_temperature.var.as_tensor();
        let temperature = log_temperature.exp()?.to_vec1::<f32>()?[0];
        let entropy = (&log_pi * f64::from(temperature))?;
        let worth = if step <= self.config.bc_updates {
            tanh_density(a, &mean, &log_std, LIMIT)?
        } else {
            self.critics.climb_min(s, &proposed)?
        };
        let actor_loss = self.actor.descend(&(entropy - worth)?.mean_all()?)?;
        // The entropy aimed at is -act_dim.
        let gap = f64::from(scalar(&log_pi.detach().mean_all()?)?) - self.act_dim as f64;
        let loss = (log_temperature * -gap)?.sum_all()?;
        self.log_temperature.step(&loss.backward()?)?;
        Ok((actor_loss, temperature))
    }
}

impl Learner for Cql {
    /// Actor, temperature and critics step from where all stood before: the actor as
    /// [`Cql`] says; critic `i` down
    /// `mean (Q_i(s, a) - y)^2 + alpha mean(logsumexp_k(Q_i(s, a_k) - log p_k) - Q_i(s, a))`
    /// with `y = r + discount (1 - d) min_i Q'_i(s', a')`; then the targets. Calibrated, the
    /// values of the policy's `a_k` are `max(Q_i(s, a_k), return)`.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let (s, a, next_s) = (&batch.obs, &batch.actions, &batch.next_obs);

        let noise = normal(&mut self.next, 1.0, batch.rows(), self.act_dim)?;
        let (next, _) = self.draws(next_s, 1, &noise)?;
        let y = bellman(
            batch,
            self.config.discount,
            &self.critics.target_min(next_s, &next)?,
        )?;
        let pushed = self.pushed(s, next_s)?;
        let floor = self.floor(batch)?;
        let (actor_loss, temperature) = self.improve(step, s, a)?;

        let c = &self.config;
        let taken = Tensor::cat(&[s, a], 1)?;
        let (mut critic_loss, mut gaps) = (0.0, 0.0);
        for q in &mut self.critics.nets {
            let value = q.net.forward(&taken, Trace::Params)?.squeeze(1)?;
            let rows = Rows::beside(s, &pushed.actions);
            let all = q.net.forward(rows, Trace::Params)?;
            let mut all = all.reshape(pushed.log_density.shape())?;
            if let Some(floor) = &floor {
                all = all.broadcast_maximum(floor)?;
            }
            let all = (all - &pushed.log_density)?;
            let gap = (log_sum_exp(&all)? - &value)?.mean_all()?;
            let loss = ((value - &y)?.sqr()?.mean_all()? + (&gap * c.alpha)?)?;
            critic_loss += q.descend(&loss)?;
            gaps += scalar(&gap)?;
        }
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("gap", gaps / 2.0)
            .with("actor_loss", actor_loss)
            .with("temperature", temperature))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .trained("actor", &mut self.actor)
            .variable("log_temperature", &mut self.log_temperature)
            .critics(&mut self.critics)
            .stream("own", &mut self.own)
            .stream("next", &mut self.next)
            .stream("random", &mut self.random)
            .stream("pushed_own", &mut self.pushed_own)
            .stream("pushed_next", &mut self.pushed_next)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::tanh_mean(&self.actor.net)
    }

    fn exploration(&self) -> Result<Option<Exploration>> {
        let mut net = self.actor.net.row_mlp()?;
        if let Some(last) = net.layers.last_mut() {
            for bias in &mut last.bias[self.act_dim..] {
                *bias += LOG_STD.1 as f32;
            }
        }
        Ok(Some(Exploration::Squashed(net)))
    }
}

/// What is this far below the largest exponent adds nothing to a sum of `f32`.
const NOTHING: f32 = -40.0;

/// `log sum exp` over the last dimension. What adds nothing to the sum is left out of it
/// and of its gradient: where values are far apart, its weights would be subnormal
/// numbers, which slow the backward pass of the critics to a fraction of its speed.
fn log_sum_exp(x: &Tensor) -> Result<Tensor> {
    let most = x.detach().max_keepdim(D::Minus1)?;
    let below = x.broadcast_sub(&most)?.maximum(NOTHING)?;
    let sum = below.exp()?.sum(D::Minus1)?;
    sum.log()? + most.squeeze(D::Minus1)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Var;

    /// Value and gradient are the definition's in double precision, also where values lie
    /// so far apart that a weight would be subnormal: there it is none.
    #[test]
    fn the_log_sum_exp_is_its_definition() {
        let rows = [
            [0.5f32, -1.25, 2.0],
            [1000.0, 999.0, 905.0],
            [3.0, -90.0, -3000.0],
        ];
        let x = Var::new(&rows, &Device::Cpu).unwrap();
        let y = log_sum_exp(&x).unwrap();
        let grad = y.sum_all().unwrap().backward().unwrap();
        let grad = grad.get(&x).unwrap().to_vec2::<f32>().unwrap();
        for ((row, y), grad) in rows.iter().zip(y.to_vec1::<f32>().unwrap()).zip(grad) {
            let most = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
            let weights = row.map(|x| (f64::from(x) - most).exp());
            let sum: f64 = weights.iter().sum();
            assert!((f64::from(y) - most - sum.ln()).abs() < 1e-6 * most.abs().max(1.0));
            for (weight, grad) in weights.iter().zip(grad) {
                assert!((weight / sum - f64::from(grad)).abs() < 1e-6, "{row:?}");
                assert!(grad == 0.0 || grad.is_normal(), "{row:?}");
            }
        }
    }
}
