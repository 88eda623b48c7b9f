//! The fused network against the plain composition of candle operations.
// long: every operation of a network, each beside its composition in candle
#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use candle_nn::{Linear, Module};
use spar_core::Stream;
use spar_kernels::scalar;
use spar_nn::{
    Activation, Conservatism, Head, Mlp, MlpShape, RowWork, Rows, Trace, Weighting,
    conservative_value, normal, weighted_regression,
};

fn shape(layer_norm: bool) -> MlpShape {
    MlpShape::relu(5, [12, 9], 3)
        .unwrap()
        .with_layer_norm(layer_norm)
}

/// A network none of whose parameters is at its special initial value.
fn network(shape: MlpShape, seed: u64) -> Mlp {
    let mut params = vec![0.0; shape.parameters()];
    Stream::new(seed, "params").fill_normal(0.5, &mut params);
    Mlp::from_params(shape, params).unwrap()
}

fn rows(seed: u64, rows: usize, cols: usize) -> Tensor {
    normal(&mut Stream::new(seed, "rows"), 1.0, rows, cols).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn close(got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (flat(got), flat(want));
    let size = want.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!(
            (g - w).abs() <= tolerance * size,
            "at {i}: got {g}, want {w}"
        );
    }
}

/// The same network from `candle_nn::Linear` and elementary operations. Its
/// layer normalization is written out: candle's own cuts the gradient.
struct Plain {
    layers: Vec<Linear>,
    norms: Vec<Option<(Var, Var)>>,
    /// Weight `[out, in]` and bias of each layer.
    vars: Vec<(Var, Var)>,
}

impl Plain {
    fn of(mlp: &Mlp) -> Self {
        let params = mlp.to_params().unwrap();
        let var = |range: std::ops::Range<usize>| {
            let n = range.len();
            Var::from_slice(&params[range], n, &Device::Cpu).unwrap()
        };
        let mut plain = Self {
            layers: vec![],
            norms: vec![],
            vars: vec![],
        };
        for l in mlp.shape().layers() {
            let weight = var(l.weight).reshape((l.input, l.output)).unwrap();
            let weight = Var::from_tensor(&weight.t().unwrap().contiguous().unwrap()).unwrap();
            let bias = var(l.bias);
            let linear = Linear::new(weight.as_tensor().clone(), Some(bias.as_tensor().clone()));
            plain.layers.push(linear);
            plain.vars.push((weight, bias));
            plain.norms.push(l.norm.map(|(g, s)| (var(g), var(s))));
        }
        plain
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = x.clone();
        for (i, (layer, norm)) in self.layers.iter().zip(&self.norms).enumerate() {
            x = layer.forward(&x).unwrap();
            if let Some((gain, shift)) = norm {
                let centred = x.broadcast_sub(&x.mean_keepdim(1).unwrap()).unwrap();
                let var = centred.sqr().unwrap().mean_keepdim(1).unwrap();
                let std = (var + 1e-5).unwrap().sqrt().unwrap();
                x = centred.broadcast_div(&std).unwrap();
                x = x.broadcast_mul(gain).unwrap();
                x = x.broadcast_add(shift).unwrap();
            }
            if i + 1 < self.layers.len() {
                x = x.relu().unwrap();
            }
        }
        x
    }

    /// Gradients in the flat layout of the fused network.
    fn flat_gradient(&self, grads: &GradStore) -> Tensor {
        let mut parts = Vec::new();
        for ((weight, bias), norm) in self.vars.iter().zip(&self.norms) {
            let weight = grads.get(weight).unwrap().t().unwrap();
            parts.push(weight.contiguous().unwrap().flatten_all().unwrap());
            parts.push(grads.get(bias).unwrap().clone());
            if let Some((gain, shift)) = norm {
                parts.push(grads.get(gain).unwrap().clone());
                parts.push(grads.get(shift).unwrap().clone());
            }
        }
        Tensor::cat(&parts, 0).unwrap()
    }
}

/// What backward passes left for the optimizer of `mlp`.
fn gradient(mlp: &Mlp) -> Option<Tensor> {
    let grad = mlp.take_gradient()?;
    Some(Tensor::from_slice(&grad, grad.len(), &Device::Cpu).unwrap())
}

/// A loss whose gradient differs from element to element.
fn loss(y: &Tensor) -> Tensor {
    let (n, m) = y.dims2().unwrap();
    let weight = rows(77, n, m);
    let bent = (y.sqr().unwrap() + y.mul(&weight).unwrap()).unwrap();
    bent.mean_all().unwrap()
}

#[test]
fn forward_and_gradients_are_those_of_plain_candle() {
    for layer_norm in [false, true] {
        for n in [1, 2, 33] {
            let mlp = network(shape(layer_norm), 1);
            let plain = Plain::of(&mlp);
            let x = Var::from_tensor(&rows(2, n, 5)).unwrap();
            let want_y = plain.forward(&x);
            let want = loss(&want_y).backward().unwrap();
            let (want_params, want_x) = (plain.flat_gradient(&want), want.get(&x).unwrap());

            close(&mlp.forward_detached(&x).unwrap(), &want_y, 1e-5);
            for trace in [Trace::Params, Trace::Input, Trace::Both] {
                let y = mlp.forward(&x, trace).unwrap();
                close(&y, &want_y, 1e-5);
                let got = loss(&y).backward().unwrap();
                match gradient(&mlp) {
                    Some(grad) => {
                        assert_ne!(trace, Trace::Input);
                        close(&grad, &want_params, 1e-4);
                    }
                    None => assert_eq!(trace, Trace::Input),
                }
                assert!(mlp.take_gradient().is_none(), "it is given once");
                match got.get(&x) {
                    Some(grad) => {
                        assert_ne!(trace, Trace::Params);
                        close(grad, want_x, 1e-4);
                    }
                    None => assert_eq!(trace, Trace::Params),
                }
            }
        }
    }
}

#[test]
fn a_detached_pass_gives_the_same_values_and_no_gradient() {
    let mlp = network(shape(true), 3);
    let x = Var::from_tensor(&rows(4, 20, 5)).unwrap();
    let detached = mlp.forward_detached(&x).unwrap();
    close(&mlp.forward(&x, Trace::Both).unwrap(), &detached, 1e-6);
    let traced = (&detached * x.narrow(1, 0, 3).unwrap()).unwrap();
    let grads = traced.sum_all().unwrap().backward().unwrap();
    assert!(gradient(&mlp).is_none());
    // Only the factor beside the network's output is seen by the input.
    close(
        &grads.get(&x).unwrap().narrow(1, 0, 3).unwrap(),
        &detached,
        1e-6,
    );
    let rest = grads.get(&x).unwrap().narrow(1, 3, 2).unwrap();
    assert!(flat(&rest).iter().all(|&v| v == 0.0));
}

#[test]
fn views_of_other_tensors_are_read_as_what_they_show() {
    let mlp = network(shape(false), 5);
    let base = Var::from_tensor(&rows(6, 14, 14)).unwrap();
    let transposed = base.t().unwrap();
    let views = [
        base.narrow(0, 3, 7).unwrap().narrow(1, 2, 5).unwrap(),
        transposed.narrow(1, 4, 5).unwrap(),
        transposed.narrow(0, 2, 6).unwrap().narrow(1, 9, 5).unwrap(),
        base.narrow(1, 0, 5).unwrap(),
        base.narrow(0, 0, 1).unwrap().narrow(1, 1, 5).unwrap(),
    ];
    let contiguous = Var::from_tensor(&rows(6, 14, 5)).unwrap();
    let offset = contiguous.narrow(0, 5, 4).unwrap();
    for (view, base) in views
        .iter()
        .map(|v| (v, &base))
        .chain([(&offset, &contiguous)])
    {
        let plain = Plain::of(&mlp);
        let want_y = plain.forward(view);
        // A loss whose gradient reaches the network through a transpose.
        let turned = |y: &Tensor| {
            let t = y.t().unwrap();
            let w = rows(8, t.dims()[0], t.dims()[1]);
            t.mul(&w).unwrap().sum_all().unwrap()
        };
        let want = turned(&want_y).backward().unwrap();
        let y = mlp.forward(view, Trace::Both).unwrap();
        close(&y, &want_y, 1e-5);
        close(&mlp.forward_detached(view).unwrap(), &want_y, 1e-5);
        let got = turned(&y).backward().unwrap();
        close(&gradient(&mlp).unwrap(), &plain.flat_gradient(&want), 1e-4);
        close(got.get(base).unwrap(), want.get(base).unwrap(), 1e-4);
    }
}

#[test]
fn one_network_may_stand_twice_in_a_loss() {
    let mlp = network(shape(true), 9);
    let plain = Plain::of(&mlp);
    let (a, b) = (rows(1, 6, 5), rows(2, 11, 5));
    let sum = |f: &dyn Fn(&Tensor) -> Tensor| (loss(&f(&a)) + loss(&f(&b))).unwrap();
    let want = sum(&|x| plain.forward(x)).backward().unwrap();
    let got = sum(&|x| mlp.forward(x, Trace::Params).unwrap());
    got.backward().unwrap();
    close(&gradient(&mlp).unwrap(), &plain.flat_gradient(&want), 1e-4);
}

/// Candidates beside their state: the same output as the rows written out, the same
/// gradient of the parameters, that of the candidates, and none of the state.
#[test]
fn rows_may_share_their_first_columns() {
    let (states, k) = (7, 4);
    let mlp = network(shape(true), 9);
    let shared = Var::from_tensor(&rows(1, states, 3)).unwrap();
    let own = Var::from_tensor(&rows(2, states * k, 2)).unwrap();
    let repeated = shared.unsqueeze(1).unwrap().expand((states, k, 3)).unwrap();
    let repeated = repeated.reshape((states * k, 3)).unwrap();
    let whole = Tensor::cat(&[&repeated, own.as_tensor()], 1).unwrap();
    let want = loss(&mlp.forward(&whole, Trace::Both).unwrap());
    let want_grads = want.backward().unwrap();
    let want_params = gradient(&mlp).unwrap();

    let beside = Rows::beside(&shared, &own);
    let y = mlp.forward(beside, Trace::Both).unwrap();
    close(&mlp.forward_detached(beside).unwrap(), &y, 1e-6);
    let got = loss(&y);
    close(&got, &want, 1e-5);
    let grads = got.backward().unwrap();
    close(&gradient(&mlp).unwrap(), &want_params, 1e-4);
    close(
        grads.get(&own).unwrap(),
        want_grads.get(&own).unwrap(),
        1e-4,
    );
    assert!(grads.get(&shared).is_none());

    let five = rows(3, 5, 3);
    let error = mlp
        .forward(Rows::beside(&five, &own), Trace::Params)
        .unwrap_err();
    assert!(error.to_string().contains("beside [5, 3]"), "{error}");
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_shape() {
    let mlp = network(shape(false), 1);
    let cases = [
        (rows(1, 4, 6), "[rows, 5], got [4, 6]"),
        (rows(1, 1, 5).squeeze(0).unwrap(), "[rows, 5], got [5]"),
        (
            rows(1, 1, 5).unsqueeze(0).unwrap(),
            "[rows, 5], got [1, 1, 5]",
        ),
    ];
    for (x, expected) in cases {
        let detached = mlp.forward_detached(&x).unwrap_err().to_string();
        let traced = mlp.forward(&x, Trace::Params).unwrap_err().to_string();
        assert!(detached.contains(expected), "{detached}");
        assert!(traced.contains(expected), "{traced}");
    }
    let double = rows(1, 4, 5).to_dtype(DType::F64).unwrap();
    let error = mlp.forward_detached(&double).unwrap_err().to_string();
    assert!(error.contains("F64") && error.contains("F32"), "{error}");
    let error = Mlp::from_params(shape(false), vec![0.0; 3]).unwrap_err();
    assert!(error.to_string().contains("got 3"), "{error}");
    assert!(mlp.set_params(vec![0.0; 3]).is_err());
    assert!(network(shape(true), 1).track(&mlp, 0.5).is_err());
    // A refused pass leaves nothing behind that spoils the next.
    let x = rows(1, 4, 5);
    close(
        &mlp.forward_detached(&x).unwrap(),
        &Plain::of(&mlp).forward(&x),
        1e-5,
    );
}

#[test]
fn a_fresh_network_is_pytorchs_default() {
    for layer_norm in [false, true] {
        let mlp = Mlp::new(shape(layer_norm), &mut Stream::new(1, "init")).unwrap();
        let params = mlp.to_params().unwrap();
        for l in mlp.shape().layers() {
            let bound = 1.0 / (l.input as f32).sqrt();
            for part in [l.weight, l.bias] {
                let largest = params[part].iter().fold(0f32, |m, p| m.max(p.abs()));
                assert!(
                    largest <= bound && largest > 0.5 * bound,
                    "{largest} {bound}"
                );
            }
            if let Some((gain, shift)) = l.norm {
                assert!(params[gain].iter().all(|&g| g == 1.0));
                assert!(params[shift].iter().all(|&s| s == 0.0));
            }
        }
        let again = Mlp::new(shape(layer_norm), &mut Stream::new(1, "init")).unwrap();
        assert_eq!(params, again.to_params().unwrap());
    }
}

#[test]
fn a_target_copy_moves_by_polyak_alone() {
    let source = network(shape(true), 1);
    let target = source.duplicate().unwrap();
    source
        .set_params(network(shape(true), 2).to_params().unwrap())
        .unwrap();
    let before = target.to_params().unwrap();
    assert_ne!(
        before,
        source.to_params().unwrap(),
        "a copy has its own buffer"
    );
    target.track(&source, 0.25).unwrap();
    let (after, source) = (target.to_params().unwrap(), source.to_params().unwrap());
    for i in 0..after.len() {
        let want = 0.75 * before[i] + 0.25 * source[i];
        assert!((after[i] - want).abs() < 1e-6, "{i}");
    }
}

#[test]
fn scaling_the_output_layer_scales_the_output() {
    let mlp = network(shape(true), 1);
    let x = rows(3, 7, 5);
    let before = mlp.forward_detached(&x).unwrap();
    mlp.scale_output_layer(0.5).unwrap();
    close(
        &mlp.forward_detached(&x).unwrap(),
        &(before * 0.5).unwrap(),
        1e-6,
    );
}

#[test]
fn a_row_alone_is_its_row_of_the_batch_whatever_surrounds_it() {
    let mlp = network(shape(false), 1);
    let plain = mlp.row_mlp().unwrap();
    let acting = shape(false).with_head(Head::Tanh);
    let tanh = network(acting, 1).row_mlp().unwrap();
    assert_eq!((plain.input_dim(), plain.output_dim()), (5, 3));
    let x = rows(2, 300, 5);
    let batch = mlp.forward_detached(&x).unwrap();
    let (values, mut out) = (flat(&x), vec![0.0; 900]);
    let work = &mut RowWork::default();
    plain.rows(&values, work, &mut out);
    let together = Tensor::from_slice(&out, (300, 3), &Device::Cpu).unwrap();
    close(&together, &batch, 1e-5);
    let mut one = [0.0; 3];
    for i in [0, 17, 299] {
        let row = &values[5 * i..5 * i + 5];
        plain.rows(row, work, &mut one);
        assert_eq!(one, out[3 * i..3 * i + 3], "row {i}");
        tanh.rows(row, work, &mut one);
        assert_eq!(
            one.map(f32::to_bits),
            [0, 1, 2].map(|j| scalar::tanh(out[3 * i + j]).to_bits())
        );
    }
    // A few rows beside it, more or fewer, change no bit either.
    for (first, count) in [(0, 2), (3, 5), (290, 10)] {
        let mut some = vec![0.0; 3 * count];
        plain.rows(&values[5 * first..5 * (first + count)], work, &mut some);
        assert_eq!(some, out[3 * first..3 * (first + count)]);
    }
    let normalized = network(shape(true), 1);
    let row_by_row = normalized.row_mlp().unwrap();
    row_by_row.rows(&values, work, &mut out);
    let together = Tensor::from_slice(&out, (300, 3), &Device::Cpu).unwrap();
    close(&together, &normalized.forward_detached(&x).unwrap(), 1e-5);
}

#[test]
fn activations_are_their_definitions_and_let_a_nan_through() {
    for (activation, at_minus_2, at_3) in [
        (Activation::Identity, -2.0, 3.0),
        (Activation::Relu, 0.0, 3.0),
        (Activation::Tanh, (-2.0f32).tanh(), 3f32.tanh()),
        // PyTorch: GELU(approximate="tanh").
        (Activation::Gelu, -0.045_402_28, 2.996_362_7),
        (Activation::LeakyRelu(0.01), -0.02, 3.0),
    ] {
        let mut v = [-2.0, 3.0, f32::NAN];
        activation.apply(&mut v);
        for (got, want) in v.into_iter().zip([at_minus_2, at_3]) {
            assert!(
                (got - want).abs() <= 1e-6 * (0.1 + want.abs()),
                "{activation:?}: {got}"
            );
        }
        assert!(v[2].is_nan(), "{activation:?}");
    }
}

/// The weighted regression of candidates written out in candle.
fn plain_regression(candidates: &Tensor, q: &Tensor, k: usize, by: Weighting) -> Tensor {
    let temperature = f64::from(by.temperature);
    let (rows, act_dim) = candidates.dims2().unwrap();
    let q = q.reshape((rows / k, k)).unwrap();
    let mean = q.mean_keepdim(1).unwrap();
    let advantage = q.broadcast_sub(&mean).unwrap();
    let std = advantage.sqr().unwrap().mean_all().unwrap().sqrt().unwrap();
    let sigma = std.maximum(by.floor).unwrap();
    let scaled = advantage.broadcast_div(&((sigma + 1e-6).unwrap() * temperature).unwrap());
    let weights = candle_nn::ops::softmax(&scaled.unwrap(), 1).unwrap();
    let all = candidates.reshape((rows / k, k, act_dim)).unwrap();
    let weighted = all.detach().broadcast_mul(&weights.unsqueeze(2).unwrap());
    let target = weighted.unwrap().sum_keepdim(1).unwrap();
    let errors = all.broadcast_sub(&target.detach()).unwrap();
    (errors.sqr().unwrap().sum_all().unwrap() / rows as f64).unwrap()
}

/// The loss and its gradient, also where it is a part of a larger one; and none
/// of the values: the critic only ranks.
#[test]
fn weighted_regression_is_that_of_candle() {
    let (states, k, act_dim) = (6, 5, 3);
    let var = |seed, cols| Var::from_tensor(&rows(seed, states * k, cols)).unwrap();
    let candidates = var(1, act_dim);
    let q = var(2, 1);
    // Below and above the candidates' own deviation.
    for floor in [0.0, 3.0] {
        let by = Weighting {
            temperature: 0.4,
            floor,
        };
        regression_is_that_of_candle(&candidates, &q, by);
    }
}

fn regression_is_that_of_candle(candidates: &Var, q: &Var, by: Weighting) {
    let k = 5;
    let of_q = q.squeeze(1).unwrap();
    let (loss, stats) = weighted_regression(candidates, &of_q, k, by).unwrap();
    let want = plain_regression(candidates, &of_q.detach(), k, by);
    close(&loss, &want, 1e-5);
    assert_eq!(stats.loss, loss.to_scalar::<f32>().unwrap());
    let gradient = |loss: Tensor| (loss * 1.7).unwrap().backward().unwrap();
    let grads = gradient(loss);
    close(
        grads.get(candidates).unwrap(),
        gradient(want).get(candidates).unwrap(),
        1e-5,
    );
    assert!(grads.get(q).is_none());
}

#[test]
fn candidates_that_fit_no_values_are_refused() {
    let candidates = rows(1, 6, 2);
    for (values, k) in [(6, 4), (6, 0), (5, 3)] {
        let q = rows(2, values, 1).squeeze(1).unwrap();
        let error =
            weighted_regression(&candidates, &q, k, Weighting::scale_free(1.0)).unwrap_err();
        assert!(error.to_string().contains("to a state"), "{error}");
    }
}

/// An ensemble's conservative value over the nets' own outputs.
#[test]
fn conservative_values_are_those_of_the_nets_outputs() {
    let shape = || MlpShape::relu(5, [12, 9], 1).unwrap().with_layer_norm(true);
    let nets: Vec<Mlp> = (0..3).map(|seed| network(shape(), seed)).collect();
    let x = rows(7, 11, 5);
    let values: Vec<Tensor> = nets
        .iter()
        .map(|n| n.forward_detached(&x).unwrap())
        .collect();
    let all = Tensor::cat(&values, 1).unwrap();
    let least = conservative_value(&nets, Conservatism::Min, &x).unwrap();
    assert_eq!(flat(&least), flat(&all.min(1).unwrap()));
    let cautious = conservative_value(&nets, Conservatism::MeanMinusStd(2.0), &x).unwrap();
    let mean = all.mean_keepdim(1).unwrap();
    let variance = all
        .broadcast_sub(&mean)
        .unwrap()
        .sqr()
        .unwrap()
        .mean(1)
        .unwrap();
    let want = (mean.squeeze(1).unwrap() - (variance.sqrt().unwrap() * 2.0).unwrap()).unwrap();
    close(&cautious, &want, 1e-5);
    assert!(conservative_value(&[] as &[Mlp], Conservatism::Min, &x).is_err());
}
