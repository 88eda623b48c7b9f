//! What callers rely on besides gymnasium's numbers: initial states,
//! determinism, refusals, and no trace of MuJoCo's own log.
#![allow(clippy::unwrap_used)]

use std::{fs, process::Command};

use spar_core::{EnvId, Stream};
use spar_env::{Env, EnvError};

fn make(id: EnvId) -> Box<dyn Env> {
    spar_env::make(id).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn an_environment_starts_at_its_rest_pose_with_the_widths_of_its_id() {
    for id in spar_env::simulated() {
        let env = make(id);
        assert_eq!((env.id(), env.obs().len()), (id, id.obs_dim()));
        // Its start, which every episode has, is no rest pose.
        if id.name().starts_with("kitchen") {
            continue;
        }
        let mut rest = vec![0.0; env.physics().unwrap().nq()];
        if [EnvId::HOPPER, EnvId::WALKER2D].contains(&id) {
            rest[1] = 1.25;
        } else if id.name().starts_with("ant") {
            // Height, and no turn.
            rest[2..4].copy_from_slice(&[0.75, 1.0]);
        }
        assert_eq!(env.physics().unwrap().qpos(), rest);
        assert!(env.physics().unwrap().qvel().iter().all(|&v| v == 0.0));
    }
}

/// Environments that observe what a reset draws, beside the state.
const DRAWN: [&str; 7] = [
    "pen",
    "door",
    "hammer",
    "relocate",
    "kitchen",
    "kitchen-mixed",
    "antmaze-ant",
];

/// `(mean, variance, largest magnitude)`.
fn moments(x: &[f64]) -> (f64, f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    (mean, var, x.iter().fold(0.0, |m, x| x.abs().max(m)))
}

#[test]
fn resets_have_gyms_distribution() {
    let ant: EnvId = "ant".parse().unwrap();
    for (id, scale) in [
        (EnvId::HALF_CHEETAH, 0.1),
        (EnvId::HOPPER, 5e-3),
        (EnvId::WALKER2D, 5e-3),
        (ant, 0.1),
    ] {
        let mut env = make(id);
        let rest = env.physics().unwrap().qpos().to_vec();
        let mut stream = Stream::new(11, "resets");
        let (mut positions, mut velocities) = (Vec::new(), Vec::new());
        for _ in 0..2_000 {
            env.reset(&mut stream).unwrap();
            positions.extend(
                env.physics()
                    .unwrap()
                    .qpos()
                    .iter()
                    .zip(&rest)
                    .map(|(q, r)| (q - r) / scale),
            );
            velocities.extend(env.physics().unwrap().qvel().iter().map(|v| v / scale));
        }
        let uniform = |(mean, var, most): (f64, f64, f64)| {
            mean.abs() < 0.02
                && (var - 1.0 / 3.0).abs() < 0.01
                && (0.99..1.0 + 1e-9).contains(&most)
        };
        let normal = |(mean, var, most): (f64, f64, f64)| {
            mean.abs() < 0.03 && (var - 1.0).abs() < 0.05 && (3.0..6.0).contains(&most)
        };
        assert!(uniform(moments(&positions)), "{id} qpos");
        let qvel = moments(&velocities);
        let expected = if [EnvId::HALF_CHEETAH, ant].contains(&id) {
            normal(qvel)
        } else {
            uniform(qvel)
        };
        assert!(expected, "{id} qvel: {qvel:?}");
    }
}

#[test]
fn the_future_depends_on_state_and_actions_alone() {
    for id in spar_env::simulated() {
        let mut env = make(id);
        env.reset(&mut Stream::new(5, "start")).unwrap();
        let (qpos, qvel) = (
            env.physics().unwrap().qpos().to_vec(),
            env.physics().unwrap().qvel().to_vec(),
        );
        let run = |env: &mut dyn Env| {
            env.physics_mut().unwrap().set_state(&qpos, &qvel).unwrap();
            let mut actions = Stream::new(6, "actions");
            let mut action = vec![0.0; id.act_dim()];
            let mut seen = Vec::new();
            for _ in 0..200 {
                actions.fill_uniform(-1.0, 1.0, &mut action);
                seen.push(env.step(&action).unwrap().reward);
                seen.extend_from_slice(env.obs());
            }
            seen
        };
        let first = run(&mut *env);
        assert!(first == run(&mut *env), "{id}: same environment again");
        let mut other = make(id);
        if DRAWN.contains(&id.name()) {
            other.reset(&mut Stream::new(5, "start")).unwrap();
        }
        assert!(first == run(&mut *other), "{id}: another environment");
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    for id in spar_env::simulated() {
        let mut env = make(id);
        env.reset(&mut Stream::new(1, "start")).unwrap();
        let (qpos, qvel) = (
            env.physics().unwrap().qpos().to_vec(),
            env.physics().unwrap().qvel().to_vec(),
        );
        let (nq, nv, act) = (
            env.physics().unwrap().nq(),
            env.physics().unwrap().nv(),
            id.act_dim(),
        );

        let error = env
            .physics_mut()
            .unwrap()
            .set_state(&qpos[1..], &qvel)
            .unwrap_err()
            .to_string();
        let expected = format!("{id}: qpos: expected {nq} values, got {}", nq - 1);
        assert_eq!(error, expected);
        let error = env
            .physics_mut()
            .unwrap()
            .set_state(&qpos, &[])
            .unwrap_err()
            .to_string();
        assert_eq!(error, format!("{id}: qvel: expected {nv} values, got 0"));
        let error = env.step(&vec![0.0; act + 1]).unwrap_err().to_string();
        let expected = format!("{id}: action: expected {act} values, got {}", act + 1);
        assert_eq!(error, expected);
        let mut action = vec![0.0; act];
        action[act - 1] = f32::NAN;
        let error = env.step(&action).unwrap_err().to_string();
        let expected = format!(
            "{id}: action[{}]: expected a finite number, got NaN",
            act - 1
        );
        assert_eq!(error, expected);
        let infinite = vec![f64::INFINITY; nv];
        let error = env
            .physics_mut()
            .unwrap()
            .set_state(&qpos, &infinite)
            .unwrap_err()
            .to_string();
        let expected = format!("{id}: qvel[0]: expected a finite number, got inf");
        assert_eq!(error, expected);

        assert_eq!(
            (env.physics().unwrap().qpos(), env.physics().unwrap().qvel()),
            (&qpos[..], &qvel[..])
        );
    }
}

#[test]
fn a_diverged_simulation_is_an_error_and_a_reset_mends_it() {
    let mut env = make(EnvId::HALF_CHEETAH);
    let qpos = env.physics().unwrap().qpos().to_vec();
    let mut qvel = env.physics().unwrap().qvel().to_vec();
    qvel[3] = 1e12;
    for _ in 0..2 {
        let outcome = env
            .physics_mut()
            .unwrap()
            .set_state(&qpos, &qvel)
            .and_then(|()| env.step(&[0.0; 6]));
        let error = outcome.unwrap_err();
        assert!(matches!(error, EnvError::Unstable { .. }), "{error}");
        assert!(error.to_string().contains("Nan, Inf or huge"), "{error}");
    }
    env.reset(&mut Stream::new(0, "again")).unwrap();
    env.step(&[0.0; 6]).unwrap();
}

#[test]
fn versions_are_named() {
    let version = spar_env::mujoco_version().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(version, "3.17.0");
    assert_eq!(spar_env::physics_version(EnvId::HOPPER).unwrap(), version);
    assert_eq!(
        spar_env::physics_version(EnvId::POINT_MASS).unwrap(),
        "none"
    );
}

/// One test of this file in a process of its own.
fn in_child(test: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]);
    child
}

#[test]
fn mujocos_log_reaches_neither_stderr_nor_the_working_directory() {
    // An empty working directory outside the workspace: parts are found without it.
    let folder = tempfile::tempdir().unwrap();
    let mut child = in_child("a_diverged_simulation_is_an_error_and_a_reset_mends_it");
    let output = child.current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// As in a folder of somebody else's files: a library there is code that must not run,
/// and models there are other physics.
#[test]
fn parts_in_the_working_directory_are_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let native = folder.path().join(".spar/native");
    fs::create_dir_all(native.join("mujoco-3.17.0")).unwrap();
    fs::create_dir_all(native.join("models")).unwrap();
    fs::write(
        native.join("mujoco-3.17.0/libmujoco.so.3.17.0"),
        "no library",
    )
    .unwrap();
    fs::write(native.join("models/hopper.xml"), "<mujoco/>").unwrap();
    let inner = folder.path().join("deep/er");
    fs::create_dir_all(&inner).unwrap();
    for place in [folder.path(), &inner] {
        let mut child =
            in_child("an_environment_starts_at_its_rest_pose_with_the_widths_of_its_id");
        let output = child.current_dir(place).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_missing_part_is_named_with_its_remedy() {
    for (variable, what) in [
        ("SPAR_MUJOCO_LIB", "MuJoCo 3.17.0 library"),
        ("SPAR_MUJOCO_MODELS", "MuJoCo model folder"),
    ] {
        let output = in_child("an_environment_starts_at_its_rest_pose_with_the_widths_of_its_id")
            .env(variable, "nowhere/at-all")
            .output()
            .unwrap();
        assert!(!output.status.success());
        let expected = format!(
            "{what} not found; looked at: nowhere/at-all; \
             run `spar setup` to fetch it, or set {variable}"
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.lines().any(|line| line == expected), "{said}");
    }
}
