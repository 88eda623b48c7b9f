//! A GPU that keeps time: of every launch, or of every recording it repeats.
//!
//! Timed by launch nothing is repeated as a graph, so that the same program runs launch by
//! launch, to be compared with its recording bit for bit.

use std::sync::{Mutex, PoisonError};

use super::{Arg, CudaBuffer, CudaDevice, CudaError, CudaRecording, Device, Launch, Limits};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Every launch by itself; recordings are launched anew.
    Launch,
    /// Every repetition of a recording as a whole.
    Recording,
}

/// How long something took on the GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The kernel, or `graph`.
    pub what: &'static str,
    /// Seconds between two events around it.
    pub seconds: f64,
}

/// A GPU that keeps time.
#[derive(Debug)]
pub struct Profile {
    device: CudaDevice,
    by: By,
    spans: Mutex<Vec<Span>>,
}

impl Profile {
    /// `device`, timed `by` launch or recording.
    pub fn new(device: CudaDevice, by: By) -> Self {
        let spans = Mutex::new(Vec::new());
        Self { device, by, spans }
    }

    /// What was timed since this was last asked, in order.
    pub fn take(&self) -> Vec<Span> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *spans)
    }

    fn timed(
        &self,
        what: &'static str,
        work: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let seconds = self.device.seconds(work)?;
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.push(Span { what, seconds });
        Ok(())
    }
}

// SAFETY: buffers are the inner device's, which keeps what is demanded.
unsafe impl Device for Profile {
    type Buffer = CudaBuffer;
    type Recording = CudaRecording;

    fn limits(&self) -> Limits {
        self.device.limits()
    }

    fn alloc(&self, len: usize) -> Result<CudaBuffer, CudaError> {
        self.device.alloc(len)
    }

    fn len(&self, buffer: &CudaBuffer) -> usize {
        self.device.len(buffer)
    }

    fn write(&self, values: &[f32], buffer: &mut CudaBuffer) -> Result<(), CudaError> {
        self.device.write(values, buffer)
    }

    fn read(&self, buffer: &CudaBuffer) -> Result<Vec<f32>, CudaError> {
        self.device.read(buffer)
    }

    unsafe fn launch(&self, launch: Launch, args: &[Arg<'_, CudaBuffer>]) -> Result<(), CudaError> {
        // SAFETY: as the caller vouches.
        let mut one = || unsafe { self.device.launch(launch, args) };
        match self.by {
            By::Launch => self.timed(launch.kernel, &mut one),
            By::Recording => one(),
        }
    }

    fn repeat(
        &self,
        recording: &mut Option<CudaRecording>,
        launches: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        if self.by == By::Launch {
            return launches();
        }
        if recording.is_none() {
            // Recording and instantiating it is no part of what a repetition takes.
            return self.device.repeat(recording, launches);
        }
        self.timed("graph", &mut || self.device.repeat(recording, launches))
    }
}
