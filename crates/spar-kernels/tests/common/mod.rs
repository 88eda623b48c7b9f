//! What several tests of kernels need.

use spar_core::Stream;

/// `n` draws from `N(0, std^2)` of the stream `name`.
pub fn draw(seed: u64, name: &str, std: f32, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    Stream::new(seed, name).fill_normal(std, &mut values);
    values
}

/// In double precision, as references compute.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Fails unless `got` is within `tolerance` of `want`, relative to the largest of
/// `want` or one: what is a sum of large terms may be off by as much as they are.
#[track_caller]
pub fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(1.0, |most: f64, w| most.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let off = (f64::from(*g) - w).abs();
        assert!(off <= tolerance * size, "{what} at {i}: got {g}, want {w}");
    }
}
