//! SPAR in memory, on a log of random actions: what its anchor collects, and what it does.
//!
//! `cargo run --release -p spar-train --example train_spar`, some seconds.

use std::{error::Error, sync::Arc};

use spar_core::{Policy, Stream};
use spar_data::{Dataset, Steps, Transitions};
use spar_train::{Method, Phase, TrainConfig, Trainer};

/// The reward of action `a` in state `s`: the nearer to the state, the higher.
fn reward(s: f64, a: f64) -> f64 {
    1.0 - (s - a).abs()
}

/// The mean reward of `policy` in states across the interval.
fn mean_reward(policy: &dyn Policy) -> f64 {
    let states: Vec<f32> = (-20..=20).map(|i| i as f32 / 20.0).collect();
    let mut streams = vec![Stream::new(0, "acting"); states.len()];
    let mut actions = vec![0.0; states.len()];
    policy.act(&states, &mut streams, &mut actions);
    let rewards = states.iter().zip(&actions);
    let rewards = rewards.map(|(&s, &a)| reward(f64::from(s), f64::from(a)));
    rewards.sum::<f64>() / states.len() as f64
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut steps, mut stream) = (Steps::default(), Stream::new(0, "log"));
    for _ in 0..5000 {
        let s = stream.uniform(-1.0, 1.0);
        let a = (0.5 * s + 0.3 * stream.normal()).clamp(-1.0, 1.0);
        steps.observations.push(s as f32);
        steps.actions.push(a as f32);
        steps.rewards.push(reward(s, a) as f32);
        steps.terminals.push(true);
        steps.timeouts.push(false);
    }
    let data = Dataset::in_memory("bandit", 1, 1, steps)?;
    let data = Transitions::new(Arc::new(data), 1)?;

    let mut config = TrainConfig {
        batch_size: 64,
        updates: 3000,
        ..TrainConfig::default()
    };
    config.anchor.updates = 1000;
    config.rectify.warmup = 1000;
    for hidden in [
        &mut config.anchor.hidden,
        &mut config.critic.hidden,
        &mut config.rectify.hidden,
    ] {
        *hidden = vec![64, 64];
    }
    let mut trainer = Trainer::new(Method::Spar, config, &data, 0)?;
    let mut anchor = None;
    while trainer.step()? {
        if trainer.phase() == Phase::Anchor {
            anchor = Some(trainer.policy()?);
        }
    }
    let anchor = anchor.ok_or("there was no anchor")?;
    let (before, after) = (mean_reward(&anchor), mean_reward(&trainer.policy()?));
    println!("mean reward: anchor {before:.3}, SPAR {after:.3}, the best 1");
    Ok(())
}
