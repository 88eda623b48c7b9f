//! Claim 1d, normal drift of a *learned* decoder.
//!
//! # Hypothesis
//! Theorem 4.1 says that the self-imitation step has no component normal to the
//! residual manifold to first order, "for any residual parameters". The manifold it can
//! mean is the decoder's image `z -> Delta(s, b, z)`. That is a manifold of the data's
//! dimension only if the decoder's Jacobian has that rank; a variational decoder with
//! twice as many latents as actions need not. So: with candidates a latent distance `h`
//! apart, the target's component normal to the image is of second order in `h`.
//!
//! # Method
//! A [`spar_rectify::SupportModel`] is fitted ([`Sizes::updates`] updates of warm-up,
//! beta 0.03 as in `suites/mujoco.toml`) to the residuals of the synthetic task
//! [`Task::Arc`], whose supported actions are a circle, so that the tangent
//! is one-dimensional and known. At base latents `z_0 ~ N(0, 0.5^2)` the Jacobian with respect
//! to `z`, by back-propagation, is split by singular values: the first left singular
//! vector is the decoder's tangent, the second its normal. K = 8 candidates
//! `z_0 + h e`, `e ~ N(0, I)`, are valued by the gradient `t + n` (normal component
//! one) and weighted by the project's own function. Measured of `Delta* - Delta(z_0)`:
//! its normal part, for each `h`; and of the target its distance from the true circle,
//! beside that of the decoder's own outputs, which no theorem speaks of.
//!
//! # Sizes
//! [`Sizes::states`] states for each of [`Sizes::seeds`] decoders; `h` 0.03 to 0.48 in 5
//! levels.
//!
//! # Estimator
//! Exponent in `h` of the mean normal part; 95% bootstrap interval over states.
//!
//! # Verdict
//! `supported` if the interval lies within `[1.8, 2.2]`, `not supported` if it lies outside
//! altogether, else `inconclusive`. A rectifier network is linear in pieces: that may
//! lower the exponent as honestly as a thick image does, and the ratio of singular
//! values says which it is.
//!
//! # Control
//! A step of the same length along the value gradient must show exponent one: rule
//! `not supported`.

use candle_core::{Device, Tensor, Var};
use nalgebra::{DMatrix, DVector};
use spar_core::Stream;
use spar_kernels::value::{Imitation, Weighting, imitation};
use spar_nn::{Trace, normal};
use spar_rectify::SupportModel;
use spar_stats::{Bootstrap, Estimate, mean, percentile};

use crate::{
    Claim, Control, Figure, Finding, Line, Sizes, TheoryError, Verdict,
    drift::within,
    fit::{Levels, exponent},
    toy::{RADIUS, Task},
    toy_train,
};

const CANDIDATES: usize = 8;
const TEMPERATURE: f32 = 0.3;
const BETA: f64 = 0.03;
/// Spreads of candidate latents.
const SPREADS: [f64; 5] = [0.03, 0.06, 0.12, 0.24, 0.48];
/// Deviation of base latents, well inside where latents are clipped.
const BASES: f32 = 0.5;
const ROWS: usize = 4000;

/// The Jacobians of a decoder with respect to its latents.
///
/// `s`, `b` and `z` are `[rows, ..]`; returns one `[act_dim, latent_dim]` matrix a row.
///
/// # Errors
/// If the shapes do not fit.
pub fn jacobians(
    model: &SupportModel,
    s: &Tensor,
    b: &Tensor,
    z: &Tensor,
) -> Result<Vec<DMatrix<f64>>, TheoryError> {
    let (rows, act_dim) = b.dims2()?;
    let latents = z.dim(1)?;
    let mut found = vec![DMatrix::zeros(act_dim, latents); rows];
    for i in 0..act_dim {
        let z = Var::from_tensor(z)?;
        let out = model.decode(s, b, &z, Trace::Input)?;
        let grads = out.narrow(1, i, 1)?.sum_all()?.backward()?;
        let none = || candle_core::Error::Msg("no gradient reached the latents".to_owned());
        let grad: Vec<Vec<f32>> = grads.get(&z).ok_or_else(none)?.to_vec2()?;
        for (jacobian, grad) in found.iter_mut().zip(grad) {
            for (j, g) in grad.into_iter().enumerate() {
                jacobian[(i, j)] = f64::from(g);
            }
        }
    }
    Ok(found)
}

/// Tangent, normal and singular values at one state.
struct Split {
    tangent: DVector<f64>,
    normal: DVector<f64>,
    /// Second singular value in parts of the first.
    thickness: f64,
}

impl Split {
    /// Of the decoder's Jacobian, `[2, latent_dim]`.
    fn of(jacobian: &DMatrix<f64>) -> Self {
        // The left singular vectors and squared singular values.
        let gram = (jacobian * jacobian.transpose()).symmetric_eigen();
        let first = gram.eigenvalues.imax();
        let second = 1 - first;
        let value = |i: usize| gram.eigenvalues[i].max(0.0).sqrt();
        Self {
            tangent: gram.eigenvectors.column(first).into(),
            normal: gram.eigenvectors.column(second).into(),
            thickness: value(second) / value(first).max(f64::MIN_POSITIVE),
        }
    }
}

#[derive(Default)]
struct Found {
    /// `[level][state]`: normal part of `Delta* - Delta(z_0)`.
    normal: Vec<Vec<f64>>,
    /// Its tangent part.
    tangent: Vec<Vec<f64>>,
    /// Normal part of a gradient step as long.
    gradient: Vec<Vec<f64>>,
    /// `[level][state]`: the target's distance from the circle.
    off: Vec<Vec<f64>>,
    /// `[state]`: that of the decoder's output at the base latent.
    floor: Vec<f64>,
    thickness: Vec<f64>,
}

/// One decoder, fitted and split.
fn measure(sizes: &Sizes, seed: u64, into: &mut Found) -> Result<(), TheoryError> {
    let data = Task::Arc.data(ROWS, seed);
    let spar = toy_train::fitted(&data, sizes.updates, BETA, seed)?;
    let (model, act_dim, rows) = (&spar.model, Task::Arc.act_dim(), sizes.states);
    let mut stream = Stream::new(seed, "theory/decoder/states");
    let s: Vec<f32> = (0..rows)
        .map(|_| stream.uniform(-1.0, 1.0) as f32)
        .collect();
    let s = Tensor::from_vec(s, (rows, 1), &Device::Cpu)?;
    let b = spar.base.cloned()?.act(&s)?;
    let z = normal(&mut stream, BASES, rows, model.latent_dim())?;
    let splits: Vec<Split> = jacobians(model, &s, &b, &z)?
        .iter()
        .map(Split::of)
        .collect();
    let base = vectors(&model.decode(&s, &b, &z, Trace::Params)?.detach())?;
    let anchors = vectors(&b)?;
    let off = |i: usize, residual: &DVector<f64>| ((&anchors[i] + residual).norm() - RADIUS).abs();
    into.floor.extend((0..rows).map(|i| off(i, &base[i])));
    into.thickness.extend(splits.iter().map(|s| s.thickness));
    let noise: Vec<f32> = {
        let mut noise = vec![0.0; rows * CANDIDATES * model.latent_dim()];
        Stream::new(seed, "theory/decoder/candidates").fill_normal(1.0, &mut noise);
        noise
    };
    let z: Vec<Vec<f32>> = z.to_vec2()?;
    for (level, spread) in SPREADS.iter().enumerate() {
        let moved = noise.chunks_exact(model.latent_dim()).enumerate();
        let moved = moved.flat_map(|(row, noise)| {
            let base = &z[row / CANDIDATES];
            base.iter().zip(noise).map(|(z, e)| z + *spread as f32 * e)
        });
        let shape = (rows * CANDIDATES, model.latent_dim());
        let moved = Tensor::from_vec(moved.collect::<Vec<f32>>(), shape, &Device::Cpu)?;
        let candidates = model.decode(&s, &b, &moved, Trace::Params)?.detach();
        let flat: Vec<f32> = candidates.flatten_all()?.to_vec1()?;
        let candidates = vectors(&candidates)?;
        let value = |(k, candidate): (usize, &DVector<f64>)| {
            let split = &splits[k / CANDIDATES];
            let step = candidate - &base[k / CANDIDATES];
            (&split.tangent + &split.normal).dot(&step) as f32
        };
        let q: Vec<f32> = candidates.iter().enumerate().map(value).collect();
        let mut found = Imitation::default();
        imitation(
            &flat,
            &q,
            CANDIDATES,
            Weighting::scale_free(TEMPERATURE),
            &mut found,
        );
        for (i, target) in found.target().chunks_exact(act_dim).enumerate() {
            let target = DVector::from_iterator(act_dim, target.iter().map(|x| f64::from(*x)));
            let (step, split) = (&target - &base[i], &splits[i]);
            let normal = split.normal.dot(&step).abs();
            into.normal[level].push(normal);
            into.tangent[level].push(split.tangent.dot(&step).abs());
            // Of t + n, half of the squared length is normal.
            into.gradient[level].push(step.norm() / 2f64.sqrt());
            into.off[level].push(off(i, &target));
        }
    }
    Ok(())
}

fn vectors(rows: &Tensor) -> Result<Vec<DVector<f64>>, TheoryError> {
    let rows: Vec<Vec<f32>> = rows.to_vec2()?;
    let vector = |row: Vec<f32>| DVector::from_iterator(row.len(), row.into_iter().map(f64::from));
    Ok(rows.into_iter().map(vector).collect())
}

/// Puts claim 1d to the test; see the module's documentation.
///
/// # Errors
/// If networks cannot be trained, or a mean is zero.
pub fn decoder(sizes: &Sizes, seed: u64) -> Result<Claim, TheoryError> {
    let levels = || vec![Vec::new(); SPREADS.len()];
    let mut found = Found {
        normal: levels(),
        tangent: levels(),
        gradient: levels(),
        off: levels(),
        ..Found::default()
    };
    for run in 0..sizes.seeds {
        measure(sizes, seed + run, &mut found)?;
    }
    let at = |measured: Vec<Vec<f64>>| Levels {
        at: SPREADS.to_vec(),
        measured,
    };
    let verdict_of = |what: &str, levels: &Levels| -> Result<(Estimate, Verdict), TheoryError> {
        let found = exponent(what, levels, seed)?;
        Ok((found, within(&found, 1.8, 2.2)))
    };
    let normal = at(found.normal);
    let (slope, verdict) = verdict_of("normal part of the target", &normal)?;
    let tangent = at(found.tangent);
    let along = exponent("tangent part of the target", &tangent, seed)?;
    let gradient = at(found.gradient);
    let (control, denied) = verdict_of("normal part of a gradient step", &gradient)?;
    let floor = stats(&found.floor, seed)?;
    let target = stats(&found.off[SPREADS.len() - 1], seed)?;
    let share = |levels: &Levels| {
        let means = |levels: &Levels| levels.means().iter().map(|m| m.1).collect::<Vec<f64>>();
        means(levels)
            .into_iter()
            .zip(means(&tangent))
            .map(|(n, t)| n / t)
            .collect::<Vec<f64>>()
    };
    let parts = share(&normal);
    Ok(Claim {
        id: "1-decoder".to_owned(),
        hypothesis: "the self-imitation target has no component normal to a learned decoder's \
                     image to first order in the spread of latents"
            .to_owned(),
        rule: "the exponent's 95% interval within [1.8, 2.2]".to_owned(),
        sentence: format!(
            "exponent {:.2} [{:.2}, {:.2}]; second singular value {:.2} of the first in the median",
            slope.value,
            slope.interval.low,
            slope.interval.high,
            percentile(&found.thickness, 0.5)
        ),
        findings: vec![
            Finding::estimate("exponent of the target's normal part", &slope, "2")
                .with_verdict(verdict),
            Finding::estimate("exponent of the target's tangent part", &along, "1"),
            Finding::value(
                "normal part in parts of the tangent part, least spread",
                parts.first().copied().unwrap_or(f64::NAN),
                "towards 0 with the spread; of the gradient step 1",
            ),
            Finding::value(
                "normal part in parts of the tangent part, greatest spread",
                parts.last().copied().unwrap_or(f64::NAN),
                "",
            ),
            Finding::value(
                "second singular value in parts of the first, median",
                percentile(&found.thickness, 0.5),
                "0 if the image is one-dimensional as the data are",
            ),
            Finding::value(
                "the same, 90th percentile",
                percentile(&found.thickness, 0.9),
                "",
            ),
            Finding::estimate(
                "distance of the decoder's outputs from the true circle",
                &floor,
                "0 if the fit were perfect",
            ),
            Finding::estimate(
                "distance of the target from the true circle, greatest spread",
                &target,
                "about that of the outputs",
            ),
        ],
        controls: vec![Control::denied(
            "a value-gradient step as long",
            denied,
            &format!("exponent {:.2}", control.value),
        )],
        verdict: Verdict::Inconclusive,
        figures: vec![Figure {
            name: "decoder".to_owned(),
            title: "Parts of the target's displacement at a learned decoder".to_owned(),
            x: "spread of latents".to_owned(),
            y: "mean part of the displacement".to_owned(),
            lines: vec![
                Line {
                    name: "self-imitation, normal".to_owned(),
                    points: normal.means(),
                    slope: Some(2.0),
                },
                Line {
                    name: "self-imitation, tangent".to_owned(),
                    points: tangent.means(),
                    slope: Some(1.0),
                },
                Line {
                    name: "value gradient as long, normal".to_owned(),
                    points: gradient.means(),
                    slope: Some(1.0),
                },
            ],
        }],
    }
    .concluded())
}

/// The mean of `values` with its bootstrap interval.
pub(crate) fn stats(values: &[f64], seed: u64) -> Result<Estimate, TheoryError> {
    let scores = spar_stats::Scores::new(&[values.to_vec()])?;
    let plan = Bootstrap {
        seed,
        ..Bootstrap::coarse()
    };
    let of = |scores: &spar_stats::Scores| mean(scores.all());
    Ok(spar_stats::stratified_bootstrap(&scores, of, &plan)?)
}
