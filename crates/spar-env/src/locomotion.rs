//! The three planar runners: what differs between them is a table, what they
//! share is one `Env`.
//!
//! Values and order of operations are those of gymnasium 1.4.0's
//! `half_cheetah_v4.py`, `hopper_v4.py`, `walker2d_v4.py` and `mujoco_env.py`
//! (studied, not copied).

use std::ops::Range;

use spar_core::{EnvId, Stream};

use crate::{
    Env, EnvError, Physics, Scene, Step, View, check_input,
    mujoco::{self, Model, Simulation},
};

/// All that tells one locomotion environment from another.
pub(crate) struct Spec {
    pub(crate) id: EnvId,
    /// File name of the model and its sha256, as in gymnasium 1.4.0's wheel.
    pub(crate) model_file: &'static str,
    pub(crate) model_sha256: &'static str,
    /// Physics steps per environment step, and seconds per physics step (the
    /// model's own, restated because the binding reads no model fields).
    frame_skip: usize,
    timestep: f64,
    control_cost: f32,
    alive_reward: f64,
    /// Bound on the magnitude of an observed velocity.
    velocity_clip: f64,
    reset: ResetNoise,
    healthy: Option<Healthy>,
}

/// Gym's distribution of initial states around the rest pose.
enum ResetNoise {
    /// Positions and velocities uniform on `[-s, s)`.
    Uniform(f64),
    /// Positions uniform on `[-s, s)`, velocities `s * N(0, 1)`.
    NormalVelocity(f64),
}

/// Open intervals outside which an episode ends.
struct Healthy {
    height: Range<f64>,
    pitch: Range<f64>,
    /// For every other position and every velocity but the horizontal position's.
    rest: Range<f64>,
}

const EVERYTHING: Range<f64> = f64::NEG_INFINITY..f64::INFINITY;

static HALF_CHEETAH: Spec = Spec {
    id: EnvId::HALF_CHEETAH,
    model_file: "half_cheetah.xml",
    model_sha256: "11797a5d69e8ac955e89ca6fdd3a0087f1c990094fda401ac51420de1b6c5494",
    frame_skip: 5,
    timestep: 0.01,
    control_cost: 0.1,
    alive_reward: 0.0,
    velocity_clip: f64::INFINITY,
    reset: ResetNoise::NormalVelocity(0.1),
    healthy: None,
};

static HOPPER: Spec = Spec {
    id: EnvId::HOPPER,
    model_file: "hopper.xml",
    model_sha256: "3ce93a055ffdcd83c0c701d2400768e40d2cbb9532f3c4ae33377c27f8b39f9e",
    frame_skip: 4,
    timestep: 0.002,
    control_cost: 1e-3,
    alive_reward: 1.0,
    velocity_clip: 10.0,
    reset: ResetNoise::Uniform(5e-3),
    healthy: Some(Healthy {
        height: 0.7..f64::INFINITY,
        pitch: -0.2..0.2,
        rest: -100.0..100.0,
    }),
};

static WALKER2D: Spec = Spec {
    id: EnvId::WALKER2D,
    model_file: "walker2d.xml",
    model_sha256: "ac13373c7ac9003a5311c4704b314ed11149b3dd7600bbc02770487300f9ad2d",
    frame_skip: 4,
    timestep: 0.002,
    control_cost: 1e-3,
    alive_reward: 1.0,
    velocity_clip: 10.0,
    reset: ResetNoise::Uniform(5e-3),
    healthy: Some(Healthy {
        height: 0.8..2.0,
        pitch: -1.0..1.0,
        rest: EVERYTHING,
    }),
};

/// Every locomotion environment.
pub(crate) static ALL: [&Spec; 3] = [&HALF_CHEETAH, &HOPPER, &WALKER2D];

impl Spec {
    fn is_healthy(&self, qpos: &[f64], qvel: &[f64]) -> bool {
        let Some(healthy) = &self.healthy else {
            return true;
        };
        inside(qpos[1], &healthy.height)
            && inside(qpos[2], &healthy.pitch)
            && qpos[2..]
                .iter()
                .chain(qvel)
                .all(|&x| inside(x, &healthy.rest))
    }
}

/// `Range::contains` includes the start; gym's bounds are open.
fn inside(x: f64, open: &Range<f64>) -> bool {
    open.start < x && x < open.end
}

/// One runner over its own simulation.
pub(crate) struct Locomotion {
    spec: &'static Spec,
    simulation: Simulation,
    rest_qpos: Vec<f64>,
    rest_qvel: Vec<f64>,
    ctrl: Vec<f64>,
    obs: Vec<f64>,
}

impl Locomotion {
    pub(crate) fn new(spec: &'static Spec) -> Result<Self, EnvError> {
        let model = mujoco::model(spec.id, |library| {
            let (path, xml) = mujoco::model_file(spec.model_file, spec.model_sha256)?;
            Model::parse(library, &xml, &[], &path)
        })?;
        let simulation = Simulation::new(model)?;
        let mut env = Self {
            spec,
            rest_qpos: simulation.qpos().to_vec(),
            rest_qvel: simulation.qvel().to_vec(),
            ctrl: vec![0.0; spec.id.act_dim()],
            obs: vec![0.0; spec.id.obs_dim()],
            simulation,
        };
        env.observe();
        Ok(env)
    }

    fn observe(&mut self) {
        let positions = &self.simulation.qpos()[1..];
        let (head, tail) = self.obs.split_at_mut(positions.len());
        head.copy_from_slice(positions);
        let clip = self.spec.velocity_clip;
        for (out, v) in tail.iter_mut().zip(self.simulation.qvel()) {
            *out = v.clamp(-clip, clip);
        }
    }

    fn unstable(&self, why: String) -> EnvError {
        EnvError::Unstable {
            env: self.spec.id,
            why,
        }
    }
}

impl Env for Locomotion {
    fn id(&self) -> EnvId {
        self.spec.id
    }

    fn reset(&mut self, stream: &mut Stream) -> Result<(), EnvError> {
        let (ResetNoise::Uniform(scale) | ResetNoise::NormalVelocity(scale)) = self.spec.reset;
        let qpos: Vec<f64> = self
            .rest_qpos
            .iter()
            .map(|rest| rest + stream.uniform(-scale, scale))
            .collect();
        let qvel: Vec<f64> = self
            .rest_qvel
            .iter()
            .map(|rest| {
                rest + match self.spec.reset {
                    ResetNoise::Uniform(_) => stream.uniform(-scale, scale),
                    ResetNoise::NormalVelocity(_) => scale * stream.normal(),
                }
            })
            .collect();
        self.set_state(&qpos, &qvel)
    }

    fn obs(&self) -> &[f64] {
        &self.obs
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        check_input(
            self.spec.id,
            "action",
            action.iter().map(|&a| f64::from(a)),
            self.ctrl.len(),
        )?;
        for (out, &a) in self.ctrl.iter_mut().zip(action) {
            *out = f64::from(a);
        }
        let x_before = self.simulation.qpos()[0];
        self.simulation
            .step(&self.ctrl, self.spec.frame_skip)
            .map_err(|why| self.unstable(why))?;
        self.observe();
        let (qpos, qvel) = (self.simulation.qpos(), self.simulation.qvel());

        let velocity = (qpos[0] - x_before) / (self.spec.timestep * self.spec.frame_skip as f64);
        // In f32 because numpy keeps the action's type here.
        let control_cost = self.spec.control_cost * action.iter().map(|a| a * a).sum::<f32>();
        Ok(Step {
            reward: velocity + self.spec.alive_reward - f64::from(control_cost),
            terminal: !self.spec.is_healthy(qpos, qvel),
        })
    }

    state_of_simulation!();

    fn scene(&self) -> Option<Scene> {
        Some(Scene {
            view: View::Side,
            step_seconds: self.spec.timestep * self.spec.frame_skip as f64,
            solids: self.simulation.solids(),
        })
    }
}

impl Physics for Locomotion {
    physics_of_simulation!();
}
