//! A place in memory that OpenGL draws into, without a screen: by EGL, which a graphics driver
//! or Mesa brings, or by OSMesa. Both are opened at run time, where they are installed.
//!
//! MuJoCo finds OpenGL's functions through whichever of the two the process has loaded first,
//! once; so one is chosen for the whole process, and never unloaded.

use std::{
    env,
    ffi::{CStr, c_int, c_uint, c_void},
    ptr,
    sync::OnceLock,
};

/// Which of the two is taken: MuJoCo's users name it so. EGL, then OSMesa, if it names neither.
const CHOICE: &str = "MUJOCO_GL";

type Handle = *mut c_void;

/// An OpenGL context, current on the thread it was made on when asked.
pub(super) struct Gl {
    context: Context,
}

enum Context {
    Egl {
        egl: &'static Egl,
        display: Handle,
        surface: Handle,
        context: Handle,
    },
    OsMesa {
        mesa: &'static OsMesa,
        context: Handle,
        points: Box<[u32]>,
    },
}

/// One of the two libraries.
enum Platform {
    Egl(Egl),
    OsMesa(OsMesa),
}

macro_rules! functions {
    ($(#[$doc:meta])* $library:ident { $($name:ident: fn($($arg:ty),*) -> $ret:ty;)+ }) => {
        $(#[$doc])*
        #[allow(non_snake_case)]
        struct $library {
            $($name: unsafe extern "C" fn($($arg),*) -> $ret,)+
        }

        impl $library {
            /// # Safety
            /// The library opened by one of `names` must have functions of these signatures.
            unsafe fn open(names: &[&str]) -> Result<Self, String> {
                let mut why = String::new();
                for name in names {
                    // SAFETY: a graphics library's initializers are those that every
                    // program that draws runs.
                    match unsafe { libloading::Library::new(*name) } {
                        Err(error) => why = error.to_string(),
                        Ok(library) => {
                            // Its threads and what it runs at exit outlive every context.
                            let library = Box::leak(Box::new(library));
                            return Ok(Self {
                                // SAFETY: the caller vouches for the signature.
                                $($name: unsafe {
                                    *library
                                        .get(concat!(stringify!($name), "\0").as_bytes())
                                        .map_err(|error| error.to_string())?
                                },)+
                            });
                        }
                    }
                }
                Err(why)
            }
        }
    };
}

functions! {
    /// EGL 1.4 with what extensions it names.
    Egl {
        eglGetProcAddress: fn(*const std::ffi::c_char) -> *const c_void;
        eglGetDisplay: fn(Handle) -> Handle;
        eglInitialize: fn(Handle, *mut c_int, *mut c_int) -> c_uint;
        eglBindAPI: fn(c_uint) -> c_uint;
        eglChooseConfig: fn(Handle, *const c_int, *mut Handle, c_int, *mut c_int) -> c_uint;
        eglCreatePbufferSurface: fn(Handle, Handle, *const c_int) -> Handle;
        eglCreateContext: fn(Handle, Handle, Handle, *const c_int) -> Handle;
        eglMakeCurrent: fn(Handle, Handle, Handle, Handle) -> c_uint;
        eglDestroyContext: fn(Handle, Handle) -> c_uint;
        eglDestroySurface: fn(Handle, Handle) -> c_uint;
    }
}

functions! {
    /// OSMesa: Mesa into memory, on the processor.
    OsMesa {
        OSMesaCreateContextExt: fn(c_uint, c_int, c_int, c_int, Handle) -> Handle;
        OSMesaMakeCurrent: fn(Handle, *mut c_void, c_uint, c_int, c_int) -> u8;
        OSMesaDestroyContext: fn(Handle) -> ();
    }
}

// Values of EGL's and OpenGL's headers.
const EGL_PLATFORM_DEVICE: c_uint = 0x313F;
const EGL_OPENGL_API: c_uint = 0x30A2;
const EGL_NONE: c_int = 0x3038;
/// Eight bits of each colour, 24 of depth, eight of the stencil; OpenGL, off a screen.
const EGL_CONFIG: [c_int; 17] = [
    0x3024, 8, 0x3023, 8, 0x3022, 8, 0x3021, 8, 0x3025, 24, 0x3026, 8, 0x3033, 1, 0x3040, 8,
    EGL_NONE,
];
/// One point wide and high: MuJoCo draws into a buffer of its own.
const EGL_SURFACE: [c_int; 5] = [0x3057, 1, 0x3056, 1, EGL_NONE];
const MOST_DEVICES: usize = 16;
const GL_RGBA: c_uint = 0x1908;
const GL_UNSIGNED_BYTE: c_uint = 0x1401;
/// Side of OSMesa's own picture, which is not looked at.
const SIDE: c_int = 16;

/// The library of this process, opened on first use.
fn platform() -> Result<&'static Platform, String> {
    static OPENED: OnceLock<Result<Platform, String>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        let choice = env::var(CHOICE).unwrap_or_default().to_ascii_lowercase();
        let egl = || {
            // SAFETY: these are the names of EGL, whose signatures Khronos fixed.
            let opened = unsafe { Egl::open(&["libEGL.so.1", "libEGL.so"]) };
            let egl = opened.map_err(|why| format!("EGL: {why}"))?;
            // A library without a driver is of no use.
            Context::egl(&egl).map(|context| {
                // SAFETY: just made, by this library, and used nowhere.
                unsafe { egl.destroy(context) };
            })?;
            Ok(Platform::Egl(egl))
        };
        let mesa = || {
            let names = ["libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"];
            // SAFETY: these are the names of OSMesa, whose signatures Mesa keeps.
            let opened = unsafe { OsMesa::open(&names) };
            opened
                .map(Platform::OsMesa)
                .map_err(|why| format!("OSMesa: {why}"))
        };
        match choice.as_str() {
            "egl" => egl(),
            "osmesa" => mesa(),
            "0" | "off" | "false" | "disable" | "disabled" => {
                Err(format!("{CHOICE} is `{choice}`"))
            }
            _ => {
                egl().or_else(|first: String| mesa().map_err(|second| format!("{first}; {second}")))
            }
        }
    });
    opened.as_ref().map_err(String::clone)
}

/// What EGL made: display, surface (none, where drivers need none), context.
type EglContext = [Handle; 3];

impl Context {
    /// A context on the first device, or the default display, that gives one.
    fn egl(egl: &Egl) -> Result<EglContext, String> {
        for display in egl.displays() {
            // SAFETY: `display` is EGL's, or null, which it refuses; all arrays end with
            // EGL_NONE, and what is written to has the room that is said.
            unsafe {
                let (mut major, mut minor) = (0, 0);
                let ready = (egl.eglInitialize)(display, &raw mut major, &raw mut minor) != 0
                    && (egl.eglBindAPI)(EGL_OPENGL_API) != 0;
                if display.is_null() || !ready {
                    continue;
                }
                let (mut config, mut count) = (ptr::null_mut(), 0);
                (egl.eglChooseConfig)(
                    display,
                    EGL_CONFIG.as_ptr(),
                    &raw mut config,
                    1,
                    &raw mut count,
                );
                // Where there is no configuration of a surface, none is needed.
                let surface = match count {
                    0 => ptr::null_mut(),
                    _ => (egl.eglCreatePbufferSurface)(display, config, EGL_SURFACE.as_ptr()),
                };
                let context = (egl.eglCreateContext)(display, config, ptr::null_mut(), ptr::null());
                if context.is_null() {
                    continue;
                }
                let made = [display, surface, context];
                if (egl.eglMakeCurrent)(display, surface, surface, context) != 0 {
                    return Ok(made);
                }
                egl.destroy(made);
            }
        }
        Err("EGL: no device draws OpenGL".to_owned())
    }
}

impl Egl {
    /// The displays of every device, which need no screen, then the default one.
    fn displays(&self) -> Vec<Handle> {
        type Devices = unsafe extern "C" fn(c_int, *mut Handle, *mut c_int) -> c_uint;
        type Display = unsafe extern "C" fn(c_uint, Handle, *const c_int) -> Handle;
        let extension = |name: &CStr| {
            // SAFETY: the name ends with NUL.
            unsafe { (self.eglGetProcAddress)(name.as_ptr()) }
        };
        let devices = extension(c"eglQueryDevicesEXT");
        let display = extension(c"eglGetPlatformDisplayEXT");
        let mut all = Vec::new();
        if !devices.is_null() && !display.is_null() {
            // SAFETY: the extensions of these names have these signatures, and the list has
            // room for as many as are asked for.
            unsafe {
                let devices: Devices = std::mem::transmute(devices);
                let display: Display = std::mem::transmute(display);
                let mut found = [ptr::null_mut(); MOST_DEVICES];
                let mut count = 0;
                devices(MOST_DEVICES as c_int, found.as_mut_ptr(), &raw mut count);
                let count = usize::try_from(count).unwrap_or(0);
                all.extend(
                    found
                        .iter()
                        .take(count)
                        .map(|device| display(EGL_PLATFORM_DEVICE, *device, ptr::null())),
                );
            }
        }
        // SAFETY: null is the default display.
        all.push(unsafe { (self.eglGetDisplay)(ptr::null_mut()) });
        all
    }

    /// # Safety
    /// `made` must be of [`Context::egl`], and not be used after.
    unsafe fn destroy(&self, [display, surface, context]: EglContext) {
        let none = ptr::null_mut();
        // SAFETY: the caller vouches for the handles. The display is shared and stays.
        unsafe {
            (self.eglMakeCurrent)(display, none, none, none);
            (self.eglDestroyContext)(display, context);
            if !surface.is_null() {
                (self.eglDestroySurface)(display, surface);
            }
        }
    }
}

impl Gl {
    /// A new context, current on this thread.
    ///
    /// # Errors
    /// In words, if there is neither EGL nor OSMesa, or none that draws.
    pub(super) fn new() -> Result<Self, String> {
        let context = match platform()? {
            Platform::Egl(egl) => {
                let [display, surface, context] = Context::egl(egl)?;
                Context::Egl {
                    egl,
                    display,
                    surface,
                    context,
                }
            }
            Platform::OsMesa(mesa) => {
                // SAFETY: no context shares with it.
                let context =
                    unsafe { (mesa.OSMesaCreateContextExt)(GL_RGBA, 24, 8, 0, ptr::null_mut()) };
                if context.is_null() {
                    return Err("OSMesa: no context".to_owned());
                }
                Context::OsMesa {
                    mesa,
                    context,
                    points: vec![0; (SIDE * SIDE) as usize].into(),
                }
            }
        };
        let mut made = Self { context };
        match made.make_current() {
            true => Ok(made),
            false => Err("OpenGL: the context cannot be used".to_owned()),
        }
    }

    /// Has what follows on this thread draw here; whether it does.
    pub(super) fn make_current(&mut self) -> bool {
        // SAFETY: the handles are of `new`, and live; the picture has the size given with it
        // and lives as long as the context.
        unsafe {
            match &mut self.context {
                Context::Egl {
                    egl,
                    display,
                    surface,
                    context,
                } => {
                    (egl.eglBindAPI)(EGL_OPENGL_API) != 0
                        && (egl.eglMakeCurrent)(*display, *surface, *surface, *context) != 0
                }
                Context::OsMesa {
                    mesa,
                    context,
                    points,
                } => {
                    let place = points.as_mut_ptr().cast();
                    (mesa.OSMesaMakeCurrent)(*context, place, GL_UNSIGNED_BYTE, SIDE, SIDE) != 0
                }
            }
        }
    }

    /// Which of the two it is.
    pub(super) fn name(&self) -> &'static str {
        match self.context {
            Context::Egl { .. } => "EGL",
            Context::OsMesa { .. } => "OSMesa",
        }
    }
}

impl Drop for Gl {
    fn drop(&mut self) {
        // SAFETY: the handles are of `new`, destroyed once.
        unsafe {
            match &self.context {
                Context::Egl {
                    egl,
                    display,
                    surface,
                    context,
                } => egl.destroy([*display, *surface, *context]),
                Context::OsMesa { mesa, context, .. } => (mesa.OSMesaDestroyContext)(*context),
            }
        }
    }
}
