//! One update of the critic. `device.rs` is the same update on a GPU.

use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use spar_nn::{Batch, Conservatism, EnsembleValues, Trace};

use crate::{
    config::CriticForm,
    loss::expectile_loss,
    model::{Critic, DataValues, minimum},
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
                let (Some(value), Some(optim)) = (&self.value, &mut self.value_optim) else {
                    bail!("the in-sample critic has no value network");
                };
                let targets = EnsembleValues::of(&self.target, &taken)?;
                let upper = targets.conservative(Conservatism::Min)?;
                let v = value.forward(&batch.obs, Trace::Params)?.squeeze(1)?;
                let u = (&upper - &v)?;
                let loss = expectile_loss(&u, self.config.expectile)?;
                optim.step(&loss.backward()?)?;
                data = Some(DataValues {
                    disagreement: targets.disagreement(),
                    least: upper,
                    value: Some(v.detach()),
                });
                let next = value.forward_detached(&batch.next_obs)?.squeeze(1)?;
                (next, loss.to_scalar()?)
            }
            CriticForm::Residual => {
                let actions = next_actions(&batch.next_obs)?;
                let next = Tensor::cat(&[&batch.next_obs, &actions], 1)?;
                (minimum(&self.target, &next)?, 0.0)
            }
        };
        let future = (next_value.mul(&batch.not_terminal)? * self.config.discount)?;
        let y = (&batch.rewards + future)?;

        let (mut q_loss, mut of_data) = (0.0, Vec::new());
        for (q, optim) in self.q.iter().zip(&mut self.q_optim) {
            let predicted = q.forward(&taken, Trace::Params)?.squeeze(1)?;
            of_data.push(predicted.detach());
            let error = (predicted - &y)?;
            let loss = error.sqr()?.mean_all()?;
            optim.step(&loss.backward()?)?;
            q_loss += loss.to_scalar::<f32>()?;
        }
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
            q_loss: q_loss / self.q.len() as f32,
            value_loss,
            target_mean: y.mean_all()?.to_scalar()?,
        })
    }

    /// Moves every target critic by `tau` towards its network.
    ///
    /// # Errors
    /// Only if candle fails.
    pub fn polyak(&self) -> Result<()> {
        for (target, q) in self.target.iter().zip(&self.q) {
            target.track(q, self.config.tau)?;
        }
        Ok(())
    }
}
