//! Simulations of a model: state in, steps, and what of their outcome is read.

use std::{ptr::NonNull, sync::Arc};

use super::{
    Body, CTRL, Library, MOCAP_POS, MOCAP_QUAT, Model, QPOS, QVEL, RawData, RawModel, Sensor,
    WARNING,
};
use crate::EnvError;

/// Where a body is in the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    /// Its origin.
    pub(crate) position: [f64; 3],
    /// Its rotation, row by row.
    pub(crate) rotation: [f64; 9],
}

/// One simulation of a shared model.
pub(crate) struct Simulation {
    model: Arc<Model>,
    raw: NonNull<RawData>,
    /// `qpos` then `qvel`, as the simulation last left them.
    state: Vec<f64>,
    /// Positions of all mocap bodies, then their orientations: what every state is set with.
    mocap: Vec<f64>,
}

// SAFETY: an mjData is tied to no thread and only reached through `&mut self`.
unsafe impl Send for Simulation {}

impl Simulation {
    /// A simulation at its model's rest pose.
    ///
    /// # Errors
    /// If MuJoCo cannot allocate it.
    pub(crate) fn new(model: Arc<Model>) -> Result<Self, EnvError> {
        // SAFETY: the model is valid.
        let raw = unsafe { (model.library.mj_makeData)(model.raw.as_ptr()) };
        let raw = NonNull::new(raw).ok_or_else(|| EnvError::Model {
            path: model.path.clone(),
            why: "out of memory".to_owned(),
        })?;
        let mut simulation = Self {
            state: vec![0.0; model.nq + model.nv],
            mocap: vec![0.0; model.mocap.iter().sum()],
            model,
            raw,
        };
        simulation.read_state();
        let (library, model, data) = simulation.parts();
        // SAFETY: model and data are valid and belong together, and `mocap` holds as many
        // numbers as the model says both have.
        unsafe {
            let mocap = simulation.mocap.as_mut_ptr();
            (library.mj_getState)(model, data, mocap, MOCAP_POS | MOCAP_QUAT);
        }
        Ok(simulation)
    }

    /// Position of the mocap body `index`, as the next state is set with.
    ///
    /// # Panics
    /// If the model has no such body.
    pub(crate) fn mocap_position(&mut self, index: usize) -> &mut [f64] {
        &mut self.mocap[3 * index..][..3]
    }

    /// Its orientation, a quaternion.
    ///
    /// # Panics
    /// If the model has no such body.
    pub(crate) fn mocap_orientation(&mut self, index: usize) -> &mut [f64] {
        let [positions, _] = self.model.mocap;
        &mut self.mocap[positions + 4 * index..][..4]
    }

    /// Where `body` is, as MuJoCo last computed it: after [`Self::step`] that is before the
    /// last integration, as gym's environments read it.
    pub(crate) fn frame(&self, body: Body) -> Frame {
        let mut frame = Frame {
            position: [0.0; 3],
            rotation: [0.0; 9],
        };
        self.local(body, [0.0; 3], &mut frame);
        frame
    }

    /// Where the point `at` of `body` is, as [`Self::frame`].
    pub(crate) fn point(&self, body: Body, at: [f64; 3]) -> [f64; 3] {
        let mut frame = Frame {
            position: [0.0; 3],
            rotation: [0.0; 9],
        };
        self.local(body, at, &mut frame);
        frame.position
    }

    fn local(&self, Body(id): Body, at: [f64; 3], out: &mut Frame) {
        const NO_TURN: [f64; 4] = [1.0, 0.0, 0.0, 0.0];
        let (library, _, data) = self.parts();
        // SAFETY: the data are valid and of the model that `id` was found in, the arrays
        // have the lengths that MuJoCo's header gives; only they are written.
        unsafe {
            (library.mj_local2Global)(
                data,
                out.position.as_mut_ptr(),
                out.rotation.as_mut_ptr(),
                at.as_ptr(),
                NO_TURN.as_ptr(),
                id,
                0,
            );
        }
    }

    /// The value of `sensor`, which has one number, as MuJoCo last computed it.
    pub(crate) fn sensor(&self, Sensor(id): Sensor) -> f64 {
        let (library, model, data) = self.parts();
        let mut own = [0.0; 16];
        // SAFETY: model and data are valid and belong together, and `id` was found in the
        // model. The result is null or points to a number in the data or in `own`, which is
        // larger than any sensor's value.
        unsafe {
            let value = (library.mj_readSensor)(model, data, id, 0.0, own.as_mut_ptr(), 0);
            value.as_ref().copied().unwrap_or(own[0])
        }
    }

    /// Generalized positions.
    pub(crate) fn qpos(&self) -> &[f64] {
        &self.state[..self.model.nq]
    }

    /// Generalized velocities.
    pub(crate) fn qvel(&self) -> &[f64] {
        &self.state[self.model.nq..]
    }

    /// Resets everything (time, controls, warm start), then sets the state, and mocap bodies
    /// where they were put, and computes what depends on it.
    ///
    /// # Errors
    /// MuJoCo's words, if the state makes its forward dynamics fail.
    ///
    /// # Panics
    /// If a slice's length is not the model's.
    pub(crate) fn set_state(&mut self, qpos: &[f64], qvel: &[f64]) -> Result<(), String> {
        assert_eq!((qpos.len(), qvel.len()), (self.model.nq, self.model.nv));
        let nq = self.model.nq;
        self.state[..nq].copy_from_slice(qpos);
        self.state[nq..].copy_from_slice(qvel);
        let (library, model, data) = self.parts();
        WARNING.set(None);
        // SAFETY: model and data are valid and belong together, `state` holds nq + nv
        // numbers, the size of QPOS | QVEL, and `mocap` as many as the model says of both.
        unsafe {
            (library.mj_resetData)(model, data);
            (library.mj_setState)(model, data, self.state.as_ptr(), QPOS | QVEL);
            (library.mj_setState)(model, data, self.mocap.as_ptr(), MOCAP_POS | MOCAP_QUAT);
            (library.mj_forward)(model, data);
        }
        self.read_state();
        WARNING.take().map_or(Ok(()), Err)
    }

    /// Sets the velocities, with everything else as it is, and computes what depends on them.
    ///
    /// # Errors
    /// As [`Self::set_state`].
    ///
    /// # Panics
    /// If the slice's length is not the model's.
    pub(crate) fn set_qvel(&mut self, qvel: &[f64]) -> Result<(), String> {
        assert_eq!(qvel.len(), self.model.nv);
        let (library, model, data) = self.parts();
        WARNING.set(None);
        // SAFETY: model and data are valid and belong together, and `qvel` holds nv
        // numbers, the size of QVEL.
        unsafe {
            (library.mj_setState)(model, data, qvel.as_ptr(), QVEL);
            (library.mj_forward)(model, data);
        }
        self.read_state();
        WARNING.take().map_or(Ok(()), Err)
    }

    /// Applies `ctrl` for `frames` physics steps. MuJoCo clamps it to each
    /// actuator's range.
    ///
    /// # Errors
    /// MuJoCo's words, if it warned: the simulation diverged and was put back
    /// to the rest pose.
    ///
    /// # Panics
    /// If `ctrl`'s length is not the model's number of actuators.
    pub(crate) fn step(&mut self, ctrl: &[f64], frames: usize) -> Result<(), String> {
        assert_eq!(ctrl.len(), self.model.nu);
        let (library, model, data) = self.parts();
        WARNING.set(None);
        // SAFETY: model and data are valid and belong together, and `ctrl`
        // holds nu numbers, the size of CTRL.
        unsafe {
            (library.mj_setState)(model, data, ctrl.as_ptr(), CTRL);
            for _ in 0..frames {
                (library.mj_step)(model, data);
            }
        }
        self.read_state();
        WARNING.take().map_or(Ok(()), Err)
    }

    fn read_state(&mut self) {
        let (library, model, data) = self.parts();
        // SAFETY: model and data are valid and belong together, and `state`
        // holds nq + nv numbers, the size of QPOS | QVEL.
        unsafe { (library.mj_getState)(model, data, self.state.as_mut_ptr(), QPOS | QVEL) }
    }

    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub(super) fn parts(&self) -> (&'static Library, *const RawModel, *mut RawData) {
        (
            self.model.library,
            self.model.raw.as_ptr(),
            self.raw.as_ptr(),
        )
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // SAFETY: made by `mj_makeData`, deleted once.
        unsafe { (self.model.library.mj_deleteData)(self.raw.as_ptr()) }
    }
}
