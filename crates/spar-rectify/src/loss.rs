//! The losses of the residual policy.

use candle_core::{D, Result, Tensor};
use spar_core::Stream;
use spar_nn::{Trace, normal};

use crate::model::SupportModel;

/// Residual regression, the fitting of the manifold:
/// `L_fit = mean_B [ |Delta(s, b, z) - r|^2 + beta KL(q(z | s, b, r) || N(0, I)) ]`
/// with `r = a - b`, one posterior sample `z` per row, both terms summed over
/// their dimensions.
///
/// Returns the loss, and its reconstruction and KL terms for the log.
///
/// # Errors
/// If the shapes do not fit.
pub fn fit_loss(
    model: &SupportModel,
    beta: f64,
    s: &Tensor,
    b: &Tensor,
    a: &Tensor,
    posterior: &mut Stream,
) -> Result<(Tensor, f32, f32)> {
    let (reconstruction, kl) = fit_rows(model, s, b, a, posterior)?;
    let (reconstruction, kl) = (reconstruction.mean_all()?, kl.mean_all()?);
    let parts = (reconstruction.to_scalar()?, kl.to_scalar()?);
    let loss = (reconstruction + (kl * beta)?)?;
    Ok((loss, parts.0, parts.1))
}

/// `|Delta(s, b, z) - r|^2` and the KL of [`fit_loss`] for each row, both `[rows]`.
pub(crate) fn fit_rows(
    model: &SupportModel,
    s: &Tensor,
    b: &Tensor,
    a: &Tensor,
    posterior: &mut Stream,
) -> Result<(Tensor, Tensor)> {
    let r = (a - b)?;
    let (mean, log_std) = model.encode(s, b, &r)?;
    let noise = normal(posterior, 1.0, s.dim(0)?, model.latent_dim())?;
    let z = (&mean + log_std.exp()?.mul(&noise)?)?;
    let residual = model.decode(s, b, &z, Trace::Both)?;
    let reconstruction = (residual - r)?.sqr()?.sum(D::Minus1)?;
    // KL of diagonal Gaussians: 1/2 sum(mean^2 + std^2 - 1) - sum(log std)
    let spread = (mean.sqr()? + (&log_std * 2.0)?.exp()?)?;
    let kl = (((spread - 1.0)? * 0.5)? - &log_std)?.sum(D::Minus1)?;
    Ok((reconstruction, kl))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use spar_nn::Mlp;

    use super::*;
    use crate::config::{Ablation, RectifyConfig};

    /// The gradient of the fit along random directions against central
    /// differences, through reparametrization, both networks and the KL.
    #[test]
    fn the_fits_gradient_is_that_of_finite_differences() {
        let config = RectifyConfig {
            hidden: vec![8],
            lr: 1e-3,
            beta: 0.5,
            rho: 0.8,
            w_fit: 1.0,
            lambda: 1.0,
            candidates: 2,
            temperature: 1.0,
            scale: 0.3,
            sigma_z: 1.0,
            policy_freq: 1,
            warmup: 0,
            tau: 0.1,
            ablation: Ablation::None,
        };
        let model = SupportModel::new(&config, 3, 2, 1).unwrap();
        let mut stream = Stream::new(1, "case");
        for net in [&model.encoder, &model.decoder] {
            let mut params = net.to_params().unwrap();
            stream.fill_normal(0.4, &mut params);
            net.set_params(params).unwrap();
        }
        let [s, b, a] = [3, 2, 2].map(|n| normal(&mut stream, 0.5, 24, n).unwrap());
        let loss = || {
            let mut posterior = Stream::new(1, "posterior");
            let (loss, reconstruction, kl) =
                fit_loss(&model, config.beta, &s, &b, &a, &mut posterior).unwrap();
            let value: f32 = loss.to_scalar().unwrap();
            assert!((value - reconstruction - 0.5 * kl).abs() < 1e-5 * value);
            (loss, f64::from(value))
        };
        loss().0.backward().unwrap();
        let check = |name: &str, net: &Mlp, stream: &mut Stream| {
            let grad = net.take_gradient().unwrap();
            let at = net.to_params().unwrap();
            for _ in 0..20 {
                let mut direction = vec![0.0; at.len()];
                stream.fill_normal(1.0, &mut direction);
                let want: f64 = grad
                    .iter()
                    .zip(&direction)
                    .map(|(g, d)| f64::from(g * d))
                    .sum();
                let h = 1e-3f32;
                let value = |h: f32| {
                    let moved = at.iter().zip(&direction).map(|(p, d)| p + h * d);
                    net.set_params(moved.collect()).unwrap();
                    loss().1
                };
                let got = (value(h) - value(-h)) / (2.0 * f64::from(h));
                net.set_params(at.clone()).unwrap();
                assert!(
                    (got - want).abs() < 1e-2 * (1.0 + want.abs()),
                    "{name}: {got} {want}"
                );
            }
        };
        check("encoder", &model.encoder, &mut stream);
        check("decoder", &model.decoder, &mut stream);
    }
}
