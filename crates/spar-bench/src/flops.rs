//! Floating-point operations of each workload, from its shapes alone: two per
//! multiply-add of a matrix product. Everything else (activations, losses,
//! Adam) is overhead by this count, for every contender alike.

use spar_kernels::MlpShape;

use crate::inputs::Config;

/// One forward pass over `rows` rows.
pub(crate) fn forward(shape: &MlpShape, rows: usize) -> usize {
    2 * rows * shape.multiply_adds()
}

/// A forward pass and the gradient of the parameters, and of the input only
/// where `input_gradient`: the first layer's is otherwise never needed.
pub(crate) fn train(shape: &MlpShape, rows: usize, input_gradient: bool) -> usize {
    let first = shape.layers().next().map_or(0, |l| l.input * l.output);
    let spared = if input_gradient { 0 } else { 2 * rows * first };
    3 * forward(shape, rows) - spared
}

/// One critic update: the targets' minimum, the value's step and its value of
/// the next states, the ensemble's steps.
pub(crate) fn critic(c: &Config) -> usize {
    let (q, value) = (&c.shapes().q, &c.shapes().value);
    let n = c.critic.n_critics;
    n * forward(q, c.rows)
        + train(value, c.rows, false)
        + forward(value, c.rows)
        + n * train(q, c.rows, false)
}

/// One fit: the anchor's action, the encoder's and the decoder's gradients.
/// The decoder's input gradient is that of the latent, which the encoder made.
pub(crate) fn fit(c: &Config) -> usize {
    let s = c.shapes();
    forward(&s.anchor, c.rows) + train(&s.encoder, c.rows, false) + train(&s.decoder, c.rows, true)
}

/// Latent Self-Imitation: candidates with gradient, judged by every critic.
pub(crate) fn imitation(c: &Config) -> usize {
    let s = c.shapes();
    let rows = c.rows * c.rectify.candidates;
    train(&s.decoder, rows, false) + c.critic.n_critics * forward(&s.q, rows)
}

/// One whole update, the mean over `policy_freq` of them.
pub(crate) fn update(c: &Config) -> usize {
    critic(c) + (fit(c) + imitation(c)) / c.rectify.policy_freq.max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_yardstick_is_107_megaflop() {
        let shape = MlpShape::relu(23, [256, 256], 1);
        assert_eq!(forward(&shape, 256), 36_700_160);
        assert_eq!(train(&shape, 256, false), 107_085_824);
    }
}
