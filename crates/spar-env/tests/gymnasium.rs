//! The environments against gymnasium 1.4.0 on MuJoCo 3.17.0: trajectories
//! recorded by `tests/scripts/gymnasium_trajectories.py`, which also documents
//! the files' format.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use spar_core::EnvId;

const OBS_TOLERANCE: f64 = 1e-9;
const REWARD_TOLERANCE: f64 = 1e-6;

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
fn replay(id: EnvId) -> (usize, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../tests/fixtures/gymnasium/{id}.bin"));
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
        assert_eq!((act_dim, obs_dim), (id.act_dim(), id.obs_dim()));
        env.physics_mut()
            .unwrap()
            .set_state(&file.f64s(nq), &file.f64s(nv))
            .unwrap();
        let off = deviation(env.obs(), &file.f64s(obs_dim));
        assert!(off <= OBS_TOLERANCE, "{id} {trajectory} start: {off:e}");
        for t in 0..steps {
            let step = env.step(&file.f32s(act_dim)).unwrap();
            let off = deviation(env.obs(), &file.f64s(obs_dim));
            assert!(off <= OBS_TOLERANCE, "{id} {trajectory}:{t} obs: {off:e}");
            let off = (step.reward - file.f64s(1)[0]).abs();
            assert!(
                off <= REWARD_TOLERANCE,
                "{id} {trajectory}:{t} reward: {off:e}"
            );
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
    assert_eq!(replay(EnvId::HALF_CHEETAH), (4_000, 0));
}

#[test]
fn hopper_is_gymnasiums() {
    let (steps, terminals) = replay(EnvId::HOPPER);
    assert!(steps == 7_000 && (1..steps).contains(&terminals));
}

#[test]
fn walker2d_is_gymnasiums() {
    let (steps, terminals) = replay(EnvId::WALKER2D);
    assert!(steps == 5_000 && (1..steps).contains(&terminals));
}
