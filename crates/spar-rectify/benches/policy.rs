//! What acting costs a rollout: a policy's action on as many observations as a
//! rollout steps together, at Walker2d's widths and the suite's network sizes.
//!
//! Throughput is in observations per second.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::{num::NonZeroUsize, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use spar_core::{Normalizer, Policy, Stream};
use spar_nn::{Conservatism, Head, Mlp, MlpShape, RowMlp};
use spar_rectify::{Residual, SparPolicy};

const OBS: usize = 17;
const ACT: usize = 6;
const LATENT: usize = 2 * ACT;

/// One environment alone, an evaluation of ten episodes, the most that are
/// stepped together, and a large batch.
const ROWS: [usize; 4] = [1, 10, 16, 256];

fn net(name: &str, input: usize, output: usize, head: Head, layer_norm: bool) -> RowMlp {
    let shape = MlpShape::relu(input, [256, 256], output)
        .unwrap()
        .with_head(head)
        .with_layer_norm(layer_norm);
    Mlp::new(shape, &mut Stream::new(0, name))
        .unwrap()
        .row_mlp()
        .unwrap()
}

fn policy(best_of: usize) -> SparPolicy {
    let critic = |i: usize| net(&format!("critic/{i}"), OBS + ACT, 1, Head::Linear, true);
    SparPolicy {
        normalizer: Normalizer {
            mean: vec![0.1; OBS],
            std: vec![1.3; OBS],
        },
        anchor: net("anchor", OBS, ACT, Head::Tanh, false),
        residual: Some(Residual {
            decoder: net("decoder", OBS + ACT + LATENT, ACT, Head::Tanh, false),
            rho: 1.0,
            critics: vec![critic(0), critic(1)],
            conservatism: Conservatism::Min,
            sigma_z: 1.0,
            best_of: NonZeroUsize::new(best_of).unwrap(),
        }),
    }
}

fn act(criterion: &mut Criterion) {
    let anchor = SparPolicy {
        residual: None,
        ..policy(1)
    };
    let cases = [
        ("anchor", anchor),
        ("spar", policy(1)),
        ("best_of_8", policy(8)),
    ];
    for (name, policy) in cases {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(20)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(600));
        for rows in ROWS {
            let mut obs = vec![0.0; rows * OBS];
            Stream::new(1, "obs").fill_normal(1.0, &mut obs);
            let mut streams: Vec<_> = (0..rows)
                .map(|i| Stream::new(1, &format!("noise/{i}")))
                .collect();
            let mut actions = vec![0.0; rows * ACT];
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::from_parameter(rows), |b| {
                b.iter(|| policy.act(&obs, &mut streams, &mut actions));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, act);
criterion_main!(benches);
