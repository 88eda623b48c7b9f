//! The kitchen without noise against gymnasium-robotics 1.4.2, as
//! `tests/scripts/kitchen_trajectories.py` recorded it, and what is D4RL's alone.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

fn kitchen(name: &str) -> Kitchen {
    Kitchen::new(EnvId::named(name).unwrap()).unwrap_or_else(|e| panic!("{e}"))
}

struct Fixture(Vec<u8>, usize);

impl Fixture {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let at = self.1;
        self.1 += N;
        self.0[at..at + N].try_into().unwrap()
    }

    fn u32(&mut self) -> usize {
        u32::from_le_bytes(self.take()) as usize
    }

    fn f64s(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| f64::from_le_bytes(self.take())).collect()
    }

    fn f32s(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| f32::from_le_bytes(self.take())).collect()
    }
}

#[test]
fn without_noise_positions_are_gymnasium_robotics_to_the_bit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../../tests/fixtures/kitchen/kitchen.bin");
    let mut file = Fixture(std::fs::read(path).unwrap(), 0);
    assert_eq!(&file.take(), b"SPARKIT1");
    let mut env = kitchen("kitchen");
    env.noisy = 0.0;
    for trajectory in 0..file.u32() {
        let steps = file.u32();
        let (qpos, qvel) = (file.f64s(30), file.f64s(29));
        env.set_state(&qpos, &qvel).unwrap();
        for t in 0..steps {
            env.step(&file.f32s(ROBOT)).unwrap();
            let expected = file.f64s(30);
            assert!(env.simulation.qpos() == expected, "{trajectory}:{t}");
            assert!(env.obs()[..POSITIONS] == expected, "{trajectory}:{t}");
        }
    }
    assert_eq!(file.1, file.0.len(), "bytes left over");
}

#[test]
fn noise_has_d4rls_ranges_and_goals_are_zero_elsewhere() {
    let mut env = kitchen("kitchen-mixed");
    let mut stream = Stream::new(1, "resets");
    let mut most = [0f64; POSITIONS];
    for _ in 0..200 {
        env.reset(&mut stream).unwrap();
        for (most, (seen, start)) in most.iter_mut().zip(env.obs().iter().zip(START)) {
            *most = most.max((seen - start).abs());
        }
    }
    for (i, most) in most.into_iter().enumerate() {
        let range = noise_of(i);
        assert!((0.9 * range..=range).contains(&most), "{i}: {most}");
    }
    assert_eq!([noise_of(0), noise_of(8), noise_of(22)], [0.01; 3]);
    assert_eq!([noise_of(9), noise_of(18), noise_of(29)], [0.000_5; 3]);
    let goals = &env.obs()[POSITIONS..];
    let set: Vec<usize> = (0..POSITIONS).filter(|i| goals[*i] != 0.0).collect();
    assert_eq!(set, [11, 12, 17, 18, 22, 23, 24, 25, 26, 29]);
}

#[test]
fn each_thing_counts_once_and_all_four_end_the_episode() {
    for name in ["kitchen", "kitchen-mixed"] {
        let mut env = kitchen(name);
        let mut qpos = START;
        // All but the last.
        for thing in &env.things[..3] {
            for (&at, goal) in thing.at.iter().zip(thing.goal) {
                qpos[at] = *goal;
            }
        }
        let still = [0.0; 29];
        env.set_state(&qpos, &still).unwrap();
        let first = env.step(&[0.0; ROBOT]).unwrap();
        assert_eq!((first.reward, first.terminal), (3.0, false), "{name}");
        let again = env.step(&[0.0; ROBOT]).unwrap();
        assert_eq!((again.reward, again.terminal), (0.0, false), "{name}");
        let last = &env.things[3];
        for (&at, goal) in last.at.iter().zip(last.goal) {
            qpos[at] = *goal;
        }
        env.set_state(&qpos, &still).unwrap();
        let all = env.step(&[0.0; ROBOT]).unwrap();
        assert_eq!((all.reward, all.terminal), (4.0, true), "{name}");
    }
}

/// The controller starts from what was observed, noise and all.
#[test]
fn the_noise_acts() {
    let mut env = kitchen("kitchen");
    let run = |env: &mut Kitchen, seed: u64| {
        env.reset(&mut Stream::new(seed, "resets")).unwrap();
        env.step(&[0.0; ROBOT]).unwrap();
        env.simulation.qpos()[..ROBOT].to_vec()
    };
    let first = run(&mut env, 1);
    assert!(first == run(&mut env, 1));
    let other = run(&mut env, 2);
    assert!(first.iter().zip(other).all(|(a, b)| *a != b));
}
