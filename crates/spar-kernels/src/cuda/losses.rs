//! The losses of SPAR, each with its gradient in one launch.

use super::{
    Arg, CudaError, Device, Kernels,
    device::int,
    optim::{elementwise, rowwise},
};

/// What [`Kernels::temporal_difference`] bootstraps from.
#[derive(Debug)]
pub struct Bootstrap<'a, B> {
    /// Values of the next states, `[nets, rows]`: their least counts.
    pub next: &'a B,
    /// Nets in `next`: the target critics, or one for `V`.
    pub nets: usize,
    /// `[rows]`.
    pub rewards: &'a B,
    /// One, or zero where the next state ends an episode, `[rows]`.
    pub not_terminal: &'a B,
    /// Discount of future rewards.
    pub discount: f32,
}

/// Results of a loss over rows.
#[derive(Debug)]
pub struct Loss<'a, B> {
    /// Gradient of the mean over rows, as long as what it is of.
    pub grad: &'a mut B,
    /// Each row's loss, `[rows]`, for the log.
    pub loss: &'a mut B,
}

/// What the encoder says of a batch, and the noise it was sampled with.
#[derive(Debug)]
pub struct Posterior<'a, B> {
    /// Mean and log standard deviation side by side, `[rows, 2 * latent]`; the
    /// latter counts as clipped to `[-4, 15]`.
    pub head: &'a B,
    /// Standard normal, `[rows, latent]`.
    pub noise: &'a B,
    /// Width of a latent.
    pub latent: usize,
}

impl<D: Device> Kernels<D> {
    /// Target `y = reward + discount * not_terminal * min next`, into `target`,
    /// and of an ensemble's values `q`, `[nets, rows]`, the gradient of each
    /// net's `mean (q - y)^2` and the mean over nets of `(q - y)^2`. One launch.
    ///
    /// # Errors
    /// If a length does not fit or the launch fails.
    pub fn temporal_difference(
        &self,
        from: &Bootstrap<'_, D::Buffer>,
        q: &D::Buffer,
        nets: usize,
        target: &mut D::Buffer,
        into: Loss<'_, D::Buffer>,
    ) -> Result<(), CudaError> {
        let rows = self.device.len(target);
        some_nets(nets.min(from.nets))?;
        self.check("values of an ensemble", q, nets * rows)?;
        self.check("values of the next states", from.next, from.nets * rows)?;
        self.check("rewards", from.rewards, rows)?;
        self.check("marks of terminal states", from.not_terminal, rows)?;
        self.check("gradient", into.grad, nets * rows)?;
        self.check("losses", into.loss, rows)?;
        int("values of an ensemble", nets.max(from.nets) * rows)?;
        let args = [
            Arg::Read(from.next),
            Arg::Int(int("nets", from.nets)?),
            Arg::Read(from.rewards),
            Arg::Read(from.not_terminal),
            Arg::Float(from.discount),
            Arg::Read(q),
            Arg::Int(int("nets", nets)?),
            Arg::Int(int("rows", rows)?),
            Arg::Write(into.grad),
            Arg::Write(target),
            Arg::Write(into.loss),
        ];
        let launch = elementwise("temporal_difference", rows)?;
        // SAFETY: the arguments are `temporal_difference`'s, lengths checked
        // above.
        unsafe { self.device.launch(launch, &args) }
    }

    /// Expectile regression of `v`, `[rows]`, on the least of `upper`,
    /// `[nets, rows]`: with `u = min upper - v`, the mean of
    /// `|expectile - 1(u < 0)| u^2`. One launch.
    ///
    /// # Errors
    /// If a length does not fit or the launch fails.
    pub fn expectile_regression(
        &self,
        upper: &D::Buffer,
        nets: usize,
        v: &D::Buffer,
        expectile: f32,
        into: Loss<'_, D::Buffer>,
    ) -> Result<(), CudaError> {
        let rows = self.device.len(v);
        some_nets(nets)?;
        self.check("values of an ensemble", upper, nets * rows)?;
        self.check("gradient", into.grad, rows)?;
        self.check("losses", into.loss, rows)?;
        int("values of an ensemble", nets * rows)?;
        let args = [
            Arg::Read(upper),
            Arg::Int(int("nets", nets)?),
            Arg::Read(v),
            Arg::Float(expectile),
            Arg::Int(int("rows", rows)?),
            Arg::Write(into.grad),
            Arg::Write(into.loss),
        ];
        let launch = elementwise("expectile_regression", rows)?;
        // SAFETY: the arguments are `expectile_regression`'s, lengths checked
        // above.
        unsafe { self.device.launch(launch, &args) }
    }

    /// `a - b` into `out`, all of one length. One launch.
    ///
    /// # Errors
    /// If the lengths differ or the launch fails.
    pub fn difference(
        &self,
        a: &D::Buffer,
        b: &D::Buffer,
        out: &mut D::Buffer,
    ) -> Result<(), CudaError> {
        let count = self.device.len(out);
        self.check("minuend", a, count)?;
        self.check("subtrahend", b, count)?;
        let count_arg = Arg::Int(int("numbers", count)?);
        let args = [Arg::Read(a), Arg::Read(b), count_arg, Arg::Write(out)];
        // SAFETY: the arguments are `difference`'s, all of one length.
        unsafe { self.device.launch(elementwise("difference", count)?, &args) }
    }

    /// Latents `z = mean + std * noise` into `z`, `[rows, latent]`. One launch.
    ///
    /// # Errors
    /// If a length does not fit or the launch fails.
    pub fn draw_latents(
        &self,
        posterior: &Posterior<'_, D::Buffer>,
        z: &mut D::Buffer,
    ) -> Result<(), CudaError> {
        let rows = self.posterior_rows(posterior)?;
        self.check("latents", z, rows * posterior.latent)?;
        let args = [
            Arg::Read(posterior.head),
            Arg::Read(posterior.noise),
            Arg::Int(int("rows", rows)?),
            Arg::Int(int("width of a latent", posterior.latent)?),
            Arg::Write(z),
        ];
        let launch = elementwise("draw_latents", rows * posterior.latent)?;
        // SAFETY: the arguments are `draw_latents`'s, lengths checked above.
        unsafe { self.device.launch(launch, &args) }
    }

    /// Reconstruction of the residuals `r` by the decoder's, both
    /// `[rows, act_dim]`: each row's `|residual - r|^2`, and the gradient of
    /// `weight` times the mean. One launch.
    ///
    /// # Errors
    /// If a length does not fit or the launch fails.
    pub fn reconstruction(
        &self,
        residual: &D::Buffer,
        r: &D::Buffer,
        weight: f32,
        into: Loss<'_, D::Buffer>,
    ) -> Result<(), CudaError> {
        let rows = self.device.len(into.loss);
        let count = self.device.len(residual);
        let act_dim = count / rows.max(1);
        self.check("residuals", residual, rows * act_dim)?;
        self.check("residuals of the data", r, count)?;
        self.check("gradient", into.grad, count)?;
        int("residuals", count)?;
        let args = [
            Arg::Read(residual),
            Arg::Read(r),
            Arg::Int(int("rows", rows)?),
            Arg::Int(int("width of an action", act_dim)?),
            Arg::Float(weight),
            Arg::Write(into.grad),
            Arg::Write(into.loss),
        ];
        let launch = rowwise("reconstruction", rows)?;
        // SAFETY: the arguments are `reconstruction`'s, lengths checked above.
        unsafe { self.device.launch(launch, &args) }
    }

    /// Gradient of the encoder's output: through the latents, whose gradient are
    /// the columns from `offset` on of the decoder's `grad_x`, and of `weight`
    /// times the mean over rows of the KL to the prior, which is each row's
    /// loss. One launch.
    ///
    /// # Errors
    /// If a length does not fit or the launch fails.
    pub fn latent_gradient(
        &self,
        grad_x: &D::Buffer,
        offset: usize,
        posterior: &Posterior<'_, D::Buffer>,
        weight: f32,
        into: Loss<'_, D::Buffer>,
    ) -> Result<(), CudaError> {
        let rows = self.posterior_rows(posterior)?;
        let latent = posterior.latent;
        let stride = self.device.len(grad_x) / rows;
        self.check("gradient of the input", grad_x, rows * stride)?;
        if offset + latent > stride {
            return Err(CudaError::Shape(format!(
                "latents in columns {offset} to {} of {stride}",
                offset + latent
            )));
        }
        self.check("gradient", into.grad, rows * 2 * latent)?;
        self.check("losses", into.loss, rows)?;
        int("gradient of the input", rows * stride)?;
        let args = [
            Arg::Read(grad_x),
            Arg::Int(int("columns", stride)?),
            Arg::Int(int("columns", offset)?),
            Arg::Read(posterior.head),
            Arg::Read(posterior.noise),
            Arg::Int(int("rows", rows)?),
            Arg::Int(int("width of a latent", latent)?),
            Arg::Float(weight),
            Arg::Write(into.grad),
            Arg::Write(into.loss),
        ];
        let launch = rowwise("latent_gradient", rows)?;
        // SAFETY: the arguments are `latent_gradient`'s, lengths checked above.
        unsafe { self.device.launch(launch, &args) }
    }

    /// Rows of a posterior, at least one.
    fn posterior_rows(&self, posterior: &Posterior<'_, D::Buffer>) -> Result<usize, CudaError> {
        let numbers = self.device.len(posterior.noise);
        let rows = numbers / posterior.latent.max(1);
        if rows == 0 || posterior.latent == 0 {
            return Err(CudaError::Shape("no latents".to_owned()));
        }
        self.check(
            "noise of the latents",
            posterior.noise,
            rows * posterior.latent,
        )?;
        self.check("output of the encoder", posterior.head, 2 * numbers)?;
        int("output of the encoder", 2 * numbers)?;
        Ok(rows)
    }
}

fn some_nets(nets: usize) -> Result<(), CudaError> {
    if nets == 0 {
        return Err(CudaError::Shape("an ensemble of no nets".to_owned()));
    }
    Ok(())
}
