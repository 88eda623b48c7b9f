//! SAC-N and EDAC (An, Moon, Kim and Song 2021, "Uncertainty-Based Offline
//! Reinforcement Learning with Diversified Q-Ensemble"): soft actor-critic under the
//! least of many critics, so that the policy stays where all of them know the values;
//! EDAC needs fewer of them, since it spreads their gradients in the action. EDAC with
//! `eta` zero is SAC-N.

use std::marker::PhantomData;

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::{
    Stream,
    limits::{self, MOST_CRITICS, OutOfRange},
};
use spar_nn::{Batch, Mlp, MlpShape, Rows, Trace, normal, relu_shape};

use crate::{
    Critics, Trained, Variable,
    actor::Actor,
    bellman, detached,
    gaussian::{Bound, halves, tanh_density_floored, tanh_draw_floored},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    repeat_rows, scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, not_negative, positive, unit, updates,
    },
};

/// Bounds of the policy's log standard deviation (`tanh_gaussian_policy.py`).
const LOG_STD: Bound = Bound::Clamp(-5.0, 2.0);

/// What is added to `1 - a^2` before its logarithm.
const FLOOR: f64 = 1e-6;

/// What every bias but the last layer's starts at.
const BIAS: f32 = 0.1;

/// Bounds of the last layer's uniform initialization: of critics and of the policy.
const LAST: (f32, f32) = (3e-3, 1e-3);

/// Actions drawn in each next state if the greatest value counts.
const MAX_Q_ACTIONS: usize = 10;

/// What is added to the length of a gradient that is divided by it, and to its square, so
/// that a gradient of nothing has a slope.
const LENGTH: (f64, f64) = (1e-10, 1e-30);

/// Which of the two a method is.
pub trait Kind: Clone + std::fmt::Debug + PartialEq + 'static {
    /// Its name.
    const NAME: MethodName;
    /// Whether the critics' gradients are spread.
    const DIVERSE: bool;
}

/// Not spread.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {}

/// Spread.
#[derive(Clone, Debug, PartialEq)]
pub enum Diverse {}

impl Kind for Plain {
    const NAME: MethodName = names::SAC_N;
    const DIVERSE: bool = false;
}

impl Kind for Diverse {
    const NAME: MethodName = names::EDAC;
    const DIVERSE: bool = true;
}

/// Hyper-parameters of SAC-N and of EDAC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound = "K: Kind")]
pub struct Config<K> {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of policy and critics.
    pub hidden: Vec<usize>,
    /// Critics, `N`.
    pub critics: usize,
    /// Weight of the diversity of their gradients; zero for SAC-N.
    pub eta: f64,
    /// Adam's learning rate of policy and temperature.
    pub actor_lr: f64,
    /// Adam's learning rate of the critics.
    pub critic_lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Whether targets are the greatest value of ten actions of the policy, by the
    /// critics themselves and without entropy, instead of one's by the target critics.
    pub max_q_backup: bool,
    /// Updates in which the policy clones the data, at first: the authors'
    /// `policy_eval_start`. Absent in records, there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub bc_updates: u64,
    #[serde(skip)]
    kind: PhantomData<K>,
}

fn is_zero(updates: &u64) -> bool {
    *updates == 0
}

impl<K: Kind> Default for Config<K> {
    /// The authors' for halfcheetah, which most of walker2d shares.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: vec![256, 256, 256],
            critics: 10,
            eta: if K::DIVERSE { 1.0 } else { 0.0 },
            actor_lr: 3e-4,
            critic_lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            max_q_backup: false,
            bc_updates: 0,
            kind: PhantomData,
        }
    }
}

impl<K: Kind> Settings for Config<K> {
    const UNWRITTEN: &'static [(&'static str, &'static str)] = &[("bc_updates", "0")];

    accessors!(discount, layers: [hidden]);

    fn draws(&self) -> Option<(&'static str, usize)> {
        self.max_q_backup.then_some(("max_q_backup", MAX_Q_ACTIONS))
    }

    fn check(&self) -> std::result::Result<(), SettingsError> {
        limits::count("critics", self.critics as u64, 2..=MOST_CRITICS)?;
        updates("bc_updates", self.bc_updates, 0)?;
        positive(&[("actor_lr", self.actor_lr), ("critic_lr", self.critic_lr)])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])?;
        if !K::DIVERSE && self.eta != 0.0 {
            let expected = "0: SAC-N with another is `edac`";
            return Err(OutOfRange::new("eta", self.eta, expected).into());
        }
        not_negative(&[("eta", self.eta)])
    }
}

/// SAC-N or EDAC while it is being trained.
#[derive(Debug)]
pub struct Sac<K> {
    config: Config<K>,
    act_dim: usize,
    actor: Trained,
    log_temperature: Variable,
    critics: Critics,
    own: Stream,
    next: Stream,
}

/// SAC-N.
pub type SacN = Sac<Plain>;

/// EDAC.
pub type Edac = Sac<Diverse>;

impl<K: Kind> Baseline for Sac<K> {
    const NAME: MethodName = K::NAME;
    type Config = Config<K>;

    fn new(config: Config<K>, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let drawn = |shape, scale, last, name: &str| {
            drawn(
                shape,
                scale,
                last,
                &mut Stream::new(seed, &format!("{name}/init")),
            )
        };
        let actor = drawn(shape(obs_dim, 2 * act_dim)?, Fan::Out, LAST.1, "actor")?;
        // The targets are no copies, but networks of their own at first.
        let critic = |i: usize, kind: &str| {
            let name = format!("critic/{i}{kind}");
            drawn(shape(obs_dim + act_dim, 1)?, Fan::In, LAST.0, &name)
        };
        let nets = (0..config.critics).map(|i| Ok(Trained::of(critic(i, "")?, config.critic_lr)));
        let targets = (0..config.critics).map(|i| critic(i, "/target"));
        Ok(Self {
            critics: Critics::with_targets(
                nets.collect::<Result<_>>()?,
                targets.collect::<Result<_>>()?,
            )?,
            actor: Trained::of(actor, config.actor_lr),
            log_temperature: Variable::new(vec![0.0], config.actor_lr)?,
            own: Stream::new(seed, &format!("{}/own", Self::NAME.0)),
            next: Stream::new(seed, &format!("{}/next", Self::NAME.0)),
            act_dim,
            config,
        })
    }
}

/// Whose width bounds a hidden layer's uniform initialization.
#[derive(Clone, Copy)]
enum Fan {
    In,
    /// The authors' policy takes the wrong side of its weights.
    Out,
}

/// A network with the authors' initialization: hidden weights uniform within one over the
/// root of a width, hidden biases [`BIAS`], the last layer uniform within `last`.
fn drawn(shape: MlpShape, fan: Fan, last: f32, stream: &mut Stream) -> Result<Mlp> {
    let mut params = vec![0.0; shape.parameters()];
    let depth = shape.hidden().len();
    for (i, layer) in shape.layers().enumerate() {
        if i == depth {
            stream.fill_uniform(-last, last, &mut params[layer.weight]);
            stream.fill_uniform(-last, last, &mut params[layer.bias]);
            continue;
        }
        let width = match fan {
            Fan::In => layer.input,
            Fan::Out => layer.output,
        };
        let bound = 1.0 / (width as f32).sqrt();
        stream.fill_uniform(-bound, bound, &mut params[layer.weight]);
        params[layer.bias].fill(BIAS);
    }
    Mlp::from_params(shape, params)
}

/// `1 / (N - 1) mean_b sum_{i != j} <g_i, g_j>` of the critics' unit gradients
/// `g_i = dQ_i/da / |dQ_i/da|` of the `slopes` `dQ_i/da`, `[rows, act_dim]`: how much they
/// agree, between `-N / (N - 1)` and `N`.
fn agreement(slopes: &[Tensor]) -> Result<Tensor> {
    let unit = |slope: &Tensor| {
        let length = (slope.sqr()?.sum_keepdim(1)? + LENGTH.1)?.sqrt()?;
        slope.broadcast_div(&(length + LENGTH.0)?)
    };
    let units = slopes.iter().map(unit).collect::<Result<Vec<_>>>()?;
    let units = Tensor::stack(&units, 0)?;
    let pairs = (units.sum(0)?.sqr()?.sum(1)? - units.sqr()?.sum((0, 2))?)?;
    pairs.mean_all()? / (slopes.len() as f64 - 1.0)
}

impl<K: Kind> Sac<K> {
    /// The policy's draws and their log-densities from its output `head` and `noise`.
    fn draw(head: &Tensor, noise: &Tensor) -> Result<(Tensor, Tensor)> {
        let (mean, log_std) = halves(head, LOG_STD, 0.0)?;
        tanh_draw_floored(&mean, &log_std, noise, FLOOR)
    }

    /// What targets bootstrap from, `[rows]`.
    fn next_value(&mut self, next_s: &Tensor, temperature: f64) -> Result<Tensor> {
        let rows = next_s.dim(0)?;
        let k = if self.config.max_q_backup {
            MAX_Q_ACTIONS
        } else {
            1
        };
        let noise = normal(&mut self.next, 1.0, rows * k, self.act_dim)?;
        let head = self.actor.net.forward_detached(next_s)?;
        let (next, log_pi) = Self::draw(&repeat_rows(&head, k)?, &noise)?;
        if !self.config.max_q_backup {
            return self.critics.target_min(next_s, &next)? - (log_pi * temperature)?;
        }
        let greatest = |q: &Trained| detached(&q.net, next_s, &next)?.reshape((rows, k))?.max(1);
        let values = self.critics.nets.iter().map(greatest);
        Tensor::stack(&values.collect::<Result<Vec<_>>>()?, 0)?.min(0)
    }

    /// One step of the critics down `sum_i mean (Q_i(s, a) - y)^2 + eta agreement`, and of
    /// their targets; the two terms.
    fn fit_diverse(&mut self, s: &Tensor, a: &Tensor, y: &Tensor) -> Result<(f32, f32)> {
        let (mut errors, mut slopes) = (Vec::new(), Vec::new());
        for q in &self.critics.nets {
            let (value, slope) = q.net.value_and_slope(Rows::beside(s, a))?;
            errors.push((value - y)?.sqr()?.mean_all()?);
            slopes.push(slope);
        }
        let error = Tensor::stack(&errors, 0)?.sum_all()?;
        let agreement = agreement(&slopes)?;
        let loss = (&error + (&agreement * self.config.eta)?)?;
        self.critics
            .step_and_track(&loss.backward()?, self.config.tau)?;
        Ok((scalar(&error)?, scalar(&agreement)?))
    }

    /// One step of policy and temperature: `mean(t log pi(a~|s) - min_i Q_i(s, a~))` and
    /// `-log t (mean log pi(a~|s) - act_dim)`; at first `- log pi(a|s)` in place of the
    /// value. The loss, and the policy's entropy.
    fn improve(&mut self, step: u64, batch: &Batch, temperature: f64) -> Result<(f32, f32)> {
        let s = &batch.obs;
        let noise = normal(&mut self.own, 1.0, s.dim(0)?, self.act_dim)?;
        let head = self.actor.net.forward(s, Trace::Params)?;
        let (mean, log_std) = halves(&head, LOG_STD, 0.0)?;
        let (proposed, log_pi) = tanh_draw_floored(&mean, &log_std, &noise, FLOOR)?;
        let worth = if step <= self.config.bc_updates {
            tanh_density_floored(&batch.actions, &mean, &log_std, FLOOR)?
        } else {
            self.critics.climb_min(s, &proposed)?
        };
        let loss = ((&log_pi * temperature)? - worth)?;
        let actor_loss = self.actor.descend(&loss.mean_all()?)?;
        let log_pi = scalar(&log_pi.detach().mean_all()?)?;
        let gap = f64::from(log_pi) - self.act_dim as f64;
        step_temperature(&mut self.log_temperature, gap)?;
        Ok((actor_loss, -log_pi))
    }
}

/// One step of the temperature down `-log t gap`. Its gradient is written out: candle gives
/// none at all of what is multiplied by zero, and a gap is zero now and then.
fn step_temperature(log_temperature: &mut Variable, gap: f64) -> Result<()> {
    log_temperature.step_along(&Tensor::new(&[-gap as f32], &Device::Cpu)?)
}

impl<K: Kind> Learner for Sac<K> {
    /// Policy, temperature and critics step from where all stood before: the policy down
    /// `mean(t log pi(a~|s) - min_i Q_i(s, a~))`, or while it clones
    /// `mean(t log pi(a~|s) - log pi(a|s))`; the critics down
    /// `sum_i mean (Q_i(s, a) - y)^2 + eta agreement` with
    /// `y = r + discount (1 - d) (min_i Q'_i(s', a') - t log pi(a'|s'))`; then the
    /// targets.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let (s, a) = (&batch.obs, &batch.actions);
        let log_temperature = self.log_temperature.var.as_tensor();
        let temperature = f64::from(log_temperature.exp()?.to_vec1::<f32>()?[0]);

        let next = self.next_value(&batch.next_obs, temperature)?;
        let y = bellman(batch, self.config.discount, &next)?;
        let (actor_loss, entropy) = self.improve(step, batch, temperature)?;

        let (critic_loss, agreement) = if self.config.eta > 0.0 {
            let (error, agreement) = self.fit_diverse(s, a, &y)?;
            (error, Some(agreement))
        } else {
            let error = self.critics.fit_and_track(s, a, &y, self.config.tau)?;
            (error, None)
        };
        let metrics = Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("actor_loss", actor_loss)
            .with("entropy", entropy)
            .with("temperature", temperature as f32);
        Ok(match agreement {
            Some(agreement) => metrics.with("agreement", agreement),
            None => metrics,
        })
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .trained("actor", &mut self.actor)
            .variable("log_temperature", &mut self.log_temperature)
            .critics(&mut self.critics)
            .stream("own", &mut self.own)
            .stream("next", &mut self.next)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::tanh_mean(&self.actor.net)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn net(name: &str) -> Mlp {
        let shape = relu_shape(5, [6, 7], 1).unwrap();
        drawn(shape, Fan::In, 0.5, &mut Stream::new(3, name)).unwrap()
    }

    fn rows(name: &str, width: usize) -> Tensor {
        normal(&mut Stream::new(4, name), 1.0, 9, width).unwrap()
    }

    fn agreement_of(nets: [&Mlp; 2], s: &Tensor, a: &Tensor) -> Tensor {
        let slope = |net: &Mlp| net.value_and_slope(Rows::beside(s, a)).unwrap().1;
        agreement(&nets.map(slope)).unwrap()
    }

    /// A gap of exactly zero ended runs: no gradient reached the temperature.
    #[test]
    fn the_temperature_steps_against_its_gap_and_rests_at_none() {
        let mut log_temperature = Variable::new(vec![0.0], 0.01).unwrap();
        let mut after = |gap: f64| {
            step_temperature(&mut log_temperature, gap).unwrap();
            log_temperature.var.to_vec1::<f32>().unwrap()[0]
        };
        assert!(after(0.0).abs() < 1e-12);
        assert!(after(2.0) > 0.0);
        let warm = after(-9.0);
        assert!(after(-9.0) < warm);
    }

    /// Two critics that agree are worth two, two that climb opposite ways minus two: each
    /// pair counts twice.
    #[test]
    fn the_agreement_of_equal_and_of_opposite_gradients_is_known() {
        let (s, a) = (rows("s", 3), rows("a", 2));
        for (sign, want) in [(1.0, 2.0), (-1.0, -2.0)] {
            let other = net("q");
            other.scale_output_layer(sign).unwrap();
            let got = scalar(&agreement_of([&net("q"), &other], &s, &a)).unwrap();
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }

    /// A critic that is the same everywhere has no direction: the agreement and its
    /// gradient are zero, and not no number.
    #[test]
    fn a_critic_without_a_slope_has_an_agreement_and_a_gradient() {
        let (s, a) = (rows("s", 3), rows("a", 2));
        let flat = net("q");
        flat.scale_output_layer(0.0).unwrap();
        let nets = [&net("q"), &flat];
        let agreement = agreement_of(nets, &s, &a);
        assert!(scalar(&agreement).unwrap().abs() < 1e-6);
        agreement.backward().unwrap();
        for q in nets {
            let grad = q.take_gradient().unwrap();
            assert!(grad.iter().all(|g| g.is_finite()));
        }
    }

    /// The gradient of the agreement by central differences of its value.
    #[test]
    fn the_gradient_of_the_agreement_is_that_of_finite_differences() {
        let (s, a) = (rows("s", 3), rows("a", 2));
        let nets = [&net("q"), &net("p")];
        agreement_of(nets, &s, &a).backward().unwrap();
        for q in nets {
            let grad = q.take_gradient().unwrap();
            let params = q.to_params().unwrap();
            let size = grad.iter().fold(0f32, |most, g| most.max(g.abs()));
            assert!(size > 1e-3, "nothing to compare");
            let h = 1e-3;
            for i in 0..params.len() {
                let at = |by: f32| {
                    let mut moved = params.clone();
                    moved[i] += by;
                    q.set_params(moved).unwrap();
                    f64::from(scalar(&agreement_of(nets, &s, &a)).unwrap())
                };
                let want = (at(h) - at(-h)) / f64::from(2.0 * h);
                q.set_params(params.clone()).unwrap();
                let off = (f64::from(grad[i]) - want).abs();
                assert!(off < 1e-2 * f64::from(size), "at {i}: {} {want}", grad[i]);
            }
        }
    }
}
