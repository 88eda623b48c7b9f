//! Demonstrations of adroit as files, played again and cloned. Those of the door are not in
//! this repository: where `SPAR_UPSTREAM_DIR` does not name a folder with them, the tests that
//! need them say so.
#![allow(clippy::unwrap_used)]

mod pickled;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use pickled::{array, dict, list, pickle};
use spar_anchor::AnchorConfig;
use spar_collect::{
    CollectError,
    cloned::{self, Cloned},
    demonstrations::{Demonstration, play},
    facts::End,
    recipe::{self, Generated},
    upstream::{self, Upstream, blob_id},
    verify::{Tolerance, verify},
};
use spar_core::{EnvId, Stream, TaskId};
use spar_data::Dataset;

const PICKLE: &str = "hand_dapg/demonstrations/door-v0_demos.pickle";

/// What `door-human` was before there was a reader of pickles.
const HUMAN_SHA256: &str = "83ce783c69bc282da3473087cae8027fdd4352b9e676e53b6659b3b93ac826fc";

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os(upstream::VARIABLE).map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: SPAR_UPSTREAM_DIR names no folder with hand_dapg/demonstrations");
    }
    folder
}

fn door() -> EnvId {
    "door".parse().unwrap()
}

/// Set where a test is run by another one.
const CHILD: &str = "SPAR_TEST_DEMONSTRATIONS_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test `name` of this file alone, with another folder or none.
fn again(name: &str, folder: Option<&Path>) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]);
    child.env(CHILD, "1");
    match folder {
        Some(folder) => child.env(upstream::VARIABLE, folder),
        None => child.env_remove(upstream::VARIABLE),
    };
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("1 passed"), "{said}");
    said
}

#[test]
fn blobs_are_named_as_by_git() {
    // `git hash-object` of no bytes, and of a line.
    assert_eq!(blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_eq!(
        blob_id(b"hello\n"),
        "ce013625030ba8dba906f756967f9e9ca394464a"
    );
}

#[test]
fn the_pickle_of_the_door_holds_the_numbers_of_its_copy() {
    let Some(folder) = folder() else { return };
    let bytes = std::fs::read(folder.join(PICKLE)).unwrap();
    assert_eq!(blob_id(&bytes), "ae07c9e8a3eba2afa0852dcaf1e889a2ef03d380");
    let pickled = Demonstration::of_pickle(door(), &bytes, Path::new(PICKLE)).unwrap();
    assert_eq!(pickled.len(), 25);
    let steps: usize = pickled.iter().map(Demonstration::len).sum();
    assert_eq!(steps, 6729);
    assert!(pickled == Demonstration::of_copy().unwrap());
    assert!(pickled == Demonstration::of(door()).unwrap());
    let again = Demonstration::of_pickle("pen".parse().unwrap(), &bytes, Path::new(PICKLE));
    let said = again.unwrap_err().to_string();
    assert!(
        said.contains("demonstration 0: `desired_orien` is missing"),
        "{said}"
    );
}

/// From the copy, and where only the pickle is there from it.
#[test]
fn the_file_of_the_door_is_what_it_was_from_either() {
    let Some(folder) = folder() else { return };
    let out = tempfile::tempdir().unwrap();
    let task: TaskId = "door-human".parse().unwrap();
    let file = out.path().join("human.hdf5");
    let made = recipe::generate(task, 10, 0, Path::new("nowhere"), &file, 1).unwrap();
    assert_eq!(made.identity.sha256, HUMAN_SHA256);
    let alone = out.path().join("upstream").join(PICKLE);
    std::fs::create_dir_all(alone.parent().unwrap()).unwrap();
    std::fs::copy(folder.join(PICKLE), alone).unwrap();
    again("the_door_from_here", Some(&out.path().join("upstream")));
}

#[test]
fn the_door_from_here() {
    // Run by the test above, with a folder of its own.
    if !is_child() {
        return;
    }
    assert!(Demonstration::of_copy().is_err());
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("human.hdf5");
    let task: TaskId = "door-human".parse().unwrap();
    let made = recipe::generate(task, 10, 0, Path::new("nowhere"), &file, 1).unwrap();
    assert_eq!(made.identity.sha256, HUMAN_SHA256);
}

#[test]
fn what_is_missing_is_said_in_a_line() {
    again("missing_files", None);
    let folder = tempfile::tempdir().unwrap();
    again("missing_files", Some(folder.path()));
}

#[test]
fn missing_files() {
    // Run by the test above, without the files.
    if !is_child() {
        return;
    }
    for name in ["pen", "door", "hammer", "relocate"] {
        for kind in ["human", "cloned"] {
            let task: TaskId = format!("{name}-{kind}").parse().unwrap();
            let out = Path::new("never.hdf5");
            let error = recipe::generate(task, 10, 0, Path::new("nowhere"), out, 1);
            let error = error.unwrap_err();
            assert!(matches!(error, CollectError::Upstream { .. }), "{error:?}");
            let said = error.to_string();
            let file = format!("hand_dapg/demonstrations/{name}-v0_demos.pickle is needed");
            assert!(said.starts_with(&file), "{said}");
            let variable = said.contains("SPAR_UPSTREAM_DIR name a folder that holds it");
            assert!(
                variable && said.contains("dapg/demonstrations of"),
                "{said}"
            );
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(!out.exists());
        }
    }
}

#[test]
fn another_file_in_its_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder
        .path()
        .join("hand_dapg/demonstrations/pen-v0_demos.pickle");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, b"\x80\x03cos\nsystem\n.").unwrap();
    again("another_file", Some(folder.path()));
    // Larger than any: not even read.
    let large = std::fs::File::create(&file).unwrap();
    large.set_len(1 << 40).unwrap();
    again("another_file", Some(folder.path()));
}

#[test]
fn another_file() {
    // Run by the test above, with a file of its own.
    if !is_child() {
        return;
    }
    let error = Demonstration::of("pen".parse().unwrap()).unwrap_err();
    let said = error.to_string();
    let name = said.contains("git's name of it is") && said.contains("expected 6322e0f5");
    assert!(name || said.contains("expected at most"), "{said}");
}

/// Numbers of a first state, where things stand in it, and what was done, of any task.
fn recorded(name: &str) -> (EnvId, Vec<u8>, Vec<f32>, Vec<f32>) {
    let env: EnvId = name.parse().unwrap();
    let keys: &[(&str, &[f64])] = match name {
        "pen" => &[("desired_orien", &[0.8, 0.36, -0.48, 0.0])],
        "door" => &[("door_body_pos", &[-0.24, 0.29, 0.31])],
        "hammer" => &[("board_pos", &[0.05, 0.0, 0.17])],
        _ => &[
            ("obj_pos", &[0.08, -0.11, 0.035]),
            ("target_pos", &[-0.1, 0.12, 0.27]),
        ],
    };
    let place: Vec<f64> = keys
        .iter()
        .flat_map(|(_, numbers)| numbers.to_vec())
        .collect();
    let mut world = spar_env::make(env).unwrap();
    let state = world.physics_mut().unwrap();
    // Not all at rest.
    let mut qpos = vec![0.0; state.nq()];
    let qvel = vec![0.0; state.nv()];
    qpos[1] = 0.02;
    state.set_placed(&qpos, &qvel, &place).unwrap();
    let mut stream = Stream::new(1, "acts");
    let (mut seen, mut acted, mut rewards) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..20 {
        seen.extend_from_slice(world.obs());
        let action: Vec<f64> = (0..env.act_dim())
            .map(|_| stream.uniform(-1.3, 1.3))
            .collect();
        let clipped: Vec<f32> = action.iter().map(|a| a.clamp(-1.0, 1.0) as f32).collect();
        rewards.push(world.step(&clipped).unwrap().reward);
        acted.extend(action);
    }
    let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
    let mut expected = single(&seen);
    expected.extend(single(world.obs()));
    let mut start = vec![
        ("qpos", array(&[qpos.len()], &qpos)),
        ("qvel", array(&[qvel.len()], &qvel)),
    ];
    start.extend(
        keys.iter()
            .map(|(key, numbers)| (*key, array(&[numbers.len()], numbers))),
    );
    let demo = dict(&[
        ("observations", array(&[20, env.obs_dim()], &seen)),
        ("actions", array(&[20, env.act_dim()], &acted)),
        ("rewards", array(&[20], &rewards)),
        ("init_state_dict", dict(&start)),
    ]);
    (env, pickle(&list(&[demo])), expected, single(&rewards))
}

/// The first state of each task is set from its own keys, as D4RL does: what follows is then
/// what was recorded. The door's is read off the observation.
#[test]
fn demonstrations_of_every_task_are_played_from_where_they_began() {
    for name in ["pen", "door", "hammer", "relocate"] {
        let (env, bytes, seen, rewards) = recorded(name);
        let demos = Demonstration::of_pickle(env, &bytes, Path::new("mine")).unwrap();
        let played = play(env, &demos, 0).unwrap();
        let [steps] = &played[..] else {
            panic!("{played:?}");
        };
        let off = |a: &[f32], b: &[f32]| {
            assert_eq!(a.len(), b.len());
            let off = a.iter().zip(b).map(|(a, b)| (a - b).abs());
            off.fold(0.0, f32::max)
        };
        let most = if name == "door" { 1e-5 } else { 0.0 };
        assert!(off(&steps.obs, &seen) <= most, "{name}");
        assert!(off(&steps.rewards, &rewards) <= most, "{name}");
        assert!(steps.actions.iter().all(|a| a.abs() <= 1.0));
        assert!(steps.actions.contains(&1.0), "{name}");
    }
}

/// The place that is read off the first observation of a door's demonstration is the one that
/// it has.
#[test]
fn a_doors_place_is_the_recorded_one() {
    if folder().is_none() {
        return;
    }
    let mut world = spar_env::make(door()).unwrap();
    for demo in Demonstration::of(door()).unwrap() {
        let mut handle = |placed: bool| {
            let state = world.physics_mut().unwrap();
            let Demonstration { qpos, qvel, .. } = &demo;
            match placed {
                true => state.set_placed(qpos, qvel, &demo.place).unwrap(),
                false => {
                    let first = &demo.observations[..door().obs_dim()];
                    state.set_observed(qpos, qvel, first).unwrap();
                }
            }
            world.obs()[32..35].to_vec()
        };
        for (a, b) in handle(true).iter().zip(handle(false)) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }
}

#[test]
fn pickles_of_other_things_are_no_demonstrations() {
    let said = |body: &[u8]| {
        let read = Demonstration::of_pickle(door(), &pickle(body), Path::new("mine"));
        read.unwrap_err().to_string()
    };
    assert!(said(&dict(&[])).contains("no list"));
    assert!(said(&list(&[list(&[])])).contains("no dictionary"));
    assert!(said(&list(&[dict(&[])])).contains("`init_state_dict` is missing"));
    let start = ("init_state_dict", dict(&[]));
    let with = |more: (&str, Vec<u8>)| list(&[dict(&[start.clone(), more])]);
    assert!(said(&with(("rewards", list(&[])))).contains("is no array"));
    assert!(said(&with(("rewards", array(&[0], &[])))).contains("no steps"));
    let nan = array(&[1], &[f64::NAN]);
    assert!(said(&with(("rewards", nan))).contains("no finite number"));
    let one = with(("rewards", array(&[1], &[0.0])));
    assert!(said(&one).contains("`qpos` is missing"));
    assert!(said(b"cos\nsystem\n").contains("os.system"));
    let nobody = Demonstration::of("hopper".parse().unwrap()).unwrap_err();
    assert!(
        nobody
            .to_string()
            .contains("pen, door, hammer and relocate only")
    );
}

/// A clone that is trained in no time.
fn short() -> AnchorConfig {
    AnchorConfig {
        hidden: vec![32, 32],
        updates: 60,
        ..AnchorConfig::default()
    }
}

fn make(rows: usize, seed: u64, out: &Path, threads: usize) -> Generated {
    let task = "door-cloned".parse().unwrap();
    cloned::generate(task, rows, seed, &short(), out, threads).unwrap()
}

/// Of 1,000 rows the clone's end with the third episode, at 600; the first two demonstrations,
/// of 300 steps and more, follow.
#[test]
fn cloned_data_are_the_clones_and_then_the_demonstrations() {
    if folder().is_none() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("cloned.hdf5");
    let made = make(1000, 5, &file, 1);
    assert_eq!(made.identity.rows, 1000);
    let data = Dataset::read_for(&file, door()).unwrap();
    let human = out.path().join("human.hdf5");
    let task: TaskId = "door-human".parse().unwrap();
    recipe::generate(task, 10, 0, Path::new("nowhere"), &human, 1).unwrap();
    let human = Dataset::read_for(&human, door()).unwrap();
    let (obs, act) = (door().obs_dim(), door().act_dim());
    assert_eq!(
        data.observations[600 * obs..],
        human.observations[..400 * obs]
    );
    assert_eq!(data.actions[600 * act..], human.actions[..400 * act]);
    assert_eq!(data.rewards[600..], human.rewards[..400]);
    let timeouts = data.timeouts.as_ref().unwrap();
    let cuts: Vec<_> = (0..1000).filter(|&row| timeouts[row]).collect();
    let first = made.episodes[3].length;
    assert_eq!(cuts, [199, 399, 599, 599 + first]);
    assert!(data.terminals.iter().all(|terminal| !terminal));
    let ends: Vec<_> = made.episodes.iter().map(|e| (e.stage, e.end)).collect();
    let timeout = |stage| (stage, End::Timeout);
    let clones = [timeout(0), timeout(0), timeout(0)];
    assert_eq!(
        ends,
        [&clones[..], &[timeout(1), (1, End::Unfinished)]].concat()
    );
    let [clone, people] = &made.behavior[..] else {
        panic!("{:?}", made.behavior);
    };
    assert_eq!((clone.rows, people.rows), (600, 400));
    assert!(clone.policy.contains("clone") && clone.mean_return.is_some());
    assert!(people.policy.contains("replayed") && people.mean_return.is_some());
    assert_eq!(data.metadata["algorithm"], "behaviour cloning");
    let said = &data.metadata["spar_policies"];
    assert!(said.contains("[32, 32], 60 updates of 256 rows"), "{said}");
    assert!(made.identity.id.contains("local"), "{}", made.identity.id);
    let found = verify(&data, door(), None, Tolerance::of(door())).unwrap();
    assert!(found.ok && found.checked == 1000, "{found:?}");
    // The same seed gives the same bytes on any number of threads, another one others.
    let second = make(1000, 5, &out.path().join("again.hdf5"), 2);
    assert_eq!(second.identity.sha256, made.identity.sha256);
    let third = make(1000, 6, &out.path().join("other.hdf5"), 2);
    assert_ne!(third.identity.sha256, made.identity.sha256);
}

/// The row that ends the clone's part is in the second half: not the one that ends the first.
#[test]
fn the_clones_part_ends_in_the_second_half() {
    if folder().is_none() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("cloned.hdf5");
    for (rows, of_clone) in [(799, 400), (800, 600), (801, 600), (400, 400), (10, 10)] {
        let made = make(rows, 0, &file, 1);
        let [clone, people] = &made.behavior[..] else {
            panic!("{:?}", made.behavior);
        };
        assert_eq!(
            (clone.rows, people.rows),
            (of_clone, rows - of_clone),
            "{rows}"
        );
    }
}

#[test]
fn a_clone_needs_rows() {
    let error = Cloned::train(door(), &[], &[], &short(), 0).unwrap_err();
    assert!(
        error.to_string().contains("0 numbers of observations"),
        "{error}"
    );
    let ragged = Cloned::train(door(), &[0.0; 40], &[0.0; 28], &short(), 0).unwrap_err();
    assert!(ragged.to_string().contains("rows of 39 and 28"), "{ragged}");
}

#[test]
fn every_task_of_adroit_has_a_recipe_and_the_kitchen_none() {
    let rows = |task: &str| recipe::rows_of(task.parse().unwrap(), 1_000_000);
    assert_eq!(rows("pen-cloned"), Some(500_000));
    for task in ["door-cloned", "hammer-cloned", "relocate-cloned"] {
        assert_eq!(rows(task), Some(1_000_000));
    }
    let people = ["pen-human", "door-human", "hammer-human", "relocate-human"];
    assert_eq!(people.map(rows), [5000, 6729, 11310, 9942].map(Some));
    for task in ["kitchen-mixed", "door-human-v0", "pen-cloned-v0"] {
        assert_eq!(rows(task), None, "{task}");
    }
    assert!(
        !Upstream {
            file: "none",
            sha256: "",
            instead: ""
        }
        .is_here()
    );
}
