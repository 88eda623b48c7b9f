//! The committed behaviour policies are what their cards say, and as good as
//! D4RL's.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use spar_collect::{
    card::{Card, REPLAY_SEGMENTS},
    online::read_curve,
    sac::SacConfig,
};
use spar_core::EnvId;
use spar_eval::rollout;

/// Mean returns of stochastic policies: of medium from and to, of expert from.
const TARGETS: [(&str, f64, f64, f64); 4] = [
    ("halfcheetah", 4800.0, 5300.0, 10_000.0),
    ("hopper", 1200.0, 1600.0, 3200.0),
    ("walker2d", 2600.0, 3400.0, 4500.0),
    // Of expert D4RL's reference return.
    ("ant", 2400.0, 3400.0, 3879.7),
];

fn targets() -> [(EnvId, f64, f64, f64); 4] {
    TARGETS.map(|(env, low, high, expert)| (EnvId::named(env).unwrap(), low, high, expert))
}

fn behavior() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/behavior"
    ))
}

#[test]
fn medium_and_expert_are_at_d4rls_levels() {
    for (env, low, high, expert) in targets() {
        let card = Card::read(behavior(), env).unwrap();
        let found = card.medium.mean_return;
        assert!((low..=high).contains(&found), "{env}: medium {found}");
        let found = card.expert.mean_return;
        assert!(found >= expert, "{env}: expert {found}");
    }
}

#[test]
fn cards_say_what_the_policies_do() {
    const EPISODES: usize = 12;
    for (env, ..) in targets() {
        let card = Card::read(behavior(), env).unwrap();
        for (name, level) in [("medium", card.medium), ("expert", card.expert)] {
            let policy = card.policy(behavior(), name).unwrap();
            // Another seed than the card's.
            let played = rollout(env, &policy, EPISODES, card.seed + 1, 2).unwrap();
            let returns: Vec<f64> = played.iter().map(|e| e.ret).collect();
            let off = (spar_stats::mean(&returns) - level.mean_return).abs();
            let error = level.std_return / (EPISODES as f64).sqrt();
            assert!(off < 4.5 * error, "{env} {name}: {off} off, error {error}");
        }
    }
}

#[test]
fn cards_are_complete() {
    for (env, ..) in targets() {
        let card = Card::read(behavior(), env).unwrap();
        assert_eq!(card.config, SacConfig::of(env));
        assert_eq!(card.trained_steps, card.config.total_steps);
        assert_eq!(card.replay.len(), 2 * REPLAY_SEGMENTS);
        assert_eq!(card.replay[REPLAY_SEGMENTS - 1].until, card.medium.step);
        assert_eq!(
            card.replay[2 * REPLAY_SEGMENTS - 1].until,
            card.trained_steps
        );
        for i in 0..card.replay.len() {
            card.policy(behavior(), &format!("replay-{i}")).unwrap();
        }
        let curve = read_curve(&Card::folder(behavior(), env)).unwrap();
        assert_eq!(curve.last().unwrap().step, card.trained_steps);
    }
}

#[test]
fn all_of_them_take_at_most_twelve_megabytes() {
    let mut bytes = 0;
    for (env, ..) in targets() {
        for entry in std::fs::read_dir(Card::folder(behavior(), env)).unwrap() {
            bytes += entry.unwrap().metadata().unwrap().len();
        }
    }
    assert!(bytes <= 12_000_000, "{bytes}");
}
