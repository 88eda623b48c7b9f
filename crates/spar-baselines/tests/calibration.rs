//! Cal-QL's calibration by hand: the returns that are the floor, and what the floor makes
//! of the conservative term.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use spar_baselines::{Part, Replay, Sample, Start, find};
use spar_data::{Batch, Dataset, Steps, Transitions};
use spar_nn::{Device, Tensor};

/// Trajectories of three rows, ended; of three, cut; of two, not recorded further.
fn replay(settings: &str) -> Replay {
    let rewards = vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    let rows = rewards.len();
    let flag = |at: &[usize]| (0..rows).map(|i| at.contains(&i)).collect::<Vec<_>>();
    let steps = Steps {
        observations: (0..rows).map(|i| i as f32).collect(),
        actions: vec![0.0; rows],
        rewards,
        terminals: flag(&[2]),
        timeouts: flag(&[5]),
    };
    let set = Dataset::in_memory("three", 1, 1, steps).unwrap();
    let data = Transitions::new(Arc::new(set), 1000).unwrap();
    let entry = find("cql").unwrap();
    let settings = entry.settings(toml::from_str(settings).unwrap()).unwrap();
    Replay::new(&data, &entry.feed(&settings).unwrap(), 1000).unwrap()
}

#[test]
fn the_floor_is_the_discounted_return_of_the_trajectory_from_there_on() {
    let batch = |settings: &str| {
        let replay = replay(settings);
        let rows: Vec<usize> = (0..replay.transitions().len()).collect();
        let mut batch = Batch::new(rows.len(), 1, 1);
        replay.gather(&rows, &mut batch);
        batch
    };
    let calibrated = batch("calibrated = true\ndiscount = 0.5");
    // Row 5 is cut and gives no transition; its reward is part of those before it. The last
    // row gives none either.
    let by_hand = [3.0, 4.0, 4.0, 24.0, 32.0, 128.0];
    assert_eq!(calibrated.returns, by_hand);
    let scaled = batch(
        "calibrated = true\ndiscount = 0.5\ndata.rewards.affine = { scale = 2.0, shift = -1.0 }",
    );
    // (1, 3, 7), then (15, 31, 63), then (127, 255).
    assert_eq!(scaled.returns, [4.25, 6.5, 7.0, 46.25, 62.5, 254.5]);
    assert!(batch("").returns.is_empty());
}

/// Critics that value everything alike, an actor that knows one distribution.
fn gap(calibrated: bool, returns: &[f32], value: f32) -> (f64, Vec<[f64; 2]>) {
    let text = format!("calibrated = {calibrated}\nhidden = [2]\nactions = 1");
    let entry = find("cql").unwrap();
    let settings = entry.settings(toml::from_str(&text).unwrap()).unwrap();
    let start = Start {
        obs_dim: 1,
        act_dim: 1,
        seed: 5,
        replay: Arc::new(replay(&text)),
        anchor: None,
    };
    let mut learner = entry.start(&settings, start).unwrap();
    let rows = returns.len();
    let mut noise = [Vec::new(), Vec::new()];
    for (name, part) in learner.parts().0 {
        match part {
            Part::Trained(trained) => {
                let mut params = vec![0.0; trained.net.shape().parameters()];
                if name.starts_with("critic") {
                    *params.last_mut().unwrap() = value;
                }
                trained.net.set_params(params).unwrap();
            }
            Part::Stream(stream) => {
                let place = ["pushed_next", "pushed_own"]
                    .iter()
                    .position(|n| *n == name);
                if let Some(place) = place {
                    noise[place] = vec![0.0; rows];
                    stream.clone().fill_normal(1.0, &mut noise[place]);
                }
            }
            _ => {}
        }
    }
    let column = |v: &[f32]| Tensor::from_slice(v, (rows, 1), &Device::Cpu).unwrap();
    let vector = |v: &[f32]| Tensor::from_slice(v, rows, &Device::Cpu).unwrap();
    let zeros = vec![0.0; rows];
    let sample = Sample {
        batch: spar_nn::Batch {
            obs: column(&zeros),
            actions: column(&zeros),
            rewards: vector(&zeros),
            next_obs: column(&zeros),
            not_terminal: vector(&zeros),
            base: None,
            returns: calibrated.then(|| vector(returns)),
        },
        index: (0..rows).collect(),
    };
    // Its log deviation is that of CORL's start, -1.
    let log_density = |noise: f32| {
        let (u, std) = (f64::from(noise) * (-1f64).exp(), (-1f64).exp());
        let normal = -0.5 * (u / std).powi(2) - std.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln();
        normal - (1.0 - u.tanh().powi(2)).ln()
    };
    let [next, own] = noise;
    let densities = next.iter().zip(&own);
    let densities = densities.map(|(n, o)| [log_density(*n), log_density(*o)]);
    let densities = densities.collect();
    let metrics = learner.update(1, &sample).unwrap();
    let gap = metrics.0.iter().find(|(name, _)| *name == "gap").unwrap();
    (f64::from(gap.1), densities)
}

/// `mean logsumexp(value + log 2, m - log p', m - log p) - value` with
/// `m = max(value, return)`: at the box's action, of density 1/2, there is no floor.
#[test]
fn values_of_the_policys_actions_count_no_less_than_the_return() {
    let value = 0.75f32;
    let v = f64::from(value);
    let returns = [v as f32 + 2.0, v as f32 - 2.0, v as f32 + 0.5];
    for calibrated in [true, false] {
        let (got, densities) = gap(calibrated, &returns, value);
        let of_row = |(own, log_p): (&f32, &[f64; 2])| {
            let floor = if calibrated {
                f64::from(*own).max(v)
            } else {
                v
            };
            let at_policy = log_p.map(|log_p| (floor - log_p).exp());
            ((v + 2f64.ln()).exp() + at_policy[0] + at_policy[1]).ln() - v
        };
        let by_hand = returns.iter().zip(&densities).map(of_row).sum::<f64>() / 3.0;
        assert!((got - by_hand).abs() < 1e-5, "{got} {by_hand}");
    }
    // A floor below every value changes nothing.
    let low = [v as f32 - 1.0; 3];
    assert_eq!(gap(true, &low, value).0, gap(false, &low, value).0);
}
