//! FAC (Chae et al. 2026, "Flow Actor-Critic"): a flow clones the data and is frozen. It
//! says how likely an action is, and critics are pushed down where the actor's is less
//! likely than the data's; and an actor of one pass is distilled from it, as in FQL.

use std::{num::NonZeroUsize, sync::Arc};

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Device, normal};

use crate::{
    Aggregate, Critics,
    actor::Actor,
    bellman,
    flow::{self, Divergence, Flow, FlowConfig, OneStep, data_actions, value_shape},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    mean,
    replay::Replay,
    scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, chain_steps, not_negative, positive,
        probes, unit, updates,
    },
};

/// Rows whose density is computed at a time.
const CHUNK: usize = 4096;

/// Hyper-parameters of FAC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of flow, actor and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of all networks.
    pub lr: f64,
    /// Of all updates the first so many train the flow, which is frozen then; the others
    /// critics and actor.
    pub flow_updates: u64,
    /// Euler steps from noise to an action, and back.
    pub flow_steps: NonZeroUsize,
    /// Random probes of a divergence; at 0 it is computed exactly.
    pub probes: usize,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// What the target critics say together.
    pub target: Aggregate,
    /// Weight of the critics' penalty.
    pub alpha: f64,
    /// The density below which an action is penalized.
    pub threshold: Threshold,
    /// Weight of the actor's distance to the flow, a mean over dimensions, against its
    /// value, which is divided by the mean of its size.
    pub lambda: f64,
}

/// The density below which an action is penalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// That of the data's action in the same state (the source's `batch_adaptive`).
    Row,
    /// The least of the minibatch (`batch_wide_constant`).
    Batch,
    /// The least of all the data (`dataset_wide_constant`).
    Data,
}

impl Threshold {
    /// The log-density below which an action in the state of each of the transitions
    /// `index` is penalized, of those of all the data's actions.
    fn of(self, densities: &[f32], index: &[usize]) -> Vec<f32> {
        let least = |values: &[f32]| {
            let least = values.iter().copied().fold(f32::INFINITY, f32::min);
            vec![least; index.len()]
        };
        let own: Vec<f32> = index.iter().map(|&i| densities[i]).collect();
        match self {
            Self::Row => own,
            Self::Batch => least(&own),
            Self::Data => least(densities),
        }
    }
}

impl Default for Config {
    /// The authors' `agents/fac.py` and `main.py`; `alpha` and `lambda` are those of most
    /// of their MuJoCo tasks. Their first stage has 250 epochs in batches that grow with
    /// the data; here it is a number of updates in the batches of all.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: flow::HIDDEN.to_vec(),
            lr: 3e-4,
            flow_updates: 250_000,
            flow_steps: flow::STEPS,
            probes: 0,
            discount: 0.995,
            tau: 0.005,
            target: Aggregate::Min,
            alpha: 5.0,
            threshold: Threshold::Row,
            lambda: 0.1,
        }
    }
}

impl Settings for Config {
    const STAGES: &'static [&'static str] = &["flow_updates"];

    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        updates("flow_updates", self.flow_updates, 1)?;
        chain_steps("flow_steps", self.flow_steps.get())?;
        probes("probes", self.probes)?;
        positive(&[("lr", self.lr)])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])?;
        not_negative(&[("alpha", self.alpha), ("lambda", self.lambda)])
    }
}

/// FAC while it is being trained.
#[derive(Debug)]
pub struct Fac {
    config: Config,
    act_dim: usize,
    replay: Arc<Replay>,
    flow: Flow,
    divergence: Divergence,
    /// `log beta(a | s)` of every transition, once the flow is frozen; zeros before.
    densities: Vec<f32>,
    actor: OneStep,
    critics: Critics,
    next: Stream,
    pushed: Stream,
    proposal: Stream,
}

impl Baseline for Fac {
    const NAME: MethodName = names::FAC;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let (hidden, lr) = (&*config.hidden, config.lr);
        let flow = FlowConfig {
            hidden,
            lr,
            steps: config.flow_steps,
        };
        let critic = value_shape(obs_dim + act_dim, hidden)?;
        Ok(Self {
            flow: Flow::new(flow, obs_dim, act_dim, seed)?,
            divergence: Divergence::new(config.probes, Stream::new(seed, "fac/probes")),
            densities: vec![0.0; start.replay.transitions().len()],
            actor: OneStep::new(hidden, lr, obs_dim, act_dim, seed)?,
            critics: Critics::glorot(&critic, 2, lr, seed)?,
            next: Stream::new(seed, "fac/next"),
            pushed: Stream::new(seed, "fac/pushed"),
            proposal: Stream::new(seed, "fac/proposal"),
            replay: start.replay,
            act_dim,
            config,
        })
    }
}

impl Fac {
    /// The density of every action of the data, by the flow as it is now.
    fn value_the_data(&mut self) -> Result<()> {
        let t = self.replay.transitions();
        let all: Vec<usize> = (0..t.len()).collect();
        for part in all.chunks(CHUNK) {
            let s = self.replay.states(part, false)?;
            let a = part.iter().flat_map(|&i| t.action(i)).copied();
            let a = Tensor::from_iter(a, &Device::Cpu)?.reshape((part.len(), self.act_dim))?;
            let density = self
                .flow
                .log_density(&s, &data_actions(&a)?, &mut self.divergence)?;
            let density = density.to_vec1::<f32>()?;
            self.densities[part[0]..part[0] + part.len()].copy_from_slice(&density);
        }
        Ok(())
    }
}

impl Learner for Fac {
    /// First the flow alone. Then, with it frozen, one gradient of the sum of three
    /// losses where all networks stand: the critics' error from
    /// `r + discount (1 - d) min_i Q'_i(s', clip mu(s', z'))`; their penalty
    /// `alpha mean w Q_i(s, a~)`, `w = clip(1 - beta(a~|s) / epsilon)`, at another draw
    /// `a~` of the actor; the actor's own, as in FQL with its value normalized. The
    /// targets follow the critics just updated.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let (s, next_s, rows) = (&batch.obs, &batch.next_obs, batch.rows());
        let a = data_actions(&batch.actions)?;
        if step <= self.config.flow_updates {
            let loss = self.flow.loss(s, &a)?;
            self.flow.step(&loss.backward()?)?;
            return Ok(Metrics::default().with("flow_loss", scalar(&loss)?));
        }
        if step == self.config.flow_updates + 1 {
            self.value_the_data()?;
        }
        let c = &self.config;
        let z = normal(&mut self.next, 1.0, rows, self.act_dim)?;
        let next = self.actor.act(next_s, &z)?;
        let y = bellman(
            batch,
            c.discount,
            &self.critics.target(next_s, &next, c.target)?,
        )?;
        let critic_loss = self.critics.error(s, &a, &y)?;

        let z = normal(&mut self.pushed, 1.0, rows, self.act_dim)?;
        let drawn = self.actor.act(s, &z)?;
        let density = self.flow.log_density(s, &drawn, &mut self.divergence)?;
        let threshold = c.threshold.of(&self.densities, &sample.index);
        let threshold = Tensor::from_vec(threshold, rows, &Device::Cpu)?;
        let weights = penalty_weights(&density, &threshold)?;
        let values = self.critics.values(s, &drawn)?.into_iter();
        let penalty = mean(values.map(|q| q.mul(&weights)?.mean_all()))?;

        let z = normal(&mut self.proposal, 1.0, rows, self.act_dim)?;
        let actor = self.actor.loss(&self.flow, &self.critics, s, &z, true)?;
        let actor_loss = ((&actor.distil * c.lambda)? + &actor.value)?;
        let loss = ((&critic_loss + (&penalty * c.alpha)?)? + actor_loss)?;
        let grads = loss.backward()?;
        self.critics.step(&grads)?;
        self.actor.net.step(&grads)?;
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", scalar(&critic_loss)?)
            .with("weight_mean", scalar(&weights.mean_all()?)?)
            .with("penalty", scalar(&penalty)?)
            .with("distil_loss", scalar(&actor.distil)?)
            .with("value_loss", scalar(&actor.value)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .flow(&mut self.flow)
            .values("densities", &mut self.densities)
            .trained("actor", &mut self.actor.net)
            .critics(&mut self.critics)
            .divergence(&mut self.divergence)
            .stream("next", &mut self.next)
            .stream("pushed", &mut self.pushed)
            .stream("proposal", &mut self.proposal)
    }

    fn actor(&self) -> Result<Actor> {
        self.actor.actor()
    }
}

/// `clip(1 - exp(density - threshold), 0, 1)`, `[rows]`, of log-densities. Their
/// difference is what is exponentiated: each alone may be zero, and the weight where
/// it overflows is zero.
fn penalty_weights(density: &Tensor, threshold: &Tensor) -> Result<Tensor> {
    let ratio = (density - threshold)?.exp()?;
    (1.0 - ratio)?.clamp(0f32, 1f32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_threshold_is_that_of_the_row_of_the_batch_or_of_all_data() {
        let densities = [3.0, -1.0, 2.0, -5.0];
        let of = |threshold: Threshold| threshold.of(&densities, &[2, 1, 0]);
        assert_eq!(of(Threshold::Row), [2.0, -1.0, 3.0]);
        assert_eq!(of(Threshold::Batch), [-1.0; 3]);
        assert_eq!(of(Threshold::Data), [-5.0; 3]);
    }

    #[test]
    fn a_weight_is_no_nan_where_densities_are_beyond_a_float() {
        let tensor = |v: [f32; 6]| Tensor::new(&v, &Device::Cpu).unwrap();
        let density = tensor([-2.0, -1.0, 200.0, -900.0, -300.0, -1000.0]);
        let threshold = tensor([-1.0, -2.0, -300.0, -20.0, -300.0, -1000.0 - 2f32.ln()]);
        let weights = penalty_weights(&density, &threshold).unwrap();
        let weights = weights.to_vec1::<f32>().unwrap();
        let expected = [1.0 - (-1f32).exp(), 0.0, 0.0, 1.0, 0.0, 0.0];
        for (got, want) in weights.iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{weights:?}");
        }
    }
}
