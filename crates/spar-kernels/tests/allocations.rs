//! In a steady state kernels ask for no memory: a workspace grows in the first
//! pass and is then only used.
#![allow(clippy::unwrap_used, missing_docs)]

use spar_core::Stream;
use spar_kernels::{
    Activation, Head, Isa, MlpShape, Normalization, Precision, Workspace,
    counting::{Counting, allocations},
    mlp::{self, GradParams, LAYER_NORM_EPS},
    optim::{AdamConfig, adam, polyak},
    rows,
    value::{Conservatism, Imitation, Weighting, conservative, deviation, imitation},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| ()), 0);
    let mut kept = Vec::new();
    assert_eq!(allocations(|| kept.push(1u8)), 1);
    assert_eq!(allocations(|| kept.reserve_exact(1 << 12)), 1);
    // Of this thread alone.
    let elsewhere = std::thread::spawn(|| allocations(|| drop(vec![0u8; 9])));
    assert_eq!(elsewhere.join().unwrap(), 1);
}

/// Every kernel a training step is made of, with buffers that are there already.
struct Step {
    shape: MlpShape,
    rows: usize,
    params: Vec<f32>,
    target: Vec<f32>,
    grad: Vec<f32>,
    moments: [Vec<f32>; 2],
    x: Vec<f32>,
    grad_x: Vec<f32>,
    out: Vec<f32>,
    grad_out: Vec<f32>,
    hidden: Vec<f32>,
    work: Workspace,
    imitation: Imitation,
    steps: u64,
}

impl Step {
    fn new(shape: MlpShape, rows: usize) -> Self {
        let mut stream = Stream::new(0, "step");
        let mut draw = |n: usize| {
            let mut values = vec![0.0; n];
            stream.fill_normal(0.1, &mut values);
            values
        };
        let n = shape.parameters();
        Self {
            params: draw(n),
            target: draw(n),
            grad: vec![0.0; n],
            moments: [vec![0.0; n], vec![0.0; n]],
            x: draw(rows * shape.input()),
            grad_x: vec![0.0; rows * shape.input()],
            out: vec![0.0; rows * shape.output()],
            grad_out: draw(rows * shape.output()),
            hidden: vec![0.0; rows * shape.hidden()[0]],
            work: Workspace::default(),
            imitation: Imitation::default(),
            steps: 0,
            shape,
            rows,
        }
    }

    fn run(&mut self) {
        let Self {
            shape, rows, work, ..
        } = self;
        let (params, x, rows) = (&mut self.params, &self.x, *rows);
        for precision in Precision::ALL {
            mlp::forward(precision, shape, params, x, rows, work, &mut self.out);
            let grad = Some(GradParams::over(&mut self.grad));
            let grad_x = Some(&mut self.grad_x[..]);
            mlp::backward(shape, params, x, rows, work, &self.grad_out, grad, grad_x);
        }
        self.steps += 1;
        let [m, v] = &mut self.moments;
        adam(&AdamConfig::new(1e-3), self.steps, params, &self.grad, m, v);
        polyak(0.005, &mut self.target, params);
        for precision in Precision::ALL {
            mlp::forward_only(precision, shape, params, x, rows, work, &mut self.out);
        }
        // The outputs as an ensemble's values, and as candidates of those.
        let worth = &mut self.hidden[..rows];
        conservative(&self.out, shape.output(), Conservatism::Min, worth);
        let weighting = Weighting {
            temperature: 0.3,
            floor: deviation(&self.out),
        };
        imitation(&self.out, worth, rows, weighting, &mut self.imitation);
        // A layer of a policy, row by row.
        let layer = shape.layers().next().unwrap();
        let hidden = &mut self.hidden[..rows * layer.output];
        let bias = &params[layer.bias];
        rows::affine(&params[layer.weight], bias, x, hidden);
        rows::layer_norm(bias, bias, LAYER_NORM_EPS, hidden);
    }
}

#[test]
fn a_steady_step_allocates_nothing() {
    for (shape, rows) in [
        (MlpShape::relu(23, [256, 256], 1).unwrap(), 256),
        (
            MlpShape::relu(23, [64, 64], 1)
                .unwrap()
                .with_layer_norm(true),
            40,
        ),
        (
            MlpShape::relu(17, [40, 33], 6)
                .unwrap()
                .with_activation(Activation::Gelu)
                .with_head(Head::Tanh),
            300,
        ),
        (
            MlpShape::relu(17, [40, 33], 6)
                .unwrap()
                .with_activation(Activation::Mish)
                .with_normalization(Normalization::After)
                .with_input_norm(true),
            300,
        ),
        // Rows too far apart to be read where they lie.
        (MlpShape::relu(5, [600, 24], 9).unwrap(), 64),
    ] {
        for isa in Isa::present() {
            isa.confine(|| {
                let mut step = Step::new(shape.clone(), rows);
                let first = allocations(|| step.run());
                assert!(first > 0, "the first step fills the workspace");
                let steady = allocations(|| (0..3).for_each(|_| step.run()));
                assert_eq!(steady, 0, "{shape:?} on {isa:?}");
                // Fewer rows than a workspace has seen need no more either.
                step.rows = 3;
                for values in [&mut step.x, &mut step.grad_x] {
                    values.truncate(3 * shape.input());
                }
                for values in [&mut step.out, &mut step.grad_out] {
                    values.truncate(3 * shape.output());
                }
                assert_eq!(
                    allocations(|| step.run()),
                    0,
                    "fewer rows, {shape:?} on {isa:?}"
                );
            });
        }
    }
}
