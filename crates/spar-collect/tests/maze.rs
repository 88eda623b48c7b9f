//! D4RL's controller and a uniform policy earn D4RL's reference returns in every maze2d, and
//! the recipe's file is what D4RL's generator would write.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use spar_collect::{
    facts::End,
    maze::Controller,
    recipe,
    verify::{Tolerance, verify},
};
use spar_core::{EnvId, Stream, TaskId};
use spar_data::{Dataset, Transitions};
use spar_env::{Env, maze2d::Maze};

const EPISODES: usize = 100;

/// Mean return and its standard error over episodes of `act`, which is given position,
/// velocity and the goal.
fn mean(env: EnvId, mut act: impl FnMut([f64; 4], [f64; 2]) -> [f32; 2]) -> (f64, f64) {
    let (i, j) = Maze::of(env).unwrap().goal();
    let goal = [i as f64, j as f64];
    let mut world = spar_env::make(env).unwrap();
    let mut resets = Stream::new(3, "resets");
    let returns: Vec<f64> = (0..EPISODES)
        .map(|_| {
            world.reset(&mut resets).unwrap();
            let step =
                |world: &mut Box<dyn Env>, action: [f32; 2]| world.step(&action).unwrap().reward;
            (0..env.horizon())
                .map(|_| {
                    let obs = world.obs();
                    let action = act([obs[0], obs[1], obs[2], obs[3]], goal);
                    step(&mut world, action)
                })
                .sum()
        })
        .collect();
    let mean = spar_stats::mean(&returns);
    let error = spar_stats::std(&returns, 1) / (EPISODES as f64).sqrt();
    (mean, error)
}

/// Every maze2d but open: what its references are of is not known (dense, a uniform policy
/// gets 38 here in its 150 steps, where D4RL has 11.2 for score 0 and 27.2 for 100).
fn mazes() -> impl Iterator<Item = EnvId> {
    let envs = EnvId::all().into_iter();
    envs.filter(|env| Maze::of(*env).is_some() && !env.name().contains("open"))
}

/// D4RL's returns are means over a number of episodes that it does not say: theirs are taken
/// to be as uncertain as ours.
fn agrees(env: EnvId, got: (f64, f64), reference: f64) {
    let ((mean, error), most) = (got, 4.0 * 2f64.sqrt());
    assert!(
        (mean - reference).abs() <= most * error,
        "{env}: {mean:.1} +- {error:.1}, D4RL has {reference}"
    );
}

#[test]
fn the_controller_earns_the_returns_of_score_100() {
    for env in mazes() {
        let mut controller = Controller::of(env).unwrap();
        let mut stream = Stream::new(5, "waypoints");
        let got = mean(env, |[x, y, vx, vy], goal| {
            let (action, _) = controller.act([x, y], [vx, vy], goal, &mut stream);
            action.map(|a| a as f32)
        });
        agrees(env, got, env.reference_returns().unwrap().1);
    }
}

#[test]
fn a_uniform_policy_earns_the_returns_of_score_0() {
    // What D4RL has for these two is another maze's, or nobody's.
    let slips = ["maze2d-eval-medium-dense", "maze2d-eval-large-dense"];
    for env in mazes().filter(|env| !slips.contains(&env.name())) {
        let mut stream = Stream::new(6, "uniform");
        let got = mean(env, |_, _| [0, 1].map(|_| stream.uniform(-1.0, 1.0) as f32));
        agrees(env, got, env.reference_returns().unwrap().0);
    }
}

/// The data of `task` at scale `rows` in `folder`.
fn made(task: &str, rows: usize, seed: u64, folder: &Path) -> (Dataset, recipe::Generated) {
    let task: TaskId = task.parse().unwrap();
    let out = folder.join(format!("{task}-{seed}.hdf5"));
    let made = recipe::generate(task, rows, seed, Path::new("none"), &out, 1).unwrap();
    (Dataset::read_for(&out, task.env()).unwrap(), made)
}

#[test]
fn a_file_is_one_run_cut_where_targets_are_reached() {
    let folder = tempfile::tempdir().unwrap();
    let (data, facts) = made("maze2d-medium", 2_000, 1, folder.path());
    assert_eq!(data.rows(), 4_000);
    assert!(data.terminals.iter().all(|terminal| !terminal));
    let cuts = data.timeouts.clone().unwrap();
    let count = cuts.iter().filter(|cut| **cut).count();
    assert!(count > 10, "{count} targets were reached");
    let complete = facts.episodes.iter().filter(|e| e.end == End::Timeout);
    assert_eq!(complete.clone().count(), count);
    assert!(complete.clone().all(|e| e.length <= 601));
    assert!(facts.policies.is_none());

    let goal = Maze::of("maze2d-medium".parse().unwrap()).unwrap().goal();
    for row in 1..data.rows() {
        let (before, here) = (data.observation(row - 1), data.observation(row));
        assert_eq!(before == here, cuts[row - 1], "row {row}");
        let off = [here[0] - goal.0 as f32, here[1] - goal.1 as f32];
        let near = f64::from(off[0]).hypot(f64::from(off[1])) <= 0.5;
        assert_eq!(data.rewards[row], f32::from(u8::from(near)), "row {row}");
    }
    // What is learned from leaves out the rows after which the run continues elsewhere.
    let transitions = Transitions::new(std::sync::Arc::new(data.clone()), 600).unwrap();
    assert!(transitions.len() >= data.rows() - count - 1);
    for i in 0..transitions.len() {
        assert!(!cuts[transitions.row(i)]);
    }

    let env: EnvId = "maze2d-medium".parse().unwrap();
    let found = verify(&data, env, None, Tolerance::default()).unwrap();
    assert!(found.ok && found.max_abs_obs < 1e-6, "{found:?}");
}

#[test]
fn the_same_seed_gives_the_same_file_and_the_dense_one_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let again = tempfile::tempdir().unwrap();
    let (one, first) = made("maze2d-umaze", 500, 7, folder.path());
    let (_, second) = made("maze2d-umaze", 500, 7, again.path());
    assert_eq!(first.identity.sha256, second.identity.sha256);
    let (other, _) = made("maze2d-umaze", 500, 8, folder.path());
    assert_ne!(one.observations, other.observations);
    let (dense, _) = made("maze2d-umaze-dense", 500, 7, folder.path());
    assert_eq!(one.observations, dense.observations);
    assert!(
        dense
            .rewards
            .iter()
            .all(|r| (0.0..=1.0).contains(r) && *r > 0.0)
    );
}
