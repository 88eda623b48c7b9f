//! The plain candle composition: what these networks cost when written with
//! `candle_nn`'s layers and optimizer, as a user of candle would. It exists to
//! be measured and stands nowhere else.

use anyhow::Result;
use candle_core::{D, Device, Tensor, Var};
use candle_nn::{AdamW, Linear, Module, Optimizer, ParamsAdamW, ops::layer_norm_slow};
use spar_critic::expectile_loss;
use spar_nn::{Batch, MlpShape};

use crate::{
    inputs::{CYCLE, Config, Inputs, MLP_LR},
    ours::{Contender, Losses, mlp_batches, note},
};

/// A network of `candle_nn` layers. Layer normalization is candle's composed
/// one: its fused one has no gradient.
struct Net {
    layers: Vec<(Linear, Option<(Var, Var)>)>,
    vars: Vec<Var>,
}

impl Net {
    /// From our flat parameters; candle keeps weights as `[out, in]`.
    fn new(shape: &MlpShape, flat: &[f32]) -> Result<Self> {
        let mut vars = Vec::new();
        let mut var = |tensor: Tensor| -> Result<Var> {
            let var = Var::from_tensor(&tensor.contiguous()?)?;
            vars.push(var.clone());
            Ok(var)
        };
        let slice = |range: std::ops::Range<usize>| {
            let n = range.len();
            Tensor::from_slice(&flat[range], n, &Device::Cpu)
        };
        let mut layers = Vec::new();
        for layer in shape.layers() {
            let weight = slice(layer.weight)?.reshape((layer.input, layer.output))?;
            let weight = var(weight.t()?)?;
            let bias = var(slice(layer.bias)?)?;
            let linear = Linear::new(weight.as_tensor().clone(), Some(bias.as_tensor().clone()));
            let norm = match layer.norm {
                Some((gain, shift)) => Some((var(slice(gain)?)?, var(slice(shift)?)?)),
                None => None,
            };
            layers.push((linear, norm));
        }
        Ok(Self { layers, vars })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut x = x.clone();
        for (i, (linear, norm)) in self.layers.iter().enumerate() {
            x = linear.forward(&x)?;
            if let Some((gain, shift)) = norm {
                x = layer_norm_slow(&x, gain, shift, spar_kernels::mlp::LAYER_NORM_EPS)?;
            }
            if i + 1 < self.layers.len() {
                x = x.relu()?;
            }
        }
        Ok(x)
    }

    /// PyTorch's Adam: AdamW without decay.
    fn adam(&self, lr: f32) -> Result<AdamW> {
        let params = ParamsAdamW {
            lr: f64::from(lr),
            weight_decay: 0.0,
            ..ParamsAdamW::default()
        };
        Ok(AdamW::new(self.vars.clone(), params)?)
    }

    /// Polyak averaging.
    fn track(&self, source: &Self, tau: f32) -> Result<()> {
        let tau = f64::from(tau);
        for (target, source) in self.vars.iter().zip(&source.vars) {
            let kept = (target.as_detached_tensor() * (1.0 - tau))?;
            target.set(&(kept + (source.as_detached_tensor() * tau)?)?)?;
        }
        Ok(())
    }
}

/// The yardstick.
pub(crate) struct PlainMlpStep {
    net: Net,
    optim: AdamW,
    batches: Vec<(Tensor, Tensor)>,
}

impl PlainMlpStep {
    /// At the given start.
    pub(crate) fn new(inputs: &Inputs) -> Result<Self> {
        let net = Net::new(&inputs.config.shapes()?.mlp, &inputs.start("mlp")?)?;
        Ok(Self {
            optim: net.adam(MLP_LR)?,
            net,
            batches: mlp_batches(inputs)?,
        })
    }
}

impl Contender for PlainMlpStep {
    fn step(&mut self, i: usize, losses: Option<&mut Losses>) -> Result<()> {
        let (x, y) = &self.batches[i];
        let loss = candle_nn::loss::mse(&self.net.forward(x)?, y)?;
        self.optim.backward_step(&loss)?;
        if let Some(losses) = losses {
            note(losses, "loss", loss.to_scalar()?);
        }
        Ok(())
    }
}

/// SPAR's update with the in-sample critic, past the warm-up. The few losses on
/// small tensors that are plain candle in our own update are the same functions.
pub(crate) struct PlainSparStep {
    config: Config,
    batches: Vec<Batch>,
    noise: Vec<[Tensor; 2]>,
    anchor: Net,
    value: Net,
    q: Vec<Net>,
    target: Vec<Net>,
    encoder: Net,
    decoder: Net,
    decoder_average: Net,
    value_optim: AdamW,
    q_optim: Vec<AdamW>,
    encoder_optim: AdamW,
    decoder_optim: AdamW,
    updates: usize,
}

impl PlainSparStep {
    /// At the given start.
    pub(crate) fn new(inputs: &Inputs) -> Result<Self> {
        let c = &inputs.config;
        let shapes = c.shapes()?;
        let net = |shape, name: &str| Net::new(shape, &inputs.start(name)?);
        let critics = |suffix: &str| -> Result<Vec<Net>> {
            (0..c.critic.n_critics)
                .map(|i| net(&shapes.q, &format!("critic.{i}{suffix}")))
                .collect()
        };
        let value = net(&shapes.value, "critic.value")?;
        let q = critics("")?;
        let encoder = net(&shapes.encoder, "rectify.encoder")?;
        let decoder = net(&shapes.decoder, "rectify.decoder")?;
        let updates = inputs.array("noise.posterior")?.shape[0];
        let noise = |i| -> Result<[Tensor; 2]> {
            let tensor = |name: &str| -> Result<Tensor> {
                let values = inputs.slice(name, i)?;
                let shape = (values.len() / c.latent, c.latent);
                Ok(Tensor::from_slice(values, shape, &Device::Cpu)?)
            };
            Ok([tensor("noise.posterior")?, tensor("noise.candidates")?])
        };
        Ok(Self {
            batches: inputs.batches()?,
            noise: (0..updates).map(noise).collect::<Result<_>>()?,
            anchor: net(&shapes.anchor, "anchor")?,
            value_optim: value.adam(c.critic.lr)?,
            q_optim: q
                .iter()
                .map(|q| q.adam(c.critic.lr))
                .collect::<Result<_>>()?,
            encoder_optim: encoder.adam(c.rectify.lr)?,
            decoder_optim: decoder.adam(c.rectify.lr)?,
            target: critics(".target")?,
            decoder_average: net(&shapes.decoder, "rectify.decoder_average")?,
            value,
            q,
            encoder,
            decoder,
            config: c.clone(),
            updates: 0,
        })
    }

    fn delta(&self, s: &Tensor, b: &Tensor, z: &Tensor) -> candle_core::Result<Tensor> {
        let input = Tensor::cat(&[s, b, z], 1)?;
        self.decoder.forward(&input)?.tanh()? * self.config.rectify.rho
    }

    /// The critic's losses, the standard deviation of the data actions' advantages, and that
    /// of the target critics about those actions.
    fn critic_step(&mut self, batch: &Batch) -> Result<[f32; 4]> {
        let critic = &self.config.critic;
        let taken = Tensor::cat(&[&batch.obs, &batch.actions], 1)?;
        let targets = values(&self.target, &taken)?;
        let upper = targets.min(1)?;
        let disagreement = deviations(&targets)?.sqr()?.mean_all()?.sqrt()?;
        let u = (upper - self.value.forward(&batch.obs)?.squeeze(1)?)?;
        let value_loss = expectile_loss(&u, critic.expectile)?;
        self.value_optim.backward_step(&value_loss)?;
        let next = self.value.forward(&batch.next_obs)?.squeeze(1)?.detach();
        let future = (next.mul(&batch.not_terminal)? * critic.discount)?;
        let y = (&batch.rewards + future)?;
        let mut q_loss = 0.0;
        for (q, optim) in self.q.iter().zip(&mut self.q_optim) {
            let loss = candle_nn::loss::mse(&q.forward(&taken)?.squeeze(1)?, &y)?;
            optim.backward_step(&loss)?;
            q_loss += loss.to_scalar::<f32>()?;
        }
        let centred = u.broadcast_sub(&u.mean_all()?)?;
        let of_data = centred.sqr()?.mean_all()?.sqrt()?.to_scalar()?;
        let q_loss = q_loss / self.q.len() as f32;
        let disagreement = disagreement.to_scalar()?;
        Ok([q_loss, value_loss.to_scalar()?, of_data, disagreement])
    }

    fn policy_step(
        &mut self,
        batch: &Batch,
        i: usize,
        [of_data, disagreement]: [f32; 2],
    ) -> Result<[f32; 3]> {
        let r = self.config.rectify.clone();
        let latent = self.config.latent;
        let [posterior, candidates] = &self.noise[i];
        let (s, a) = (&batch.obs, &batch.actions);
        let b = self.anchor.forward(s)?.tanh()?.detach();

        let residual = (a - &b)?;
        let head = self
            .encoder
            .forward(&Tensor::cat(&[s, &b, &residual], 1)?)?;
        let mean = head.narrow(1, 0, latent)?;
        let log_std = head.narrow(1, latent, latent)?.clamp(-4f32, 15f32)?;
        let z = (&mean + log_std.exp()?.mul(posterior)?)?;
        let error = (self.delta(s, &b, &z)? - &residual)?;
        let reconstruction = error.sqr()?.sum(D::Minus1)?.mean_all()?;
        let spread = (mean.sqr()? + (&log_std * 2.0)?.exp()?)?;
        let kl = (((spread - 1.0)? * 0.5)? - &log_std)?
            .sum(D::Minus1)?
            .mean_all()?;
        let fit = (&reconstruction + (&kl * r.beta)?)?;

        let (rows, k) = (s.dim(0)?, r.candidates);
        let repeat = |x: &Tensor| -> candle_core::Result<Tensor> {
            let width = x.dim(1)?;
            let wide = x.unsqueeze(1)?.expand((rows, k, width))?;
            wide.reshape((rows * k, width))
        };
        let (s, b) = (repeat(s)?, repeat(&b)?);
        let deltas = self.delta(&s, &b, &candidates.clamp(-2f32, 2f32)?)?;
        let fixed = deltas.detach();
        let actions = (&b + &fixed)?.clamp(-1f32, 1f32)?;
        let each = values(&self.q, &Tensor::cat(&[&s, &actions], 1)?)?;
        let beyond = (deviations(&each)? - f64::from(disagreement))?.relu()?;
        let beyond = beyond.reshape((rows, k))?;
        let q = each.min(1)?.reshape((rows, k))?;
        let relative = match within(&beyond)? {
            0.0 => 0.0,
            of_beyond => within(&q)? / of_beyond,
        };
        let critic = &self.config.critic;
        let penalty = critic.penalty + critic.penalty_ratio * relative;
        let q = (q - (beyond * f64::from(penalty))?)?;
        let fixed = fixed.reshape((rows, k, ()))?;
        let floor = r.scale * f64::from(of_data);
        let target = target(&fixed, &q, r.temperature, floor)?;
        let error = deltas.reshape(fixed.shape())?.broadcast_sub(&target)?;
        let imitation = (error.sqr()?.sum_all()? / (rows * k) as f64)?;

        let grads = ((&imitation * r.lambda)? + (fit * r.w_fit)?)?.backward()?;
        self.encoder_optim.step(&grads)?;
        self.decoder_optim.step(&grads)?;
        self.decoder_average.track(&self.decoder, r.tau)?;
        let scalar = |x: &Tensor| x.to_scalar::<f32>();
        Ok([scalar(&reconstruction)?, scalar(&kl)?, scalar(&imitation)?])
    }
}

/// `Delta* = sum_k w_k Delta_k` of candidates `[B, K, act]` by their values `q`,
/// `[B, K]`, `w` the softmax of their advantages in parts of their deviation, which is
/// at least `floor`.
fn target(candidates: &Tensor, q: &Tensor, temperature: f64, floor: f64) -> Result<Tensor> {
    let advantage = q.broadcast_sub(&q.mean_keepdim(1)?)?;
    let sigma = (advantage.sqr()?.mean_all()?.sqrt()?.maximum(floor)? + 1e-6)?;
    let scaled = advantage.broadcast_div(&(sigma * temperature)?)?;
    let weights = candle_nn::ops::softmax(&scaled, 1)?;
    let weighted = candidates.broadcast_mul(&weights.unsqueeze(2)?)?;
    Ok(weighted.sum_keepdim(1)?)
}

/// The root mean square of `x`, `[B, K]`, less each row's mean.
fn within(x: &Tensor) -> Result<f32> {
    let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
    Ok(centred.sqr()?.mean_all()?.sqrt()?.to_scalar()?)
}

/// `net_i(x)`, `[rows, nets]`, of which no gradient is taken.
fn values(nets: &[Net], x: &Tensor) -> Result<Tensor> {
    let values = nets.iter().map(|net| Ok(net.forward(x)?.detach()));
    let values = values.collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&values, 1)?)
}

/// Standard deviation of each row's values, `[rows]`.
fn deviations(values: &Tensor) -> Result<Tensor> {
    let centred = values.broadcast_sub(&values.mean_keepdim(1)?)?;
    Ok(centred.sqr()?.mean(1)?.sqrt()?)
}

impl Contender for PlainSparStep {
    fn step(&mut self, i: usize, mut losses: Option<&mut Losses>) -> Result<()> {
        let batch = self.batches[i].clone();
        let [q_loss, value_loss, of_data, disagreement] = self.critic_step(&batch)?;
        if let Some(losses) = &mut losses {
            note(losses, "q_loss", q_loss);
            note(losses, "value_loss", value_loss);
        }
        let freq = self.config.rectify.policy_freq.max(1) as usize;
        if self.updates.is_multiple_of(freq) {
            let [reconstruction, kl, imitation] =
                self.policy_step(&batch, i / freq, [of_data, disagreement])?;
            if let Some(losses) = &mut losses {
                note(losses, "reconstruction", reconstruction);
                note(losses, "kl", kl);
                note(losses, "self_imitation", imitation);
            }
        }
        for (target, q) in self.target.iter().zip(&self.q) {
            target.track(q, self.config.critic.tau)?;
        }
        self.updates += 1;
        debug_assert!(CYCLE.is_multiple_of(freq), "noise is numbered by the cycle");
        Ok(())
    }
}
