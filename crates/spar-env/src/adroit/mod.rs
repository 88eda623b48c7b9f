//! D4RL's adroit: a hand that turns a pen, opens a door, drives a nail and carries a ball.
//!
//! Semantics are those of D4RL's `hand_manipulation_suite/*_v0.py` (github.com/Farama-Foundation/D4RL
//! at 89141a6; studied, not copied). gymnasium-robotics 1.4.2, whose model files these are,
//! observes the same, but rewards door, hammer and relocate for a hand that is *far* from
//! its object, and never ends an episode of pen.
//!
//! A reset draws where the door, the nail's board, the ball and its target are, and how the
//! pen is to be turned. That is no part of positions and velocities: it stays until the next
//! reset.

mod geometry;
mod model;
mod tasks;

use spar_core::{EnvId, Stream};

use crate::{
    Env, EnvError, Physics, Scene, Shape, Solid, Step, Subject, View, check_input,
    mujoco::{self, Body, GOAL_RADIUS, Simulation, Viewpoint},
};

use tasks::Task;

/// Physics steps per step, and seconds of each.
const FRAME_SKIP: usize = 5;
const TIMESTEP: f64 = 0.002;

/// gymnasium-robotics' distance and side, at the height of a hand.
const SEEN: Viewpoint = Viewpoint {
    at: [0.0, 0.0, 0.15],
    distance: 1.5,
    azimuth: 90.0,
    elevation: -45.0,
};

/// Ranges of the controls of the arm, by task, and of the hand's 24 joints, from the wrist
/// to the thumb.
const ARMS: [(&str, &[[f64; 2]]); 4] = [
    ("pen", &[]),
    (
        "door",
        &[[-0.3, 0.5], [-0.75, 0.75], [-0.75, 0.75], [-1.0, 2.0]],
    ),
    ("hammer", &[[-0.4, 0.25], [-0.3, 0.3]]),
    (
        "relocate",
        &[
            [-0.25, 0.25],
            [0.0, 0.2],
            [-0.3, 0.5],
            [-0.75, 0.75],
            [-0.75, 0.75],
            [-0.75, 0.75],
        ],
    ),
];

const SIDEWAYS: [f64; 2] = [-0.44, 0.44];
const BENT: [f64; 2] = [0.0, 1.6];
const HAND: [[f64; 2]; 24] = [
    [-0.524, 0.175],
    [-0.79, 0.61],
    SIDEWAYS,
    BENT,
    BENT,
    BENT,
    SIDEWAYS,
    BENT,
    BENT,
    BENT,
    SIDEWAYS,
    BENT,
    BENT,
    BENT,
    [0.0, 0.7],
    SIDEWAYS,
    BENT,
    BENT,
    BENT,
    [-1.0, 1.0],
    [0.0, 1.3],
    [-0.26, 0.26],
    [-0.52, 0.52],
    [-1.571, 0.0],
];

/// The environments, where the tables have them.
pub(crate) fn all() -> impl Iterator<Item = EnvId> {
    ARMS.iter().filter_map(|(name, _)| EnvId::named(name))
}

/// A hand over its own simulation.
pub(crate) struct Adroit {
    id: EnvId,
    simulation: Simulation,
    task: Task,
    palm: Body,
    /// Middle and half width of each control's range.
    ranges: Vec<[f64; 2]>,
    rest: Vec<f64>,
    ctrl: Vec<f64>,
    obs: Vec<f64>,
}

impl Adroit {
    /// Until it is reset things are where the model's file has them.
    pub(crate) fn new(id: EnvId) -> Result<Self, EnvError> {
        let arm = ARMS.iter().find(|(name, _)| *name == id.name());
        let (Some((name, arm)), Some(main)) = (arm, Task::main(id.name())) else {
            return Err(EnvError::NotSimulated {
                env: id,
                simulated: all().collect(),
            });
        };
        let model = mujoco::model(id, |library| model::compile(library, main))?;
        let task = Task::of(name, &model)?;
        let palm = model.body("palm")?;
        let simulation = Simulation::new(model)?;
        let ranges = arm.iter().chain(&HAND);
        let mut env = Self {
            id,
            task,
            palm,
            ranges: ranges
                .map(|[low, high]| [(low + high) / 2.0, 0.5 * (high - low)])
                .collect(),
            rest: simulation.qpos().to_vec(),
            ctrl: vec![0.0; id.act_dim()],
            obs: Vec::with_capacity(id.obs_dim()),
            simulation,
        };
        env.rest()?;
        Ok(env)
    }

    /// Everything at rest, things where they were put.
    fn rest(&mut self) -> Result<(), EnvError> {
        let (qpos, still) = (self.rest.clone(), vec![0.0; self.simulation.qvel().len()]);
        self.set_state(&qpos, &still)
    }

    fn observe(&mut self) {
        self.task
            .observe(&self.simulation, self.palm, &mut self.obs);
    }

    fn unstable(&self, why: String) -> EnvError {
        EnvError::Unstable { env: self.id, why }
    }
}

impl Env for Adroit {
    fn id(&self) -> EnvId {
        self.id
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        self.task.draw(&mut self.simulation, stream);
        self.rest()
    }

    fn obs(&self) -> &[f64] {
        &self.obs
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let values = action.iter().map(|&a| f64::from(a));
        check_input(self.id, "action", values, self.ctrl.len())?;
        let controls = self.ctrl.iter_mut().zip(action).zip(&self.ranges);
        for ((out, &a), [middle, half]) in controls {
            *out = middle + f64::from(a).clamp(-1.0, 1.0) * half;
        }
        let stepped = self.simulation.step(&self.ctrl, FRAME_SKIP);
        stepped.map_err(|why| self.unstable(why))?;
        self.observe();
        let (reward, terminal) = self.task.outcome(&self.simulation, self.palm);
        Ok(Step { reward, terminal })
    }

    state_of_simulation!();

    fn scene(&self) -> Option<Scene> {
        let mut solids = self.simulation.solids();
        solids.extend(self.task.goal().map(|at| Solid {
            shape: Shape::Sphere {
                radius: GOAL_RADIUS,
            },
            position: at,
            ..Solid::goal(0.0, 0.0, 0.0)
        }));
        Some(Scene {
            view: View::Slant { follow: false },
            step_seconds: TIMESTEP * FRAME_SKIP as f64,
            solids,
        })
    }

    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject {
            simulation: &self.simulation,
            from: SEEN,
            goal: self.task.goal(),
        })
    }
}

/// What a reset draws is no part of the state: it stays.
impl Physics for Adroit {
    physics_of_simulation!();

    fn set_observed(&mut self, qpos: &[f64], qvel: &[f64], obs: &[f64]) -> Result<(), EnvError> {
        check_input(self.id, "observation", obs.iter().copied(), self.obs.len())?;
        self.set_state(qpos, qvel)?;
        self.task.recover(&mut self.simulation, self.palm, obs);
        self.set_state(qpos, qvel)
    }

    fn set_placed(&mut self, qpos: &[f64], qvel: &[f64], place: &[f64]) -> Result<(), EnvError> {
        check_input(
            self.id,
            "place",
            place.iter().copied(),
            self.task.place_len(),
        )?;
        self.task.put(&mut self.simulation, place);
        self.set_state(qpos, qvel)
    }

    fn lags(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
