//! SPAR improves on its anchor where the paper says it should: data that mix
//! good and bad actions, whose mean is neither.
#![allow(clippy::unwrap_used, missing_docs)]

use spar_anchor::{Anchor, AnchorConfig, AnchorTrainer};
use spar_core::{Normalizer, Policy, Stream};
use spar_critic::{CriticConfig, CriticForm};
use spar_nn::Batch;
use spar_rectify::{Ablation, RectifyConfig, Spar, SparMetrics, SparPolicy};

const ROWS: usize = 64;

/// The best action in state `s`.
fn best(s: f32) -> f32 {
    0.6 * (2.0 * s).sin()
}

fn reward(s: f32, a: f32) -> f32 {
    1.0 - (a - best(s)).powi(2)
}

/// One-step episodes of a behaviour that acts well four times in ten and
/// elsewhere six times, always with some noise.
fn batch(stream: &mut Stream) -> Batch {
    let mut rows = [const { Vec::new() }; 3];
    for _ in 0..ROWS {
        let s = stream.uniform(-1.0, 1.0) as f32;
        let bad = if best(s) > 0.0 {
            best(s) - 0.8
        } else {
            best(s) + 0.8
        };
        let mode = if stream.uniform(0.0, 1.0) < 0.4 {
            best(s)
        } else {
            bad
        };
        let a = (mode + 0.1 * stream.normal() as f32).clamp(-1.0, 1.0);
        for (column, x) in rows.iter_mut().zip([s, a, reward(s, a)]) {
            column.push(x);
        }
    }
    let [s, a, r] = rows;
    Batch::from_slices(ROWS, &s, &a, &r, &s, &[0.0; ROWS]).unwrap()
}

fn mean_reward(policy: &dyn Policy) -> f32 {
    let states: Vec<f32> = (0..400).map(|i| (i as f32 + 0.5) / 200.0 - 1.0).collect();
    let mut actions = vec![0.0; 400];
    policy.act(&states, &mut vec![Stream::new(0, ""); 400], &mut actions);
    let rewards = states.iter().zip(actions).map(|(&s, a)| reward(s, a));
    rewards.sum::<f32>() / 400.0
}

#[test]
fn spar_beats_its_anchor_on_mixed_behaviour() {
    let hidden = vec![32, 32];
    let config = AnchorConfig {
        hidden: hidden.clone(),
        lr: 1e-3,
        updates: 1500,
        ..AnchorConfig::default()
    };
    let anchor = Anchor::new(&config, 1, 1, &mut Stream::new(1, "anchor")).unwrap();
    let (mut trainer, mut batches) = (AnchorTrainer::new(anchor, &config), Stream::new(1, "data"));
    for _ in 0..config.updates {
        trainer.update(&batch(&mut batches)).unwrap();
    }
    let critic = CriticConfig {
        form: CriticForm::Expectile,
        hidden: hidden.clone(),
        n_critics: 2,
        lr: 1e-3,
        discount: 0.99,
        tau: 0.005,
        expectile: 0.7,
        deviations: None,
        penalty: 0.0,
        penalty_ratio: 0.0,
    };
    let rectify = RectifyConfig {
        hidden,
        lr: 1e-3,
        beta: 0.1,
        rho: 1.0,
        w_fit: 0.02,
        lambda: 1.0,
        candidates: 8,
        temperature: 0.3,
        scale: 0.0,
        sigma_z: 1.0,
        policy_freq: 1,
        warmup: 2000,
        tau: 0.005,
        ablation: Ablation::None,
    };
    let mut spar = Spar::new(rectify, critic, trainer.freeze(), 1, 1, 1).unwrap();
    let mut metrics = SparMetrics::default();
    for _ in 0..3000 {
        spar.update(&batch(&mut batches), &mut metrics).unwrap();
    }
    let policy = spar.policy(Normalizer::identity(1)).unwrap();
    let anchor = SparPolicy {
        residual: None,
        ..policy.clone()
    };
    let (spar, anchor) = (mean_reward(&policy), mean_reward(&anchor));
    // The anchor stands between the modes; the good mode is worth 1.
    assert!((0.65..0.85).contains(&anchor), "{anchor}");
    assert!(spar > 0.95, "SPAR {spar}, anchor {anchor}");
}
