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
    let (power, p) = exp_parts(y);
    power * p + (power - 1.0)
}

/// `exp(x)` for `x` in `[-87, 87]`, at the nearer end beyond; NaN stays NaN. The same bits on
/// every machine, which that of the system is not.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // The comparisons this way round keep a NaN.
    let x = if x > 87.0 { 87.0 } else { x };
    let (power, p) = exp_parts(if x < -87.0 { -87.0 } else { x });
    power * p + power
}

/// `2^n` and `p` with `exp(y) = 2^n (1 + p)`, for `-87 <= y <= 87`.
#[inline(always)]
fn exp_parts(y: f32) -> (f32, f32) {
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
    (f32::from_bits(bits.wrapping_add(127) << 23), p)
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x / (1 + exp(-x))`.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    silu_and_slope(x).0
}

/// [`silu`] and its derivative.
#[inline(always)]
pub fn silu_and_slope(x: f32) -> (f32, f32) {
    let s = sigmoid(x);
    (x * s, s * (1.0 + x * (1.0 - s)))
}

/// `x tanh(log(1 + exp(x)))`.
#[inline(always)]
pub fn mish(x: f32) -> f32 {
    mish_and_slope(x).0
}

/// [`mish`] and its derivative.
#[inline(always)]
pub fn mish_and_slope(x: f32) -> (f32, f32) {
    // Beyond, it is the identity in single precision.
    let most = if x > 20.0 { 20.0 } else { x };
    let e = exp(most);
    // tanh(log(1 + e)) = n / (n + 2).
    let n = e * (e + 2.0);
    let t = n / (n + 2.0);
    // 1 - t^2 = 4 (n + 1) / (n + 2)^2 and n + 1 = (e + 1)^2; times e / (e + 1).
    let bend = 4.0 * (e / (n + 2.0)) * ((e + 1.0) / (n + 2.0));
    (x * t, t + most * bend)
}

const GELU_CUBIC: f32 = 0.044_715;
/// `sqrt(2 / pi)`.
const GELU_SCALE: f32 = 0.797_884_6;

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    gelu_and_slope(x).0
}

/// [`gelu`] and its derivative.
#[inline(always)]
pub fn gelu_and_slope(x: f32) -> (f32, f32) {
    let t = tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x));
    let inner = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * x * x);
    let slope = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner;
    (0.5 * x * (1.0 + t), slope)
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

    /// Beside some values of PyTorch's functions, finite differences of the definitions in
    /// double precision.
    #[test]
    fn mish_and_silu_are_their_definitions_and_slopes_their_differences() {
        let mish_wide = |x: f64| x * x.exp().ln_1p().tanh();
        let silu_wide = |x: f64| x / (1.0 + (-x).exp());
        let ours: [fn(f32) -> (f32, f32); 2] = [mish_and_slope, silu_and_slope];
        let wide: [&dyn Fn(f64) -> f64; 2] = [&mish_wide, &silu_wide];
        for (both, wide) in ours.into_iter().zip(wide) {
            let (f, slope) = (|x| both(x).0, |x| both(x).1);
            for i in -3000..=3000 {
                let x = f64::from(i) * 0.01;
                let off = (f64::from(f(x as f32)) - wide(x)).abs();
                assert!(off < 1e-6 * (1.0 + x.abs()), "{x}: {off}");
                let want = (wide(x + 1e-5) - wide(x - 1e-5)) / 2e-5;
                let off = (f64::from(slope(x as f32)) - want).abs();
                assert!(off < 3e-6, "slope at {x}: {off}");
            }
            for large in [50.0, 1e4, 1e30, f32::MAX] {
                assert_eq!((f(large), slope(large)), (large, 1.0), "{large}");
            }
            for large in [50.0, 1e4, 1e30] {
                let (value, slope) = (f(-large), slope(-large));
                assert!(value.abs() < 1e-5 && slope.abs() < 1e-5, "{large}");
            }
            assert!(f(f32::NAN).is_nan() && slope(f32::NAN).is_nan());
        }
        for (x, of_mish, of_silu) in [
            (-2.0, -0.252_501, -0.238_406),
            (-1.0, -0.303_401, -0.268_941),
            (0.5, 0.375_245, 0.311_23),
            (1.0, 0.865_098, 0.731_059),
            (2.0, 1.943_959, 1.761_594),
        ] {
            let off = (mish(x) - of_mish).abs().max((silu(x) - of_silu).abs());
            assert!(off < 1e-6, "{x}: {off}");
        }
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
                (f64::from(gelu_and_slope(x as f32).1) - slope).abs() < 2e-6,
                "{x}"
            );
        }
    }
}
