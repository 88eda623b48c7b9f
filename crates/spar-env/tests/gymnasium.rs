//! The environments against gymnasium 1.4.0 on MuJoCo 3.17.0, and maze2d and antmaze, which no
//! package has, against their models in MuJoCo's own Python binding: trajectories recorded by
//! `tests/scripts/gymnasium_trajectories.py`, which also documents the files' format,
//! `maze2d_trajectories.py` and `antmaze_trajectories.py`.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use spar_core::EnvId;

/// Largest deviation of an observation and of a reward.
#[derive(Clone, Copy)]
struct Deviation {
    obs: f64,
    reward: f64,
}

/// To the bit.
const EQUAL: Deviation = Deviation {
    obs: 0.0,
    reward: 0.0,
};

const GYMNASIUM: Deviation = Deviation {
    obs: 1e-9,
    reward: 1e-6,
};

/// Observations to the bit; the exponential function of dense rewards is not numpy's.
const MAZE2D: Deviation = Deviation {
    obs: 0.0,
    reward: 1e-15,
};

/// A little-endian reader over a fixture.
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

fn deviation(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

/// Steps through every recorded trajectory of `id`; returns how many steps
/// were recorded and how many of them as terminal.
fn replay(folder: &str, id: EnvId, most: Deviation) -> (usize, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../tests/fixtures/{folder}/{id}.bin"));
    let mut file = Fixture(std::fs::read(path).unwrap(), 0);
    assert_eq!(&file.take(), b"SPARGYM1");
    let (mut steps_seen, mut terminals) = (0, 0);
    let mut env = spar_env::make(id).unwrap_or_else(|e| panic!("{e}"));
    for trajectory in 0..file.u32() {
        let [steps, nq, nv, act_dim, obs_dim] = std::array::from_fn(|_| file.u32());
        assert_eq!(
            (nq, nv),
            (env.physics().unwrap().nq(), env.physics().unwrap().nv())
        );
        assert_eq!(act_dim, id.act_dim());
        // What is recorded comes first; the rest are D4RL's zeros.
        let zeros =
            |obs: &[f64]| obs.len() == id.obs_dim() && obs[obs_dim..].iter().all(|&x| x == 0.0);
        env.physics_mut()
            .unwrap()
            .set_state(&file.f64s(nq), &file.f64s(nv))
            .unwrap();
        let off = deviation(&env.obs()[..obs_dim], &file.f64s(obs_dim));
        assert!(off <= most.obs, "{id} {trajectory} start: {off:e}");
        assert!(zeros(env.obs()), "{id} {trajectory}");
        for t in 0..steps {
            let step = env.step(&file.f32s(act_dim)).unwrap();
            let off = deviation(&env.obs()[..obs_dim], &file.f64s(obs_dim));
            assert!(off <= most.obs, "{id} {trajectory}:{t} obs: {off:e}");
            assert!(zeros(env.obs()), "{id} {trajectory}:{t}");
            let off = (step.reward - file.f64s(1)[0]).abs();
            assert!(off <= most.reward, "{id} {trajectory}:{t} reward: {off:e}");
            let [terminal] = file.take();
            assert_eq!(step.terminal, terminal == 1, "{id} {trajectory}:{t}");
            terminals += usize::from(terminal);
        }
        steps_seen += steps;
    }
    assert_eq!(file.1, file.0.len(), "bytes left over");
    (steps_seen, terminals)
}

#[test]
fn halfcheetah_is_gymnasiums() {
    assert_eq!(
        replay("gymnasium", EnvId::HALF_CHEETAH, GYMNASIUM),
        (4_000, 0)
    );
}

#[test]
fn hopper_is_gymnasiums() {
    let (steps, terminals) = replay("gymnasium", EnvId::HOPPER, GYMNASIUM);
    assert!(steps == 7_000 && (1..steps).contains(&terminals));
}

#[test]
fn walker2d_is_gymnasiums() {
    let (steps, terminals) = replay("gymnasium", EnvId::WALKER2D, GYMNASIUM);
    assert!(steps == 5_000 && (1..steps).contains(&terminals));
}

#[test]
fn ant_is_gymnasiums_to_the_bit_with_84_zeros() {
    let ant: EnvId = "ant".parse().unwrap();
    assert_eq!(ant.obs_dim(), 27 + 84);
    let (steps, terminals) = replay("gymnasium", ant, EQUAL);
    assert!(steps == 2_100 && (1..steps).contains(&terminals));
}

#[test]
fn maze2d_is_its_model_in_mujoco_s_own_binding() {
    let mazes = EnvId::all().into_iter();
    let mazes = mazes.filter(|env| spar_env::maze2d::Maze::of(*env).is_some());
    for env in mazes {
        assert_eq!(replay("maze2d", env, MAZE2D), (1_200, 0), "{env}");
    }
}

#[test]
fn antmaze_is_its_model_in_mujoco_s_own_binding() {
    for name in ["umaze", "medium", "large"] {
        let env: EnvId = format!("antmaze-{name}").parse().unwrap();
        let (steps, terminals) = replay("antmaze", env, EQUAL);
        assert!(steps == 600 && terminals > 0, "{env}: {terminals}");
    }
}
