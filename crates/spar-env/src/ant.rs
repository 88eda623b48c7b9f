//! Gym's four-legged ant.
//!
//! Values and order of operations are those of gymnasium 1.4.0's `ant_v4.py` without contact
//! forces, which is gym's `Ant-v2` (studied, not copied). D4RL's observations have 84 entries
//! for forces of contact that gym's v2 never computed: they are zero in its data, and here.
//!
//! Unlike the planar runners' the forward speed is that of the torso's place in the world as
//! MuJoCo last computed it, which is one stage of integration behind the positions: the two
//! differ by up to 0.05 in reward.

use std::ops::RangeInclusive;

use spar_core::{EnvId, Stream};

use crate::{
    Env, EnvError, Physics, Scene, Step, View, check_input,
    mujoco::{self, Body, Model, Simulation},
};

pub(crate) const MODEL_FILE: &str = "ant.xml";
pub(crate) const MODEL_SHA256: &str =
    "cd5f83ef0ea35b0969e65d360c5bacd5b74ccaef6b27e4433b5168c605e3e2be";

/// Physics steps per step, and seconds of each.
const FRAME_SKIP: usize = 5;
const TIMESTEP: f64 = 0.01;

/// Heights of the torso between which an episode lasts, both included.
const HEALTHY: RangeInclusive<f64> = 0.2..=1.0;

/// Noise of initial positions, and of velocities.
const START: f64 = 0.1;

/// Leading positions that are not observed: where in the plane it is.
const UNSEEN: usize = 2;

/// An ant over its own simulation.
pub(crate) struct Ant {
    id: EnvId,
    simulation: Simulation,
    torso: Body,
    rest: Vec<f64>,
    ctrl: [f64; 8],
    /// Positions and velocities, then zeros.
    obs: Vec<f64>,
}

/// The environment, where D4RL's tables have it.
pub(crate) fn id() -> Option<EnvId> {
    EnvId::named("ant")
}

impl Ant {
    pub(crate) fn new(id: EnvId) -> Result<Self, EnvError> {
        let model = mujoco::model(id, |library| {
            let (path, xml) = mujoco::model_file(MODEL_FILE, MODEL_SHA256)?;
            Model::parse(library, &xml, &[], &path)
        })?;
        let torso = model.body("torso")?;
        let simulation = Simulation::new(model)?;
        let mut env = Self {
            id,
            torso,
            rest: simulation.qpos().to_vec(),
            ctrl: [0.0; 8],
            obs: vec![0.0; id.obs_dim()],
            simulation,
        };
        let (qpos, qvel) = (env.rest.clone(), env.simulation.qvel().to_vec());
        // Where the torso is has to be known before the first step.
        env.set_state(&qpos, &qvel)?;
        Ok(env)
    }

    fn observe(&mut self) {
        let positions = &self.simulation.qpos()[UNSEEN..];
        let seen = positions.iter().chain(self.simulation.qvel());
        for (out, x) in self.obs.iter_mut().zip(seen) {
            *out = *x;
        }
    }

    fn torso_x(&self) -> f64 {
        self.simulation.frame(self.torso).position[0]
    }

    fn unstable(&self, why: String) -> EnvError {
        EnvError::Unstable { env: self.id, why }
    }
}

/// The sum of the squares, in single precision and in the order in which numpy adds eight
/// numbers.
fn squares(action: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    for (lane, a) in lanes.iter_mut().zip(action) {
        *lane = a * a;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

impl Env for Ant {
    fn id(&self) -> EnvId {
        self.id
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        let start = self.rest.iter().map(|q| q + stream.uniform(-START, START));
        let qpos: Vec<f64> = start.collect();
        let qvel = self.simulation.qvel().iter();
        let qvel: Vec<f64> = qvel.map(|_| START * stream.normal()).collect();
        self.set_state(&qpos, &qvel)
    }

    fn obs(&self) -> &[f64] {
        &self.obs
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let values = action.iter().map(|&a| f64::from(a));
        check_input(self.id, "action", values, self.ctrl.len())?;
        for (out, &a) in self.ctrl.iter_mut().zip(action) {
            *out = f64::from(a);
        }
        let before = self.torso_x();
        let stepped = self.simulation.step(&self.ctrl, FRAME_SKIP);
        stepped.map_err(|why| self.unstable(why))?;
        let speed = (self.torso_x() - before) / (TIMESTEP * FRAME_SKIP as f64);
        self.observe();
        // In f32 because numpy keeps the action's type here.
        let control_cost = 0.5 * squares(action);
        let height = self.simulation.qpos()[2];
        Ok(Step {
            reward: (speed + 1.0) - f64::from(control_cost),
            terminal: !HEALTHY.contains(&height),
        })
    }

    state_of_simulation!();

    fn scene(&self) -> Option<Scene> {
        Some(Scene {
            view: View::Slant { follow: true },
            step_seconds: TIMESTEP * FRAME_SKIP as f64,
            solids: self.simulation.solids(),
        })
    }
}

impl Physics for Ant {
    physics_of_simulation!();

    fn lags(&self) -> bool {
        true
    }
}
