//! The whole update of `update.rs` on a device, in the same order:
//!
//! 1. anchor actions `b = pi_base(s)`
//! 2. critic step, conservative, with the targets' averaging
//! 3. fitting the manifold: residual regression
//! 4. local improvement: Latent Self-Imitation
//!
//! `update.rs` is the definition; here are its launches, recorded once and
//! repeated as one. Random numbers are drawn on the host, from the same streams
//! in the same order, so that both follow one trajectory up to rounding.

use spar_anchor::anchor_net;
use spar_core::Stream;
use spar_critic::{CriticForm, DeviceCritic};
use spar_nn::{
    AdamConfig, BatchSlices, State, StateError,
    device::{
        Actions, BatchBuffers, CudaError, Device, Imitation, Kernels, Learner, Loss, Net, Part,
        Pass, Posterior, Ranking, Rows, mean,
    },
};
use spar_policy::LATENT_CLIP;

use crate::{
    config::RectifyConfig,
    update::{Spar, SparMetrics},
};

/// [`Spar`] on a device; the same numbers, up to rounding.
#[derive(Debug)]
pub struct DeviceSpar<'k, D: Device> {
    kernels: &'k Kernels<D>,
    parts: Parts<D::Buffer>,
    /// One for each kind of update.
    recordings: [Option<D::Recording>; 3],
    latents: Stream,
    posterior: Stream,
    updates: u64,
    metrics: SparMetrics,
    /// What the device has measured that `metrics` does not hold.
    unread: Unread,
}

/// What the policy does in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// Nothing: only the critic learns.
    Rests,
    /// It fits the data: warm-up.
    Fits,
    /// It fits the data and imitates itself.
    Imitates,
}

#[derive(Clone, Copy, Debug, Default)]
struct Unread {
    critic: bool,
    fit: bool,
    imitation: bool,
}

/// Networks and buffers.
#[derive(Debug)]
struct Parts<B> {
    config: RectifyConfig,
    latent_dim: usize,
    batch: BatchBuffers<B>,
    /// In no optimizer.
    anchor: Net<B>,
    critic: DeviceCritic<B>,
    encoder: Learner<B>,
    decoder: Learner<B>,

    // Of the next states, for the residual critic.
    next_base: B,
    next_latents: B,
    next_residuals: B,
    next_actions: B,

    // Of the fit.
    base: B,
    residuals: B,
    noise: B,
    z: B,
    encoder_pass: Pass<B>,
    decoder_pass: Pass<B>,
    /// Of the decoder's input, of which the latents are the last columns.
    grad_input: B,
    reconstruction: B,
    kl: B,

    // Of self-imitation, K candidates a state.
    latents: B,
    candidates: Pass<B>,
    candidate_actions: B,
    values: B,
    imitation: Imitation<B>,
}

impl<'k, D: Device> DeviceSpar<'k, D> {
    /// Continues from where `start` is, on batches of `rows` transitions.
    ///
    /// # Errors
    /// If the device has no memory for it, cannot take a network's shape or cannot
    /// be written.
    pub fn new(kernels: &'k Kernels<D>, start: &Spar, rows: usize) -> Result<Self, StateError> {
        let mut state = State::default();
        start.save(&mut state)?;
        let mut spar = Self {
            parts: Parts::new(kernels, start, rows)?,
            recordings: [const { None }; 3],
            latents: state.get_stream("rectify.latents")?,
            posterior: state.get_stream("rectify.posterior")?,
            updates: 0,
            metrics: SparMetrics::default(),
            unread: Unread::default(),
            kernels,
        };
        spar.load(&state)?;
        Ok(spar)
    }

    /// One update on one batch. Returns before it is done; [`Self::metrics`]
    /// waits.
    ///
    /// # Errors
    /// If the batch is of another size, or a copy or launch fails.
    pub fn update(&mut self, batch: &BatchSlices<'_>) -> Result<(), CudaError> {
        let config = &self.parts.config;
        let policy = if !self.updates.is_multiple_of(config.policy_freq) {
            Policy::Rests
        } else if self.updates < config.warmup {
            Policy::Fits
        } else {
            Policy::Imitates
        };
        self.begin_update(batch, policy)?;
        let (kernels, parts) = (self.kernels, &mut self.parts);
        let recording = &mut self.recordings[policy as usize];
        kernels
            .device()
            .repeat(recording, &mut || parts.update(kernels, policy))?;
        self.updates += 1;
        self.unread.critic = true;
        self.unread.fit |= policy != Policy::Rests;
        self.unread.imitation |= policy == Policy::Imitates;
        Ok(())
    }

    /// Writes what the update reads that is new: the batch, the random numbers,
    /// drawn in the order of [`Spar::update`], and what depends on the number of
    /// the optimizers' steps.
    fn begin_update(&mut self, batch: &BatchSlices<'_>, policy: Policy) -> Result<(), CudaError> {
        let Self {
            kernels,
            parts,
            latents,
            posterior,
            ..
        } = self;
        let (kernels, device) = (*kernels, kernels.device());
        parts.batch.write(device, batch)?;
        let clipped = |stream: &mut Stream, buffer: &mut D::Buffer| {
            let mut values = vec![0.0; device.len(buffer)];
            stream.fill_normal(parts.config.sigma_z, &mut values);
            for z in &mut values {
                *z = z.clamp(-LATENT_CLIP, LATENT_CLIP);
            }
            device.write(&values, buffer)
        };
        if parts.critic.form() == CriticForm::Residual {
            clipped(latents, &mut parts.next_latents)?;
        }
        if policy != Policy::Rests {
            let mut values = vec![0.0; device.len(&parts.noise)];
            posterior.fill_normal(1.0, &mut values);
            device.write(&values, &mut parts.noise)?;
        }
        if policy == Policy::Imitates {
            clipped(latents, &mut parts.latents)?;
        }
        parts.critic.begin_update(kernels)?;
        if policy != Policy::Rests {
            if parts.encoder_learns(policy) {
                parts.encoder.begin_step(kernels)?;
            }
            parts.decoder.begin_step(kernels)?;
        }
        Ok(())
    }

    /// What the last update measured; policy entries are those of the last
    /// update in which the policy learned. Waits for the device.
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn metrics(&mut self) -> Result<SparMetrics, CudaError> {
        let (kernels, parts) = (self.kernels, &mut self.parts);
        let device = kernels.device();
        if self.unread.critic {
            self.metrics.critic = parts.critic.metrics(kernels)?;
        }
        if self.unread.fit {
            self.metrics.reconstruction = mean(device, &parts.reconstruction)?;
            self.metrics.kl = mean(device, &parts.kl)?;
        }
        if self.unread.imitation {
            let stats = kernels.imitation_stats(&mut parts.imitation)?;
            self.metrics
                .imitated(stats.imitation, stats.data_deviation, stats.penalty_weight);
        }
        self.unread = Unread::default();
        Ok(self.metrics)
    }

    /// Replaces what [`Self::metrics`] says until the next update: the metrics of
    /// the update after which a checkpoint was made.
    pub fn set_metrics(&mut self, metrics: SparMetrics) {
        (self.metrics, self.unread) = (metrics, Unread::default());
    }

    /// Updates done so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Adds networks, optimizers, counters and random streams to `state`, as
    /// [`Spar::save`].
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn save(&self, state: &mut State) -> Result<(), CudaError> {
        let (kernels, parts) = (self.kernels, &self.parts);
        parts.anchor.save(kernels, state)?;
        parts.critic.save(kernels, state)?;
        parts.encoder.save(kernels, state)?;
        parts.decoder.save(kernels, state)?;
        state.insert_count("rectify.updates", self.updates);
        state.insert_stream("rectify.latents", &self.latents);
        state.insert_stream("rectify.posterior", &self.posterior);
        Ok(())
    }

    /// Takes networks, optimizers, counters and random streams from `state`.
    ///
    /// # Errors
    /// If one is absent or of another size, or the device cannot be written.
    pub fn load(&mut self, state: &State) -> Result<(), StateError> {
        let (kernels, parts) = (self.kernels, &mut self.parts);
        parts.anchor.load(kernels, state)?;
        parts.critic.load(kernels, state)?;
        parts.encoder.load(kernels, state)?;
        parts.decoder.load(kernels, state)?;
        self.updates = state.get_count("rectify.updates")?;
        self.latents = state.get_stream("rectify.latents")?;
        self.posterior = state.get_stream("rectify.posterior")?;
        Ok(())
    }
}

impl<B: std::fmt::Debug> Parts<B> {
    fn new<D: Device<Buffer = B>>(
        kernels: &Kernels<D>,
        start: &Spar,
        rows: usize,
    ) -> Result<Self, CudaError> {
        let config = start.config().clone();
        let latent_dim = start.model.latent_dim();
        let anchor = start.base.cloned();
        let anchor = anchor.map_err(|e| CudaError::Shape(e.to_string()))?;
        let anchor = anchor.net().shape();
        let (obs_dim, act_dim) = (anchor.input(), anchor.output());
        let device = kernels.device();
        let alloc = |width: usize| device.alloc(rows * width);
        let k = config.candidates;
        let adam = AdamConfig::new(config.lr);
        let net =
            |shape, name: &str| Net::new(kernels, shape, config.rho as f32, vec![name.to_owned()]);
        let encoder = net(start.model.encoder.shape(), "rectify.encoder")?;
        let encoder = Learner::new(kernels, encoder, None, adam)?;
        let shape = start.model.decoder.shape();
        let average = (config.tau, net(shape, "rectify.decoder_average")?);
        let decoder = net(shape, "rectify.decoder")?;
        let decoder = Learner::new(kernels, decoder, Some(average), adam)?;
        let critic = DeviceCritic::new(kernels, &start.critic, rows)?;
        Ok(Self {
            batch: BatchBuffers::new(device, rows, obs_dim, act_dim)?,
            anchor: anchor_net(kernels, anchor)?,
            next_base: alloc(act_dim)?,
            next_latents: alloc(latent_dim)?,
            next_residuals: alloc(act_dim)?,
            next_actions: alloc(act_dim)?,
            base: alloc(act_dim)?,
            residuals: alloc(act_dim)?,
            noise: alloc(latent_dim)?,
            z: alloc(latent_dim)?,
            encoder_pass: encoder.pass(kernels, rows)?,
            decoder_pass: decoder.pass(kernels, rows)?,
            grad_input: alloc(shape.input())?,
            reconstruction: alloc(1)?,
            kl: alloc(1)?,
            latents: alloc(k * latent_dim)?,
            candidates: decoder.pass(kernels, rows * k)?,
            candidate_actions: alloc(k * act_dim)?,
            values: alloc(k * critic.nets())?,
            imitation: kernels.imitation_buffers(rows, k, act_dim)?,
            critic,
            encoder,
            decoder,
            latent_dim,
            config,
        })
    }

    /// Only the fit teaches the encoder.
    fn encoder_learns(&self, policy: Policy) -> bool {
        policy == Policy::Fits || self.config.w_fit > 0.0
    }

    /// The launches of one update. Nothing here depends on what a buffer holds.
    fn update<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
        policy: Policy,
    ) -> Result<(), CudaError> {
        if self.critic.form() == CriticForm::Residual {
            self.draw_next_actions(kernels)?;
        }
        let critic = &mut self.critic;
        critic.update(kernels, &self.batch, &self.next_actions)?;
        if policy == Policy::Rests {
            return Ok(());
        }
        let states = [Part::new(&self.batch.obs, self.batch.obs_dim)];
        let states = Rows::new(self.batch.rows, &states);
        self.anchor
            .forward(kernels, &states, &mut self.base, None)?;
        self.fit(kernels, policy)?;
        if policy == Policy::Imitates {
            self.imitate(kernels)?;
        }
        if self.encoder_learns(policy) {
            self.encoder.step(kernels, &[&self.encoder_pass])?;
        }
        let gradients = [&self.decoder_pass, &self.candidates];
        let learned = if policy == Policy::Imitates { 2 } else { 1 };
        self.decoder.step(kernels, &gradients[..learned])
    }

    /// Actions of the averaged policy at the next states, each with a latent of
    /// its own.
    fn draw_next_actions<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
    ) -> Result<(), CudaError> {
        let BatchBuffers {
            rows,
            obs_dim,
            act_dim,
            next_obs,
            ..
        } = &self.batch;
        let states = [Part::new(next_obs, *obs_dim)];
        let states = Rows::new(*rows, &states);
        self.anchor
            .forward(kernels, &states, &mut self.next_base, None)?;
        let drawn = [
            Part::new(next_obs, *obs_dim),
            Part::new(&self.next_base, *act_dim),
            Part::new(&self.next_latents, self.latent_dim),
        ];
        let drawn = Rows::new(*rows, &drawn);
        let into = Actions {
            base: &self.next_base,
            repeat: 1,
            actions: &mut self.next_actions,
        };
        let average = self.decoder.average();
        average.forward(kernels, &drawn, &mut self.next_residuals, Some(into))
    }

    /// Residual regression, the gradients of
    /// `mean_B [ |Delta(s, b, z) - r|^2 + beta KL(q(z | s, b, r) || N(0, I)) ]`
    /// times the weight of the fit, with `r = a - b` and `z` drawn from `q`.
    fn fit<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
        policy: Policy,
    ) -> Result<(), CudaError> {
        let weight = match policy {
            Policy::Imitates => self.config.w_fit,
            Policy::Fits | Policy::Rests => 1.0,
        };
        let BatchBuffers {
            rows,
            obs_dim,
            act_dim,
            obs,
            actions,
            ..
        } = &self.batch;
        kernels.difference(actions, &self.base, &mut self.residuals)?;
        let seen = [
            Part::new(obs, *obs_dim),
            Part::new(&self.base, *act_dim),
            Part::new(&self.residuals, *act_dim),
        ];
        let seen = Rows::new(*rows, &seen);
        self.encoder
            .forward(kernels, &seen, &mut self.encoder_pass, None)?;
        let posterior = Posterior {
            head: &self.encoder_pass.out,
            noise: &self.noise,
            latent: self.latent_dim,
        };
        kernels.draw_latents(&posterior, &mut self.z)?;

        let decoded = [
            Part::new(obs, *obs_dim),
            Part::new(&self.base, *act_dim),
            Part::new(&self.z, self.latent_dim),
        ];
        let decoded = Rows::new(*rows, &decoded);
        let pass = &mut self.decoder_pass;
        self.decoder.forward(kernels, &decoded, pass, None)?;
        let into = Loss {
            grad: &mut pass.grad_out,
            loss: &mut self.reconstruction,
        };
        kernels.reconstruction(&pass.out, &self.residuals, weight as f32, into)?;
        let below = Some(&mut self.grad_input);
        self.decoder.backward(kernels, &decoded, pass, below)?;

        let beta = weight * self.config.beta;
        let into = Loss {
            grad: &mut self.encoder_pass.grad_out,
            loss: &mut self.kl,
        };
        let latents_at = obs_dim + act_dim;
        kernels.latent_gradient(&self.grad_input, latents_at, &posterior, beta as f32, into)?;
        self.encoder
            .backward(kernels, &seen, &mut self.encoder_pass, None)
    }

    /// Latent Self-Imitation: adds the decoder's gradient of `lambda` times
    /// `mean_B (1/K) sum_k |Delta(s, b, z_k) - Delta*|^2`. The critic only ranks
    /// the candidates.
    fn imitate<D: Device<Buffer = B>>(&mut self, kernels: &Kernels<D>) -> Result<(), CudaError> {
        let BatchBuffers {
            rows,
            obs_dim,
            act_dim,
            obs,
            ..
        } = &self.batch;
        let k = self.config.candidates;
        let drawn = [
            Part::repeated(obs, *obs_dim, k),
            Part::repeated(&self.base, *act_dim, k),
            Part::new(&self.latents, self.latent_dim),
        ];
        let drawn = Rows::new(rows * k, &drawn);
        let pass = &mut self.candidates;
        let into = Actions {
            base: &self.base,
            repeat: k,
            actions: &mut self.candidate_actions,
        };
        self.decoder.forward(kernels, &drawn, pass, Some(into))?;

        let valued = [
            Part::repeated(obs, *obs_dim, k),
            Part::new(&self.candidate_actions, *act_dim),
        ];
        let valued = Rows::new(rows * k, &valued);
        self.critic.values(kernels, &valued, &mut self.values)?;
        let ranking = Ranking {
            values: &self.values,
            nets: self.critic.nets(),
            by: self.critic.conservatism(),
            temperature: self.config.temperature as f32,
            scale: self.config.scale as f32,
            penalty: self.critic.penalty(),
            data: self.critic.data_actions(),
        };
        let weight = self.config.lambda as f32;
        kernels.imitation(&pass.out, &ranking, weight, &mut self.imitation)?;
        let along = &self.imitation.grad;
        self.decoder.backward_along(kernels, &drawn, pass, along)
    }
}
