//! A GPU, through the CUDA driver and the run-time compiler.

use std::{collections::HashMap, fmt, sync::Arc};

use cudarc::{
    driver::{
        CudaContext, CudaEvent, CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError,
        result, sys,
    },
    nvrtc::{self, CompileError, CompileOptions},
};

use super::{
    Arg, ArgValue, CudaError, Device, Lanes, Launch, Limits,
    device::{refuse_foreign, refuse_length},
    graph::{Graph, Noted, Slabs},
    recorder::Recorder,
    source::{SOURCES, Source},
};

/// A GPU with the kernels loaded. Everything runs in order on one stream of its
/// own; only [`Device::read`] waits for it.
pub struct CudaDevice {
    stream: Arc<CudaStream>,
    /// The launches of the threads that record, with the buffers these use.
    recorder: Recorder<(Noted, Vec<Shared>)>,
    kernels: Arc<HashMap<&'static str, CudaFunction>>,
    limits: Limits,
    rates: Rates,
    name: String,
}

/// What a GPU can do at most by the figures its driver gives: multiply-adds to single
/// precision, on whichever units do more of them, and its memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Floating-point operations a second.
    pub flops: f64,
    /// Bytes read and written a second.
    pub bytes: f64,
}

/// Values of `f32` on a GPU.
#[derive(Debug)]
pub struct CudaBuffer(
    /// Shared with the recordings that use it.
    Shared,
);

type Shared = Arc<CudaSlice<f32>>;

/// Launches recorded as a graph.
pub struct CudaRecording {
    graph: Graph,
    /// What the graph reads and writes lives as long as it.
    buffers: Vec<Shared>,
    /// The device's it was recorded on.
    stream: Arc<CudaStream>,
}

impl CudaDevice {
    /// Opens GPU number `ordinal` and compiles the kernels for it.
    ///
    /// # Errors
    /// If there is no driver, no run-time compiler or no such GPU, if the GPU is
    /// older than compute capability 8.0, or a source does not compile.
    pub fn new(ordinal: usize) -> Result<Self, CudaError> {
        // SAFETY: opens the driver library, if there is one, as every CUDA
        // program does; its initializers ask nothing of the caller.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        // SAFETY: as above, of the run-time compiler.
        if !unsafe { nvrtc::sys::is_culib_present() } {
            return Err(CudaError::NoCompiler);
        }
        let context = CudaContext::new(ordinal).map_err(driver)?;
        let (major, minor) = context.compute_capability().map_err(driver)?;
        // What the tests assemble; newer GPUs take either.
        let arch = match major {
            ..8 => return Err(CudaError::OldDevice(major, minor)),
            8 => "compute_80",
            _ => "compute_90",
        };
        use sys::CUdevice_attribute::{
            CU_DEVICE_ATTRIBUTE_CLOCK_RATE as CLOCK,
            CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH as BUS,
            CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN as SHARED,
            CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE as MEMORY_CLOCK,
            CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT as PROCESSORS,
        };
        // SAFETY: nothing but this one stream ever touches a buffer: `launch`
        // refuses those of other devices.
        unsafe { context.disable_event_tracking() };
        let attribute = |which| context.attribute(which).map_err(driver);
        let shared = attribute(SHARED)?;
        let mut kernels = HashMap::new();
        for source in &SOURCES {
            let ptx = compile(source, arch)?;
            let module = context.load_module(ptx).map_err(driver)?;
            for &name in source.kernels {
                let kernel = module.load_function(name).map_err(driver)?;
                // Beyond 48 KiB a kernel must ask. What it declares itself
                // counts too.
                let own = kernel.shared_size_bytes().map_err(driver)?;
                use sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                kernel
                    .set_attribute(
                        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                        shared - own,
                    )
                    .map_err(driver)?;
                kernels.insert(name, kernel);
            }
        }
        let size = |value: i32| usize::try_from(value).unwrap_or_default();
        let rate = |which| Ok::<_, CudaError>(f64::from(attribute(which)?));
        // Multiply-adds a cycle of a multiprocessor, in single precision (the programming
        // guide's table) and on the matrix units (the architectures' white papers), which
        // take three for one.
        let (units, matrix) = match (major, minor) {
            (8, 0) => (64.0_f64, 512.0),
            (9, _) => (128.0, 1024.0),
            _ => (128.0, 128.0),
        };
        let units = units.max(matrix / 3.0);
        // Clocks are in kHz, the bus in bits; the memory moves data twice a cycle, and a
        // multiply-add is two operations.
        let rates = Rates {
            flops: 2.0 * units * rate(PROCESSORS)? * 1e3 * rate(CLOCK)?,
            bytes: 2.0 * rate(BUS)? / 8.0 * 1e3 * rate(MEMORY_CLOCK)?,
        };
        Ok(Self {
            rates,
            limits: Limits {
                shared_bytes: size(shared),
                multiprocessors: size(attribute(PROCESSORS)?),
            },
            name: context.name().map_err(driver)?,
            // The default stream would wait for every other.
            stream: context.new_stream().map_err(driver)?,
            recorder: Recorder::new(),
            kernels: Arc::new(kernels),
        })
    }

    /// The same GPU and its compiled kernels with a stream of its own: what is launched on
    /// the two may run at the same time. Each refuses the other's buffers.
    ///
    /// # Errors
    /// If the driver gives no more streams.
    pub fn beside(&self) -> Result<Self, CudaError> {
        Ok(Self {
            stream: self.stream.context().new_stream().map_err(driver)?,
            recorder: Recorder::new(),
            kernels: Arc::clone(&self.kernels),
            limits: self.limits,
            rates: self.rates,
            name: self.name.clone(),
        })
    }

    /// See [`Rates`].
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// Seconds from when the GPU reached what `work` started to when it had done it, by
    /// events on the stream. Waits for it.
    ///
    /// # Errors
    /// If `work` fails, or an event does.
    pub fn seconds(
        &self,
        work: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<f64, CudaError> {
        let begin = self.event()?;
        work()?;
        let end = self.event()?;
        let milliseconds = begin.elapsed_ms(&end).map_err(driver)?;
        Ok(f64::from(milliseconds) * 1e-3)
    }

    fn event(&self) -> Result<CudaEvent, CudaError> {
        self.recorder.refuse("an event")?;
        let timed = sys::CUevent_flags::CU_EVENT_DEFAULT;
        self.stream.record_event(Some(timed)).map_err(driver)
    }

    /// The GPU's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for every launch so far.
    ///
    /// # Errors
    /// If one of them failed.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.recorder.refuse("a wait")?;
        self.stream.synchronize().map_err(driver)
    }

    /// Refuses a buffer of another device.
    fn own(&self, what: &str, buffer: &CudaBuffer) -> Result<(), CudaError> {
        let own = Arc::ptr_eq(buffer.0.stream(), &self.stream);
        refuse_foreign(own, format_args!("{what}: a buffer"))
    }

    fn record(
        &self,
        launches: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<CudaRecording, CudaError> {
        let noted = self.recorder.record(launches)?;
        let (noted, buffers): (Vec<_>, Vec<_>) = noted.into_iter().unzip();
        Ok(CudaRecording {
            // SAFETY: whoever launched them vouched for the launches; the recording keeps
            // their buffers, and the driver lets a graph that runs end before it is gone.
            graph: unsafe { Graph::new(self, &noted, &[Slabs::ALONE])? },
            buffers: buffers.into_iter().flatten().collect(),
            stream: Arc::clone(&self.stream),
        })
    }

    /// Makes this thread's calls of the driver mean this GPU.
    pub(super) fn bind(&self) -> Result<(), CudaError> {
        self.stream.context().bind_to_thread().map_err(driver)
    }

    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(super) fn raw_stream(&self) -> sys::CUstream {
        self.stream.cu_stream()
    }

    /// The function, the threads of a block and the shared memory that start `launch`.
    pub(super) fn start_of(
        &self,
        launch: &Launch,
    ) -> Result<(sys::CUfunction, u32, u32), CudaError> {
        let kernel = launch.kernel;
        let failed = |reason: String| CudaError::Launch { kernel, reason };
        let Some(function) = self.kernels.get(kernel) else {
            return Err(failed("no such kernel".to_owned()));
        };
        let shared = u32::try_from(launch.shared_bytes).map_err(|e| failed(e.to_string()))?;
        let threads = u32::try_from(launch.threads).map_err(|e| failed(e.to_string()))?;
        Ok((function.cu_function(), threads, shared))
    }

    /// Starts `launch` on the stream for one run, with `values` and its lanes.
    ///
    /// # Errors
    /// If the driver does not start it.
    ///
    /// # Safety
    /// As of [`Device::launch`], of the values' buffers, which live until the launch ends or
    /// are freed on the same stream.
    pub(super) unsafe fn start(
        &self,
        launch: Launch,
        mut values: Vec<ArgValue>,
    ) -> Result<(), CudaError> {
        let [x, y, z] = launch.grid;
        let (function, threads, shared) = self.start_of(&launch)?;
        values.push(ArgValue::Lanes(Lanes::alone(&launch)?));
        let mut pointers: Vec<_> = values.iter_mut().map(ArgValue::pointer).collect();
        self.bind()?;
        // SAFETY: the function and the stream belong to the context just bound
        // and live as long as `self`; the caller vouches that the arguments are
        // the kernel's; their values outlive the call, which copies them.
        let launched = unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                (threads, 1, 1),
                shared,
                self.stream.cu_stream(),
                &mut pointers,
            )
        };
        launched.map_err(|error| CudaError::Launch {
            kernel: launch.kernel,
            reason: error.to_string(),
        })
    }
}

fn compile(source: &Source, arch: &'static str) -> Result<nvrtc::Ptx, CudaError> {
    let options = CompileOptions {
        arch: Some(arch),
        options: vec!["--std=c++17".to_owned()],
        name: Some(source.file.to_owned()),
        ..CompileOptions::default()
    };
    nvrtc::compile_ptx_with_opts(source.expanded(), options).map_err(|error| CudaError::Compile {
        file: source.file,
        log: match error {
            CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
            other => other.to_string(),
        },
    })
}

pub(super) fn driver(error: DriverError) -> CudaError {
    CudaError::Driver(error.to_string())
}

impl fmt::Debug for CudaRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaRecording")
            .field("buffers", &self.buffers.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaDevice")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

// SAFETY: a buffer's length is that of its allocation, which never changes, and a buffer
// of another device is refused wherever one is used.
unsafe impl Device for CudaDevice {
    type Buffer = CudaBuffer;
    type Recording = CudaRecording;

    fn limits(&self) -> Limits {
        self.limits
    }

    fn alloc(&self, len: usize) -> Result<CudaBuffer, CudaError> {
        self.recorder.refuse("a new buffer")?;
        let zeros = self.stream.alloc_zeros(len).map_err(driver)?;
        Ok(CudaBuffer(Arc::new(zeros)))
    }

    fn len(&self, buffer: &CudaBuffer) -> usize {
        buffer.0.len()
    }

    fn write(&self, values: &[f32], buffer: &mut CudaBuffer) -> Result<(), CudaError> {
        self.own("a write", buffer)?;
        refuse_length(values, buffer.0.len())?;
        self.recorder.refuse("a write")?;
        self.bind()?;
        let (address, _) = buffer.0.device_ptr(&self.stream);
        // SAFETY: the buffer is this device's own and as long as `values`, checked above.
        // These lie in pageable memory, which the driver has read when it
        // returns; the copy is in the stream's order.
        let copied = unsafe { result::memcpy_htod_async(address, values, self.stream.cu_stream()) };
        copied.map_err(driver)
    }

    fn read(&self, buffer: &CudaBuffer) -> Result<Vec<f32>, CudaError> {
        self.own("a read", buffer)?;
        self.recorder.refuse("a read")?;
        let values = self.stream.clone_dtoh(&*buffer.0).map_err(driver)?;
        self.stream.synchronize().map_err(driver)?;
        Ok(values)
    }

    unsafe fn launch(&self, launch: Launch, args: &[Arg<'_, CudaBuffer>]) -> Result<(), CudaError> {
        for buffer in args.iter().filter_map(Arg::buffer) {
            self.own(launch.kernel, buffer)?;
        }
        // All work is on one stream, in order: no event has to be recorded.
        let address = |buffer: &CudaBuffer| buffer.0.device_ptr(&self.stream).0;
        let note = || {
            let used = args.iter().filter_map(Arg::buffer);
            let noted = Noted::new(launch, args, address);
            (noted, used.map(|buffer| Arc::clone(&buffer.0)).collect())
        };
        if self.recorder.note(note) {
            return Ok(());
        }
        let values = args.iter().map(|arg| arg.value(address)).collect();
        // SAFETY: as the caller vouches. A buffer dropped while the kernel runs is freed on
        // the same stream, after it.
        unsafe { self.start(launch, values) }
    }

    fn repeat(
        &self,
        recording: &mut Option<CudaRecording>,
        launches: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let recording = match recording {
            Some(recording) => recording,
            None => recording.insert(self.record(launches)?),
        };
        refuse_foreign(Arc::ptr_eq(&recording.stream, &self.stream), "a recording")?;
        self.recorder.refuse("a graph")?;
        recording.graph.start(self)
    }
}
