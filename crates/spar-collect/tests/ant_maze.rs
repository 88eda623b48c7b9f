//! D4RL's ant reaches D4RL's goals in these environments, and the recipe's file is what
//! D4RL's generator and relabelling would write. Both need D4RL's policy, which is not in
//! this repository: where `SPAR_UPSTREAM_DIR` does not name a folder with it, they say so.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use spar_collect::{
    ant_maze::{self, Map, steered},
    behavior,
    card::Card,
    facts::{End, EpisodeFacts},
    gaussian::GaussianPolicy,
    recipe,
    sac::{Sac, SacConfig},
    verify::{Tolerance, verify},
};
use spar_core::{Stream, TaskId};
use spar_data::Dataset;

/// Whether the policy is here.
fn here() -> bool {
    let here = std::env::var_os("SPAR_UPSTREAM_DIR").is_some();
    if !here {
        eprintln!("skipped: SPAR_UPSTREAM_DIR names no folder with antmaze/ant_hierarch_pol");
    }
    here
}

/// What is known of the episodes of a file is what its reader finds.
fn check_facts(known: &[EpisodeFacts], data: &Dataset, horizon: usize) {
    let found: Vec<_> = data.episodes(horizon).collect();
    assert_eq!(known.len(), found.len());
    for (known, found) in known.iter().zip(&found) {
        let terminals = &data.terminals[found.rows.clone()];
        let terminals = terminals.iter().filter(|&&flag| flag).count();
        assert_eq!(
            (known.length, known.terminals),
            (found.rows.len(), terminals)
        );
    }
    let complete = known.iter().filter(|known| known.end != End::Unfinished);
    let returns: Vec<f64> = complete.map(|known| known.ret).collect();
    assert_eq!(returns, data.returns(horizon));
}

#[test]
fn without_the_policy_the_recipe_names_what_is_missing() {
    if std::env::var_os("SPAR_UPSTREAM_DIR").is_some() {
        return;
    }
    let error = ant_maze::behavior().unwrap_err().to_string();
    assert!(error.contains("SPAR_UPSTREAM_DIR") && error.contains("ant_hierarch_pol"));
}

/// An ant of our own, where no folder is named: another process has none.
#[test]
fn without_a_folder_an_ant_of_our_own_makes_the_data_and_they_say_so() {
    const FOLDER: &str = "SPAR_TEST_ANT_FOLDER";
    let task: TaskId = "antmaze-umaze".parse().unwrap();
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        let out = folder.join("data.hdf5");
        let made = recipe::generate(task, 1_200, 1, folder, &out, 1).unwrap();
        let said = &recipe::metadata(task, 1_200, 1, folder).unwrap()["algorithm"];
        assert!(format!("{said:?}").contains("of this project"), "{said:?}");
        assert!(made.behavior[0].policy.contains("of this project"));
        let data = Dataset::read_for(&out, task.env()).unwrap();
        check_facts(&made.episodes, &data, task.env().horizon());
        let found = verify(&data, task.env(), Some(200), Tolerance::default()).unwrap();
        assert!(found.ok, "{found:?}");
        // Without it the line says how to come by one.
        let error = recipe::metadata(task, 1_200, 1, Path::new("nowhere")).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("data behavior --env antmaze-ant"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let env = "antmaze-ant".parse().unwrap();
    let untrained = Sac::new(SacConfig::of(env), env, 3)
        .unwrap()
        .policy()
        .unwrap();
    std::fs::create_dir(folder.path().join("antmaze-ant")).unwrap();
    let file = folder.path().join("antmaze-ant/expert.safetensors");
    behavior::write(&untrained, env, 0, &file).unwrap();
    let name = "without_a_folder_an_ant_of_our_own_makes_the_data_and_they_say_so";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]);
    child
        .env(FOLDER, folder.path())
        .env_remove("SPAR_UPSTREAM_DIR");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("1 passed"), "{said}");
}

/// Of an ant that reaches the goal and stays there: an episode is paid for one row of it.
#[test]
fn what_is_known_of_the_episodes_is_what_the_file_says() {
    let committed = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/behavior"
    ));
    let folder = tempfile::tempdir().unwrap();
    let (task, out): (TaskId, _) = ("antmaze-umaze".parse().unwrap(), folder.path().join("a"));
    let made = recipe::generate(task, 2_100, 0, committed, &out, 1).unwrap();
    let data = Dataset::read_for(&out, task.env()).unwrap();
    assert!(data.past_terminals && made.episodes.iter().any(|e| e.terminals > 1));
    check_facts(&made.episodes, &data, task.env().horizon());
}

#[test]
fn a_waypoint_is_the_next_cell_on_the_way() {
    let task: TaskId = "antmaze-umaze".parse().unwrap();
    let map = Map::of(task).unwrap();
    let mut stream = Stream::new(0, "waypoints");
    // From the start the way to (0, 8) leads right, down and left again.
    let goal = [0.5, 8.5];
    for (position, cell) in [
        ([0.1, 0.1], [4.0, 0.0]),
        ([4.1, 0.1], [8.0, 0.0]),
        ([8.1, 0.1], [8.0, 4.0]),
        ([8.1, 4.1], [8.0, 8.0]),
        ([8.1, 8.1], [4.0, 8.0]),
    ] {
        let [x, y] = map.waypoint(position, goal, &mut stream);
        let inside = |x: f64, from: f64| (from..from + 1.0).contains(&x);
        assert!(
            inside(x, cell[0]) && inside(y, cell[1]),
            "{position:?}: {x} {y}"
        );
    }
    assert_eq!(map.waypoint([4.1, 8.1], goal, &mut stream), goal);
    assert_eq!(map.waypoint([0.2, 8.1], goal, &mut stream), goal);
}

/// How many of 24 umaze episodes `policy` ends at the goal, steered by D4RL's planner with
/// D4RL's noise.
fn reached(policy: &GaussianPolicy) -> usize {
    let task: TaskId = "antmaze-umaze".parse().unwrap();
    let map = Map::of(task).unwrap();
    let mut world = spar_env::make(task.env()).unwrap();
    let [mut resets, mut own, mut noise, mut points] =
        ["resets", "own", "noise", "points"].map(|name| Stream::new(2, name));
    let mut reached = 0;
    for _ in 0..24 {
        world.reset(&mut resets).unwrap();
        // Where the goal was drawn is not told: the middle of its square is within reach.
        let goal = [0.75, 8.75];
        for _ in 0..task.env().horizon() {
            let obs = world.obs().to_vec();
            let waypoint = map.waypoint([obs[0], obs[1]], goal, &mut points);
            let action = steered(policy, &obs, waypoint, &mut own, &mut noise);
            world.step(&action).unwrap();
            let [dx, dy] = [world.obs()[0] - goal[0], world.obs()[1] - goal[1]];
            if dx.hypot(dy) <= 0.5 {
                reached += 1;
                break;
            }
        }
    }
    reached
}

/// The note on these suites measured 16 of 24 in umaze.
#[test]
fn d4rl_s_ant_reaches_the_goal_in_half_of_the_episodes() {
    if !here() {
        return;
    }
    let reached = reached(&ant_maze::behavior().unwrap());
    assert!(reached >= 12, "{reached} of 24");
}

/// The ant that makes the data where D4RL's is not at hand is no worse a walker.
#[test]
fn our_ant_reaches_the_goal_in_most_of_the_episodes() {
    let committed = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/behavior"
    ));
    let env = "antmaze-ant".parse().unwrap();
    let card = Card::read(committed, env).unwrap();
    assert_eq!(card.config, SacConfig::of(env));
    let reached = reached(&card.policy(committed, "expert").unwrap());
    assert!(reached >= 20, "{reached} of 24");
}

#[test]
fn a_file_has_the_rewards_of_one_goal_and_rows_that_can_be_stepped() {
    if !here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["antmaze-umaze", "antmaze-medium-diverse"] {
        let task: TaskId = name.parse().unwrap();
        let made = |seed: u64, file: &str| {
            let out = folder.path().join(file);
            recipe::generate(task, 2_500, seed, Path::new("none"), &out, 1).unwrap()
        };
        let first = made(1, "one.hdf5");
        assert_eq!(first.identity.sha256, made(1, "same.hdf5").identity.sha256);
        assert_ne!(first.identity.sha256, made(2, "other.hdf5").identity.sha256);
        let data = Dataset::read_for(&folder.path().join("one.hdf5"), task.env()).unwrap();
        let cuts = data.timeouts.clone().unwrap();
        let at: Vec<usize> = (0..data.rows()).filter(|row| cuts[*row]).collect();
        assert_eq!((data.rows(), at), (2_500, vec![1000, 2001]));
        // Trajectories are those, and no row of a stay at the goal is one.
        if data.terminals.contains(&true) {
            assert!(data.past_terminals);
            let stops = data.episodes(task.env().horizon()).map(|e| e.rows.end);
            assert_eq!(stops.collect::<Vec<_>>(), [1001, 2002, 2500]);
            let note = |note: &String| note.contains("goes on past");
            assert!(data.notes.iter().any(note), "{:?}", data.notes);
        }
        let goal = &data.metadata["spar_goal"];
        let goal: Vec<f64> = goal.split(' ').map(|x| x.parse().unwrap()).collect();
        for row in 0..data.rows() {
            let near = row + 1 < data.rows() && {
                let next = data.observation(row + 1);
                let off = [f64::from(next[0]) - goal[0], f64::from(next[1]) - goal[1]];
                off[0].hypot(off[1]) <= 0.5
            };
            assert_eq!(data.terminals[row], near, "{name}: row {row}");
            assert_eq!(data.rewards[row], f32::from(u8::from(near)));
        }
        check_facts(&first.episodes, &data, task.env().horizon());
        let found = verify(&data, task.env(), Some(500), Tolerance::default()).unwrap();
        assert!(found.ok && found.max_abs_obs < 1e-5, "{found:?}");
    }
}
