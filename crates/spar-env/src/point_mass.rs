//! A point on a line, for tests that need an environment but no MuJoCo.

use spar_core::{EnvId, Stream};

use crate::{Env, EnvError, Physics, Role, Scene, Shape, Solid, Step, View, check_input};

const DT: f64 = 0.1;
const BOUND: f64 = 2.0;

/// Radius of the point where it is drawn.
const SIZE: f64 = 0.1;
const UPRIGHT: [f64; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

/// A unit mass at `x` with velocity `v` (observation and state `[x, v]`),
/// pushed by the force `a` clamped to `[-1, 1]`, semi-implicit Euler with a
/// step of 0.1: `v += 0.1 a; x += 0.1 v`.
///
/// Reward `1 - x^2 - 0.01 a^2` of the state reached and the action as given;
/// terminal when `|x| > 2`. Episodes start at rest with `x` uniform on
/// `[-1, 1)`.
#[derive(Default)]
pub(crate) struct PointMass {
    state: [f64; 2],
}

impl Env for PointMass {
    fn id(&self) -> EnvId {
        EnvId::POINT_MASS
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        self.state = [stream.uniform(-1.0, 1.0), 0.0];
        Ok(())
    }

    fn obs(&self) -> &[f64] {
        &self.state
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        check_input(
            self.id(),
            "action",
            action.iter().map(|&a| f64::from(a)),
            self.id().act_dim(),
        )?;
        let force = f64::from(action[0]);
        let [x, v] = &mut self.state;
        *v += DT * force.clamp(-1.0, 1.0);
        *x += DT * *v;
        Ok(Step {
            reward: 1.0 - *x * *x - 0.01 * force * force,
            terminal: x.abs() > BOUND,
        })
    }

    state_of_simulation!();

    fn scene(&self) -> Option<Scene> {
        let body = Solid {
            shape: Shape::Sphere { radius: SIZE },
            role: Role::Body,
            position: [self.state[0], 0.0, SIZE],
            rotation: UPRIGHT,
        };
        let floor = Solid {
            shape: Shape::Plane,
            role: Role::World,
            position: [0.0; 3],
            rotation: UPRIGHT,
        };
        Some(Scene {
            view: View::Side,
            step_seconds: DT,
            solids: vec![floor, body, Solid::goal(0.0, 0.0, SIZE)],
        })
    }
}

impl Physics for PointMass {
    fn set_state(&mut self, qpos: &[f64], qvel: &[f64]) -> Result<(), EnvError> {
        check_input(self.id(), "qpos", qpos.iter().copied(), 1)?;
        check_input(self.id(), "qvel", qvel.iter().copied(), 1)?;
        self.state = [qpos[0], qvel[0]];
        Ok(())
    }

    fn qpos(&self) -> &[f64] {
        &self.state[..1]
    }

    fn qvel(&self) -> &[f64] {
        &self.state[1..]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_the_documented_one() {
        let mut env = PointMass::default();
        env.set_state(&[1.0], &[0.5]).unwrap();
        let step = env.step(&[-3.0]).unwrap();
        let v = 0.5 - 0.1;
        let x = 1.0 + 0.1 * v;
        assert_eq!(env.obs(), [x, v]);
        assert_eq!(step.reward, 1.0 - x * x - 0.01 * 9.0);
        assert!(!step.terminal);
    }

    #[test]
    fn leaving_the_line_ends_the_episode() {
        for side in [-1.0, 1.0] {
            let mut env = PointMass::default();
            env.set_state(&[side * 1.95], &[side]).unwrap();
            assert!(env.step(&[0.0]).unwrap().terminal);
        }
    }
}
