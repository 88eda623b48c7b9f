//! The network of a diffusion chain: plain, or of residual blocks.

use super::{Pass, pass};
use crate::rows::{RowMlp, RowWork};

/// The noise in a sample: a network of `[s, x, code]`, where each step of the chain has
/// its code. A code is a function of the step alone, so that a file holds the codes and
/// not the network that made them.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseNet {
    /// Codes of the steps, `[steps, code_dim]`.
    pub codes: Vec<f32>,
    /// How wide a code is.
    pub code_dim: usize,
    /// `[s, x, code]` to noise; of a residual network, to what its blocks go on with.
    pub entry: RowMlp,
    /// The residual blocks, of such a network.
    pub residuals: Option<Residuals>,
}

/// `h <- h + block(h)` of each block in turn, then `exit(f(h))`, `f` the activation that
/// `exit` has between its layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Residuals {
    /// Of the width of `h` at both ends.
    pub blocks: Vec<RowMlp>,
    /// From `h` to noise.
    pub exit: RowMlp,
}

/// What residual blocks hand to each other.
#[derive(Default)]
pub(super) struct Work {
    h: Vec<f32>,
    change: Vec<f32>,
}

impl NoiseNet {
    /// Width of an action.
    pub fn act_dim(&self) -> usize {
        let last = self.residuals.as_ref().map(|residuals| &residuals.exit);
        last.unwrap_or(&self.entry).output_dim()
    }

    /// Width of `[s, x, code]`.
    pub fn input_dim(&self) -> usize {
        self.entry.input_dim()
    }

    /// Width of a code.
    pub fn code_dim(&self) -> usize {
        self.code_dim
    }

    /// Whether there is a code for each of `steps` steps, and the networks fit each other.
    pub(super) fn fits(&self, steps: usize) -> bool {
        let coded = steps.checked_mul(self.code_dim) == Some(self.codes.len());
        let inner = self.residuals.as_ref().is_none_or(|residuals| {
            let width = self.entry.output_dim();
            let mut blocks = residuals.blocks.iter();
            blocks.all(|b| (b.input_dim(), b.output_dim()) == (width, width))
                && residuals.exit.input_dim() == width
        });
        coded && inner
    }

    /// The noise in `x` at step `t`, into `out`.
    pub(super) fn noise(
        &self,
        states: (&[f32], usize, usize),
        x: &[f32],
        t: usize,
        out: &mut [f32],
        buffers: &mut Pass,
    ) {
        let code = &self.codes[t * self.code_dim..(t + 1) * self.code_dim];
        let Pass {
            input,
            work,
            residual,
        } = buffers;
        pass(
            states,
            (x, self.act_dim()),
            code,
            out,
            input,
            |input, out| match &self.residuals {
                None => self.entry.rows(input, work, out),
                Some(residuals) => residuals.rows(&self.entry, input, out, work, residual),
            },
        );
    }
}

impl Residuals {
    fn rows(
        &self,
        entry: &RowMlp,
        input: &[f32],
        out: &mut [f32],
        work: &mut RowWork,
        Work { h, change }: &mut Work,
    ) {
        let rows = input.len() / entry.input_dim();
        h.resize(rows * entry.output_dim(), 0.0);
        entry.rows(input, work, h);
        change.resize(h.len(), 0.0);
        for block in &self.blocks {
            block.rows(h, work, change);
            h.iter_mut().zip(&*change).for_each(|(h, c)| *h += c);
        }
        self.exit.hidden.apply(h);
        self.exit.rows(h, work, out);
    }
}
