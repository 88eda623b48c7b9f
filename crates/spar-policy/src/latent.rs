//! Policies that act in the latent space of a decoder: PLAS, BCQ and LAPO.

use std::{cell::RefCell, num::NonZeroUsize};

use spar_core::{Normalizer, Policy, Stream};

use crate::rows::{RowMlp, RowWork};

/// A policy in a latent space, on observations in their own units.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentPolicy {
    /// Of observations.
    pub normalizer: Normalizer,
    /// The same on normalized observations.
    pub actor: LatentActor,
}

/// A policy in the latent space of a decoder (PLAS, BCQ, LAPO).
#[derive(Clone, Debug, PartialEq)]
pub struct LatentActor {
    /// `[s, z]` to an action: tanh output, or linear where `affine` follows.
    pub decoder: RowMlp,
    /// What a linear decoder's output is multiplied by and what is added then, `[act_dim]`
    /// each: the data's actions were standardized.
    pub affine: Option<(Vec<f32>, Vec<f32>)>,
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

thread_local! {
    /// Of this thread, so that acting allocates nothing.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// What one state goes through.
#[derive(Default)]
struct Buffers {
    /// The normalized observation.
    s: Vec<f32>,
    /// Latents of all candidates, `[candidates, latent_dim]`.
    z: Vec<f32>,
    /// Rows `[s, ...]` of a network.
    input: Vec<f32>,
    /// Actions of a block of candidates.
    actions: Vec<f32>,
    /// How they are perturbed.
    change: Vec<f32>,
    /// What the critic says of them.
    values: Vec<f32>,
    work: RowWork,
}

/// `input = [s, row]` for each of `rows`, `width` wide.
fn beside(s: &[f32], rows: &[f32], width: usize, input: &mut Vec<f32>) {
    input.clear();
    for row in rows.chunks_exact(width) {
        input.extend_from_slice(s);
        input.extend_from_slice(row);
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

    /// The action in the normalized state `s`, `[obs_dim]`, into `action`, `[act_dim]`.
    /// Draws from `stream` if the latent is the best of several.
    ///
    /// # Panics
    /// If the widths do not fit.
    pub fn act(&self, s: &[f32], stream: &mut Stream, action: &mut [f32]) {
        BUFFERS.with_borrow_mut(|buffers| self.act_within(s, stream, action, buffers));
    }

    fn act_within(
        &self,
        s: &[f32],
        stream: &mut Stream,
        action: &mut [f32],
        buffers: &mut Buffers,
    ) {
        let Buffers {
            z,
            input,
            actions,
            change,
            values,
            work,
            ..
        } = buffers;
        let (act_dim, latent_dim) = (self.act_dim(), self.latent_dim());
        match &self.latent {
            Latent::Actor { net, bound } => {
                z.resize(latent_dim, 0.0);
                net.rows(s, work, z);
                z.iter_mut().for_each(|z| *z *= bound);
            }
            Latent::Best {
                candidates, clip, ..
            } => {
                z.resize(latent_dim * candidates.get(), 0.0);
                stream.fill_normal(1.0, z);
                z.iter_mut().for_each(|z| *z = z.clamp(-clip, *clip));
            }
        }
        let mut best = None;
        for z in z.chunks(BLOCK * latent_dim) {
            let rows = z.len() / latent_dim;
            actions.resize(rows * act_dim, 0.0);
            beside(s, z, latent_dim, input);
            self.decoder.rows(input, work, actions);
            if let Some((scale, shift)) = &self.affine {
                for row in actions.chunks_exact_mut(act_dim) {
                    for ((a, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                        *a = *a * scale + shift;
                    }
                }
            }
            if let Some((net, size)) = &self.perturbation {
                change.resize(actions.len(), 0.0);
                beside(s, actions, act_dim, input);
                net.rows(input, work, change);
                let changed = actions.iter_mut().zip(&*change);
                changed.for_each(|(a, c)| *a += size * c);
            }
            actions.iter_mut().for_each(|a| *a = a.clamp(-1.0, 1.0));
            let Latent::Best { critic, .. } = &self.latent else {
                return action.copy_from_slice(actions);
            };
            values.resize(rows, 0.0);
            beside(s, actions, act_dim, input);
            critic.rows(input, work, values);
            for (candidate, &value) in actions.chunks_exact(act_dim).zip(&*values) {
                if best.is_none_or(|best| value > best) {
                    best = Some(value);
                    action.copy_from_slice(candidate);
                }
            }
        }
    }
}

impl Policy for LatentPolicy {
    fn obs_dim(&self) -> usize {
        self.actor.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.actor.act_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let (obs_dim, act_dim) = (self.obs_dim(), self.act_dim());
        let rows = obs.len() / obs_dim;
        assert_eq!(obs.len(), rows * obs_dim, "observations of a policy call");
        assert_eq!(actions.len(), rows * act_dim, "actions of a policy call");
        assert_eq!(rows, streams.len(), "streams of a policy call");
        let rows = obs.chunks_exact(obs_dim).zip(streams);
        BUFFERS.with_borrow_mut(|buffers| {
            let mut s = std::mem::take(&mut buffers.s);
            for ((row, stream), action) in rows.zip(actions.chunks_exact_mut(act_dim)) {
                s.clear();
                s.extend_from_slice(row);
                self.normalizer.apply(&mut s);
                self.actor.act_within(&s, stream, action, buffers);
            }
            buffers.s = s;
        });
    }
}
