//! IFQL (Park, Li and Levine 2025), the flow twin of IDQL: values of the data's actions
//! alone, a flow that clones the data, and the best of several of its draws to act by.

use std::num::NonZeroUsize;

use candle_core::Result;
use serde::{Deserialize, Serialize};
use spar_critic::expectile_loss;
use spar_nn::Trace;

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    flow::{self, Flow, FlowConfig, data_actions, value_shape},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{DataConfig, Settings, SettingsError, accessors, chain_draws, positive, unit},
};

/// Hyper-parameters of IFQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of flow, value and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of all networks.
    pub lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Which expectile of `min_i Q'_i(s, a)` the value aims at.
    pub expectile: f64,
    /// Euler steps from noise to an action.
    pub flow_steps: NonZeroUsize,
    /// Actions drawn when acting.
    pub candidates: NonZeroUsize,
}

impl Default for Config {
    /// The authors' `agents/ifql.py`.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: flow::HIDDEN.to_vec(),
            lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            expectile: 0.9,
            flow_steps: flow::STEPS,
            candidates: const { NonZeroUsize::new(32).expect("not zero") },
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        chain_draws(
            ("candidates", self.candidates.get()),
            ("flow_steps", self.flow_steps.get()),
        )?;
        positive(&[("lr", self.lr)])?;
        unit(&[
            ("discount", self.discount),
            ("tau", self.tau),
            ("expectile", self.expectile),
        ])
    }
}

/// IFQL while it is being trained.
#[derive(Debug)]
pub struct Ifql {
    config: Config,
    flow: Flow,
    value: Trained,
    critics: Critics,
}

impl Baseline for Ifql {
    const NAME: MethodName = names::IFQL;
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
        let value = value_shape(obs_dim, hidden)?;
        Ok(Self {
            flow: Flow::new(flow, obs_dim, act_dim, seed)?,
            value: Trained::glorot(value, lr, seed, "value")?,
            critics: Critics::glorot(&critic, 2, lr, seed)?,
            config,
        })
    }
}

impl Learner for Ifql {
    /// One gradient, of the sum of three losses where all networks stand: the value's,
    /// towards an expectile of `min_i Q'_i(s, a)`; the critics', summed, from
    /// `r + discount (1 - d) V(s')`; the flow's. The targets move towards the critics
    /// before these step: they lag by an update.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let (c, batch) = (&self.config, &sample.batch);
        let (s, a) = (&batch.obs, data_actions(&batch.actions)?);

        let q = self.critics.target_min(s, &a)?;
        let u = (q - self.value.net.forward(s, Trace::Params)?.squeeze(1)?)?;
        let value_loss = expectile_loss(&u, c.expectile)?;
        let next = self.value.net.forward_detached(&batch.next_obs)?;
        let y = bellman(batch, c.discount, &next.squeeze(1)?)?;
        let critic_loss = (self.critics.error(s, &a, &y)? * self.critics.count() as f64)?;
        let flow_loss = self.flow.loss(s, &a)?;
        let grads = ((&value_loss + &critic_loss)? + &flow_loss)?.backward()?;

        self.critics.track(c.tau)?;
        self.critics.step(&grads)?;
        self.value.step(&grads)?;
        self.flow.step(&grads)?;
        Ok(Metrics::default()
            .with("value_loss", scalar(&value_loss)?)
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", scalar(&critic_loss)?)
            .with("flow_loss", scalar(&flow_loss)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .flow(&mut self.flow)
            .trained("value", &mut self.value)
            .critics(&mut self.critics)
    }

    /// The critics that choose are the trained ones, not their targets.
    fn actor(&self) -> Result<Actor> {
        self.flow.best_of(self.config.candidates, &self.critics)
    }
}
