//! Every kernel on the shapes training uses: the tasks' observation and action
//! widths, hidden layers of 256 to 1024, batches of 256 and 1024 transitions,
//! and candidates, `K` to a transition.
//!
//! `cargo bench -p spar-kernels -- backward/17+6` runs a part. Throughput is in
//! floating-point operations per second for passes, two per multiply-add, and
//! in parameters per second for Adam and Polyak averaging, which wait for
//! memory. `cargo xtask bench` measures whole steps.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::{hint::black_box, time::Duration};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use spar_core::Stream;
use spar_kernels::{
    MlpShape, Precision, Workspace,
    mlp::{self, GradParams},
    optim::{self, AdamConfig},
    value::{Conservatism, Imitation, Weighting, conservative, imitation},
};

/// Observation and action widths: Hopper; HalfCheetah and Walker2d; AntMaze;
/// Ant. The net is a critic's.
const TASKS: [(usize, usize); 4] = [(11, 3), (17, 6), (29, 8), (111, 8)];

/// Width of both hidden layers; wider than the first only for one task, because
/// then the hidden product is nearly all of a pass.
const HIDDEN: [usize; 3] = [256, 512, 1024];

const BATCHES: [usize; 2] = [256, 1024];

/// Candidates per transition.
const CANDIDATES: [usize; 2] = [8, 16];

/// A network with something in every buffer.
struct Case {
    name: String,
    shape: MlpShape,
    rows: usize,
    params: Vec<f32>,
    x: Vec<f32>,
    out: Vec<f32>,
    grad_out: Vec<f32>,
    grad: Vec<f32>,
    work: Workspace,
}

impl Case {
    fn new((obs, act): (usize, usize), width: usize, rows: usize, layer_norm: bool) -> Self {
        let shape = MlpShape::relu(obs + act, [width; 2], 1)
            .unwrap()
            .with_layer_norm(layer_norm);
        let name = format!(
            "{obs}+{act}-{width}-{width}-1{}/{rows}",
            if layer_norm { "-norm" } else { "" }
        );
        let mut stream = Stream::new(0, &name);
        let mut draw = |std, n| {
            let mut values = vec![0.0; n];
            stream.fill_normal(std, &mut values);
            values
        };
        Self {
            params: draw(0.05, shape.parameters()),
            x: draw(1.0, rows * shape.input()),
            grad_out: draw(1.0, rows),
            grad: vec![0.0; shape.parameters()],
            out: vec![0.0; rows],
            work: Workspace::default(),
            name,
            shape,
            rows,
        }
    }

    /// The tasks at the first width, one task at all widths, and that one with
    /// layer normalization: at every batch size.
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for rows in BATCHES {
            for task in TASKS {
                cases.push(Self::new(task, HIDDEN[0], rows, false));
            }
            for width in &HIDDEN[1..] {
                cases.push(Self::new(TASKS[1], *width, rows, false));
            }
            cases.push(Self::new(TASKS[1], HIDDEN[0], rows, true));
        }
        cases
    }

    /// Floating-point operations of a forward pass.
    fn forward_flops(&self) -> u64 {
        2 * (self.rows * self.shape.multiply_adds()) as u64
    }

    /// Those of a backward pass for the parameters: two products per layer, but
    /// for the first one's input.
    fn backward_flops(&self) -> u64 {
        let first = self.shape.layers().next().map_or(0, |l| l.input * l.output);
        2 * self.forward_flops() - 2 * (self.rows * first) as u64
    }

    fn forward(&mut self) {
        let Self { shape, rows, .. } = self;
        let (params, x) = (&self.params, &self.x);
        mlp::forward(
            Precision::F32,
            shape,
            params,
            x,
            *rows,
            &mut self.work,
            &mut self.out,
        );
    }

    fn forward_only(&mut self, precision: Precision) {
        let Self { shape, rows, .. } = self;
        let (params, x) = (&self.params, &self.x);
        mlp::forward_only(
            precision,
            shape,
            params,
            x,
            *rows,
            &mut self.work,
            &mut self.out,
        );
    }

    fn backward(&mut self) {
        mlp::backward(
            &self.shape,
            &self.params,
            &self.x,
            self.rows,
            &mut self.work,
            &self.grad_out,
            Some(GradParams::over(&mut self.grad)),
            None,
        );
    }
}

/// A quick look at many cases: half a minute in all.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    group
}

fn passes(criterion: &mut Criterion) {
    let mut forward = group(criterion, "forward");
    for mut case in Case::all() {
        forward.throughput(Throughput::Elements(case.forward_flops()));
        let id = BenchmarkId::from_parameter(&case.name);
        forward.bench_function(id, |b| b.iter(|| case.forward()));
    }
    forward.finish();

    let mut backward = group(criterion, "backward");
    for mut case in Case::all() {
        backward.throughput(Throughput::Elements(case.backward_flops()));
        case.forward();
        let id = BenchmarkId::from_parameter(&case.name);
        backward.bench_function(id, |b| b.iter(|| case.backward()));
    }
    backward.finish();

    // Candidates of one batch: what critics judge and the frozen anchor sees.
    for (name, precision) in [
        ("forward_only", Precision::F32),
        ("forward_only_bf16x3", Precision::Bf16x3),
        ("forward_only_bf16", Precision::Bf16),
    ] {
        let mut detached = group(criterion, name);
        let candidates = CANDIDATES.map(|k| Case::new(TASKS[1], HIDDEN[0], k * BATCHES[0], true));
        for mut case in Case::all().into_iter().chain(candidates) {
            detached.throughput(Throughput::Elements(case.forward_flops()));
            let id = BenchmarkId::from_parameter(&case.name);
            detached.bench_function(id, |b| b.iter(|| case.forward_only(precision)));
        }
        detached.finish();
    }
}

/// What is no network of Latent Self-Imitation: per candidate, for every batch and
/// K.
fn candidates(criterion: &mut Criterion) {
    let (_, act_dim) = TASKS[1];
    let draw = |name: &str, n: usize| {
        let mut values = vec![0.0; n];
        Stream::new(0, name).fill_normal(1.0, &mut values);
        values
    };
    for (rows, k) in BATCHES.map(|rows| CANDIDATES.map(|k| (rows, k))).concat() {
        let count = rows * k;
        let (values, deltas) = (draw("values", 2 * count), draw("deltas", count * act_dim));
        let id = || BenchmarkId::from_parameter(format!("{rows}x{k}"));
        let mut worth = vec![0.0; count];
        let mut of_ensemble = group(criterion, "conservative");
        of_ensemble.throughput(Throughput::Elements(count as u64));
        of_ensemble.bench_function(id(), |b| {
            b.iter(|| conservative(black_box(&values), 2, Conservatism::Min, &mut worth));
        });
        of_ensemble.finish();
        let weighting = Weighting {
            temperature: 0.3,
            floor: 0.3,
        };
        let mut into = Imitation::default();
        let mut regression = group(criterion, "imitation");
        regression.throughput(Throughput::Elements(count as u64));
        regression.bench_function(id(), |b| {
            b.iter(|| imitation(black_box(&deltas), &worth, k, weighting, &mut into));
        });
        regression.finish();
    }
}

fn sweeps(criterion: &mut Criterion) {
    let cases = || HIDDEN.map(|width| Case::new(TASKS[1], width, 1, false));
    let mut adam = group(criterion, "adam");
    for mut case in cases() {
        let n = case.params.len();
        let [mut m, mut v] = [vec![0.0; n], vec![0.0; n]];
        case.grad.fill(1e-3);
        let config = AdamConfig::new(3e-4);
        let mut step = 0;
        adam.throughput(Throughput::Elements(n as u64));
        adam.bench_function(BenchmarkId::from_parameter(n), |b| {
            b.iter(|| {
                step += 1;
                optim::adam(&config, step, &mut case.params, &case.grad, &mut m, &mut v);
            });
        });
    }
    adam.finish();

    let mut polyak = group(criterion, "polyak");
    for mut case in cases() {
        let source = case.params.clone();
        let n = source.len();
        case.params.fill(1.0);
        polyak.throughput(Throughput::Elements(n as u64));
        polyak.bench_function(BenchmarkId::from_parameter(n), |b| {
            b.iter(|| optim::polyak(black_box(0.005), &mut case.params, &source));
        });
    }
    polyak.finish();
}

criterion_group!(benches, passes, candidates, sweeps);
criterion_main!(benches);
