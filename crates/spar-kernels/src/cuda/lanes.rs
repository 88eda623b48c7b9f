//! Runs that share launches: a run alone leaves most of a GPU idle, and a launch of several
//! does more a second than one after the other (docs/cuda.md says how much more).
//!
//! Every run has a device of its own, used from its own thread by the code that trains a run
//! alone. What it repeats becomes, with what the others repeat, one launch per kernel: the
//! buffers of all lie alike in equal slabs of one allocation, and a block finds its run's from
//! its place along z. A run's bits are those of the run alone.

use std::{
    cell::{Cell, RefCell},
    fmt,
    sync::Arc,
};

use cudarc::driver::result;

use super::{
    Arg, CudaDevice, CudaError, Device, Launch, Limits,
    device::{refuse_foreign, refuse_length},
    driver::driver,
    graph::Noted,
    meeting::Start,
    recorder::Recorder,
    slabs::{ALIGN, Arrival, Slabs, Staged},
};

/// One of several runs on a GPU, which share the launches they repeat.
///
/// [`Device::repeat`] returns at once, and the launches start when all runs that have not
/// ended repeat; the same ones, or all fail. What else a run asks of its device waits until
/// that has happened. A run that is dropped leaves the others to themselves.
pub struct CudaLane {
    slabs: Arc<Slabs>,
    lane: usize,
    limits: Limits,
    recorder: Recorder<Noted>,
    /// First float of the slab that is in no buffer.
    free: Cell<usize>,
    staged: RefCell<Staged>,
}

/// Values of `f32` in a run's slab, which lives as long as any of them.
#[derive(Debug)]
pub struct LaneBuffer {
    slabs: Arc<Slabs>,
    lane: usize,
    at: usize,
    len: usize,
}

/// Launches a run has recorded.
#[derive(Debug)]
pub struct LaneRecording {
    slabs: Arc<Slabs>,
    lane: usize,
    kind: usize,
}

impl CudaDevice {
    /// `runs` runs that share launches on this GPU, on a stream of their own, each with place
    /// for the buffers of `floats` floats in all that a [`Tally`] counted.
    ///
    /// # Errors
    /// If the GPU has no memory for them.
    pub fn lanes(&self, runs: usize, floats: usize) -> Result<Vec<CudaLane>, CudaError> {
        let slabs = Arc::new(Slabs::new(self.beside()?, runs, floats)?);
        let lane = |lane| CudaLane {
            slabs: Arc::clone(&slabs),
            lane,
            limits: self.limits(),
            recorder: Recorder::new(),
            free: Cell::new(ALIGN),
            staged: RefCell::default(),
        };
        Ok((0..runs).map(lane).collect())
    }

    /// Counts what a run on this GPU has in buffers.
    pub fn tally(&self) -> Tally {
        Tally {
            limits: self.limits(),
            floats: Cell::new(0),
        }
    }
}

impl CudaLane {
    /// Refuses a buffer of another device or run.
    fn own(&self, what: &str, buffer: &LaneBuffer) -> Result<(), CudaError> {
        let own = Arc::ptr_eq(&buffer.slabs, &self.slabs) && buffer.lane == self.lane;
        refuse_foreign(own, format_args!("{what}: a buffer"))
    }

    /// Address of a buffer within a slab.
    fn offset(buffer: &LaneBuffer) -> u64 {
        (buffer.at * size_of::<f32>()) as u64
    }

    fn address(&self, buffer: &LaneBuffer) -> u64 {
        self.slabs.address(self.lane) + Self::offset(buffer)
    }

    /// Waits until what this run repeated last has started, and sends what it wrote since.
    fn settle(&self) -> Result<(), CudaError> {
        self.slabs.meeting.wait(self.lane)?;
        self.slabs.device.bind()?;
        let mut staged = self.staged.borrow_mut();
        self.slabs.send(self.lane, &staged)?;
        staged.sent();
        Ok(())
    }

    fn start(&self, start: Option<Start<'_, Arrival>>) {
        if let Some(start) = start {
            let result = self.slabs.start(&start.arrivals);
            start.ended(result);
        }
    }

    /// Waits for everything this run has started.
    ///
    /// # Errors
    /// If a launch failed.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.recorder.refuse("a wait")?;
        self.settle()?;
        // Not for what others have started since.
        let event = self.slabs.device.stream().record_event(None);
        let waited = event.and_then(|event| event.synchronize());
        waited.map_err(driver)
    }
}

impl Drop for CudaLane {
    fn drop(&mut self) {
        self.start(self.slabs.meeting.leave(self.lane));
    }
}

impl fmt::Debug for CudaLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaLane")
            .field("lane", &self.lane)
            .field("of", &self.slabs)
            .finish_non_exhaustive()
    }
}

// SAFETY: a buffer's length is that of its place in the slab, which is in no other buffer and
// never changes, and a buffer of another device or run is refused wherever one is used.
unsafe impl Device for CudaLane {
    type Buffer = LaneBuffer;
    type Recording = LaneRecording;

    fn limits(&self) -> Limits {
        self.limits
    }

    fn alloc(&self, len: usize) -> Result<LaneBuffer, CudaError> {
        self.recorder.refuse("a new buffer")?;
        let (at, stride) = (self.free.get(), self.slabs.stride());
        if len > stride - at {
            let left = stride - at;
            return Err(CudaError::Lanes(format!(
                "a buffer of {len} floats where {left} of {stride} are left of a run's share"
            )));
        }
        self.free.set((at + len).next_multiple_of(ALIGN));
        Ok(LaneBuffer {
            slabs: Arc::clone(&self.slabs),
            lane: self.lane,
            at,
            len,
        })
    }

    fn len(&self, buffer: &LaneBuffer) -> usize {
        buffer.len
    }

    fn write(&self, values: &[f32], buffer: &mut LaneBuffer) -> Result<(), CudaError> {
        self.own("a write", buffer)?;
        refuse_length(values, buffer.len)?;
        self.recorder.refuse("a write")?;
        let mut staged = self.staged.borrow_mut();
        let (lane, at) = (self.lane, buffer.at);
        if self.slabs.stage(lane, &mut staged, at, values) {
            return Ok(());
        }
        drop(staged);
        self.settle()?;
        // SAFETY: the buffer is this run's own and as long as `values`, which the driver has
        // read when it returns.
        let copied = unsafe {
            let stream = self.slabs.device.raw_stream();
            result::memcpy_htod_async(self.address(buffer), values, stream)
        };
        copied.map_err(driver)
    }

    fn read(&self, buffer: &LaneBuffer) -> Result<Vec<f32>, CudaError> {
        self.own("a read", buffer)?;
        self.recorder.refuse("a read")?;
        self.settle()?;
        let mut values = vec![0.0_f32; buffer.len];
        if !values.is_empty() {
            // SAFETY: the buffer is this run's own and as long as `values`, which live until
            // the copy is done, below.
            let copied = unsafe {
                let stream = self.slabs.device.raw_stream();
                result::memcpy_dtoh_async(&mut values, self.address(buffer), stream)
            };
            let waited = self.synchronize();
            copied.map_err(driver)?;
            waited?;
        }
        Ok(values)
    }

    unsafe fn launch(&self, launch: Launch, args: &[Arg<'_, LaneBuffer>]) -> Result<(), CudaError> {
        for buffer in args.iter().filter_map(Arg::buffer) {
            self.own(launch.kernel, buffer)?;
        }
        // From the slab's beginning: the same for every run.
        if self
            .recorder
            .note(|| Noted::new(launch, args, Self::offset))
        {
            return Ok(());
        }
        self.settle()?;
        let address = |buffer: &LaneBuffer| self.address(buffer);
        let values = args.iter().map(|arg| arg.value(address)).collect();
        // SAFETY: as the caller vouches; the slab is freed on the stream of the launch.
        unsafe { self.slabs.device.start(launch, values) }
    }

    fn repeat(
        &self,
        recording: &mut Option<LaneRecording>,
        launches: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let recording = match recording {
            Some(recording) => recording,
            None => {
                let noted = self.recorder.record(launches)?;
                if noted.is_empty() {
                    return Err(CudaError::Driver("nothing was recorded".to_owned()));
                }
                recording.insert(LaneRecording {
                    kind: self.slabs.kind(noted),
                    slabs: Arc::clone(&self.slabs),
                    lane: self.lane,
                })
            }
        };
        let own = Arc::ptr_eq(&recording.slabs, &self.slabs) && recording.lane == self.lane;
        refuse_foreign(own, "a recording")?;
        self.recorder.refuse("a graph")?;
        let mut staged = self.staged.borrow_mut();
        let next = staged.next();
        let arrival = Arrival {
            kind: recording.kind,
            staged: std::mem::replace(&mut staged, next),
        };
        drop(staged);
        self.start(self.slabs.meeting.arrive(self.lane, arrival)?);
        Ok(())
    }
}

/// A device that computes nothing and counts what is in buffers: how large a run's slab must
/// be. A buffer is its length.
#[derive(Debug)]
pub struct Tally {
    limits: Limits,
    floats: Cell<usize>,
}

impl Tally {
    /// Floats of all buffers so far, with what lies between them.
    pub fn floats(&self) -> usize {
        self.floats.get()
    }
}

// SAFETY: nothing ever reads or writes by a buffer's length.
unsafe impl Device for Tally {
    type Buffer = usize;
    type Recording = ();

    fn limits(&self) -> Limits {
        self.limits
    }

    fn alloc(&self, len: usize) -> Result<usize, CudaError> {
        let floats = self.floats.get() + len;
        self.floats.set(floats.next_multiple_of(ALIGN));
        Ok(len)
    }

    fn len(&self, buffer: &usize) -> usize {
        *buffer
    }

    fn write(&self, values: &[f32], buffer: &mut usize) -> Result<(), CudaError> {
        refuse_length(values, *buffer)
    }

    fn read(&self, buffer: &usize) -> Result<Vec<f32>, CudaError> {
        Ok(vec![0.0; *buffer])
    }

    unsafe fn launch(&self, _: Launch, _: &[Arg<'_, usize>]) -> Result<(), CudaError> {
        Ok(())
    }
}
