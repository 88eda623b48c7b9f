//! The stand-in for a GPU: `shim.cpp` with the kernels in it, compiled by the
//! machine's C++ compiler when a test first asks for it. Tests of the crates above
//! include this file.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    env,
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    io::Write,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use libloading::{Library, Symbol};
use spar_kernels::cuda::{Arg, ArgValue, CudaError, Device, Lanes, Launch, Limits};

type RunKernel = unsafe extern "C" fn(
    *const c_char,
    *const c_uint,
    usize,
    *mut *mut c_void,
    c_int,
) -> *const c_char;

/// In which order the threads of a block, and the blocks, take their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Runs kernels on the CPU.
#[derive(Debug)]
pub struct Shim {
    pub limits: Limits,
    pub order: Order,
    /// Whether [`Device::repeat`] records, as a GPU does, or launches anew.
    pub records: bool,
    launches: AtomicUsize,
    repeats: AtomicUsize,
    /// The launches recorded so far, while some are.
    recorded: Mutex<Option<Vec<Recorded>>>,
    library: &'static Library,
}

/// A launch with its arguments as they were, and the buffers these point to.
#[derive(Debug)]
pub struct Recorded {
    launch: Launch,
    values: Vec<ArgValue>,
    _buffers: Vec<Arc<Storage>>,
}

impl Shim {
    /// The stand-in, unless the machine has no C++ compiler: then the reason,
    /// once, past the test harness's capture of what tests print.
    pub fn new(limits: Limits, order: Order) -> Option<Self> {
        static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
        let library = LIBRARY.get_or_init(build).as_ref()?;
        Some(Self {
            limits,
            order,
            records: true,
            launches: AtomicUsize::new(0),
            repeats: AtomicUsize::new(0),
            recorded: Mutex::new(None),
            library,
        })
    }

    /// One multiprocessor of compute capability 8.0, in ascending order: what
    /// the tests of the crates above run on.
    pub fn small() -> Option<Self> {
        let limits = Limits {
            shared_bytes: 163 * 1024,
            multiprocessors: 1,
        };
        Self::new(limits, Order::Ascending)
    }
}

impl Shim {
    /// Launches so far.
    pub fn launches(&self) -> usize {
        self.launches.load(Ordering::Relaxed)
    }

    /// Recordings repeated so far.
    pub fn repeats(&self) -> usize {
        self.repeats.load(Ordering::Relaxed)
    }

    fn recorded(&self) -> MutexGuard<'_, Option<Vec<Recorded>>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_while_recording(&self, what: &str) {
        assert!(self.recorded().is_none(), "{what} among recorded launches");
    }

    /// Runs one kernel to its end.
    fn run(&self, launch: Launch, values: &[ArgValue]) -> Result<(), CudaError> {
        // The shim keeps one launch's state in statics.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        self.launches.fetch_add(1, Ordering::Relaxed);
        let mut values = values.to_vec();
        let mut pointers: Vec<_> = values.iter_mut().map(|value| value.pointer()).collect();
        let name = CString::new(launch.kernel).unwrap();
        // SAFETY: `shim.cpp` defines the function with this signature; whoever
        // launched the kernel vouches for the arguments, and the buffers they
        // point to live: the launch borrows them or the recording keeps them.
        // The reason it returns lives until the next launch.
        let reason = unsafe {
            let run: Symbol<'_, RunKernel> = self.library.get(b"shim_launch").unwrap();
            let reason = run(
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.shared_bytes,
                pointers.as_mut_ptr(),
                (self.order == Order::Descending).into(),
            );
            (!reason.is_null()).then(|| CStr::from_ptr(reason).to_string_lossy().into_owned())
        };
        match reason {
            None => Ok(()),
            Some(reason) => Err(CudaError::Launch {
                kernel: launch.kernel,
                reason,
            }),
        }
    }
}

fn build() -> Option<Library> {
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    // From whichever crate this file is included.
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let root = crates.join("spar-kernels");
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libshim.so");
    let output = Command::new(&compiler)
        .args(["-std=c++17", "-O2", "-fPIC", "-shared"])
        // Jumps between stacks are what a fortified longjmp forbids.
        .arg("-U_FORTIFY_SOURCE")
        // Rows of four are read through a type of their own, as on a GPU.
        .args(["-fno-strict-aliasing", "-Wall", "-Wno-unknown-pragmas"])
        .arg("-I")
        .arg(root.join("cuda"))
        .arg(root.join("tests/cuda/shim.cpp"))
        .arg("-o")
        .arg(&library)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            let compiler = Path::new(&compiler).display();
            let mut stderr = std::io::stderr();
            writeln!(
                stderr,
                "SKIPPED: the CUDA kernels are not run on the CPU, for want of a C++ compiler \
                 ({compiler}: {error}); install one or set CXX"
            )
            .unwrap();
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the shim does not compile:\n{said}"
    );
    // SAFETY: the library was just compiled from this crate's own sources and
    // runs nothing when loaded.
    Some(unsafe { Library::new(&library) }.unwrap())
}

/// Floats on either side of a buffer that no kernel may touch.
const GUARD: usize = 64;
const UNTOUCHED: f32 = 6.25e9;

/// A buffer; recordings share it.
pub type Buffer = Arc<Storage>;

/// Floats by address, since kernels take addresses; guarded on both sides.
#[derive(Debug)]
pub struct Storage {
    all: *mut [f32],
    len: usize,
}

// SAFETY: the floats belong to this alone, and whoever reads or writes them by
// their address does so one after the other: a launch, a read and a write each
// return when they have ended.
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

impl Storage {
    fn start(&self) -> *mut f32 {
        // SAFETY: the allocation is `len + 2 * GUARD` long.
        unsafe { self.all.cast::<f32>().add(GUARD) }
    }

    fn check_guards(&self) {
        // SAFETY: the allocation lives as long as `self`, and no kernel runs:
        // a launch returns when it has ended.
        let all = unsafe { &*self.all };
        let (before, rest) = all.split_at(GUARD);
        let guards = before.iter().chain(&rest[self.len..]);
        assert!(
            guards.into_iter().all(|&v| v == UNTOUCHED),
            "a kernel wrote beyond a buffer of {}",
            self.len
        );
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_guards();
        }
        // SAFETY: `all` came from `Box::into_raw` and is dropped once.
        drop(unsafe { Box::from_raw(self.all) });
    }
}

// SAFETY: `len` is that of the allocation, less its guards, and addresses are this
// process's own, whichever stand-in made the buffer.
unsafe impl Device for Shim {
    type Buffer = Buffer;
    type Recording = Vec<Recorded>;

    fn limits(&self) -> Limits {
        self.limits
    }

    /// Not a number until written: what a kernel reads too early shows.
    fn alloc(&self, len: usize) -> Result<Buffer, CudaError> {
        self.refuse_while_recording("a new buffer");
        let mut all = vec![UNTOUCHED; len + 2 * GUARD];
        all[GUARD..GUARD + len].fill(f32::NAN);
        let all = Box::into_raw(all.into_boxed_slice());
        Ok(Arc::new(Storage { all, len }))
    }

    fn len(&self, buffer: &Buffer) -> usize {
        buffer.len
    }

    fn write(&self, values: &[f32], buffer: &mut Buffer) -> Result<(), CudaError> {
        self.refuse_while_recording("a write");
        assert_eq!(values.len(), buffer.len);
        // SAFETY: `buffer` holds that many floats, and no kernel runs.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), buffer.start(), buffer.len) };
        Ok(())
    }

    fn read(&self, buffer: &Buffer) -> Result<Vec<f32>, CudaError> {
        self.refuse_while_recording("a read");
        buffer.check_guards();
        // SAFETY: `buffer` holds that many floats, and no kernel runs.
        Ok(unsafe { std::slice::from_raw_parts(buffer.start(), buffer.len) }.to_vec())
    }

    unsafe fn launch(&self, launch: Launch, args: &[Arg<'_, Buffer>]) -> Result<(), CudaError> {
        assert!(
            launch.shared_bytes <= self.limits.shared_bytes,
            "{launch:?} on {:?}",
            self.limits
        );
        let address = |buffer: &Buffer| buffer.start().expose_provenance() as u64;
        let lanes = ArgValue::Lanes(Lanes::alone(&launch)?);
        let values = args.iter().map(|arg| arg.value(address));
        let values: Vec<_> = values.chain([lanes]).collect();
        let mut recorded = self.recorded();
        let Some(recorded) = &mut *recorded else {
            return self.run(launch, &values);
        };
        let buffers = args.iter().filter_map(|arg| match arg {
            Arg::Read(buffer) => Some(Arc::clone(buffer)),
            Arg::Write(buffer) => Some(Arc::clone(buffer)),
            _ => None,
        });
        recorded.push(Recorded {
            launch,
            values,
            _buffers: buffers.collect(),
        });
        Ok(())
    }

    /// Records names, sizes and arguments of the launches and starts them from
    /// these alone: what the host decided is decided for good.
    fn repeat(
        &self,
        recording: &mut Option<Vec<Recorded>>,
        launches: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        if !self.records {
            return launches();
        }
        if recording.is_none() {
            self.refuse_while_recording("a recording");
            *self.recorded() = Some(Vec::new());
            let launched = launches();
            let recorded = self.recorded().take();
            launched?;
            *recording = recorded;
        }
        self.repeats.fetch_add(1, Ordering::Relaxed);
        for Recorded { launch, values, .. } in recording.as_deref().unwrap_or_default() {
            self.run(*launch, values)?;
        }
        Ok(())
    }
}
