//! 10%BC: behaviour cloning of the best tenth of the trajectories (Chen et al.
//! 2021). Trajectories end where the file says, so that none is ranked by a part of
//! another's return.

use candle_core::Result;
use serde::{Deserialize, Serialize};
use spar_nn::{Head, Trace, relu_shape};

use crate::{
    Trained,
    actor::Actor,
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    settings::{DataConfig, Keep, Settings, SettingsError, accessors, positive},
};

/// Hyper-parameters of 10%BC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Adam's learning rate.
    pub lr: f64,
}

impl Default for Config {
    /// CORL's `any_percent_bc.py`.
    fn default() -> Self {
        Self {
            data: DataConfig {
                keep: Some(Keep {
                    fraction: 0.1,
                    discount: 0.99,
                }),
                ..DataConfig::default()
            },
            hidden: vec![256, 256],
            lr: 3e-4,
        }
    }
}

impl Settings for Config {
    accessors!(layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        positive(&[("lr", self.lr)])
    }
}

/// 10%BC while it is being trained.
#[derive(Debug)]
pub struct Bc10 {
    actor: Trained,
}

impl Baseline for Bc10 {
    const NAME: MethodName = names::BC10;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let shape = relu_shape(start.obs_dim, config.hidden, start.act_dim)?;
        let shape = shape.with_head(Head::Tanh);
        let actor = Trained::new(shape, config.lr, start.seed, "actor")?;
        Ok(Self { actor })
    }
}

impl Learner for Bc10 {
    /// `mean (pi(s) - a)^2`.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let proposed = self.actor.net.forward(&batch.obs, Trace::Params)?;
        let loss = (proposed - &batch.actions)?.sqr()?.mean_all()?;
        Ok(Metrics::default().with("actor_loss", self.actor.descend(&loss)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default().trained("actor", &mut self.actor)
    }

    fn actor(&self) -> Result<Actor> {
        Actor::net(&self.actor.net)
    }
}
