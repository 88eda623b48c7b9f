//! Pictures by MuJoCo's own renderer, where this machine has OpenGL without a screen.
#![allow(clippy::unwrap_used)]

use spar_core::Stream;
use spar_env::{Env, OffScreen, Role, Solid};

const WIDTH: u32 = 160;
const HEIGHT: u32 = 120;

fn camera() -> Option<OffScreen> {
    match OffScreen::new(WIDTH, HEIGHT) {
        Ok(camera) => Some(camera),
        Err(why) => {
            eprintln!("SKIPPED: no picture is taken: {why}");
            None
        }
    }
}

fn picture(camera: &mut OffScreen, env: &dyn Env) -> Vec<u8> {
    let rgb = camera.picture(&env.subject().unwrap()).unwrap();
    assert_eq!(rgb.len(), (3 * WIDTH * HEIGHT) as usize);
    rgb
}

/// Mean column and row of the points that are greener than anything but relocate's target.
fn green(rgb: &[u8]) -> [f64; 2] {
    let (points, _) = rgb.as_chunks::<3>();
    let greens = points
        .iter()
        .enumerate()
        .filter(|(_, [r, g, b])| g.saturating_sub(*r.max(b)) > 25)
        .map(|(at, _)| [at as u32 % WIDTH, at as u32 / WIDTH].map(f64::from));
    let all: Vec<[f64; 2]> = greens.collect();
    assert!(all.len() > 20, "{} green points", all.len());
    let mean = |axis: usize| all.iter().map(|at| at[axis]).sum::<f64>() / all.len() as f64;
    [mean(0), mean(1)]
}

/// The target of relocate is the one green thing: seen along y, what is further along x is
/// further to the right, and what is further along y is further away, and so higher up.
#[test]
fn things_are_in_the_picture_where_they_are_in_the_world() {
    let Some(mut camera) = camera() else { return };
    let mut env = spar_env::make("relocate".parse().unwrap()).unwrap();
    let mut seen: Vec<([f64; 2], [f64; 2])> = Vec::new();
    for seed in 0..6 {
        env.reset(&mut Stream::new(seed, "reset")).unwrap();
        let solids = env.scene().unwrap().solids;
        let goal = solids.iter().find(|solid| solid.role == Role::Goal);
        let at = goal.unwrap().position;
        // The last numbers observed lead from there to the ball.
        let is_ball = |solid: &&Solid| {
            let from = (0..3).map(|i| solid.position[i] - at[i]);
            from.zip(&env.obs()[36..])
                .all(|(a, b)| (a - b).abs() < 1e-5)
        };
        assert!(solids.iter().any(|solid| is_ball(&solid)), "{at:?}");
        seen.push(([at[0], at[1]], green(&picture(&mut camera, &*env))));
    }
    for (a, b) in seen.iter().flat_map(|a| seen.iter().map(move |b| (a, b))) {
        if a.0[0] > b.0[0] + 0.05 {
            assert!(a.1[0] > b.1[0], "{a:?} is right of {b:?}");
        }
    }
}

/// A second environment is drawn by the same renderer, and the first one again to the same
/// points; looking changes no step.
#[test]
fn pictures_are_of_their_environment_alone_and_change_nothing() {
    let Some(mut camera) = camera() else { return };
    let mut obs = Vec::new();
    for look in [false, true] {
        let mut pen = spar_env::make("pen".parse().unwrap()).unwrap();
        let kitchen = spar_env::make("kitchen".parse().unwrap()).unwrap();
        pen.reset(&mut Stream::new(3, "reset")).unwrap();
        let mut actions = Stream::new(4, "actions");
        for _ in 0..5 {
            let mut action = vec![0.0; pen.id().act_dim()];
            actions.fill_uniform(-1.0, 1.0, &mut action);
            if look {
                let first = picture(&mut camera, &*pen);
                let other = picture(&mut camera, &*kitchen);
                assert_ne!(first, other);
                assert_eq!(first, picture(&mut camera, &*pen));
                // Light and shadow: more than a few flat colours.
                let mut shades = first.as_chunks::<3>().0.to_vec();
                shades.sort_unstable();
                shades.dedup();
                assert!(shades.len() > 50, "{}", shades.len());
            }
            pen.step(&action).unwrap();
        }
        obs.push(pen.obs().to_vec());
    }
    assert_eq!(obs[0], obs[1]);
}

#[test]
fn what_is_drawn_exactly_without_opengl_is_no_subject() {
    for name in ["hopper", "maze2d-umaze", "pointmass"] {
        let env = spar_env::make(name.parse().unwrap()).unwrap();
        assert!(env.subject().is_none(), "{name}");
    }
}
