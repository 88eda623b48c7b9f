//! What a step of each workload has to do, from its shapes alone: the floor that
//! its time is held against.
//!
//! Floating-point operations are two per multiply-add of a matrix product.
//! Everything else (activations, losses, Adam) is overhead by this count, for
//! every contender alike. Bytes are those of the arrays a step needs, each once
//! per pass that needs it, as if none outlived the pass in a cache: parameters,
//! and input, hidden and output rows of a pass; gradient and both moments of
//! parameters that learn.

use std::{iter::Sum, ops};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spar_kernels::MlpShape;

use crate::inputs::{Config, Shapes};

/// Size of an element of every array.
const FLOAT: usize = size_of::<f32>();

/// What a step has to do at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Work {
    /// Floating-point operations.
    pub(crate) flops: usize,
    /// Bytes of arrays.
    pub(crate) bytes: usize,
}

impl ops::Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), ops::Add::add)
    }
}

impl ops::Mul<Work> for usize {
    type Output = Work;

    fn mul(self, work: Work) -> Work {
        Work {
            flops: self * work.flops,
            bytes: self * work.bytes,
        }
    }
}

/// One forward pass over `rows` rows.
pub(crate) fn forward(shape: &MlpShape, rows: usize) -> Work {
    let ends = [shape.input(), shape.output()];
    let widths = shape.hidden().iter().chain(&ends);
    Work {
        flops: 2 * rows * shape.multiply_adds(),
        bytes: FLOAT * (shape.parameters() + rows * widths.sum::<usize>()),
    }
}

/// A forward pass, the gradient of the parameters, and of the input only where
/// `input_gradient` (the first layer's is otherwise never needed), and Adam.
pub(crate) fn train(shape: &MlpShape, rows: usize, input_gradient: bool) -> Work {
    let first = shape.layers().next().map_or(0, |l| l.input * l.output);
    let spared = if input_gradient { 0 } else { 2 * rows * first };
    let forward = forward(shape, rows);
    Work {
        flops: 3 * forward.flops - spared,
        bytes: forward.bytes + 3 * FLOAT * shape.parameters(),
    }
}

/// Moving one network's parameters towards another's, which are at hand.
fn polyak(shape: &MlpShape) -> Work {
    Work {
        flops: 0,
        bytes: FLOAT * shape.parameters(),
    }
}

/// One critic update: the targets' minimum, the value's step and its value of
/// the next states, the ensemble's steps and the targets' averaging.
///
/// # Errors
/// If a size is of no network.
pub(crate) fn critic(c: &Config) -> Result<Work> {
    let Shapes { q, value, .. } = &c.shapes()?;
    let each = forward(q, c.rows) + train(q, c.rows, false) + polyak(q);
    Ok(c.critic.n_critics * each + train(value, c.rows, false) + forward(value, c.rows))
}

/// One fit: the anchor's action, the encoder's and the decoder's gradients.
/// The decoder's input gradient is that of the latent, which the encoder made.
///
/// # Errors
/// If a size is of no network.
pub(crate) fn fit(c: &Config) -> Result<Work> {
    let s = c.shapes()?;
    let parts = [
        forward(&s.anchor, c.rows),
        train(&s.encoder, c.rows, false),
        train(&s.decoder, c.rows, true),
        polyak(&s.decoder),
    ];
    Ok(parts.into_iter().sum())
}

/// Latent Self-Imitation: candidates with gradient, valued by every critic.
///
/// # Errors
/// If a size is of no network.
pub(crate) fn imitation(c: &Config) -> Result<Work> {
    let s = c.shapes()?;
    let rows = c.rows * c.rectify.candidates;
    Ok(train(&s.decoder, rows, false) + c.critic.n_critics * forward(&s.q, rows))
}

/// One whole update, the mean over `policy_freq` of them.
///
/// # Errors
/// If a size is of no network.
pub(crate) fn update(c: &Config) -> Result<Work> {
    let policy = fit(c)? + imitation(c)?;
    let freq = c.rectify.policy_freq.max(1) as usize;
    let rest = Work {
        flops: policy.flops / freq,
        bytes: policy.bytes / freq,
    };
    Ok(critic(c)? + rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_yardstick_is_107_megaflop() {
        let shape = MlpShape::relu(23, [256, 256], 1).unwrap();
        assert_eq!(forward(&shape, 256).flops, 36_700_160);
        assert_eq!(train(&shape, 256, false).flops, 107_085_824);
    }

    #[test]
    fn bytes_are_those_of_the_arrays() {
        let shape = MlpShape::relu(2, [3], 1).unwrap();
        // 2 x 3 + 3 + 3 + 1 parameters, five rows of 2, 3 and 1.
        assert_eq!(forward(&shape, 5).bytes, 4 * (13 + 5 * 6));
        assert_eq!(train(&shape, 5, false).bytes, 4 * (4 * 13 + 5 * 6));
    }
}
