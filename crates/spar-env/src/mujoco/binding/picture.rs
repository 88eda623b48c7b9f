//! Pictures by MuJoCo's own renderer, which needs OpenGL: light, shadows and the surfaces of
//! meshes, of what the model was compiled with.

use std::{ffi::c_int, sync::Arc};

use super::{
    Model, Simulation,
    gl::Gl,
    scene::{MOST, SCENE_WORDS, SceneHead},
};
use crate::EnvError;

/// `mjrRect`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    left: c_int,
    bottom: c_int,
    width: c_int,
    height: c_int,
}

/// `mjvCamera`.
#[repr(C)]
struct Camera {
    kind: c_int,
    fixed: c_int,
    tracked: c_int,
    at: [f64; 3],
    distance: f64,
    azimuth: f64,
    elevation: f64,
    parallel: c_int,
}

const _: () = assert!(size_of::<Camera>() == 72, "mjvCamera of 3.17");

/// Words of room, zero, that begin with an `mjrContext`, which has 61 512 bytes.
const CONTEXT_WORDS: usize = 16_384;

/// `mjFB_OFFSCREEN`, and `mjFONTSCALE_100`.
const OFF_SCREEN: c_int = 1;
const FONT: c_int = 100;

/// `mjGEOM_SPHERE`; the radius of a goal, and its colour.
const SPHERE: c_int = 2;
pub(crate) const GOAL_RADIUS: f64 = 0.07;
const GREEN: [f32; 4] = [0.2, 0.8, 0.2, 0.4];

/// From where a simulation is seen, as gymnasium says it: the point that is looked at, how far
/// that is, and degrees around it and above it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewpoint {
    pub(crate) at: [f64; 3],
    pub(crate) distance: f64,
    pub(crate) azimuth: f64,
    pub(crate) elevation: f64,
}

/// What MuJoCo's renderer can take a picture of ([`crate::Env::subject`]).
pub struct Subject<'a> {
    pub(crate) simulation: &'a Simulation,
    pub(crate) from: Viewpoint,
    /// Where something is to get to, which the simulation does not know.
    pub(crate) goal: Option<[f64; 3]>,
}

/// MuJoCo's own renderer, off any screen: pictures of [`Subject`]s, each of the same size.
///
/// It needs EGL or OSMesa, which `MUJOCO_GL` (`egl`, `osmesa`, `off`) chooses between.
pub struct OffScreen {
    width: u32,
    height: u32,
    /// What the renderer holds of the model that was drawn last.
    held: Option<Held>,
    gl: Gl,
}

struct Held {
    model: Arc<Model>,
    context: Box<[u64]>,
    scene: Box<[u64]>,
}

impl OffScreen {
    /// A renderer of pictures of this size.
    ///
    /// # Errors
    /// [`EnvError::OffScreen`] if this machine has neither EGL nor OSMesa, or none that works.
    pub fn new(width: u32, height: u32) -> Result<Self, EnvError> {
        Ok(Self {
            width,
            height,
            held: None,
            gl: Gl::new().map_err(EnvError::OffScreen)?,
        })
    }

    /// Width and height of the pictures, in points.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// What draws: `EGL` or `OSMesa`.
    pub fn by(&self) -> &'static str {
        self.gl.name()
    }

    /// Red, green and blue of each point, row by row from the top.
    ///
    /// # Errors
    /// [`EnvError::OffScreen`] if OpenGL cannot draw a picture of this size.
    pub fn picture(&mut self, subject: &Subject<'_>) -> Result<Vec<u8>, EnvError> {
        let failed = |why: String| EnvError::OffScreen(why);
        if !self.gl.make_current() {
            return Err(failed("OpenGL: the context cannot be used".to_owned()));
        }
        let model = subject.simulation.model();
        if !self
            .held
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(&held.model, model))
        {
            self.held = None;
            self.held = Some(Held::new(model, self.width, self.height).map_err(failed)?);
        }
        let Some(held) = &mut self.held else {
            return Err(failed("nothing to draw".to_owned()));
        };
        let Viewpoint {
            at,
            distance,
            azimuth,
            elevation,
        } = subject.from;
        let mut camera = Camera {
            kind: 0,
            fixed: -1,
            tracked: -1,
            at,
            distance,
            azimuth,
            elevation,
            parallel: 0,
        };
        let library = model.library;
        let area = area(self.width, self.height);
        let row = 3 * self.width as usize;
        let mut upwards = vec![0u8; row * self.height as usize];
        // SAFETY: scene and context were made for this model and live, the context's OpenGL is
        // current on this thread. The camera is all of the struct asserted above. The scene
        // has room for one solid more. `upwards` has three bytes for each point of `area`. No
        // depths are asked for.
        let error = unsafe {
            let scene: *mut SceneHead = held.scene.as_mut_ptr().cast();
            let camera = (&raw mut camera).cast();
            subject.simulation.update_scene(scene.cast(), camera);
            if let Some(at) = subject.goal.filter(|_| (*scene).count < (*scene).capacity) {
                let next = (*scene).geoms.add((*scene).count as usize).cast();
                let (size, none) = ([GOAL_RADIUS; 3], std::ptr::null());
                (library.mjv_initGeom)(
                    next,
                    SPHERE,
                    size.as_ptr(),
                    at.as_ptr(),
                    none,
                    GREEN.as_ptr(),
                );
                (*scene).count += 1;
            }
            (library.mjr_render)(
                area,
                held.scene.as_mut_ptr().cast(),
                held.context.as_ptr().cast(),
            );
            (library.mjr_readPixels)(
                upwards.as_mut_ptr(),
                std::ptr::null_mut(),
                area,
                held.context.as_ptr().cast(),
            );
            (library.mjr_getError)()
        };
        if error != 0 {
            return Err(failed(format!("OpenGL: error {error:#x} while drawing")));
        }
        Ok(upwards.rchunks(row).flatten().copied().collect())
    }
}

impl Drop for OffScreen {
    fn drop(&mut self) {
        // What the renderer holds is freed in its own context.
        self.gl.make_current();
        self.held = None;
    }
}

impl Held {
    fn new(model: &Arc<Model>, width: u32, height: u32) -> Result<Self, String> {
        let mut held = Self {
            model: model.clone(),
            context: vec![0; CONTEXT_WORDS].into(),
            scene: vec![0; SCENE_WORDS].into(),
        };
        let library = model.library;
        let raw = model.raw.as_ptr();
        let area = area(width, height);
        // SAFETY: the model is valid, and an OpenGL context is current. Both structs have more
        // room than MuJoCo's of that name and its alignment, and are made valid by their
        // `default` before they are used; `drop` frees what `make` gave them.
        let (largest, error) = unsafe {
            let (scene, context) = (
                held.scene.as_mut_ptr().cast(),
                held.context.as_mut_ptr().cast(),
            );
            (library.mjv_defaultScene)(scene);
            (library.mjv_makeScene)(raw, scene, MOST);
            (library.mjr_defaultContext)(context);
            (library.mjr_makeContext)(raw, context, FONT);
            (library.mjr_resizeOffscreen)(area.width, area.height, context);
            (library.mjr_setBuffer)(OFF_SCREEN, context);
            ((library.mjr_maxViewport)(context), (library.mjr_getError)())
        };
        if error != 0 || largest != area {
            return Err(format!(
                "OpenGL: no picture of {width} x {height} points, at most {} x {}",
                largest.width, largest.height
            ));
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let library = self.model.library;
        // SAFETY: both were made valid by `new`, in the context that is current, and are
        // freed once.
        unsafe {
            (library.mjr_freeContext)(self.context.as_mut_ptr().cast());
            (library.mjv_freeScene)(self.scene.as_mut_ptr().cast());
        }
    }
}

fn area(width: u32, height: u32) -> Rect {
    // What is larger than any picture is refused when it is made.
    let points = |size: u32| c_int::try_from(size).unwrap_or(c_int::MAX);
    Rect {
        left: 0,
        bottom: 0,
        width: points(width),
        height: points(height),
    }
}
