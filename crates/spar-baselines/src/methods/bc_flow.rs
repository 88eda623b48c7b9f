//! Behaviour cloning by a flow: FQL's model of the data's actions (Park, Li and Levine
//! 2025) with nothing beside it. It acts by one action drawn in each state.

use std::num::NonZeroUsize;

use candle_core::Result;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Actor,
    flow::{self, Flow, FlowConfig, data_actions},
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{DataConfig, Settings, SettingsError, accessors, chain_steps, positive},
};

/// Hyper-parameters of cloning by a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Adam's learning rate.
    pub lr: f64,
    /// Euler steps from noise to an action.
    pub flow_steps: NonZeroUsize,
}

impl Default for Config {
    /// The flow of the authors' `agents/fql.py`.
    fn default() -> Self {
        Self {
            data: DataConfig::raw(),
            hidden: flow::HIDDEN.to_vec(),
            lr: 3e-4,
            flow_steps: flow::STEPS,
        }
    }
}

impl Settings for Config {
    accessors!(layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        chain_steps("flow_steps", self.flow_steps.get())?;
        positive(&[("lr", self.lr)])
    }
}

/// Cloning by a flow while it is being trained.
#[derive(Debug)]
pub struct BcFlow {
    flow: Flow,
}

impl Baseline for BcFlow {
    const NAME: MethodName = names::BC_FLOW;
    const REWARDED: bool = false;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let flow = FlowConfig {
            hidden: &config.hidden,
            lr: config.lr,
            steps: config.flow_steps,
        };
        let flow = Flow::new(flow, start.obs_dim, start.act_dim, start.seed)?;
        Ok(Self { flow })
    }
}

impl Learner for BcFlow {
    /// `mean (v(s, x_t, t) - (a - x_0))^2` with `x_t = (1 - t) x_0 + t a`, a normal `x_0` and a
    /// uniform `t` a row: [`Flow::loss`] of the data's actions.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let loss = self.flow.loss(&batch.obs, &data_actions(&batch.actions)?)?;
        self.flow.step(&loss.backward()?)?;
        Ok(Metrics::default().with("flow_loss", scalar(&loss)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default().flow(&mut self.flow)
    }

    fn actor(&self) -> Result<Actor> {
        self.flow.actor()
    }
}
