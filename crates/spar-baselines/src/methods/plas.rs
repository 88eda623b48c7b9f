//! PLAS (Zhou, Bajracharya and Held 2020, "Latent Action Space for Offline
//! Reinforcement Learning"): a policy in the latent space of a frozen model of the
//! data's actions, and with a perturbation layer a step beyond it (`plas-p`).

use candle_core::{Result, Tensor};
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
        DataConfig, Settings, SettingsError, accessors, action_units, positive, share, unit,
        updates,
    },
    vae::{Vae, perturbed, perturbed_detached},
};

/// Hyper-parameters of PLAS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the data reach it.
    pub data: DataConfig,
    /// Widths of the hidden layers of encoder and decoder.
    pub vae_hidden: Vec<usize>,
    /// Adam's learning rate of encoder and decoder.
    pub vae_lr: f64,
    /// Of all updates the first so many train the model of actions, which is frozen
    /// then; the others the policy.
    pub vae_updates: u64,
    /// Widths of the hidden layers of actor, perturbation and critics.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of actor and perturbation.
    pub actor_lr: f64,
    /// Adam's learning rate of the critics.
    pub critic_lr: f64,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the targets' Polyak averaging.
    pub tau: f64,
    /// Weight of the smaller critic against the larger in targets.
    pub min_weight: f64,
    /// The largest latent the actor gives.
    pub latent_bound: f64,
    /// The largest perturbation, of `plas-p`.
    pub perturbation: f64,
}

impl Default for Config {
    /// The authors' `main.py` and `algos.py`.
    fn default() -> Self {
        Self {
            data: DataConfig {
                batch_size: 100,
                ..DataConfig::raw()
            },
            vae_hidden: vec![750, 750],
            vae_lr: 1e-4,
            vae_updates: 500_000,
            hidden: vec![400, 300],
            actor_lr: 1e-4,
            critic_lr: 1e-3,
            discount: 0.99,
            tau: 0.005,
            min_weight: 0.75,
            latent_bound: 2.0,
            perturbation: 0.05,
        }
    }
}

impl Settings for Config {
    const STAGES: &'static [&'static str] = &["vae_updates"];

    accessors!(discount, layers: [hidden, vae_hidden]);

    fn check(&self) -> std::result::Result<(), SettingsError> {
        updates("vae_updates", self.vae_updates, 1)?;
        positive(&[
            ("vae_lr", self.vae_lr),
            ("actor_lr", self.actor_lr),
            ("critic_lr", self.critic_lr),
        ])?;
        action_units(&[
            ("latent_bound", self.latent_bound),
            ("perturbation", self.perturbation),
        ])?;
        share(&[("min_weight", self.min_weight)])?;
        unit(&[("discount", self.discount), ("tau", self.tau)])
    }
}

/// PLAS while it is being trained; `P` of `plas-p` has a perturbation layer.
#[derive(Debug)]
pub struct Plas<const P: bool = false> {
    config: Config,
    vae: Vae,
    actor: Trained,
    actor_target: Mlp,
    perturbation: Option<(Trained, Mlp)>,
    critics: Critics,
    posterior: Stream,
}

/// PLAS with its perturbation layer.
pub type PlasP = Plas<true>;

impl<const P: bool> Baseline for Plas<P> {
    const NAME: MethodName = if P { names::PLAS_P } else { names::PLAS };
    type Config = Config;

    fn new(config: Config, start: Start) -> Result<Self> {
        let (obs_dim, act_dim, seed) = (start.obs_dim, start.act_dim, start.seed);
        let shape = |input, output| relu_shape(input, config.hidden.clone(), output);
        let bounded = |input, output, name| {
            let shape = shape(input, output)?.with_head(Head::Tanh);
            let net = Trained::new(shape, config.actor_lr, seed, name)?;
            let target = net.net.duplicate()?;
            Ok::<_, candle_core::Error>((net, target))
        };
        let vae = Vae::new(&config.vae_hidden, config.vae_lr, obs_dim, act_dim, seed)?;
        let (actor, actor_target) = bounded(obs_dim, vae.latent_dim(), "actor")?;
        let perturbation = P.then(|| bounded(obs_dim + act_dim, act_dim, "perturbation"));
        Ok(Self {
            perturbation: perturbation.transpose()?,
            critics: Critics::new(&shape(obs_dim + act_dim, 1)?, 2, config.critic_lr, seed)?,
            posterior: Stream::new(seed, "plas/posterior"),
            vae,
            actor,
            actor_target,
            config,
        })
    }
}

impl<const P: bool> Plas<P> {
    /// The action of the target policy, without any gradient.
    fn target_action(&self, s: &Tensor) -> Result<Tensor> {
        let z = (self.actor_target.forward_detached(s)? * self.config.latent_bound)?;
        let a = self.vae.decode_detached(s, &z)?;
        match &self.perturbation {
            None => Ok(a),
            Some((_, target)) => perturbed_detached(target, self.config.perturbation, s, &a),
        }
    }
}

impl<const P: bool> Learner for Plas<P> {
    /// First the model of actions alone. Then, with it frozen: the critics towards
    /// `r + discount (1 - d) (w min_i Q'_i + (1 - w) max_i Q'_i)(s', pi'(s'))`; the
    /// policy, up `mean Q_1(s, decode(s, z(s)))`; the targets.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics> {
        let batch = &sample.batch;
        let s = &batch.obs;
        if step <= self.config.vae_updates {
            let noise = normal(
                &mut self.posterior,
                1.0,
                batch.rows(),
                self.vae.latent_dim(),
            )?;
            let (reconstruction, kl) = self.vae.fit(batch, &noise)?;
            return Ok(Metrics::default()
                .with("reconstruction", reconstruction)
                .with("kl", kl));
        }
        let c = &self.config;
        let next = self.target_action(&batch.next_obs)?;
        let value = self
            .critics
            .target_mix(&batch.next_obs, &next, c.min_weight)?;
        let y = bellman(batch, c.discount, &value)?;
        let critic_loss = self.critics.fit(s, &batch.actions, &y)?;

        let z = (self.actor.net.forward(s, Trace::Params)? * c.latent_bound)?;
        let mut proposed = self.vae.decode(s, &z, Trace::Input)?;
        if let Some((net, _)) = &self.perturbation {
            proposed = perturbed(&net.net, c.perturbation, s, &proposed, Trace::Both)?;
        }
        let loss = self.critics.climb(0, s, &proposed)?.mean_all()?.neg()?;
        let grads = loss.backward()?;
        self.actor.step(&grads)?;
        let tau = c.tau as f32;
        if let Some((net, target)) = &mut self.perturbation {
            net.step(&grads)?;
            target.track(&net.net, tau)?;
        }
        self.actor_target.track(&self.actor.net, tau)?;
        self.critics.track(c.tau)?;
        Ok(Metrics::default()
            .with("target_mean", scalar(&y.mean_all()?)?)
            .with("critic_loss", critic_loss)
            .with("actor_loss", scalar(&loss)?))
    }

    fn parts(&mut self) -> Parts<'_> {
        let parts = Parts::default()
            .vae(&mut self.vae)
            .trained("actor", &mut self.actor)
            .net("actor.target", &self.actor_target)
            .critics(&mut self.critics)
            .stream("posterior", &mut self.posterior);
        match &mut self.perturbation {
            None => parts,
            Some((net, target)) => parts
                .trained("perturbation", net)
                .net("perturbation.target", target),
        }
    }

    fn actor(&self) -> Result<Actor> {
        let size = self.config.perturbation as f32;
        let perturbation = self.perturbation.as_ref();
        let perturbation = perturbation.map(|(net, _)| net.net.row_mlp());
        Ok(Actor::Latent(LatentActor {
            decoder: self.vae.rows()?,
            affine: None,
            latent: Latent::Actor {
                net: self.actor.net.row_mlp()?,
                bound: self.config.latent_bound as f32,
            },
            perturbation: perturbation.transpose()?.map(|net| (net, size)),
        }))
    }
}
