//! One whole update of SPAR, in the paper's order:
//!
//! 1. anchor actions `b = pi_base(s)` of the frozen behaviour-cloning policy
//! 2. critic step, conservative
//! 3. fitting the manifold: residual regression
//! 4. local improvement: Latent Self-Imitation
//! 5. Polyak averaging of the targets
//!
//! This is the definition; `device.rs` is the same update on a GPU, tested equal
//! to it.

use candle_core::{Result, Tensor, backprop::GradStore};
use serde::{Deserialize, Serialize};
use spar_core::Stream;
use spar_critic::{Critic, CriticConfig, CriticMetrics};
use spar_nn::{
    Adam, AdamConfig, Batch, ImitationStats, Mlp, Penalized, State, StateError, Trace,
    critics::repeat_rows, weighted_regression,
};

use crate::{
    ablation::Ablated,
    base::Base,
    config::RectifyConfig,
    loss::fit_loss,
    model::{SupportModel, decode_detached},
};

/// SPAR while it is being trained.
#[derive(Debug)]
pub struct Spar {
    /// The frozen policy that is rectified: in no optimizer.
    pub base: Base,
    /// The conservative critic.
    pub critic: Critic,
    /// The residual policy and the model of its support.
    pub model: SupportModel,
    pub(crate) config: RectifyConfig,
    /// Polyak average of the decoder: the one that acts.
    pub(crate) decoder_average: Mlp,
    encoder_optim: Adam,
    decoder_optim: Adam,
    pub(crate) latents: Stream,
    pub(crate) posterior: Stream,
    updates: u64,
    /// What is done otherwise in a row of the ablation table.
    pub(crate) ablated: Option<Ablated>,
}

/// What one update measured. Policy entries are those of the last update in
/// which the policy learned, zero before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SparMetrics {
    /// The critic's losses.
    #[serde(flatten)]
    pub critic: CriticMetrics,
    /// `|Delta(s, b, z) - r|^2`.
    pub reconstruction: f32,
    /// KL of the posterior to the prior.
    pub kl: f32,
    /// `(1/K) sum_k |Delta_k - Delta*|^2`; in an ablation, whatever loss stands in its
    /// place.
    pub self_imitation: f32,
    /// Largest weight among a state's candidates, mean over the batch:
    /// `1/K` when the critic sees no difference.
    pub weight_max: f32,
    /// Spread of a state's candidates: `(1/K) sum_k |Delta_k - mean_j Delta_j|^2`.
    pub spread: f32,
    /// Effective number of candidates, `1 / sum_k w_k^2`, mean over the batch: K when
    /// self-imitation rests.
    pub effective_candidates: f32,
    /// Standard deviation of the candidates' advantages, in units of values.
    pub advantage_std: f32,
    /// Standard deviation of the data actions' own advantages, in units of values.
    pub data_advantage_std: f32,
    /// What a candidate's value lost for each unit of the critics' disagreement about it
    /// beyond the data's: [`spar_nn::Penalty`].
    #[serde(default)]
    pub penalty_weight: f32,
}

impl SparMetrics {
    /// Takes in what self-imitation measured, the standard deviation of the data actions'
    /// advantages, and the weight of the critics' disagreement.
    pub(crate) fn imitated(
        &mut self,
        stats: ImitationStats,
        data_advantage_std: f32,
        penalty_weight: f32,
    ) {
        self.self_imitation = stats.loss;
        self.spread = stats.spread;
        self.weight_max = stats.weight_max;
        self.effective_candidates = stats.effective;
        self.advantage_std = stats.deviation;
        self.data_advantage_std = data_advantage_std;
        self.penalty_weight = penalty_weight;
    }

    /// Every number by its name, in the order of the log.
    pub fn named(&self) -> [(&'static str, f32); 12] {
        [
            ("q_loss", self.critic.q_loss),
            ("value_loss", self.critic.value_loss),
            ("target_mean", self.critic.target_mean),
            ("reconstruction", self.reconstruction),
            ("kl", self.kl),
            ("self_imitation", self.self_imitation),
            ("weight_max", self.weight_max),
            ("spread", self.spread),
            ("effective_candidates", self.effective_candidates),
            ("advantage_std", self.advantage_std),
            ("data_advantage_std", self.data_advantage_std),
            ("penalty_weight", self.penalty_weight),
        ]
    }

    /// Whether every measured number is finite.
    pub fn is_finite(&self) -> bool {
        self.named().iter().all(|(_, value)| value.is_finite())
    }
}

impl Spar {
    /// Starts from a trained, now frozen anchor, or from a base that is given.
    ///
    /// # Errors
    /// If candle cannot hold the parameters, or an ablation would change a base that is
    /// given.
    pub fn new(
        config: RectifyConfig,
        critic: CriticConfig,
        base: impl Into<Base>,
        obs_dim: usize,
        act_dim: usize,
        seed: u64,
    ) -> Result<Self> {
        let model = SupportModel::new(&config, obs_dim, act_dim, seed)?;
        let adam = AdamConfig::new(config.lr);
        let base = base.into();
        Ok(Self {
            decoder_average: model.decoder.duplicate()?,
            encoder_optim: Adam::new(&model.encoder, adam),
            decoder_optim: Adam::new(&model.decoder, adam),
            critic: Critic::new(critic, obs_dim, act_dim, seed)?,
            latents: Stream::new(seed, "rectify/latents"),
            posterior: Stream::new(seed, "rectify/posterior"),
            ablated: Ablated::new(&config, &base, (obs_dim, act_dim), seed)?,
            base,
            model,
            config,
            updates: 0,
        })
    }

    /// One update on one batch. `metrics` is brought up to date in place.
    ///
    /// # Errors
    /// If the batch's shapes do not fit.
    pub fn update(&mut self, batch: &Batch, metrics: &mut SparMetrics) -> Result<()> {
        let Self {
            base,
            critic,
            model,
            config,
            decoder_average,
            latents,
            ..
        } = self;
        metrics.critic = critic.update(batch, &mut |next_s| {
            let b = base.act_next(batch)?;
            let z = model.draw_latents(latents, config.sigma_z, next_s.dim(0)?)?;
            let residual = decode_detached(decoder_average, config.rho, next_s, &b, &z)?;
            (b + residual)?.clamp(-1f32, 1f32)
        })?;

        if self.updates.is_multiple_of(config.policy_freq) {
            match self.ablated.take() {
                None => self.learn(batch, metrics)?,
                Some(mut ablated) => {
                    let done = self.learn_otherwise(&mut ablated, batch, metrics);
                    self.ablated = Some(ablated);
                    done?;
                }
            }
            self.decoder_average
                .track(&self.model.decoder, self.config.tau)?;
        }

        self.critic.polyak()?;
        self.updates += 1;
        Ok(())
    }

    /// The policy's step: `lambda L_lsi + w_fit L_fit` after a warm-up of `L_fit`
    /// alone.
    fn learn(&mut self, batch: &Batch, metrics: &mut SparMetrics) -> Result<()> {
        let (s, a, b) = (&batch.obs, &batch.actions, self.base.act(batch)?);
        let fit = self.fit(s, &b, a, metrics)?;
        let loss = if self.imitates() {
            let imitation = self.self_imitation(s, &b, metrics)?;
            ((imitation * self.config.lambda)? + (fit * self.config.w_fit)?)?
        } else {
            fit
        };
        self.step(&loss)?;
        Ok(())
    }

    /// Whether the warm-up is over.
    pub(crate) fn imitates(&self) -> bool {
        self.updates >= self.config.warmup
    }

    /// Residual regression onto the data: [`fit_loss`].
    pub(crate) fn fit(
        &mut self,
        s: &Tensor,
        b: &Tensor,
        a: &Tensor,
        metrics: &mut SparMetrics,
    ) -> Result<Tensor> {
        let beta = self.config.beta;
        let (fit, reconstruction, kl) = fit_loss(&self.model, beta, s, b, a, &mut self.posterior)?;
        (metrics.reconstruction, metrics.kl) = (reconstruction, kl);
        Ok(fit)
    }

    /// Latent Self-Imitation: with candidates `Delta_k = Delta(s, b, z_k)`,
    /// `z_k ~ N(0, sigma_z^2)`, their conservative values `q_k` and advantages
    /// `A_k = q_k - mean_j q_j`,
    ///
    /// `sigma = max(sd of all candidates' A, scale * sd of the data actions' own A)`,
    /// `w = softmax(A / (sigma T))`,
    /// `Delta* = sum_k w_k Delta_k`,
    /// `L_lsi = mean_B (1/K) sum_k |Delta_k - Delta*|^2`.
    ///
    /// The critic only ranks actions; its gradient is never taken.
    fn self_imitation(
        &mut self,
        s: &Tensor,
        b: &Tensor,
        metrics: &mut SparMetrics,
    ) -> Result<Tensor> {
        let candidates = self.candidates(s, b)?;
        let Penalized { values: q, weight } = self.values(s, b, &candidates)?;
        let (k, of_data) = (self.config.candidates, self.data_deviation(&q)?);
        let (loss, stats) =
            weighted_regression(&candidates, &q, k, self.config.weighting(of_data))?;
        metrics.imitated(stats, of_data, weight);
        Ok(loss)
    }

    /// `Delta_k = Delta(s, b, z_k)`, `[rows * K, act_dim]`, of drawn latents.
    pub(crate) fn candidates(&mut self, s: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (rows, k) = (s.dim(0)?, self.config.candidates);
        let (latents, sigma_z) = (&mut self.latents, self.config.sigma_z);
        let z = self.model.draw_latents(latents, sigma_z, rows * k)?;
        self.model.decode(s, b, &z, Trace::Params)
    }

    /// `q_k = min_i Q_i(s, clip(b + Delta_k))`, less the critic's penalty, `[rows * K]`,
    /// without any gradient: [`Critic::candidate_value`].
    pub(crate) fn values(&self, s: &Tensor, b: &Tensor, candidates: &Tensor) -> Result<Penalized> {
        let base = repeat_rows(b, self.config.candidates)?;
        let actions = (base + candidates)?.detach().clamp(-1f32, 1f32)?;
        self.critic.candidate_value(s, &actions)
    }

    /// Standard deviation of the advantages of the batch's own actions, which the
    /// critic's step has just measured; `q` are the candidates' values.
    pub(crate) fn data_deviation(&self, q: &Tensor) -> Result<f32> {
        self.critic.data_deviation(q, self.config.candidates)
    }

    /// One step of encoder and decoder down `loss`.
    pub(crate) fn step(&mut self, loss: &Tensor) -> Result<GradStore> {
        let grads = loss.backward()?;
        // Only the fit teaches the encoder, and candle gives no gradient at all to
        // what is multiplied by zero.
        if !self.imitates() || self.config.fits_on() {
            self.encoder_optim.step(&grads)?;
        }
        self.decoder_optim.step(&grads)?;
        Ok(grads)
    }

    /// Hyper-parameters.
    pub fn config(&self) -> &RectifyConfig {
        &self.config
    }

    /// Updates done so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Adds networks, optimizers, counters and random streams to `state`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, state: &mut State) -> Result<()> {
        if let Base::Cloned(anchor) = &self.base {
            anchor.net().save("anchor", state)?;
        }
        self.critic.save(state)?;
        self.model.encoder.save("rectify.encoder", state)?;
        self.model.decoder.save("rectify.decoder", state)?;
        self.decoder_average
            .save("rectify.decoder_average", state)?;
        self.encoder_optim.save("rectify.encoder", state);
        self.decoder_optim.save("rectify.decoder", state);
        if let Some(ablated) = &self.ablated {
            ablated.save(state)?;
        }
        state.insert_count("rectify.updates", self.updates);
        state.insert_stream("rectify.latents", &self.latents);
        state.insert_stream("rectify.posterior", &self.posterior);
        Ok(())
    }

    /// Takes networks, optimizers, counters and random streams from `state`.
    ///
    /// # Errors
    /// If one is absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        if let Base::Cloned(anchor) = &self.base {
            anchor.net().load("anchor", state)?;
        }
        self.critic.load(state)?;
        self.model.encoder.load("rectify.encoder", state)?;
        self.model.decoder.load("rectify.decoder", state)?;
        self.decoder_average
            .load("rectify.decoder_average", state)?;
        self.encoder_optim.load("rectify.encoder", state)?;
        self.decoder_optim.load("rectify.decoder", state)?;
        if let Some(ablated) = &mut self.ablated {
            ablated.load(state)?;
        }
        self.updates = state.get_count("rectify.updates")?;
        self.latents = state.get_stream("rectify.latents")?;
        self.posterior = state.get_stream("rectify.posterior")?;
        Ok(())
    }
}
