//! Hyper-parameters of the critic.

use serde::{Deserialize, Serialize};
use spar_nn::{Conservatism, Penalty};

/// What the critic bootstraps from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CriticForm {
    /// `y = r + discount (1 - terminal) V(s')`, `V` an expectile of the
    /// targets' minimum at the data's actions (IQL): never leaves the data.
    Expectile,
    /// `y = r + discount (1 - terminal) min_i Qbar_i(s', a')`, `a'` drawn from
    /// the averaged residual policy.
    Residual,
}

/// Hyper-parameters of [`crate::Critic`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriticConfig {
    /// What the critic bootstraps from.
    pub form: CriticForm,
    /// Widths of the hidden layers, each with layer normalization.
    pub hidden: Vec<usize>,
    /// Members of the ensemble, at least two.
    pub n_critics: usize,
    /// Adam's learning rate.
    pub lr: f32,
    /// Discount of future rewards.
    pub discount: f64,
    /// Rate of the target critics' Polyak averaging.
    pub tau: f32,
    /// Expectile of the in-sample form.
    pub expectile: f64,
    /// How the ensemble values a candidate action: absent, by its least; else by
    /// its mean less this many standard deviations. Targets are always the least.
    #[serde(default)]
    pub deviations: Option<f32>,
    /// What a candidate's value is lowered by for each unit of the ensemble's standard
    /// deviation about it beyond the one it has about the data's own actions (their root
    /// mean square over the batch). Where the critics disagree about the data as much as
    /// about a candidate, as on poor data, nothing is taken from it.
    #[serde(default)]
    pub penalty: f32,
    /// The same in parts of what there is to choose by: the spread, over a state's
    /// candidates, of what they lose, divided by the spread of their values. Unlike
    /// [`Self::penalty`] it weighs alike on every task; where both are given, both are
    /// taken.
    #[serde(default)]
    pub penalty_ratio: f32,
}

impl Default for CriticConfig {
    /// IQL's values for MuJoCo (ikostrikov/implicit_q_learning), in-sample; the penalty is
    /// this project's (docs/results/settings.md).
    fn default() -> Self {
        Self {
            form: CriticForm::Expectile,
            hidden: vec![256, 256],
            n_critics: 2,
            lr: 3e-4,
            discount: 0.99,
            tau: 0.005,
            expectile: 0.7,
            deviations: None,
            penalty: 0.0,
            penalty_ratio: 1.0,
        }
    }
}

impl CriticConfig {
    /// [`Self::penalty`] and [`Self::penalty_ratio`] as the kernels take them.
    pub fn penalties(&self) -> Penalty {
        Penalty {
            weight: self.penalty,
            ratio: self.penalty_ratio,
        }
    }

    /// [`Self::deviations`] as the kernels take it.
    pub fn conservatism(&self) -> Conservatism {
        self.deviations
            .map_or(Conservatism::Min, Conservatism::MeanMinusStd)
    }
}
