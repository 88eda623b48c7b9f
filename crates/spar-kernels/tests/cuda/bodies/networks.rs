//! Networks and policies.

use spar_core::Stream;
use spar_kernels::{
    Activation, MlpShape, Precision, Workspace,
    cuda::{Actions, Device, Head, Kernels, Network, Part, Policy, Rows, pack, unpack},
    mlp::{self, GradParams},
    reference,
};

use super::{close, draw, fresh, shape, wide};

/// Shapes, rows and nets: one row, rows that fill no tile, no hidden layer and
/// three, widths that are no multiple of a warp and wider than a block.
fn cases() -> Vec<(MlpShape, usize, usize)> {
    let mut cases = Vec::new();
    for layer_norm in [false, true] {
        cases.extend([
            (shape(5, &[], 3, layer_norm), 3, 1),
            (shape(3, &[7], 1, layer_norm), 1, 1),
            (shape(14, &[33, 70], 1, layer_norm), 21, 2),
            (shape(17, &[64, 64, 64], 6, layer_norm), 16, 1),
            (shape(29, &[130, 45, 9], 8, layer_norm), 70, 3),
            (shape(119, &[300], 2, layer_norm), 37, 1),
        ]);
        let gelu = |hidden| shape(11, hidden, 2, layer_norm).with_activation(Activation::Gelu);
        cases.extend([
            (gelu(&[7]), 1, 1),
            (gelu(&[33, 70]), 21, 2),
            (gelu(&[130, 45, 9]), 37, 1),
        ]);
    }
    cases
}

/// Values of parts with repetitions, and the rows they stand for.
struct Gathered {
    parts: Vec<(Vec<f32>, usize, usize)>,
    rows: usize,
    x: Vec<f32>,
}

/// An input of `width` columns in as many parts as fit, the first of which
/// stands for `repeat` rows each.
fn gathered(stream: &mut Stream, rows: usize, width: usize, repeat: usize) -> Gathered {
    let repeat = if rows.is_multiple_of(repeat) {
        repeat
    } else {
        1
    };
    let widths = match width {
        ..3 => vec![width],
        3..10 => vec![width - 1, 1],
        _ => vec![width - 5, 2, 3],
    };
    let parts: Vec<_> = widths
        .iter()
        .enumerate()
        .map(|(i, &width)| {
            let repeat = if i == 0 { repeat } else { 1 };
            (draw(stream, 1.0, rows / repeat * width), width, repeat)
        })
        .collect();
    let mut x = Vec::new();
    for row in 0..rows {
        for (values, width, repeat) in &parts {
            x.extend(&values[row / repeat * width..][..*width]);
        }
    }
    Gathered { parts, rows, x }
}

/// Runs `f` on the input uploaded.
fn with_rows<D: Device, T>(
    device: &D,
    input: &Gathered,
    f: impl FnOnce(&Rows<'_, D::Buffer>) -> T,
) -> T {
    let buffers: Vec<_> = input
        .parts
        .iter()
        .map(|(values, ..)| device.upload(values).unwrap())
        .collect();
    let parts: Vec<_> = buffers
        .iter()
        .zip(&input.parts)
        .map(|(values, &(_, width, repeat))| Part {
            values,
            width,
            repeat,
        })
        .collect();
    f(&Rows {
        rows: input.rows,
        parts: &parts,
    })
}

fn reference_outputs(shape: &MlpShape, head: Head, params: &[f32], x: &[f32]) -> Vec<f64> {
    let out = reference::forward(shape, &wide(params), &wide(x));
    match head {
        Head::Linear => out,
        Head::Tanh { scale } => out.iter().map(|v| f64::from(scale) * v.tanh()).collect(),
    }
}

pub fn forward<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let mut all = Vec::new();
    for (i, (shape, rows, nets)) in cases().into_iter().enumerate() {
        let mut stream = fresh(i as u64, "forward");
        let head = [Head::Linear, Head::Tanh { scale: 0.3 }][i % 2];
        let params = draw(&mut stream, 0.3, nets * shape.parameters());
        let input = gathered(&mut stream, rows, shape.input(), 7);
        let want: Vec<f64> = params
            .chunks(shape.parameters())
            .flat_map(|params| reference_outputs(&shape, head, params, &input.x))
            .collect();
        let network = Network {
            shape: &shape,
            head,
            nets,
            params: &device.upload(&pack(&shape, &params)).unwrap(),
        };
        let (plain, keeping) = with_rows(device, &input, |input| {
            let mut out = device.alloc(want.len()).unwrap();
            kernels
                .forward(&network, input, None, &mut out, None)
                .unwrap();
            let plain = device.read(&out).unwrap();
            let mut saved = kernels.saved(&shape, nets, rows).unwrap();
            kernels
                .forward(&network, input, Some(&mut saved), &mut out, None)
                .unwrap();
            (plain, device.read(&out).unwrap())
        });
        close(&format!("{shape:?}"), &plain, &want, 1e-5);
        assert_eq!(plain, keeping, "keeping what backward needs: {shape:?}");
        all.extend(plain);
    }
    all
}

/// Gradients by the CPU's operation, through the head.
fn cpu_gradients(
    shape: &MlpShape,
    head: Head,
    params: &[f32],
    x: &[f32],
    grad_out: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let rows = x.len() / shape.input();
    let mut work = Workspace::default();
    let mut out = vec![0.0; grad_out.len()];
    mlp::forward(Precision::F32, shape, params, x, rows, &mut work, &mut out);
    let through_head = |(g, u): (&f32, &f32)| match head {
        Head::Linear => *g,
        Head::Tanh { scale } => g * scale * (1.0 - u.tanh() * u.tanh()),
    };
    let grad: Vec<f32> = grad_out.iter().zip(&out).map(through_head).collect();
    let (mut gp, mut gx) = (vec![0.0; params.len()], vec![0.0; x.len()]);
    let (into, below) = (Some(GradParams::over(&mut gp)), Some(&mut gx[..]));
    mlp::backward(shape, params, x, rows, &mut work, &grad, into, below);
    (wide(&gp), wide(&gx))
}

pub fn backward<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let mut all = Vec::new();
    for (i, (shape, rows, nets)) in cases().into_iter().enumerate() {
        let head = [Head::Tanh { scale: 0.3 }, Head::Linear][i % 2];
        all.extend(check_backward(kernels, &shape, rows, nets, head, i as u64));
    }
    // Rows enough to be split over blocks.
    for layer_norm in [false, true] {
        for activation in [Activation::Relu, Activation::Gelu] {
            let shape = shape(6, &[20, 12], 2, layer_norm).with_activation(activation);
            all.extend(check_backward(kernels, &shape, 300, 2, Head::Linear, 1));
        }
    }
    all
}

fn check_backward<D: Device>(
    kernels: &Kernels<D>,
    shape: &MlpShape,
    rows: usize,
    nets: usize,
    head: Head,
    seed: u64,
) -> Vec<f32> {
    let device = kernels.device();
    let mut stream = fresh(seed, "backward");
    let params = draw(&mut stream, 0.3, nets * shape.parameters());
    let grad_out = draw(&mut stream, 1.0, nets * rows * shape.output());
    let input = gathered(&mut stream, rows, shape.input(), 7);
    let (mut want, mut want_x) = (Vec::new(), Vec::new());
    let members = params.chunks(shape.parameters());
    for (params, grad_out) in members.zip(grad_out.chunks(rows * shape.output())) {
        let (gp, gx) = cpu_gradients(shape, head, params, &input.x, grad_out);
        want.extend(gp);
        want_x.extend(gx);
    }
    let network = Network {
        shape,
        head,
        nets,
        params: &device.upload(&pack(shape, &params)).unwrap(),
    };
    let (gp, gx) = with_rows(device, &input, |input| {
        let mut saved = kernels.saved(shape, nets, rows).unwrap();
        let mut work = kernels.gradient_work(shape, nets, rows).unwrap();
        let mut out = device.alloc(grad_out.len()).unwrap();
        kernels
            .forward(&network, input, Some(&mut saved), &mut out, None)
            .unwrap();
        let grad_out = device.upload(&grad_out).unwrap();
        let [mut both, mut alone] = [(); 2].map(|()| kernels.gradient(shape, nets, rows).unwrap());
        let [mut both_x, mut alone_x] = [(); 2].map(|()| device.alloc(want_x.len()).unwrap());
        let mut run = |gp, gx| {
            kernels
                .backward(&network, input, &saved, &out, &grad_out, &mut work, gp, gx)
                .unwrap();
        };
        run(None, Some(&mut alone_x));
        run(Some(&mut both), Some(&mut both_x));
        run(Some(&mut alone), None);
        let [both, alone] = [both, alone].map(|gradient| {
            let packed = kernels.read_gradient(&gradient).unwrap();
            unpack(shape, &packed)
                .flatten()
                .copied()
                .collect::<Vec<_>>()
        });
        let [both_x, alone_x] = [both_x, alone_x].map(|b| device.read(&b).unwrap());
        assert_eq!(both, alone, "the parameters' gradient alone: {shape:?}");
        assert_eq!(both_x, alone_x, "the input's gradient alone: {shape:?}");
        (both, both_x)
    });
    close(&format!("parameters of {shape:?}"), &gp, &want, 1e-5);
    close(&format!("input of {shape:?}"), &gx, &want_x, 1e-5);
    [gp, gx].concat()
}

/// The widest layers the kernels promise: a tile of four rows of them must fit
/// any device, and the largest index is reached.
pub fn wide_networks<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let shape = shape(130, &[1024, 1024], 1, true);
    check_backward(kernels, &shape, 3, 1, Head::Linear, 2)
}

pub fn actions<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let (states, k, act_dim) = (5, 3, 4);
    let shape = shape(11, &[19], act_dim, false);
    let head = Head::Tanh { scale: 0.9 };
    let mut stream = fresh(1, "actions");
    let params = draw(&mut stream, 0.5, shape.parameters());
    let input = gathered(&mut stream, states * k, shape.input(), k);
    let mut base = draw(&mut stream, 0.7, states * act_dim);
    // Whatever is drawn: no residual brings these back.
    base[..2].copy_from_slice(&[2.0, -2.0]);
    let mut out = device.alloc(states * k * act_dim).unwrap();
    let mut actions = device.alloc(states * k * act_dim).unwrap();
    let network = Network {
        shape: &shape,
        head,
        nets: 1,
        params: &device.upload(&pack(&shape, &params)).unwrap(),
    };
    let into = Actions {
        base: &device.upload(&base).unwrap(),
        repeat: k,
        actions: &mut actions,
    };
    with_rows(device, &input, |input| {
        kernels.forward(&network, input, None, &mut out, Some(into))
    })
    .unwrap();
    let delta = reference_outputs(&shape, head, &params, &input.x);
    let want: Vec<f64> = delta
        .iter()
        .enumerate()
        .map(|(i, d)| {
            let b = base[i / (k * act_dim) * act_dim + i % act_dim];
            (f64::from(b) + d).clamp(-1.0, 1.0)
        })
        .collect();
    assert!(want.contains(&1.0) && want.contains(&-1.0), "some clip");
    let [out, actions] = [out, actions].map(|b| device.read(&b).unwrap());
    close("residuals", &out, &delta, 1e-5);
    close("actions", &actions, &want, 1e-5);
    [out, actions].concat()
}

/// A diverged parameter must show: a ReLU or a clip written with a maximum
/// would hide it.
pub fn not_a_number<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let relu = shape(3, &[20, 20], 2, false);
    let normalized = shape(3, &[20, 20], 2, true);
    let gelu = relu.clone().with_activation(Activation::Gelu);
    for shape in [relu, normalized, gelu] {
        for layer in shape.layers() {
            for at in [layer.weight.start, layer.bias.end - 1] {
                let mut stream = fresh(5, "not-a-number");
                let mut params = draw(&mut stream, 0.4, shape.parameters());
                params[at] = f32::NAN;
                let input = gathered(&mut stream, 4, 3, 1);
                let [mut out, mut clipped] = [(); 2].map(|()| device.alloc(8).unwrap());
                let network = Network {
                    shape: &shape,
                    head: Head::Tanh { scale: 1.0 },
                    nets: 1,
                    params: &device.upload(&pack(&shape, &params)).unwrap(),
                };
                let into = Actions {
                    base: &device.upload(&[0.0; 8]).unwrap(),
                    repeat: 1,
                    actions: &mut clipped,
                };
                with_rows(device, &input, |input| {
                    kernels.forward(&network, input, None, &mut out, Some(into))
                })
                .unwrap();
                for buffer in [out, clipped] {
                    let values = device.read(&buffer).unwrap();
                    assert!(values.iter().any(|v| v.is_nan()), "hidden at {at}");
                }
            }
        }
    }
    Vec::new()
}

pub fn policy<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let mut all = Vec::new();
    let (relu, gelu) = (Activation::Relu, Activation::Gelu);
    for (obs_dim, act_dim, rows, hidden, rho, activation) in [
        (11, 3, 1, &[33, 40][..], 0.8, relu),
        (17, 6, 43, &[256, 256], 0.5, relu),
        (111, 8, 5, &[70], 2.0, relu),
        (11, 3, 20, &[33, 40], 0.8, gelu),
    ] {
        let mut stream = fresh(rows as u64, "policy");
        let shape = |input| shape(input, hidden, act_dim, false).with_activation(activation);
        let (anchor, decoder) = (shape(obs_dim), shape(obs_dim + 3 * act_dim));
        let anchor_params = draw(&mut stream, 0.1, anchor.parameters());
        let decoder_params = draw(&mut stream, 0.1, decoder.parameters());
        let mean = draw(&mut stream, 1.0, obs_dim);
        let std: Vec<f32> = draw(&mut stream, 1.0, obs_dim)
            .iter()
            .map(|v| v.abs() + 0.1)
            .collect();
        let obs = draw(&mut stream, 1.0, rows * obs_dim);

        let mut s = obs.clone();
        for row in s.chunks_mut(obs_dim) {
            for (i, x) in row.iter_mut().enumerate() {
                *x = (*x - mean[i]) / std[i];
            }
        }
        let one = Head::Tanh { scale: 1.0 };
        let b = reference_outputs(&anchor, one, &anchor_params, &s);
        let mut input = Vec::new();
        for (s, b) in s.chunks(obs_dim).zip(b.chunks(act_dim)) {
            input.extend(s);
            input.extend(b.iter().map(|&b| b as f32));
            input.extend(vec![0.0; 2 * act_dim]);
        }
        let head = Head::Tanh { scale: rho };
        let delta = reference_outputs(&decoder, head, &decoder_params, &input);
        let sum = b.iter().zip(&delta).map(|(b, d)| b + d);
        let want: Vec<f64> = sum.map(|a| a.clamp(-1.0, 1.0)).collect();

        let anchor_params = pack(&anchor, &anchor_params);
        let decoder_params = pack(&decoder, &decoder_params);
        let [obs, mean, std, anchor_params, decoder_params] =
            [&obs, &mean, &std, &anchor_params, &decoder_params]
                .map(|values| device.upload(values).unwrap());
        let net = |shape, head, params| Network {
            shape,
            head,
            nets: 1,
            params,
        };
        for (residual, want) in [(true, &want), (false, &b)] {
            let policy = Policy {
                mean: &mean,
                std: &std,
                anchor: net(&anchor, one, &anchor_params),
                decoder: residual.then(|| net(&decoder, head, &decoder_params)),
            };
            let mut actions = device.alloc(rows * act_dim).unwrap();
            kernels.policy(&policy, &obs, &mut actions).unwrap();
            let got = device.read(&actions).unwrap();
            close(&format!("policy, residual {residual}"), &got, want, 1e-5);
            all.extend(got);
        }
    }
    all
}
