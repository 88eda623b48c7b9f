//! Scores, or returns where no score can be made of them.

use serde::{Deserialize, Serialize};
use spar_core::EnvId;

/// What the numbers of a report's tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// D4RL's normalized score, in percent.
    #[default]
    NormalizedScore,
    /// Undiscounted returns, of every run: of some task's environment or data no reference
    /// returns are known. Those of several tasks have no common scale, so that nothing is
    /// averaged over tasks.
    Return,
}

impl Unit {
    /// Scores, unless one of them is unknown.
    pub(crate) fn of(scores: impl IntoIterator<Item = Option<f64>>) -> Self {
        match scores.into_iter().all(|score| score.is_some()) {
            true => Self::NormalizedScore,
            false => Self::Return,
        }
    }

    /// Whether it is [`Self::NormalizedScore`].
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
    pub(crate) fn is_score(&self) -> bool {
        *self == Self::NormalizedScore
    }

    /// As an axis has it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::NormalizedScore => "normalized score",
            Self::Return => "undiscounted return",
        }
    }

    /// As a difference in it is spoken of.
    pub(crate) const fn points(self) -> &'static str {
        match self {
            Self::NormalizedScore => "points of normalized score",
            Self::Return => "undiscounted returns",
        }
    }

    /// `episode_return` of a run of `env` in this unit.
    pub(crate) fn value(self, env: Option<EnvId>, episode_return: f64) -> Option<f64> {
        match self {
            Self::NormalizedScore => env?.normalized_score(episode_return),
            Self::Return => Some(episode_return),
        }
    }
}
