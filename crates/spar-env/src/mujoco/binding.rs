//! The calls into libmujoco: all `unsafe` of this crate.
//!
//! Only functions are used, with opaque pointers and `mj_getState` /
//! `mj_setState` for the state; no struct layout but the first two fields of a
//! log message is assumed, so neither headers nor a link step are needed. The
//! state's signature bits below are those of 3.17 (older versions number them
//! otherwise), which is one reason to refuse any other version.

use std::{
    cell::Cell,
    ffi::{CStr, CString, c_char, c_int, c_void},
    fs::File,
    path::{Path, PathBuf},
    ptr::{self, NonNull},
    sync::Arc,
};

use super::places::proven;
use crate::EnvError;

const QPOS: c_int = 1 << 1;
const QVEL: c_int = 1 << 2;
const CTRL: c_int = 1 << 6;

/// `mj_version()` is `major * 1_000_000 + minor * 1_000 + patch`.
const VERSION_PREFIX: c_int = 3_017;

const LOG_WARNING: c_int = 2;
const LOG_ERROR: c_int = 3;

type RawModel = c_void;
type RawData = c_void;
type RawSpec = c_void;
type LogHandler = unsafe extern "C" fn(*const LogMessage);

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
    mj_parseXMLString: fn(*const c_char, *const c_void, *mut c_char, c_int) -> *mut RawSpec;
    mj_compile: fn(*mut RawSpec, *const c_void) -> *mut RawModel;
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

/// A compiled model, never written after it was made.
pub(crate) struct Model {
    library: &'static Library,
    raw: NonNull<RawModel>,
    path: PathBuf,
    nq: usize,
    nv: usize,
    nu: usize,
}

// SAFETY: MuJoCo's functions take the model as `const mjModel*`, and its
// documentation allows threads that each own an mjData to share one.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Compiles the MJCF text `xml`; `path` is for messages only.
    ///
    /// # Errors
    /// If MuJoCo refuses it.
    pub(crate) fn parse(
        library: &'static Library,
        xml: &[u8],
        path: &Path,
    ) -> Result<Self, EnvError> {
        let refused = |why: String| EnvError::Model {
            path: path.to_owned(),
            why,
        };
        let xml = CString::new(xml).map_err(|e| refused(e.to_string()))?;
        let mut error = [0 as c_char; 1024];
        // SAFETY: `xml` is NUL-terminated, a null VFS is allowed, and `error`
        // has the size given with it.
        let spec = unsafe {
            (library.mj_parseXMLString)(
                xml.as_ptr(),
                ptr::null(),
                error.as_mut_ptr(),
                error.len() as c_int,
            )
        };
        if spec.is_null() {
            // SAFETY: MuJoCo terminates what it wrote into `error`.
            return Err(refused(unsafe { text(error.as_ptr()) }));
        }
        // SAFETY: `spec` is valid until deleted below, a null VFS is allowed,
        // and the error text is copied before that.
        let (raw, why) = unsafe {
            let raw = (library.mj_compile)(spec, ptr::null());
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
        })
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by `mj_compile`, deleted once, and every simulation
        // that uses it holds the `Arc` it lives in.
        unsafe { (self.library.mj_deleteModel)(self.raw.as_ptr()) }
    }
}

/// One simulation of a shared model.
pub(crate) struct Simulation {
    model: Arc<Model>,
    raw: NonNull<RawData>,
    /// `qpos` then `qvel`, as the simulation last left them.
    state: Vec<f64>,
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
            model,
            raw,
        };
        simulation.read_state();
        Ok(simulation)
    }

    /// Generalized positions.
    pub(crate) fn qpos(&self) -> &[f64] {
        &self.state[..self.model.nq]
    }

    /// Generalized velocities.
    pub(crate) fn qvel(&self) -> &[f64] {
        &self.state[self.model.nq..]
    }

    /// Resets everything (time, controls, warm start), then sets the state and
    /// computes what depends on it.
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
        // SAFETY: model and data are valid and belong together, and `state`
        // holds nq + nv numbers, the size of QPOS | QVEL.
        unsafe {
            (library.mj_resetData)(model, data);
            (library.mj_setState)(model, data, self.state.as_ptr(), QPOS | QVEL);
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

    fn parts(&self) -> (&'static Library, *const RawModel, *mut RawData) {
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
            let model = Model::parse(library, b"<mujoco/>", Path::new("empty.xml")).unwrap();
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
