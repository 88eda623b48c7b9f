//! The hand against gymnasium-robotics 1.4.2, as `tests/scripts/adroit_trajectories.py`
//! recorded it; the script says what of it is not D4RL's.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

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

/// Largest deviation of an observation, and of a reward.
const TOLERANCE: [f64; 2] = [1e-12, 1e-12];

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

/// Steps through every recorded trajectory; the lowest and the highest reward, and how many
/// steps were terminal.
fn replay(id: EnvId) -> (f64, f64, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join(format!("../../tests/fixtures/adroit/{id}.bin"));
    let mut file = Fixture(std::fs::read(path).unwrap(), 0);
    assert_eq!(&file.take(), b"SPARADR1");
    let mut env = Adroit::new(id).unwrap_or_else(|e| panic!("{e}"));
    let (mut low, mut high, mut terminals) = (f64::INFINITY, f64::NEG_INFINITY, 0);
    for trajectory in 0..file.u32() {
        let [steps, nq, nv, act, obs, goal] = std::array::from_fn(|_| file.u32());
        assert_eq!((act, obs), (id.act_dim(), id.obs_dim()));
        let (qpos, qvel, goal) = (file.f64s(nq), file.f64s(nv), file.f64s(goal));
        let place = match goal[..] {
            // Recorded without the ball's height, which is the model's.
            [x, y, a, b, c] => vec![x, y, 0.035, a, b, c],
            _ => goal,
        };
        env.set_placed(&qpos, &qvel, &place).unwrap();
        let start = file.f64s(obs);
        let off = furthest(env.obs(), &start);
        assert!(off <= TOLERANCE[0], "{id} {trajectory} start: {off:e}");
        for t in 0..steps {
            let step = env.step(&file.f32s(act)).unwrap();
            let off = furthest(env.obs(), &file.f64s(obs));
            assert!(off <= TOLERANCE[0], "{id} {trajectory}:{t} obs: {off:e}");
            let off = (step.reward - file.f64s(1)[0]).abs();
            assert!(off <= TOLERANCE[1], "{id} {trajectory}:{t} reward: {off:e}");
            let [terminal] = file.take();
            assert_eq!(step.terminal, terminal == 1, "{id} {trajectory}:{t}");
            (low, high) = (low.min(step.reward), high.max(step.reward));
            terminals += usize::from(terminal);
        }
        let short = env.set_placed(&qpos, &qvel, &place[1..]).unwrap_err();
        assert!(short.to_string().contains("place"), "{short}");
        // What differs between episodes is read off the first observation.
        env.reset(&mut Stream::new(9, "another")).unwrap();
        env.set_observed(&qpos, &qvel, &start).unwrap();
        let off = furthest(env.obs(), &start);
        assert!(off <= 1e-9, "{id} {trajectory} recovered: {off:e}");
    }
    assert_eq!(file.1, file.0.len(), "bytes left over");
    (low, high, terminals)
}

#[test]
fn every_task_is_gymnasium_robotics_with_d4rls_rewards_and_ends() {
    assert_eq!(all().count(), 4);
    for id in all() {
        let (low, high, terminals) = replay(id);
        println!("{id}: {low} {high} {terminals}");
        // Every bonus was earned somewhere.
        let highest = match id.name() {
            "pen" => 60.0,
            "door" => 19.0,
            "hammer" => 95.0,
            _ => 28.0,
        };
        assert!(high > highest, "{id}: {high}");
        assert_eq!(terminals > 0, id.name() == "pen", "{id}");
        assert!(low < high - 5.0, "{id}: {low}");
    }
}

#[test]
fn resets_draw_from_d4rls_ranges() {
    let mut stream = Stream::new(4, "resets");
    for id in all() {
        let mut env = Adroit::new(id).unwrap();
        let mut seen = vec![[f64::INFINITY, f64::NEG_INFINITY]; id.obs_dim()];
        for _ in 0..300 {
            env.reset(&mut stream).unwrap();
            for (seen, x) in seen.iter_mut().zip(env.obs()) {
                *seen = [seen[0].min(*x), seen[1].max(*x)];
            }
            assert!(env.simulation.qpos().iter().all(|q| *q == 0.0));
            assert!(env.simulation.qvel().iter().all(|v| *v == 0.0));
        }
        // Where the numbers drawn are seen, and how wide their ranges are.
        let ranges: &[(usize, f64)] = match id.name() {
            "door" => &[(32, 0.1), (33, 0.1), (34, 0.098)],
            "hammer" => &[(44, 0.15)],
            "relocate" => &[(30, 0.3), (31, 0.45), (33, 0.4), (34, 0.4), (35, 0.2)],
            // Sines of up to a radian.
            _ => &[(36, 1.68), (37, 1.68)],
        };
        for &(at, range) in ranges {
            let found = seen[at][1] - seen[at][0];
            let least = if id.name() == "pen" { 0.7 } else { 0.95 };
            assert!(
                (least * range..=1.0001 * range).contains(&found),
                "{id} {at}: {found}"
            );
        }
        let moving = seen.iter().filter(|[low, high]| low < high).count();
        assert!(moving >= ranges.len(), "{id}");
    }
}
