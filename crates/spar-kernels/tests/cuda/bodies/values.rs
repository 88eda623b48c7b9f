//! Values, regression, optimizer, and what is refused.

use spar_kernels::{
    cuda::{
        AdamStep, CudaError, DataActions, Device, Gradient, Head, Kernels, Network, Part, Ranking,
        Rows, packed_len,
    },
    optim::{AdamConfig, adam_factors},
    reference,
    value::{
        Conservatism::{self, MeanMinusStd},
        ImitationStats, Penalty,
    },
};

use super::{close, draw, fresh, shape, wide};

pub fn conservative<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let mut all = Vec::new();
    for (nets, rows) in [(1, 1), (2, 300), (5, 257)] {
        let values = draw(&mut fresh(rows as u64, "values"), 3.0, nets * rows);
        let uploaded = device.upload(&values).unwrap();
        for by in [Conservatism::Min, MeanMinusStd(0.0), MeanMinusStd(1.5)] {
            let mut out = device.alloc(rows).unwrap();
            kernels.conservative(&uploaded, nets, by, &mut out).unwrap();
            let of_row = |row| {
                let values: Vec<f64> = (0..nets)
                    .map(|n| f64::from(values[n * rows + row]))
                    .collect();
                reference::conservative(&values, by)
            };
            let want: Vec<f64> = (0..rows).map(of_row).collect();
            let got = device.read(&out).unwrap();
            close(&format!("{nets} nets, {by:?}"), &got, &want, 1e-6);
            all.extend(got);
        }
    }
    let values = device.upload(&[1.0, f32::NAN, f32::NAN, 2.0]).unwrap();
    let mut out = device.alloc(2).unwrap();
    kernels
        .conservative(&values, 2, Conservatism::Min, &mut out)
        .unwrap();
    let got = device.read(&out).unwrap();
    assert!(
        got.iter().all(|v| v.is_nan()),
        "a NaN is no minimum: {got:?}"
    );
    all
}

pub fn imitation<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let mut all = Vec::new();
    // K beyond a warp, states beyond a block's warps and its threads; floors below
    // and above the candidates' own deviation, with and without a baseline.
    for (states, k, act_dim, nets, spread, share) in [
        (1, 1, 1, 1, 1.0, 1.0),
        (9, 8, 3, 2, 50.0, 0.3),
        (261, 16, 6, 2, 1.0, 2.0),
        (13, 37, 2, 4, 1.0, 0.0),
        (4, 8, 3, 2, 0.0, 0.5),
    ] {
        let mut stream = fresh(states as u64, "imitation");
        let candidates = draw(&mut stream, 0.4, states * k * act_dim);
        let values = draw(&mut stream, spread, nets * states * k);
        let by = if nets > 2 {
            MeanMinusStd(0.5)
        } else {
            Conservatism::Min
        };
        let data = draw(&mut stream, 3.0, 2 * states);
        let (weight, ratio) = match states {
            9 => (0.0f32, 0.0f32),
            13 => (0.4, 0.8),
            261 => (0.0, 1.2),
            _ => (1.7, 0.0),
        };
        let level = reference::disagreement(&wide(&data), 2);
        let (mut q, mut excess) = (Vec::new(), Vec::new());
        for row in 0..states * k {
            let column: Vec<_> = values.iter().skip(row).step_by(states * k).collect();
            let column: Vec<_> = column.iter().map(|&&v| f64::from(v)).collect();
            excess.push((reference::deviation(&column) - level).max(0.0));
            q.push(reference::conservative(&column, by));
        }
        let given = (f64::from(weight), f64::from(ratio));
        let penalty_weight = reference::penalty_weight(&q, &excess, k, given);
        for (q, e) in q.iter_mut().zip(&excess) {
            *q -= penalty_weight * e;
        }
        let penalty = Penalty { weight, ratio };
        let (temperature, weight) = (0.7, 2.5);
        let baseline = (states > 9).then(|| draw(&mut stream, 3.0, states));
        let of_data: Vec<f64> = (0..states)
            .map(|state| {
                let least = f64::from(data[state].min(data[states + state]));
                let mean = q[state * k..][..k].iter().sum::<f64>() / k as f64;
                least - baseline.as_ref().map_or(mean, |v| f64::from(v[state]))
            })
            .collect();
        let of_data = reference::deviation(&of_data);
        let floor = share * of_data;
        let want = reference::imitation(&wide(&candidates), &q, k, (temperature, floor));
        let baseline = baseline.map(|v| device.upload(&v).unwrap());
        let mut got = kernels.imitation_buffers(states, k, act_dim).unwrap();
        kernels
            .imitation(
                &device.upload(&candidates).unwrap(),
                &Ranking {
                    values: &device.upload(&values).unwrap(),
                    nets,
                    by,
                    temperature: temperature as f32,
                    scale: share as f32,
                    penalty,
                    data: DataActions {
                        values: &device.upload(&data).unwrap(),
                        nets: 2,
                        baseline: baseline.as_ref(),
                    },
                },
                weight as f32,
                &mut got,
            )
            .unwrap();
        let measured = kernels.imitation_stats(&mut got).unwrap();
        let ImitationStats {
            loss,
            spread,
            weight_max,
            effective,
            deviation,
        } = measured.imitation;
        let mut stats = vec![loss, spread, weight_max, effective, deviation];
        stats.extend([measured.data_deviation, measured.penalty_weight]);
        let [weights, target, grad] =
            [&got.weights, &got.target, &got.grad].map(|b| device.read(b).unwrap());
        close("weights", &weights, &want.weights, 1e-5);
        close("target", &target, &want.target, 1e-5);
        let scaled: Vec<f64> = want.grad.iter().map(|g| g * weight).collect();
        close("gradient", &grad, &scaled, 1e-6);

        let largest = |weights: &[f64]| weights.iter().copied().fold(0.0, f64::max);
        let want_max = want.weights.chunks(k).map(largest).sum::<f64>() / states as f64;
        // The spread is the loss of even weights: of values all the same.
        let none = vec![0.0; q.len()];
        let even = reference::imitation(&wide(&candidates), &none, k, (1.0, 0.0));
        let effective = |weights: &[f64]| 1.0 / weights.iter().map(|w| w * w).sum::<f64>();
        let effective = want.weights.chunks(k).map(effective).sum::<f64>() / states as f64;
        let deviation = reference::advantage_deviation(&q, k);
        let wanted = [
            want.loss,
            even.loss,
            want_max,
            effective,
            deviation,
            of_data,
            penalty_weight,
        ];
        close("log", &stats, &wanted, 1e-5);
        all.extend([weights, target, grad, stats].concat());
    }
    all
}

pub fn adam<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let (n, tau) = (1000, 0.05);
    let mut stream = fresh(1, "adam");
    let start = draw(&mut stream, 1.0, n);
    let mut all = Vec::new();
    for (weight_decay, averaged) in [(0.0, true), (0.1, false)] {
        let (mut p, mut t) = (wide(&start), vec![0.5; n]);
        let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
        let [mut params, mut m_gpu, mut v_gpu] =
            [&start, &vec![0.0; n], &vec![0.0; n]].map(|x| device.upload(x).unwrap());
        let mut target = device.upload(&vec![0.5; n]).unwrap();
        let config = AdamConfig::new(1e-2).with_weight_decay(weight_decay);
        let lr = f64::from(config.lr);
        for step in 1..=5 {
            // Of two gradients in three parts and in two; then of one.
            let mut parts = [3, 2].map(|parts| draw(&mut stream, 0.5, parts * n));
            if step % 2 == 0 {
                parts[1].clear();
            }
            let all_parts = parts.iter().flat_map(|gradient| gradient.chunks(n));
            let grad = all_parts.fold(vec![0.0; n], |sum: Vec<f64>, part| {
                sum.iter()
                    .zip(part)
                    .map(|(s, p)| s + f64::from(*p))
                    .collect()
            });
            let average = averaged.then_some((tau as f32, &mut target));
            let factors = device.upload(&adam_factors(&config, step)).unwrap();
            let what = AdamStep {
                config,
                factors: &factors,
            };
            let gradients = parts
                .iter()
                .filter(|parts| !parts.is_empty())
                .map(|parts| Gradient::of(device.upload(parts).unwrap(), parts.len() / n));
            let gradients: Vec<_> = gradients.collect();
            let gradients: Vec<_> = gradients.iter().collect();
            let (m_new, v_new) = (&mut m_gpu, &mut v_gpu);
            kernels
                .adam(&what, &mut params, &gradients, m_new, v_new, average)
                .unwrap();
            if !averaged {
                kernels.polyak(tau as f32, &mut target, &params).unwrap();
            }
            for i in 0..n {
                let g = grad[i];
                p[i] *= 1.0 - lr * f64::from(weight_decay);
                m[i] = config.beta1 * m[i] + (1.0 - config.beta1) * g;
                v[i] = config.beta2 * v[i] + (1.0 - config.beta2) * g * g;
                let m_hat = m[i] / (1.0 - config.beta1.powi(step as i32));
                let v_hat: f64 = v[i] / (1.0 - config.beta2.powi(step as i32));
                p[i] -= lr * m_hat / (v_hat.sqrt() + f64::from(config.eps));
                t[i] += tau * (p[i] - t[i]);
            }
        }
        let got = [params, m_gpu, v_gpu, target].map(|b| device.read(&b).unwrap());
        for (what, got, want) in [
            ("parameters", &got[0], &p),
            ("first moment", &got[1], &m),
            ("second moment", &got[2], &v),
            ("average", &got[3], &t),
        ] {
            close(what, got, want, 1e-6);
        }
        all.extend(got.concat());
    }
    all
}

/// What does not fit is refused before any kernel sees it.
pub fn refusals<D: Device>(kernels: &Kernels<D>) -> Vec<f32> {
    let device = kernels.device();
    let [six, mut four] = [6, 4].map(|n| device.upload(&vec![0.0; n]).unwrap());
    let length = CudaError::Length {
        what: "source of an average",
        expected: 4,
        got: 6,
    };
    assert_eq!(kernels.polyak(0.1, &mut four, &six), Err(length));
    let refused = |result: Result<(), CudaError>, part: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(
        kernels.conservative(&six, 3, MeanMinusStd(-1.0), &mut four),
        "valued by",
    );
    refused(
        kernels.conservative(&six, 2, Conservatism::Min, &mut four),
        "values of an ensemble: 6 values where 8 are expected",
    );
    let mut into = kernels.imitation_buffers(1, 3, 2).unwrap();
    into.grad = device.upload(&[0.0; 4]).unwrap();
    let three = device.upload(&[0.0; 3]).unwrap();
    let one = device.upload(&[0.0]).unwrap();
    fn ranking<'a, B>(values: &'a B, data: &'a B) -> Ranking<'a, B> {
        Ranking {
            values,
            nets: 1,
            by: Conservatism::Min,
            temperature: 0.3,
            scale: 0.3,
            penalty: Penalty::of_weight(0.5),
            data: DataActions {
                values: data,
                nets: 1,
                baseline: None,
            },
        }
    }
    refused(
        kernels.imitation(&six, &ranking(&three, &one), 1.0, &mut into),
        "gradient: 4 values where 6 are expected",
    );
    refused(
        kernels.imitation(&six, &ranking(&three, &three), 1.0, &mut into),
        "values of the data's actions: 3 values where 1 are expected",
    );
    let deep = shape(2, &[1; 8], 1, false);
    let flat = shape(2, &[], 1, false);
    let squashed = shape(2, &[], 1, false).with_head(spar_kernels::Head::Tanh);
    for (shape, width, part) in [
        (&deep, 2, "a network of 9 layers"),
        (&squashed, 2, "a linear head for a network that has a tanh"),
        (&flat, 3, "an input of 2 rows and 3 columns"),
    ] {
        let params = device.upload(&vec![0.0; packed_len(shape, 1)]).unwrap();
        let network = Network {
            shape,
            head: Head::Linear,
            nets: 1,
            params: &params,
        };
        let parts = [Part {
            values: &six,
            width,
            repeat: 1,
        }];
        let rows = Rows {
            rows: 2,
            parts: &parts,
        };
        refused(
            kernels.forward(&network, &rows, None, &mut four, None),
            part,
        );
    }
    Vec::new()
}
