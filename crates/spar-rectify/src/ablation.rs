//! One part of SPAR replaced at a time: what the rows of the ablation table do
//! otherwise in the policy's step. Sampling, the critic, the schedule and the targets
//! are those of `update.rs`, and so are the losses wherever they are not the part in
//! question.

use candle_core::{D, Result, Tensor};
use spar_core::Stream;
use spar_nn::{
    Adam, AdamConfig, Batch, Head, Mlp, Penalized, Rows, State, StateError, Trace,
    critics::repeat_rows, imitation_target, relu_shape, weighted_regression,
};
use spar_policy::LATENT_CLIP;

use crate::{
    base::Base,
    config::{Ablation, RectifyConfig},
    loss::fit_rows,
    model::{INITIAL_OUTPUT_SCALE, decode_detached},
    update::{Spar, SparMetrics},
};

/// The largest weight of a data action before weights are divided by their mean
/// (AWR's bound).
const WEIGHT_CLIP: f64 = 20.0;

/// Added to what a batch's advantages and values are divided by.
const EPS: f64 = 1e-6;

/// What only an ablation trains.
#[derive(Debug)]
pub(crate) struct Ablated {
    head: Option<ResidualHead>,
    anchor_optim: Option<Adam>,
}

/// `h(s, b) = rho tanh(net(s, b))`: a residual without latents.
#[derive(Debug)]
struct ResidualHead {
    net: Mlp,
    /// Its Polyak average: the one that acts.
    average: Mlp,
    optim: Adam,
}

impl Ablated {
    /// What `config` asks for beyond SPAR's own networks, for states and actions of
    /// widths `dims`. Without an anchor the residual is around the action zero, which
    /// is what a network of zeros says.
    pub(crate) fn new(
        config: &RectifyConfig,
        base: &Base,
        dims: (usize, usize),
        seed: u64,
    ) -> Result<Option<Self>> {
        let adam = AdamConfig::new(config.lr);
        let (mut head, mut anchor_optim) = (None, None);
        match config.ablation {
            Ablation::None => return Ok(None),
            Ablation::Global => {
                let net = base.cloned()?.net();
                net.set_params(vec![0.0; net.shape().parameters()])?;
                return Ok(None);
            }
            Ablation::SeparateHead | Ablation::OwnLatent => {
                let shape = relu_shape(dims.0 + dims.1, config.hidden.clone(), dims.1)?;
                let init = &mut Stream::new(seed, "rectify/head/init");
                let net = Mlp::new(shape.with_head(Head::Tanh), init)?;
                net.scale_output_layer(INITIAL_OUTPUT_SCALE)?;
                head = Some(ResidualHead {
                    average: net.duplicate()?,
                    optim: Adam::new(&net, adam),
                    net,
                });
            }
            Ablation::TunedAnchor => anchor_optim = Some(Adam::new(base.cloned()?.net(), adam)),
            Ablation::ValueGradient | Ablation::AdvantageWeighted => {}
        }
        Ok(Some(Self { head, anchor_optim }))
    }

    /// The head that acts, if there is one.
    pub(crate) fn acting_head(&self) -> Option<&Mlp> {
        self.head.as_ref().map(|head| &head.average)
    }

    pub(crate) fn save(&self, state: &mut State) -> Result<()> {
        if let Some(head) = &self.head {
            head.net.save("rectify.head", state)?;
            head.average.save("rectify.head_average", state)?;
            head.optim.save("rectify.head", state);
        }
        if let Some(optim) = &self.anchor_optim {
            optim.save("rectify.anchor", state);
        }
        Ok(())
    }

    pub(crate) fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        if let Some(head) = &mut self.head {
            head.net.load("rectify.head", state)?;
            head.average.load("rectify.head_average", state)?;
            head.optim.load("rectify.head", state)?;
        }
        if let Some(optim) = &mut self.anchor_optim {
            optim.load("rectify.anchor", state)?;
        }
        Ok(())
    }
}

impl Spar {
    /// The policy's step with one part replaced.
    pub(crate) fn learn_otherwise(
        &mut self,
        ablated: &mut Ablated,
        batch: &Batch,
        metrics: &mut SparMetrics,
    ) -> Result<()> {
        if let Some(head) = &mut ablated.head {
            return self.learn_head(head, batch, metrics);
        }
        let (s, a, imitates) = (&batch.obs, &batch.actions, self.imitates());
        let b = match (&ablated.anchor_optim, &self.base) {
            (Some(_), Base::Cloned(anchor)) if imitates => anchor.trained_act(s)?,
            _ => self.base.act(batch)?,
        };
        let fit = self.fit(s, &b, a, metrics)?;
        if !imitates {
            self.step(&fit)?;
            return Ok(());
        }
        let improvement = match self.config.ablation {
            Ablation::ValueGradient => self.climb(s, &b, metrics)?,
            Ablation::AdvantageWeighted => self.weighted_fit(s, &b, a, metrics)?,
            _ => self.imitate_actions(s, &b, metrics)?,
        };
        let loss = ((improvement * self.config.lambda)? + (fit * self.config.w_fit)?)?;
        let grads = self.step(&loss)?;
        match &mut ablated.anchor_optim {
            Some(optim) => optim.step(&grads),
            None => Ok(()),
        }
    }

    /// `-mean q / mean |q|` of the candidates' least values `q`, with a gradient that
    /// reaches the decoder through the critics: TD3+BC's normalization.
    fn climb(&mut self, s: &Tensor, b: &Tensor, metrics: &mut SparMetrics) -> Result<Tensor> {
        let candidates = self.candidates(s, b)?;
        let k = self.config.candidates;
        let actions = (repeat_rows(b, k)? + candidates)?.clamp(-1f32, 1f32)?;
        let q = spar_critic::climbed(&self.critic, s, &actions)?;
        let scale: f32 = q.detach().abs()?.mean_all()?.to_scalar()?;
        let loss = (q.mean_all()? * (-1.0 / (f64::from(scale) + EPS)))?;
        metrics.self_imitation = loss.to_scalar()?;
        Ok(loss)
    }

    /// Self-imitation of whole actions `b + Delta_k`, whose gradient reaches the anchor
    /// that made `b` as well as the decoder.
    fn imitate_actions(
        &mut self,
        s: &Tensor,
        b: &Tensor,
        metrics: &mut SparMetrics,
    ) -> Result<Tensor> {
        let candidates = self.candidates(s, b)?;
        let Penalized { values: q, weight } = self.values(s, b, &candidates)?;
        let (k, of_data) = (self.config.candidates, self.data_deviation(&q)?);
        let actions = (repeat_rows(b, k)? + candidates)?;
        let (loss, stats) = weighted_regression(&actions, &q, k, self.config.weighting(of_data))?;
        metrics.imitated(stats, of_data, weight);
        Ok(loss)
    }

    /// `mean_B w (|Delta(s, b, z) - r|^2 + beta KL)` with
    /// `w ~ min(exp(A / T), 20)`, mean one over the batch, of the data actions'
    /// standardized advantages `A` (Peng et al. 2019, "Advantage-Weighted Regression").
    fn weighted_fit(
        &mut self,
        s: &Tensor,
        b: &Tensor,
        a: &Tensor,
        metrics: &mut SparMetrics,
    ) -> Result<Tensor> {
        let advantage = self.critic.advantage(s, a)?;
        let centred = advantage.broadcast_sub(&advantage.mean_all()?)?;
        let std: f32 = centred.sqr()?.mean_all()?.sqrt()?.to_scalar()?;
        let scale = 1.0 / ((f64::from(std) + EPS) * self.config.temperature);
        let weight = (centred * scale)?
            .clamp(f64::NEG_INFINITY, WEIGHT_CLIP.ln())?
            .exp()?;
        let weight = weight.broadcast_div(&weight.mean_all()?)?;
        let posterior = &mut self.posterior;
        let (reconstruction, kl) = fit_rows(&self.model, s, b, a, posterior)?;
        let rows = (reconstruction + (kl * self.config.beta)?)?;
        let loss = rows.mul(&weight)?.mean_all()?;
        metrics.self_imitation = loss.to_scalar()?;
        Ok(loss)
    }

    /// The head's step, and, until self-imitation begins, the fit's: afterwards the
    /// support model stays as it is.
    /// `L = lambda mean_B |h - Delta*|^2 + w_fit mean_B |h - r|^2`.
    fn learn_head(
        &mut self,
        head: &mut ResidualHead,
        batch: &Batch,
        metrics: &mut SparMetrics,
    ) -> Result<()> {
        let (s, a, b) = (&batch.obs, &batch.actions, self.base.act(batch)?);
        let imitates = self.imitates();
        if !imitates {
            let fit = self.fit(s, &b, a, metrics)?;
            self.step(&fit)?;
        }
        let h = (head.net.forward(Rows::beside(s, &b), Trace::Params)? * self.config.rho)?;
        let fit = distance(&h, &(a - &b)?)?;
        let loss = if imitates {
            let target = self.head_target(s, &b, &h.detach(), metrics)?;
            let imitation = distance(&h, &target)?;
            metrics.self_imitation = imitation.to_scalar()?;
            ((imitation * self.config.lambda)? + (fit * self.config.w_fit)?)?
        } else {
            fit
        };
        head.optim.step(&loss.backward()?)?;
        head.average.track(&head.net, self.config.tau)
    }

    /// `Delta*` of the fitted decoder's candidates, `[rows, act_dim]`.
    fn head_target(
        &mut self,
        s: &Tensor,
        b: &Tensor,
        h: &Tensor,
        metrics: &mut SparMetrics,
    ) -> Result<Tensor> {
        let (rows, k) = (s.dim(0)?, self.config.candidates);
        let (latents, sigma_z) = (&mut self.latents, self.config.sigma_z);
        let mut z = self.model.draw_latents(latents, sigma_z, rows * k)?;
        if self.config.ablation == Ablation::OwnLatent {
            let (mean, _) = self.model.encode(s, b, h)?;
            z = (z + repeat_rows(&mean.detach(), k)?)?.clamp(-LATENT_CLIP, LATENT_CLIP)?;
        }
        let candidates = decode_detached(&self.model.decoder, self.config.rho, s, b, &z)?;
        let Penalized { values: q, weight } = self.values(s, b, &candidates)?;
        let of_data = self.data_deviation(&q)?;
        let (target, stats) = imitation_target(&candidates, &q, k, self.config.weighting(of_data))?;
        metrics.imitated(stats, of_data, weight);
        Ok(target)
    }
}

/// `mean_B |x - y|^2`, summed over the components of an action.
fn distance(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    (x - y)?.sqr()?.sum(D::Minus1)?.mean_all()
}
