//! The calls into libmujoco: all `unsafe` of this crate.
//!
//! Only functions are used, with opaque pointers, `mj_getState` / `mj_setState` for the
//! state, `mj_local2Global` for where bodies are, `mj_readSensor` for sensors,
//! `mjv_updateScene` for what there is to see and `mjr_render` for pictures of it; no struct
//! layout but the first two fields of a log message, the one of a virtual file system and those
//! of `scene.rs` and `picture.rs` is assumed, so neither headers nor a link step are needed. The state's signature bits below
//! are those of 3.17 (older versions number them otherwise), which is one reason to refuse
//! any other version.

mod gl;
mod model;
mod picture;
mod scene;
mod simulation;

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
    fs::File,
    path::{Path, PathBuf},
};

use super::places::proven;
use crate::EnvError;

pub(crate) use model::{Body, Model, Sensor};
pub(crate) use picture::{GOAL_RADIUS, Viewpoint};
pub use picture::{OffScreen, Subject};
pub(crate) use simulation::Simulation;

const QPOS: c_int = 1 << 1;
const QVEL: c_int = 1 << 2;
const CTRL: c_int = 1 << 6;
const MOCAP_POS: c_int = 1 << 10;
const MOCAP_QUAT: c_int = 1 << 11;

/// `mjtObj` of what is found by name.
const BODY: c_int = 1;
const SENSOR: c_int = 20;

/// `mj_version()` is `major * 1_000_000 + minor * 1_000 + patch`.
const VERSION_PREFIX: c_int = 3_017;

const LOG_WARNING: c_int = 2;
const LOG_ERROR: c_int = 3;

type RawModel = c_void;
type RawData = c_void;
type RawSpec = c_void;
type LogHandler = unsafe extern "C" fn(*const LogMessage);

/// `mjVFS`: files by name, for models that name others.
#[repr(C)]
struct Files {
    own: *mut c_void,
}

/// The head of `mjLogMessage`; what follows `subject` is never touched.
#[repr(C)]
struct LogMessage {
    level: c_int,
    topic: c_int,
    subject: [c_char; 1024],
}

macro_rules! library {
    ($($name:ident: fn($($arg:ty),*) $(-> $ret:ty)?;)+) => {
        /// An opened libmujoco of the right version; fields carry MuJoCo's names.
        #[allow(non_snake_case)]
        pub(crate) struct Library {
            $($name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)+
            // Keeps the code mapped that the pointers above lead to.
            _mapped: libloading::Library,
            // The loader knows a library by the path it was opened by, which names this
            // file only as long as it is open; dropped after the above.
            _file: File,
        }

        impl Library {
            /// # Safety
            /// `mapped` must be a libmujoco 3.17, whose functions have the
            /// signatures given in this file.
            unsafe fn bind(
                file: File,
                mapped: libloading::Library,
            ) -> Result<Self, libloading::Error> {
                Ok(Self {
                    $(
                        // SAFETY: the caller vouches for the signature.
                        $name: unsafe { *mapped.get(concat!(stringify!($name), "\0").as_bytes())? },
                    )+
                    _mapped: mapped,
                    _file: file,
                })
            }
        }
    };
}

library! {
    mj_versionString: fn() -> *const c_char;
    mju_setLogHandler: fn(LogHandler) -> *const c_void;
    mj_defaultVFS: fn(*mut Files);
    mj_addBufferVFS: fn(*mut Files, *const c_char, *const c_void, c_int) -> c_int;
    mj_deleteVFS: fn(*mut Files);
    mj_parseXMLString: fn(*const c_char, *const Files, *mut c_char, c_int) -> *mut RawSpec;
    mj_compile: fn(*mut RawSpec, *const Files) -> *mut RawModel;
    mjs_getError: fn(*mut RawSpec) -> *const c_char;
    mj_deleteSpec: fn(*mut RawSpec);
    mj_deleteModel: fn(*mut RawModel);
    mj_makeData: fn(*const RawModel) -> *mut RawData;
    mj_deleteData: fn(*mut RawData);
    mj_resetData: fn(*const RawModel, *mut RawData);
    mj_forward: fn(*const RawModel, *mut RawData);
    mj_step: fn(*const RawModel, *mut RawData);
    mj_stateSize: fn(*const RawModel, c_int) -> c_int;
    mj_getState: fn(*const RawModel, *const RawData, *mut f64, c_int);
    mj_setState: fn(*const RawModel, *mut RawData, *const f64, c_int);
    mj_name2id: fn(*const RawModel, c_int, *const c_char) -> c_int;
    mj_local2Global: fn(*mut RawData, *mut f64, *mut f64, *const f64, *const f64, c_int, u8);
    mj_readSensor: fn(*const RawModel, *const RawData, c_int, f64, *mut f64, c_int) -> *const f64;
    mjv_defaultScene: fn(*mut c_void);
    mjv_makeScene: fn(*const RawModel, *mut c_void, c_int);
    mjv_freeScene: fn(*mut c_void);
    mjv_defaultOption: fn(*mut c_void);
    mjv_defaultPerturb: fn(*mut c_void);
    mjv_defaultFreeCamera: fn(*const RawModel, *mut c_void);
    mjv_updateScene: fn(*const RawModel, *mut RawData, *const c_void, *const c_void, *mut c_void, c_int, *mut c_void);
    mjv_initGeom: fn(*mut c_void, c_int, *const f64, *const f64, *const f64, *const f32);
    mjr_defaultContext: fn(*mut c_void);
    mjr_makeContext: fn(*const RawModel, *mut c_void, c_int);
    mjr_freeContext: fn(*mut c_void);
    mjr_resizeOffscreen: fn(c_int, c_int, *mut c_void);
    mjr_setBuffer: fn(c_int, *mut c_void);
    mjr_maxViewport: fn(*const c_void) -> picture::Rect;
    mjr_render: fn(picture::Rect, *mut c_void, *const c_void);
    mjr_readPixels: fn(*mut u8, *mut f32, picture::Rect, *const c_void);
    mjr_getError: fn() -> c_int;
}

thread_local! {
    /// MuJoCo's last warning on this thread.
    static WARNING: Cell<Option<String>> = const { Cell::new(None) };
}

/// Replaces MuJoCo's default handler, which writes to stderr and appends to a
/// `MUJOCO_LOG.TXT` in the working directory. Warnings are kept for the call
/// that caused them. After an error MuJoCo ends the process whatever a handler
/// does (unwinding through its frames would be undefined), so the least is to
/// say why.
///
/// # Safety
/// `message` must be null or point to a log message of MuJoCo 3.17.
unsafe extern "C" fn on_log(message: *const LogMessage) {
    // SAFETY: the caller vouches for the pointer.
    let Some(message) = (unsafe { message.as_ref() }) else {
        return;
    };
    // SAFETY: MuJoCo terminates `subject` within its 1024 bytes.
    let text = unsafe { text(message.subject.as_ptr()) };
    match message.level {
        LOG_WARNING => WARNING.set(Some(text)),
        LOG_ERROR => {
            eprintln!("error: MuJoCo cannot continue: {text}");
            std::process::exit(1);
        }
        _ => {}
    }
}

/// # Safety
/// `raw` must be null or point to a NUL-terminated string.
unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: not null; the caller vouches for the rest.
    let text = unsafe { CStr::from_ptr(raw) }.to_string_lossy();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The open file by a path of its own: by then its name may stand for another.
#[cfg(target_os = "linux")]
fn loadable(file: &File, _: &Path) -> PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(not(target_os = "linux"))]
fn loadable(_: &File, path: &Path) -> PathBuf {
    path.to_owned()
}

impl Library {
    /// Opens `path`, whose bytes hash to `sha256`, and takes over MuJoCo's log.
    ///
    /// # Errors
    /// If its bytes are others, it is no shared library, not MuJoCo, or not 3.17.
    pub(crate) fn open(path: &Path, sha256: &str) -> Result<Self, EnvError> {
        let unusable = |e: libloading::Error| EnvError::Library {
            path: path.to_owned(),
            why: e.to_string(),
        };
        let (file, _) = proven("MuJoCo library", path, sha256)?;
        // SAFETY: opening a library runs its initializers; these are the bytes that
        // set-up pins, or those the user named by file and hash.
        let mapped = unsafe { libloading::Library::new(loadable(&file, path)) };
        let mapped = mapped.map_err(unusable)?;
        // SAFETY: every release of MuJoCo exports `int mj_version(void)`.
        let version = unsafe {
            mapped
                .get::<unsafe extern "C" fn() -> c_int>(b"mj_version\0")
                .map_err(unusable)?()
        };
        if version / 1_000 != VERSION_PREFIX {
            return Err(EnvError::Version {
                path: path.to_owned(),
                got: format!("version number {version}"),
            });
        }
        // SAFETY: the library says it is MuJoCo 3.17.
        let library = unsafe { Self::bind(file, mapped) }.map_err(unusable)?;
        // SAFETY: `on_log` has the handler's signature, lives as long as the
        // process, is thread-safe and calls nothing of MuJoCo.
        unsafe { (library.mju_setLogHandler)(on_log) };
        Ok(library)
    }

    /// The library's own name of its version.
    pub(crate) fn version(&self) -> String {
        // SAFETY: returns a static string.
        unsafe { text((self.mj_versionString)()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;

    /// MuJoCo ends the process after an error, so the error is provoked in a
    /// child: this test again, told so by a variable.
    #[test]
    fn an_error_of_mujoco_ends_the_process_with_one_line() {
        const PROVOKE: &str = "SPAR_TEST_PROVOKE_MUJOCO_ERROR";
        let library = crate::mujoco::library().unwrap_or_else(|e| panic!("{e}"));
        if std::env::var_os(PROVOKE).is_some() {
            let model = Model::parse(library, b"<mujoco/>", &[], Path::new("empty.xml")).unwrap();
            // SAFETY: the model is valid; MuJoCo checks the signature.
            unsafe { (library.mj_stateSize)(model.raw.as_ptr(), 1 << 30) };
            panic!("MuJoCo continued after an error");
        }
        let name = "mujoco::binding::tests::an_error_of_mujoco_ends_the_process_with_one_line";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(PROVOKE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("error: MuJoCo cannot continue: ") && said.lines().count() == 1,
            "{said}"
        );
    }
}
