//! Rollouts: what does not change a result, what they measure, and what they
//! refuse.
#![allow(clippy::unwrap_used)]

use spar_core::{EnvId, Policy, Stream};
use spar_eval::{Episode, rollout};

/// A linear feedback with noise from the row's own stream.
struct Noisy {
    env: EnvId,
    gain: f32,
    std: f32,
}

impl Policy for Noisy {
    fn obs_dim(&self) -> usize {
        self.env.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.env.act_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        let rows = obs.chunks_exact(self.obs_dim());
        let out = actions.chunks_exact_mut(self.act_dim());
        assert!(rows.len() == streams.len() && out.len() == streams.len());
        for ((row, action), stream) in rows.zip(out).zip(streams) {
            stream.fill_normal(self.std, action);
            for (a, x) in action.iter_mut().zip(row) {
                *a = (*a - self.gain * x).clamp(-1.0, 1.0);
            }
        }
    }
}

fn returns(env: EnvId, std: f32, episodes: usize, seed: u64, threads: usize) -> Vec<Episode> {
    let policy = Noisy {
        env,
        gain: 0.3,
        std,
    };
    rollout(env, &policy, episodes, seed, threads).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn threads_and_batches_change_no_bit() {
    for (env, std) in [
        (EnvId::POINT_MASS, 2.0),
        (EnvId::HOPPER, 0.5),
        (EnvId::HALF_CHEETAH, 0.5),
    ] {
        let episodes = if env == EnvId::HALF_CHEETAH { 5 } else { 37 };
        let serial = returns(env, std, episodes, 9, 1);
        assert_eq!(serial.len(), episodes);
        for threads in [2, 5] {
            assert_eq!(serial, returns(env, std, episodes, 9, threads), "{env}");
        }
        // One lane of one environment per thread: one observation at a time.
        assert_eq!(serial, returns(env, std, episodes, 9, episodes), "{env}");
        // A shorter evaluation is the head of a longer one.
        assert_eq!(serial[..3], returns(env, std, 3, 9, 1), "{env}");
        assert_ne!(serial, returns(env, std, episodes, 10, 1), "{env}");
    }
}

#[test]
fn an_episode_is_the_one_played_by_hand() {
    for (id, std) in [(EnvId::POINT_MASS, 2.0), (EnvId::WALKER2D, 0.5)] {
        let policy = Noisy {
            env: id,
            gain: 0.3,
            std,
        };
        for (i, episode) in returns(id, std, 20, 4, 2).into_iter().enumerate() {
            let mut env = spar_env::make(id).unwrap();
            env.reset(&mut Stream::new(4, &format!("eval/{i}/reset")))
                .unwrap();
            let mut noise = [Stream::new(4, &format!("eval/{i}/policy"))];
            let mut action = vec![0.0; id.act_dim()];
            let mut expected = Episode {
                ret: 0.0,
                length: 0,
                terminated: false,
            };
            while !expected.terminated && expected.length < id.horizon() {
                let obs: Vec<f32> = env.obs().iter().map(|&x| x as f32).collect();
                policy.act(&obs, &mut noise, &mut action);
                let step = env.step(&action).unwrap();
                expected.ret += step.reward;
                expected.length += 1;
                expected.terminated = step.terminal;
            }
            assert_eq!(episode, expected, "{id} {i}");
        }
    }
}

#[test]
fn the_horizon_is_no_termination() {
    let still = returns(EnvId::POINT_MASS, 0.0, 20, 0, 1);
    assert!(still.iter().all(|e| e.length == 100 && !e.terminated));
    let wild = returns(EnvId::POINT_MASS, 2.0, 200, 0, 1);
    assert!(wild.iter().any(|e| e.terminated && e.length < 100));
    assert!(wild.iter().all(|e| e.terminated || e.length == 100));
    assert!(returns(EnvId::POINT_MASS, 0.0, 0, 0, 2).is_empty());
}

#[test]
fn a_policy_for_another_environment_is_refused() {
    let policy = Noisy {
        env: EnvId::HOPPER,
        gain: 0.0,
        std: 0.0,
    };
    let error = rollout(EnvId::POINT_MASS, &policy, 1, 0, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pointmass: policy's observation width: expected 2, got 11; \
         it was trained for another environment"
    );
}

#[test]
fn a_policy_gone_wrong_is_named_with_its_place() {
    struct Breaks;
    impl Policy for Breaks {
        fn obs_dim(&self) -> usize {
            2
        }
        fn act_dim(&self) -> usize {
            1
        }
        fn act(&self, obs: &[f32], _: &mut [Stream], actions: &mut [f32]) {
            for (action, row) in actions.iter_mut().zip(obs.chunks_exact(2)) {
                // The first push gives every mass a velocity.
                *action = if row[1] == 0.0 { 1.0 } else { f32::NAN };
            }
        }
    }
    let error = rollout(EnvId::POINT_MASS, &Breaks, 1, 0, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pointmass: episode 0, step 1: action[0]: expected a finite number, got NaN"
    );
}
