#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use spar_data::{Dataset, Steps, Transitions};

use super::*;

/// Two rows of data for the widths of `id`, and the settings of `text`.
fn replay(id: EnvId, text: &str) -> (Replay, f64) {
    let (rows, o, a) = (3, id.obs_dim(), id.act_dim());
    let steps = Steps {
        observations: (0..rows * o).map(|i| 0.25 * i as f32 + 10.0).collect(),
        actions: vec![0.5; rows * a],
        rewards: vec![7.0; rows],
        terminals: vec![false; rows],
        timeouts: vec![false; rows],
    };
    let set = Dataset::in_memory("rows", o, a, steps).unwrap();
    let data = Transitions::new(Arc::new(set), id.horizon()).unwrap();
    let entry = spar_baselines::find("cql").unwrap();
    let settings = entry.settings(toml::from_str(text).unwrap()).unwrap();
    let feed = entry.feed(&settings).unwrap();
    let replay = Replay::new(&data, &feed, id.horizon()).unwrap();
    (replay, feed.discount)
}

fn finetune(offline_fraction: f64) -> Finetune {
    Finetune {
        from: String::new(),
        steps: 1000,
        start_steps: 3,
        updates_per_step: 2,
        offline_fraction,
        noise: None,
    }
}

fn online(id: EnvId, fraction: f64, (replay, discount): &(Replay, f64)) -> Online {
    Online::new(&finetune(fraction), id, replay, *discount, 3).unwrap()
}

/// Pushes with a constant force, or by what its stream draws.
struct Push(EnvId, Option<f32>);

impl Policy for Push {
    fn obs_dim(&self) -> usize {
        self.0.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.0.act_dim()
    }

    fn act(&self, _obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        for a in actions {
            *a = self
                .1
                .unwrap_or_else(|| streams[0].uniform(-1.0, 1.0) as f32);
        }
    }
}

const POINT: EnvId = EnvId::POINT_MASS;

/// A time limit is no end of the world: what follows the last step has a value, and is the
/// state that the episode was cut in, not the next one's first.
#[test]
fn a_time_limit_is_bootstrapped_through_and_a_terminal_state_is_not() {
    let data = replay(POINT, "");
    let mut cut = online(POINT, 0.5, &data);
    let horizon = POINT.horizon();
    for _ in 0..=horizon {
        cut.step(&Push(POINT, Some(0.0)), &data.0).unwrap();
    }
    assert_eq!(cut.episodes, 1);
    let last = cut.collected.get(horizon - 1);
    assert!(!last.terminal);
    // Nothing pushes it: it stays where it started.
    assert_eq!(last.next_obs, cut.collected.get(0).obs);
    assert_ne!(cut.collected.get(horizon).obs, last.next_obs);

    let mut ended = online(POINT, 0.5, &data);
    while ended.episodes == 0 {
        ended.step(&Push(POINT, Some(1.0)), &data.0).unwrap();
    }
    let length = ended.collected.len();
    assert!(length < horizon);
    let terminal = |i| ended.collected.get(i).terminal;
    assert!(terminal(length - 1) && (0..length - 1).all(|i| !terminal(i)));
    assert!(ended.collected.get(length - 1).next_obs[0].abs() > 2.0);
}

/// Half of a batch is the data's, the other half what was collected; both as the data's
/// normalizer and the scale of rewards have them.
#[test]
fn a_batch_holds_both_kinds_of_transitions() {
    let data = replay(POINT, "data.rewards.affine = { scale = 2.0, shift = -1.0 }");
    let (o, rows) = (POINT.obs_dim(), 9);
    for (fraction, expected) in [(0.5, 5), (0.0, 0), (1.0, 9), (0.3, 3)] {
        let mut online = online(POINT, fraction, &data);
        let mut batch = Batch::new(rows, o, POINT.act_dim());
        let (mut stream, mut index) = (Stream::new(0, "data"), Vec::new());
        // Nothing is collected yet.
        online.draw(&data.0, &mut stream, &mut batch, &mut index);
        assert_eq!(index.len(), rows);
        for _ in 0..20 {
            online.step(&Push(POINT, None), &data.0).unwrap();
        }
        online.draw(&data.0, &mut stream, &mut batch, &mut index);
        assert_eq!(index.len(), expected, "{fraction}");
        let collected: Vec<Vec<f32>> = (0..20)
            .map(|i| {
                let mut obs = online.collected.get(i).obs.to_vec();
                data.0.normalizer().apply(&mut obs);
                obs
            })
            .collect();
        for row in 0..rows {
            let (obs, reward) = (&batch.obs[row * o..(row + 1) * o], batch.rewards[row]);
            let own = collected.iter().position(|c| c == obs);
            assert_eq!(own.is_some(), row >= expected, "row {row} of {fraction}");
            // The data pay 7 a step, the point mass at most 1.
            match own {
                None => assert_eq!(reward, 13.0),
                Some(i) => {
                    assert_eq!(reward, online.collected.get(i).reward);
                    assert!(reward <= 1.0);
                }
            }
            assert_eq!(batch.not_terminal[row], 1.0);
        }
    }
}

/// With returns, only steps of finished episodes are drawn, each with the return that its
/// episode had from there on.
#[test]
fn the_return_of_a_collected_step_is_known_once_its_episode_is_over() {
    let data = replay(POINT, "calibrated = true\ndiscount = 0.5");
    let mut online = online(POINT, 0.0, &data);
    let (mut stream, mut index) = (Stream::new(0, "data"), Vec::new());
    let mut batch = Batch::new(64, POINT.obs_dim(), POINT.act_dim());
    let horizon = POINT.horizon();
    for step in 1..=horizon + 7 {
        online.step(&Push(POINT, Some(0.0)), &data.0).unwrap();
        assert_eq!(online.drawable(), if step < horizon { 0 } else { horizon });
    }
    online.draw(&data.0, &mut stream, &mut batch, &mut index);
    assert!(index.is_empty());
    // It rests at x: every step pays the same.
    let reward = f64::from(online.collected.get(0).reward);
    let returns = online.returns.as_ref().unwrap();
    for (i, got) in returns.iter().enumerate() {
        let left = (horizon - i) as i32;
        let by_hand = reward * (1.0 - 0.5f64.powi(left)) / 0.5;
        assert!((f64::from(*got) - by_hand).abs() < 1e-5, "{i}");
    }
    assert!(batch.returns.iter().all(|r| returns.contains(r)));
}

/// The simulation's state is in no checkpoint: the episode is played again up to where it
/// was, with the same bits.
#[test]
fn collecting_resumes_in_the_middle_of_an_episode() {
    for (id, steps) in [
        (POINT, 0),
        (POINT, 137),
        (EnvId::HOPPER, 11),
        (EnvId::HOPPER, 64),
    ] {
        let data = replay(id, "calibrated = true");
        let push = Push(id, None);
        let mut whole = online(id, 0.5, &data);
        for _ in 0..steps {
            whole.step(&push, &data.0).unwrap();
        }
        let mut state = State::default();
        whole.save(&mut state);
        let mut resumed = online(id, 0.5, &data);
        resumed.load(&state).unwrap();
        for _ in 0..90 {
            whole.step(&push, &data.0).unwrap();
            resumed.step(&push, &data.0).unwrap();
        }
        let saved = |online: &Online| {
            let mut state = State::default();
            online.save(&mut state);
            state
        };
        assert!(saved(&whole) == saved(&resumed), "{id} after {steps}");
    }
}

#[test]
fn updates_follow_steps_from_the_first_that_learns_on() {
    let data = replay(POINT, "");
    let online = online(POINT, 0.5, &data);
    let of = |step| (online.updates_before(step), online.updates_after(step));
    assert_eq!(
        [1, 3, 4, 5, 9].map(of),
        [(0, 0), (0, 0), (0, 2), (2, 2), (10, 2)]
    );
    assert_eq!(finetune(0.5).updates(), 2 * 997);
}
