//! D4RL's kitchen: an arm that has four things to do, in any order.
//!
//! Semantics are those of D4RL's `kitchen_envs.py`, `kitchen_multitask_v0.py` and
//! `franka_robot.py` (github.com/Farama-Foundation/D4RL at 89141a6; studied, not copied).
//! gymnasium-robotics 1.4.2, whose model files these are, has ten to two hundred times less
//! noise and a pedestal that the arm collides with.
//!
//! Every observation is noisy, **and the noise acts**: the controller starts from the joints
//! as they were last observed, and a thing is done where it is *observed* near its goal. The
//! noise is that of a stream which a reset draws; each state that is set begins it anew.
//!
//! The reward of a step is the number of things newly done in it, so that a return is 0 to 4.
//! The rewards in D4RL's data are another thing: how many are done in a row's state.

mod model;

use spar_core::{EnvId, Stream};

use crate::{
    Env, EnvError, Physics, Scene, Step, Subject, View, check_input,
    mujoco::{self, Simulation, Viewpoint},
};

const FRAME_SKIP: usize = 40;

/// Seconds of a step.
const SECONDS: f64 = 0.08;

/// From where gymnasium-robotics sees it.
const SEEN: Viewpoint = Viewpoint {
    at: [-0.2, 0.5, 2.0],
    distance: 2.2,
    azimuth: 70.0,
    elevation: -35.0,
};

/// Joints of the arm and its fingers: the first positions, and the controls.
const ROBOT: usize = 9;

/// Positions: the robot's, and those of things.
const POSITIONS: usize = 30;

/// Largest speed of a joint that an action asks for.
const SPEED: f64 = 2.0;

/// Distance from its goal below which a thing is done.
const DONE: f64 = 0.3;

/// Range of each control.
const BOUNDS: [[f64; 2]; ROBOT] = [
    [-2.9, 2.9],
    [-1.8, 1.8],
    [-2.9, 2.9],
    [-3.1, 0.0],
    [-2.9, 2.9],
    [0.0, 3.8],
    [-2.9, 2.9],
    [0.0, 0.04],
    [0.0, 0.04],
];

/// Positions in which every episode starts, at rest.
const START: [f64; POSITIONS] = [
    0.148_388_023,
    -1.768_485_73,
    1.843_902_96,
    -2.476_857_6,
    0.260_252_026,
    0.712_533_105,
    1.595_153_94,
    0.047_926_750_5,
    0.037_135_091_9,
    -2.662_798_5e-4,
    -5.180_434_86e-5,
    3.128_772_2e-5,
    -4.511_998_53e-5,
    -3.908_421_56e-6,
    -4.226_296_55e-5,
    6.280_654_75e-5,
    4.049_847_08e-5,
    4.627_309_39e-4,
    -2.269_064_15e-4,
    -4.655_013_69e-4,
    -6.441_291_96e-3,
    -1.770_482_63e-3,
    1.080_096_84e-3,
    -0.269_397_44,
    0.350_383_255,
    1.619_446_83,
    1.006_187_64,
    4.063_951_2e-3,
    -6.620_959_97e-3,
    -2.682_789_33e-4,
];

/// A thing to be done: the positions it is of, and where they are to be.
struct Thing {
    at: &'static [usize],
    goal: &'static [f64],
}

const BOTTOM_BURNER: Thing = Thing {
    at: &[11, 12],
    goal: &[-0.88, -0.01],
};
const LIGHT_SWITCH: Thing = Thing {
    at: &[17, 18],
    goal: &[-0.69, -0.05],
};
const SLIDE_CABINET: Thing = Thing {
    at: &[19],
    goal: &[0.37],
};
const MICROWAVE: Thing = Thing {
    at: &[22],
    goal: &[-0.75],
};
const KETTLE: Thing = Thing {
    at: &[23, 24, 25, 26, 27, 28, 29],
    goal: &[-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06],
};

/// What is to be done, by environment.
static THINGS: [(&str, [Thing; 4]); 2] = [
    ("kitchen", [MICROWAVE, KETTLE, LIGHT_SWITCH, SLIDE_CABINET]),
    (
        "kitchen-mixed",
        [MICROWAVE, KETTLE, BOTTOM_BURNER, LIGHT_SWITCH],
    ),
];

/// The environments, where the tables have them.
pub(crate) fn all() -> impl Iterator<Item = EnvId> {
    THINGS.iter().filter_map(|(name, _)| EnvId::named(name))
}

/// Largest noise of an observed position.
fn noise_of(position: usize) -> f64 {
    match position {
        0..ROBOT | 20..=22 | 26..=28 => 0.01,
        11..=16 => 0.000_05,
        _ => 0.000_5,
    }
}

/// A kitchen over its own simulation.
pub(crate) struct Kitchen {
    id: EnvId,
    simulation: Simulation,
    things: &'static [Thing; 4],
    done: [bool; 4],
    /// Seed of the noise since the last reset, and where it is.
    seed: u64,
    noise: Stream,
    /// 1, or 0 to compare with a kitchen that has none.
    noisy: f64,
    ctrl: [f64; ROBOT],
    /// Positions with their noise, then the goal, zero where nothing is to be done.
    obs: Vec<f64>,
}

/// The noise that a seed stands for.
fn stream(seed: u64) -> Stream {
    Stream::new(seed, "kitchen/noise")
}

impl Kitchen {
    pub(crate) fn new(id: EnvId) -> Result<Self, EnvError> {
        let found = THINGS.iter().find(|(name, _)| *name == id.name());
        let Some((_, things)) = found else {
            return Err(EnvError::NotSimulated {
                env: id,
                simulated: all().collect(),
            });
        };
        let simulation = Simulation::new(mujoco::model(id, model::compile)?)?;
        let mut obs = vec![0.0; id.obs_dim()];
        for thing in things {
            for (&at, goal) in thing.at.iter().zip(thing.goal) {
                obs[POSITIONS + at] = *goal;
            }
        }
        let mut env = Self {
            id,
            things,
            done: [false; 4],
            seed: 0,
            noise: stream(0),
            noisy: 1.0,
            ctrl: [0.0; ROBOT],
            obs,
            simulation,
        };
        env.start()?;
        Ok(env)
    }

    fn start(&mut self) -> Result<(), EnvError> {
        let still = vec![0.0; self.simulation.qvel().len()];
        self.set_state(&START, &still)
    }

    fn observe(&mut self) {
        let seen = self.obs.iter_mut().zip(self.simulation.qpos());
        for (i, (out, q)) in seen.enumerate() {
            *out = q + self.noisy * noise_of(i) * self.noise.uniform(-1.0, 1.0);
        }
    }

    /// Whether `thing` is observed near its goal.
    fn is_done(&self, thing: &Thing) -> bool {
        let off = thing.at.iter().zip(thing.goal);
        let off = off.map(|(&at, goal)| (self.obs[at] - goal).powi(2));
        off.sum::<f64>().sqrt() < DONE
    }

    fn unstable(&self, why: String) -> EnvError {
        EnvError::Unstable { env: self.id, why }
    }
}

impl Env for Kitchen {
    fn id(&self) -> EnvId {
        self.id
    }

    /// Every episode starts alike; only its noise is drawn.
    fn reset(&mut self, resets: &mut Stream) -> Result<(), EnvError> {
        self.seed = resets.index(1 << 30) as u64;
        self.start()
    }

    fn obs(&self) -> &[f64] {
        &self.obs
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let values = action.iter().map(|&a| f64::from(a));
        check_input(self.id, "action", values, ROBOT)?;
        for (i, (out, &a)) in self.ctrl.iter_mut().zip(action).enumerate() {
            let asked = f64::from(a).clamp(-1.0, 1.0) * SPEED;
            let [low, high] = BOUNDS[i];
            *out = (self.obs[i] + asked * SECONDS).clamp(low, high);
        }
        let stepped = self.simulation.step(&self.ctrl, FRAME_SKIP);
        stepped.map_err(|why| self.unstable(why))?;
        self.observe();
        let mut reward = 0.0;
        for (i, thing) in self.things.iter().enumerate() {
            if !self.done[i] && self.is_done(thing) {
                self.done[i] = true;
                reward += 1.0;
            }
        }
        Ok(Step {
            reward,
            terminal: self.done.iter().all(|done| *done),
        })
    }

    state_of_simulation!();

    fn scene(&self) -> Option<Scene> {
        Some(Scene {
            view: View::Slant { follow: false },
            step_seconds: SECONDS,
            solids: self.simulation.solids(),
        })
    }

    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject {
            simulation: &self.simulation,
            from: SEEN,
            goal: None,
        })
    }
}

/// What is done is forgotten, and the noise begins anew.
impl Physics for Kitchen {
    physics_of_simulation!(|env| {
        env.done = [false; 4];
        env.noise = stream(env.seed);
    });
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
