//! What the four tasks observe and reward, and what a reset draws.
//!
//! Places are read as MuJoCo last computed them: after a step they belong to the state
//! before its last integration, as in D4RL.

use spar_core::Stream;

use super::{
    geometry::{Vec3, difference, distance, dot, euler_of, norm, rotation_to},
    model::{self, MOVED, Main},
};
use crate::{
    EnvError,
    mujoco::{Body, Model, Sensor, Simulation},
};

/// Where the hand grasps, in the palm.
const GRASP: Vec3 = [0.007, -0.05, 0.07];

/// The pen's ends, in the pen, and in the target.
const TOP: Vec3 = [0.0, 0.0, 0.065];
const BOTTOM: Vec3 = [0.0, 0.0, -0.065];

/// Between them.
const PEN_LENGTH: f64 = 0.13;

/// Where the pen is held.
const PEN_PLACE: Vec3 = [0.0, -0.2, 0.25];

const HANDLE: Vec3 = [0.15, -0.15, 0.0];
const NAIL_HEAD: Vec3 = [0.0, 0.0, 0.101];
const HAMMER_HEAD: Vec3 = [-0.2, 0.0, -0.04];
const NAIL_GOAL: Vec3 = [0.0, 0.0, 0.01];

/// How high the ball lies in the body that is moved.
const BALL_HEIGHT: f64 = 0.035;

/// Height below which the pen is dropped, and that of a lifted hammer or ball.
const DROPPED: f64 = 0.075;
const LIFTED: f64 = 0.04;

/// A task, with the parts of its model that it reads.
pub(super) enum Task {
    /// Turn a pen in the hand.
    Pen { pen: Body, target: Body },
    /// Undo a latch and pull a door open.
    Door { latch: Body },
    /// Drive a nail into a board.
    Hammer {
        hammer: Body,
        nail: Body,
        board: Body,
        touch: Sensor,
    },
    /// Carry a ball to a place.
    Relocate { ball: Body, target: Vec3 },
}

impl Task {
    /// The model of the task called `name`; `None` if there is no such task.
    pub(super) fn main(name: &str) -> Option<&'static Main> {
        Some(match name {
            "pen" => &model::PEN,
            "door" => &model::DOOR,
            "hammer" => &model::HAMMER,
            "relocate" => &model::RELOCATE,
            _ => return None,
        })
    }

    /// The task called `name` in its `model`.
    pub(super) fn of(name: &str, model: &Model) -> Result<Self, EnvError> {
        Ok(match name {
            "pen" => Self::Pen {
                pen: model.body("Object")?,
                target: model.body("target")?,
            },
            "door" => Self::Door {
                latch: model.body("latch")?,
            },
            "hammer" => Self::Hammer {
                hammer: model.body("Object")?,
                nail: model.body("nail")?,
                board: model.body("nail_board")?,
                touch: model.sensor("S_nail")?,
            },
            _ => Self::Relocate {
                ball: model.body("Object")?,
                // Where the model's file has it.
                target: [-0.007, 0.0, 0.2],
            },
        })
    }

    /// Draws what differs between episodes; the next state that is set has it.
    pub(super) fn draw(&mut self, simulation: &mut Simulation, stream: &mut Stream) {
        match self {
            Self::Pen { .. } => {
                let turns = [stream.uniform(-1.0, 1.0), stream.uniform(-1.0, 1.0)];
                let quaternion = quaternion_of(turns);
                let target = simulation.mocap_orientation(MOVED);
                target.copy_from_slice(&quaternion);
            }
            Self::Door { .. } => {
                let place = [
                    stream.uniform(-0.3, -0.2),
                    stream.uniform(0.25, 0.35),
                    stream.uniform(0.252, 0.35),
                ];
                simulation.mocap_position(MOVED).copy_from_slice(&place);
            }
            Self::Hammer { .. } => {
                simulation.mocap_position(MOVED)[2] = stream.uniform(0.1, 0.25);
            }
            Self::Relocate { target, .. } => {
                let place = [stream.uniform(-0.15, 0.15), stream.uniform(-0.15, 0.3), 0.0];
                simulation.mocap_position(MOVED).copy_from_slice(&place);
                *target = [
                    stream.uniform(-0.2, 0.2),
                    stream.uniform(-0.2, 0.2),
                    stream.uniform(0.15, 0.35),
                ];
            }
        }
    }

    /// Numbers of [`Self::put`].
    pub(super) fn place_len(&self) -> usize {
        match self {
            Self::Pen { .. } => 4,
            Self::Door { .. } | Self::Hammer { .. } => 3,
            Self::Relocate { .. } => 6,
        }
    }

    /// Puts what differs between episodes where D4RL's `set_env_state` does; the next state
    /// that is set has it. `place` is [`Self::place_len`] long: pen's `desired_orien`, door's
    /// `door_body_pos`, hammer's `board_pos`, relocate's `obj_pos` and then `target_pos`.
    pub(super) fn put(&mut self, simulation: &mut Simulation, place: &[f64]) {
        match self {
            Self::Pen { .. } => simulation.mocap_orientation(MOVED).copy_from_slice(place),
            Self::Door { .. } | Self::Hammer { .. } => {
                simulation.mocap_position(MOVED).copy_from_slice(place);
            }
            Self::Relocate { target, .. } => {
                let (ball, goal) = place.split_at(3);
                let body = [ball[0], ball[1], ball[2] - BALL_HEIGHT];
                simulation.mocap_position(MOVED).copy_from_slice(&body);
                target.copy_from_slice(goal);
            }
        }
    }

    /// Takes what differs between episodes from the observation `seen` of a state that was
    /// just set, all but it as recorded; the next state that is set has it.
    pub(super) fn recover(&mut self, simulation: &mut Simulation, palm: Body, seen: &[f64]) {
        let vec = |at: usize| -> Vec3 { [seen[at], seen[at + 1], seen[at + 2]] };
        let shift = |simulation: &mut Simulation, by: Vec3, axes: &[usize]| {
            let place = simulation.mocap_position(MOVED);
            for &axis in axes {
                place[axis] += by[axis];
            }
        };
        match self {
            // The target is a cylinder: how it is turned about itself changes nothing.
            Self::Pen { .. } => {
                let quaternion = rotation_to(vec(36));
                let target = simulation.mocap_orientation(MOVED);
                target.copy_from_slice(&quaternion);
            }
            Self::Door { latch } => {
                let off = difference(vec(32), simulation.point(*latch, HANDLE));
                shift(simulation, off, &[0, 1, 2]);
            }
            Self::Hammer { nail, .. } => {
                let off = difference(vec(42), simulation.point(*nail, NAIL_HEAD));
                shift(simulation, off, &[2]);
            }
            Self::Relocate { ball, target } => {
                let palm = simulation.point(palm, GRASP);
                let place = difference(palm, vec(30));
                let off = difference(place, simulation.frame(*ball).position);
                shift(simulation, off, &[0, 1]);
                *target = difference(palm, vec(33));
            }
        }
    }

    /// Where the ball is to get to, which nothing in the simulation shows.
    pub(super) fn goal(&self) -> Option<Vec3> {
        match self {
            Self::Relocate { target, .. } => Some(*target),
            _ => None,
        }
    }

    /// Writes what is observed into `out`.
    pub(super) fn observe(&self, simulation: &Simulation, palm: Body, out: &mut Vec<f64>) {
        let (qpos, qvel) = (simulation.qpos(), simulation.qvel());
        let hand = qpos.len() - 6;
        let palm = simulation.point(palm, GRASP);
        out.clear();
        match self {
            Self::Pen { pen, target } => {
                let place = simulation.frame(*pen).position;
                let (is, wanted) = (direction(simulation, *pen), direction(simulation, *target));
                out.extend(&qpos[..hand]);
                out.extend(place);
                out.extend(&qvel[qvel.len() - 6..]);
                out.extend(is);
                out.extend(wanted);
                out.extend(difference(place, PEN_PLACE));
                out.extend(difference(is, wanted));
            }
            Self::Door { latch } => {
                let handle = simulation.point(*latch, HANDLE);
                let [.., hinge, turned] = qpos else { return };
                out.extend(&qpos[1..qpos.len() - 2]);
                out.extend([*turned, *hinge]);
                out.extend(palm);
                out.extend(handle);
                out.extend(difference(palm, handle));
                out.push(if *hinge > 1.0 { 1.0 } else { -1.0 });
            }
            Self::Hammer {
                hammer,
                nail,
                touch,
                ..
            } => {
                let frame = simulation.frame(*hammer);
                out.extend(&qpos[..hand]);
                let speeds = qvel[qvel.len() - 6..].iter();
                out.extend(speeds.map(|v| v.clamp(-1.0, 1.0)));
                out.extend(palm);
                out.extend(frame.position);
                out.extend(euler_of(&frame.rotation));
                out.extend(simulation.point(*nail, NAIL_HEAD));
                out.push(simulation.sensor(*touch).clamp(-1.0, 1.0));
            }
            Self::Relocate { ball, target } => {
                let ball = simulation.frame(*ball).position;
                out.extend(&qpos[..hand]);
                out.extend(difference(palm, ball));
                out.extend(difference(palm, *target));
                out.extend(difference(ball, *target));
            }
        }
    }

    /// The reward of the step that led here, and whether it ends the episode.
    pub(super) fn outcome(&self, simulation: &Simulation, palm: Body) -> (f64, bool) {
        let palm = simulation.point(palm, GRASP);
        let mut reward;
        let bonus = |applies: bool, bonus: f64| if applies { bonus } else { 0.0 };
        match self {
            Self::Pen { pen, target } => {
                let place = simulation.frame(*pen).position;
                let away = distance(place, PEN_PLACE);
                let (is, wanted) = (direction(simulation, *pen), direction(simulation, *target));
                let alike = dot(is, wanted);
                let dropped = place[2] < DROPPED;
                reward = -away + alike;
                reward += bonus(away < 0.075 && alike > 0.9, 10.0);
                reward += bonus(away < 0.075 && alike > 0.95, 50.0);
                reward -= bonus(dropped, 5.0);
                (reward, dropped)
            }
            Self::Door { latch } => {
                let handle = simulation.point(*latch, HANDLE);
                let qpos = simulation.qpos();
                let hinge = qpos[qpos.len() - 2];
                reward = -0.1 * distance(palm, handle);
                reward += -0.1 * (hinge - 1.57) * (hinge - 1.57);
                reward += -1e-5 * simulation.qvel().iter().map(|v| v * v).sum::<f64>();
                reward += bonus(hinge > 0.2, 2.0);
                reward += bonus(hinge > 1.0, 8.0);
                reward += bonus(hinge > 1.35, 10.0);
                (reward, false)
            }
            Self::Hammer {
                hammer,
                nail,
                board,
                ..
            } => {
                let place = simulation.frame(*hammer).position;
                let head = simulation.point(*hammer, HAMMER_HEAD);
                let nail = simulation.point(*nail, NAIL_HEAD);
                let left = distance(nail, simulation.point(*board, NAIL_GOAL));
                reward = -0.1 * distance(palm, place);
                reward -= distance(head, nail);
                reward -= 10.0 * left;
                reward -= 1e-2 * norm(simulation.qvel());
                reward += bonus(place[2] > LIFTED && head[2] > LIFTED, 2.0);
                reward += bonus(left < 0.02, 25.0);
                reward += bonus(left < 0.01, 75.0);
                (reward, false)
            }
            Self::Relocate { ball, target } => {
                let ball = simulation.frame(*ball).position;
                let left = distance(ball, *target);
                reward = -0.1 * distance(palm, ball);
                if ball[2] > LIFTED {
                    reward += 1.0;
                    reward += -0.5 * distance(palm, *target);
                    reward += -0.5 * left;
                }
                reward += bonus(left < 0.1, 10.0);
                reward += bonus(left < 0.05, 20.0);
                (reward, false)
            }
        }
    }
}

/// Which way a pen points.
fn direction(simulation: &Simulation, pen: Body) -> Vec3 {
    let ends = [TOP, BOTTOM].map(|end| simulation.point(pen, end));
    difference(ends[0], ends[1]).map(|x| x / PEN_LENGTH)
}

/// The orientation that D4RL's Euler angles `(a, b, 0)` name.
fn quaternion_of([a, b]: [f64; 2]) -> [f64; 4] {
    let (s0, c0) = (a / 2.0).sin_cos();
    let (s1, c1) = (-b / 2.0).sin_cos();
    [c0 * c1, s0 * c1, -(s1 * c0), -(s1 * s0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `euler2quat` of gymnasium-robotics 1.4.2, which is D4RL's.
    #[test]
    fn eulers_angles_are_d4rls() {
        for (angles, expected) in EULER {
            for (got, expected) in quaternion_of(angles).into_iter().zip(expected) {
                assert!(
                    (got - expected).abs() < 1e-15,
                    "{angles:?}: {got} {expected}"
                );
            }
        }
    }

    const EULER: [([f64; 2], [f64; 4]); 3] = [
        ([0.0, 0.0], [1.0, 0.0, 0.0, 0.0]),
        (
            [0.5, -0.75],
            [
                0.901_580_393_367_273_5,
                0.230_211_269_777_617_24,
                -0.354_886_003_162_844_9,
                -0.090_617_273_862_055_58,
            ],
        ),
        (
            [-0.9, 0.3],
            [
                0.890_336_052_017_642_1,
                -0.430_081_340_028_187_5,
                0.134_561_133_366_848_77,
                -0.065_000_437_107_963_87,
            ],
        ),
    ];
}
