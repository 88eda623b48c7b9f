//! One update of the critic. `device.rs` is the same update on a GPU.

use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use spar_nn::{Batch, Conservatism, EnsembleValues, Trace, bellman, conservative_value};

use crate::{
    config::CriticForm,
    loss::expectile_loss,
    model::{Critic, DataValues},
};

/// Draws next actions `[rows, act_dim]` for next states: asked only by the
/// residual form.
pub type NextActions<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// What one critic update measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CriticMetrics {
    /// Mean over the ensemble of `mean (Q_i - y)^2`.
    pub q_loss: f32,
    /// Expectile loss of `V`; zero in the residual form.
    pub value_loss: f32,
    /// Mean target `y`.
    pub target_mean: f32,
}

impl Critic {
    /// One gradient step of `V` (in-sample form) and of every `Q_i` on
    /// `mean (Q_i(s, a) - y)^2`. Targets move in [`Critic::polyak`].
    ///
    /// # Errors
    /// If the batch's shapes do not fit.
    pub fn update(
        &mut self,
        batch: &Batch,
        next_actions: &mut NextActions<'_>,
    ) -> Result<CriticMetrics> {
        let taken = Tensor::cat(&[&batch.obs, &batch.actions], 1)?;
        let mut data = None;
        let (next_value, value_loss) = match self.config.form {
            CriticForm::Expectile => {
                let Some(value) = &mut self.value else {
                    bail!("the in-sample critic has no value network");
                };
                let targets = EnsembleValues::of(&self.q.targets, &taken)?;
                let upper = targets.conservative(Conservatism::Min)?;
                let v = value.net.forward(&batch.obs, Trace::Params)?.squeeze(1)?;
                let u = (&upper - &v)?;
                let loss = expectile_loss(&u, self.config.expectile)?;
                let value_loss = value.descend(&loss)?;
                data = Some(DataValues {
                    disagreement: targets.disagreement(),
                    least: upper,
                    value: Some(v.detach()),
                });
                let next = value.net.forward_detached(&batch.next_obs)?.squeeze(1)?;
                (next, value_loss)
            }
            CriticForm::Residual => {
                let actions = next_actions(&batch.next_obs)?;
                // Joined, not beside each other: the bits of the runs there are.
                let next = Tensor::cat(&[&batch.next_obs, &actions], 1)?;
                let least = conservative_value(&self.q.targets, Conservatism::Min, &next)?;
                (least, 0.0)
            }
        };
        let y = bellman(batch, self.config.discount, &next_value)?;
        let (q_loss, of_data) = self.q.fit_joined(&taken, &y)?;
        if data.is_none() {
            let critics = EnsembleValues::from_each(&of_data)?;
            data = Some(DataValues {
                least: critics.conservative(Conservatism::Min)?,
                disagreement: critics.disagreement(),
                value: None,
            });
        }
        self.data = data;
        Ok(CriticMetrics {
            q_loss: q_loss / self.q.count() as f32,
            value_loss,
            target_mean: y.mean_all()?.to_scalar()?,
        })
    }

    /// Moves every target critic by `tau` towards its network.
    ///
    /// # Errors
    /// Only if candle fails.
    pub fn polyak(&self) -> Result<()> {
        self.q.track(f64::from(self.config.tau))
    }
}
