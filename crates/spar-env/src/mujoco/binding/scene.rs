//! Where a model's solids are, from MuJoCo's abstract scene: what its renderers are given,
//! made without one.
//!
//! Of the structs only the heads below are known, which are those of 3.17's
//! `mjvisualize.h`; the rest is room that is larger than any of them.

use std::{
    ffi::{c_char, c_int, c_void},
    ptr, slice,
};

use super::Simulation;
use crate::scene::{Role, Shape, Solid};

/// The head of `mjvScene`.
#[repr(C)]
pub(super) struct SceneHead {
    pub(super) capacity: c_int,
    pub(super) count: c_int,
    pub(super) geoms: *mut Geom,
}

/// The head of `mjvOption`.
#[repr(C)]
struct OptionHead {
    label: c_int,
    frame: c_int,
    /// Whether solids of each group are shown.
    groups: [u8; 6],
    /// The same of sites.
    sites: [u8; 6],
}

/// `mjvGeom`: one element of an array, so that all of it counts.
#[repr(C)]
pub(super) struct Geom {
    kind: c_int,
    data: c_int,
    object_kind: c_int,
    object: c_int,
    category: c_int,
    material_and_texture: [c_int; 5],
    size: [f32; 3],
    position: [f32; 3],
    rotation: [f32; 9],
    color: [f32; 4],
    surface: [f32; 6],
    label: [c_char; 100],
    camera_distance: f32,
    bound: f32,
    transparent: u8,
}

const _: () = assert!(size_of::<Geom>() == 252, "mjvGeom of 3.17");

/// Words of room, zero, that begin with a struct: the scene has 11 584 bytes, the others less
/// than 150.
pub(super) const SCENE_WORDS: usize = 4096;
const OTHER_WORDS: usize = 256;

/// Most solids of a scene; MuJoCo leaves out what is more. A kitchen has about 300.
pub(super) const MOST: c_int = 4000;

/// `mjtCatBit`: solids of the world, and of bodies.
const STATIC: c_int = 1;
const DYNAMIC: c_int = 2;

/// `mjtObj` of a solid of the model, not a decoration.
const GEOM: c_int = 5;

impl Simulation {
    /// Every solid of the model that MuJoCo can show, where it last computed it to be
    /// ([`Self::frame`]). Nothing of the simulation changes.
    pub(crate) fn solids(&self) -> Vec<Solid> {
        let (library, model, _) = self.parts();
        let mut scene = vec![0u64; SCENE_WORDS];
        let mut camera = [0u64; OTHER_WORDS];
        let at_scene: *mut c_void = scene.as_mut_ptr().cast();
        let at_camera: *mut c_void = camera.as_mut_ptr().cast();
        // SAFETY: the model is valid. Both structs have more room than MuJoCo's of that name and
        // its alignment, and are made valid by their `default` before they are used. The
        // scene's arrays live until `mjv_freeScene`; `count` geoms, of the layout asserted
        // above, are read before that.
        unsafe {
            (library.mjv_defaultScene)(at_scene);
            (library.mjv_makeScene)(model, at_scene, MOST);
            (library.mjv_defaultFreeCamera)(model, at_camera);
            self.update_scene(at_scene, at_camera);
            let head = ptr::read(at_scene.cast::<SceneHead>());
            let count = usize::try_from(head.count).unwrap_or(0);
            let solids = match head.geoms.is_null() {
                true => Vec::new(),
                false => solids(slice::from_raw_parts(head.geoms, count)),
            };
            (library.mjv_freeScene)(at_scene);
            solids
        }
    }

    /// Puts every solid of the model, as it stands, into `scene`; sites are none.
    ///
    /// # Safety
    /// `scene` is an `mjvScene` made for this model, and `camera` an `mjvCamera`; both are valid.
    pub(super) unsafe fn update_scene(&self, scene: *mut c_void, camera: *mut c_void) {
        let (library, model, data) = self.parts();
        let mut option = [0u64; OTHER_WORDS];
        let mut perturb = [0u64; OTHER_WORDS];
        let at_option: *mut c_void = option.as_mut_ptr().cast();
        // SAFETY: model and data are valid and belong together. Both structs have more room
        // than MuJoCo's of that name and its alignment, and are made valid by their `default`
        // before they are used. The caller vouches for scene and camera, into which alone
        // MuJoCo writes.
        unsafe {
            (library.mjv_defaultOption)(at_option);
            let head = at_option.cast::<OptionHead>();
            (*head).groups = [1; 6];
            (*head).sites = [0; 6];
            (library.mjv_defaultPerturb)(perturb.as_mut_ptr().cast());
            (library.mjv_updateScene)(
                model,
                data,
                at_option,
                perturb.as_ptr().cast(),
                camera,
                STATIC | DYNAMIC,
                scene,
            );
        }
    }
}

fn solids(geoms: &[Geom]) -> Vec<Solid> {
    let of_model = geoms.iter().filter(|geom| geom.object_kind == GEOM);
    let solid = |geom: &Geom| {
        let [a, b, c] = geom.size.map(f64::from);
        // Of capsules and cylinders the third size is half the length.
        let shape = match geom.kind {
            0 => Shape::Plane,
            2 => Shape::Sphere { radius: a },
            3 => Shape::Capsule { radius: a, half: c },
            4 => Shape::Ellipsoid { half: [a, b, c] },
            5 => Shape::Cylinder { radius: a, half: c },
            6 | 7 => Shape::Box { half: [a, b, c] },
            _ => return None,
        };
        Some(Solid {
            shape,
            role: match geom.category {
                STATIC => Role::World,
                _ => Role::Body,
            },
            position: geom.position.map(f64::from),
            rotation: geom.rotation.map(f64::from),
        })
    };
    of_model.filter_map(solid).collect()
}
