//! The tests' bodies, one per operation, over any device: each compares the
//! kernels with a plain reference and returns every number they gave, for a
//! second run to be compared bit by bit.

mod losses;
mod networks;
pub mod repeat;
mod update;
mod values;

use std::{env, sync::OnceLock};

use spar_core::Stream;
use spar_kernels::{
    MlpShape,
    cuda::{Device, Kernels},
};

use losses::losses;
use networks::{actions, backward, forward, not_a_number, policy, wide_networks};
use repeat::repeat;
pub use update::update;
use values::{adam, conservative, imitation, refusals};

/// A body.
pub type Body<D> = fn(&Kernels<D>) -> Vec<f32>;

/// Every body, by name.
pub fn all<D: Device>() -> Vec<(&'static str, Body<D>)> {
    vec![
        ("forward", forward),
        ("backward", backward),
        ("wide networks", wide_networks),
        ("actions", actions),
        ("not a number", not_a_number),
        ("conservative", conservative),
        ("imitation", imitation),
        ("adam", adam),
        ("policy", policy),
        ("losses", losses),
        ("update", update),
        ("repeat", repeat),
        ("refusals", refusals),
    ]
}

/// The stream a body draws from. `SPAR_CUDA_SEED`, a number, gives every body other inputs:
/// what is right for one draw only shows.
fn fresh(seed: u64, name: &str) -> Stream {
    static OTHERS: OnceLock<u64> = OnceLock::new();
    let others = *OTHERS.get_or_init(|| {
        let given = env::var("SPAR_CUDA_SEED").unwrap_or_default();
        if given.is_empty() {
            0
        } else {
            given.parse().unwrap()
        }
    });
    Stream::new(seed.wrapping_add(others << 20), name)
}

fn draw(stream: &mut Stream, std: f32, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    stream.fill_normal(std, &mut values);
    values
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    // Gradients sum over rows: what is small against the largest may be off by
    // as much as the largest.
    let largest = want.iter().fold(1.0, |most: f64, w| most.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let off = (f64::from(*g) - w).abs();
        assert!(
            off <= tolerance * largest,
            "{what} at {i}: got {g}, want {w}"
        );
    }
}

fn shape(input: usize, hidden: &[usize], output: usize, layer_norm: bool) -> MlpShape {
    MlpShape::relu(input, hidden, output)
        .unwrap()
        .with_layer_norm(layer_norm)
}
