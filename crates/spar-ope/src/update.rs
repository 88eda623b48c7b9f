//! One update of an estimator.

use candle_core::{Result, Tensor};
use spar_nn::{Batch, Rows, Trace};

use crate::fqe::{Fqe, Units};

impl Fqe {
    /// One gradient step on `mean (q(s, a) - y)^2` in [`Units`], and the target's step
    /// towards the network. With `Qbar` the target's value in the units of the rewards
    ///
    /// `Y = r + discount (1 - terminal) Qbar(s', a')`, `a' = pi(s')`,
    ///
    /// clipped to what rewards like the data's can add up to, and `y = (Y - center) / scale`.
    /// An episode's cut is no terminal: its value goes on. Returns the loss.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn update(&mut self, batch: &Batch, next_actions: &Tensor) -> Result<f32> {
        let Units {
            center,
            scale,
            least,
            greatest,
        } = self.units;
        let (center, scale) = (f64::from(center), f64::from(scale));
        let next = Rows::beside(&batch.next_obs, next_actions);
        let next = self.target.forward_detached(next)?.squeeze(1)?;
        let future = next.affine(scale * self.discount, center * self.discount)?;
        let y = (&batch.rewards + future.mul(&batch.not_terminal)?)?;
        let y = y.clamp(least, greatest)?;
        let y = y.affine(1.0 / scale, -center / scale)?;

        let taken = Tensor::cat(&[&batch.obs, &batch.actions], 1)?;
        let q = self.q.net.forward(&taken, Trace::Params)?.squeeze(1)?;
        let loss = (q - y)?.sqr()?.mean_all()?;
        let loss = self.q.descend(&loss)?;
        self.target.track(&self.q.net, self.tau)?;
        Ok(loss)
    }
}
