//! Passes in bf16 against their definition, finite differences and each other. Wherever the
//! machine has no matrix unit, these are the emulation's: the same code but for one function,
//! and the same bits.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use spar_core::Stream;
use spar_kernels::{
    Activation, Head, Isa, MlpShape, Normalization, Precision, Workspace,
    mlp::{self, GradParams, Input},
    optim::{AdamConfig, adam},
    reference,
};

const PRECISIONS: [Precision; 2] = [Precision::Bf16x3, Precision::Bf16];

struct Case {
    shape: MlpShape,
    params: Vec<f32>,
    x: Vec<f32>,
    grad_out: Vec<f32>,
    rows: usize,
}

/// Weights as PyTorch starts, so that activations keep their size.
fn case(shape: MlpShape, rows: usize, seed: u64) -> Case {
    let mut stream = Stream::new(seed, "precision");
    let mut draw = |n: usize, std: f32| {
        let mut v = vec![0.0; n];
        stream.fill_normal(std, &mut v);
        v
    };
    let mut params = draw(shape.parameters(), 0.5);
    for layer in shape.layers() {
        let scale = 2.4 / (layer.input as f32).sqrt();
        params[layer.weight].iter_mut().for_each(|w| *w *= scale);
    }
    Case {
        x: draw(rows * shape.input(), 1.0),
        grad_out: draw(rows * shape.output(), 1.0),
        params,
        shape,
        rows,
    }
}

impl Case {
    fn input(&self) -> Input<'_> {
        (&self.x).into()
    }

    fn only(&self, precision: Precision, x: Input<'_>, rows: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; rows * self.shape.output()];
        let work = &mut Workspace::default();
        mlp::forward_only(
            precision,
            &self.shape,
            &self.params,
            x,
            rows,
            work,
            &mut out,
        );
        out
    }

    /// Output, gradient of the parameters and of the input, `width` wide.
    fn gradients(&self, precision: Precision, x: Input<'_>, width: usize) -> [Vec<f32>; 3] {
        let (shape, params, rows) = (&self.shape, &self.params, self.rows);
        let work = &mut Workspace::default();
        let mut out = vec![f32::NAN; rows * shape.output()];
        mlp::forward(precision, shape, params, x, rows, work, &mut out);
        let (mut grad, mut grad_x) = (vec![f32::NAN; params.len()], vec![f32::NAN; rows * width]);
        let (to, to_x) = (GradParams::over(&mut grad), Some(&mut grad_x[..]));
        mlp::backward(shape, params, x, rows, work, &self.grad_out, Some(to), to_x);
        [out, grad, grad_x]
    }
}

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&x| f64::from(x)).collect()
}

/// The error's root mean square in parts of `want`'s.
fn off(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let error: f64 = got
        .iter()
        .zip(want)
        .map(|(g, w)| (f64::from(*g) - w).powi(2))
        .sum();
    let size: f64 = want.iter().map(|w| w * w).sum();
    (error / size.max(1e-30)).sqrt()
}

const NORMALIZATIONS: [Normalization; 3] = [
    Normalization::None,
    Normalization::Before,
    Normalization::After,
];

const ACTIVATIONS: [Activation; 4] = [
    Activation::Relu,
    Activation::Gelu,
    Activation::Mish,
    Activation::Silu,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_pass_is_its_definition_within_its_precision(
        input in 3usize..50, hidden in prop::collection::vec(13usize..70, 0..4),
        output in 1usize..40, rows in 1usize..70, norm in 0usize..3, input_norm: bool,
        activation in 0usize..4, tanh: bool, seed: u64,
    ) {
        let shape = MlpShape::relu(input, hidden, output).unwrap()
            .with_normalization(NORMALIZATIONS[norm])
            .with_input_norm(input_norm)
            .with_activation(ACTIVATIONS[activation])
            .with_head(if tanh { Head::Tanh } else { Head::Linear });
        let c = case(shape, rows, seed);
        let want = reference::forward(&c.shape, &wide(&c.params), &wide(&c.x));
        for (precision, most) in [(Precision::Bf16x3, 1e-3), (Precision::Bf16, 0.2)] {
            let [out, ..] = c.gradients(precision, c.input(), input);
            let only = c.only(precision, c.input(), rows);
            prop_assert_eq!(&only, &out, "the two passes differ");
            // Of a single number, cancellation can leave anything.
            if want.len() > 20 {
                let off = off(&out, &want);
                prop_assert!(off < most, "{:?}: {:e}", precision, off);
            }
        }
    }
}

/// Observation widths, heads and batches of the environments and methods, without a layer
/// normalization, so that products alone are compared.
#[test]
fn ragged_shapes_keep_their_digits() {
    for (i, (input, hidden, output, rows)) in [
        (11, vec![256, 256], 3, 256),
        (23, vec![256, 256], 1, 256),
        (17, vec![64, 31], 6, 1),
        (111, vec![40, 72], 8, 33),
        (29, vec![100], 24, 255),
        (45, vec![33, 65], 1, 2048),
        (4, vec![], 2, 17),
        (60, vec![512], 9, 64),
    ]
    .into_iter()
    .enumerate()
    {
        let shape = MlpShape::relu(input, hidden, output).unwrap();
        let shape = shape.with_activation(Activation::Gelu);
        let c = case(shape, rows, i as u64);
        let want = reference::forward(&c.shape, &wide(&c.params), &wide(&c.x));
        let single = c.gradients(Precision::F32, c.input(), input);
        for (precision, most) in [(Precision::Bf16x3, 3e-5), (Precision::Bf16, 2e-2)] {
            let got = c.gradients(precision, c.input(), input);
            assert!(off(&got[0], &want) < most, "{:?}: output", c.shape);
            for (name, i) in [("parameters", 1), ("input", 2)] {
                let off = off(&got[i], &wide(&single[i]));
                assert!(off < most, "{:?}, {precision:?}, {name}: {off:e}", c.shape);
                let least = if precision == Precision::Bf16 {
                    1e-4
                } else {
                    1e-9
                };
                assert!(off > least, "{:?}, {name}: nothing was rounded", c.shape);
            }
        }
    }
}

#[test]
fn gradients_in_bf16x3_are_those_of_finite_differences() {
    for (norm, input_norm, activation, head, hidden, rows) in [
        (0, false, 0, Head::Linear, vec![7, 9], 6),
        (0, false, 1, Head::Tanh, vec![7, 20], 4),
        (1, false, 1, Head::Linear, vec![8, 6], 5),
        (1, true, 2, Head::Tanh, vec![8, 6], 5),
        (2, true, 3, Head::Linear, vec![8, 16], 5),
        (0, true, 1, Head::Linear, vec![], 3),
        // More rows than pass through the layers together.
        (1, false, 1, Head::Tanh, vec![5, 6], 300),
    ] {
        let shape = MlpShape::relu(4, hidden, 3)
            .unwrap()
            .with_normalization(NORMALIZATIONS[norm])
            .with_input_norm(input_norm)
            .with_activation(ACTIVATIONS[activation])
            .with_head(head);
        let c = case(shape, rows, 11);
        let loss = |params: &[f64], x: &[f64]| -> f64 {
            let out = reference::forward(&c.shape, params, x);
            out.iter()
                .zip(&c.grad_out)
                .map(|(o, g)| o * f64::from(*g))
                .sum()
        };
        let (params, x) = (wide(&c.params), wide(&c.x));
        let differences = |at: &[f64], f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            (0..at.len())
                .map(|i| {
                    let step = |h: f64| {
                        let mut v = at.to_vec();
                        v[i] += h;
                        f(&v)
                    };
                    (step(1e-6) - step(-1e-6)) / 2e-6
                })
                .collect()
        };
        let want = [
            differences(&params, &|params| loss(params, &x)),
            differences(&x, &|x| loss(&params, x)),
        ];
        let got = c.gradients(Precision::Bf16x3, c.input(), 4);
        for (got, want) in got[1..].iter().zip(&want) {
            let off = off(got, want);
            assert!(off < 1e-3, "{:?}: {off:e}", c.shape);
        }
    }
}

/// As critics see candidates.
#[test]
fn shared_columns_are_columns_in_every_precision() {
    for (states, repeat) in [(12, 8), (90, 7), (3, 300)] {
        let shape = MlpShape::relu(23, [40, 33], 2).unwrap();
        let mut c = case(shape.with_activation(Activation::Gelu), states * repeat, 4);
        let shared: Vec<f32> = c.x[..states * 17].to_vec();
        let own: Vec<f32> = c.x.chunks(23).flat_map(|row| row[17..].to_vec()).collect();
        for (i, row) in c.x.chunks_mut(23).enumerate() {
            row[..17].copy_from_slice(&shared[i / repeat * 17..][..17]);
        }
        for (precision, most) in [(Precision::Bf16x3, 3e-5), (Precision::Bf16, 2e-2)] {
            let whole = c.gradients(precision, c.input(), 23);
            let beside = c.gradients(precision, Input::beside(&shared, repeat, &own), 6);
            assert!(off(&beside[0], &wide(&whole[0])) < most);
            assert!(off(&beside[1], &wide(&whole[1])) < most);
            let columns: Vec<f64> = whole[2]
                .chunks(23)
                .flat_map(|row| wide(&row[17..]))
                .collect();
            assert!(off(&beside[2], &columns) < most);
            let only = c.only(precision, Input::beside(&shared, repeat, &own), c.rows);
            assert_eq!(only, beside[0]);
        }
    }
}

/// Output and input gradient of a row do not depend on how many rows surround it.
#[test]
fn a_row_does_not_know_its_neighbours() {
    let shape = MlpShape::relu(11, [40, 33], 3)
        .unwrap()
        .with_layer_norm(true);
    let c = case(shape, 290, 8);
    for precision in PRECISIONS {
        let [out, _, grad_x] = c.gradients(precision, c.input(), 11);
        for row in [0, 15, 16, 31, 255, 256, 289] {
            let alone = Case {
                shape: c.shape.clone(),
                params: c.params.clone(),
                x: c.x[row * 11..(row + 1) * 11].to_vec(),
                grad_out: c.grad_out[row * 3..(row + 1) * 3].to_vec(),
                rows: 1,
            };
            let [own, _, own_x] = alone.gradients(precision, alone.input(), 11);
            assert_eq!(own, out[row * 3..(row + 1) * 3], "row {row}");
            assert_eq!(own_x, grad_x[row * 11..(row + 1) * 11], "row {row}");
        }
    }
}

/// A run that was recorded on one machine resumes on another.
#[test]
fn a_pass_in_bf16_has_the_same_bits_by_every_instruction_set() {
    for activation in ACTIVATIONS {
        let shape = MlpShape::relu(23, [40, 64], 6)
            .unwrap()
            .with_layer_norm(true);
        let c = case(
            shape.with_activation(activation).with_head(Head::Tanh),
            70,
            3,
        );
        for precision in PRECISIONS {
            let run = || c.gradients(precision, c.input(), 23);
            let want = Isa::Plain.confine(run);
            for isa in Isa::present() {
                assert!(
                    isa.confine(run) == want,
                    "{isa:?}, {activation:?}, {precision:?}"
                );
            }
        }
    }
}

#[test]
fn threads_side_by_side_give_the_bits_of_one() {
    let c = case(MlpShape::relu(23, [64, 64], 1).unwrap(), 64, 3);
    let run = || c.gradients(Precision::Bf16x3, c.input(), 23);
    let want = run();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| run() == want)).collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
}

/// A workspace serves passes of every precision in turn, each with its own gradients.
#[test]
fn precisions_may_take_turns_on_one_workspace() {
    let c = case(MlpShape::relu(23, [40, 33], 2).unwrap(), 40, 6);
    let (shape, params, rows) = (&c.shape, &c.params, c.rows);
    let work = &mut Workspace::default();
    for precision in Precision::ALL.into_iter().cycle().take(7) {
        let want = c.gradients(precision, c.input(), 23);
        let mut out = vec![f32::NAN; want[0].len()];
        mlp::forward(precision, shape, params, &c.x, rows, work, &mut out);
        for other in Precision::ALL {
            // What nobody keeps may stand between a pass and its gradients.
            let mut only = out.clone();
            mlp::forward_only(other, shape, params, &c.x, rows, work, &mut only);
            assert_eq!(only == out, other == precision);
            let (mut grad, mut grad_x) = (vec![f32::NAN; params.len()], vec![f32::NAN; c.x.len()]);
            let (to, to_x) = (GradParams::over(&mut grad), Some(&mut grad_x[..]));
            mlp::backward(shape, params, &c.x, rows, work, &c.grad_out, Some(to), to_x);
            assert!(
                [out.clone(), grad, grad_x] == want,
                "{precision:?} then {other:?}"
            );
        }
    }
}

#[test]
fn a_parameter_that_is_not_a_number_shows_in_the_output() {
    let shape = MlpShape::relu(3, [20, 20], 2).unwrap();
    for layer in shape.layers() {
        for at in [layer.weight.start, layer.bias.end - 1] {
            for (precision, wrong) in PRECISIONS
                .into_iter()
                .flat_map(|p| [(p, f32::NAN), (p, f32::INFINITY)])
            {
                let mut c = case(shape.clone(), 4, 5);
                c.params[at] = wrong;
                let out = c.only(precision, c.input(), 4);
                let cut_off = wrong.is_infinite() && out.iter().all(|v| v.is_finite());
                let seen = out.iter().any(|v| !v.is_finite());
                // A ReLU may cut off minus infinity, and nothing else.
                assert!(seen || cut_off, "{precision:?} at {at}");
                assert!(seen || wrong.is_infinite(), "{precision:?} at {at}");
            }
        }
    }
}

/// The bench's gate: from the same start, the losses of twenty steps agree within 3e-4.
#[test]
fn twenty_steps_in_bf16x3_have_the_losses_of_single_precision() {
    let losses = |precision: Precision| -> Vec<f64> {
        let mut c = case(MlpShape::relu(23, [256, 256], 1).unwrap(), 256, 2);
        let target: Vec<f32> = c.grad_out.clone();
        let n = c.params.len();
        let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
        (1..=20)
            .map(|step| {
                let out = c.only(precision, c.input(), c.rows);
                let error = out.iter().zip(&target).map(|(o, t)| o - t);
                c.grad_out = error.map(|e| 2.0 * e / c.rows as f32).collect();
                let [out, grad, _] = c.gradients(precision, c.input(), 23);
                adam(
                    &AdamConfig::new(3e-4),
                    step,
                    &mut c.params,
                    &grad,
                    &mut m,
                    &mut v,
                );
                let squares = out
                    .iter()
                    .zip(&target)
                    .map(|(o, t)| f64::from(o - t).powi(2));
                squares.sum::<f64>() / c.rows as f64
            })
            .collect()
    };
    let single = losses(Precision::F32);
    let worst = |other: &[f64]| {
        let parts = single
            .iter()
            .zip(other)
            .map(|(a, b)| (a - b).abs() / a.abs());
        parts.fold(0.0, f64::max)
    };
    let three = worst(&losses(Precision::Bf16x3));
    assert!(three < 3e-4, "{three:e}");
    assert!(
        worst(&losses(Precision::Bf16)) > three,
        "one term is less exact"
    );
    assert!(single[19] < single[0], "the loss falls: {single:?}");
}
