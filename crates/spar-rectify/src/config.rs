//! Hyper-parameters of the residual policy.

use serde::{Deserialize, Serialize};
use spar_nn::Weighting;

/// Hyper-parameters of the residual support model and of Latent
/// Self-Imitation. None is published; all are this project's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RectifyConfig {
    /// Widths of the hidden layers of encoder and decoder.
    pub hidden: Vec<usize>,
    /// Adam's learning rate of encoder and decoder.
    pub lr: f32,
    /// Weight of the KL term in the fitting loss.
    pub beta: f64,
    /// Largest residual per action component: `Delta` lies in `(-rho, rho)`.
    pub rho: f64,
    /// Weight of the fitting loss once self-imitation has begun; before, it is
    /// one.
    pub w_fit: f64,
    /// Weight of the self-imitation loss.
    pub lambda: f64,
    /// Residual candidates per state, `K`.
    pub candidates: usize,
    /// Temperature `T` of the candidates' softmax weights, of advantages in parts of
    /// their scale `sigma`.
    pub temperature: f64,
    /// Least `sigma`, in parts of the standard deviation of the data actions' own
    /// advantages: candidates that differ by much less than the data's actions do weigh
    /// the same, and self-imitation comes to rest. With 0 the candidates' own deviation
    /// is the scale however small it is, and they are ranked by the critic's noise in
    /// the end.
    #[serde(default)]
    pub scale: f64,
    /// Standard deviation of candidate latents, `sigma_z`; they are clipped to
    /// `[-2, 2]`.
    pub sigma_z: f32,
    /// The policy learns in every `policy_freq`-th update.
    pub policy_freq: u64,
    /// Updates before self-imitation begins: until then the support model only
    /// fits the data and the critic matures.
    pub warmup: u64,
    /// Polyak rate of the averaged decoder: the one that acts, and that the
    /// residual critic evaluates.
    pub tau: f32,
    /// What is done otherwise, for the ablation table.
    #[serde(default, skip_serializing_if = "Ablation::is_none")]
    pub ablation: Ablation,
}

impl Default for RectifyConfig {
    /// What this project's tables use (docs/results/settings.md has what was tried).
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            lr: 3e-4,
            beta: 0.03,
            rho: 1.0,
            w_fit: 2.0,
            lambda: 1.0,
            candidates: 8,
            temperature: 0.3,
            scale: 0.0,
            sigma_z: 1.0,
            policy_freq: 2,
            warmup: 10_000,
            tau: 0.005,
            ablation: Ablation::None,
        }
    }
}

/// One part of SPAR replaced by something else, everything else as it is: a row of
/// the ablation table. Computed on the CPU only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ablation {
    /// SPAR itself.
    #[default]
    None,
    /// No anchor: the residual is around zero, so that the support model is one of
    /// whole actions and the search is global.
    Global,
    /// The decoder climbs the critics' gradient at its candidates instead of
    /// imitating them: what the paper argues against.
    ValueGradient,
    /// No candidates: the fit to the data's own actions, each weighted by its
    /// advantage.
    AdvantageWeighted,
    /// The decoder stays as fitted; a network without latents imitates its
    /// candidates, and acts.
    SeparateHead,
    /// [`Self::SeparateHead`], with candidates around the latent of the head's own
    /// residual instead of around zero.
    OwnLatent,
    /// The anchor is not frozen: the policy's loss teaches it too, once
    /// self-imitation has begun.
    TunedAnchor,
}

impl RectifyConfig {
    /// How candidates are weighted where the data actions' advantages have the standard
    /// deviation `of_data`, in units of values.
    pub fn weighting(&self, of_data: f32) -> Weighting {
        Weighting {
            temperature: self.temperature as f32,
            floor: self.scale as f32 * of_data,
        }
    }

    /// Whether the fit to the data continues beside self-imitation.
    pub(crate) fn fits_on(&self) -> bool {
        self.w_fit > 0.0 || self.ablation == Ablation::AdvantageWeighted
    }
}

impl Ablation {
    /// Whether this is SPAR itself.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Whether a network of its own acts instead of the decoder.
    pub fn has_head(self) -> bool {
        matches!(self, Self::SeparateHead | Self::OwnLatent)
    }
}
