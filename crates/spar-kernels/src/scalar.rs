//! Elementary functions in a form that compilers vectorize: no branches, no
//! calls, no tables.

/// `tanh(x)`, within 3 units in the last place of `f32`; NaN stays NaN.
///
/// `tanh(|x|) = -m / (2 + m)` with `m = exp(-2|x|) - 1`, which loses nothing near
/// zero.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // Beyond 10 the result is 1 in single precision. The comparison this way
    // round keeps a NaN.
    let magnitude = if x.abs() > 10.0 { 10.0 } else { x.abs() };
    let m = expm1(-2.0 * magnitude);
    (-m / (2.0 + m)).copysign(x)
}

/// `exp(y) - 1` for `-80 < y <= 0`.
#[inline(always)]
fn expm1(y: f32) -> f32 {
    // y = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts so that r is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding this rounds to the nearest integer, which then is in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = y * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = y - n * LN2_HIGH - n * LN2_LOW;
    // Taylor's polynomial: the first term left out is below 2e-8 of r.
    let mut p = 1.0 / 5040.0;
    for c in [720.0, 120.0, 24.0, 6.0, 2.0] {
        p = p * r + 1.0 / c;
    }
    let p = r + r * r * p;
    let bits = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let power = f32::from_bits(bits.wrapping_add(127) << 23);
    power * p + (power - 1.0)
}

const GELU_CUBIC: f32 = 0.044_715;
/// `sqrt(2 / pi)`.
const GELU_SCALE: f32 = 0.797_884_6;

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x)))
}

/// The derivative of [`gelu`].
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    let t = tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x));
    let inner = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * x * x);
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_the_tangent_within_its_last_places() {
        let mut worst = 0.0f64;
        for i in -200_000..=200_000 {
            let x = i as f32 * 6e-5;
            let want = f64::from(x).tanh();
            let off = (f64::from(tanh(x)) - want).abs() / want.abs().max(1e-30);
            worst = worst.max(off);
        }
        assert!(worst < 3.0 * f64::from(f32::EPSILON), "{worst:e}");
        for x in [
            0.0,
            1e-30,
            -1e-12,
            50.0,
            -1e30,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ] {
            let want = f64::from(x).tanh();
            assert!(
                (f64::from(tanh(x)) - want).abs() <= 1e-7 * want.abs(),
                "{x}"
            );
        }
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn the_slope_is_that_of_differences() {
        for i in -600..=600 {
            let x = f64::from(i) * 0.01;
            let wide = |x: f64| {
                0.5 * x
                    * (1.0
                        + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            };
            assert!((f64::from(gelu(x as f32)) - wide(x)).abs() < 1e-6, "{x}");
            let slope = (wide(x + 1e-5) - wide(x - 1e-5)) / 2e-5;
            assert!(
                (f64::from(gelu_slope(x as f32)) - slope).abs() < 2e-6,
                "{x}"
            );
        }
    }
}
