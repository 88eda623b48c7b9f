//! The fused network against its definition and against finite differences.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use spar_core::Stream;
use spar_kernels::{
    Activation, Head, Isa, MlpShape, NormEps, Normalization, Precision, Workspace,
    mlp::{self, GradParams},
    reference,
};

struct Case {
    shape: MlpShape,
    params: Vec<f32>,
    x: Vec<f32>,
    grad_out: Vec<f32>,
    rows: usize,
}

fn case(shape: MlpShape, rows: usize, seed: u64) -> Case {
    let mut stream = Stream::new(seed, "case");
    let mut draw = |n: usize, std: f32| {
        let mut v = vec![0.0; n];
        stream.fill_normal(std, &mut v);
        v
    };
    Case {
        params: draw(shape.parameters(), 0.4),
        x: draw(rows * shape.input(), 1.0),
        grad_out: draw(rows * shape.output(), 1.0),
        shape,
        rows,
    }
}

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&x| f64::from(x)).collect()
}

fn close(got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let off = (f64::from(*g) - w).abs();
        assert!(
            off <= tolerance * (1.0 + w.abs()),
            "at {i}: got {g}, want {w}"
        );
    }
}

/// `sum(grad_out * network(x))`, whose gradients `backward` must return.
fn loss(c: &Case, params: &[f64], x: &[f64]) -> f64 {
    let out = reference::forward(&c.shape, params, x);
    out.iter()
        .zip(&c.grad_out)
        .map(|(o, g)| o * f64::from(*g))
        .sum()
}

fn differences(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let h = 1e-6;
    (0..at.len())
        .map(|i| {
            let mut v = at.to_vec();
            v[i] = at[i] + h;
            let up = f(&v);
            v[i] = at[i] - h;
            (up - f(&v)) / (2.0 * h)
        })
        .collect()
}

const ACTIVATIONS: [Activation; 4] = [
    Activation::Relu,
    Activation::Gelu,
    Activation::Mish,
    Activation::Silu,
];

const NORMALIZATIONS: [Normalization; 3] = [
    Normalization::None,
    Normalization::Before,
    Normalization::After,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn forward_is_its_definition(
        input in 1usize..20, hidden in prop::collection::vec(1usize..40, 0..4),
        output in 1usize..40, rows in 1usize..70, norm in 0usize..3, input_norm: bool,
        flax: bool, activation in 0usize..4, tanh: bool, seed: u64,
    ) {
        let shape = MlpShape::relu(input, hidden, output).unwrap()
            .with_normalization(NORMALIZATIONS[norm])
            .with_input_norm(input_norm)
            .with_norm_eps(if flax { NormEps::Flax } else { NormEps::Torch })
            .with_activation(ACTIVATIONS[activation])
            .with_head(if tanh { Head::Tanh } else { Head::Linear });
        let c = case(shape, rows, seed);
        // A width of one normalizes to zero whatever comes in: both sides agree
        // only as far as rounding noise over the epsilon lets them. So does a row that a
        // ReLU leaves all but empty.
        let narrow = if norm == 2 && activation == 0 { 12 } else { 2 };
        prop_assume!(!c.shape.layer_norm() || c.shape.hidden().iter().all(|&w| w > narrow));
        prop_assume!(!input_norm || input > 2);
        let want = reference::forward(&c.shape, &wide(&c.params), &wide(&c.x));
        for isa in Isa::present() {
            let mut out = vec![0.0; rows * output];
            let mut only = vec![0.0; rows * output];
            // A row's output is its own, whatever surrounds it.
            let last = rows - 1;
            let (x, mut alone) = (&c.x[last * input..], vec![0.0; output]);
            let mut work = Workspace::default();
            isa.confine(|| {
                let (shape, params, work) = (&c.shape, &c.params, &mut work);
                mlp::forward(Precision::F32, shape, params, &c.x, rows, work, &mut out);
                mlp::forward_only(Precision::F32, shape, params, &c.x, rows, work, &mut only);
                mlp::forward_only(Precision::F32, shape, params, x, 1, work, &mut alone);
            });
            close(&out, &want, 2e-3);
            prop_assert_eq!(&only, &out, "the two passes differ on {:?}", isa);
            prop_assert_eq!(&alone, &out[last * output..], "the last row alone on {:?}", isa);
        }
    }
}

#[test]
fn many_rows_pass_in_blocks_without_a_seam() {
    for layer_norm in [false, true] {
        let shape = MlpShape::relu(5, [16, 12], 3)
            .unwrap()
            .with_layer_norm(layer_norm);
        let c = case(shape, 700, 1);
        let want = reference::forward(&c.shape, &wide(&c.params), &wide(&c.x));
        for isa in Isa::present() {
            let mut out = vec![0.0; want.len()];
            isa.confine(|| {
                mlp::forward_only(
                    Precision::F32,
                    &c.shape,
                    &c.params,
                    &c.x,
                    c.rows,
                    &mut Workspace::default(),
                    &mut out,
                );
            });
            close(&out, &want, 1e-4);
        }
    }
}

/// In bf16 a number has 8 bits: products of `k` of them are off by `2^-8` of their
/// terms' root mean square or so, and never by what a wrong order would give.
#[test]
fn bf16_is_the_same_network_within_its_precision() {
    for (layer_norm, input, hidden, rows) in [
        (false, 23, vec![256, 256], 300),
        (true, 17, vec![256, 256], 257),
        (true, 11, vec![33], 1),
        (false, 6, vec![40, 31, 50], 49),
        (false, 5, vec![], 9),
    ] {
        let shape = MlpShape::relu(input, hidden, 9)
            .unwrap()
            .with_layer_norm(layer_norm);
        let mut c = case(shape, rows, 3);
        // As PyTorch starts, so that activations keep their size.
        for layer in c.shape.layers() {
            let scale = 1.5 / (layer.input as f32).sqrt();
            c.params[layer.weight].iter_mut().for_each(|w| *w *= scale);
        }
        let run = |precision| {
            let mut out = vec![f32::NAN; rows * 9];
            let mut work = Workspace::default();
            mlp::forward_only(
                precision, &c.shape, &c.params, &c.x, rows, &mut work, &mut out,
            );
            out
        };
        let (single, half) = (run(Precision::F32), run(Precision::Bf16));
        let size = (single.iter().map(|v| v * v).sum::<f32>() / single.len() as f32).sqrt();
        let off = single.iter().zip(&half).map(|(a, b)| (a - b) * (a - b));
        let off = (off.sum::<f32>() / single.len() as f32).sqrt() / size;
        assert!(off < 0.01, "{:?}: {off}", c.shape);
        assert!(off > 1e-5, "{:?}: nothing was rounded", c.shape);
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    use Activation::{Gelu, Mish, Relu, Silu};
    use Normalization::{After, Before, None};
    for (norm, input_norm, activation, head, hidden, rows) in [
        (None, false, Relu, Head::Linear, vec![7, 9], 6),
        (Before, false, Relu, Head::Linear, vec![8, 6], 5),
        (None, false, Relu, Head::Linear, vec![], 3),
        (Before, false, Relu, Head::Tanh, vec![5], 1),
        (None, false, Gelu, Head::Linear, vec![7, 20], 4),
        (Before, false, Gelu, Head::Tanh, vec![8, 6], 5),
        (None, false, Mish, Head::Linear, vec![7, 20], 4),
        (Before, true, Mish, Head::Tanh, vec![8, 6], 5),
        (None, true, Silu, Head::Linear, vec![9], 7),
        (After, false, Silu, Head::Linear, vec![8, 6], 5),
        (After, true, Gelu, Head::Tanh, vec![8, 6], 5),
        (After, false, Relu, Head::Linear, vec![14, 12], 4),
        (None, true, Relu, Head::Linear, vec![], 3),
        // More rows than pass through the layers together.
        (Before, false, Relu, Head::Tanh, vec![5, 6], 300),
        (After, true, Silu, Head::Linear, vec![5, 6], 300),
    ] {
        let shape = MlpShape::relu(4, hidden, 3)
            .unwrap()
            .with_normalization(norm)
            .with_input_norm(input_norm)
            .with_activation(activation)
            .with_head(head);
        let c = case(shape, rows, 11);
        let (params, x) = (wide(&c.params), wide(&c.x));
        let want_params = differences(&params, |p| loss(&c, p, &x));
        let want_x = differences(&x, |x| loss(&c, &params, x));
        for isa in Isa::present() {
            let mut work = Workspace::default();
            let mut out = vec![0.0; c.grad_out.len()];
            let (mut gp, mut gx) = (vec![f32::NAN; params.len()], vec![f32::NAN; x.len()]);
            let (mut alone, mut gp_alone) = (gx.clone(), gp.clone());
            isa.confine(|| {
                let (shape, params, x, rows, work) = (&c.shape, &c.params, &c.x, c.rows, &mut work);
                mlp::forward(Precision::F32, shape, params, x, rows, work, &mut out);
                let mut backward = |params_too, x_too| {
                    mlp::backward(shape, params, x, rows, work, &c.grad_out, params_too, x_too);
                };
                backward(Some(GradParams::over(&mut gp)), Some(&mut gx[..]));
                backward(Option::None, Some(&mut alone[..]));
                backward(Some(GradParams::over(&mut gp_alone)), Option::None);
            });
            close(&gp, &want_params, 1e-3);
            close(&gx, &want_x, 1e-3);
            // Asking for one gradient alone gives the same bits.
            assert_eq!(alone, gx, "{isa:?}");
            assert_eq!(gp_alone, gp, "{isa:?}");
        }
    }
}

/// A pass whose output nobody keeps may stand between a pass and its gradients.
#[test]
fn gradients_are_those_of_their_own_pass() {
    let shape = MlpShape::relu(5, [8, 6], 3).unwrap().with_input_norm(true);
    let shape = shape.with_normalization(Normalization::After);
    let c = case(shape, 9, 4);
    let gradients = |between: bool| {
        let (shape, params, work) = (&c.shape, &c.params, &mut Workspace::default());
        let mut out = vec![0.0; c.grad_out.len()];
        let (mut gp, mut gx) = (vec![f32::NAN; params.len()], vec![f32::NAN; c.x.len()]);
        mlp::forward(Precision::F32, shape, params, &c.x, c.rows, work, &mut out);
        if between {
            let other: Vec<f32> = c.x.iter().map(|x| 1.0 - 3.0 * x).collect();
            mlp::forward_only(
                Precision::F32,
                shape,
                params,
                &other,
                c.rows,
                work,
                &mut out,
            );
        }
        let grad = Some(GradParams::over(&mut gp));
        mlp::backward(
            shape,
            params,
            &c.x,
            c.rows,
            work,
            &c.grad_out,
            grad,
            Some(&mut gx),
        );
        (gp, gx)
    };
    assert_eq!(gradients(true), gradients(false));
}

#[test]
#[should_panic(expected = "shared columns of an input that is normalized")]
fn a_normalized_input_shares_no_columns() {
    let shape = MlpShape::relu(5, [8], 3).unwrap().with_input_norm(true);
    let c = case(shape, 4, 4);
    let x = mlp::Input::beside(&c.x[..4], 2, &c.x[..12]);
    let (work, mut out) = (&mut Workspace::default(), vec![0.0; 12]);
    mlp::forward(Precision::F32, &c.shape, &c.params, x, 4, work, &mut out);
}

/// A diverged parameter must show in the output: `f32::max(NaN, 0.0)` is zero,
/// and a ReLU written with it would hide the divergence from every loss.
#[test]
fn a_parameter_that_is_not_a_number_shows_in_the_output() {
    let kinds = NORMALIZATIONS.map(|norm| ACTIVATIONS.map(|f| (norm, f)));
    for (norm, activation) in kinds.into_iter().flatten() {
        let shape = MlpShape::relu(3, [20, 20], 2)
            .unwrap()
            .with_activation(activation)
            .with_normalization(norm);
        for layer in shape.layers() {
            for at in [layer.weight.start, layer.bias.end - 1] {
                let mut c = case(shape.clone(), 4, 5);
                c.params[at] = f32::NAN;
                let mut out = vec![0.0; c.rows * shape.output()];
                for isa in Isa::present() {
                    isa.confine(|| {
                        let (params, x, work) = (&c.params, &c.x, &mut Workspace::default());
                        mlp::forward(Precision::F32, &shape, params, x, c.rows, work, &mut out);
                        let seen = out.iter().any(|v| v.is_nan());
                        assert!(seen, "hidden by forward at {at} on {isa:?}");
                        let single = Precision::F32;
                        mlp::forward_only(single, &shape, params, x, c.rows, work, &mut out);
                        let seen = out.iter().any(|v| v.is_nan());
                        assert!(seen, "hidden by forward_only at {at} on {isa:?}");
                    });
                }
            }
        }
    }
}

/// What one gradient leaves prepared, the next of the same pass takes over, and none of
/// another: of other parameters, or after a pass without gradients.
#[test]
fn weights_prepared_for_a_gradient_serve_no_other_pass() {
    let shape = MlpShape::relu(5, [9, 17], 8).unwrap();
    let shape = shape.with_activation(Activation::Gelu);
    let [one, other] = [1, 2].map(|seed| case(shape.clone(), 7, seed));
    let forward = |c: &Case, work: &mut Workspace| {
        let mut out = vec![0.0; c.grad_out.len()];
        mlp::forward(
            Precision::F32,
            &c.shape,
            &c.params,
            &c.x,
            c.rows,
            work,
            &mut out,
        );
    };
    let backward = |c: &Case, work: &mut Workspace, input: bool| {
        let (mut grad, mut grad_x) = (vec![0.0; c.params.len()], vec![0.0; c.x.len()]);
        let (to, to_x) = (
            GradParams::over(&mut grad),
            input.then_some(&mut grad_x[..]),
        );
        let (x, out) = (&c.x, &c.grad_out);
        mlp::backward(&c.shape, &c.params, x, c.rows, work, out, Some(to), to_x);
        (grad, grad_x)
    };
    let [want, want_other] = [&one, &other].map(|c| {
        let work = &mut Workspace::default();
        forward(c, work);
        backward(c, work, true)
    });
    let work = &mut Workspace::default();
    forward(&one, work);
    // The first layer's weight is not needed for this one.
    assert_eq!(backward(&one, work, false).0, want.0);
    assert_eq!(backward(&one, work, true), want);
    assert_eq!(backward(&one, work, true), want);
    forward(&other, work);
    assert_eq!(backward(&other, work, true), want_other);
    let (precision, mut out) = (Precision::F32, vec![0.0; one.grad_out.len()]);
    mlp::forward_only(
        precision,
        &one.shape,
        &one.params,
        &one.x,
        one.rows,
        work,
        &mut out,
    );
    assert_eq!(backward(&other, work, true), want_other);
}
