//! LAPO (Chen et al. 2022, "Latent-Variable Advantage-Weighted Policy Optimization for
//! Offline Reinforcement Learning"): a model of the data's actions that is fitted where
//! their advantage is positive above all, and a policy in its latent space.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};
use spar_core::{Normalizer, Stream};
use spar_nn::{Device, Head, Mlp, Rows, Trace, normal, relu_shape};
use spar_policy::{Latent, LatentActor};

use crate::{
    Critics, Trained,
    actor::Actor,
    bellman,
    learner::{Baseline, Learner, MethodName, Metrics, Parts, Sample, Start, names},
    replay::Replay,
    scalar,
    settings::{
        DataConfig, Rewards, Settings, SettingsError, accessors, action_units, finite,
        not_negative, positive, share, unit,
    },
    vae::Vae,
};

/// Added to the standard deviation of the data's actions (`utils.py`).
const STD_OFFSET: f64 = 1e-6;

/// Hyper-parameters of LAPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of all networks.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of all networks.
    pub lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Weight of the smaller critic against the larger.
    pub min_weight: f64,
    /// Weight of the KL in the model of actions.
    pub kl_weight: f64,
    /// Weight of a transition whose advantage is positive; of the others it is what is
    /// left to one.
    pub advantage_weight: f64,
    /// The largest latent the policy gives.
    pub latent_bound: f64,
    /// Deviation of the noise on the latents that the value is of.
    pub latent_noise: f64,
    /// The largest such noise.
    pub noise_clip: f64,
    /// What the value's targets are kept within; absent, the least and the greatest
    /// reward for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_bounds: Option<[f64; 2]>,
}

impl Default for Config {
    /// The authors' `main_d4rl.py` and README.
    fn default() -> Self {
        Self {
            data: DataConfig {
                batch_size: 512,
                rewards: Rewards::Largest(1.0),
                ..DataConfig::default()
            },
            hidden: vec![256, 256, 256],
            lr: 2e-4,
            discount: 0.99,
            tau: 0.005,
            min_weight: 1.0,
            kl_weight: 1.0,
            advantage_weight: 0.9,
            latent_bound: 2.0,
            latent_noise: 0.1,
            noise_clip: 0.2,
            value_bounds: None,
        }
    }
}

impl Settings for Config {
    const UNWRITTEN: &'static [(&'static str, &'static str)] = &[("value_bounds", "")];

    accessors!(discount, layers: [hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        positive(&[("lr", self.lr)])?;
        share(&[
            ("min_weight", self.min_weight),
            ("advantage_weight", self.advantage_weight),
        ])?;
        not_negative(&[
            ("kl_weight", self.kl_weight),
            ("latent_noise", self.latent_noise),
            ("noise_clip", self.noise_clip),
        ])?;
        action_units(&[("latent_bound", self.latent_bound)])?;
        if let Some([low, high]) = self.value_bounds {
            finite("value_bounds", low)?;
            finite("value_bounds", high)?;
            not_negative(&[("value_bounds, the second less the first,", high - low)])?;
        }
        unit(&[("discount", self.discount), ("tau", self.tau)])
    }
}

/// LAPO while it is being trained.
#[derive(Debug)]
pub struct Lapo {
    config: Config,
    /// Of the data's actions, which all networks see standardized.
    actions: Normalizer,
    /// What the value's targets are kept within.
    value_bounds: [f32; 2],
    vae: Vae,
    decoder_target: Mlp,
    actor: Trained,
    actor_target: Mlp,
    value: Trained,
    critics: Critics,
    posterior: Stream,
    latent: Stream,
}

impl Baseline for Lapo {
    const NAME: MethodName = names::LAPO;
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let t = start.replay.transitions();
        let actions = (0..t.len()).map(|i| t.action(i));
        let vae = Vae::linear(&config.hidden, config.lr, obs_dim, act_dim, seed)?;
        let actor = shape(obs_dim, vae.latent_dim())?.with_head(Head::Tanh);
        let actor = Trained::new(actor, config.lr, seed, "actor")?;
        Ok(Self {
            actions: Normalizer::of_rows_offset(act_dim, actions, STD_OFFSET),
            value_bounds: value_bounds(&config, &start.replay),
            decoder_target: vae.decoder().duplicate()?,
            vae,
            actor_target: actor.net.duplicate()?,
            actor,
            value: Trained::new(shape(obs_dim, 1)?, config.lr, seed, "value")?,
            critics: Critics::new(&shape(obs_dim + act_dim, 1)?, 2, config.lr, seed)?,
            posterior: Stream::new(seed, "lapo/posterior"),
            latent: Stream::new(seed, "lapo/latent"),
            config,
        })
    }
}

/// What the value's targets are kept within.
fn value_bounds(config: &Config, replay: &Replay) -> [f32; 2] {
    if let Some(bounds) = config.value_bounds {
        return bounds.map(|bound| bound as f32);
    }
    let rewards = (0..replay.transitions().len()).map(|i| replay.reward(i));
    let (low, high) = rewards.fold((f32::MAX, f32::MIN), |(low, high), r| {
        (low.min(r), high.max(r))
    });
    [low, high].map(|r| (f64::from(r) / (1.0 - config.discount)) as f32)
}

impl Lapo {
    /// The data's actions `a` as the networks see them.
    fn standardized(&self, a: &Tensor) -> Result<Tensor> {
        let row = |values: &[f32]| Tensor::from_slice(values, values.len(), &Device::Cpu);
        let centred = a.broadcast_sub(&row(&self.actions.mean)?)?;
        centred.broadcast_div(&row(&self.actions.std)?)
    }

    /// The targets' value of what the target policy does in `s`, its latents moved by
    /// `noise` if there is any, `[rows]`, without any gradient.
    fn target_value(&self, s: &Tensor, noise: Option<&Tensor>) -> Result<Tensor> {
        let z = (self.actor_target.forward_detached(s)? * self.config.latent_bound)?;
        let z = match noise {
            Some(noise) => (z + noise)?,
            None => z,
        };
        let a = self.decoder_target.forward_detached(Rows::beside(s, &z))?;
        self.critics.target_mix(s, &a, self.config.min_weight)
    }
}

impl Learner for Lapo {
    /// In this order: critics towards `r + discount (1 - d) V(s')` and the value towards
    /// the target policy's, kept in bounds; the model of actions, each transition weighed
    /// by the sign of `r + discount (1 - d) Q'(s', pi'(s')) - V(s)`; the policy, up
    /// `mean Q_1(s, decode'(s, z(s)))`; the targets.
    fn update(&mut self, _step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let (s, next_s, rows) = (&batch.obs, &batch.next_obs, batch.rows());
        let a = self.standardized(&batch.actions)?;
        let (discount, latent_dim) = (self.config.discount, self.vae.latent_dim());
        let forever = |value: &Trained, s: &Tensor| value.net.forward_detached(s)?.squeeze(1);

        let y = bellman(batch, discount, &forever(&self.value, next_s)?)?;
        let (std, clip) = (
            self.config.latent_noise as f32,
            self.config.noise_clip as f32,
        );
        let noise = normal(&mut self.latent, std, rows, latent_dim)?.clamp(-clip, clip)?;
        let [low, high] = self.value_bounds;
        let u = self.target_value(s, Some(&noise))?.clamp(low, high)?;
        let critic_loss = self.critics.fit(s, &a, &y)?;
        let error = (self.value.net.forward(s, Trace::Params)?.squeeze(1)? - u)?;
        let value_loss = self.value.descend(&error.sqr()?.mean_all()?)?;

        let ahead = bellman(batch, discount, &self.target_value(next_s, None)?)?;
        let advantage = (ahead - forever(&self.value, s)?)?.to_vec1::<f32>()?;
        let large = self.config.advantage_weight as f32;
        let weigh = |&a: &f32| if a > 0.0 { large } else { 1.0 - large };
        let weights = Tensor::from_iter(advantage.iter().map(weigh), &Device::Cpu)?;
        let noise = normal(&mut self.posterior, 1.0, rows, latent_dim)?;
        let kl_weight = self.config.kl_weight;
        let fitted = self.vae.fit_weighted(s, &a, &noise, &weights, kl_weight)?;

        let z = (self.actor.net.forward(s, Trace::Params)? * self.config.latent_bound)?;
        let rows = Rows::beside(s, &z);
        let proposed = self.decoder_target.forward(rows, Trace::Input)?;
        let loss = self.critics.climb(0, s, &proposed)?.mean_all()?.neg()?;
        let actor_loss = self.actor.descend(&loss)?;

        let tau = self.config.tau;
        self.critics.track(tau)?;
        self.actor_target.track(&self.actor.net, tau as f32)?;
        self.decoder_target.track(self.vae.decoder(), tau as f32)?;
        Ok(Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("value_loss", value_loss)
            .with("weight_mean", scalar(&weights.mean_all()?)?)
            .with("model_loss", fitted.loss)
            .with("reconstruction", fitted.reconstruction)
            .with("kl", fitted.kl)
            .with("actor_loss", actor_loss))
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts::default()
            .vae(&mut self.vae)
            .net("vae.decoder.target", &self.decoder_target)
            .trained("actor", &mut self.actor)
            .net("actor.target", &self.actor_target)
            .trained("value", &mut self.value)
            .critics(&mut self.critics)
            .stream("posterior", &mut self.posterior)
            .stream("latent", &mut self.latent)
    }

    /// The policy through the target decoder, in the units of the data's actions.
    fn actor(&self) -> Result<Actor> {
        let Normalizer { mean, std } = self.actions.clone();
        Ok(Actor::Latent(LatentActor {
            decoder: self.decoder_target.row_mlp()?,
            affine: Some((std, mean)),
            latent: Latent::Actor {
                net: self.actor.net.row_mlp()?,
                bound: self.config.latent_bound as f32,
            },
            perturbation: None,
        }))
    }
}
