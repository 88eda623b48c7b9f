//! Residual Policy Learning (Silver et al. 2018), read for logged data: a correction
//! of the frozen anchor's action that follows the gradient of a critic. Of the
//! authors' online method it keeps the residual that starts at zero, the penalty on
//! its size and the burn-in of the critic. Hindsight and exploration have no meaning
//! here and are left out; clipped twins stand for its single critic. That is this
//! project's reading, not the authors'.

use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use spar_anchor::Anchor;
use spar_nn::{Head, Mlp, Rows, Trace, relu_shape};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, action_units, not_negative, positive, unit,
        updates,
    },
};

/// Hyper-parameters of Residual Policy Learning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it; states as the anchor sees them, standardized.
    pub data: DataConfig,
    /// Widths of the hidden layers of residual and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of all networks.
    pub lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// The largest correction of an action component.
    pub rho: f64,
    /// Weight of the mean square of corrections.
    pub action_l2: f64,
    /// Updates of the critics before the residual begins to learn.
    pub burn_in: u64,
}

impl Default for Config {
    /// The authors' networks, penalty and learning rate; their targets move by 0.05
    /// once in 40 updates, which is about the usual 0.005 in every one; their
    /// burn-in ends when the actor's loss settles, here after a count.
    fn default() -> Self {
        Self {
            data: DataConfig::default(),
            hidden: vec![256, 256, 256],
            lr: 1e-3,
            discount: 0.99,
            tau: 0.005,
            rho: 1.0,
            action_l2: 1.0,
            burn_in: 10_000,
        }
    }
}

impl Settings for Config {
    const STAGES: &'static [&'static str] = &["burn_in"];
    // Of a run by this project's defaults: the source has no number of updates.
    const SOURCE_UPDATES: u64 = 100_000;

    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        updates("burn_in", self.burn_in, 0)?;
        positive(&[("lr", self.lr)])?;
        action_units(&[("rho", self.rho)])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])?;
        not_negative(&[("action_l2", self.action_l2)])
    }
}

/// Residual Policy Learning while it is being trained.
#[derive(Debug)]
pub struct Rpl {
    config: Config,
    anchor: Anchor,
    residual: Trained,
    residual_target: Mlp,
    critics: Critics,
}

impl Baseline for Rpl {
    const NAME: MethodName = names::RPL;
    const ANCHORED: bool = true;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let Some(anchor) = start.anchor else {
            bail!("rpl is a residual on an anchor, and was given none");
        };
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |output| relu_shape(obs_dim + act_dim, config.hidden.clone(), output);
        let residual = shape(act_dim)?.with_head(Head::Tanh);
        let residual = Trained::new(residual, config.lr, seed, "residual")?;
        residual.net.scale_output_layer(0.0)?;
        Ok(Self {
            residual_target: residual.net.duplicate()?,
            critics: Critics::new(&shape(1)?, 2, config.lr, seed)?,
            anchor,
            residual,
            config,
        })
    }
}

impl Learner for Rpl {
    /// The critics towards `r + discount (1 - d) min_i Q'_i(s', clip(b' + D'(s', b')))`
    /// with the anchor's action `b`; after the burn-in the residual
    /// `D(s, b) = rho tanh(net(s, b))`, up `mean Q_1(s, clip(b + D)) - l2 mean D^2`;
    /// the targets.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let (c, batch) = (&self.config, &sample.batch);
        let (s, next_s) = (&batch.obs, &batch.next_obs);

        let b = self.anchor.act(next_s)?;
        let change = self
            .residual_target
            .forward_detached(Rows::beside(next_s, &b))?;
        let next = corrected(&b, &(change * c.rho)?)?;
        let y = bellman(batch, c.discount, &self.critics.target_min(next_s, &next)?)?;
        let metrics = Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", self.critics.fit(s, &batch.actions, &y)?);
        if step <= c.burn_in {
            self.critics.track(c.tau)?;
            return Ok(metrics);
        }

        let b = self.anchor.act(s)?;
        let change = self
            .residual
            .net
            .forward(Rows::beside(s, &b), Trace::Params)?;
        let change = (change * c.rho)?;
        let q = self.critics.climb(0, s, &corrected(&b, &change)?)?;
        let size = change.sqr()?.mean_all()?;
        let loss = ((&size * c.action_l2)? - q.mean_all()?)?;
        let actor_loss = self.residual.descend(&loss)?;
        self.critics.track(c.tau)?;
        self.residual_target
            .track(&self.residual.net, c.tau as f32)?;
        Ok(metrics
            .with("actor_loss", actor_loss)
            .with("correction", scalar(&size)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .net("anchor", self.anchor.net())
            .trained("residual", &mut self.residual)
            .net("residual.target", &self.residual_target)
            .critics(&mut self.critics)
    }

    fn actor(&self) -> Result<Actor> {
        Ok(Actor::Residual {
            anchor: self.anchor.rows()?,
            net: self.residual.net.row_mlp()?,
            rho: self.config.rho as f32,
        })
    }
}

/// `clip(b + change)`.
fn corrected(b: &Tensor, change: &Tensor) -> Result<Tensor> {
    (b + change)?.clamp(-1f32, 1f32)
}
