//! Optimizer and averaging steps, each one pass over flat buffers.

#[cfg(target_arch = "x86_64")]
use crate::isa::Isa;
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
    let correction1 = 1.0 - beta1.powf(step as f64);
    let correction2 = 1.0 - beta2.powf(step as f64);
    let factors = Factors {
        keep: (1.0 - f64::from(lr) * f64::from(weight_decay)) as f32,
        new1: (1.0 - beta1) as f32,
        new2: (1.0 - beta2) as f32,
        keep2: beta2 as f32,
        rate: (f64::from(lr) / correction1) as f32,
        root: (1.0 / correction2.sqrt()) as f32,
        eps,
    };
    #[cfg(target_arch = "x86_64")]
    if Isa::detect() == Isa::Avx512 {
        // SAFETY: `detect` only names what this machine has, AVX-512F among it.
        return unsafe { x86::adam_step(factors, params, grad, m, v) };
    }
    adam_step(factors, params, grad, m, v);
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Factors;

    /// Lanes of a vector.
    const LANES: usize = 16;

    /// Below every second moment that moves anything: its root is finite, and zero
    /// times it is zero.
    const TINY: f32 = f32::MIN_POSITIVE;

    /// [`super::adam_step`] without root and division: those of vectors take forty
    /// cycles on current machines, more than the memory does. Approximations of 14
    /// bits are improved once by Newton's method, to within two units in the last
    /// place.
    ///
    /// # Panics
    /// If the slices differ in length.
    #[target_feature(enable = "avx512f")]
    pub(super) fn adam_step(
        factors: Factors,
        params: &mut [f32],
        grad: &[f32],
        m: &mut [f32],
        v: &mut [f32],
    ) {
        let n = params.len();
        assert!(grad.len() == n && m.len() == n && v.len() == n);
        let set = |x: f32| _mm512_set1_ps(x);
        let [keep, new1, new2, keep2] =
            [factors.keep, factors.new1, factors.new2, factors.keep2].map(set);
        let [rate, root, eps] = [factors.rate, factors.root, factors.eps].map(set);
        let [half, three_halves, two, tiny] = [0.5, 1.5, 2.0, TINY].map(set);
        for at in (0..n).step_by(LANES) {
            // The last vector is a part of one: lanes beyond are neither read nor
            // written, so that a parameter's step does not depend on its place.
            let lanes = u16::MAX >> LANES.saturating_sub(n - at);
            // SAFETY: `at + i < n`, the length of every slice, for each lane `i` in
            // `lanes`.
            let [p, g, m0, v0] = unsafe {
                [params.as_ptr(), grad.as_ptr(), m.as_ptr(), v.as_ptr()]
                    .map(|from| _mm512_maskz_loadu_ps(lanes, from.add(at)))
            };
            let m1 = _mm512_fmadd_ps(new1, _mm512_sub_ps(g, m0), m0);
            let v1 = _mm512_fmadd_ps(keep2, v0, _mm512_mul_ps(_mm512_mul_ps(new2, g), g));
            // The second operand is what comes of a NaN.
            let positive = _mm512_max_ps(tiny, v1);
            let guess = _mm512_rsqrt14_ps(positive);
            let square = _mm512_mul_ps(_mm512_mul_ps(half, positive), _mm512_mul_ps(guess, guess));
            let inverse = _mm512_mul_ps(guess, _mm512_sub_ps(three_halves, square));
            let below = _mm512_fmadd_ps(_mm512_mul_ps(v1, inverse), root, eps);
            let guess = _mm512_rcp14_ps(below);
            let inverse = _mm512_mul_ps(guess, _mm512_fnmadd_ps(below, guess, two));
            let step = _mm512_mul_ps(_mm512_mul_ps(rate, m1), inverse);
            let p = _mm512_fmsub_ps(keep, p, step);
            for (to, values) in [(&mut *params, p), (&mut *m, m1), (&mut *v, v1)] {
                // SAFETY: as above.
                unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr().add(at), lanes, values) };
            }
        }
    }
}
