//! BCQ (Fujimoto, Meger and Precup 2019, "Off-Policy Deep Reinforcement Learning
//! without Exploration"): the best of several actions drawn from a model of the
//! data's, each slightly perturbed.

use std::num::NonZeroUsize;

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_nn::{Head, Mlp, Trace, normal, relu_shape};
use spar_policy::{Latent, LatentActor};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    scalar,
    settings::{
        DataConfig, Settings, SettingsError, accessors, action_units, candidates, positive, share,
        unit,
    },
    vae::{Vae, perturbed, perturbed_detached},
};

/// Hyper-parameters of BCQ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of encoder and decoder.
    pub vae_hidden: Vec<usize>,
    /// Widths of the hidden layers of perturbation and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of all networks.
    pub lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Weight of the smaller critic against the larger in targets.
    pub min_weight: f64,
    /// The largest perturbation.
    pub phi: f64,
    /// The largest latent that is decoded.
    pub latent_clip: f64,
    /// Actions drawn in a target.
    pub target_candidates: usize,
    /// Actions drawn when acting.
    pub candidates: NonZeroUsize,
}

impl Default for Config {
    /// The authors' `main.py` and `BCQ.py` for continuous actions.
    fn default() -> Self {
        Self {
            data: DataConfig {
                batch_size: 100,
                ..DataConfig::raw()
            },
            vae_hidden: vec![750, 750],
            hidden: vec![400, 300],
            lr: 1e-3,
            discount: 0.99,
            tau: 0.005,
            min_weight: 0.75,
            phi: 0.05,
            latent_clip: 0.5,
            target_candidates: 10,
            candidates: const { NonZeroUsize::new(100).expect("not zero") },
        }
    }
}

impl Settings for Config {
    accessors!(discount, layers: [hidden, vae_hidden]);

    fn draws(&self) -> Option<(&'static str, usize)> {
        Some(("target_candidates", self.target_candidates))
    }

    fn check(&self) -> std::result::Result<(), SettingsError> {
        candidates("candidates", self.candidates.get())?;
        positive(&[("lr", self.lr)])?;
        action_units(&[("phi", self.phi), ("latent_clip", self.latent_clip)])?;
        share(&[("min_weight", self.min_weight)])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])
    }
}

/// BCQ while it is being trained.
#[derive(Debug)]
pub struct Bcq {
    config: Config,
    vae: Vae,
    perturbation: Trained,
    perturbation_target: Mlp,
    critics: Critics,
    posterior: Stream,
    next: Stream,
    proposal: Stream,
}

impl Baseline for Bcq {
    const NAME: MethodName = names::BCQ;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |output| relu_shape(obs_dim + act_dim, config.hidden.clone(), output);
        let change = shape(act_dim)?.with_head(Head::Tanh);
        let perturbation = Trained::new(change, config.lr, seed, "perturbation")?;
        Ok(Self {
            vae: Vae::new(&config.vae_hidden, config.lr, obs_dim, act_dim, seed)?,
            perturbation_target: perturbation.net.duplicate()?,
            critics: Critics::new(&shape(1)?, 2, config.lr, seed)?,
            posterior: Stream::new(seed, "bcq/posterior"),
            next: Stream::new(seed, "bcq/next"),
            proposal: Stream::new(seed, "bcq/proposal"),
            perturbation,
            config,
        })
    }
}

impl Learner for Bcq {
    /// In this order: the model of actions; the critics, towards
    /// `r + discount (1 - d) max_k (w min_i Q'_i + (1 - w) max_i Q'_i)(s', a_k)` of
    /// perturbed draws `a_k`; the perturbation, up `mean Q_1` of one perturbed draw;
    /// the targets.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let (s, next_s, rows) = (&batch.obs, &batch.next_obs, batch.rows());
        let noise = normal(&mut self.posterior, 1.0, rows, self.vae.latent_dim())?;
        let (reconstruction, kl) = self.vae.fit(batch, &noise)?;

        let (c, k) = (&self.config, self.config.target_candidates);
        let next = draw(&self.vae, c.latent_clip, &mut self.next, next_s, rows * k)?;
        let next = perturbed_detached(&self.perturbation_target, c.phi, next_s, &next)?;
        let value = self.critics.target_mix(next_s, &next, c.min_weight)?;
        let value = value.reshape((rows, k))?.max(D::Minus1)?;
        let y = bellman(batch, c.discount, &value)?;
        let critic_loss = self.critics.fit(s, &batch.actions, &y)?;

        let drawn = draw(&self.vae, c.latent_clip, &mut self.proposal, s, rows)?;
        let proposed = perturbed(&self.perturbation.net, c.phi, s, &drawn, Trace::Params)?;
        let loss = self.critics.climb(0, s, &proposed)?.mean_all()?.neg()?;
        let actor_loss = self.perturbation.descend(&loss)?;
        self.critics.track(c.tau)?;
        self.perturbation_target
            .track(&self.perturbation.net, c.tau as f32)?;
        Ok(Metrics::default()
            .with("reconstruction", reconstruction)
            .with("kl", kl)
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("actor_loss", actor_loss))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .vae(&mut self.vae)
            .trained("perturbation", &mut self.perturbation)
            .net("perturbation.target", &self.perturbation_target)
            .critics(&mut self.critics)
            .stream("posterior", &mut self.posterior)
            .stream("next", &mut self.next)
            .stream("proposal", &mut self.proposal)
    }

    fn actor(&self) -> Result<Actor> {
        let perturbation = self.perturbation.net.row_mlp()?;
        Ok(Actor::Latent(LatentActor {
            decoder: self.vae.rows()?,
            affine: None,
            latent: Latent::Best {
                critic: self.critics.rows(0)?,
                candidates: self.config.candidates,
                clip: self.config.latent_clip as f32,
            },
            perturbation: Some((perturbation, self.config.phi as f32)),
        }))
    }
}

/// Actions of `rows` latents drawn from `stream`, in turn for the states `s`.
fn draw(vae: &Vae, clip: f64, stream: &mut Stream, s: &Tensor, rows: usize) -> Result<Tensor> {
    let clip = clip as f32;
    let z = normal(stream, 1.0, rows, vae.latent_dim())?.clamp(-clip, clip)?;
    vae.decode_detached(s, &z)
}
