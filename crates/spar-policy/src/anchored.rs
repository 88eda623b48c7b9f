//! Policies that rectify an anchor's action: SPAR's, and a behaviour-cloned anchor alone.

use std::{cell::RefCell, num::NonZeroUsize};

use spar_core::{Normalizer, Policy, Stream};
use spar_kernels::value::{Conservatism, conservative};

use crate::rows::{RowMlp, RowWork};

/// Latents are kept in `[-LATENT_CLIP, LATENT_CLIP]`, where the decoder was trained.
pub const LATENT_CLIP: f32 = 2.0;

/// The deterministic policy `clip(b + Delta(s, b, 0))` with `b = pi_base(s)`,
/// on observations in the environment's own units; or, if asked for, the best of
/// K latents ([`Residual::best_of`]).
///
/// Without a residual it is the anchor alone.
#[derive(Clone, Debug, PartialEq)]
pub struct SparPolicy {
    /// Of observations.
    pub normalizer: Normalizer,
    /// `pi_base`: normalized observation to action, tanh output.
    pub anchor: RowMlp,
    /// What rectifies the anchor's action.
    pub residual: Option<Residual>,
}

/// The residual policy, with the critics that can rank its candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    /// `[s, b, z]` to the residual: tanh output, not yet scaled by `rho`. The
    /// Polyak-averaged decoder: in an environment that ends episodes the returns of
    /// neighbouring checkpoints differ by more than those of methods, and
    /// averaging damps that.
    pub decoder: RowMlp,
    /// Largest residual.
    pub rho: f32,
    /// `Q_1..Q_N`: `[s, a]` to a value.
    pub critics: Vec<RowMlp>,
    /// How their values of one action become one.
    pub conservatism: Conservatism,
    /// Standard deviation of drawn latents.
    pub sigma_z: f32,
    /// K of acting: `z = 0` and `K - 1` latents drawn from the row's stream,
    /// `N(0, sigma_z^2)` clipped as in training; of their clipped actions the one
    /// with the greatest conservative value is taken. One is the deterministic
    /// policy.
    pub best_of: NonZeroUsize,
}

impl Policy for SparPolicy {
    fn obs_dim(&self) -> usize {
        self.anchor.input_dim()
    }

    fn act_dim(&self) -> usize {
        self.anchor.output_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let (obs_dim, act_dim) = (self.obs_dim(), self.act_dim());
        let rows = obs.len() / obs_dim;
        assert_eq!(rows, actions.len() / act_dim, "rows of a policy call");
        assert_eq!(rows, streams.len(), "streams of a policy call");
        let blocks = obs.chunks(BLOCK * obs_dim).zip(streams.chunks_mut(BLOCK));
        BUFFERS.with_borrow_mut(|buffers| {
            for ((obs, streams), actions) in blocks.zip(actions.chunks_mut(BLOCK * act_dim)) {
                self.act_block(obs, streams, actions, buffers);
            }
        });
    }
}

/// Rows or candidates that pass through the networks together: what the layers
/// hand on stays in the first caches.
const BLOCK: usize = 32;

thread_local! {
    /// Of this thread's rollouts, so that acting allocates nothing.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// What a block of rows goes through.
#[derive(Default)]
struct Buffers {
    /// Normalized observations, `[rows, obs_dim]`.
    s: Vec<f32>,
    /// One row `[s, b]`.
    state: Vec<f32>,
    /// Rows `[s, b, z]` of the decoder.
    input: Vec<f32>,
    /// Clipped actions of one observation's candidates, `[rows, act_dim]`.
    candidates: Vec<f32>,
    /// Rows `[s, a]` of the critics.
    valued: Vec<f32>,
    /// The critics' values, `[critics, rows]`.
    values: Vec<f32>,
    /// The conservative ones, `[rows]`.
    worth: Vec<f32>,
    work: RowWork,
}

impl SparPolicy {
    /// [`Policy::act`] of at most [`BLOCK`] rows.
    fn act_block(
        &self,
        obs: &[f32],
        streams: &mut [Stream],
        actions: &mut [f32],
        buffers: &mut Buffers,
    ) {
        let mut s = std::mem::take(&mut buffers.s);
        s.clear();
        s.extend_from_slice(obs);
        self.normalizer.apply(&mut s);
        self.anchor.rows(&s, &mut buffers.work, actions);
        if let Some(residual) = &self.residual {
            residual.rectify_block(&s, streams, actions, buffers);
        }
        buffers.s = s;
    }
}

impl Residual {
    /// A residual that has learned one correction for every state, `[s, b]` to it,
    /// and knows no latents nor critics.
    pub fn fixed(net: RowMlp, rho: f32) -> Self {
        Self {
            decoder: net,
            rho,
            critics: Vec::new(),
            conservatism: Conservatism::Min,
            sigma_z: 0.0,
            best_of: NonZeroUsize::MIN,
        }
    }

    /// Replaces a base's actions, `[rows, act_dim]`, for observations `obs`,
    /// `[rows, obs_dim]`, in their own units, by those rectified: at `z = 0`, or by the
    /// best of K latents from the row's stream.
    pub(crate) fn rectify(
        &self,
        normalizer: &Normalizer,
        obs: &[f32],
        streams: &mut [Stream],
        actions: &mut [f32],
    ) {
        let (obs_dim, act_dim) = (normalizer.mean.len(), self.decoder.output_dim());
        let blocks = obs.chunks(BLOCK * obs_dim).zip(streams.chunks_mut(BLOCK));
        BUFFERS.with_borrow_mut(|buffers| {
            for ((obs, streams), actions) in blocks.zip(actions.chunks_mut(BLOCK * act_dim)) {
                let mut s = std::mem::take(&mut buffers.s);
                s.clear();
                s.extend_from_slice(obs);
                normalizer.apply(&mut s);
                self.rectify_block(&s, streams, actions, buffers);
                buffers.s = s;
            }
        });
    }

    /// [`Self::rectify`] of at most [`BLOCK`] rows of normalized observations `s`.
    fn rectify_block(
        &self,
        s: &[f32],
        streams: &mut [Stream],
        actions: &mut [f32],
        buffers: &mut Buffers,
    ) {
        let act_dim = self.decoder.output_dim();
        let obs_dim = s.len() / streams.len().max(1);
        if self.best_of == NonZeroUsize::MIN {
            return self.rectify_at_zero(s, actions, act_dim, buffers);
        }
        let rows = s.chunks_exact(obs_dim).zip(streams);
        for ((s, stream), action) in rows.zip(actions.chunks_exact_mut(act_dim)) {
            self.choose(s, stream, action, buffers);
        }
    }

    /// Replaces the anchor's actions, `[rows, act_dim]`, for normalized
    /// observations `s`, `[rows, obs_dim]`, by those rectified at `z = 0`.
    fn rectify_at_zero(
        &self,
        s: &[f32],
        actions: &mut [f32],
        act_dim: usize,
        buffers: &mut Buffers,
    ) {
        let Buffers { input, work, .. } = buffers;
        let obs_dim = s.len() / (actions.len() / act_dim);
        input.clear();
        for (s, b) in s.chunks_exact(obs_dim).zip(actions.chunks_exact(act_dim)) {
            let end = input.len() + self.decoder.input_dim();
            input.extend_from_slice(s);
            input.extend_from_slice(b);
            input.resize(end, 0.0);
        }
        self.clipped(input, obs_dim, act_dim, work, actions);
    }

    /// Replaces the anchor's `action` for one normalized observation `s` by the
    /// best of K candidates.
    fn choose(&self, s: &[f32], stream: &mut Stream, action: &mut [f32], buffers: &mut Buffers) {
        let Buffers {
            state,
            input,
            candidates,
            valued,
            values,
            worth,
            work,
            ..
        } = buffers;
        state.clear();
        state.extend_from_slice(s);
        state.extend_from_slice(action);
        let k = self.best_of.get();
        let mut best = None;
        for first in (0..k).step_by(BLOCK) {
            let rows = BLOCK.min(k - first);
            input.clear();
            for i in first..first + rows {
                let latent_at = input.len() + state.len();
                input.extend_from_slice(state);
                input.resize(latent_at - state.len() + self.decoder.input_dim(), 0.0);
                if i > 0 {
                    let latent = &mut input[latent_at..];
                    stream.fill_normal(self.sigma_z, latent);
                    for z in latent {
                        *z = z.clamp(-LATENT_CLIP, LATENT_CLIP);
                    }
                }
            }
            candidates.resize(rows * action.len(), 0.0);
            self.clipped(input, s.len(), action.len(), work, candidates);
            valued.clear();
            for a in candidates.chunks_exact(action.len()) {
                valued.extend_from_slice(s);
                valued.extend_from_slice(a);
            }
            worth.resize(rows, 0.0);
            self.values(valued, work, values, worth);
            for (a, &value) in candidates.chunks_exact(action.len()).zip(&*worth) {
                if best.is_none_or(|best| value > best) {
                    best = Some(value);
                    action.copy_from_slice(a);
                }
            }
        }
    }

    /// The conservative values of rows `[s, a]` of `input` into `out`, `[rows]`; `each` are
    /// then the critics' own, `[critics, rows]`.
    pub(crate) fn values(
        &self,
        input: &[f32],
        work: &mut RowWork,
        each: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let rows = out.len();
        each.resize(self.critics.len() * rows, 0.0);
        // Of no rows there is nothing to value, nor chunks of them.
        for (critic, values) in self.critics.iter().zip(each.chunks_exact_mut(rows.max(1))) {
            critic.rows(input, work, values);
        }
        conservative(each, self.critics.len(), self.conservatism, out);
    }

    /// `clip(b + rho Delta(s, b, z))` for rows `[s, b, z]` of `input` into
    /// `actions`, `[rows, act_dim]`.
    pub(crate) fn clipped(
        &self,
        input: &[f32],
        obs_dim: usize,
        act_dim: usize,
        work: &mut RowWork,
        actions: &mut [f32],
    ) {
        self.decoder.rows(input, work, actions);
        let rows = input.chunks_exact(self.decoder.input_dim());
        for (row, action) in rows.zip(actions.chunks_exact_mut(act_dim)) {
            for (a, b) in action.iter_mut().zip(&row[obs_dim..]) {
                *a = (b + self.rho * *a).clamp(-1.0, 1.0);
            }
        }
    }
}
