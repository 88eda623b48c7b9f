//! The fused network against its definition and against finite differences.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use spar_core::Stream;
use spar_kernels::{
    Activation, Head, Isa, MlpShape, Precision, Workspace,
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn forward_is_its_definition(
        input in 1usize..20, hidden in prop::collection::vec(1usize..40, 0..4),
        output in 1usize..40, rows in 1usize..70, layer_norm: bool, gelu: bool, tanh: bool,
        seed: u64,
    ) {
        let shape = MlpShape::relu(input, hidden, output).unwrap()
            .with_layer_norm(layer_norm)
            .with_activation(if gelu { Activation::Gelu } else { Activation::Relu })
            .with_head(if tanh { Head::Tanh } else { Head::Linear });
        let c = case(shape, rows, seed);
        // A width of one normalizes to zero whatever comes in: both sides agree
        // only as far as rounding noise over the epsilon lets them.
        prop_assume!(!c.shape.layer_norm() || c.shape.hidden().iter().all(|&w| w > 2));
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
                mlp::forward(shape, params, &c.x, rows, work, &mut out);
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
        if Precision::Bf16.is_present() && !c.shape.hidden().is_empty() {
            assert!(off > 1e-5, "{:?}: nothing was rounded", c.shape);
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let (relu, gelu) = (Activation::Relu, Activation::Gelu);
    for (layer_norm, activation, head, hidden, rows) in [
        (false, relu, Head::Linear, vec![7, 9], 6),
        (true, relu, Head::Linear, vec![8, 6], 5),
        (false, relu, Head::Linear, vec![], 3),
        (true, relu, Head::Tanh, vec![5], 1),
        (false, gelu, Head::Linear, vec![7, 20], 4),
        (true, gelu, Head::Tanh, vec![8, 6], 5),
        // More rows than pass through the layers together.
        (true, relu, Head::Tanh, vec![5, 6], 300),
    ] {
        let shape = MlpShape::relu(4, hidden, 3)
            .unwrap()
            .with_layer_norm(layer_norm)
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
            let mut alone = gx.clone();
            isa.confine(|| {
                let (shape, params, x, rows, work) = (&c.shape, &c.params, &c.x, c.rows, &mut work);
                mlp::forward(shape, params, x, rows, work, &mut out);
                let mut backward = |params_too, x_too| {
                    mlp::backward(shape, params, x, rows, work, &c.grad_out, params_too, x_too);
                };
                backward(Some(GradParams::over(&mut gp)), Some(&mut gx[..]));
                backward(None, Some(&mut alone[..]));
            });
            close(&gp, &want_params, 1e-3);
            close(&gx, &want_x, 1e-3);
            // Asking for one gradient alone gives the same bits.
            assert_eq!(alone, gx, "{isa:?}");
        }
    }
}

/// A diverged parameter must show in the output: `f32::max(NaN, 0.0)` is zero,
/// and a ReLU written with it would hide the divergence from every loss.
#[test]
fn a_parameter_that_is_not_a_number_shows_in_the_output() {
    for layer_norm in [false, true] {
        let shape = MlpShape::relu(3, [20, 20], 2)
            .unwrap()
            .with_layer_norm(layer_norm);
        for layer in shape.layers() {
            for at in [layer.weight.start, layer.bias.end - 1] {
                let mut c = case(shape.clone(), 4, 5);
                c.params[at] = f32::NAN;
                let mut out = vec![0.0; c.rows * shape.output()];
                for isa in Isa::present() {
                    isa.confine(|| {
                        let (params, x, work) = (&c.params, &c.x, &mut Workspace::default());
                        mlp::forward(&shape, params, x, c.rows, work, &mut out);
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
