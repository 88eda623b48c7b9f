//! Optimizer and averaging steps, each one pass over flat buffers.

use crate::vectorize::vectorized;

/// Hyper-parameters of [`adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment. In double precision, as in PyTorch: in
    /// single, `1 - 0.999` is off by 5e-5 of itself.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay: AdamW. Zero is Adam.
    pub weight_decay: f32,
}

impl AdamConfig {
    /// PyTorch's `Adam` (betas 0.9 and 0.999, eps 1e-8, no weight decay) at
    /// learning rate `lr`.
    pub fn new(lr: f32) -> Self {
        Self {
            lr,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }

    /// PyTorch's `AdamW`: the same with decoupled weight decay (Loshchilov and
    /// Hutter 2019), which shrinks parameters apart from the gradient.
    pub fn with_weight_decay(self, weight_decay: f32) -> Self {
        Self {
            weight_decay,
            ..self
        }
    }
}

/// One step of Adam, or with weight decay of AdamW, by PyTorch's definition, in
/// place.
///
/// `step` counts from 1 and includes this one; `m` and `v` are the moments.
/// `p <- (1 - lr decay) p`, `m <- b1 m + (1-b1) g`, `v <- b2 v + (1-b2) g^2`,
/// `p <- p - lr / (1-b1^step) * m / (sqrt(v / (1-b2^step)) + eps)`.
///
/// # Panics
/// If the slices differ in length.
pub fn adam(
    config: &AdamConfig,
    step: u64,
    params: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let n = params.len();
    assert!(
        grad.len() == n && m.len() == n && v.len() == n,
        "Adam over {n} parameters"
    );
    let &AdamConfig {
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
    } = config;
    let [rate, root] = adam_factors(config, step);
    let factors = Factors {
        keep: (1.0 - f64::from(lr) * f64::from(weight_decay)) as f32,
        new1: (1.0 - beta1) as f32,
        new2: (1.0 - beta2) as f32,
        keep2: beta2 as f32,
        rate,
        root,
        eps,
    };
    adam_step(factors, params, grad, m, v);
}

/// What of Adam depends on the number of the step, which counts from 1: the rate
/// `lr / (1 - beta1^step)` and the second moment's `1 / sqrt(1 - beta2^step)`.
pub fn adam_factors(config: &AdamConfig, step: u64) -> [f32; 2] {
    let correction1 = 1.0 - config.beta1.powf(step as f64);
    let correction2 = 1.0 - config.beta2.powf(step as f64);
    let rate = f64::from(config.lr) / correction1;
    [rate as f32, (1.0 / correction2.sqrt()) as f32]
}

/// What is the same for every parameter of a step.
#[derive(Clone, Copy)]
struct Factors {
    /// What weight decay leaves of a parameter: one without.
    keep: f32,
    new1: f32,
    new2: f32,
    keep2: f32,
    rate: f32,
    root: f32,
    eps: f32,
}

/// Polyak averaging in place: `target <- (1 - tau) target + tau source`.
///
/// # Panics
/// If the slices differ in length.
pub fn polyak(tau: f32, target: &mut [f32], source: &[f32]) {
    assert_eq!(target.len(), source.len(), "Polyak averaging");
    track(tau, target, source);
}

vectorized! {
    fn adam_step(
        factors: Factors,
        params: &mut [f32],
        grad: &[f32],
        m: &mut [f32],
        v: &mut [f32],
    ) {
        let Factors { keep, new1, new2, keep2, rate, root, eps } = factors;
        for (((p, g), m), v) in params.iter_mut().zip(grad).zip(m).zip(v) {
            *m += new1 * (g - *m);
            *v = keep2 * *v + new2 * g * g;
            *p = keep * *p - rate * *m / (v.sqrt() * root + eps);
        }
    }

    fn track(tau: f32, target: &mut [f32], source: &[f32]) {
        for (t, s) in target.iter_mut().zip(source) {
            *t += tau * (s - *t);
        }
    }
}
