//! What a policy of SPAR has to choose from in a state, and what its critics say of actions.

use spar_core::{Normalizer, Stream};

use crate::{
    anchored::{LATENT_CLIP, Residual, SparPolicy},
    error::PolicyError,
    policy::{Networks, Policy},
    rectified::RectifiedPolicy,
    rows::RowWork,
};

/// Actions of one state, in the units of the policy's own actions.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    /// The base's action `b`, `[act_dim]`.
    pub base: Vec<f32>,
    /// `clip(b + Delta(s, b, 0))`, `[act_dim]`: what the deterministic policy does.
    pub own: Vec<f32>,
    /// `clip(b + Delta(s, b, z_k))` with `z_k ~ N(0, sigma_z^2)` clipped as in training,
    /// `[k, act_dim]`.
    pub drawn: Vec<f32>,
}

impl Policy {
    /// What Latent Self-Imitation compares in the state `obs`, `[obs_dim]`, in its own units:
    /// `k` candidates whose latents come from `stream`, beside the base's action and the
    /// policy's own.
    ///
    /// # Errors
    /// If the policy is none of SPAR's with a decoder of latents and critics.
    ///
    /// # Panics
    /// If the width does not fit.
    pub fn candidates(
        &self,
        obs: &[f32],
        k: usize,
        stream: &mut Stream,
    ) -> Result<Candidates, PolicyError> {
        assert_eq!(obs.len(), self.obs_dim(), "width of an observation");
        let (normalizer, residual) = self.rectifier()?;
        let mut s = obs.to_vec();
        normalizer.apply(&mut s);
        let mut base = vec![0.0; self.act_dim()];
        match self.networks() {
            Networks::Rectified(policy) => policy.base.base_actions(obs, &mut base),
            Networks::Spar(policy) => policy.anchor.rows(&s, &mut RowWork::default(), &mut base),
            _ => {}
        }
        let state = s.len() + base.len();
        let width = residual.decoder.input_dim();
        let mut input = Vec::with_capacity((k + 1) * width);
        for row in 0..=k {
            input.extend_from_slice(&s);
            input.extend_from_slice(&base);
            input.resize((row + 1) * width, 0.0);
            if row > 0 {
                let latent = &mut input[row * width + state..];
                stream.fill_normal(residual.sigma_z, latent);
                for z in latent {
                    *z = z.clamp(-LATENT_CLIP, LATENT_CLIP);
                }
            }
        }
        let mut own = vec![0.0; (k + 1) * base.len()];
        let mut work = RowWork::default();
        residual.clipped(&input, s.len(), base.len(), &mut work, &mut own);
        let mut drawn = own.split_off(base.len());
        if let Some(bounds) = self.action_bounds() {
            for actions in [&mut base, &mut own, &mut drawn] {
                bounds.unscale(actions);
            }
        }
        Ok(Candidates { base, own, drawn })
    }

    /// The critics' conservative value of each of `actions`, `[rows, act_dim]`, in the units
    /// of the policy's own, all in the state `obs`, `[obs_dim]`: `[rows]`, in the units that
    /// rewards had in training, and without the penalty that candidates have there.
    ///
    /// # Errors
    /// As [`Self::candidates`].
    ///
    /// # Panics
    /// As there.
    pub fn values(&self, obs: &[f32], actions: &[f32]) -> Result<Vec<f32>, PolicyError> {
        assert_eq!(obs.len(), self.obs_dim(), "width of an observation");
        assert_eq!(actions.len() % self.act_dim(), 0, "widths of actions");
        let (normalizer, residual) = self.rectifier()?;
        let mut s = obs.to_vec();
        normalizer.apply(&mut s);
        let mut actions = actions.to_vec();
        if let Some(bounds) = self.action_bounds() {
            bounds.scale(&mut actions);
        }
        let rows = actions.len() / self.act_dim();
        let mut input = Vec::with_capacity(rows * (s.len() + self.act_dim()));
        for action in actions.chunks_exact(self.act_dim()) {
            input.extend_from_slice(&s);
            input.extend_from_slice(action);
        }
        let mut values = vec![0.0; rows];
        residual.values(
            &input,
            &mut RowWork::default(),
            &mut Vec::new(),
            &mut values,
        );
        Ok(values)
    }

    /// What rectifies the base's action, and the normalizer of what it sees.
    fn rectifier(&self) -> Result<(&Normalizer, &Residual), PolicyError> {
        let (normalizer, residual) = match self.networks() {
            Networks::Spar(SparPolicy {
                normalizer,
                residual: Some(residual),
                ..
            })
            | Networks::Rectified(RectifiedPolicy {
                normalizer,
                residual,
                ..
            }) => (normalizer, residual),
            _ => return Err(none()),
        };
        match residual.critics.is_empty() {
            true => Err(none()),
            false => Ok((normalizer, residual)),
        }
    }
}

fn none() -> PolicyError {
    PolicyError::Content(
        "holds no candidates and no critics that compare them; give a policy of method spar"
            .to_owned(),
    )
}
