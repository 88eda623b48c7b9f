//! Sums over a row, in an order that vectorizes.

/// Added to the variance of a layer normalization, as in PyTorch.
pub const LAYER_NORM_EPS: f32 = 1e-5;

/// Independent partial sums: the compiler may not reorder floating-point
/// additions itself, so a plain sum would not vectorize; and there are enough to
/// hide the latency of an addition. With 32, compilers make pairs of them.
const LANES: usize = 64;

/// The sum of `f` over `values`.
#[inline(always)]
pub(crate) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = values.chunks_exact(LANES);
    let rest: f32 = whole.remainder().iter().map(|&v| f(v)).sum();
    for chunk in whole {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    tree(lanes) + rest
}

/// The scalar product of two rows of one width.
#[cfg(feature = "train")]
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    tree(lanes) + rest
}

/// The sum of all lanes, halving.
#[inline(always)]
fn tree(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}
