//! One whole update of SPAR, expectile critic and policy, out of the kernels
//! alone: that the operations fit together, and how many launches they are.

use spar_core::Stream;
use spar_kernels::{
    MlpShape,
    cuda::{
        Actions, AdamStep, Bootstrap, DataActions, Device, Gradient, GradientWork, Head, Kernels,
        Loss, Network, Part, Posterior, Ranking, Rows, Saved, pack,
    },
    optim::{AdamConfig, adam_factors},
    value::{Conservatism, Penalty},
};

use super::{draw, fresh, shape};

const ROWS: usize = 128;
const K: usize = 4;
const OBS: usize = 7;
const ACT: usize = 3;
const LATENT: usize = 2 * ACT;
const CRITICS: usize = 2;

/// Networks that learn together, with all a step needs.
struct Learner<B> {
    shape: MlpShape,
    head: Head,
    nets: usize,
    params: B,
    average: B,
    moments: [B; 2],
}

impl<B: std::fmt::Debug> Learner<B> {
    fn new<D: Device<Buffer = B>>(
        device: &D,
        stream: &mut Stream,
        shape: MlpShape,
        head: Head,
        nets: usize,
    ) -> Self {
        let start = draw(stream, 0.2, nets * shape.parameters());
        let start = pack(&shape, &start);
        let zeros = vec![0.0; start.len()];
        Self {
            params: device.upload(&start).unwrap(),
            average: device.upload(&start).unwrap(),
            moments: [(); 2].map(|()| device.upload(&zeros).unwrap()),
            shape,
            head,
            nets,
        }
    }

    fn network<'a>(&'a self, params: &'a B) -> Network<'a, B> {
        Network {
            shape: &self.shape,
            head: self.head,
            nets: self.nets,
            params,
        }
    }

    fn buffers<D: Device<Buffer = B>>(
        &self,
        kernels: &Kernels<D>,
        rows: usize,
    ) -> (B, Saved<B>, GradientWork<B>, Gradient<B>) {
        let out = self.nets * rows * self.shape.output();
        (
            kernels.device().alloc(out).unwrap(),
            kernels.saved(&self.shape, self.nets, rows).unwrap(),
            kernels.gradient_work(&self.shape, self.nets, rows).unwrap(),
            kernels.gradient(&self.shape, self.nets, rows).unwrap(),
        )
    }

    fn step<D: Device<Buffer = B>>(
        &mut self,
        kernels: &Kernels<D>,
        gradients: &[&Gradient<B>],
        averaged: bool,
    ) {
        let config = AdamConfig::new(1e-3);
        let device = kernels.device();
        let step = AdamStep {
            config,
            factors: &device.upload(&adam_factors(&config, 1)).unwrap(),
        };
        let [m, v] = &mut self.moments;
        let average = averaged.then_some((0.005, &mut self.average));
        kernels
            .adam(&step, &mut self.params, gradients, m, v, average)
            .unwrap();
    }
}

fn part<B>(values: &B, width: usize, repeat: usize) -> Part<'_, B> {
    Part {
        values,
        width,
        repeat,
    }
}

fn rows<'a, B>(rows: usize, parts: &'a [Part<'a, B>]) -> Rows<'a, B> {
    Rows { rows, parts }
}

pub fn update<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let mut stream = fresh(1, "update");
    let (linear, tanh) = (Head::Linear, |scale| Head::Tanh { scale });
    let mut learner = |input, output, layer_norm, head, nets| {
        let shape = shape(input, &[24, 20], output, layer_norm);
        Learner::new(device, &mut stream, shape, head, nets)
    };
    let anchor = learner(OBS, ACT, false, tanh(1.0), 1);
    let mut q = learner(OBS + ACT, 1, true, linear, CRITICS);
    let mut v = learner(OBS, 1, true, linear, 1);
    let mut encoder = learner(OBS + 2 * ACT, 2 * LATENT, false, linear, 1);
    let mut decoder = learner(OBS + ACT + LATENT, ACT, false, tanh(0.8), 1);
    let mut draws = |n| device.upload(&draw(&mut stream, 1.0, n)).unwrap();
    let (obs, next_obs, actions) = (draws(ROWS * OBS), draws(ROWS * OBS), draws(ROWS * ACT));
    let (rewards, noise, latents) = (draws(ROWS), draws(ROWS * LATENT), draws(ROWS * K * LATENT));
    let not_terminal = device.upload(&[1.0; ROWS]).unwrap();
    let alloc = |n| device.alloc(n).unwrap();
    let (mut loss, mut target) = (alloc(ROWS), alloc(ROWS));

    // The critic: V on the targets' least, Q_i on V of the next state.
    let taken = [part(&obs, OBS, 1), part(&actions, ACT, 1)];
    let taken = rows(ROWS, &taken);
    let (mut values, mut q_saved, mut q_work, mut q_grad) = q.buffers(kernels, ROWS);
    kernels
        .forward(&q.network(&q.average), &taken, None, &mut values, None)
        .unwrap();
    let now = [part(&obs, OBS, 1)];
    let now = rows(ROWS, &now);
    let (mut v_now, mut v_saved, mut v_work, mut v_grad) = v.buffers(kernels, ROWS);
    let net = v.network(&v.params);
    kernels
        .forward(&net, &now, Some(&mut v_saved), &mut v_now, None)
        .unwrap();
    let mut grad_v = alloc(ROWS);
    let into = Loss {
        grad: &mut grad_v,
        loss: &mut loss,
    };
    kernels
        .expectile_regression(&values, CRITICS, &v_now, 0.7, into)
        .unwrap();
    let (grad, work) = (Some(&mut v_grad), &mut v_work);
    let net = Network {
        shape: &v.shape,
        head: linear,
        nets: 1,
        params: &v.params,
    };
    kernels
        .backward(&net, &now, &v_saved, &v_now, &grad_v, work, grad, None)
        .unwrap();
    v.step(kernels, &[&v_grad], false);
    let next = [part(&next_obs, OBS, 1)];
    let mut v_next = alloc(ROWS);
    kernels
        .forward(
            &v.network(&v.params),
            &rows(ROWS, &next),
            None,
            &mut v_next,
            None,
        )
        .unwrap();
    let net = q.network(&q.params);
    kernels
        .forward(&net, &taken, Some(&mut q_saved), &mut values, None)
        .unwrap();
    let from = Bootstrap {
        next: &v_next,
        nets: 1,
        rewards: &rewards,
        not_terminal: &not_terminal,
        discount: 0.99,
    };
    let mut grad_q = alloc(CRITICS * ROWS);
    let into = Loss {
        grad: &mut grad_q,
        loss: &mut loss,
    };
    kernels
        .temporal_difference(&from, &values, CRITICS, &mut target, into)
        .unwrap();
    let (grad, work) = (Some(&mut q_grad), &mut q_work);
    let net = Network {
        shape: &q.shape,
        head: linear,
        nets: CRITICS,
        params: &q.params,
    };
    kernels
        .backward(&net, &taken, &q_saved, &values, &grad_q, work, grad, None)
        .unwrap();
    q.step(kernels, &[&q_grad], true);

    // Fitting the manifold.
    let (mut b, mut r, mut z) = (alloc(ROWS * ACT), alloc(ROWS * ACT), alloc(ROWS * LATENT));
    kernels
        .forward(&anchor.network(&anchor.params), &now, None, &mut b, None)
        .unwrap();
    kernels.difference(&actions, &b, &mut r).unwrap();
    let seen = [part(&obs, OBS, 1), part(&b, ACT, 1), part(&r, ACT, 1)];
    let seen = rows(ROWS, &seen);
    let (mut head, mut e_saved, mut e_work, mut e_grad) = encoder.buffers(kernels, ROWS);
    let net = encoder.network(&encoder.params);
    kernels
        .forward(&net, &seen, Some(&mut e_saved), &mut head, None)
        .unwrap();
    let posterior = Posterior {
        head: &head,
        noise: &noise,
        latent: LATENT,
    };
    kernels.draw_latents(&posterior, &mut z).unwrap();
    let decoded = [part(&obs, OBS, 1), part(&b, ACT, 1), part(&z, LATENT, 1)];
    let decoded = rows(ROWS, &decoded);
    let (mut residual, mut d_saved, mut d_work, mut d_grad) = decoder.buffers(kernels, ROWS);
    let net = Network {
        shape: &decoder.shape,
        head: decoder.head,
        nets: 1,
        params: &decoder.params,
    };
    kernels
        .forward(&net, &decoded, Some(&mut d_saved), &mut residual, None)
        .unwrap();
    let (mut grad_residual, mut grad_x) = (alloc(ROWS * ACT), alloc(ROWS * decoder.shape.input()));
    let into = Loss {
        grad: &mut grad_residual,
        loss: &mut loss,
    };
    kernels.reconstruction(&residual, &r, 1.0, into).unwrap();
    let (grad, below) = (Some(&mut d_grad), Some(&mut grad_x));
    let (out, work) = (&residual, &mut d_work);
    kernels
        .backward(
            &net,
            &decoded,
            &d_saved,
            out,
            &grad_residual,
            work,
            grad,
            below,
        )
        .unwrap();
    let mut grad_head = alloc(ROWS * 2 * LATENT);
    let into = Loss {
        grad: &mut grad_head,
        loss: &mut loss,
    };
    kernels
        .latent_gradient(&grad_x, OBS + ACT, &posterior, 0.5, into)
        .unwrap();
    let net_e = Network {
        shape: &encoder.shape,
        head: linear,
        nets: 1,
        params: &encoder.params,
    };
    let (grad, work) = (Some(&mut e_grad), &mut e_work);
    kernels
        .backward(&net_e, &seen, &e_saved, &head, &grad_head, work, grad, None)
        .unwrap();

    // Latent self-imitation.
    let drawn = [
        part(&obs, OBS, K),
        part(&b, ACT, K),
        part(&latents, LATENT, 1),
    ];
    let drawn = rows(ROWS * K, &drawn);
    let (mut candidates, mut c_saved, mut c_work, mut c_grad) = decoder.buffers(kernels, ROWS * K);
    let mut candidate_actions = alloc(ROWS * K * ACT);
    let into = Actions {
        base: &b,
        repeat: K,
        actions: &mut candidate_actions,
    };
    kernels
        .forward(
            &net,
            &drawn,
            Some(&mut c_saved),
            &mut candidates,
            Some(into),
        )
        .unwrap();
    let judged = [part(&obs, OBS, K), part(&candidate_actions, ACT, 1)];
    let mut judgement = alloc(CRITICS * ROWS * K);
    kernels
        .forward(
            &q.network(&q.params),
            &rows(ROWS * K, &judged),
            None,
            &mut judgement,
            None,
        )
        .unwrap();
    let mut imitation = kernels.imitation_buffers(ROWS, K, ACT).unwrap();
    kernels
        .imitation(
            &candidates,
            &Ranking {
                values: &judgement,
                nets: CRITICS,
                by: Conservatism::Min,
                temperature: 1.0,
                scale: 0.3,
                penalty: Penalty {
                    weight: 0.5,
                    ratio: 0.7,
                },
                data: DataActions {
                    values: &values,
                    nets: CRITICS,
                    baseline: Some(&v_now),
                },
            },
            1.0,
            &mut imitation,
        )
        .unwrap();
    let (grad, work) = (Some(&mut c_grad), &mut c_work);
    let (out, grad_out) = (&candidates, &imitation.grad);
    kernels
        .backward(&net, &drawn, &c_saved, out, grad_out, work, grad, None)
        .unwrap();
    encoder.step(kernels, &[&e_grad], false);
    decoder.step(kernels, &[&d_grad, &c_grad], true);

    let learned = [q, v, encoder, decoder];
    let params: Vec<f32> = learned
        .iter()
        .flat_map(|learner| device.read(&learner.params).unwrap())
        .collect();
    let moved = [q_grad, v_grad, e_grad, d_grad, c_grad]
        .iter()
        .all(|gradient| {
            let sum = kernels.read_gradient(gradient).unwrap();
            sum.iter().any(|g| *g != 0.0)
        });
    assert!(moved && params.iter().all(|p| p.is_finite()));
    params
}
