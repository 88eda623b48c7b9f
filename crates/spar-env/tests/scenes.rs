//! What there is to see, held to MuJoCo's own Python: `tests/scripts/scenes.py` wrote the
//! fixture.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use spar_core::{EnvId, Stream};
use spar_env::{Env, Role, Scene, Shape, View};

const FIXTURE: &str = include_str!("../../../tests/fixtures/gymnasium/scenes.json");

fn numbers(value: &Value) -> Vec<f64> {
    let all = value.as_array().unwrap().iter();
    all.map(|x| x.as_f64().unwrap()).collect()
}

fn close(got: &[f64], expected: &[f64], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (g, e) in got.iter().zip(expected) {
        assert!(
            (g - e).abs() < 2e-6,
            "{what}: {got:?}, expected {expected:?}"
        );
    }
}

#[test]
fn solids_are_where_mujoco_s_python_has_them() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    for (name, expected) in fixture.as_object().unwrap() {
        let mut env = spar_env::make(name.parse().unwrap()).unwrap();
        let physics = env.physics_mut().unwrap();
        let nv = physics.nv();
        physics
            .set_state(&numbers(&expected["qpos"]), &vec![0.0; nv])
            .unwrap();
        let Scene { solids, .. } = env.scene().unwrap();
        let geoms = expected["geoms"].as_array().unwrap();
        assert_eq!(solids.len(), geoms.len(), "{name}");
        for (i, (solid, geom)) in solids.iter().zip(geoms).enumerate() {
            let what = format!("{name} {i}");
            close(&solid.position, &numbers(&geom["position"]), &what);
            close(&solid.rotation, &numbers(&geom["rotation"]), &what);
            let size = numbers(&geom["size"]);
            match (geom["kind"].as_i64().unwrap(), solid.shape) {
                (0, Shape::Plane) => assert_eq!(solid.role, Role::World),
                (2, Shape::Sphere { radius }) => close(&[radius], &size[..1], &what),
                // MuJoCo keeps radius and half length of a capsule.
                (3, Shape::Capsule { radius, half }) => close(&[radius, half], &size[..2], &what),
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}

/// The same steps give the same state to the bit, looked at or not.
#[test]
fn looking_changes_nothing() {
    for name in [
        "halfcheetah",
        "ant",
        "maze2d-umaze",
        "antmaze-umaze",
        "pen",
        "kitchen",
    ] {
        let env: EnvId = name.parse().unwrap();
        let play = |look: bool| {
            let mut env = spar_env::make(env).unwrap();
            env.reset(&mut Stream::new(3, "reset")).unwrap();
            let mut actions = Stream::new(4, "actions");
            for _ in 0..8 {
                let mut action = vec![0.0; env.id().act_dim()];
                actions.fill_uniform(-1.0, 1.0, &mut action);
                if look {
                    assert!(env.scene().unwrap().solids.len() > 1, "{name}");
                }
                env.step(&action).unwrap();
            }
            env.obs().to_vec()
        };
        assert_eq!(play(true), play(false), "{name}");
    }
}

fn moving(env: &dyn Env) -> [f64; 3] {
    let scene = env.scene().unwrap();
    let body = scene.solids.iter().find(|solid| solid.role == Role::Body);
    body.unwrap().position
}

#[test]
fn goals_are_where_the_reward_is() {
    // The ball on its goal, in the world's units.
    let mut env = spar_env::make("maze2d-umaze".parse().unwrap()).unwrap();
    env.physics_mut()
        .unwrap()
        .set_state(&[1.0, 1.0], &[0.0; 2])
        .unwrap();
    let scene = env.scene().unwrap();
    let goal = scene.solids.iter().find(|s| s.role == Role::Goal).unwrap();
    let ball = moving(&*env);
    close(&ball[..2], &goal.position[..2], "the ball on its goal");
    assert_eq!(env.step(&[0.0; 2]).unwrap().reward, 1.0);
    assert_eq!(scene.view, View::Above);
    let walls = scene
        .solids
        .iter()
        .filter(|s| matches!(s.shape, Shape::Box { .. }));
    assert_eq!(walls.count(), 18, "the walls of umaze");
}

#[test]
fn a_step_lasts_what_gymnasium_says() {
    // `env.unwrapped.dt` of gymnasium 1.4.0 and gymnasium-robotics 1.4.2.
    for (name, seconds) in [
        ("halfcheetah", 0.05),
        ("hopper", 0.008),
        ("walker2d", 0.008),
        ("ant", 0.05),
        ("maze2d-umaze", 0.01),
        ("antmaze-umaze", 0.1),
        ("pen", 0.01),
        ("kitchen", 0.08),
        ("pointmass", 0.1),
    ] {
        let env = spar_env::make(name.parse().unwrap()).unwrap();
        let scene = env.scene().unwrap();
        assert!((scene.step_seconds - seconds).abs() < 1e-12, "{name}");
    }
}
