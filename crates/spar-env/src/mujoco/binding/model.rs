//! Models, compiled from text and the files that it names.

use std::{
    ffi::{CString, c_char, c_int},
    path::{Path, PathBuf},
    ptr::{self, NonNull},
};

use super::{
    BODY, CTRL, Files, Library, MOCAP_POS, MOCAP_QUAT, QPOS, QVEL, RawModel, SENSOR, text,
};
use crate::EnvError;

/// Which body of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Body(pub(super) c_int);

/// Which sensor of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sensor(pub(super) c_int);

/// Files in memory that a model may name, for as long as it is compiled.
struct Memory {
    library: &'static Library,
    files: Files,
}

impl Memory {
    /// Holds copies of `files`, by their base names.
    fn new(library: &'static Library, files: &[(&str, Vec<u8>)]) -> Result<Self, String> {
        let mut memory = Self {
            library,
            files: Files {
                own: ptr::null_mut(),
            },
        };
        // SAFETY: makes the struct a valid, empty one; deleted by `drop`.
        unsafe { (library.mj_defaultVFS)(&raw mut memory.files) };
        for (name, bytes) in files {
            let said = |why: &str| format!("{name}: {why}");
            let cstring = CString::new(*name).map_err(|e| said(&e.to_string()))?;
            let length = c_int::try_from(bytes.len()).map_err(|e| said(&e.to_string()))?;
            // SAFETY: the file system is valid, the name ends with NUL, and the buffer,
            // which is copied, has the length given with it.
            let failed = unsafe {
                let buffer = bytes.as_ptr().cast();
                (library.mj_addBufferVFS)(&raw mut memory.files, cstring.as_ptr(), buffer, length)
            };
            if failed != 0 {
                return Err(said("MuJoCo does not take this file"));
            }
        }
        Ok(memory)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made valid by `mj_defaultVFS`, deleted once.
        unsafe { (self.library.mj_deleteVFS)(&raw mut self.files) }
    }
}

/// A compiled model, never written after it was made.
pub(crate) struct Model {
    pub(super) library: &'static Library,
    pub(super) raw: NonNull<RawModel>,
    pub(super) path: PathBuf,
    pub(super) nq: usize,
    pub(super) nv: usize,
    pub(super) nu: usize,
    /// Numbers of the positions of all mocap bodies, and of their orientations.
    pub(super) mocap: [usize; 2],
}

// SAFETY: MuJoCo's functions take the model as `const mjModel*`, and its
// documentation allows threads that each own an mjData to share one.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Compiles the MJCF text `xml`, which may name the `files` by their base names; `path`
    /// is for messages only.
    ///
    /// # Errors
    /// If MuJoCo refuses it.
    pub(crate) fn parse(
        library: &'static Library,
        xml: &[u8],
        files: &[(&str, Vec<u8>)],
        path: &Path,
    ) -> Result<Self, EnvError> {
        let refused = |why: String| EnvError::Model {
            path: path.to_owned(),
            why,
        };
        let xml = CString::new(xml).map_err(|e| refused(e.to_string()))?;
        let memory = Memory::new(library, files).map_err(refused)?;
        let files = &raw const memory.files;
        let mut error = [0 as c_char; 1024];
        // SAFETY: `xml` is NUL-terminated, the file system is valid, and `error` has the
        // size given with it.
        let spec = unsafe {
            (library.mj_parseXMLString)(
                xml.as_ptr(),
                files,
                error.as_mut_ptr(),
                error.len() as c_int,
            )
        };
        if spec.is_null() {
            // SAFETY: MuJoCo terminates what it wrote into `error`.
            return Err(refused(unsafe { text(error.as_ptr()) }));
        }
        // SAFETY: `spec` is valid until deleted below, the file system is, and the error
        // text is copied before that.
        let (raw, why) = unsafe {
            let raw = (library.mj_compile)(spec, files);
            let why = text((library.mjs_getError)(spec));
            (library.mj_deleteSpec)(spec);
            (raw, why)
        };
        let raw = NonNull::new(raw).ok_or_else(|| refused(why))?;
        // SAFETY: `raw` is a valid model.
        let size = |bits| unsafe { (library.mj_stateSize)(raw.as_ptr(), bits) } as usize;
        Ok(Self {
            library,
            raw,
            path: path.to_owned(),
            nq: size(QPOS),
            nv: size(QVEL),
            nu: size(CTRL),
            mocap: [size(MOCAP_POS), size(MOCAP_QUAT)],
        })
    }

    /// The body called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn body(&self, name: &str) -> Result<Body, EnvError> {
        self.named(BODY, "body", name).map(Body)
    }

    /// The sensor called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn sensor(&self, name: &str) -> Result<Sensor, EnvError> {
        self.named(SENSOR, "sensor", name).map(Sensor)
    }

    fn named(&self, kind: c_int, what: &str, name: &str) -> Result<c_int, EnvError> {
        let absent = || EnvError::Model {
            path: self.path.clone(),
            why: format!("it has no {what} `{name}`"),
        };
        let text = CString::new(name).map_err(|_| absent())?;
        // SAFETY: the model is valid and the name ends with NUL.
        let id = unsafe { (self.library.mj_name2id)(self.raw.as_ptr(), kind, text.as_ptr()) };
        if id < 0 { Err(absent()) } else { Ok(id) }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by `mj_compile`, deleted once, and every simulation
        // that uses it holds the `Arc` it lives in.
        unsafe { (self.library.mj_deleteModel)(self.raw.as_ptr()) }
    }
}
