//! What a method acts by once it is trained, in the states it was trained on.

use std::num::NonZeroUsize;

use candle_core::Result;
use spar_core::Stream;
use spar_nn::{Activation, Mlp, RowMlp, RowWork};

/// A trained policy: normalized state to action, always clipped to `[-1, 1]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Actor {
    /// `net(s)`.
    Net(RowMlp),
    /// `b + rho tanh(net([s, b]))` with the anchor's action `b`.
    Residual {
        /// The anchor.
        anchor: RowMlp,
        /// The residual, its output not yet scaled.
        net: RowMlp,
        /// Its largest correction.
        rho: f32,
    },
    /// What a latent space decodes to.
    Latent(LatentActor),
}

/// A policy in the latent space of a decoder (PLAS, BCQ).
#[derive(Clone, Debug, PartialEq)]
pub struct LatentActor {
    /// `[s, z]` to an action, tanh output.
    pub decoder: RowMlp,
    /// Where `z` comes from.
    pub latent: Latent,
    /// `[s, a]` to a change of `a` in `[-1, 1]`, and its largest size, where there
    /// is one.
    pub perturbation: Option<(RowMlp, f32)>,
}

/// Where a latent comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Latent {
    /// `bound * net(s)`, tanh output.
    Actor {
        /// The network.
        net: RowMlp,
        /// The largest latent.
        bound: f32,
    },
    /// Of so many, drawn from `N(0, 1)` clipped to `[-clip, clip]`, that whose
    /// action the critic values most.
    Best {
        /// `[s, a]` to a value.
        critic: RowMlp,
        /// How many are drawn.
        candidates: NonZeroUsize,
        /// The largest latent.
        clip: f32,
    },
}

/// Candidates that pass through the networks together, however many there are.
const BLOCK: usize = 64;

impl Actor {
    /// The policy `net(s)` of a trained network.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn net(net: &Mlp) -> Result<Self> {
        Ok(Self::Net(RowMlp::of(net)?))
    }

    /// The policy `tanh(mean)` of a network whose output is `[mean, rest]`, half
    /// and half: its last layer's other half is left out.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn tanh_mean(net: &Mlp) -> Result<Self> {
        let mut rows = RowMlp::of(net)?;
        if let Some(last) = rows.layers.last_mut() {
            let (width, kept) = (last.output(), last.output() / 2);
            let weight = last.weight.chunks_exact(width);
            last.weight = weight.flat_map(|row| row[..kept].to_vec()).collect();
            last.bias.truncate(kept);
        }
        rows.output = Activation::Tanh;
        Ok(Self::Net(rows))
    }
}

impl LatentActor {
    /// Width of a state, if the networks fit each other.
    pub fn widths(&self) -> Option<usize> {
        let act_dim = self.act_dim();
        let obs_dim = match &self.latent {
            Latent::Actor { net, .. } => net.input_dim(),
            Latent::Best { critic, .. } => {
                let one = critic.output_dim() == 1;
                critic.input_dim().checked_sub(act_dim).filter(|_| one)?
            }
        };
        let latent_dim = self.decoder.input_dim().checked_sub(obs_dim)?;
        let latent = match &self.latent {
            Latent::Actor { net, .. } => net.output_dim() == latent_dim,
            Latent::Best { .. } => true,
        };
        let perturbation = self.perturbation.as_ref().is_none_or(|(net, _)| {
            (net.input_dim(), net.output_dim()) == (obs_dim + act_dim, act_dim)
        });
        (obs_dim > 0 && latent_dim > 0 && latent && perturbation).then_some(obs_dim)
    }

    /// Width of a state.
    pub fn obs_dim(&self) -> usize {
        match &self.latent {
            Latent::Actor { net, .. } => net.input_dim(),
            Latent::Best { critic, .. } => critic.input_dim() - self.act_dim(),
        }
    }

    /// Width of an action.
    pub fn act_dim(&self) -> usize {
        self.decoder.output_dim()
    }

    fn latent_dim(&self) -> usize {
        self.decoder.input_dim() - self.obs_dim()
    }

    /// The action in the state `s`, `[obs_dim]`, into `action`, `[act_dim]`.
    ///
    /// # Panics
    /// If the widths do not fit.
    pub fn act(&self, s: &[f32], stream: &mut Stream, action: &mut [f32]) {
        let (mut work, act_dim) = (RowWork::default(), self.act_dim());
        let beside = |rows: &[f32], width: usize| -> Vec<f32> {
            let rows = rows.chunks_exact(width);
            rows.flat_map(|row| s.iter().chain(row).copied()).collect()
        };
        let mut z = vec![0.0; self.latent_dim()];
        match &self.latent {
            Latent::Actor { net, bound } => {
                net.rows(s, &mut work, &mut z);
                z.iter_mut().for_each(|z| *z *= bound);
            }
            Latent::Best {
                candidates, clip, ..
            } => {
                z.resize(self.latent_dim() * candidates.get(), 0.0);
                stream.fill_normal(1.0, &mut z);
                z.iter_mut().for_each(|z| *z = z.clamp(-clip, *clip));
            }
        }
        let mut best = None;
        for z in z.chunks(BLOCK * self.latent_dim()) {
            let rows = z.len() / self.latent_dim();
            let mut actions = vec![0.0; rows * act_dim];
            let input = beside(z, self.latent_dim());
            self.decoder.rows(&input, &mut work, &mut actions);
            if let Some((net, size)) = &self.perturbation {
                let mut change = vec![0.0; actions.len()];
                net.rows(&beside(&actions, act_dim), &mut work, &mut change);
                let changed = actions.iter_mut().zip(&change);
                changed.for_each(|(a, c)| *a += size * c);
            }
            actions.iter_mut().for_each(|a| *a = a.clamp(-1.0, 1.0));
            let Latent::Best { critic, .. } = &self.latent else {
                return action.copy_from_slice(&actions);
            };
            let mut values = vec![0.0; rows];
            critic.rows(&beside(&actions, act_dim), &mut work, &mut values);
            for (candidate, &value) in actions.chunks_exact(act_dim).zip(&values) {
                if best.is_none_or(|best| value > best) {
                    best = Some(value);
                    action.copy_from_slice(candidate);
                }
            }
        }
    }
}
