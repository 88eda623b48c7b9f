//! Optimizer and averaging steps.

use super::{
    Arg, CudaError, Device, Kernels, Launch, THREADS,
    device::{extent, int},
    network::Gradient,
};
use crate::optim::AdamConfig;

/// One step of Adam.
#[derive(Debug)]
pub struct AdamStep<'a, B> {
    /// Hyper-parameters.
    pub config: AdamConfig,
    /// The step's [`adam_factors`](crate::optim::adam_factors), `[2]`: the only thing that differs from step
    /// to step lies on the device, so that a recorded launch can be repeated.
    pub factors: &'a B,
}

impl<D: Device> Kernels<D> {
    /// One step of Adam, or AdamW, in place, along the sum of one or two
    /// `gradients`; see [`crate::optim::adam`]. With `average`,
    /// `target <- (1 - tau) target + tau params` of the new parameters in the same
    /// pass. One launch.
    ///
    /// # Errors
    /// If the buffers differ in length, there are no gradients or more than two, or the
    /// launch fails.
    pub fn adam(
        &self,
        step: &AdamStep<'_, D::Buffer>,
        params: &mut D::Buffer,
        gradients: &[&Gradient<D::Buffer>],
        m: &mut D::Buffer,
        v: &mut D::Buffer,
        average: Option<(f32, &mut D::Buffer)>,
    ) -> Result<(), CudaError> {
        let count = self.device.len(params);
        let (first, more) = match *gradients {
            [first] => (first, None),
            [first, more] => (first, Some(more)),
            _ => {
                return Err(CudaError::Shape(format!(
                    "a step along {} gradients; expected one or two",
                    gradients.len()
                )));
            }
        };
        for gradient in gradients {
            int("parameters in all parts", gradient.parts * count)?;
            self.check("gradient", &gradient.values, gradient.parts * count)?;
        }
        self.check("first moment", m, count)?;
        self.check("second moment", v, count)?;
        if let Some((_, target)) = &average {
            self.check("averaged parameters", target, count)?;
        }
        let AdamConfig {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        } = step.config;
        self.check("factors of a step", step.factors, 2)?;
        let float = |value: f64| Arg::Float(value as f32);
        let (tau, target) = match average {
            None => (0.0, Arg::Null),
            Some((tau, target)) => (tau, Arg::Write(target)),
        };
        let args = [
            Arg::Write(params),
            Arg::Read(&first.values),
            Arg::Int(int("parts", first.parts)?),
            more.map_or(Arg::Null, |more| Arg::Read(&more.values)),
            Arg::Int(int("parts", more.map_or(0, |more| more.parts))?),
            Arg::Write(m),
            Arg::Write(v),
            target,
            Arg::Read(step.factors),
            Arg::Int(int("parameters", count)?),
            float(1.0 - f64::from(lr) * f64::from(weight_decay)),
            float(1.0 - beta1),
            float(beta2),
            float(1.0 - beta2),
            Arg::Float(eps),
            Arg::Float(tau),
        ];
        // SAFETY: the arguments are `adam`'s, and all buffers are of one length.
        unsafe { self.device.launch(elementwise("adam", count)?, &args) }
    }

    /// Polyak averaging in place: `target <- (1 - tau) target + tau source`.
    /// One launch.
    ///
    /// # Errors
    /// If the buffers differ in length or the launch fails.
    pub fn polyak(
        &self,
        tau: f32,
        target: &mut D::Buffer,
        source: &D::Buffer,
    ) -> Result<(), CudaError> {
        let count = self.device.len(target);
        self.check("source of an average", source, count)?;
        let args = [
            Arg::Write(target),
            Arg::Read(source),
            Arg::Int(int("parameters", count)?),
            Arg::Float(tau),
        ];
        // SAFETY: the arguments are `polyak`'s, and both buffers are of one
        // length.
        unsafe { self.device.launch(elementwise("polyak", count)?, &args) }
    }
}

/// Rows a block takes where a warp takes a row.
pub(super) const ROWS_PER_BLOCK: usize = THREADS / 32;

/// A launch of one warp per row.
pub(super) fn rowwise(kernel: &'static str, rows: usize) -> Result<Launch, CudaError> {
    let launch = elementwise(kernel, rows)?;
    Ok(Launch {
        grid: [extent(rows.div_ceil(ROWS_PER_BLOCK))?, 1, 1],
        ..launch
    })
}

/// A launch of one thread per element.
pub(super) fn elementwise(kernel: &'static str, count: usize) -> Result<Launch, CudaError> {
    if count == 0 {
        return Err(CudaError::Shape(format!("{kernel} over nothing")));
    }
    Ok(Launch {
        kernel,
        grid: [extent(count.div_ceil(THREADS))?, 1, 1],
        threads: THREADS,
        shared_bytes: 0,
    })
}
