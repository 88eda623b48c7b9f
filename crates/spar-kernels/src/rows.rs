//! One row at a time: what acting needs.
//!
//! A blocked matrix product may round a row differently depending on how many
//! rows it is given. A policy's action must depend on its observation alone,
//! or a rollout would change with the number of environments beside it; here
//! every row is accumulated in the same fixed order.

use pulp::Arch;

/// `out = x W + bias` for one row: `weight` is row-major `[x.len(), out.len()]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn affine(weight: &[f32], bias: &[f32], x: &[f32], out: &mut [f32]) {
    assert_eq!(weight.len(), x.len() * out.len(), "weight of an affine map");
    out.copy_from_slice(bias);
    let width = out.len();
    Arch::new().dispatch(|| {
        for (x, row) in x.iter().zip(weight.chunks_exact(width)) {
            for (o, w) in out.iter_mut().zip(row) {
                *o += x * w;
            }
        }
    });
}
