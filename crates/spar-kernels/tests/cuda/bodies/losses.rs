//! The losses and their gradients.

use spar_kernels::cuda::{Bootstrap, Device, Kernels, Loss, Posterior};

use super::{close, draw, fresh, wide};

pub fn losses<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let mut all = Vec::new();
    for rows in [1, 33, 300] {
        all.extend(critics(kernels, rows));
        all.extend(fit(kernels, rows));
    }
    all
}

/// `d f / d at` by central differences.
fn differences(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let h = 1e-5;
    let mut v = at.to_vec();
    (0..at.len())
        .map(|i| {
            v[i] = at[i] + h;
            let up = f(&v);
            v[i] = at[i] - h;
            let down = f(&v);
            v[i] = at[i];
            (up - down) / (2.0 * h)
        })
        .collect()
}

fn mean(values: impl Iterator<Item = f64>, n: usize) -> f64 {
    values.sum::<f64>() / n as f64
}

fn critics<D: Device>(kernels: &Kernels<D>, rows: usize) -> Vec<f32> {
    let device = kernels.device();
    let mut stream = fresh(rows as u64, "critics");
    let (nets, next_nets) = (3, 2);
    let next = draw(&mut stream, 2.0, next_nets * rows);
    let q = draw(&mut stream, 2.0, nets * rows);
    let v = draw(&mut stream, 2.0, rows);
    let rewards = draw(&mut stream, 1.0, rows);
    let not_terminal: Vec<f32> = (0..rows).map(|i| f32::from(i % 5 != 3)).collect();
    let (discount, expectile) = (0.9_f32, 0.7_f32);
    let uploaded = [&next, &q, &v, &rewards, &not_terminal].map(|x| device.upload(x).unwrap());
    let [next_gpu, q_gpu, v_gpu, rewards_gpu, not_terminal_gpu] = &uploaded;
    let [mut target, mut td, mut grad_v, mut expectiles] =
        [(); 4].map(|()| device.alloc(rows).unwrap());
    let mut grad = device.alloc(nets * rows).unwrap();
    let from = Bootstrap {
        next: next_gpu,
        nets: next_nets,
        rewards: rewards_gpu,
        not_terminal: not_terminal_gpu,
        discount,
    };
    let into = Loss {
        grad: &mut grad,
        loss: &mut td,
    };
    kernels
        .temporal_difference(&from, q_gpu, nets, &mut target, into)
        .unwrap();
    let into = Loss {
        grad: &mut grad_v,
        loss: &mut expectiles,
    };
    kernels
        .expectile_regression(next_gpu, next_nets, v_gpu, expectile, into)
        .unwrap();

    let least = |row: usize| f64::from(next[row].min(next[rows + row]));
    let y: Vec<f64> = (0..rows)
        .map(|i| {
            let future = f64::from(discount) * f64::from(not_terminal[i]) * least(i);
            f64::from(rewards[i]) + future
        })
        .collect();
    let error = |q: &[f64], i: usize| (q[i] - y[i % rows]).powi(2);
    // The sum over nets of each net's mean over rows.
    let total = |q: &[f64]| mean((0..q.len()).map(|i| error(q, i)), rows);
    let wide_q = wide(&q);
    let of_row = |row| mean((0..nets).map(|n| error(&wide_q, n * rows + row)), nets);
    let want_td: Vec<f64> = (0..rows).map(of_row).collect();
    let expectile = f64::from(expectile);
    let of_v = |v: &[f64], i: usize| {
        let u = least(i) - v[i];
        (expectile - f64::from(u < 0.0)).abs() * u * u
    };
    let wide_v = wide(&v);
    let want_expectiles: Vec<f64> = (0..rows).map(|i| of_v(&wide_v, i)).collect();
    let want_grad_v = differences(&wide_v, |v| mean((0..rows).map(|i| of_v(v, i)), rows));

    let got = [target, td, grad, grad_v, expectiles].map(|b| device.read(&b).unwrap());
    close("target", &got[0], &y, 1e-6);
    close("temporal difference", &got[1], &want_td, 1e-6);
    close("its gradient", &got[2], &differences(&wide_q, total), 1e-6);
    close("gradient of the expectile", &got[3], &want_grad_v, 1e-6);
    close("expectile", &got[4], &want_expectiles, 1e-6);
    got.concat()
}

/// The fit of the support model around a decoder that is linear in its latent:
/// gradients through latent, reconstruction and KL against differences.
fn fit<D: Device>(kernels: &Kernels<D>, rows: usize) -> Vec<f32> {
    let device = kernels.device();
    let mut stream = fresh(rows as u64, "fit");
    let (act_dim, latent, offset, weight) = (3, 4, 5, 0.6_f32);
    let stride = offset + latent;
    let actions = draw(&mut stream, 1.0, rows * act_dim);
    let anchor = draw(&mut stream, 1.0, rows * act_dim);
    let residual = draw(&mut stream, 1.0, rows * act_dim);
    let mut head = draw(&mut stream, 1.0, rows * 2 * latent);
    // One log standard deviation below the lower bound.
    head[latent] = -5.0;
    let noise = draw(&mut stream, 1.0, rows * latent);
    let grad_x = draw(&mut stream, 1.0, rows * stride);
    let uploaded =
        [&actions, &anchor, &residual, &head, &noise, &grad_x].map(|x| device.upload(x).unwrap());
    let [
        actions_gpu,
        anchor_gpu,
        residual_gpu,
        head_gpu,
        noise_gpu,
        grad_x_gpu,
    ] = &uploaded;
    let posterior = Posterior {
        head: head_gpu,
        noise: noise_gpu,
        latent,
    };
    let [mut r, mut grad] = [(); 2].map(|()| device.alloc(rows * act_dim).unwrap());
    let [mut loss, mut kl] = [(); 2].map(|()| device.alloc(rows).unwrap());
    let mut z = device.alloc(rows * latent).unwrap();
    let mut grad_head = device.alloc(rows * 2 * latent).unwrap();
    kernels.difference(actions_gpu, anchor_gpu, &mut r).unwrap();
    kernels.draw_latents(&posterior, &mut z).unwrap();
    let into = Loss {
        grad: &mut grad,
        loss: &mut loss,
    };
    kernels
        .reconstruction(residual_gpu, &r, weight, into)
        .unwrap();
    let into = Loss {
        grad: &mut grad_head,
        loss: &mut kl,
    };
    kernels
        .latent_gradient(grad_x_gpu, offset, &posterior, weight, into)
        .unwrap();

    let pairs = actions.iter().zip(&anchor);
    let want_r: Vec<f64> = pairs.map(|(a, b)| f64::from(a - b)).collect();
    let error = |residual: &[f64], i: usize| (residual[i] - want_r[i]).powi(2);
    let wide_residual = wide(&residual);
    let of_row = |row: usize| {
        let columns = row * act_dim..(row + 1) * act_dim;
        columns.map(|i| error(&wide_residual, i)).sum::<f64>()
    };
    let want_loss: Vec<f64> = (0..rows).map(of_row).collect();
    let weight = f64::from(weight);
    let want_grad = differences(&wide_residual, |residual| {
        weight * mean((0..residual.len()).map(|i| error(residual, i)), rows)
    });
    // Mean, log standard deviation and latent of column `i` of row `row`.
    let column = |head: &[f64], row: usize, i: usize| {
        let at = row * 2 * latent + i;
        let log_std = head[at + latent].clamp(-4.0, 15.0);
        let z = head[at] + log_std.exp() * f64::from(noise[row * latent + i]);
        (head[at], log_std, z)
    };
    let kl_of = |head: &[f64], row: usize| {
        let columns = (0..latent).map(|i| column(head, row, i));
        let term = |(mean, log_std, _): (f64, f64, f64)| {
            0.5 * (mean * mean + (2.0 * log_std).exp() - 1.0) - log_std
        };
        columns.map(term).sum::<f64>()
    };
    let wide_head = wide(&head);
    let want_kl: Vec<f64> = (0..rows).map(|row| kl_of(&wide_head, row)).collect();
    let all_columns = || (0..rows).flat_map(|row| (0..latent).map(move |i| (row, i)));
    let want_z: Vec<f64> = all_columns()
        .map(|(row, i)| column(&wide_head, row, i).2)
        .collect();
    // A loss whose gradient with respect to the latents is `grad_x`.
    let of_head = |head: &[f64]| {
        let along = all_columns()
            .map(|(row, i)| f64::from(grad_x[row * stride + offset + i]) * column(head, row, i).2);
        along.sum::<f64>() + weight * mean((0..rows).map(|row| kl_of(head, row)), rows)
    };
    let want_head = differences(&wide_head, of_head);
    assert_eq!(want_head[latent], 0.0, "no gradient beyond the bound");

    let got = [r, loss, grad, z, kl, grad_head].map(|b| device.read(&b).unwrap());
    for ((what, got), want) in [
        "residual",
        "reconstruction",
        "its gradient",
        "latents",
        "divergence",
        "gradient of the encoder's output",
    ]
    .into_iter()
    .zip(&got)
    .zip([
        want_r.clone(),
        want_loss,
        want_grad,
        want_z,
        want_kl,
        want_head,
    ]) {
        close(what, got, &want, 1e-5);
    }
    got.concat()
}
