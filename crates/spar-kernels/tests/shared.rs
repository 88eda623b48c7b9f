//! Rows that share their first columns against the same rows written out.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod common;

use common::{close, draw, wide};
use proptest::prelude::*;
use spar_kernels::{
    Activation, Head, Isa, MlpShape, Precision, Workspace,
    mlp::{self, GradParams, Input},
    reference,
};

/// A network, and its input in both forms.
struct Case {
    shape: MlpShape,
    params: Vec<f32>,
    shared: Vec<f32>,
    own: Vec<f32>,
    /// `[rows, input]`, written out.
    whole: Vec<f32>,
    repeat: usize,
    rows: usize,
    grad_out: Vec<f32>,
}

impl Case {
    fn new(shape: MlpShape, own_width: usize, states: usize, repeat: usize, seed: u64) -> Self {
        let rows = states * repeat;
        let shared_width = shape.input() - own_width;
        let shared = draw(seed, "shared", 1.0, states * shared_width);
        let own = draw(seed, "own", 1.0, rows * own_width);
        let row = |i: usize| {
            let shared = &shared[i / repeat * shared_width..][..shared_width];
            [shared, &own[i * own_width..][..own_width]].concat()
        };
        Self {
            params: draw(seed, "params", 0.4, shape.parameters()),
            whole: (0..rows).flat_map(row).collect(),
            grad_out: draw(seed, "grad", 1.0, rows * shape.output()),
            shape,
            shared,
            own,
            repeat,
            rows,
        }
    }

    fn input(&self) -> Input<'_> {
        Input::beside(&self.shared, self.repeat, &self.own)
    }

    fn forward_only(&self, precision: Precision, x: Input<'_>) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.grad_out.len()];
        let work = &mut Workspace::default();
        mlp::forward_only(
            precision,
            &self.shape,
            &self.params,
            x,
            self.rows,
            work,
            &mut out,
        );
        out
    }

    /// Output, gradient of the parameters, gradient of the input as far as it is
    /// not shared, `width` wide.
    fn gradients(&self, x: Input<'_>, width: usize) -> [Vec<f32>; 3] {
        let (shape, params, rows) = (&self.shape, &self.params, self.rows);
        let mut work = Workspace::default();
        let mut out = vec![f32::NAN; self.grad_out.len()];
        mlp::forward(Precision::F32, shape, params, x, rows, &mut work, &mut out);
        let mut grad_params = vec![f32::NAN; params.len()];
        let mut grad_x = vec![f32::NAN; rows * width];
        let g = Some(GradParams::over(&mut grad_params));
        let gx = Some(&mut grad_x[..]);
        mlp::backward(shape, params, x, rows, &mut work, &self.grad_out, g, gx);
        [out, grad_params, grad_x]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn shared_columns_are_columns(
        shared_width in 0usize..20, own_width in 1usize..14,
        hidden in prop::collection::vec(3usize..40, 0..3), output in 1usize..12,
        states in 1usize..12, repeat in 1usize..20, layer_norm: bool, gelu: bool, tanh: bool,
        seed: u64,
    ) {
        let shape = MlpShape::relu(shared_width + own_width, hidden, output).unwrap()
            .with_layer_norm(layer_norm)
            .with_activation(if gelu { Activation::Gelu } else { Activation::Relu })
            .with_head(if tanh { Head::Tanh } else { Head::Linear });
        let input = shape.input();
        let c = Case::new(shape, own_width, states, repeat, seed);
        let want = reference::forward(&c.shape, &wide(&c.params), &wide(&c.whole));
        for isa in Isa::present() {
            isa.confine(|| {
                let only = c.forward_only(Precision::F32, c.input());
                close("output", &only, &want, 2e-3);
                let [out, grad, grad_own] = c.gradients(c.input(), own_width);
                assert_eq!(out, only, "the two passes differ on {isa:?}");
                // Written out, the same kernels: gradients to rounding.
                let [_, whole, grad_x] = c.gradients((&c.whole).into(), input);
                close("parameters", &grad, &wide(&whole), 1e-3);
                let columns = grad_x.chunks(input).flat_map(|row| &row[shared_width..]);
                let columns: Vec<f64> = columns.map(|&v| f64::from(v)).collect();
                close("input", &grad_own, &columns, 1e-3);
            });
        }
    }
}

/// More rows than pass through the layers together, of states that a block of rows
/// would cut in two.
#[test]
fn states_stay_whole_in_blocks() {
    for (states, repeat) in [(90, 7), (3, 300), (33, 16)] {
        let shape = MlpShape::relu(9, [16, 12], 3)
            .unwrap()
            .with_layer_norm(true);
        let c = Case::new(shape, 4, states, repeat, 1);
        let want = reference::forward(&c.shape, &wide(&c.params), &wide(&c.whole));
        let [out, grad, _] = c.gradients(c.input(), 4);
        close("output", &out, &want, 1e-4);
        let [_, whole, _] = c.gradients((&c.whole).into(), 9);
        close("parameters", &grad, &wide(&whole), 1e-4);
    }
}

#[test]
fn shared_columns_in_bf16_are_as_near_as_others() {
    let shape = MlpShape::relu(23, [256, 256], 1)
        .unwrap()
        .with_layer_norm(true);
    let mut c = Case::new(shape, 6, 32, 8, 2);
    for layer in c.shape.layers() {
        let scale = 1.5 / (layer.input as f32).sqrt();
        c.params[layer.weight].iter_mut().for_each(|w| *w *= scale);
    }
    let want = reference::forward(&c.shape, &wide(&c.params), &wide(&c.whole));
    let got = c.forward_only(Precision::Bf16, c.input());
    let size = (want.iter().map(|v| v * v).sum::<f64>() / want.len() as f64).sqrt();
    let off = got
        .iter()
        .zip(&want)
        .map(|(g, w)| (f64::from(*g) - w).powi(2));
    let off = (off.sum::<f64>() / want.len() as f64).sqrt() / size;
    assert!(off < 0.01, "{off}");
}

/// A gradient added to another is their sum.
#[test]
fn a_gradient_may_be_added_to_what_is_there() {
    let shape = MlpShape::relu(9, [16, 12], 3)
        .unwrap()
        .with_layer_norm(true);
    let c = Case::new(shape, 4, 60, 8, 3);
    let (params, rows) = (&c.params, c.rows);
    let [_, alone, _] = c.gradients(c.input(), 4);
    let mut work = Workspace::default();
    let mut out = vec![0.0; c.grad_out.len()];
    mlp::forward(
        Precision::F32,
        &c.shape,
        params,
        c.input(),
        rows,
        &mut work,
        &mut out,
    );
    let there = draw(3, "there", 1.0, params.len());
    let mut sum = there.clone();
    let grad_out = &c.grad_out;
    let onto = Some(GradParams::onto(&mut sum));
    mlp::backward(
        &c.shape,
        params,
        c.input(),
        rows,
        &mut work,
        grad_out,
        onto,
        None,
    );
    let want: Vec<f64> = there
        .iter()
        .zip(&alone)
        .map(|(a, b)| f64::from(a + b))
        .collect();
    close("sum", &sum, &want, 1e-5);
}

#[test]
#[should_panic(expected = "10 shared and 12 own numbers, 4 rows to a state, for 6 input rows")]
fn rows_that_are_no_whole_states_are_refused() {
    let shape = MlpShape::relu(7, [4], 1).unwrap();
    let params = vec![0.0; shape.parameters()];
    let x = Input::beside(&[0.0; 10], 4, &[0.0; 12]);
    mlp::forward_only(
        Precision::F32,
        &shape,
        &params,
        x,
        6,
        &mut Workspace::default(),
        &mut [0.0; 6],
    );
}
