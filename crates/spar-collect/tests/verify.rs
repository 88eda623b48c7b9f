//! Rollouts recorded here pass the check; each way of spoiling them is seen.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use spar_collect::verify::{Tolerance, Verification, VerifyError, verify};
use spar_core::{EnvId, Stream};
use spar_data::{Dataset, Row, Writer};

/// `rows` steps of uniform random actions, through a file.
fn rollout(id: EnvId, rows: usize) -> Dataset {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random.hdf5");
    let mut env = spar_env::make(id).unwrap();
    let (nq, nv) = (env.physics().unwrap().nq(), env.physics().unwrap().nv());
    let (o, a) = (id.obs_dim(), id.act_dim());
    let mut writer = Writer::create(&path, o, a, nq, nv, &BTreeMap::new()).unwrap();
    let mut stream = Stream::new(1, "verify");
    let single = |obs: &[f64]| obs.iter().map(|&x| x as f32).collect::<Vec<_>>();
    let mut step = 0;
    for _ in 0..rows {
        if step == 0 {
            env.reset(&mut stream).unwrap();
        }
        let (obs, qpos, qvel) = (
            single(env.obs()),
            env.physics().unwrap().qpos().to_vec(),
            env.physics().unwrap().qvel().to_vec(),
        );
        let mut action = vec![0f32; a];
        stream.fill_uniform(-1.0, 1.0, &mut action);
        let did = env.step(&action).unwrap();
        step += 1;
        let timeout = step == id.horizon();
        writer
            .push(&Row {
                obs: &obs,
                action: &action,
                reward: did.reward as f32,
                terminal: did.terminal && !timeout,
                timeout,
                next_obs: &single(env.obs()),
                qpos: &qpos,
                qvel: &qvel,
            })
            .unwrap();
        if did.terminal || timeout {
            step = 0;
        }
    }
    writer.finish().unwrap();
    Dataset::read_for(&path, id).unwrap()
}

fn check(data: &Dataset, id: EnvId) -> Verification {
    verify(data, id, None, Tolerance::of(id)).unwrap()
}

#[test]
fn every_environments_rollouts_pass() {
    // Data of mazes have rewards of their own recipes, which `maze.rs` and `ant_maze.rs` make.
    // The kitchen's observations are noisy.
    let others = |id: &EnvId| id.name().contains("maze") || id.name().contains("kitchen");
    for id in spar_env::simulated().into_iter().filter(|id| !others(id)) {
        let mut data = rollout(id, 2500);
        let found = check(&data, id);
        println!("{found:?}");
        assert!(found.ok && found.terminal_mismatches == 0, "{found:?}");
        assert_eq!((found.rows, found.checked), (2500, 2500));
        assert_eq!(found.episodes, data.episodes(id.horizon()).count());
        assert!(found.mean_return.is_some());
        // Without next observations the next row serves, but for episode ends.
        data.next_observations = None;
        assert!(check(&data, id).ok);
        let some = verify(&data, id, Some(100), Tolerance::of(id)).unwrap();
        assert!(some.ok && some.checked == 100 && some.rows == 2500);
    }
}

#[test]
fn each_spoiled_array_is_seen() {
    let id = EnvId::POINT_MASS;
    let sound = rollout(id, 300);
    let spoil = |change: &dyn Fn(&mut Dataset)| {
        let mut data = sound.clone();
        change(&mut data);
        check(&data, id)
    };
    let found = spoil(&|d| d.observations[2 * 42] += 0.01);
    assert!(!found.ok && found.worst_obs_row == 42 && found.max_abs_state > 0.0099);
    let found = spoil(&|d| d.next_observations.as_mut().unwrap()[2 * 43 + 1] += 0.01);
    assert!(!found.ok && found.worst_obs_row == 43 && found.max_abs_state < 1e-6);
    assert!((found.max_abs_obs - 0.01).abs() < 1e-6);
    let found = spoil(&|d| d.rewards[44] -= 0.5);
    assert!(!found.ok && found.worst_reward_row == 44);
    assert!((found.max_abs_reward - 0.5).abs() < 1e-6 && found.max_abs_obs < 1e-6);
    let found = spoil(&|d| d.terminals[45] ^= true);
    assert!(!found.ok && found.terminal_mismatches == 1);
    let found = spoil(&|d| d.actions.rotate_left(1));
    assert!(!found.ok);

    let loose = Tolerance {
        obs: 0.1,
        reward: 1.0,
        terminals: 1,
    };
    let mut data = sound.clone();
    data.observations[2 * 42] += 0.01;
    data.terminals[45] ^= true;
    assert!(verify(&data, id, None, loose).unwrap().ok);
}

#[test]
fn what_cannot_be_checked_is_said() {
    let mut data = rollout(EnvId::POINT_MASS, 20);
    let other = verify(&data, EnvId::HOPPER, None, Tolerance::default()).unwrap_err();
    assert!(matches!(other, VerifyError::Width { .. }), "{other}");
    data.qvel = None;
    let none = verify(&data, EnvId::POINT_MASS, None, Tolerance::default()).unwrap_err();
    assert!(
        none.to_string().contains("key `infos/qvel` is missing"),
        "{none}"
    );
}
